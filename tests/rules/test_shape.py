"""Shaping: contracts per entity and currency that add up to the deal, projects per region and service."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.causes import Cause
from canonical.engagement import BillingMethod, RevenueMethod
from canonical.firm import Firm
from canonical.money import AmountRole, round_to
from canonical.opportunity import Opportunity
from canonical.parties import PartyRole
from canonical.rates import RateCard, RateLine
from rules.shape import Shape, deal_digest, rate_card, shape
from rules.validate import place
from tests.rules.examples import (
    PSA,
    START,
    client,
    deal,
    firm,
    in_currency,
    line,
    psa_reference,
    with_service,
)


def shaped(one: Opportunity, of: Firm | None = None) -> Shape:
    placed, findings = place(one, of or firm())
    assert findings == []
    return shape(one, of or firm(), placed, {PSA: psa_reference()})


ATLAS = deal(
    line(1, price="180000", legal_entity="NL01", delivery_region="emea"),
    in_currency(2, "95000.55", "GBP", "0.8612", legal_entity="UK01", delivery_region="uki"),
    in_currency(3, "74999.45", "JPY", "162.35", legal_entity="JP01", delivery_region="apac"),
    line(4, "ADV", "30000", legal_entity="NL01", delivery_region="emea"),
    name="Atlas global rollout",
)


def test_one_entity_one_contract_one_project_one_name() -> None:
    found = shaped(deal())
    assert found.engagement is not None
    assert [setup.contract.key for setup in found.contracts] == ["006N.NL01.EUR"]
    assert [setup.project.key for setup in found.deliveries] == ["006N.NL01.EUR.emea.IMPL"]
    assert found.contracts[0].project_name == found.deliveries[0].project.title == deal().name
    assert found.engagement.lead_contract_key == "006N.NL01.EUR"


def test_contracts_per_entity_and_currency_add_up_to_the_deal() -> None:
    found = shaped(ATLAS)
    assert found.engagement is not None
    contracts = {setup.contract.key: setup.contract for setup in found.contracts}
    assert sorted(contracts) == ["006N.JP01.JPY", "006N.NL01.EUR", "006N.UK01.GBP"]
    in_deal_currency = [row.deal_amount for one in contracts.values() for row in one.lines]
    assert ATLAS.amount is not None
    assert sum(money.amount for money in in_deal_currency) == ATLAS.amount.amount
    assert str(contracts["006N.UK01.GBP"].amount) == "GBP 81,814.47"
    assert str(contracts["006N.JP01.JPY"].amount) == "JPY 12,176,161"
    assert contracts["006N.UK01.GBP"].amount.role is AmountRole.CONTRACT


def test_the_biggest_contract_leads() -> None:
    found = shaped(ATLAS)
    assert found.engagement is not None
    assert found.engagement.lead_contract_key == "006N.NL01.EUR"


def test_several_contracts_have_distinguishable_project_names() -> None:
    names = [setup.project_name for setup in shaped(ATLAS).contracts]
    assert len(set(names)) == 3
    assert "Atlas global rollout (UK01 GBP)" in names


def test_one_delivery_project_per_region_and_service_refers_to_one_code() -> None:
    found = shaped(ATLAS)
    projects = {setup.project.key: setup for setup in found.deliveries}
    assert sorted(projects) == [
        "006N.JP01.JPY.apac.IMPL",
        "006N.NL01.EUR.emea.ADV",
        "006N.NL01.EUR.emea.IMPL",
        "006N.UK01.GBP.uki.IMPL",
    ]
    advisory = projects["006N.NL01.EUR.emea.ADV"]
    assert advisory.code_symbol == "project:006N.NL01.EUR"
    assert str(advisory.project.budget) == "EUR 30,000.00"
    assert advisory.project.title == "Atlas global rollout - Advisory emea"
    assert len({setup.project.title for setup in found.deliveries}) == 4


def test_lines_of_one_region_and_service_share_a_project() -> None:
    found = shaped(deal(line(1, price="1000", end=date(2027, 2, 1)), line(2, price="500")))
    assert len(found.deliveries) == 1
    project = found.deliveries[0].project
    assert str(project.budget) == "EUR 1,500.00"
    assert (project.start, project.end) == (START, date(2027, 5, 31))
    assert len(project.milestones) == 6


def test_billing_milestones_of_a_project_add_up_to_its_budget() -> None:
    for setup in shaped(ATLAS).deliveries:
        stones = [stone.amount for stone in setup.project.milestones if stone.amount]
        if stones:
            assert sum(money.amount for money in stones) == setup.project.budget.amount


def test_placeholders_carry_the_rate_of_the_contracts_currency() -> None:
    found = {setup.project.key: setup.project for setup in shaped(ATLAS).deliveries}
    rates = {one.role: one.bill_rate for one in found["006N.UK01.GBP.uki.IMPL"].placeholders}
    assert rates == {"solution-architect": 170, "consultant": 130, "project-manager": 145}
    assert {one.role: one.count for one in found["006N.UK01.GBP.uki.IMPL"].placeholders}["consultant"] == 2


def test_the_party_that_is_invoiced_may_be_another() -> None:
    found = shaped(deal(bill_to=client("001B", "Northwind Shared Services")))
    contract = found.contracts[0].contract
    assert contract.parties[PartyRole.SOLD_TO] == "001N"
    assert contract.parties[PartyRole.BILL_TO] == "001B"
    assert found.contracts[0].bill_to_symbol == "client:001B"
    assert found.contracts[0].client_symbol == "client:001N"


def test_billing_and_revenue_methods_are_independent() -> None:
    """Rule 2."""
    found = shaped(
        deal(
            line(
                1, billing_method=BillingMethod.FIXED_SCHEDULE, revenue_method=RevenueMethod.OVER_TIME_INPUT
            ),
            line(2, "ADV", billing_method=BillingMethod.RETAINER),
        )
    )
    methods = [(row.billing_method, row.revenue_method) for row in found.contracts[0].contract.lines]
    assert methods == [
        (BillingMethod.FIXED_SCHEDULE, RevenueMethod.OVER_TIME_INPUT),
        (BillingMethod.RETAINER, RevenueMethod.AS_INVOICED),
    ]


def test_a_licence_beside_a_service_opens_no_project_and_belongs_to_no_split() -> None:
    found = shaped(deal(line(1, price="1000"), line(2, "LIC", "500")))
    assert found.engagement is not None
    assert [setup.project.service_code for setup in found.deliveries] == ["IMPL"]


@given(
    amounts=st.lists(st.integers(1, 10**9), min_size=1, max_size=6),
    places=st.lists(st.sampled_from(["EUR", "GBP", "JPY", "KWD"]), min_size=6, max_size=6),
    rate=st.decimals("0.01", 500, places=4),
)
def test_every_split_adds_up_and_rounds_each_line_once(
    amounts: list[int], places: list[str], rate: Decimal
) -> None:
    rows = [
        line(number, price=str(Decimal(minor) / 100))
        if currency == "EUR"
        else in_currency(number, str(Decimal(minor) / 100), currency, str(rate))
        for number, (minor, currency) in enumerate(zip(amounts, places, strict=False), start=1)
    ]
    one = deal(*rows)
    found = shaped(one)
    assert found.findings == ()
    lines = [row for setup in found.contracts for row in setup.contract.lines]
    assert one.amount is not None
    assert sum(row.deal_amount.amount for row in lines) == one.amount.amount
    for row in lines:
        exact = row.deal_amount.amount * (row.conversion.rate if row.conversion else 1)
        assert row.amount.amount == round_to(exact, row.amount.currency)
    for setup in found.contracts:
        whole = setup.contract.amount
        budgets = [
            delivery.project.budget.amount
            for delivery in found.deliveries
            if delivery.project.contract_key == setup.contract.key
        ]
        assert sum(budgets) == whole.amount


# --- rates ------------------------------------------------------------------------------------------


def rates(*lines: tuple[str, str, date, date | None], code: str = "standard") -> RateCard:
    return RateCard(
        code=code,
        version="1",
        currency="EUR",
        lines=tuple(
            RateLine(
                role=role, amount=Decimal(amount), currency="EUR", effective_from=start, effective_to=end
            )
            for role, amount, start, end in lines
        ),
    )


ADVISORY = deal(line(1, "ADV"))
LATER = date(2027, 3, 1)


def test_a_role_without_a_rate_on_the_last_day_is_found() -> None:
    card = rates(("consultant", "150", date(2026, 1, 1), date(2027, 2, 28)))
    found = shaped(ADVISORY, firm(standard_rates=(card,)))
    assert found.engagement is None
    assert [(one.cause, one.message) for one in found.findings] == [
        (Cause.RATE_MISSING, "No EUR rate for role 'consultant' on 2027-05-31.")
    ]
    assert found.findings[0].field == "rate_card"
    assert found.findings[0].record is not None


@pytest.mark.parametrize("service", ["ADV", "IMPL"])
def test_two_rates_on_one_day_are_a_finding_never_a_crash(service: str) -> None:
    """Also where the work is not billed by the hour: its positions carry the rate."""
    card = rates(
        *((role, amount, date(2026, 1, 1), None) for amount in ("150", "160")
          for role in ("consultant", "solution-architect", "project-manager"))
    )  # fmt: skip
    found = shaped(deal(line(1, service)), firm(standard_rates=(card,)))
    assert {one.cause for one in found.findings} == {Cause.RATE_OVERLAP}
    assert "rate card standard has 2 rates for consultant on 2026-12-01." in {
        one.message for one in found.findings
    }


def test_work_at_a_fixed_price_needs_no_rates() -> None:
    found = shaped(deal(), firm(standard_rates=()))
    assert found.findings == ()
    assert {one.bill_rate for one in found.deliveries[0].project.placeholders} == {None}


def test_negotiated_rates_come_before_the_standard_card() -> None:
    cards = tuple(
        rates(("consultant", amount, date(2026, 1, 1), None), code=code)
        for code, amount in (("standard", "150"), ("client:001N", "140"), ("deal:006N", "130"))
    )
    chosen = [
        card.code
        for count in (3, 2, 1)
        if (card := rate_card(deal(), firm(standard_rates=cards[:count]), "EUR"))
    ]
    assert chosen == ["deal:006N", "client:001N", "standard"]
    assert rate_card(deal(), firm(standard_rates=cards), "GBP") is None


# --- milestones of a badly configured service -----------------------------------------------------------


def test_a_split_that_does_not_add_up_is_a_finding() -> None:
    one = deal(line(1, price="1000"), line(2, price="500"))
    assert one.amount is not None
    off = one.model_copy(update={"amount": one.amount.model_copy(update={"amount": Decimal("1500.01")})})
    found = shaped(off)
    assert found.engagement is None
    assert [one.cause for one in found.findings] == [Cause.AMOUNT_MISMATCH]


def test_template_roles_reach_the_delivery_set_up() -> None:
    setup = shaped(deal(), with_service("IMPL", template="Advisory")).deliveries[0]
    assert (setup.template.title, setup.project.template) == ("Advisory", "Advisory")
    assert setup.role_ids["consultant"] == "r-consultant"


# --- the deal's digest (rule 17) ------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{"revision": "2"}, {"project_code": "P1"}])
def test_a_touch_or_our_own_write_back_is_no_change(changes: dict[str, Any]) -> None:
    assert deal_digest(deal(**changes)) == deal_digest(deal())


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": None},
        {"name": "Other"},
        {"payment_terms": "Net 45"},
        {"purchase_order": "PO-1"},
        {"stage": "Closed Lost", "is_won": False},
        {"client": client(name="Renamed")},
        {"lines": (line(price="1"),)},
    ],
)
def test_a_changed_term_is_a_change(changes: dict[str, Any]) -> None:
    assert deal_digest(deal(**changes)) != deal_digest(deal())
