"""Caps and purchase orders: which order covers a day, how lines use up limits, where one splits (rule 31)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from canonical.causes import Cause
from canonical.engagement import Contract
from canonical.failures import Finding
from canonical.money import Money
from canonical.names import cap_key, purchase_order_key
from canonical.parties import PartyRole
from canonical.refs import RecordRef
from canonical.terms import Cap, CapScope, PurchaseOrder
from rules.findings import finding


@dataclass(frozen=True)
class Limit:
    """A limit that a line counts against."""

    key: str
    amount: Money
    title: str
    """For people."""
    cause: Cause = Cause.OVER_CAP


@dataclass(frozen=True)
class Candidate:
    """A line that wants to be billed."""

    item_key: str
    day: date
    source_id: str
    minutes: int
    amount: Money
    limits: tuple[Limit, ...] = ()
    """Every limit that it counts against; each must have room."""

    @property
    def order(self) -> tuple[date, str]:
        """Lines use limits by work date, then by source id."""
        return self.day, self.source_id


@dataclass(frozen=True)
class Slice:
    """A part of a line: whole minutes and an exact amount."""

    minutes: int
    amount: Money


@dataclass(frozen=True)
class Fitted:
    """A line after its limits: what may be billed, what is held, and what it uses."""

    candidate: Candidate
    billed: Slice | None
    held: Slice | None = None
    finding: Finding | None = None
    """Why the rest is held."""
    uses: Mapping[str, Money] = field(default_factory=dict)
    """Amount by limit."""


def fit(candidates: Iterable[Candidate], used: Mapping[str, Money]) -> list[Fitted]:
    """Let lines use their limits in order; the one that crosses is split, the rest is held.

    Args:
        candidates: in any order; the answer is in the order of use.
        used: what of each limit is used already, by key; nothing where absent.
    """
    left: dict[str, int] = {}
    spent = {key: money.minor for key, money in used.items()}
    fitted = []
    for one in sorted(candidates, key=lambda candidate: candidate.order):
        for limit in one.limits:
            if (limit.amount.currency, limit.amount.role) != (one.amount.currency, one.amount.role):
                raise ValueError(
                    f"{limit.title} is in {limit.amount.currency}, the line in {one.amount.currency}"
                )
            left.setdefault(limit.key, limit.amount.minor - spent.get(limit.key, 0))
        fitted.append(_fit_one(one, left, spent))
    return fitted


def _fit_one(one: Candidate, left: dict[str, int], spent: dict[str, int]) -> Fitted:
    wanted = one.amount.minor
    tightest = min(one.limits, key=lambda limit: left[limit.key], default=None)
    room = wanted if tightest is None else max(0, left[tightest.key])
    granted = min(wanted, room) if wanted > 0 else wanted
    uses = {}
    for limit in one.limits:
        # A negative line gives back at most what was used.
        change = granted if granted > 0 else max(granted, -spent.get(limit.key, 0))
        left[limit.key] -= change
        spent[limit.key] = spent.get(limit.key, 0) + change
        if change:
            uses[limit.key] = Money.of_minor(change, one.amount.currency, one.amount.role)
    billed, held = cut(one.minutes, one.amount, granted)
    problem = None
    if held is not None and tightest is not None:
        problem = finding(
            tightest.cause,
            f"{tightest.title} of {tightest.amount} has {_money(room, one.amount)} left; "
            f"{held.amount} of the line exceed it.",
            at_stake=held.amount,
        )
    return Fitted(one, billed, held, problem, uses)


def cut(minutes: int, amount: Money, minor: int) -> tuple[Slice | None, Slice | None]:
    """Split a line at ``minor`` of its minor units; the parts add up exactly, minutes stay whole."""
    if minor == amount.minor:
        return Slice(minutes, amount), None
    if minor == 0:
        return None, Slice(minutes, amount)
    first = minutes * minor // amount.minor
    head = _money(minor, amount)
    return Slice(first, head), Slice(minutes - first, amount - head)


def _money(minor: int, like: Money) -> Money:
    return Money.of_minor(minor, like.currency, like.role)


# --- which limits, which purchase order -------------------------------------------------------------


def limits_of(
    contract: Contract,
    *,
    role: str | None,
    project_code: str,
    expense: bool,
    order: PurchaseOrder | None,
) -> tuple[Limit, ...]:
    """Every limit that a line of a contract counts against. Caps with expenses count them, others do not."""
    found = [
        _cap_limit(contract, cap)
        for cap in contract.caps
        if (cap.includes_expenses or not expense) and _concerns(cap, role, project_code, order)
    ]
    if order is not None and order.amount is not None:
        found.append(
            Limit(
                key=order_key(contract, order),
                amount=order.amount,
                title=f"Purchase order {order.number}",
                cause=Cause.PURCHASE_ORDER_EXHAUSTED,
            )
        )
    return tuple(found)


def _concerns(cap: Cap, role: str | None, project_code: str, order: PurchaseOrder | None) -> bool:
    match cap.scope:
        case CapScope.CONTRACT:
            return True
        case CapScope.PURCHASE_ORDER:
            return order is not None and order.number == cap.subject
        case CapScope.PROJECT:
            return project_code == cap.subject
        case CapScope.ROLE:
            return role is not None and role == cap.subject


def _cap_limit(contract: Contract, cap: Cap) -> Limit:
    what = f"{cap.scope.value.replace('_', ' ')} {cap.subject}" if cap.subject else "contract"
    return Limit(
        key=cap_key(contract.key, cap.scope.value, cap.subject),
        amount=cap.amount,
        title=f"The cap on {what}",
    )


def order_key(contract: Contract, order: PurchaseOrder) -> str:
    """What a purchase order's use is counted under: shared by all contracts of seller and bill-to."""
    return purchase_order_key(
        contract.legal_entity, contract.parties.get(PartyRole.BILL_TO, contract.key), order.number
    )


