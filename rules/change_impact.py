"""What the difference between two versions of a contract means for each system (rules 8, 43)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from decimal import Decimal

from canonical.causes import Cause
from canonical.change_orders import ChangeImpact, DeliveryImpact, Floor, LineChange, RateChange
from canonical.engagement import Contract, ContractLine, ScheduleDate
from canonical.failures import Finding
from canonical.money import Money, total
from canonical.names import project_key
from canonical.rates import RateCard
from rules.findings import finding

COMPARED = (
    "name", "payment_terms", "purchase_orders", "caps", "grouping", "cycle", "rounding",
    "pricing_authority", "expense_terms", "retainer", "currency_terms", "late_time", "release_below",
    "invoice_delivery", "withholding_expected", "tax_treatment", "documents", "start", "end",
    "project_manager_email",
)  # fmt: skip
"""Terms beside the lines and the rates."""


def impact_of(before: Contract, after: Contract, deliveries: Collection[str], on: date) -> ChangeImpact:
    """The difference, system by system.

    Args:
        before: the terms in force.
        after: the resulting ones.
        deliveries: keys of the contract's delivery projects.
        on: from which day the change holds: whose rates are compared.
    """
    keys = dict.fromkeys([*(line.key for line in before.lines), *(line.key for line in after.lines)])
    lines = tuple(
        LineChange(key=key, before=old, after=new)
        for key in keys
        if (old := before.line(key)) != (new := after.line(key))
    )
    rates = tuple(_rate_changes(before.rate_card, after.rate_card, on))
    return ChangeImpact(
        before=before.amount,
        after=after.amount,
        lines=lines,
        deliveries=tuple(
            found
            for key in sorted(deliveries)
            if (found := _of_delivery(key, before, after, rates)) is not None and found.changes
        ),
        schedules=tuple(one.key for one in lines if one.after is not None and _schedule_changes(one)),
        fields=tuple(name for name in COMPARED if getattr(before, name) != getattr(after, name)),
        rates=before.rate_card != after.rate_card,
    )


def _schedule_changes(change: LineChange) -> bool:
    assert change.after is not None
    held = change.before.schedule if change.before is not None else None
    return change.after.schedule is not None and change.after.schedule != held


def _of_delivery(
    key: str, before: Contract, after: Contract, rates: tuple[RateChange, ...]
) -> DeliveryImpact | None:
    old, new = lines_of(before, key), lines_of(after, key)
    some = (*new, *old)
    if not some:
        return None
    nothing = before.amount - before.amount
    had = {one.milestone_key: one for one in _milestones(old)}
    has = {one.milestone_key: one for one in _milestones(new)}
    return DeliveryImpact(
        delivery_key=key,
        region=some[0].delivery_region,
        service_code=some[0].service_code,
        before=total([nothing, *(line.amount for line in old)]),
        after=total([nothing, *(line.amount for line in new)]),
        rates=rates,
        put_milestones=tuple(
            one
            for milestone, one in has.items()
            # Dates belong to delivery once the project is open (rule 8): only amounts and titles count.
            if milestone not in had or _agreed(one) != _agreed(had[milestone])
        ),
        drop_milestones=tuple(
            milestone for milestone in had if milestone is not None and milestone not in has
        ),
    )


def _agreed(one: ScheduleDate) -> tuple[str, Money]:
    return one.title, one.amount


def _milestones(lines: Collection[ContractLine]) -> list[ScheduleDate]:
    return [
        one
        for line in lines
        for one in (line.schedule.dates if line.schedule else ())
        if one.milestone_key is not None
    ]


def lines_of(contract: Contract, delivery: str) -> tuple[ContractLine, ...]:
    """The contract's lines that a delivery project carries out."""
    return tuple(
        line
        for line in contract.lines
        if project_key(contract.key, line.delivery_region, line.service_code) == delivery
    )


def _rate_changes(before: RateCard | None, after: RateCard | None, on: date) -> list[RateChange]:
    if before == after:
        return []
    roles = sorted({line.role for card in (before, after) if card is not None for line in card.lines})
    found = []
    for role in roles:
        old, new = _rate(before, role, on), _rate(after, role, on)
        if new is not None and old != new:
            found.append(RateChange(role=role, before=old, after=new))
    return found


def _rate(card: RateCard | None, role: str, on: date) -> Decimal | None:
    line = card.rate_on(role, on) if card is not None else None
    return line.amount if line is not None else None


def below_floor(before: Contract, after: Contract, floor: Floor) -> list[Finding]:
    """Where the terms go below what is billed or delivered; nothing does so without a credit (rule 43)."""
    nothing = before.amount - before.amount
    found: list[Finding] = []
    keys = dict.fromkeys([*(line.key for line in before.lines), *floor.billed, *floor.delivered])
    for key in keys:
        billed, delivered = floor.billed.get(key, nothing), floor.delivered.get(key, nothing)
        line = after.line(key)
        agreed = line.amount if line is not None else nothing
        least = billed + delivered
        if agreed.amount < least.amount and agreed.amount < _amount(before, key, least):
            found.append(
                _below(f"Line {key} would be {agreed}; {billed} of it are billed, {delivered} delivered.")
            )
    dates = {one.key: one for line in after.lines if line.schedule for one in line.schedule.dates}
    for key, billed in floor.dates.items():
        agreed = dates[key].amount if key in dates else nothing
        if agreed.amount < billed.amount:
            found.append(_below(f"Schedule date {key} would be {agreed}; {billed} of it are billed."))
    least = total([nothing, floor.elsewhere or nothing, *floor.billed.values(), *floor.delivered.values()])
    if after.amount.amount < min(least.amount, before.amount.amount) and not found:
        found.append(_below(f"The contract would be {after.amount}; {least} of it are billed or delivered."))
    return found


def _amount(contract: Contract, key: str, default: Money) -> Decimal:
    """What the line is agreed at now: work beyond it (over a cap, say) is no reason to refuse a raise."""
    line = contract.line(key)
    return line.amount.amount if line is not None else default.amount


def _below(message: str) -> Finding:
    return finding(Cause.CHANGE_BELOW_BILLED, message, field="lines")
