"""Margin: what counts as revenue and cost, in which currency, and when there is none (rule 42)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canonical.feedback import Covered, Facts, Held, InvoiceStatus, Rates, Recognised, Share, TargetKind
from canonical.margin import CostRate, Margin, PostedWork, WorkedTime
from canonical.money import AmountRole, Conversion, Money
from rules.figures import figures_of
from rules.margin import BILLED_BY_OTHERS, FEW, UNRATED, margin_of, too_few

DAY = date(2026, 11, 3)
PEOPLE = {("psa", "1"): "A", ("psa", "2"): "B", ("psa", "3"): "C", ("psa", "4"): "C"}
"""Users 3 and 4 are one person."""


def eur(amount: str | int | Decimal, currency: str = "EUR") -> Money:
    return Money(amount=Decimal(amount), currency=currency, role=AmountRole.BILLING)


def rate(per_hour: str | int, currency: str = "EUR", **more: Any) -> CostRate:
    return CostRate(Decimal(per_hour), currency, **more)


RATES: Mapping[str, Sequence[CostRate]] = {"A": [rate(60)], "B": [rate(50)], "C": [rate(40)]}


def worked(worker: int, minutes: int = 60, *, day: date = DAY, contract: str = "K") -> WorkedTime:
    return WorkedTime(contract, "psa", "erp", str(worker), day, minutes)


def held(net: str, *, contract: str = "K", tax: str = "0", credited: str = "0", **more: Any) -> Held:
    gross = Decimal(net) + Decimal(tax)
    share = Share(
        contract_key=contract, net=eur(net), gross=eur(gross), paid=eur(0), credited=eur(credited),
        withheld=eur(0), written_off=eur(0), balance=eur(gross - Decimal(credited)), refunded=eur(0),
    )  # fmt: skip
    values: dict[str, Any] = {"status": InvoiceStatus.ISSUED, "rates": Rates(), **more}
    return Held(invoice=f"erp/invoice/{net}", number="I", issued_on=DAY, share=share, **values)


def facts(*invoices: Held, **more: Any) -> Facts:
    values: dict[str, Any] = {"contracts": (Covered(contract_key="K", currency="EUR"),), **more}
    return Facts(kind=TargetKind.ACCOUNT, held=invoices, **values)


THREE = PostedWork((worked(1), worked(2), worked(3, 90)))
"""60 + 50 + 60 euros."""


def found(known: Facts, work: PostedWork = THREE, currency: str = "EUR", **more: Any) -> Margin:
    values: dict[str, Any] = {"people": PEOPLE, "rates": RATES, **more}
    return margin_of(known, work, currency=currency, **values)


def test_revenue_less_time_and_expenses() -> None:
    work = PostedWork(THREE.time, (("K", Money(amount=Decimal(30), currency="EUR")),))
    assert found(facts(held("400")), work) == Margin(amount=eur(200), percent=Decimal("50.00"))


def test_a_loss_is_told_and_without_revenue_there_is_no_percentage() -> None:
    assert found(facts(held("100"))) == Margin(amount=eur(-70), percent=Decimal("-70.00"))
    assert found(facts()) == Margin(amount=eur(-170))
    assert found(facts(held("0.01"))).percent is None, "it says nothing any more"


def test_recognised_revenue_goes_before_what_is_invoiced() -> None:
    def told(recognised: str, deferred: str) -> Margin:
        one = Recognised(contract_key="K", recognised=eur(recognised), deferred=eur(deferred))
        return found(facts(held("400"), revenue=(one,)))

    assert told("1000", "0").amount == eur(830)
    assert told("0", "400").amount == eur(-170), "deferred: nothing is recognised yet"
    assert told("0", "0").amount == eur(230), "the ERP keeps no revenue of it"


def test_one_contract_by_revenue_and_another_by_invoices() -> None:
    contracts = (Covered(contract_key="K", currency="EUR"), Covered(contract_key="L", currency="EUR"))
    revenue = (Recognised(contract_key="L", recognised=eur(500), deferred=eur(0)),)
    known = facts(held("400"), held("900", contract="L"), contracts=contracts, revenue=revenue)
    assert found(known).amount == eur(400 + 500 - 170)


def test_credits_drafts_and_voided_invoices_are_no_revenue() -> None:
    known = facts(
        held("400", tax="84", credited="121"),
        held("50", status=InvoiceStatus.VOIDED),
        held("60", status=InvoiceStatus.DRAFT),
    )
    assert found(known).amount == eur(300 - 170), "a credit of 121 with tax is 100 without"


def test_the_rate_of_the_day_counts() -> None:
    before, since = rate(10, last=date(2026, 11, 9)), rate(100, first=date(2026, 11, 10))
    work = PostedWork((*THREE.time, worked(1, 60, day=date(2026, 11, 10))))
    assert found(facts(), work, rates={**RATES, "A": [before, since]}).amount == eur(-220)


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (PostedWork(), FEW),
        (PostedWork((worked(1), worked(2))), FEW),
        (PostedWork((worked(1), worked(2), worked(3, 0))), FEW),
        (PostedWork((worked(1), worked(3), worked(4))), FEW),
        (PostedWork((*THREE.time, worked(9))), UNRATED),
        (PostedWork(THREE.time, billed_by_others=True), BILLED_BY_OTHERS),
        (
            PostedWork(THREE.time, (("K", Money(amount=Decimal(1), currency="USD")),)),
            "no rate from USD to EUR",
        ),
    ],
)
def test_rather_none_than_one_that_says_too_much_or_is_wrong(work: PostedWork, reason: str) -> None:
    assert found(facts(held("400")), work) == Margin(reason=reason)


def test_somebody_whose_hours_cost_nothing_hides_nobody() -> None:
    assert found(facts(held("400")), rates={**RATES, "B": [rate(0)]}).reason == FEW
    assert (
        found(facts(held("400")), rates={**RATES, "B": [rate(50, last=date(2026, 11, 2))]}).reason == UNRATED
    )


def test_whom_to_ask_nothing_about_is_known_before() -> None:
    assert too_few(PostedWork((worked(1), worked(2), worked(3, 0))))
    assert not too_few(THREE)


def test_amounts_come_by_way_of_the_contracts_own_currency() -> None:
    booked = Rates(deal="USD", deal_rate=Decimal("1.25"), base="GBP", base_rate=Decimal("0.8"))
    contract = Covered(contract_key="K", currency="EUR", rates=booked)
    known = facts(held("400", rates=booked), contracts=(contract,))
    assert found(known, currency="USD").amount == eur("287.50", "USD"), "230 euros"
    sterling = {**RATES, "A": [rate(48, "GBP")]}
    assert found(known, rates=sterling).amount == eur(230), "48 pounds are the 60 euros"
    assert found(known, currency="USD", rates=sterling).amount == eur("287.50", "USD")
    yen = {**RATES, "A": [rate(9600, "JPY")]}
    assert found(known, rates=yen).reason == "no rate from JPY to EUR"
    agreed = Conversion(
        from_currency="JPY", to_currency="EUR", rate=Decimal("0.00625"), rate_type="fixed_by_contract",
        rate_date="2026-11-01", source="contract",
    )  # fmt: skip
    assert found(known, rates=yen, agreed={"K": [agreed]}).amount == eur(230)
    assert found(known, currency="JPY").reason == "no rate from EUR to JPY"


def test_what_was_booked_counts_where_the_contract_has_forgotten_it() -> None:
    booked = Rates(base="GBP", base_rate=Decimal("0.8"))
    known = facts(held("400", rates=booked))
    assert found(known, rates={**RATES, "A": [rate(48, "GBP")]}).amount == eur(230)


def test_a_cost_rate_shows_in_no_text() -> None:
    assert "60" not in f"{rate(60)!r} {rate(60)}"


def test_margin_is_told_in_fields_and_only_its_absence_in_words() -> None:
    known = facts(held("400"))
    today = lambda _: DAY  # noqa: E731
    assert "margin" not in figures_of(known, "EUR", today)
    told = figures_of(known, "EUR", today, margin=Margin(amount=eur(230), percent=Decimal("57.50")))
    assert (told["margin"], told["margin_percent"]) == (eur(230), Decimal("57.50"))
    assert "margin" not in str(told["summary"])
    none = figures_of(known, "EUR", today, margin=Margin(reason=FEW))
    assert (none["margin"], none["margin_percent"]) == (None, None)
    assert str(none["summary"]).endswith(f"no margin: {FEW}")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(-600, 600), st.integers(0, 1)), max_size=12),
    st.lists(st.integers(0, 20_000), min_size=3, max_size=3),
)
def test_it_never_rests_on_fewer_than_three_people(
    entries: list[tuple[int, int, int]], cents: list[int]
) -> None:
    """200 cases: whatever they work and cost, a margin has three people in it whose hours cost something."""
    rates = {who: [rate(str(Decimal(each) / 100))] for who, each in zip("ABC", cents, strict=True)}
    time = tuple(worked(who, minutes, day=date(2026, 11, 3 + day)) for who, minutes, day in entries)
    margin = found(facts(held("400")), PostedWork(time), rates=rates)
    costs = dict.fromkeys("ABC", Decimal(0))
    for one in time:
        person = PEOPLE["psa", one.worker]
        costs[person] += rates[person][0].per_hour * one.minutes
    if margin.amount is not None:
        assert all(costs.values())
        assert abs(margin.amount.amount - 400 + sum(costs.values(), Decimal(0)) / 60) <= Decimal("0.01")
    else:
        assert margin.reason == FEW
        assert not all(costs.values())
