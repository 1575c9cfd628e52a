"""Salesforce simulator: rows by id and by external id; what the platform refuses."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.simulators.salesforce_org import DATA, create, deal, errors, org, priced, read, running

__all__ = ["org", "running"]


class TestIds:
    def test_prefix_and_checksum(self, org: httpx.Client) -> None:
        prefixes = {
            create(org, "Account", Name="A")[:3],
            create(org, "Contact", LastName="B")[:3],
            deal(org)[:3],
            create(org, "Product2", Name="P")[:3],
        }
        assert prefixes == {"001", "003", "006", "01t"}

    def test_both_forms_are_accepted_and_18_is_answered(self, org: httpx.Client) -> None:
        id_ = create(org, "Account", Name="A")
        assert len(id_) == 18
        assert read(org, "Account", id_[:15])["Id"] == id_
        child = create(org, "Contact", LastName="B", AccountId=id_[:15])
        assert read(org, "Contact", child)["AccountId"] == id_

    def test_wrong_checksum_is_no_id(self, org: httpx.Client) -> None:
        id_ = create(org, "Account", Name="A")
        wrong = id_[:17] + ("B" if id_[17] != "B" else "C")
        assert errors(org.get(f"{DATA}/sobjects/Account/{wrong}")) == [(404, "NOT_FOUND")]


class TestCreateReadUpdate:
    def test_create_says_where(self, org: httpx.Client) -> None:
        answer = org.post(f"{DATA}/sobjects/Account", json={"Name": "Northwind Ωμέγα"})
        id_ = answer.json()["id"]
        assert answer.status_code == 201
        assert answer.json() == {"id": id_, "success": True, "errors": []}
        assert answer.headers["location"] == f"{DATA}/sobjects/Account/{id_}"
        record = read(org, "Account", id_)
        assert record["attributes"] == {"type": "Account", "url": f"{DATA}/sobjects/Account/{id_}"}
        assert record["Name"] == "Northwind Ωμέγα"
        assert record["OwnerId"][:3] == "005"
        assert record["IsDeleted"] is False
        assert record["CreatedDate"].endswith("+0000")

    def test_patch_is_204_and_null_clears(self, org: httpx.Client) -> None:
        id_ = create(org, "Account", Name="A", Tax_Id__c="NL1")
        before = read(org, "Account", id_)
        answer = org.patch(f"{DATA}/sobjects/Account/{id_}", json={"Tax_Id__c": None, "Phone": "1"})
        assert (answer.status_code, answer.content) == (204, b"")
        after = read(org, "Account", id_)
        assert (after["Tax_Id__c"], after["Phone"]) == (None, "1")
        assert after["SystemModstamp"] > before["SystemModstamp"]

    def test_selected_fields(self, org: httpx.Client) -> None:
        id_ = create(org, "Account", Name="A")
        answer = org.get(f"{DATA}/sobjects/Account/{id_}", params={"fields": "Id,Name"})
        assert set(answer.json()) == {"attributes", "Id", "Name"}
        bad = org.get(f"{DATA}/sobjects/Account/{id_}", params={"fields": "Nope"})
        assert errors(bad) == [(400, "INVALID_FIELD")]

    def test_write_log(self, org: httpx.Client) -> None:
        id_ = create(org, "Account", Name="A", Legacy_Id__c="L1")
        org.patch(f"{DATA}/sobjects/Account/{id_}", json={"Name": "B"})
        org.patch(f"{DATA}/sobjects/Account/{id_}", json={"Nope": "B"})
        org.delete(f"{DATA}/sobjects/Account/{id_}")
        writes = org.get("/_sim/writes").json()
        assert [(w["operation"], w["type"], w["id"], w["key"]) for w in writes] == [
            ("create", "Account", id_, "L1"),
            ("update", "Account", id_, "L1"),
            ("delete", "Account", id_, "L1"),
        ]
        assert writes[1]["body"] == {"Name": "B"}


class TestStrictness:
    @pytest.mark.parametrize(
        ("body", "code", "fields"),
        [
            ({}, "REQUIRED_FIELD_MISSING", ["Name"]),
            ({"Name": ""}, "REQUIRED_FIELD_MISSING", ["Name"]),
            ({"Name": "A", "Nope__c": 1}, "INVALID_FIELD", []),
            ({"Name": "A", "CurrencyIsoCode": "EUR"}, "INVALID_FIELD", []),
            ({"Name": "A", "BillingCountryCode": "NL"}, "INVALID_FIELD", []),
            ({"Name": "A", "Id": "001000000000000AAA"}, "INVALID_FIELD", []),
            ({"Name": "A", "IsDeleted": True}, "INVALID_FIELD_FOR_INSERT_UPDATE", ["IsDeleted"]),
            ({"Name": "A" * 256}, "STRING_TOO_LONG", ["Name"]),
            ({"Name": "A", "Tier__c": "Bronze"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", ["Tier__c"]),
            ({"Name": "A", "Active__c": "yes"}, "JSON_PARSER_ERROR", []),
            ({"Name": 7}, "JSON_PARSER_ERROR", []),
            ({"Name": "A", "Invoiced__c": "much"}, "JSON_PARSER_ERROR", []),
            ({"Name": "A", "Invoiced__c": 12345678901}, "NUMBER_OUTSIDE_VALID_RANGE", ["Invoiced__c"]),
            ({"Name": "A", "Since__c": "2026-01-01T00:00:00"}, "JSON_PARSER_ERROR", []),
            ({"Name": "A", "ParentId": "nonsense"}, "MALFORMED_ID", ["ParentId"]),
            ({"Name": "A", "ParentId": "003gK0000000001QAA"}, "MALFORMED_ID", ["ParentId"]),
            ({"Name": "A", "ParentId": "001gK000000zzzzQAA"}, "INVALID_CROSS_REFERENCE_KEY", ["ParentId"]),
            ({"Name": "A", "Parent": {"ERP_Customer_Id__c": "none"}}, "INVALID_FIELD", ["ParentId"]),
        ],
    )  # fmt: skip
    def test_refused_and_nothing_written(
        self, org: httpx.Client, body: dict[str, Any], code: str, fields: list[str]
    ) -> None:
        answer = org.post(f"{DATA}/sobjects/Account", json=body)
        assert errors(answer) == [(400, code)]
        assert answer.json()[0]["fields"] == fields
        assert org.get("/_sim/records?type=Account").json() == {"Account": []}
        assert org.get("/_sim/writes").json() == []

    def test_255_characters_fit(self, org: httpx.Client) -> None:
        assert read(org, "Account", create(org, "Account", Name="é" * 255))["Name"] == "é" * 255

    def test_message_of_a_missing_field(self, org: httpx.Client) -> None:
        answer = org.post(f"{DATA}/sobjects/Opportunity", json={"Name": "D", "StageName": "Prospecting"})
        message = "Required fields are missing: [CloseDate]"
        expected = {"message": message, "errorCode": "REQUIRED_FIELD_MISSING", "fields": ["CloseDate"]}
        assert answer.json() == [expected]

    def test_content_type_and_json(self, org: httpx.Client) -> None:
        path = f"{DATA}/sobjects/Account"
        assert org.post(path, data={"Name": "A"}).status_code == 415
        json_type = {"Content-Type": "application/json"}
        assert errors(org.post(path, content=b"{", headers=json_type)) == [(400, "JSON_PARSER_ERROR")]
        assert errors(org.post(path, content=b'{"Name": NaN}', headers=json_type)) == [
            (400, "JSON_PARSER_ERROR")
        ]
        assert errors(org.post(path, json=["A"])) == [(400, "JSON_PARSER_ERROR")]

    def test_unknown_places_and_methods(self, org: httpx.Client) -> None:
        assert errors(org.get(f"{DATA}/sobjects/Nope")) == [(404, "NOT_FOUND")]
        assert errors(org.get(f"{DATA}/nowhere")) == [(404, "NOT_FOUND")]
        assert errors(org.get("/services/data/v99.0/limits")) == [(404, "NOT_FOUND")]
        assert errors(org.get(f"{DATA}/sobjects/Account/001gK000000zzzzQAA")) == [(404, "NOT_FOUND")]
        assert errors(org.put(f"{DATA}/sobjects/Account", json={})) == [(405, "METHOD_NOT_ALLOWED")]

    def test_read_only_objects(self, org: httpx.Client) -> None:
        answer = org.post(f"{DATA}/sobjects/User", json={"LastName": "X"})
        assert errors(answer) == [(403, "INSUFFICIENT_ACCESS_OR_READONLY")]

    def test_hidden_field_vanishes(self, org: httpx.Client) -> None:
        org.post("/_sim/settings", json={"hidden_fields": {"Account": ["Tax_Id__c"]}})
        answer = org.post(f"{DATA}/sobjects/Account", json={"Name": "A", "Tax_Id__c": "1"})
        assert errors(answer) == [(400, "INVALID_FIELD")]
        names = [f["name"] for f in org.get(f"{DATA}/sobjects/Account/describe").json()["fields"]]
        assert "Tax_Id__c" not in names


class TestExternalId:
    def test_upsert_creates_then_updates(self, org: httpx.Client) -> None:
        path = f"{DATA}/sobjects/Account/ERP_Customer_Id__c/CUST-1001"
        first = org.patch(path, json={"Name": "Northwind BV", "BillingCountry": "Netherlands"})
        id_ = first.json()["id"]
        assert (first.status_code, first.json()["created"]) == (201, True)
        second = org.patch(path, json={"Name": "Northwind NV"})
        assert second.status_code == 200
        assert second.json() == {"id": id_, "success": True, "errors": [], "created": False}
        record = org.get(path).json()
        assert (record["Name"], record["ERP_Customer_Id__c"]) == ("Northwind NV", "CUST-1001")
        assert [w["key"] for w in org.get("/_sim/writes").json()] == ["CUST-1001", "CUST-1001"]

    def test_older_version_answers_204(self, org: httpx.Client) -> None:
        path = "/services/data/v45.0/sobjects/Account/ERP_Customer_Id__c/C1"
        assert "created" not in org.patch(path, json={"Name": "A"}).json()
        assert org.patch(path, json={"Name": "B"}).status_code == 204

    def test_case_does_not_matter(self, org: httpx.Client) -> None:
        org.patch(f"{DATA}/sobjects/Account/ERP_Customer_Id__c/abc", json={"Name": "A"})
        answer = org.patch(f"{DATA}/sobjects/Account/ERP_Customer_Id__c/ABC", json={"Name": "B"})
        assert answer.json()["created"] is False

    def test_slash_in_key(self, org: httpx.Client) -> None:
        encoded = org.patch(f"{DATA}/sobjects/Account/ERP_Customer_Id__c/NL%2F1", json={"Name": "A"})
        assert encoded.status_code == 201
        assert (
            org.get(f"{DATA}/sobjects/Account/ERP_Customer_Id__c/NL%2F1").json()["ERP_Customer_Id__c"]
            == "NL/1"
        )
        raw = org.patch(f"{DATA}/sobjects/Account/ERP_Customer_Id__c/NL/1", json={"Name": "A"})
        assert errors(raw) == [(404, "NOT_FOUND")]

    def test_update_only(self, org: httpx.Client) -> None:
        path = f"{DATA}/sobjects/Account/ERP_Customer_Id__c/C9"
        answer = org.patch(path, params={"updateOnly": "true"}, json={"Name": "A"})
        assert errors(answer) == [(404, "NOT_FOUND")]
        assert org.get("/_sim/records?type=Account").json() == {"Account": []}
        org.patch(path, json={"Name": "A"})
        assert org.patch(path, params={"updateOnly": "true"}, json={"Name": "B"}).status_code == 200

    def test_ambiguous_key_is_300_and_writes_nothing(self, org: httpx.Client) -> None:
        twins = [create(org, "Account", Name=n, Legacy_Id__c="same") for n in ("A", "B")]
        path = f"{DATA}/sobjects/Account/Legacy_Id__c/same"
        answer = org.patch(path, json={"Name": "C"})
        assert answer.status_code == 300
        assert answer.json() == [f"{DATA}/sobjects/Account/{i}" for i in twins]
        assert org.get(path).status_code == 300
        assert [read(org, "Account", i)["Name"] for i in twins] == ["A", "B"]

    def test_field_not_marked_external(self, org: httpx.Client) -> None:
        answer = org.patch(f"{DATA}/sobjects/Account/Tax_Id__c/1", json={"Name": "A"})
        assert errors(answer) == [(404, "NOT_FOUND")]

    def test_key_in_body(self, org: httpx.Client) -> None:
        body = {"Name": "A", "ERP_Customer_Id__c": "C1"}
        answer = org.patch(f"{DATA}/sobjects/Account/ERP_Customer_Id__c/C1", json=body)
        assert errors(answer) == [(400, "INVALID_FIELD")]

    def test_unique_names_the_other_record(self, org: httpx.Client) -> None:
        first = create(org, "Account", Name="A", ERP_Customer_Id__c="C1")
        answer = org.post(f"{DATA}/sobjects/Account", json={"Name": "B", "ERP_Customer_Id__c": "c1"})
        assert errors(answer) == [(400, "DUPLICATE_VALUE")]
        assert first in answer.json()[0]["message"]

    def test_key_is_free_again_after_deletion(self, org: httpx.Client) -> None:
        path = f"{DATA}/sobjects/Account/ERP_Customer_Id__c/C1"
        org.patch(path, json={"Name": "A"})
        assert org.delete(path).status_code == 204
        assert org.get(path).status_code == 404
        assert org.patch(path, json={"Name": "A"}).json()["created"] is True

    def test_reference_by_external_id(self, org: httpx.Client) -> None:
        account = create(org, "Account", Name="A", ERP_Customer_Id__c="C1")
        id_ = deal(org, Account={"ERP_Customer_Id__c": "C1"})
        assert read(org, "Opportunity", id_)["AccountId"] == account


class TestDelete:
    def test_second_delete_says_deleted(self, org: httpx.Client) -> None:
        id_ = create(org, "Account", Name="A")
        path = f"{DATA}/sobjects/Account/{id_}"
        assert org.delete(path).status_code == 204
        assert errors(org.delete(path)) == [(404, "ENTITY_IS_DELETED")]
        assert errors(org.patch(path, json={"Name": "B"})) == [(404, "ENTITY_IS_DELETED")]
        assert errors(org.get(path)) == [(404, "NOT_FOUND")]

    def test_account_takes_its_own_with_it(self, org: httpx.Client) -> None:
        account = create(org, "Account", Name="A")
        open_deal = deal(org, AccountId=account)
        partner = create(org, "Account", Name="B", Partner__c=account)
        assert org.delete(f"{DATA}/sobjects/Account/{account}").status_code == 204
        assert org.get(f"{DATA}/sobjects/Opportunity/{open_deal}").status_code == 404
        assert read(org, "Account", partner)["Partner__c"] is None

    def test_account_with_a_won_deal_stays(self, org: httpx.Client) -> None:
        account = create(org, "Account", Name="A")
        deal(org, AccountId=account, StageName="Closed Won")
        assert errors(org.delete(f"{DATA}/sobjects/Account/{account}")) == [(400, "DELETE_FAILED")]
        assert read(org, "Account", account)["Name"] == "A"

    def test_product_on_a_line_stays(self, org: httpx.Client) -> None:
        product, entry = priced(org)
        create(
            org,
            "OpportunityLineItem",
            OpportunityId=deal(org),
            PricebookEntryId=entry,
            Quantity=1,
            UnitPrice=1,
        )
        assert errors(org.delete(f"{DATA}/sobjects/Product2/{product}")) == [(400, "DELETE_FAILED")]


class TestPlatform:
    def test_stage_decides(self, org: httpx.Client) -> None:
        id_ = deal(org, Amount=1000)
        open_ = read(org, "Opportunity", id_)
        assert (open_["IsClosed"], open_["IsWon"], open_["ExpectedRevenue"]) == (False, False, 100.0)
        org.patch(f"{DATA}/sobjects/Opportunity/{id_}", json={"StageName": "Closed Won"})
        won = read(org, "Opportunity", id_)
        assert (won["IsClosed"], won["IsWon"], won["Probability"]) == (True, True, 100.0)
        answer = org.patch(f"{DATA}/sobjects/Opportunity/{id_}", json={"IsWon": False})
        assert errors(answer) == [(400, "INVALID_FIELD_FOR_INSERT_UPDATE")]

    def test_lines_make_the_amount(self, org: httpx.Client) -> None:
        id_ = deal(org, Amount=5)
        product, entry = priced(org)
        line = create(
            org, "OpportunityLineItem", OpportunityId=id_, PricebookEntryId=entry, Quantity=3,
            UnitPrice=33.33, Billing_Method__c="milestone",
        )  # fmt: skip
        create(org, "OpportunityLineItem", OpportunityId=id_, Product2Id=product, Quantity=1, TotalPrice=0.01)
        org.patch(f"{DATA}/sobjects/Opportunity/{id_}", json={"Amount": 7, "Name": "D2"}).raise_for_status()
        answer = org.get(f"{DATA}/sobjects/Opportunity/{id_}")
        record = answer.json()
        assert (record["Name"], record["HasOpportunityLineItem"]) == ("D2", True)
        assert Decimal(str(record["Amount"])) == Decimal("100.00")
        shown = read(org, "OpportunityLineItem", line)
        assert (shown["TotalPrice"], shown["ListPrice"], shown["ProductCode"]) == (99.99, 150.0, "CONS")
        assert (shown["Product2Id"], shown["Billing_Method__c"]) == (product, "milestone")
        org.delete(f"{DATA}/sobjects/OpportunityLineItem/{line}")
        assert read(org, "Opportunity", id_)["Amount"] == 0.01

    def test_total_keeps_what_was_sent(self, org: httpx.Client) -> None:
        _, entry = priced(org)
        line = create(
            org,
            "OpportunityLineItem",
            OpportunityId=deal(org),
            PricebookEntryId=entry,
            Quantity=3,
            TotalPrice=100,
        )
        org.patch(f"{DATA}/sobjects/OpportunityLineItem/{line}", json={"Description": "x"}).raise_for_status()
        shown = read(org, "OpportunityLineItem", line)
        assert (shown["UnitPrice"], shown["TotalPrice"]) == (33.33, 100.0)

    def test_line_rules(self, org: httpx.Client) -> None:
        id_ = deal(org)
        _, entry = priced(org)
        path = f"{DATA}/sobjects/OpportunityLineItem"
        base = {"OpportunityId": id_, "Quantity": 2}
        assert errors(org.post(path, json={**base, "UnitPrice": 1})) == [(400, "REQUIRED_FIELD_MISSING")]
        assert errors(org.post(path, json={**base, "PricebookEntryId": entry})) == [
            (400, "REQUIRED_FIELD_MISSING")
        ]
        wrong = {**base, "PricebookEntryId": entry, "UnitPrice": 1, "TotalPrice": 3}
        assert errors(org.post(path, json=wrong)) == [(400, "FIELD_INTEGRITY_EXCEPTION")]

    def test_contract_activation(self, org: httpx.Client) -> None:
        account = create(org, "Account", Name="A")
        body = {"AccountId": account, "StartDate": "2026-01-31", "ContractTerm": 1}
        too_soon = org.post(f"{DATA}/sobjects/Contract", json={**body, "Status": "Activated"})
        assert errors(too_soon) == [(400, "FAILED_ACTIVATION")]
        id_ = create(org, "Contract", **body)
        org.patch(f"{DATA}/sobjects/Contract/{id_}", json={"Status": "Activated"}).raise_for_status()
        record = read(org, "Contract", id_)
        assert record["StatusCode"] == "Activated"
        assert record["ActivatedDate"] is not None
        assert (record["ContractNumber"], record["EndDate"]) == ("00000100", "2026-02-28")

    def test_order_needs_a_product_to_activate(self, org: httpx.Client) -> None:
        account = create(org, "Account", Name="A")
        id_ = create(org, "Order", AccountId=account, EffectiveDate="2026-01-01", Status="Draft")
        activate = {"Status": "Activated"}
        assert errors(org.patch(f"{DATA}/sobjects/Order/{id_}", json=activate)) == [
            (400, "FAILED_ACTIVATION")
        ]
        _, entry = priced(org)
        create(org, "OrderItem", OrderId=id_, PricebookEntryId=entry, Quantity=2, UnitPrice=10)
        assert org.patch(f"{DATA}/sobjects/Order/{id_}", json=activate).status_code == 204
        assert read(org, "Order", id_)["TotalAmount"] == 20.0
