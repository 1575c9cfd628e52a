"""Cycles and cutoffs: whole calendars covered without gap or overlap, instants in the entity's zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.calendar import FINAL, Cutoff, cycle_of
from canonical.engagement import BillingCycle

DAYS = st.dates(date(2020, 1, 1), date(2035, 12, 31))
CALENDAR = [cycle for cycle in BillingCycle if cycle is not BillingCycle.ON_COMPLETION]


@pytest.mark.parametrize(
    ("cycle", "day", "key", "first", "last"),
    [
        (BillingCycle.MONTHLY, date(2026, 11, 28), "2026-11", date(2026, 11, 1), date(2026, 11, 30)),
        (BillingCycle.MONTHLY, date(2028, 2, 1), "2028-02", date(2028, 2, 1), date(2028, 2, 29)),
        (BillingCycle.MONTHLY, date(2026, 12, 31), "2026-12", date(2026, 12, 1), date(2026, 12, 31)),
        (BillingCycle.QUARTERLY, date(2026, 11, 28), "2026-Q4", date(2026, 10, 1), date(2026, 12, 31)),
        (BillingCycle.QUARTERLY, date(2026, 1, 1), "2026-Q1", date(2026, 1, 1), date(2026, 3, 31)),
        (BillingCycle.WEEKLY, date(2027, 1, 1), "2026-W53", date(2026, 12, 28), date(2027, 1, 3)),
    ],
)
def test_the_cycle_of_a_day(cycle: BillingCycle, day: date, key: str, first: date, last: date) -> None:
    found = cycle_of(cycle, day)
    assert (found.key, found.first, found.last) == (key, first, last)


@given(day=DAYS, cycle=st.sampled_from(CALENDAR))
def test_cycles_cover_every_day_once(day: date, cycle: BillingCycle) -> None:
    found = cycle_of(cycle, day)
    assert found.first <= day <= found.last
    assert cycle_of(cycle, found.first) == cycle_of(cycle, found.last) == found
    after = cycle_of(cycle, found.last + timedelta(days=1))
    assert after.first == found.last + timedelta(days=1)
    assert after.key != found.key


def test_billing_on_completion_has_one_cycle() -> None:
    found = cycle_of(BillingCycle.ON_COMPLETION, date(2026, 11, 28), start=date(2026, 1, 5))
    assert (found.key, found.first, found.last) == (FINAL, date(2026, 1, 5), date(2026, 11, 28))


@pytest.mark.parametrize(
    ("zone", "instant"),
    [
        ("Europe/Amsterdam", datetime(2026, 10, 31, 23, 0, tzinfo=UTC)),
        ("America/Los_Angeles", datetime(2026, 11, 1, 7, 0, tzinfo=UTC)),
        ("Pacific/Auckland", datetime(2026, 10, 31, 11, 0, tzinfo=UTC)),
    ],
)
def test_a_cutoff_is_the_end_of_the_day_where_the_entity_is(zone: str, instant: datetime) -> None:
    assert Cutoff(legal_entity="E", day=date(2026, 10, 31), timezone=zone).instant == instant
