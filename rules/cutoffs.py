"""Which day is meant by a cutoff that is told by rule, for runs that begin by the clock (rule 30)."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo


def cutoff_day(rule: str, due: datetime, timezone: str) -> date:
    """The cutoff of a run.

    Args:
        rule: ``today``, ``yesterday`` or ``last_month``.
        due: when the run was to begin. Aware.
        timezone: IANA name: whose calendar counts.

    Raises:
        ValueError: an unknown rule.
    """
    today = due.astimezone(ZoneInfo(timezone)).date()
    match rule:
        case "today":
            return today
        case "yesterday":
            return today - timedelta(days=1)
        case "last_month":
            return today.replace(day=1) - timedelta(days=1)
    raise ValueError(f"{rule!r} names no cutoff")
