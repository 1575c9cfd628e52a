"""What finance is asked about a change order (rules 13, 43), and how sales see its scope."""

from __future__ import annotations

from collections.abc import Iterable

from canonical.change_orders import (
    ChangeImpact,
    ChangeOrder,
    ContractScope,
    Floor,
    LineChange,
    Treatment,
)
from canonical.engagement import Contract
from canonical.firm import GatePolicy
from canonical.money import Money, total
from canonical.refs import RecordRef
from canonical.saga import GateRequest
from rules.gates import roles_for

GATE = "gate.change"
SHOWN = 6
"""Lines named to whoever decides."""

TREATMENTS = {
    Treatment.PROSPECTIVE: "from now on: what is left is recognised over the remaining term",
    Treatment.CATCH_UP: "one promise with what was agreed before: revenue is caught up",
    Treatment.SEPARATE: "a contract of its own: this one stays as it is, the scope is sold by another deal",
}


def change_gate(
    order: ChangeOrder,
    before: Contract,
    impact: ChangeImpact,
    floor: Floor,
    policy: GatePolicy | None,
    *,
    version: int,
    requester: str,
) -> GateRequest:
    """How is the change treated, with figures; asked of finance, who did not send it.

    Args:
        order: the change order.
        before: the terms in force.
        impact: what it changes.
        floor: what is billed and delivered.
        policy: who decides; anybody where the firm names nobody.
        version: of the terms in force. Not the order's base where that one was refused.
        requester: who sent it.
    """
    by = impact.after - impact.before
    figures = {
        "Contract": before.name,
        "Change order": order.key + (f", {order.title}" if order.title else ""),
        "Effective": order.effective_on.isoformat(),
        "In force": f"{impact.before} (version {version})",
        "Would be": f"{impact.after} (version {order.version})",
        "Difference": f"{'+' if by.amount > 0 else ''}{by}",
        "Billed": str(_sum(floor.billed.values(), floor.elsewhere, impact.before)),
        "Delivered, not billed": str(_sum(floor.delivered.values(), None, impact.before)),
    }
    if version != order.base:
        figures["Builds on"] = f"version {order.base}, which was not agreed: version {version} is in force"
    for change in impact.lines[:SHOWN]:
        figures[f"Line {change.key}"] = _told(change)
    if len(impact.lines) > SHOWN:
        figures["And"] = f"{len(impact.lines) - SHOWN} more lines"
    if impact.rates:
        figures["Rates"] = f"{_card(order, before)} instead of {_version(before)}"
    if impact.fields:
        figures["Also changed"] = ", ".join(impact.fields)
    policy = policy or GatePolicy(roles=())
    size = Money.of_minor(abs(by.minor), by.currency, by.role)
    return GateRequest(
        gate="change-order",
        step=GATE,
        title=f"Change order {order.key} of contract {before.key}",
        question="May the contract change so, and how is the change treated?",
        figures=figures,
        roles=roles_for(policy, size),
        amount=size,
        requester=requester if policy.roles else None,
        choices={one.value: words for one, words in TREATMENTS.items()},
    )


def _sum(amounts: Iterable[Money], more: Money | None, like: Money) -> Money:
    return total([like - like, *amounts, *([more] if more is not None else [])])


def _told(change: LineChange) -> str:
    if change.before is None:
        assert change.after is not None
        return f"new: {change.after.description}, {change.after.amount}"
    if change.after is None:
        return f"falls away: {change.before.description}, {change.before.amount}"
    if change.before.amount == change.after.amount:
        return f"{change.after.description}, {change.after.amount} as before; other terms change"
    return f"{change.after.description}, {change.before.amount} to {change.after.amount}"


def _version(contract: Contract) -> str:
    return contract.rate_card.version if contract.rate_card is not None else "none"


def _card(order: ChangeOrder, before: Contract) -> str:
    card = order.terms.rate_card if order.terms is not None else order.delta and order.delta.rate_card
    return card.version if card else _version(before)


def scope_of(
    deal: RecordRef,
    contract: Contract,
    version: int,
    others: Iterable[tuple[Contract, int]],
    *,
    agreed: bool,
) -> ContractScope:
    """What sales see.

    Args:
        deal: in the CRM.
        contract: with the resulting terms.
        version: of them.
        others: the deal's other contracts with their versions.
        agreed: it is agreed; else finance is being asked.
    """
    every = sorted([(contract, version), *others], key=lambda pair: pair[0].key)
    alone = len(every) == 1
    shown = [
        f"v{number}" if alone else f"{one.legal_entity} {one.currency} v{number}" for one, number in every
    ]
    return ContractScope(
        deal=deal,
        contract_key=contract.key,
        version=version,
        versions=", ".join(shown),
        value=total(line.deal_amount for one, _ in every for line in one.lines),
        lines="\n".join(f"{line.description}: {line.amount}" for line in contract.lines),
        status="Agreed" if agreed else "Proposed",
    )
