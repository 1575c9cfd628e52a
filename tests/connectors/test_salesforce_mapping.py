"""Vendor JSON to the canonical deal, and plans to vendor JSON: pure."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from canonical.authority import Phase, may_write
from canonical.causes import Cause, Queue
from canonical.engagement import BillingMethod, RevenueMethod
from canonical.failures import Refused
from canonical.money import Money
from canonical.operations import DealOutcome, WriteContext
from canonical.opportunity import Opportunity
from canonical.refs import RecordRef, SystemRole
from canonical.writes import VendorWrite, resolve_write, symbol, text
from connectors.kit.secrets import Secret
from connectors.salesforce import plans
from connectors.salesforce.countries import DEFAULT_COUNTRIES, country_code
from connectors.salesforce.mapping import DealMapper, comparable, same
from connectors.salesforce.schemas import AccountRecord, OpportunityRecord
from connectors.salesforce.settings import (
    AccountFields,
    AccountFigureFields,
    ClientCredentials,
    FigureFields,
    LineFields,
    Mapping,
    OpportunityFields,
    SalesforceSettings,
)

DEAL = "006gK0000000001QAA"
ACCOUNT = "001gK0000000001QAA"
LINE: dict[str, Any] = {
    "Id": "00kgK0000000001QAA",
    "SystemModstamp": "2026-11-02T08:00:00.000+0000",
    "Quantity": 2.0,
    "UnitPrice": 500.25,
    "TotalPrice": 1000.5,
    "ServiceDate": "2026-12-01",
    "Description": "  Discovery ",
    "Product2": {"ProductCode": "SVC-DISC", "Name": "Discovery"},
    "Legal_Entity__c": "DE01",
    "Delivery_Region__c": "EMEA",
    "Billing_Method__c": "Fixed  Price",
    "Revenue_Method__c": "Straight-line",
    "Start_Date__c": None,
    "End_Date__c": "2027-03-31",
    "Contract_Currency__c": None,
    "Contract_Rate__c": None,
}
RECORD: dict[str, Any] = {
    "Id": DEAL,
    "Name": "Northwind rollout",
    "StageName": "Closed Won",
    "IsClosed": True,
    "IsWon": True,
    "Amount": 1000.5,
    "CloseDate": "2026-10-30",
    "SystemModstamp": "2026-11-01T08:00:00.000+0000",
    "AccountId": ACCOUNT,
    "CurrencyIsoCode": "EUR",
    "Owner": {"Email": "rep@acme.example"},
    "Type": "New Business",
    "SOW_Number__c": "SOW-7",
    "SOW_Signed_On__c": "2026-10-28",
    "Payment_Terms__c": "NET30",
    "PO_Number__c": 4711,
    "Account": {
        "Id": ACCOUNT,
        "Name": "Northwind",
        "ParentId": None,
        "SystemModstamp": "2026-01-01T08:00:00.000+0000",
        "BillingCity": "Köln",
        "BillingCountry": " germany ",
        "CurrencyIsoCode": "EUR",
        "Tax_Id__c": "DE123456789",
        "ERP_Customer_Id__c": "C-17",
    },
    "OpportunityLineItems": {"totalSize": 1, "done": True, "records": [LINE]},
}


def deal(
    changes: dict[str, Any] | None = None,
    line: dict[str, Any] | None = None,
    mapping: Mapping | None = None,
) -> Opportunity:
    body = {**RECORD, **(changes or {})}
    if line is not None:
        body["OpportunityLineItems"] = {"done": True, "records": [{**LINE, **line}]}
    exact = json.loads(json.dumps(body), parse_float=Decimal)
    mapper = DealMapper(
        "sf", mapping or Mapping(account=AccountFields(erp_system="ns")), lambda t, i: f"u/{i}"
    )
    return mapper.to_opportunity(OpportunityRecord.model_validate(exact), [], None)


def test_a_deal_arrives_whole() -> None:
    found = deal()
    assert found.ref == RecordRef(system="sf", type="Opportunity", id=DEAL, url=f"u/{DEAL}")
    assert found.amount == Money(amount=Decimal("1000.50"), currency="EUR")
    assert (found.deal_type, found.purchase_order, found.payment_terms) == ("New Business", "4711", "NET30")
    assert found.sow is not None
    assert (found.sow.number, found.sow.signed_on, found.sow.version) == ("SOW-7", date(2026, 10, 28), None)
    assert found.client is not None
    assert found.client.key == ACCOUNT
    assert found.client.address.country == "DE"
    assert found.client.tax_registrations[0].number == "DE123456789"
    assert found.client.erp_ids == {"ns": "C-17"}
    (line,) = found.lines
    assert line.amount == Money(amount=Decimal("1000.50"), currency="EUR")
    assert (line.unit_price, line.quantity) == (Decimal("500.25"), Decimal("2.0"))
    assert (line.service_code, line.description) == ("SVC-DISC", "Discovery")
    assert (line.billing_method, line.revenue_method) == (
        BillingMethod.FIXED_SCHEDULE,
        RevenueMethod.STRAIGHT_LINE,
    )
    assert (line.start, line.end) == (date(2026, 12, 1), date(2027, 3, 31))
    assert line.conversion is None


def test_a_start_date_of_our_own_wins_over_the_service_date() -> None:
    assert deal(line={"Start_Date__c": "2027-01-15"}).lines[0].start == date(2027, 1, 15)


def test_no_lines_are_null_on_the_wire() -> None:
    assert deal({"OpportunityLineItems": None}).lines == ()


def test_lines_keep_one_order_whatever_the_vendor_does() -> None:
    rows = [{**LINE, "Id": f"00kgK000000000{n}QAA"} for n in (3, 1, 2)]
    forward = deal({"OpportunityLineItems": {"done": True, "records": rows}})
    backward = deal({"OpportunityLineItems": {"done": True, "records": rows[::-1]}})
    assert forward == backward
    assert [line.id for line in forward.lines] == sorted(line.id for line in forward.lines)


@pytest.mark.parametrize(
    "changes",
    [
        {"SystemModstamp": "2026-11-03T08:00:00.000+0000"},
        {"OpportunityLineItems": {"records": [{**LINE, "SystemModstamp": "2026-11-09T08:00:00.000+0000"}]}},
        {"Account": {**RECORD["Account"], "SystemModstamp": "2026-11-09T08:00:00.000+0000"}},
    ],
    ids=["deal", "line", "account"],
)  # fmt: skip
def test_the_revision_follows_every_record_of_the_snapshot(changes: dict[str, Any]) -> None:
    assert deal(changes).revision != deal().revision


@pytest.mark.parametrize(("currency", "amount", "expected"), [
    ("JPY", 120000.0, Decimal("120000")),
    ("KWD", 12.345, Decimal("12.345")),
    ("EUR", 0.1, Decimal("0.10")),
])  # fmt: skip
def test_amounts_keep_their_currencys_decimals(currency: str, amount: float, expected: Decimal) -> None:
    found = deal({"CurrencyIsoCode": currency, "Amount": amount}, line={"TotalPrice": amount})
    assert found.amount is not None
    assert (found.amount.amount, found.lines[0].amount.amount) == (expected, expected)


def test_fractions_of_a_yen_are_a_finding_not_a_rounding() -> None:
    with pytest.raises(Refused) as caught:
        deal({"CurrencyIsoCode": "JPY", "Amount": 100.5}, line={"TotalPrice": 100})
    failure = caught.value.failure
    assert failure.cause is Cause.AMOUNT_MISMATCH
    assert failure.field == "Amount"
    assert "more decimals than JPY" in failure.message


def test_a_contract_in_another_currency_brings_its_own_rate() -> None:
    conversion = deal(line={"Contract_Currency__c": "USD", "Contract_Rate__c": 1.085}).lines[0].conversion
    assert conversion is not None
    assert (conversion.from_currency, conversion.to_currency) == ("EUR", "USD")
    assert conversion.rate == Decimal("1.085")
    assert (conversion.rate_type, conversion.rate_date) == ("fixed_by_contract", "2026-10-30")
    assert conversion.source == "OpportunityLineItem.Contract_Rate__c"


def test_the_deals_own_currency_needs_no_rate() -> None:
    assert deal(line={"Contract_Currency__c": "EUR", "Contract_Rate__c": None}).lines[0].conversion is None


def test_everything_that_is_not_understood_is_reported_at_once() -> None:
    with pytest.raises(Refused) as caught:
        deal(line={
            "Contract_Currency__c": "USD", "Contract_Rate__c": 0,
            "Billing_Method__c": "Barter", "Revenue_Method__c": "Whenever", "End_Date__c": "soon",
        })  # fmt: skip
    findings = caught.value.failure.findings
    assert {finding.field for finding in findings} == {
        "Contract_Rate__c", "Billing_Method__c", "Revenue_Method__c", "End_Date__c",
    }  # fmt: skip
    barter = next(finding for finding in findings if finding.field == "Billing_Method__c")
    assert (barter.cause, barter.queue) == (Cause.BILLING_METHOD_MISSING, Queue.BILLING)
    assert "'Barter'" in barter.message
    assert barter.record is not None
    assert barter.record.id == LINE["Id"]


def test_configured_words_win_over_the_usual_ones() -> None:
    mapping = Mapping(billing_words={"Fixed Price": BillingMethod.MILESTONE, "Abo": BillingMethod.RETAINER})
    assert deal(mapping=mapping).lines[0].billing_method is BillingMethod.MILESTONE
    assert deal(line={"Billing_Method__c": "ABO"}, mapping=mapping).lines[0].billing_method is (
        BillingMethod.RETAINER
    )


def test_an_organisation_with_one_currency_must_say_which() -> None:
    with pytest.raises(Refused) as caught:
        deal({"CurrencyIsoCode": None})
    assert caught.value.failure.cause is Cause.CONFIGURATION
    assert deal({"CurrencyIsoCode": None}, mapping=Mapping(default_currency="GBP")).currency == "GBP"


def test_an_unknown_currency_stops_the_deal() -> None:
    with pytest.raises(Refused) as caught:
        deal({"CurrencyIsoCode": "XXQ"})
    assert caught.value.failure.cause is Cause.CURRENCY_NOT_SOLD


def test_ancestors_come_top_first_and_know_their_parent() -> None:
    top = AccountRecord(Id="001gK0000000003QAA", Name="Top", SystemModstamp="x")
    middle = AccountRecord(Id="001gK0000000002QAA", Name="Middle", SystemModstamp="x", ParentId=top.Id)
    record = OpportunityRecord.model_validate(
        json.loads(json.dumps({**RECORD, "Account": {**RECORD["Account"], "ParentId": middle.Id}}),
                   parse_float=Decimal)
    )  # fmt: skip
    found = DealMapper("sf", Mapping(), lambda t, i: None).to_opportunity(record, [middle, top], None)
    assert [client.name for client in found.hierarchy] == ["Top", "Middle"]
    assert found.client is not None
    assert found.client.parent_key == middle.Id
    assert found.hierarchy[1].parent_key == top.Id


def test_the_tax_number_names_the_country_where_the_address_does_not() -> None:
    account = {**RECORD["Account"], "BillingCountry": "Atlantis", "Tax_Id__c": "NL853746333B01"}
    client = deal({"Account": account}).client
    assert client is not None
    assert client.address.country is None
    assert client.tax_registrations[0].country == "NL"


@pytest.mark.parametrize(("name", "code"), [
    ("Germany", "DE"), ("  united   KINGDOM ", "GB"), ("nl", "NL"), ("Wonderland", None), ("", None),
    (None, None), ("Nederland", "NL"),
])  # fmt: skip
def test_country_names(name: str | None, code: str | None) -> None:
    assert country_code(name, Mapping(countries={"Nederland": "NL"}).countries) == code


def test_the_default_countries_are_codes() -> None:
    assert len(DEFAULT_COUNTRIES) >= 60
    assert all(len(code) == 2 and code.isupper() for code in DEFAULT_COUNTRIES.values())
    assert all(country_code(name.title(), {}) == code for name, code in DEFAULT_COUNTRIES.items())


def test_a_picklist_code_wins_over_the_name() -> None:
    account = {**RECORD["Account"], "BillingCountry": "Deutschland", "BillingCountryCode": "DE"}
    client = deal({"Account": account}).client
    assert client is not None
    assert client.address.country == "DE"


# --- comparing what was written ------------------------------------------------------------------------


@pytest.mark.parametrize(("expected", "actual", "equal"), [
    ("1000.50", Decimal("1000.5"), True),
    (Decimal("1000.50"), Decimal("1000.5"), True),
    ("0", 0, True),
    ("1000.50", Decimal("1000.51"), False),
    ("P-1", "P-1", True),
    ("P-1", None, False),
    (None, None, True),
    (None, "x", False),
    ("", None, True),
    (True, True, True),
    ("1", True, False),
])  # fmt: skip
def test_same_value(expected: Any, actual: Any, equal: bool) -> None:
    assert same(expected, actual) is equal
    assert (comparable(expected, actual) == expected) is equal


# --- plans ---------------------------------------------------------------------------------------------


def settings(**mapping: Any) -> SalesforceSettings:
    return SalesforceSettings(
        base_url="https://acme.my.salesforce.com/",
        auth=ClientCredentials(client_id=Secret(env="A"), client_secret=Secret(env="B")),
        mapping=Mapping(**mapping),
    )


def context(phase: Phase = Phase.AFTER_APPROVAL) -> WriteContext:
    return WriteContext(
        saga_id=f"o2p:emea:sf:{DEAL}", generation=2, step="tell_sales", region="emea", phase=phase
    )


def outcome(**changes: Any) -> DealOutcome:
    values: dict[str, Any] = {
        "deal": RecordRef(system="sf", type="Opportunity", id=DEAL),
        "engagement_code": "P-1",
        "project_codes": "P-1",
        "status": "Active",
        "project_link": "https://psa/1",
        **changes,
    }
    return DealOutcome(**values)


FIGURES = FigureFields(invoiced="Inv__c", paid="Paid__c", balance="Bal__c", recognised_revenue="Rev__c")


ACCOUNT_FIGURES = AccountFigureFields(**FIGURES.model_dump(), margin="Margin__c", margin_percent="Pct__c")


def all_plans(phase: Phase) -> list[VendorWrite]:
    one = settings(opportunity_figures=FIGURES, account_figures=ACCOUNT_FIGURES)
    found = plans.write_back("sf", one, context(phase), outcome())
    if phase is Phase.AFTER_APPROVAL:
        for type_, id_ in (("Opportunity", DEAL), ("Account", ACCOUNT)):
            ref = RecordRef(system="sf", type=type_, id=id_)
            names = (*plans.FIGURES, *(plans.MARGIN if type_ == "Account" else ()))
            euro = {key: Money(amount=Decimal("10.50"), currency="EUR") for key in names}
            found += plans.invoice_feedback("sf", one, context(phase), ref, euro, revision="7")
    return found


@pytest.mark.parametrize("phase", list(Phase))
def test_every_planned_field_is_one_that_sales_may_be_told(phase: Phase) -> None:
    writes = all_plans(phase)
    assert writes
    for write in writes:
        assert set(write.sets) == set(write.body)
        for target in write.sets.values():
            object_, field = target.split(".")
            assert may_write(object_, field, phase, SystemRole.CRM) is not None, target


def test_write_back_is_one_update_of_the_deal() -> None:
    (write,) = plans.write_back("sf", settings(), context(), outcome())
    assert (write.method, write.operation, write.forward_only) == ("PATCH", "write_back", True)
    assert write.key == f"sf|write_back|{DEAL}|g2|1"
    assert write.body == {
        "Project_Code__c": "P-1", "Engagement_Code__c": "P-1", "Project_Status__c": "Active",
        "Project_Link__c": "https://psa/1",
    }  # fmt: skip
    assert set(write.restore) == set(write.body) == set(write.expect)


def test_several_codes_are_joined_as_text_and_as_symbols() -> None:
    (write,) = plans.write_back("sf", settings(), context(), outcome(project_codes=["P-1", "P-2"]))
    assert write.body["Project_Code__c"] == "P-1, P-2"
    planned = outcome(
        project_codes=[symbol("project:A", "code"), symbol("project:B", "code")],
        engagement_code=symbol("project:A", "code"),
    )
    (write,) = plans.write_back("sf", settings(), context(), planned)
    ready = resolve_write(write, {"project:A.code": "P-1", "project:B.code": "P-2"})
    assert ready.body["Project_Code__c"] == ready.expect["Project_Code__c"] == "P-1, P-2"
    assert ready.body["Engagement_Code__c"] == "P-1"
    (write,) = plans.write_back("sf", settings(), context(), outcome(project_codes=text("P-", "3")))
    assert resolve_write(write, {}).body["Project_Code__c"] == "P-3"


def test_no_link_leaves_the_link_alone_and_unmapped_fields_are_left_out() -> None:
    (write,) = plans.write_back("sf", settings(), context(), outcome(project_link=None))
    assert "Project_Link__c" not in write.body
    empty = OpportunityFields(project_code="", engagement_code="", project_status="", project_link="")
    assert plans.write_back("sf", settings(opportunity=empty), context(), outcome()) == []


def test_a_deal_of_another_system_is_refused() -> None:
    with pytest.raises(ValueError, match="not a record of sf"):
        plans.write_back(
            "sf", settings(), context(), outcome(deal=RecordRef(system="other", type="Opportunity", id=DEAL))
        )


def test_figures_carry_their_currency_into_the_proof() -> None:
    ref = RecordRef(system="sf", type="Opportunity", id=DEAL)
    figures: dict[str, Money | Decimal] = {
        "invoiced": Money(amount=Decimal("10.50"), currency="EUR"),
        "paid": Decimal(0),
    }
    one = settings(opportunity_figures=FIGURES)
    (write,) = plans.invoice_feedback("sf", one, context(), ref, figures, revision="3")
    assert write.body == {"Inv__c": Decimal("10.50"), "Paid__c": Decimal(0)}
    assert write.expect == {"Inv__c": "10.50", "Paid__c": "0", "CurrencyIsoCode": "EUR"}
    (later,) = plans.invoice_feedback("sf", one, context(), ref, figures, revision="4")
    assert later.key != write.key


def test_margin_is_an_accounts_only() -> None:
    one = settings(opportunity_figures=FIGURES, account_figures=ACCOUNT_FIGURES)
    account = RecordRef(system="sf", type="Account", id=ACCOUNT)
    margin = {"margin": Money(amount=Decimal("-3.20"), currency="EUR"), "margin_percent": None}
    (write,) = plans.invoice_feedback("sf", one, context(), account, margin)
    assert write.body == {"Margin__c": Decimal("-3.20"), "Pct__c": None}
    with pytest.raises(ValidationError, match="opportunity_figures"):
        settings(opportunity_figures={"margin": "Margin__c"})


def test_stored_plans_still_send_numbers() -> None:
    ref = RecordRef(system="sf", type="Opportunity", id=DEAL)
    (write,) = plans.invoice_feedback(
        "sf", settings(opportunity_figures=FIGURES), context(), ref, {"invoiced": Decimal("10.50")}
    )
    stored = VendorWrite.model_validate_json(write.model_dump_json())
    assert plans.with_numbers(stored.body, stored.options) == {"Inv__c": Decimal("10.50")}


@pytest.mark.parametrize(("figures", "words"), [
    ({"margin": Decimal(1)}, "unknown figures"),
    ({"paid": Money(amount=Decimal(1), currency="EUR"), "balance": Money(amount=Decimal(1), currency="USD")},
     "several currencies"),
    ({"paid": Money(amount=Decimal(1), currency="USD")}, "only holds EUR"),
])  # fmt: skip
def test_figures_that_cannot_be_right_are_refused(figures: dict[str, Any], words: str) -> None:
    one = settings(opportunity_figures=FIGURES, default_currency="EUR")
    ref = RecordRef(system="sf", type="Opportunity", id=DEAL)
    with pytest.raises(ValueError, match=words):
        plans.invoice_feedback("sf", one, context(), ref, figures)


# --- settings ------------------------------------------------------------------------------------------


def test_the_digest_follows_the_mapping_only() -> None:
    one = settings(countries={"A": "DE", "B": "FR"})
    other = settings(countries={"B": "FR", "A": "DE"})
    assert one.mapping.digest == other.mapping.digest
    assert settings(line=LineFields(end="Ende__c")).mapping.digest != settings().mapping.digest


@pytest.mark.parametrize("bad", [
    {"mapping": {"opportunity": {"deal_type": "Type, (SELECT Id FROM Cases)"}}},
    {"mapping": {"countries": {"Nederland": "Netherlands"}}},
    {"base_url": "acme"},
    {"api_version": "latest"},
    {"record_url": "{base_url}/{nothing}"},
    {"auth": {"kind": "client_credentials", "client_id": "plain", "client_secret": {"env": "B"}}},
    {"surprise": 1},
])  # fmt: skip
def test_settings_refuse_what_cannot_work(bad: dict[str, Any]) -> None:
    good = settings().model_dump()
    with pytest.raises(ValidationError):
        SalesforceSettings.model_validate({**good, **bad})


def test_settings_come_from_plain_tables() -> None:
    found = SalesforceSettings.model_validate(
        {
            "base_url": "https://acme.my.salesforce.com",
            "auth": {"kind": "jwt_bearer", "client_id": {"env": "A"}, "private_key": {"file": "/run/key"},
                     "username": "integration@acme.example"},
            "mapping": {"billing_words": {"Abo": "retainer"}, "opportunity": {"sow_number": ""}},
        }
    )  # fmt: skip
    assert found.auth.kind == "jwt_bearer"
    assert found.auth.private_key.file == Path("/run/key")
    assert found.mapping.billing_method("ABO") is BillingMethod.RETAINER


def test_a_discount_travels_with_the_line() -> None:
    found = deal({}, line={"UnitPrice": 500.25, "Discount": 12.5})
    assert found.lines[0].discount_percent == Decimal("12.5")
    assert deal({}).lines[0].discount_percent == 0
