"""The retainer: which work a period's advance covers, and what its end does to the rest (rule 32)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from canonical.causes import Cause
from canonical.engagement import BillingCycle
from canonical.money import Money
from canonical.retainers import MovementKind, RetainerLot
from canonical.terms import OverageRule, RetainerTerms
from rules.caps import Candidate
from rules.retainers import draw, periods_ended

MONTHLY = BillingCycle.MONTHLY


def eur(amount: str | int) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def terms(**more: Any) -> RetainerTerms:
    return RetainerTerms(period_amount=eur(3000), **more)


def lot(month: int, balance: str | int = 3000, rolled: int = 0) -> RetainerLot:
    opened = date(2026, month, 1)
    return RetainerLot(lot=f"2026-{month:02}", opened_on=opened, balance=eur(balance), rolled_over=rolled)


def work(month: int, day: int, amount: str | int) -> Candidate:
    return Candidate(f"i{month}.{day}", date(2026, month, day), f"{month}.{day}", 60, eur(amount))


def test_work_draws_on_the_advance_of_its_own_period_and_the_rest_is_overage() -> None:
    drawn = draw(
        [work(11, 4, 2000), work(11, 5, 1500), work(10, 30, 100)],
        [lot(11), lot(12)],
        terms(overage=OverageRule.BILL),
        MONTHLY,
    )
    told = [(one.candidate.day.day, one.covered, one.billed) for one in drawn]
    assert [(day, c.amount if c else None, b.amount if b else None) for day, c, b in told] == [
        (30, None, eur(100)),
        (4, eur(2000), None),
        (5, eur(1000), eur(500)),
    ]
    assert {one.lot for each in drawn for one in each.draws} == {"2026-11"}


@pytest.mark.parametrize(
    ("rule", "covered"),
    [
        (terms(), 3000),
        (terms(rolls_over=True), 5000),
        (terms(rolls_over=True, expires_after_periods=1), 5000),
    ],
)
def test_the_oldest_balance_goes_first_as_long_as_it_lasts(rule: RetainerTerms, covered: int) -> None:
    (one,) = draw([work(12, 3, 9000)], [lot(12), lot(11, 2000)], rule, MONTHLY)
    assert one.covered is not None
    assert one.covered.amount == eur(covered)
    assert one.draws[0].lot == ("2026-11" if rule.rolls_over else "2026-12")
    assert one.finding is not None
    assert one.finding.cause is Cause.RETAINER_EXHAUSTED


def test_the_opening_balance_covers_what_was_worked_before_it_was_imported() -> None:
    opening = RetainerLot(lot="opening", opened_on=date(2026, 11, 10), balance=eur(500))
    (one,) = draw([work(11, 2, 300)], [opening], terms(rolls_over=True), MONTHLY)
    assert one.covered is not None
    assert one.covered.amount == eur(300)


@pytest.mark.parametrize(
    ("rule", "through", "expected"),
    [
        (terms(), date(2026, 11, 29), []),
        (terms(), date(2026, 11, 30), [(MovementKind.EXPIRED, -1000)]),
        (terms(rolls_over=True), date(2026, 12, 31), [(MovementKind.ROLLED_OVER, 0)] * 2),
        (
            terms(rolls_over=True, expires_after_periods=1),
            date(2027, 1, 31),
            [(MovementKind.ROLLED_OVER, 0), (MovementKind.EXPIRED, -1000)],
        ),
    ],
)
def test_what_is_left_rolls_over_or_expires_when_its_period_ends(
    rule: RetainerTerms, through: date, expected: list[tuple[MovementKind, int]]
) -> None:
    found = periods_ended("retainer/C1/L1", [lot(11, 1000)], rule, MONTHLY, through)
    assert [(one.kind, one.amount) for one in found] == [(kind, eur(amount)) for kind, amount in expected]
    assert len({one.key for one in found}) == len(found)


def test_what_is_recorded_already_is_not_told_again() -> None:
    rule = terms(rolls_over=True)
    (one,) = periods_ended("retainer/C1/L1", [lot(11, 1000, rolled=1)], rule, MONTHLY, date(2026, 12, 31))
    assert one.key.endswith("2026-11/2026-12")
    assert periods_ended("retainer/C1/L1", [lot(11, 0)], terms(), MONTHLY, date(2027, 3, 31)) == []
