"""What the opening position forbids, and what cannot be true of one (rule 36)."""

from __future__ import annotations

from datetime import date

from canonical.causes import Cause
from canonical.engagement import BillingMethod, Contract
from canonical.failures import Finding
from canonical.money import Money
from canonical.names import cap_key
from canonical.opening import OpeningPosition
from canonical.terms import CapScope
from rules.caps import order_key
from rules.findings import finding


def no_opening(contract_key: str, opening: OpeningPosition | None) -> Finding | None:
    """A contract without an opening position does not bill; its cost is posted all the same."""
    if opening is not None:
        return None
    return finding(Cause.NO_OPENING_POSITION, f"Contract {contract_key} has no opening position.")


def before_opening(contract_key: str, opening: OpeningPosition | None, day: date) -> Finding | None:
    """Work at or before the opening position was posted and billed elsewhere, or never will be."""
    last = opening.last_billed_work_date if opening is not None else None
    if last is None or day > last:
        return None
    return finding(
        Cause.BEFORE_OPENING_POSITION,
        f"Work of {day.isoformat()} lies at or before {last.isoformat()}; contract {contract_key} was billed "
        f"up to then.",
        field="work_date",
    )


def named_limits(contract: Contract) -> dict[str, tuple[str, Money | None]]:
    """Caps and purchase orders of a contract as people name them in a file: key and agreed limit by name.

    Names are ``contract``, ``role R``, ``project P`` and ``po N``.
    """
    found: dict[str, tuple[str, Money | None]] = {}
    for cap in contract.caps:
        scope = "po" if cap.scope is CapScope.PURCHASE_ORDER else cap.scope.value
        name = f"{scope} {cap.subject}" if cap.subject else scope
        found[name] = (cap_key(contract.key, cap.scope.value, cap.subject), cap.amount)
    for order in contract.purchase_orders:
        # The order's own amount is shared by all contracts under it; a cap on it counts apart.
        name = f"po {order.number}"
        found[name if name not in found else f"order {order.number}"] = (
            order_key(contract, order),
            order.amount,
        )
    return found


def retainer_lines(contract: Contract) -> list[str]:
    """Keys of the lines that are retainers."""
    return [line.key for line in contract.lines if line.billing_method is BillingMethod.RETAINER]


def schedule_keys(contract: Contract) -> list[str]:
    """Keys of all milestones and schedule dates of a contract."""
    return [one.key for line in contract.lines if line.schedule is not None for one in line.schedule.dates]


def opening_problems(position: OpeningPosition, contract: Contract, today: date) -> list[str]:
    """What cannot be true of an opening position, in words; empty when it fits its contract."""
    found = []
    billed = position.billed_to_date
    if billed.currency != contract.currency:
        found.append(f"billed_to_date is in {billed.currency}, the contract in {contract.currency}")
    elif not _is_open_ended(contract) and billed.amount > contract.amount.amount:
        found.append(f"{billed} billed to date is more than the contract's {contract.amount}")
    last = position.last_billed_work_date
    if last is not None and last > today:
        found.append(f"last_billed_work_date {last.isoformat()} is in the future")
    begun = contract.start
    if last is not None and begun is not None and last < begun:
        found.append(f"last_billed_work_date {last.isoformat()} is before the contract began, {begun}")
    known, open_keys = schedule_keys(contract), _periods_are_open(contract)
    unknown = [key for key in position.billed_keys if key not in known]
    if unknown and not open_keys:
        found.append(f"billed_keys {', '.join(unknown)} are not of this contract; it has {_listing(known)}")
    balance, lines = position.retainer_balance, retainer_lines(contract)
    if balance is not None and not lines:
        found.append("retainer_balance is given, and the contract has no retainer")
    if balance is not None and len(lines) > 1:
        found.append(f"the contract has {len(lines)} retainers, and one balance cannot say whose it is")
    if balance is not None and balance.currency != contract.currency:
        found.append(f"retainer_balance is in {balance.currency}, the contract in {contract.currency}")
    return found


def _is_open_ended(contract: Contract) -> bool:
    """Whether more than the contract's amount can be billed by right: effort has no total."""
    open_ended = (BillingMethod.TIME_AND_MATERIALS, BillingMethod.RETAINER)
    return any(line.billing_method in open_ended for line in contract.lines)


def _periods_are_open(contract: Contract) -> bool:
    """Whether the contract bills periods that no schedule lists."""
    return any(
        line.billing_method in (BillingMethod.RETAINER, BillingMethod.PROGRESS) and line.schedule is None
        for line in contract.lines
    )


def _listing(keys: list[str]) -> str:
    return ", ".join(keys) or "none"
