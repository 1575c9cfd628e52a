"""NetSuite simulator: the record service: names, values, references, external ids, sublists."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.simulators.test_netsuite_account import RECORD, Account, account


@pytest.fixture
def site() -> Iterator[Account]:
    with account() as found:
        yield found


CUSTOMER: dict[str, Any] = {"companyName": "Beta Ltd", "subsidiary": {"id": "3"}, "currency": {"id": "1"}}


def test_create_answers_204_without_body_and_an_absolute_location(site: Account) -> None:
    answer = site.call("POST", "/customer", CUSTOMER)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Location"].startswith(f"{site.base}{RECORD}/customer/")
    shown = site.http.get(answer.headers["Location"]).json()
    assert shown["companyName"] == "Beta Ltd"
    assert shown["subsidiary"] == {
        "links": [{"rel": "self", "href": f"{site.base}{RECORD}/subsidiary/3"}],
        "id": "3",
        "refName": "Firm GmbH",
    }
    asked = site.call("POST", "/customer?fields=companyName", {**CUSTOMER, "companyName": "Gamma"})
    assert (asked.status_code, asked.json()["companyName"]) == (200, "Gamma")


def test_location_may_name_the_account_in_another_spelling(site: Account) -> None:
    site.settings(location_host="1234567_SB1.suitetalk.api.netsuite.com")
    answer = site.call("PUT", "/customer/eid:x", CUSTOMER)
    where = f"http://1234567_SB1.suitetalk.api.netsuite.com{RECORD}/customer/"
    assert answer.headers["Location"] == where + site.get("/customer/eid:x")["id"]


def test_upsert_by_external_id_creates_once_and_then_updates(site: Account) -> None:
    first = site.make("/customer/eid:opp2p-cust-1", CUSTOMER, "PUT")
    again = site.make("/customer/eid:opp2p-cust-1", {"email": "ap@beta.test"}, "PUT")
    assert first == again
    shown = site.get("/customer/eid:opp2p-cust-1")
    assert (shown["companyName"], shown["email"], shown["externalId"]) == (
        "Beta Ltd",
        "ap@beta.test",
        "opp2p-cust-1",
    )
    assert [(w["operation"], w["key"]) for w in site.writes()] == [
        ("create", "opp2p-cust-1"),
        ("update", "opp2p-cust-1"),
    ]
    assert site.writes()[0]["body"] == CUSTOMER
    assert site.refused("PUT", f"/customer/{first}", CUSTOMER)["o:errorCode"] == "INVALID_PARAMETER"


def test_external_ids_with_reserved_characters_travel_percent_encoded(site: Account) -> None:
    id_ = site.make("/customer/eid:a%2Fb%20c", CUSTOMER, "PUT")
    assert site.get(f"/customer/{id_}")["externalId"] == "a/b c"
    assert site.get("/customer/eid:a%2Fb%20c")["id"] == id_


def test_a_post_with_a_taken_external_id_fails_across_the_family(site: Account) -> None:
    detail = site.refused("POST", "/customer", {**CUSTOMER, "externalId": "crm-55"})
    assert (detail["o:errorPath"], detail["o:errorCode"]) == ("externalId", "USER_ERROR")
    contact = {"firstName": "A", "lastName": "B", "externalId": "crm-55"}
    assert site.refused("POST", "/contact", contact)["o:errorPath"] == "externalId"
    assert site.refused("GET", "/job/eid:crm-55", status=404)["o:errorCode"] == "NONEXISTENT_ID"
    site.make("/department", {"name": "Delivery", "externalId": "crm-55"})
    site.settings(duplicate_error_code="DUP_RCRD")
    assert (
        site.refused("POST", "/customer", {**CUSTOMER, "externalId": "crm-55"})["o:errorCode"] == "DUP_RCRD"
    )


def test_entities_may_have_their_own_external_id_space_by_setting(site: Account) -> None:
    site.settings(entity_external_ids_shared=False)
    site.make("/contact", {"firstName": "A", "lastName": "B", "externalId": "crm-900"})
    site.make("/customer", {**CUSTOMER, "externalId": "crm-900"})


def test_an_unknown_field_is_refused_with_error_and_dropped_by_default(site: Account) -> None:
    detail = site.refused("PATCH", "/customer/55", {"emial": "x@y.test"})
    assert (detail["o:errorPath"], detail["o:errorCode"]) == ("emial", "INVALID_CONTENT")
    dropped = site.http.patch(f"{RECORD}/customer/55", json={"emial": "x@y.test", "phone": "1"})
    assert dropped.status_code == 204
    shown = site.get("/customer/55")
    assert shown["phone"] == "1"
    assert "emial" not in shown
    bad = site.refused("PATCH", "/customer/55", {}, X_NetSuite_PropertyNameValidation="Loud")
    assert bad["o:errorHeader"] == "X-NetSuite-PropertyNameValidation"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"companyName": 5}, "companyName"),
        ({"isInactive": "false"}, "isInactive"),
        ({"creditLimit": "12"}, "creditLimit"),
        ({"startDate": "21.11.2026"}, "startDate"),
        ({"startDate": "2026-02-30"}, "startDate"),
        ({"subsidiary": "3"}, "subsidiary"),
        ({"subsidiary": {"id": "99"}}, "subsidiary"),
        ({"parent": {"externalId": "nobody"}}, "parent"),
        ({"creditHoldOverride": {"id": "MAYBE"}}, "creditHoldOverride"),
        ({"creditHoldOverride": "AUTO"}, "creditHoldOverride"),
        ({"currencyList": [{"currency": {"id": "1"}}]}, "currencyList"),
        ({"currencyList": {"items": [{"currency": {"id": "9"}}]}}, "currencyList.items[0].currency"),
        ({"currencyList": {"items": [{"curency": {"id": "1"}}]}}, "currencyList.items[0].curency"),
    ],
)
def test_values_of_the_wrong_type_are_refused_with_their_path(
    site: Account, body: dict[str, Any], path: str
) -> None:
    before = site.get("/customer/55")
    detail = site.refused("PATCH", "/customer/55", body)
    assert (detail["o:errorPath"], detail["o:errorCode"]) == (path, "INVALID_CONTENT")
    assert site.get("/customer/55") == before
    assert site.writes() == []


def test_computed_fields_cannot_be_written(site: Account) -> None:
    assert site.refused("PATCH", "/customer/55", {"balance": 5})["o:errorPath"] == "balance"
    site.settings(read_only_fields="ignore")
    assert site.call("PATCH", "/customer/55", {"balance": 5}).status_code == 204
    assert site.get("/customer/55")["balance"] == 0


def test_content_type_json_and_method_are_checked(site: Account) -> None:
    assert site.refused("POST", "/customer", CUSTOMER, status=415, Content_Type="text/plain")
    broken = site.http.post(f"{RECORD}/customer", content="{", headers={"Content-Type": "application/json"})
    assert (broken.status_code, broken.json()["o:errorDetails"][0]["o:errorCode"]) == (400, "INVALID_CONTENT")
    assert site.refused("GET", "/nonsense/1", status=404)
    assert site.refused("GET", "/revenueArrangement/1", status=404)
    assert site.refused("GET", "/billingRateCard/2", status=404)
    assert site.refused("GET", "/customer/999", status=404)["o:errorCode"] == "NONEXISTENT_ID"


def test_sublists_are_links_until_expanded_and_fields_narrow_the_answer(site: Account) -> None:
    assert set(site.get("/customer/55")["currencyList"]) == {"links"}
    expanded = site.get("/customer/55?expandSubResources=true")["currencyList"]
    assert [line["currency"]["id"] for line in expanded["items"]] == ["1", "2"]
    assert expanded["totalResults"] == 2
    assert set(site.get("/customer/55?fields=companyName,terms")) == {"links", "id", "companyName", "terms"}
    assert site.refused("GET", "/customer/55?fields=companyNam")["o:errorQueryParam"] == "fields"
    site.make("/customer/55", {"creditHoldOverride": {"id": "AUTO"}}, "PATCH")
    assert site.get("/customer/55?simpleEnumFormat=true")["creditHoldOverride"] == "AUTO"


def test_sublists_merge_by_key_unless_replaced(site: Account) -> None:
    address = {
        "label": "HQ",
        "addressBookAddress": {"addr1": "Main 1", "city": "Bonn", "country": {"id": "DE"}},
    }
    site.make("/customer/55", {"addressBook": {"items": [address]}}, "PATCH")
    site.make(
        "/customer/55", {"addressBook": {"items": [{"id": 1, "label": "Head"}, {"label": "Lab"}]}}, "PATCH"
    )
    book = site.get("/customer/55?expandSubResources=true")["addressBook"]["items"]
    assert [(line["id"], line["label"]) for line in book] == [(1, "Head"), (2, "Lab")]
    assert book[0]["addressBookAddress"]["city"] == "Bonn"
    site.make("/customer/55?replace=addressBook", {"addressBook": {"items": [{"label": "New"}]}}, "PATCH")
    book = site.get("/customer/55?expandSubResources=true")["addressBook"]["items"]
    assert [line["label"] for line in book] == ["New"]
    assert site.refused("PATCH", "/customer/55?replace=nonsense", {})["o:errorQueryParam"] == "replace"


def test_body_fields_are_blanked_by_null_or_by_replace_selected_fields(site: Account) -> None:
    site.make("/customer/55", {"email": "a@b.test", "phone": "1", "fax": "2"}, "PATCH")
    site.make("/customer/55", {"email": None}, "PATCH")
    site.make("/customer/55?replace=phone", {}, "PATCH")
    assert site.get("/customer/55")["phone"] == "1"
    site.make("/customer/55?replace=phone&replaceSelectedFields=true", {}, "PATCH")
    shown = site.get("/customer/55")
    assert "email" not in shown
    assert "phone" not in shown
    assert shown["fax"] == "2"


def test_collections_page_and_filter_by_ids_only(site: Account) -> None:
    for number in range(5):
        site.make("/customer", {**CUSTOMER, "companyName": f"Firm {number}"})
    page = site.get("/customer?limit=2&offset=4")
    assert (page["count"], page["totalResults"], page["hasMore"]) == (2, 6, False)
    assert set(page["items"][0]) == {"links", "id"}
    assert site.get('/customer?q=companyName IS "Firm 3"')["totalResults"] == 1
    assert (
        site.get('/customer?q=companyName START_WITH "Firm" AND companyName IS_NOT "Firm 1"')["totalResults"]
        == 4
    )
    assert site.get('/customer?q=externalId IS "crm-55" OR companyName IS "Firm 1"')["totalResults"] == 2
    assert site.refused("GET", '/customer?q=companyNam IS "X"')["o:errorQueryParam"] == "q"
    assert site.refused("GET", "/customer?limit=1001")["o:errorQueryParam"] == "limit"


def test_custom_fields_come_with_the_schema_and_are_checked(site: Account) -> None:
    assert site.refused("PATCH", "/job/60", {"custentity_deal": "006"})["o:errorPath"] == "custentity_deal"
    site.control(
        "schema",
        {
            "job": [
                {"name": "custentity_deal", "type": "string"},
                {"name": "custentity_risk", "type": "enum", "values": ["1"]},
            ],
            "invoice": [
                {"name": "custbody_saga", "type": "string", "required": True},
                {"name": "custcol_line", "type": "string"},
            ],
        },
    )
    site.make("/job/60", {"custentity_deal": "006", "custentity_risk": {"id": "1"}}, "PATCH")
    assert site.get("/job/60")["custentity_deal"] == "006"
    assert site.rows("SELECT id FROM job WHERE custentity_deal = '006'") == [{"id": "60"}]
    assert (
        site.refused("PATCH", "/job/60", {"custentity_risk": {"id": "2"}})["o:errorPath"] == "custentity_risk"
    )
    lines = {"items": [{"item": {"id": "31"}, "custcol_line": "te-1"}]}
    body = {"entity": {"id": "55"}, "tranDate": "2026-11-20", "item": lines}
    assert site.refused("POST", "/invoice", body)["o:errorPath"] == "custbody_saga"
    invoice = site.make("/invoice", {**body, "custbody_saga": "s1"})
    assert site.rows("SELECT id FROM transaction WHERE custbody_saga = 's1'") == [{"id": invoice}]
    assert site.rows("SELECT custcol_line FROM transactionline WHERE custcol_line IS NOT NULL") == [
        {"custcol_line": "te-1"}
    ]
    schema = site.http.get(f"{RECORD}/metadata-catalog/job", headers={"Accept": "application/schema+json"})
    assert schema.headers["Content-Type"] == "application/schema+json"
    assert schema.json()["properties"]["custentity_risk"]["properties"]["id"]["enum"] == ["1"]


def test_the_metadata_catalog_knows_the_tax_mode(site: Account) -> None:
    def names() -> set[str]:
        answer = site.http.get(
            f"{RECORD}/metadata-catalog/customer", headers={"Accept": "application/swagger+json"}
        )
        return set(answer.json()["components"]["schemas"]["customer"]["properties"])

    assert {"taxRegistration", "defaultTaxReg"} <= names()
    assert "vatRegNumber" not in names()
    registration = {"items": [{"nexusCountry": {"id": "DE"}, "taxRegistrationNumber": "DE811"}]}
    site.make("/customer/55", {"taxRegistration": registration}, "PATCH")
    assert site.rows("SELECT id FROM customer WHERE defaulttaxreg = 'DE811'") == [{"id": "55"}]
    site.settings(tax_mode="legacy")
    assert "vatRegNumber" in names()
    assert (
        site.refused("PATCH", "/customer/55", {"taxRegistration": registration})["o:errorPath"]
        == "taxRegistration"
    )
    listed = site.http.get(f"{RECORD}/metadata-catalog").json()["items"]
    assert {"customer", "job", "invoice"} <= {row["name"] for row in listed}
    assert "revenueArrangement" not in {row["name"] for row in listed}


def test_delete_then_gone(site: Account) -> None:
    id_ = site.make("/customer/eid:x1", CUSTOMER, "PUT")
    assert site.call("DELETE", "/customer/eid:x1").status_code == 204
    site.refused("GET", f"/customer/{id_}", status=404)
    site.refused("GET", "/customer/eid:x1", status=404)
    assert [w["operation"] for w in site.writes()] == ["create", "delete"]
    assert site.make("/customer/eid:x1", CUSTOMER, "PUT") != id_


def test_numbers_stay_exact(site: Account) -> None:
    site.make("/customer/55", {"creditLimit": 1234567890.12}, "PATCH")
    assert site.get("/customer/55")["creditLimit"] == Decimal("1234567890.12")


def test_faults_speak_the_vendors_language(site: Account) -> None:
    site.control("faults", {"kind": "error_before", "path": "/customer"})
    assert site.refused("GET", "/customer/55", status=500)["o:errorCode"] == "UNEXPECTED_ERROR"
    site.control("faults", {"kind": "business", "method": "POST", "message": "Custom script says no."})
    assert "Custom script says no." in site.refused("POST", "/customer", CUSTOMER)["detail"]
    site.control("faults", {"kind": "rate_limit", "path": "/customer", "retry_after": 2})
    limited = site.call("GET", "/customer/55")
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "2")
    assert site.writes() == []


def test_stale_reads_show_the_version_before_or_nothing(site: Account) -> None:
    site.make("/customer/55", {"phone": "1"}, "PATCH")
    site.make("/customer/55", {"phone": "2"}, "PATCH")
    site.control("faults", {"kind": "stale_read", "path": "/customer/55"})
    assert site.get("/customer/55")["phone"] == "1"
    assert site.get("/customer/55")["phone"] == "2"
    site.make("/customer/eid:new", CUSTOMER, "PUT")
    site.control("faults", {"kind": "stale_read", "path": "eid:new"})
    site.refused("GET", "/customer/eid:new", status=404)
    assert site.get("/customer/eid:new")["companyName"] == "Beta Ltd"
    site.control("faults", {"kind": "stale_read", "path": "suiteql"})
    assert site.rows("SELECT id FROM customer WHERE externalid = 'new'") == []
    assert len(site.rows("SELECT id FROM customer WHERE externalid = 'new'")) == 1
