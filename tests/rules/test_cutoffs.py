"""The cutoff of a run that begins by the clock: whose calendar, which day (rule 30)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from activities.contracts import CutoffRule
from rules.cutoffs import cutoff_day

MIDNIGHT = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)
"""Half an hour before November in Greenwich, half an hour after it began in Amsterdam."""


@pytest.mark.parametrize(
    ("rule", "zone", "day"),
    [
        ("today", "UTC", "2026-10-31"),
        ("today", "Europe/Amsterdam", "2026-11-01"),
        ("yesterday", "Europe/Amsterdam", "2026-10-31"),
        ("yesterday", "America/New_York", "2026-10-30"),
        ("last_month", "UTC", "2026-09-30"),
        ("last_month", "Europe/Amsterdam", "2026-10-31"),
    ],
)
def test_the_zones_calendar_counts(rule: str, zone: str, day: str) -> None:
    assert cutoff_day(rule, MIDNIGHT, zone).isoformat() == day


def test_every_rule_that_can_be_declared_is_known() -> None:
    for rule in CutoffRule:
        cutoff_day(rule.value, MIDNIGHT, "UTC")
    with pytest.raises(ValueError, match="names no cutoff"):
        cutoff_day("someday", MIDNIGHT, "UTC")
