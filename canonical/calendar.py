"""Periods, cutoffs and billing cycles: whose clock, which day (rules 25, 30)."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from canonical.base import Canonical
from canonical.engagement import BillingCycle


class ClosedPeriod(StrEnum):
    """An entity's policy for work whose period is closed (rule 30)."""

    POST_NEXT_OPEN = "post_next_open"
    """Post in the first open period, keeping the work date."""
    HOLD = "hold"


class Cutoff(Canonical):
    """Work up to and including ``day`` is meant. The instant is the end of that day in the entity's zone."""

    legal_entity: str
    day: date
    timezone: str
    """IANA name, of the legal entity."""

    @property
    def instant(self) -> datetime:
        """The first moment after the cutoff, aware, in the entity's zone."""
        return datetime.combine(self.day + timedelta(days=1), time(), ZoneInfo(self.timezone))


class Cycle(Canonical):
    """One period of a billing cycle; both days are included."""

    key: str
    """``2026-11``, ``2026-W48``, ``2026-Q4`` or ``final``."""
    first: date
    last: date


FINAL = "final"
"""Key of the one cycle of contracts that are billed on completion."""


def cycle_of(cycle: BillingCycle, day: date, *, start: date | None = None) -> Cycle:
    """The cycle that ``day`` falls into.

    Args:
        cycle: how often the contract is invoiced. Weeks are ISO weeks, quarters those of the calendar year.
        day: a calendar date.
        start: the contract's first day, from which the one cycle of ``ON_COMPLETION`` runs.
    """
    if cycle is BillingCycle.ON_COMPLETION:
        return Cycle(key=FINAL, first=start or date.min, last=day)
    if cycle is BillingCycle.WEEKLY:
        year, week, weekday = day.isocalendar()
        first = day - timedelta(days=weekday - 1)
        return Cycle(key=f"{year}-W{week:02}", first=first, last=first + timedelta(days=6))
    months = 3 if cycle is BillingCycle.QUARTERLY else 1
    month = (day.month - 1) // months * months + 1
    first = date(day.year, month, 1)
    last = _first_of_month_after(first, months) - timedelta(days=1)
    key = f"{day.year}-Q{(month + 2) // 3}" if months == 3 else f"{day.year}-{month:02}"
    return Cycle(key=key, first=first, last=last)


def _first_of_month_after(first: date, months: int) -> date:
    number = first.year * 12 + first.month - 1 + months
    return date(number // 12, number % 12 + 1, 1)
