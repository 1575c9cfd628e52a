"""Salesforce simulator: SOQL, paging and locators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from simulators.kit import serve
from simulators.salesforce import build
from simulators.salesforce.soql import SoqlError, parse

DATA = "/services/data/v64.0"
PRODUCT = "01tgK0000000001"
SEED: dict[str, list[dict[str, Any]]] = {
    "Account": [
        {"Id": "001gK0000000001", "Name": "Northwind", "ERP_Customer_Id__c": "C1", "BillingCity": "Delft"},
        {"Id": "001gK0000000002", "Name": "O'Hara 100%", "ParentId": "001gK0000000001"},
        {"Id": "001gK0000000003", "Name": "zeta_corp", "NumberOfEmployees": 5},
    ],
    "Opportunity": [
        {"Id": "006gK0000000001", "Name": "First", "StageName": "Closed Won", "CloseDate": "2026-11-01",
         "AccountId": "001gK0000000001", "SystemModstamp": "2026-11-01T08:00:00.000+0000"},
        {"Id": "006gK0000000002", "Name": "Second", "StageName": "Closed Won", "CloseDate": "2026-11-02",
         "AccountId": "001gK0000000002", "Amount": 12.5, "SystemModstamp": "2026-11-01T08:00:00.000+0000"},
        {"Id": "006gK0000000003", "Name": "Third", "StageName": "Prospecting", "CloseDate": "2026-12-01",
         "Amount": 1000, "SystemModstamp": "2026-11-02T08:00:00.000+0000"},
    ],
    "Product2": [{"Id": PRODUCT, "Name": "Consulting", "ProductCode": "CONS"}],
    "OpportunityLineItem": [
        {"OpportunityId": "006gK0000000001", "Product2Id": PRODUCT, "Quantity": 2, "UnitPrice": 10.5},
        {"OpportunityId": "006gK0000000001", "Product2Id": PRODUCT, "Quantity": 1, "UnitPrice": 9},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def org() -> Iterator[httpx.Client]:
    with serve(build()) as running, httpx.Client(base_url=running.base_url, trust_env=False) as client:
        form = {
            "grant_type": "client_credentials",
            "client_id": "sim-salesforce-client",
            "client_secret": "sim-salesforce-secret",
        }
        token = client.post("/services/oauth2/token", data=form).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        field = {
            "name": "ERP_Customer_Id__c",
            "type": "Text",
            "length": 40,
            "externalId": True,
            "unique": True,
        }
        client.post("/_sim/schema", json={"Account": [field]}).raise_for_status()
        seeded = client.post("/_sim/seed", json=SEED)
        assert seeded.status_code == 204, seeded.text
        yield client


def ask(org: httpx.Client, query: str, **headers: str) -> dict[str, Any]:
    answer = org.get(f"{DATA}/query", params={"q": query}, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def names(org: httpx.Client, where: str, source: str = "Account") -> list[str]:
    return [r["Name"] for r in ask(org, f"SELECT Name FROM {source} WHERE {where}")["records"]]


class TestSelect:
    def test_deal_account_and_lines_in_one_call(self, org: httpx.Client) -> None:
        query = (
            "SELECT Id, Name, IsWon, Owner.Email, AccountId, Account.Name, Account.ERP_Customer_Id__c,"
            " Account.Parent.Name, (SELECT Id, Product2.ProductCode, Quantity, TotalPrice"
            " FROM OpportunityLineItems ORDER BY TotalPrice)"
            " FROM Opportunity WHERE Id = '006gK0000000001'"
        )
        body = ask(org, query)
        assert (body["totalSize"], body["done"]) == (1, True)
        record = body["records"][0]
        assert record["attributes"] == {
            "type": "Opportunity",
            "url": f"{DATA}/sobjects/Opportunity/{record['Id']}",
        }
        assert len(record["Id"]) == 18
        assert record["Owner"]["Email"] == "integration@acme.example"
        account = record["Account"]
        assert (account["Name"], account["ERP_Customer_Id__c"], account["Parent"]) == (
            "Northwind",
            "C1",
            None,
        )
        lines = record["OpportunityLineItems"]
        assert (lines["totalSize"], lines["done"]) == (2, True)
        assert [r["TotalPrice"] for r in lines["records"]] == [9.0, 21.0]
        assert lines["records"][0]["Product2"]["ProductCode"] == "CONS"

    def test_two_levels_of_parents(self, org: httpx.Client) -> None:
        record = ask(org, "SELECT Account.Parent.Name FROM Opportunity WHERE Name = 'second'")["records"][0]
        assert record["Account"]["Parent"]["Name"] == "Northwind"

    def test_empty_child_set_and_missing_parent_are_null(self, org: httpx.Client) -> None:
        query = (
            "SELECT Account.Name, (SELECT Id FROM OpportunityLineItems) FROM Opportunity WHERE Name = 'Third'"
        )
        record = ask(org, query)["records"][0]
        assert record["OpportunityLineItems"] is None
        assert record["Account"] is None

    def test_child_filter_and_limit(self, org: httpx.Client) -> None:
        child = "SELECT Name FROM Opportunities WHERE IsWon = true LIMIT 1"
        query = f"SELECT Name, ({child}) FROM Account ORDER BY Name LIMIT 1"
        record = ask(org, query)["records"][0]
        assert [r["Name"] for r in record["Opportunities"]["records"]] == ["First"]

    def test_count(self, org: httpx.Client) -> None:
        body = ask(org, "SELECT COUNT() FROM Opportunity WHERE IsWon = true")
        assert body == {"totalSize": 2, "done": True, "records": []}

    def test_names_without_case(self, org: httpx.Client) -> None:
        assert (
            ask(org, "select NAME from account where id = '001gK0000000001QAA'")["records"][0]["Name"]
            == "Northwind"
        )


class TestWhere:
    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            ("Name = 'northWIND'", ["Northwind"]),
            ("Name != 'Northwind'", ["O'Hara 100%", "zeta_corp"]),
            ("Name = 'O\\'Hara 100%'", ["O'Hara 100%"]),
            ("Name LIKE '%100\\%'", ["O'Hara 100%"]),
            ("Name LIKE 'zeta\\_%'", ["zeta_corp"]),
            ("Name LIKE 'north_ind'", ["Northwind"]),
            ("ParentId = null", ["Northwind", "zeta_corp"]),
            ("ParentId != null", ["O'Hara 100%"]),
            ("Parent.Name = 'Northwind'", ["O'Hara 100%"]),
            ("NumberOfEmployees >= 5", ["zeta_corp"]),
            ("NumberOfEmployees < 5", []),
            ("NumberOfEmployees != 5", ["Northwind", "O'Hara 100%"]),
            ("Name IN ('zeta_corp', 'Northwind')", ["Northwind", "zeta_corp"]),
            ("Name NOT IN ('zeta_corp', 'Northwind')", ["O'Hara 100%"]),
            ("ERP_Customer_Id__c = 'c1'", ["Northwind"]),
            ("(Name = 'zeta_corp' OR Name = 'Northwind') AND BillingCity = 'Delft'", ["Northwind"]),
            ("NOT (Name = 'zeta_corp' OR Name = 'Northwind')", ["O'Hara 100%"]),
            ("Id > '001gK0000000001' AND Name LIKE 'z%'", ["zeta_corp"]),
            ("Id IN (SELECT AccountId FROM Opportunity WHERE IsWon = true)", ["Northwind", "O'Hara 100%"]),
            ("Id NOT IN (SELECT AccountId FROM Opportunity)", ["zeta_corp"]),
            ("Name = 'North\\u0077ind'", ["Northwind"]),
        ],
    )
    def test_accounts(self, org: httpx.Client, where: str, expected: list[str]) -> None:
        assert names(org, where) == expected

    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            ("IsWon = true", ["First", "Second"]),
            ("IsWon = false", ["Third"]),
            ("SystemModstamp >= 2026-11-02T00:00:00Z", ["Third"]),
            ("SystemModstamp >= 2026-11-01T09:00:00+01:00", ["First", "Second", "Third"]),
            ("SystemModstamp > 2026-11-01T08:00:00.000Z", ["Third"]),
            ("CloseDate <= 2026-11-01", ["First"]),
            ("CloseDate > 2026-11-01 AND CloseDate < 2026-12-01", ["Second"]),
            ("Amount = 12.50", ["Second"]),
            ("Amount <= 30", ["First", "Second"]),
            ("Account.Parent.ERP_Customer_Id__c = 'C1'", ["Second"]),
            ("Opportunity.Name = 'First'", ["First"]),
        ],
    )
    def test_opportunities(self, org: httpx.Client, where: str, expected: list[str]) -> None:
        assert names(org, where, "Opportunity") == expected

    def test_order(self, org: httpx.Client) -> None:
        def by(order: str) -> list[str]:
            return [r["Name"] for r in ask(org, f"SELECT Name FROM Opportunity ORDER BY {order}")["records"]]

        assert by("SystemModstamp ASC, Id DESC") == ["Second", "First", "Third"]
        assert by("Amount DESC") == ["Third", "First", "Second"]
        assert by("Account.Name, Name") == ["Third", "First", "Second"]
        assert by("Account.Name NULLS LAST LIMIT 2") == ["First", "Second"]
        assert by("Name LIMIT 2 OFFSET 1") == ["Second", "Third"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ("SELECT Nope FROM Account", "INVALID_FIELD"),
            ("SELECT CurrencyIsoCode FROM Account", "INVALID_FIELD"),
            ("SELECT Nope.Name FROM Account", "INVALID_FIELD"),
            ("SELECT Name, name FROM Account", "INVALID_FIELD"),
            ("SELECT Id FROM Account WHERE Nope = 1", "INVALID_FIELD"),
            ("SELECT Id FROM Account ORDER BY Nope", "INVALID_FIELD"),
            ("SELECT Id FROM Account WHERE Name = 5", "INVALID_FIELD"),
            ("SELECT Id FROM Opportunity WHERE Amount = '5'", "INVALID_FIELD"),
            ("SELECT Id FROM Opportunity WHERE IsWon = 'true'", "INVALID_FIELD"),
            ("SELECT Id FROM Opportunity WHERE SystemModstamp > '2026-01-01T00:00:00Z'", "INVALID_FIELD"),
            ("SELECT Id FROM Opportunity WHERE SystemModstamp > 2026-01-01", "INVALID_FIELD"),
            ("SELECT Id FROM Account WHERE Description = 'x'", "INVALID_FIELD"),
            ("SELECT Id FROM Account ORDER BY Description", "INVALID_FIELD"),
            ("SELECT Id FROM Account WHERE Id = 'x'", "INVALID_QUERY_FILTER_OPERATOR"),
            ("SELECT Id FROM Account WHERE Id LIKE '001%'", "INVALID_QUERY_FILTER_OPERATOR"),
            ("SELECT Id FROM Opportunity WHERE IsWon > true", "INVALID_QUERY_FILTER_OPERATOR"),
            ("SELECT Id FROM Nope", "INVALID_TYPE"),
            ("SELECT Id FROM CurrencyType", "INVALID_TYPE"),
            ("SELECT Id, (SELECT Id FROM Nopes) FROM Account", "INVALID_TYPE"),
            ("SELECT Id FROM Account OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE"),
            ("SELECT Id FROM ContentDocumentLink", "MALFORMED_QUERY"),
            ("", "MALFORMED_QUERY"),
            ("SELECT FROM Account", "MALFORMED_QUERY"),
            ("SELECT * FROM Account", "MALFORMED_QUERY"),
            ("SELECT Id FROM Account WHERE", "MALFORMED_QUERY"),
            ("SELECT Id FROM Account WHERE Name = 'a' AND Phone = 'b' OR Fax = 'c'", "MALFORMED_QUERY"),
            ("SELECT Id FROM Account WHERE Name = 'a' AND NOT Phone = 'b'", "MALFORMED_QUERY"),
            ("SELECT Id FROM Account WHERE Name = 'it's'", "MALFORMED_QUERY"),
            ('SELECT Id FROM Account WHERE Name = "a"', "MALFORMED_QUERY"),
            ("SELECT Id FROM Account WHERE Name = 'a\\q'", "MALFORMED_QUERY"),
            ("SELECT Id FROM Account WHERE Name IN ()", "MALFORMED_QUERY"),
            ("SELECT Id FROM Opportunity WHERE SystemModstamp > 2026-01-01T00:00:00", "MALFORMED_QUERY"),
            (
                "SELECT Id FROM Opportunity WHERE SystemModstamp > 2026-01-01T00:00:00 01:00",
                "MALFORMED_QUERY",
            ),
            ("SELECT Id FROM Opportunity WHERE CloseDate > 2026-13-01", "MALFORMED_QUERY"),
            ("SELECT Id FROM Account LIMIT -1", "MALFORMED_QUERY"),
            ("SELECT Id FROM Account; DELETE", "MALFORMED_QUERY"),
            ("SELECT Id FROM Account WHERE Id IN (SELECT Name FROM Opportunity)", "MALFORMED_QUERY"),
        ],
    )
    def test_code(self, org: httpx.Client, query: str, code: str) -> None:
        answer = org.get(f"{DATA}/query", params={"q": query})
        assert answer.status_code == 400
        assert [e["errorCode"] for e in answer.json()] == [code]

    def test_message_points_at_the_place(self, org: httpx.Client) -> None:
        answer = org.get(f"{DATA}/query", params={"q": "SELECT Id, Nope FROM Account"})
        message = answer.json()[0]["message"]
        assert "ERROR at Row:1:Column:12" in message
        assert "No such column 'Nope' on entity 'Account'" in message

    def test_unencoded_plus_becomes_a_space(self, org: httpx.Client) -> None:
        query = "SELECT+Id+FROM+Opportunity+WHERE+SystemModstamp+>=+2026-11-01T00:00:00"
        assert org.get(f"{DATA}/query?q={query}%2B00:00").json()["totalSize"] == 3
        assert org.get(f"{DATA}/query?q={query}+00:00").status_code == 400

    def test_parser_alone(self) -> None:
        assert parse("SELECT Id FROM Account WHERE Name = 'a\\\\'").source == "Account"
        with pytest.raises(SoqlError):
            parse("SELECT Id FROM Account WHERE Name = 'a\\\\''")


class TestPaging:
    def test_pages_until_done(self, org: httpx.Client) -> None:
        org.post("/_sim/settings", json={"page_size": 2})
        try:
            body = ask(org, "SELECT Name FROM Account ORDER BY Name")
            assert (body["totalSize"], body["done"], len(body["records"])) == (3, False, 2)
            assert body["nextRecordsUrl"].startswith(f"{DATA}/query/01g")
            assert body["nextRecordsUrl"].endswith("-2")
            last = org.get(body["nextRecordsUrl"]).json()
            assert (last["totalSize"], last["done"]) == (3, True)
            assert "nextRecordsUrl" not in last
            assert [r["Name"] for r in last["records"]] == ["zeta_corp"]
            sized = {"Sforce-Query-Options": "batchSize=500"}
            assert ask(org, "SELECT Name FROM Account", **sized)["done"] is True
            org.post("/_sim/settings", json={"query_locator_seconds": 0})
            expired = org.get(body["nextRecordsUrl"])
            assert expired.status_code == 400
            assert expired.json()[0]["errorCode"] == "INVALID_QUERY_LOCATOR"
        finally:
            org.post("/_sim/settings", json={"page_size": 2000, "query_locator_seconds": 172_800})

    def test_unknown_locator(self, org: httpx.Client) -> None:
        answer = org.get(f"{DATA}/query/01gnonsense-2000")
        assert [(answer.status_code, e["errorCode"]) for e in answer.json()] == [
            (400, "INVALID_QUERY_LOCATOR")
        ]

    def test_header_is_kept_within_bounds(self, org: httpx.Client) -> None:
        rows = [{"Subject": f"T{n}"} for n in range(201)]
        org.post("/_sim/seed", json={"Task": rows}).raise_for_status()
        body = ask(org, "SELECT Id FROM Task", **{"Sforce-Query-Options": "batchSize=1"})
        assert len(body["records"]) == 200


class TestDeleted:
    def test_query_all_sees_the_recycle_bin(self, org: httpx.Client) -> None:
        id_ = org.post(f"{DATA}/sobjects/Contact", json={"LastName": "Gone"}).json()["id"]
        org.delete(f"{DATA}/sobjects/Contact/{id_}")
        query = {"q": "SELECT Id, IsDeleted FROM Contact"}
        assert org.get(f"{DATA}/query", params=query).json()["totalSize"] == 0
        rows = org.get(f"{DATA}/queryAll", params=query).json()["records"]
        assert [(r["Id"], r["IsDeleted"]) for r in rows] == [(id_, True)]
