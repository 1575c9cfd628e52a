"""Every bad input gives a finding that names record, field and remedy; all findings come together."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from canonical.causes import Cause
from canonical.delivery import RoleSupply
from canonical.engagement import BillingMethod
from canonical.failures import Finding, Severity
from canonical.firm import MilestoneShape, Route
from canonical.parties import Address
from rules.causes import CATALOGUE
from rules.validate import (
    Context,
    check_client,
    check_deal,
    check_lines,
    check_names,
    entity_code,
    invoiced_client,
    place,
)
from tests.rules.examples import (
    ERP,
    PSA,
    SUPPLY,
    client,
    context,
    deal,
    erp_reference,
    firm,
    in_currency,
    line,
    money,
    psa_reference,
    with_service,
)


def findings(of: Context) -> list[Finding]:
    """What ``rules.shape_engagement`` asks of these rules, in its order."""
    placed, found = place(of.deal, of.firm)

    def rest() -> Iterator[Finding]:
        yield from check_deal(of)
        yield from check_client(of, placed)
        yield from check_lines(of, placed)
        yield from check_names(of, {"project.title": of.deal.name, "contract.name": of.deal.name})

    return [*found, *rest()]


def bad(one: Any = None, **more: Any) -> list[Finding]:
    return findings(context(one, **more))


LONG = "Ünïcødé 株式会社 " * 25

BAD: dict[str, tuple[Context, Cause, str]] = {
    "no approval": (context(deal(approval_status=None)), Cause.APPROVAL_MISSING, "approval_status"),
    "pending approval": (context(deal(approval_status="Pending")), Cause.APPROVAL_MISSING, "approval_status"),
    "no account": (context(deal(client=None)), Cause.CLIENT_MISSING, "client"),
    "an account without a name": (context(deal(client=client(name="  "))), Cause.CLIENT_MISSING, "name"),
    "no lines": (
        context(deal().model_copy(update={"lines": (), "amount": money("0")})),
        Cause.LINES_MISSING,
        "lines",
    ),
    "no amount": (context(deal(amount=None)), Cause.AMOUNT_MISMATCH, "amount"),
    "lines do not add up": (context(deal(amount=money("120000.01"))), Cause.AMOUNT_MISMATCH, "amount"),
    "a line does not multiply out": (
        context(deal(line(quantity=Decimal(2)))),
        Cause.AMOUNT_MISMATCH,
        "amount",
    ),
    "a negative line": (
        context(deal(line(1), line(2, price="-5"))),
        Cause.AMOUNT_MISMATCH,
        "amount",
    ),
    "no entity": (context(deal(legal_entity=None)), Cause.LEGAL_ENTITY_MISSING, "legal_entity"),
    "an unknown entity": (context(deal(legal_entity="XX99")), Cause.LEGAL_ENTITY_UNKNOWN, "legal_entity"),
    "an entity the ERP lacks": (
        context(erp={ERP: erp_reference(entities=("UK01",))}),
        Cause.LEGAL_ENTITY_UNKNOWN,
        "legal_entity",
    ),
    "an unknown service": (context(deal(line(service_code="???"))), Cause.SERVICE_UNKNOWN, "service_code"),
    "no product": (context(deal(line(service_code=None))), Cause.SERVICE_UNKNOWN, "service_code"),
    "an unknown region": (
        context(deal(line(delivery_region="mars"))),
        Cause.ROUTE_MISSING,
        "delivery_region",
    ),
    "a currency the entity does not sell": (
        context(deal(in_currency(1, "100", "KWD", "0.33"))),
        Cause.CURRENCY_NOT_SOLD,
        "currency",
    ),
    "a currency the ERP lacks": (
        context(erp={ERP: erp_reference(currencies=("GBP",))}),
        Cause.CURRENCY_UNKNOWN_IN_ERP,
        "currency",
    ),
    "unknown payment terms": (
        context(deal(payment_terms="Net 999")),
        Cause.PAYMENT_TERMS_UNKNOWN,
        "payment_terms",
    ),
    "no item mapped": (
        context(firm=with_service("IMPL", items={})),
        Cause.SERVICE_ITEM_MISSING,
        "service_code",
    ),
    "an inactive item": (
        context(erp={ERP: erp_reference(items=("32",))}),
        Cause.SERVICE_ITEM_MISSING,
        "service_code",
    ),
    "no template configured": (
        context(firm=with_service("IMPL", template=None)),
        Cause.TEMPLATE_MISSING,
        "service_code",
    ),
    "no template in delivery": (
        context(psa={PSA: psa_reference(templates=())}),
        Cause.TEMPLATE_MISSING,
        "service_code",
    ),
    "a role HR does not know": (context(supply=()), Cause.ROLE_UNKNOWN_IN_HR, "roles"),
    "a role delivery does not know": (
        context(psa={PSA: psa_reference(roles=("consultant",))}),
        Cause.ROLE_UNKNOWN_IN_DELIVERY,
        "roles",
    ),
    "no billing method": (
        context(firm=with_service("IMPL", billing_method=None)),
        Cause.BILLING_METHOD_MISSING,
        "billing_method",
    ),
    "no start": (context(deal(line(start=None))), Cause.DATES_MISSING, "start"),
    "no end": (context(deal(line(end=None))), Cause.DATES_MISSING, "start"),
    "end before start": (context(deal(line(end=date(2026, 11, 30)))), Cause.DATES_MISSING, "start"),
    "milestones that do not add up": (
        context(firm=with_service("IMPL", milestones=(MilestoneShape(title="m", share=Decimal("0.9")),))),
        Cause.SCHEDULE_MISMATCH,
        "service_code",
    ),
    "milestones worth nothing": (
        context(firm=with_service("IMPL", milestones=(MilestoneShape(title="m", share=Decimal(0)),))),
        Cause.SCHEDULE_MISMATCH,
        "service_code",
    ),
    "a negative milestone": (
        context(
            firm=with_service(
                "IMPL",
                milestones=tuple(
                    MilestoneShape(title=share, share=Decimal(share)) for share in ("1.5", "-0.5")
                ),
            )
        ),
        Cause.SCHEDULE_MISMATCH,
        "service_code",
    ),
    "no country": (
        context(deal(client=client(address=Address()))),
        Cause.CLIENT_COUNTRY_MISSING,
        "address.country",
    ),
    "no tax registration": (
        context(deal(client=client(tax_registrations=()))),
        Cause.TAX_REGISTRATION_MISSING,
        "tax_registrations",
    ),
    "a purchase order is required": (
        context(firm=firm(purchase_order_required=("NL01",))),
        Cause.PURCHASE_ORDER_MISSING,
        "purchase_order",
    ),
    "a client name of 375 characters": (context(deal(client=client(name=LONG))), Cause.NAME_TOO_LONG, "name"),
    "a deal name of 375 characters": (context(deal(name=LONG)), Cause.NAME_TOO_LONG, "name"),
}  # fmt: skip


def test_a_good_deal_has_no_findings() -> None:
    assert bad() == []


@pytest.mark.parametrize("name", list(BAD))
def test_bad_input_gives_a_finding_with_record_field_and_remedy(name: str) -> None:
    given, cause, field = BAD[name]
    found = [one for one in findings(given) if one.cause is cause]
    assert found, [one.message for one in findings(given)]
    one = found[0]
    assert one.field == field
    assert one.record is not None
    assert one.remedy == CATALOGUE[cause].remedy
    assert one.queue is CATALOGUE[cause].queue
    assert one.severity is Severity.BLOCKING
    assert one.message.endswith((".", "characters; the ERP holds 83."))


@pytest.mark.parametrize("name", list(BAD))
def test_no_bad_input_is_a_crash(name: str) -> None:
    given, _, _ = BAD[name]
    for one in findings(given):
        assert Finding.model_validate_json(one.model_dump_json()) == one


def test_all_findings_come_together() -> None:
    broken = deal(
        line(1, legal_entity="XX99"),
        line(2, "???"),
        line(3, start=None),
        in_currency(4, "100", "KWD", "0.33"),
        approval_status=None,
        payment_terms="Net 999",
        amount=money("1"),
        client=client(tax_registrations=(), address=Address(), name=LONG),
        name=LONG,
    )
    causes = {one.cause for one in bad(broken, supply=())}
    assert causes == {
        Cause.LEGAL_ENTITY_UNKNOWN,
        Cause.SERVICE_UNKNOWN,
        Cause.DATES_MISSING,
        Cause.CURRENCY_NOT_SOLD,
        Cause.APPROVAL_MISSING,
        Cause.PAYMENT_TERMS_UNKNOWN,
        Cause.AMOUNT_MISMATCH,
        Cause.TAX_REGISTRATION_MISSING,
        Cause.CLIENT_COUNTRY_MISSING,
        Cause.NAME_TOO_LONG,
        Cause.ROLE_UNKNOWN_IN_HR,
    }


def test_one_line_may_have_several_findings() -> None:
    found = bad(deal(line(service_code="???", legal_entity="XX99")))
    assert [one.cause for one in found] == [Cause.LEGAL_ENTITY_UNKNOWN, Cause.SERVICE_UNKNOWN]


def test_what_is_at_stake_is_said() -> None:
    found = bad(deal(line(1), line(2, "???", "5000")))
    assert [str(one.at_stake) for one in found] == ["EUR 5,000.00"]


def test_known_entities_and_terms_are_listed_in_the_message() -> None:
    assert "known: NL01, UK01, JP01" in bad(deal(legal_entity="XX99"))[0].message
    assert "known: Net 30, Net 45" in bad(deal(payment_terms="net 30"))[0].message


def test_nobody_with_the_role_in_that_region_is_a_warning() -> None:
    elsewhere = tuple(one for one in SUPPLY if one.region != "emea")
    found = bad(supply=elsewhere)
    assert {(one.cause, one.severity) for one in found} == {(Cause.ROLE_UNKNOWN_IN_HR, Severity.WARNING)}
    nobody_left = tuple(
        RoleSupply(role=one.role, region=one.region, workers=0 if one.region == "emea" else 1)
        for one in SUPPLY
    )
    assert {one.severity for one in bad(supply=nobody_left)} == {Severity.WARNING}


def test_without_an_hr_system_roles_are_not_checked_against_it() -> None:
    assert bad(supply=(), supply_known=False) == []


def test_the_lines_own_entity_comes_before_the_deals() -> None:
    one = deal(line(legal_entity="UK01"))
    assert entity_code(one, one.lines[0]) == "UK01"
    assert entity_code(deal(), deal().lines[0]) == "NL01"


def test_who_is_invoiced_needs_the_tax_registration() -> None:
    service_centre = client("001B", "Shared Services", tax_registrations=())
    one = deal(bill_to=service_centre)
    assert invoiced_client(one) == service_centre
    assert [found.record.id for found in bad(one) if found.record] == ["001B"]
    sold_to_without = deal(client=client(tax_registrations=()), bill_to=client("001B"))
    assert bad(sold_to_without) == []


def test_an_entity_that_need_not_show_a_tax_registration_does_not_ask() -> None:
    base = firm()
    relaxed = base.model_copy(
        update={
            "entities": tuple(
                one.model_copy(update={"tax_registration_required": False}) for one in base.entities
            )
        }
    )
    assert bad(deal(client=client(tax_registrations=())), firm=relaxed) == []


def test_names_of_the_whole_hierarchy_are_measured() -> None:
    found = bad(deal(hierarchy=(client("001P", LONG),)))
    assert [(one.cause, one.record.id if one.record else "") for one in found] == [
        (Cause.NAME_TOO_LONG, "001P")
    ]


def test_the_limit_is_the_shortest_of_all_systems_and_counts_characters() -> None:
    assert bad(deal(name="株" * 83)) == []
    name = "株" * 84
    found = bad(deal(name=name))
    assert [one.message for one in found] == [
        f"project.title {name!r} has 84 characters; netsuite-emea holds 83."
    ]


def test_lines_that_deliver_nothing_are_not_placed() -> None:
    placed, found = place(deal(line(1), line(2, "LIC", "500")), firm())
    assert [one.service.code for one in placed] == ["IMPL"]
    assert found == []


def test_routes_that_contradict_one_another_are_a_finding() -> None:
    base = firm()
    twins = (
        Route(crm="sf-main", erp=ERP, psa=PSA, legal_entity="NL01"),
        Route(crm="sf-main", erp="other", psa=PSA, region="emea"),
    )
    found = bad(firm=base.model_copy(update={"routes": twins}))
    assert [one.cause for one in found] == [Cause.ROUTE_AMBIGUOUS]
    assert "other + kantata-main" in found[0].message


def test_no_route_is_a_finding() -> None:
    found = bad(firm=firm().model_copy(update={"routes": ()}))
    assert [one.cause for one in found] == [Cause.ROUTE_MISSING]
    assert found[0].message == "Line 00k1 (Implementation): no route for entity NL01, region emea."


@pytest.mark.parametrize(
    ("quantity", "price", "amount"),
    [("3", "33.335", "100.01"), ("0.3333", "3000", "999.90"), ("1", "0", "0"), ("2", "0.005", "0.01")],
)
def test_lines_multiply_out_after_one_rounding(quantity: str, price: str, amount: str) -> None:
    one = line(quantity=Decimal(quantity), unit_price=Decimal(price), amount=money(amount))
    assert bad(deal(one)) == []


def test_a_discount_is_part_of_the_product() -> None:
    one = line(price="88000", discount_percent=Decimal(10), amount=money("79200"))
    assert bad(deal(one)) == []
    (found,) = bad(deal(line(price="88000", discount_percent=Decimal(10), amount=money("79200.01"))))
    assert found.message == ("Line 00k1 says EUR 79,200.01, but 1 x 88000 less 10 % is EUR 79,200.00.")


@pytest.mark.parametrize("currency", ["JPY", "EUR"])
def test_amounts_are_checked_in_the_deals_currency(currency: str) -> None:
    entity = "JP01" if currency == "JPY" else "NL01"
    one = line(price="1000", amount=money("1000", currency), legal_entity=entity)
    given = deal(one, currency=currency, amount=money("1000", currency), legal_entity=entity)
    assert bad(given) == []


def test_a_line_with_its_own_billing_method_needs_none_from_the_service() -> None:
    one = deal(line(billing_method=BillingMethod.PROGRESS))
    assert bad(one, firm=with_service("IMPL", billing_method=None)) == []
