"""Billing schedules: when fixed amounts are invoiced; the dates always add up to the line."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from canonical.delivery import Milestone
from canonical.engagement import BillingMethod, BillingSchedule, ScheduleDate
from canonical.firm import Service
from canonical.money import Money, allocate


def schedule_for(
    key: str, name: str, service: Service, method: BillingMethod, amount: Money, start: date, end: date
) -> BillingSchedule | None:
    """The line's schedule; None for methods that bill what was worked.

    Milestones take the service's shares; fixed schedules and retainers are invoiced at month ends.
    """
    if method is BillingMethod.MILESTONE:
        shapes = service.milestones
        if not shapes:
            return BillingSchedule(
                key=key, name=name, dates=(ScheduleDate(key=f"{key}.1", title=name, due=end, amount=amount),)
            )
        amounts = allocate(amount, [shape.share for shape in shapes])
        days = (end - start).days
        dates = tuple(
            ScheduleDate(
                key=f"{key}.{number}",
                title=shape.title,
                due=start + timedelta(days=days * shape.after_percent_of_duration // 100),
                amount=part,
                milestone_key=f"{key}.{number}",
            )
            for number, (shape, part) in enumerate(zip(shapes, amounts, strict=True), start=1)
        )
        return BillingSchedule(key=key, name=name, dates=dates)
    if method in (BillingMethod.FIXED_SCHEDULE, BillingMethod.RETAINER):
        ends = month_ends(start, end)
        amounts = allocate(amount, [Decimal(1)] * len(ends))
        dates = tuple(
            ScheduleDate(key=f"{key}.{number}", title=f"{due:%B %Y}", due=due, amount=part)
            for number, (due, part) in enumerate(zip(ends, amounts, strict=True), start=1)
        )
        return BillingSchedule(key=key, name=name, dates=dates)
    return None


def month_ends(start: date, end: date) -> list[date]:
    """Month ends from ``start`` to ``end``; the last period ends on ``end``."""
    ends: list[date] = []
    day = start
    while True:
        first_of_next = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        last = first_of_next - timedelta(days=1)
        if last >= end:
            return [*ends, end]
        ends.append(last)
        day = first_of_next


def milestones_of(schedule: BillingSchedule | None) -> tuple[Milestone, ...]:
    """Delivery milestones that carry the schedule's amounts."""
    return tuple(
        Milestone(key=one.milestone_key, title=one.title, due=one.due, amount=one.amount)
        for one in (schedule.dates if schedule else ())
        if one.milestone_key is not None
    )
