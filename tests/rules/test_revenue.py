"""Sold, delivered, billed and recognised: what stands out, what it is worth, whose it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.money import Money
from canonical.progress import DifferenceKind, RevenueFigures
from canonical.refs import RecordRef
from rules.revenue import differences
from tests.ledger.billing import eur

K = DifferenceKind
ORDER = RecordRef(system="netsuite-emea", type="salesOrder", id="77")


def figures(
    booked: int = 1000,
    delivered: int | None = 0,
    billed: int = 0,
    recognised: int | None = 0,
    deferred: int | None = None,
    minutes: int = 0,
) -> RevenueFigures:
    if recognised is not None and deferred is None:
        deferred = booked - recognised
    return RevenueFigures(
        booked=eur(booked),
        delivered_minutes=minutes,
        delivered=None if delivered is None else eur(delivered),
        billed=eur(billed),
        recognised=None if recognised is None else eur(recognised),
        deferred=None if deferred is None else eur(deferred),
    )


def kinds(one: RevenueFigures) -> dict[DifferenceKind, Money]:
    return {found.kind: found.worth for found in differences("C", one)}


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (figures(), {}),
        (figures(delivered=400, billed=400, recognised=400), {}),
        (figures(delivered=400, billed=700, recognised=400), {K.CONTRACT_LIABILITY: 300}),
        (figures(delivered=400, billed=100, recognised=400), {K.CONTRACT_ASSET: 300}),
        (
            figures(delivered=400, billed=500, recognised=500),
            {K.RECOGNISED_ABOVE_DELIVERED: 100},
        ),
        (figures(delivered=400, minutes=240), {K.DELIVERED_NOT_RECOGNISED: 400}),
        (figures(delivered=400, recognised=None), {K.DELIVERED_NOT_RECOGNISED: 400}),
        (figures(delivered=None, minutes=60, recognised=None), {K.DELIVERED_NOT_RECOGNISED: 0}),
        (figures(delivered=None, billed=500, recognised=500), {}),
        (
            figures(delivered=1200, billed=1200, recognised=1200, deferred=0),
            {K.BILLED_ABOVE_BOOKED: 200, K.RECOGNISED_ABOVE_BOOKED: 200, K.PLAN_DIFFERS: 200},
        ),
        (figures(delivered=100, billed=100, recognised=100, deferred=500), {K.PLAN_DIFFERS: -400}),
        (figures(billed=300, recognised=None), {K.CONTRACT_LIABILITY: 300}),
    ],
)
def test_differences_by_their_names(one: RevenueFigures, expected: dict[DifferenceKind, int]) -> None:
    assert kinds(one) == {kind: eur(worth) for kind, worth in expected.items()}


def test_every_difference_says_record_owner_and_what_to_type() -> None:
    found = differences("C", figures(delivered=100, billed=1200, recognised=1100, deferred=0), ORDER)
    assert {one.kind for one in found} >= {K.BILLED_ABOVE_BOOKED, K.RECOGNISED_ABOVE_DELIVERED}
    for one in found:
        assert one.record == ORDER
        assert one.owner.value == "billing"
        assert one.next.startswith("trueup ")
        assert one.message.startswith("Contract C: ")
    assert found[-1].kind.is_position, "positions come last"


AMOUNT = st.integers(0, 2000)


@given(AMOUNT, AMOUNT, AMOUNT, AMOUNT)
def test_a_contract_is_billed_ahead_or_unbilled_and_never_both(
    booked: int, delivered: int, billed: int, recognised: int
) -> None:
    found = kinds(figures(booked, delivered, billed, recognised))
    ahead, behind = found.get(K.CONTRACT_LIABILITY), found.get(K.CONTRACT_ASSET)
    assert ahead is None or behind is None
    gap = (ahead.minor if ahead else 0) - (behind.minor if behind else 0)
    assert gap == (billed - recognised) * 100
    assert (K.RECOGNISED_ABOVE_DELIVERED in found) == (recognised > delivered)
