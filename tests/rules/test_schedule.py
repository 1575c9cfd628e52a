"""Billing schedules add up to their line in every currency, and their dates stay inside it."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.engagement import BillingMethod
from canonical.firm import MilestoneShape, Service
from canonical.money import Money, total
from rules.schedule import milestones_of, month_ends, schedule_for

CURRENCIES = st.sampled_from(["JPY", "EUR", "KWD"])
MINOR = st.integers(0, 10**12)
DAYS = st.dates(date(2024, 1, 1), date(2030, 12, 31))
SHARES = st.lists(st.integers(1, 100), min_size=1, max_size=8)


def service(shares: list[int] | None = None, percents: list[int] | None = None) -> Service:
    whole = sum(shares or [1])
    return Service(
        code="IMPL",
        name="Implementation",
        milestones=tuple(
            MilestoneShape(
                title=f"Stone {place}",
                share=Decimal(share) / whole,
                after_percent_of_duration=(percents or [100] * len(shares or []))[place],
            )
            for place, share in enumerate(shares or [])
        ),
    )


@given(minor=MINOR, currency=CURRENCIES, shares=SHARES, start=DAYS, days=st.integers(0, 1500), data=st.data())
def test_milestones_add_up_and_fall_inside_the_line(
    minor: int, currency: str, shares: list[int], start: date, days: int, data: st.DataObject
) -> None:
    percents = [data.draw(st.integers(0, 100)) for _ in shares]
    amount, end = Money.of_minor(minor, currency), start + timedelta(days=days)
    schedule = schedule_for("L1", "n", service(shares, percents), BillingMethod.MILESTONE, amount, start, end)
    assert schedule is not None
    assert total(one.amount for one in schedule.dates) == amount
    assert all(start <= one.due <= end for one in schedule.dates)
    assert len({one.key for one in schedule.dates}) == len(shares)


@given(
    minor=MINOR,
    currency=CURRENCIES,
    start=DAYS,
    days=st.integers(0, 1500),
    method=st.sampled_from([BillingMethod.FIXED_SCHEDULE, BillingMethod.RETAINER]),
)
def test_instalments_add_up_and_fall_on_month_ends(
    minor: int, currency: str, start: date, days: int, method: BillingMethod
) -> None:
    amount, end = Money.of_minor(minor, currency), start + timedelta(days=days)
    schedule = schedule_for("L1", "n", service(), method, amount, start, end)
    assert schedule is not None
    assert total(one.amount for one in schedule.dates) == amount
    dues = [one.due for one in schedule.dates]
    assert dues == sorted(set(dues))
    assert dues[-1] == end
    assert all((due + timedelta(days=1)).day == 1 for due in dues[:-1])
    assert len(dues) == (end.year - start.year) * 12 + end.month - start.month + 1


def test_milestones_carry_title_date_and_amount_of_their_schedule_date() -> None:
    schedule = schedule_for(
        "L1", "n", service([3, 5, 2], [30, 80, 100]), BillingMethod.MILESTONE,
        Money.of_minor(12_000_001, "EUR"), date(2026, 12, 1), date(2027, 5, 31),
    )  # fmt: skip
    stones = milestones_of(schedule)
    assert [(stone.key, stone.title) for stone in stones] == [
        ("L1.1", "Stone 0"), ("L1.2", "Stone 1"), ("L1.3", "Stone 2"),
    ]  # fmt: skip
    assert [str(stone.amount) for stone in stones] == ["EUR 36,000.00", "EUR 60,000.01", "EUR 24,000.00"]
    assert [stone.due for stone in stones] == [date(2027, 1, 24), date(2027, 4, 24), date(2027, 5, 31)]


def test_without_shapes_everything_is_due_at_the_end() -> None:
    amount = Money.of_minor(500, "JPY")
    schedule = schedule_for(
        "L1", "Hand-over", service(), BillingMethod.MILESTONE, amount, date(2026, 1, 1), date(2026, 2, 1)
    )
    assert schedule is not None
    assert [(one.title, one.due, one.amount) for one in schedule.dates] == [
        ("Hand-over", date(2026, 2, 1), amount)
    ]


@pytest.mark.parametrize("method", [BillingMethod.TIME_AND_MATERIALS, BillingMethod.PROGRESS])
def test_what_is_billed_as_worked_has_no_schedule(method: BillingMethod) -> None:
    amount = Money.of_minor(500, "EUR")
    schedule = schedule_for("L1", "n", service([1]), method, amount, date(2026, 1, 1), date(2026, 2, 1))
    assert schedule is None
    assert milestones_of(schedule) == ()


def test_month_ends_know_leap_years() -> None:
    assert month_ends(date(2028, 1, 31), date(2028, 3, 15)) == [
        date(2028, 1, 31), date(2028, 2, 29), date(2028, 3, 15),
    ]  # fmt: skip
