"""One rate per role and day: a gap has none, an overlap is an error that names the card."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.rates import RateCard, RateLine


def rate(start: date, end: date | None, amount: str = "150", role: str = "consultant") -> RateLine:
    return RateLine(role=role, amount=Decimal(amount), currency="EUR", effective_from=start, effective_to=end)


def card(*lines: RateLine) -> RateCard:
    return RateCard(code="standard", version="1", currency="EUR", lines=lines)


JANUARY, MARCH = date(2026, 1, 1), date(2026, 3, 1)


def test_both_ends_of_a_rate_are_in_force() -> None:
    one = card(rate(JANUARY, date(2026, 1, 31)))
    assert one.rate_on("consultant", JANUARY) is not None
    assert one.rate_on("consultant", date(2026, 1, 31)) is not None
    assert one.rate_on("consultant", date(2026, 2, 1)) is None
    assert one.rate_on("consultant", date(2025, 12, 31)) is None


def test_a_gap_has_no_rate() -> None:
    one = card(rate(JANUARY, date(2026, 1, 31)), rate(MARCH, None, "160"))
    assert one.rate_on("consultant", date(2026, 2, 14)) is None
    later = one.rate_on("consultant", date(2030, 1, 1))
    assert later is not None
    assert later.amount == 160


def test_an_overlap_is_an_error_only_on_the_days_it_lasts() -> None:
    one = card(rate(JANUARY, MARCH), rate(MARCH, None, "160"))
    with pytest.raises(ValueError, match="rate card standard has 2 rates for consultant on 2026-03-01"):
        one.rate_on("consultant", MARCH)
    before = one.rate_on("consultant", MARCH - timedelta(days=1))
    assert before is not None
    assert before.amount == 150


def test_roles_do_not_overlap_with_one_another() -> None:
    one = card(rate(JANUARY, None), rate(JANUARY, None, "200", role="architect"))
    found = one.rate_on("architect", MARCH)
    assert found is not None
    assert found.amount == 200
    assert one.rate_on("nobody", MARCH) is None


@given(cuts=st.lists(st.integers(1, 400), min_size=1, max_size=6, unique=True), day=st.integers(0, 420))
def test_rates_that_follow_one_another_leave_no_day_without_one(cuts: list[int], day: int) -> None:
    starts = [JANUARY, *(JANUARY + timedelta(days=cut) for cut in sorted(cuts))]
    ends: list[date | None] = [start - timedelta(days=1) for start in starts[1:]]
    one = card(*(rate(start, end) for start, end in zip(starts, [*ends, None], strict=True)))
    assert one.rate_on("consultant", JANUARY + timedelta(days=day)) is not None
