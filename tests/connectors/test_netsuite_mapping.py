"""NetSuite's JSON to canonical, wire helpers, queries, cursors, settings. No network."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from canonical.money import Money
from canonical.parties import TaxRegistration
from canonical.refs import RecordRef
from connectors.kit.http import encode
from connectors.netsuite import events, queries, wire
from connectors.netsuite.readings import to_baseline, to_erp_client, to_reference
from connectors.netsuite.schemas import CustomerRow
from connectors.netsuite.values import canonical_values
from tests.connectors import netsuite_samples as samples

REF = RecordRef(system=samples.SYSTEM, type="customer", id="55")


# --- settings --------------------------------------------------------------------------------------------


def test_the_digest_follows_content_not_order() -> None:
    one, two = (
        samples.mapping(),
        samples.mapping(currencies=dict(reversed(samples.MAPPING["currencies"].items()))),
    )
    assert one.digest == two.digest
    assert one.digest != samples.mapping(tax="legacy").digest


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mapping": {"subsidiaries": {"A": "1", "B": "1"}}}, "same NetSuite id"),
        ({"mapping": {"account_timezone": "Mars/Olympus"}}, "IANA"),
        ({"mapping": {"job_billing_types": {"barter": "1"}}}, "barter"),
        ({"base_url": "https://x.example/"}, "trailing slash"),
        (
            {"auth": {"kind": "oauth_m2m", "client_id": "c", "certificate_id": "k", "private_key": "PEM"}},
            "not written here",
        ),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        samples.settings(**{"base_url": "https://1.example", **changes})


# --- wire -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("https://1234567-SB1.SUITETALK.API.NETSUITE.COM/services/rest/record/v1/customer/647", "647"),
        ("https://x/services/rest/record/v1/job/12/", "12"),
        ("/services/rest/async/v1/job/11?x=1", "11"),
        ("https://x/record/v1/customer/eid%3Atu-1", "eid:tu-1"),
        (None, None),
        ("https://x", None),
    ],
)
def test_the_id_is_the_last_segment_of_the_location(location: str | None, expected: str | None) -> None:
    assert wire.location_id(location) == expected


def test_amounts_reach_the_wire_as_numbers_digit_for_digit() -> None:
    body = {"item": {"items": [{"amount": "1000.10", "quantity": "0.125", "description": "12"}]}, "memo": "7"}
    assert encode(wire.numbers(body)) == (
        b'{"item":{"items":[{"amount":1000.10,"quantity":0.125,"description":"12"}]},"memo":"7"}'
    )


@pytest.mark.parametrize(
    ("current", "wanted", "expected"),
    [
        ({"id": "4", "refName": "Euro"}, {"id": "4"}, True),
        ({"id": "4"}, {"id": "5"}, False),
        (Decimal("10.0"), Decimal("10"), True),
        ("10.00", Decimal("10"), True),
        (None, Decimal("0"), False),
        ("T", True, True),
        (None, False, True),
        (None, None, True),
        ("x", None, False),
        (
            {"items": [{"currency": {"id": "4"}}, {"currency": {"id": "2"}}]},
            {"items": [{"currency": {"id": "2"}}]},
            True,
        ),
        ({"items": []}, {"items": [{"currency": {"id": "2"}}]}, False),
    ],
)
def test_comparison_of_current_and_wanted(current: Any, wanted: Any, expected: bool) -> None:
    assert wire.shows(current, wanted) is expected


def test_no_number_passes_through_a_float() -> None:
    with pytest.raises(ValueError, match="exact"):
        wire.decimal(0.1)


# --- queries ----------------------------------------------------------------------------------------------


def test_literals_cannot_break_out() -> None:
    assert queries.literal("O'Brien' OR '1'='1") == "'O''Brien'' OR ''1''=''1'"
    assert queries.literal("a\x00b\n") == "'ab'"
    assert queries.ids(["55", "1 OR 1=1", "-5"]) == "(55, -5)"


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("The Acme Company Ltd", "ACME"),
        ("ÉLAN Group", "ÉLAN"),
        ("Großmann & Co", "GRO"),
        ("日本電気株式会社", "日本電気株式会社"),
        ("A&B", None),
    ],
)
def test_the_significant_word(name: str, word: str | None) -> None:
    assert queries.significant_word(name) == word


def test_one_query_looks_for_a_client_in_every_way() -> None:
    who = samples.client(
        name="Acme GmbH",
        erp_ids={samples.SYSTEM: "55", "other": "9"},
        tax_registrations=(TaxRegistration(country="DE", number="DE 811 000 001"),),
    )
    sql = queries.clients(samples.mapping(), samples.SYSTEM, who)
    assert "id = 55" in sql
    assert "defaulttaxreg IN ('DE 811 000 001', 'DE811000001', '811000001')" in sql
    assert "UPPER(companyname) LIKE '%ACME%'" in sql
    assert sql.endswith("ORDER BY id")
    assert all(external in sql for external in queries.external_ids(samples.SYSTEM, "001A1"))
    assert len(set(queries.external_ids(samples.SYSTEM, "001A1"))) == queries.GENERATIONS
    hostile = who.model_copy(update={"erp_ids": {samples.SYSTEM: "1 OR 1=1"}})
    assert "1=1" not in queries.clients(samples.mapping(), samples.SYSTEM, hostile)
    assert "vatregnumber IN" in queries.clients(samples.mapping(tax="legacy"), samples.SYSTEM, who)


# --- readings ---------------------------------------------------------------------------------------------


def test_reference_in_our_own_codes() -> None:
    reference = to_reference(
        samples.SYSTEM,
        samples.mapping(),
        subsidiaries=[
            {"id": "3", "currency": "4", "isinactive": "F"},
            {"id": "7", "currency": "2", "isinactive": "T"},
        ],
        currencies=[{"id": "4", "symbol": "EUR"}, {"id": "2", "symbol": "GBP", "isinactive": "T"}],
        terms=[{"id": "2", "name": "Net 30"}],
        periods=[
            {"id": "1", "enddate": "2026-10-31", "closed": "T", "isyear": "F", "isquarter": "F"},
            {"id": "2", "enddate": "2026-11-30", "closed": "F", "arlocked": "T"},
            {"id": "3", "enddate": "2026-12-31", "closed": "F"},
            {"id": "4", "enddate": "2027-12-31", "closed": "T", "isyear": "T"},
        ],
        wanted=["31", "32"],
        found=[{"id": "31"}, {"id": "32", "isinactive": "T"}],
    )
    assert reference.entities == ("DE01",)
    assert reference.currencies == ("EUR",)
    assert reference.payment_terms == ("Net 30",)
    assert reference.items == ("31",)
    assert reference.base_currency_by_entity == {"DE01": "EUR"}
    assert reference.closed_through == {"DE01": date(2026, 11, 30)}
    assert reference.limits["client.name"] == 83


def test_customer_with_entities_currencies_and_address() -> None:
    row = CustomerRow.model_validate(
        {
            "id": 55,
            "companyname": "Acme GmbH",
            "externalid": "tu-x",
            "subsidiary": "3",
            "currency": "4",
            "tax_number": "DE1",
            "isinactive": "T",
        }
    )
    record = {
        "currencyList": {
            "items": [{"currency": {"id": "4"}}, {"currency": {"id": "2"}}, {"currency": {"id": "99"}}]
        },
        "addressBook": {
            "items": [
                {"defaultBilling": True, "addressBookAddress": {"city": "Berlin", "country": {"id": "DE"}}}
            ]
        },
    }
    found = to_erp_client(samples.mapping(), row, subsidiaries=["7", "3"], record=record, ref=REF)
    assert found.entities == ("DE01", "UK01")
    assert found.currencies == ("EUR", "GBP")
    assert (found.city, found.country) == ("Berlin", "DE")
    assert found.tax_numbers == ("DE1",)
    assert found.inactive is True
    assert to_erp_client(samples.mapping(), row, subsidiaries=[], record=None, ref=REF).currencies == ("EUR",)


JOB = {
    "id": "77",
    "entityId": "PRJ77",
    "companyName": "Acme rollout",
    "parent": {"id": "55"},
    "subsidiary": {"id": "3"},
    "currency": {"id": "4"},
    "jobBillingType": {"id": "TM"},
    "entityStatus": {"id": "2"},
    "isInactive": False,
}
ORDER = {
    "id": "90",
    "entity": {"id": "55"},
    "job": {"id": "77"},
    "subsidiary": {"id": "3"},
    "currency": {"id": "4"},
    "orderStatus": {"id": "B"},
    "item": {"items": [{"line": 1, "amount": Decimal("600.00")}, {"line": 2, "amount": 400}]},
}


def test_the_baseline_in_canonical_words() -> None:
    of = samples.contract(samples.line("L1", "600.00"), samples.line("L2", "400.00"))
    baseline = to_baseline(samples.mapping(), of, JOB, ORDER, (REF,))
    assert baseline.project_code == "PRJ77"
    assert baseline.client_id == "55"
    assert (baseline.legal_entity, baseline.currency) == ("DE01", "EUR")
    assert baseline.amount == Money(amount=Decimal("1000.00"), currency="EUR")
    assert baseline.billing_methods == ("time_and_materials", "time_and_materials")
    assert baseline.contract_approved
    assert baseline.project_open


def test_contradictions_between_order_and_project_stay_visible() -> None:
    other = {
        **JOB,
        "id": "78",
        "subsidiary": {"id": "7"},
        "jobBillingType": {"id": "3"},
        "entityStatus": {"id": "4"},
    }
    baseline = to_baseline(
        samples.mapping(), samples.contract(), other, {**ORDER, "orderStatus": {"id": "A"}}, (REF,)
    )
    assert baseline.project_code == "PRJ77 (order: project 77)"
    assert baseline.legal_entity == "DE01 (project: UK01)"
    assert set(baseline.billing_methods) == {"milestone"}
    assert not baseline.contract_approved
    assert not baseline.project_open


def test_billing_methods_come_from_the_column_where_there_is_one() -> None:
    mapping = samples.mapping(custom={"line_billing_method": "custcol_bm"})
    order = {
        **ORDER,
        "item": {"items": [{"line": 1, "amount": 1, "custcol_bm": "milestone"}, {"line": 2, "amount": 2}]},
    }
    assert to_baseline(mapping, samples.contract(), JOB, order, (REF,)).billing_methods == ("milestone", "")


def test_read_back_values_show_what_is_unmapped_or_unrounded() -> None:
    values = canonical_values(
        samples.mapping(), "salesOrder", {**ORDER, "currency": {"id": "6"}, "subsidiary": {"id": "12"}}
    )
    assert values["legal_entity"] == "subsidiary 12"
    assert values["amount"] == "1000"  # yen
    odd = {**ORDER, "item": {"items": [{"amount": Decimal("0.001")}]}}
    assert canonical_values(samples.mapping(), "salesOrder", odd)["amount"] == "0.001"
    job = canonical_values(samples.mapping(), "job", {**JOB, "entityStatus": {"id": "3"}})
    assert job["status"] == "status 3"


# --- cursors ----------------------------------------------------------------------------------------------

BERLIN = ZoneInfo("Europe/Berlin")


def test_between_polls_the_cursor_overlaps_within_a_poll_it_does_not() -> None:
    cursor = events.Cursor("2026-11-20 10:00:00", 7)
    assert cursor.lower_bound(BERLIN, timedelta(minutes=10)) == ("2026-11-20 09:50:00", None)
    paging = events.Cursor.decode(events.Cursor("2026-11-20 10:00:00", 7, more=True).encode())
    assert paging.lower_bound(BERLIN, timedelta(minutes=10)) == ("2026-11-20 10:00:00", 7)


def test_the_hour_that_repeats_in_autumn_is_read_again() -> None:
    repeated = events.Cursor("2026-10-25 02:40:00", 7)
    assert repeated.lower_bound(BERLIN, timedelta(minutes=10)) == ("2026-10-25 01:30:00", None)
    spring = events.Cursor("2026-03-29 03:10:00", 7)
    assert spring.lower_bound(BERLIN, timedelta(minutes=10)) == ("2026-03-29 03:00:00", None)


def test_cursors_advance_and_never_go_back() -> None:
    cursor = events.Cursor("2026-11-20 10:00:00", 7)
    rows = [
        {"id": "9", "type": "CustInvc", "modified": "2026-11-20 10:00:01"},
        {"id": "3", "type": "Journal", "modified": "2026-11-20 10:05:00"},
    ]
    assert events.advance(cursor, rows, more=True) == events.Cursor("2026-11-20 10:05:00", 3, more=True)
    older = [{"id": "1", "type": "CustInvc", "modified": "2026-11-20 09:55:00"}]
    assert events.advance(cursor, older, more=False) == cursor
    assert events.advance(events.Cursor("x", 1, more=True), [], more=False) == events.Cursor("x", 1)
    (change,) = events.to_changes(samples.SYSTEM, rows, BERLIN)
    assert change.ref.type == "invoice"
    assert change.modified_at == datetime(2026, 11, 20, 9, 0, 1, tzinfo=UTC)


def test_a_foreign_cursor_is_refused() -> None:
    for text in ("", "{}", '{"at":"yesterday","id":1,"more":false}'):
        with pytest.raises(ValueError, match="not a position"):
            events.Cursor.decode(text)


def test_transactions_are_ordered_by_a_keyset() -> None:
    sql = queries.transactions_since(("CustInvc",), "2026-11-20 10:00:00", 7)
    moment = "TO_TIMESTAMP('2026-11-20 10:00:00', 'YYYY-MM-DD HH24:MI:SS')"
    assert f"(t.lastmodifieddate > {moment} OR (t.lastmodifieddate = {moment} AND t.id > 7))" in sql
    assert sql.endswith("ORDER BY t.lastmodifieddate, t.id")
