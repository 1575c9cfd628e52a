"""Salesforce simulator: what an organisation has switched on, and writes that meet."""

from __future__ import annotations

import httpx

from tests.simulators.salesforce_org import DATA, create, deal, errors, org, read, running

__all__ = ["org", "running"]


class TestFeatures:
    def test_multi_currency(self, org: httpx.Client) -> None:
        currencies = {
            c: {"ConversionRate": r, "DecimalPlaces": p} for c, r, p in [("USD", 1, 2), ("KWD", 0.3, 3)]
        }
        org.post("/_sim/settings", json={"multi_currency": True, "currencies": currencies}).raise_for_status()
        id_ = deal(org, CurrencyIsoCode="KWD", Amount=10.1234)
        record = read(org, "Opportunity", id_)
        assert (record["CurrencyIsoCode"], record["Amount"]) == ("KWD", 10.123)
        assert read(org, "Account", create(org, "Account", Name="A"))["CurrencyIsoCode"] == "USD"
        answer = org.post(f"{DATA}/sobjects/Account", json={"Name": "A", "CurrencyIsoCode": "XXX"})
        assert errors(answer) == [(400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST")]
        fields = org.get(f"{DATA}/sobjects/Opportunity/describe").json()["fields"]
        iso = next(f for f in fields if f["name"] == "CurrencyIsoCode")
        assert [v["value"] for v in iso["picklistValues"]] == ["USD", "KWD"]

    def test_state_and_country_picklists(self, org: httpx.Client) -> None:
        org.post("/_sim/settings", json={"state_country_picklists": True})
        id_ = create(org, "Account", Name="A", BillingCountryCode="US", BillingState="texas")
        record = read(org, "Account", id_)
        assert (record["BillingCountry"], record["BillingStateCode"]) == ("United States", "TX")
        for body in (
            {"BillingCountry": "Atlantis"},
            {"BillingCountryCode": "XX"},
            {"BillingCountryCode": "US", "BillingStateCode": "ON"},
            {"BillingState": "Texas"},
        ):
            answer = org.post(f"{DATA}/sobjects/Account", json={"Name": "A", **body})
            assert answer.status_code == 400, body

    def test_describe(self, org: httpx.Client) -> None:
        body = org.get(f"{DATA}/sobjects/Account/describe").json()
        fields = {f["name"]: f for f in body["fields"]}
        key = fields["ERP_Customer_Id__c"]
        assert (key["externalId"], key["unique"], key["idLookup"], key["length"]) == (True, True, True, 40)
        assert fields["Name"]["nillable"] is False
        assert fields["ParentId"]["referenceTo"] == ["Account"]
        assert body["keyPrefix"] == "001"
        children = {c["relationshipName"]: c["childSObject"] for c in body["childRelationships"]}
        assert children["Opportunities"] == "Opportunity"
        assert children["Clients__r"] == "Account"
        names = [o["name"] for o in org.get(f"{DATA}/sobjects").json()["sobjects"]]
        assert "CurrencyType" not in names
        assert {"Account", "Opportunity", "OrderItem"} <= set(names)

    def test_custom_object(self, org: httpx.Client) -> None:
        spec = {
            "SBQQ__Quote__c": [
                {"name": "SBQQ__Opportunity2__c", "type": "Lookup", "referenceTo": "Opportunity",
                 "relationshipName": "SBQQ__Quotes2"},
                {"name": "SBQQ__NetAmount__c", "type": "Currency"},
            ]
        }  # fmt: skip
        org.post("/_sim/schema", json=spec).raise_for_status()
        parent = deal(org)
        id_ = create(org, "SBQQ__Quote__c", SBQQ__Opportunity2__c=parent, SBQQ__NetAmount__c=10)
        assert id_[:3] == "a00"
        assert read(org, "SBQQ__Quote__c", id_)["SBQQ__NetAmount__c"] == 10.0

    def test_schema_is_checked(self, org: httpx.Client) -> None:
        for bad in (
            {"Account": [{"name": "NoSuffix", "type": "Text"}]},
            {"Account": [{"name": "A__c", "type": "Blob"}]},
            {"Account": [{"name": "A__c", "type": "Lookup"}]},
            {"Account": [{"name": "A__c", "type": "Text", "colour": "red"}]},
            {"Nope": [{"name": "A__c", "type": "Text"}]},
            {"Account": [{"name": "A__c", "type": "Lookup", "referenceTo": "Nope"}]},
        ):
            assert org.post("/_sim/schema", json=bad).status_code == 400, bad
        assert "A__c" not in org.get("/_sim/schema").json()["Account"]


class TestConflicts:
    def test_if_unmodified_since_only_where_honoured(self, org: httpx.Client) -> None:
        id_ = create(org, "Account", Name="A")
        old = {"If-Unmodified-Since": "Wed, 01 Jan 2020 00:00:00 GMT"}
        path = f"{DATA}/sobjects/Account/{id_}"
        assert org.patch(path, json={"Name": "B"}, headers=old).status_code == 204
        org.post("/_sim/settings", json={"honour_if_unmodified_since": True})
        assert org.patch(path, json={"Name": "C"}, headers=old).status_code == 412
        assert read(org, "Account", id_)["Name"] == "B"
        future = {"If-Unmodified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
        assert org.patch(path, json={"Name": "C"}, headers=future).status_code == 204

    def test_duplicate_rule(self, org: httpx.Client) -> None:
        org.post(
            "/_sim/settings", json={"duplicate_rules": {"Account": {"fields": ["Name"], "action": "alert"}}}
        )
        create(org, "Account", Name="Northwind")
        path = f"{DATA}/sobjects/Account"
        body = {"Name": "NORTHWIND"}
        assert errors(org.post(path, json=body)) == [(400, "DUPLICATES_DETECTED")]
        allow = {"Sforce-Duplicate-Rule-Header": "allowSave=true; includeRecordDetails=false"}
        assert errors(org.post("/services/data/v51.0/sobjects/Account", json=body, headers=allow)) == [
            (400, "DUPLICATES_DETECTED")
        ]
        assert org.post(path, json=body, headers=allow).status_code == 201
        org.post(
            "/_sim/settings", json={"duplicate_rules": {"Account": {"fields": ["Name"], "action": "block"}}}
        )
        assert errors(org.post(path, json=body, headers=allow)) == [(400, "DUPLICATES_DETECTED")]

    def test_validation_rule(self, org: httpx.Client) -> None:
        when = {"StageName": "Closed Won", "Project_Code__c": None}
        rule = {"object": "Opportunity", "when": when, "message": "Code first", "fields": ["Project_Code__c"]}
        org.post("/_sim/settings", json={"validation_rules": [rule]})
        id_ = deal(org)
        answer = org.patch(f"{DATA}/sobjects/Opportunity/{id_}", json={"StageName": "Closed Won"})
        assert errors(answer) == [(400, "FIELD_CUSTOM_VALIDATION_EXCEPTION")]
        body = {"StageName": "Closed Won", "Project_Code__c": "P-1"}
        assert org.patch(f"{DATA}/sobjects/Opportunity/{id_}", json=body).status_code == 204
