"""Draft review: who looks at a draft, and what a reviewer's decisions make of its lines (rules 13, 24)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from canonical.causes import Cause
from canonical.engagement import Contract
from canonical.firm import BillingPolicy, GatePolicy
from canonical.invoicing import InvoiceLine, InvoicePlan, LineAction, LineDecision
from canonical.money import Money
from canonical.saga import GateOutcome, GateRequest
from rules.caps import Slice, cut
from rules.gates import roles_for

SHOWN = 3
"""Contracts of an invoice named to its reviewer."""


@dataclass(frozen=True)
class LineChange:
    """What a decision makes of a line; its slices add up to the line."""

    allocation_key: str
    kept: Slice | None
    held: Slice | None = None
    cause: Cause | None = None
    until: date | None = None
    written_down: Slice | None = None
    reason: str = ""


def review_changes(lines: Iterable[InvoiceLine], decisions: Sequence[LineDecision]) -> list[LineChange]:
    """What a reviewer's decisions make of a draft's lines.

    Raises:
        ValueError: a line that is not on the draft, decided twice, or written down by more than it is worth;
            the message names it.
    """
    by_key = {line.allocation_key: line for line in lines}
    changes = []
    seen = set()
    for decision in decisions:
        line = by_key.get(decision.allocation_key)
        if line is None:
            raise ValueError(f"{decision.allocation_key} is not on this draft")
        if decision.allocation_key in seen:
            raise ValueError(f"{decision.allocation_key} is decided twice")
        seen.add(decision.allocation_key)
        changes.append(_change(line, decision))
    return changes


_CAUSES = {
    LineAction.HOLD: Cause.UNDER_REVIEW,
    LineAction.MOVE: Cause.MOVED_TO_LATER_CYCLE,
    LineAction.TRANSFER: Cause.TRANSFER_PENDING,
}


def _change(line: InvoiceLine, decision: LineDecision) -> LineChange:
    if decision.action is not LineAction.WRITE_DOWN:
        to = f" (to {decision.to_project})" if decision.to_project else ""
        return LineChange(
            line.allocation_key,
            kept=None,
            held=Slice(line.minutes, line.amount),
            cause=_CAUSES[decision.action],
            until=decision.until,
            reason=decision.reason + to,
        )
    amount = decision.amount or line.amount
    if amount.currency != line.amount.currency:
        raise ValueError(f"{decision.allocation_key} is in {line.amount.currency}, not {amount.currency}")
    if not 0 < amount.minor * _sign(line.amount) <= abs(line.amount.minor):
        raise ValueError(f"{decision.allocation_key} is worth {line.amount}, less than {amount}")
    kept, down = cut(line.minutes, line.amount, line.amount.minor - amount.minor)
    return LineChange(line.allocation_key, kept=kept, written_down=down, reason=decision.reason)


def _sign(amount: Money) -> int:
    return -1 if amount.minor < 0 else 1


def draft_review(
    plan: InvoicePlan,
    contracts: Sequence[Contract],
    policy: BillingPolicy,
    *,
    step: str,
    title: str,
    starter: str,
) -> GateRequest | None:
    """The question to a draft's reviewer; None where it is issued without one: no policy, or its net is below
    what all its contracts, or the firm, let through. Who started the run has asked for the draft (rule 13).
    """
    gate = policy.draft_review
    net = plan.net
    if gate is None or net.amount < gate.above or _released(net, contracts):
        return None
    hours, rest = divmod(sum(line.minutes for line in plan.lines), 60)
    return GateRequest(
        gate="draft-review",
        step=step,
        title=title,
        question="May this invoice be issued? Lines can be held, moved, written down or transferred first.",
        figures={
            "Contract": contract_names(contracts),
            "Cycle": plan.cycle,
            "Seller": plan.group.seller,
            "Bill to": plan.group.bill_to,
            "Purchase order": plan.group.purchase_order or "none",
            "Net": str(net),
            "Lines": str(len(plan.lines)),
            "Hours": f"{hours}:{rest:02}",
        },
        roles=roles_for(gate, net),
        amount=net,
        requester=None if policy.starter_may_release else starter,
        options=(GateOutcome.APPROVE, GateOutcome.AMEND, GateOutcome.REJECT, GateOutcome.SEND_BACK),
    )


def contract_names(contracts: Sequence[Contract]) -> str:
    """The contracts of an invoice as people call them; the rest is counted."""
    names = sorted(contract.name for contract in contracts)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _released(net: Money, contracts: Sequence[Contract]) -> bool:
    limits = [contract.release_below for contract in contracts]
    return bool(limits) and all(
        limit is not None and limit.currency == net.currency and net.amount < limit.amount for limit in limits
    )


def credit_approval(
    gate: GatePolicy,
    *,
    step: str,
    title: str,
    net: Money,
    figures: dict[str, str],
    requester: str | None,
    choices: bool = True,
) -> GateRequest:
    """The question to whoever approves a credit (rule 39); never the requester. Without ``choices`` nothing
    can become of the credited parts: the work stays billed, at less.
    """
    return GateRequest(
        gate="credit-approval",
        step=step,
        title=title,
        question="May this be credited, and what becomes of the credited parts?"
        if choices
        else "May the difference be credited?",
        figures=figures,
        roles=roles_for(gate, net),
        amount=net,
        requester=requester,
        options=(GateOutcome.APPROVE, GateOutcome.REJECT),
        choices={
            "unbilled": "billed again, at what they are worth now",
            "held": "kept back until somebody decides",
            "written_off": "given up",
        }
        if choices
        else {},
    )


BILL, GIVE_UP = "bill", "give-up"


def difference_approval(
    gate: GatePolicy,
    *,
    step: str,
    contract: str,
    net: Money,
    lines: int,
    reason: str,
    requester: str | None,
) -> GateRequest:
    """The question whether what a backdated rate makes billed work worth more is billed (rules 7, 39)."""
    return GateRequest(
        gate="rate-difference",
        step=step,
        title=f"Backdated rates of {contract}",
        question="May the difference be billed on work that is on invoices already?",
        figures={
            "Contract": contract,
            "Reason": reason or "none given",
            "Difference": str(net),
            "Lines": str(lines),
        },
        roles=roles_for(gate, net),
        amount=net,
        requester=requester,
        options=(GateOutcome.APPROVE, GateOutcome.SEND_BACK),
        choices={
            BILL: "a line of its own for each on the next invoice",
            GIVE_UP: "not billed: the invoices stand as they are",
        },
    )