def order_for(
    contract: Contract,
    day: date,
    used: Mapping[str, Money],
    *,
    required: bool = False,
    record: RecordRef | None = None,
) -> PurchaseOrder | Finding | None:
    """The purchase order for work of a day: the first that covers it and has room, by validity and number.

    Args:
        contract: whose orders.
        day: of the work.
        used: what of each order is used already, by ``order_key``.
        required: whether the entity invoices only against a purchase order.
        record: for the finding.

    Returns:
        None where the contract has none and needs none; a finding where one is required and missing,
        expired or used up.
    """
    orders = sorted(contract.purchase_orders, key=lambda one: (one.valid_from or date.min, one.number))
    if not orders and required:
        return finding(
            Cause.PURCHASE_ORDER_MISSING,
            f"{contract.legal_entity} invoices only against a purchase order; {contract.key} has none.",
            record=record,
            field="purchase_order",
        )
    covering = [one for one in orders if one.covers(day)]
    for order in covering:
        if _has_room(contract, order, used):
            return order
    if covering:
        # A limit that was agreed holds whether or not the order is required: its rest is held, not unbound.
        last = covering[-1]
        return finding(
            Cause.PURCHASE_ORDER_EXHAUSTED,
            f"Purchase order {last.number} of {last.amount} is used up.",
            record=record,
            field="purchase_order",
        )
    if not (required or any(one.required for one in orders)):
        return None
    expired = [one for one in orders if one.valid_to is not None and one.valid_to < day]
    cause = Cause.PURCHASE_ORDER_EXPIRED if expired else Cause.PURCHASE_ORDER_MISSING
    named = ", ".join(one.number for one in (expired or orders))
    return finding(
        cause,
        f"No purchase order covers {day.isoformat()}; known: {named}.",
        record=record,
        field="purchase_order",
    )


def _has_room(contract: Contract, order: PurchaseOrder, used: Mapping[str, Money]) -> bool:
    if order.amount is None:
        return True
    spent = used.get(order_key(contract, order))
    return spent is None or spent.minor < order.amount.minor
