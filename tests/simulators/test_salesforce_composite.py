"""Salesforce simulator: composite, graph, batch and collections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from simulators.kit import Running, serve
from simulators.salesforce import build
from simulators.salesforce.simulator import defaults

DATA = "/services/data/v64.0"
KEY = {"name": "Key__c", "type": "Text", "length": 64, "externalId": True, "unique": True}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serve(build()) as running:
        yield running


@pytest.fixture
def org(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.base_url, trust_env=False, timeout=30) as client:
        client.post("/_sim/reset").raise_for_status()
        client.post("/_sim/settings", json=defaults()).raise_for_status()
        client.post("/_sim/schema", json={"Account": [KEY]}).raise_for_status()
        form = {
            "grant_type": "client_credentials",
            "client_id": "sim-salesforce-client",
            "client_secret": "sim-salesforce-secret",
        }
        token = client.post("/services/oauth2/token", data=form).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def step(reference: str, method: str, url: str, body: Any = None) -> dict[str, Any]:
    made = {"referenceId": reference, "method": method, "url": f"{DATA}/{url}"}
    return made if body is None else {**made, "body": body}


def composite(org: httpx.Client, *steps: dict[str, Any], all_or_none: bool = True) -> list[dict[str, Any]]:
    body = {"allOrNone": all_or_none, "compositeRequest": list(steps)}
    answer = org.post(f"{DATA}/composite", json=body)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["compositeResponse"])


def accounts(org: httpx.Client) -> list[str]:
    return [a["Name"] for a in org.get("/_sim/records?type=Account").json()["Account"]]


class TestComposite:
    def test_later_steps_use_earlier_answers(self, org: httpx.Client) -> None:
        parts = composite(
            org,
            step("acc", "PATCH", "sobjects/Account/Key__c/K1", {"Name": "Northwind"}),
            step("con", "POST", "sobjects/Contact", {"LastName": "Smith", "AccountId": "@{acc.id}"}),
            step("get", "GET", "sobjects/Contact/@{con.id}?fields=Id,AccountId"),
            step("q", "GET", "query?q=SELECT+Id,Name+FROM+Account+WHERE+Id='@{acc.id}'"),
            step("upd", "PATCH", "sobjects/Account/@{q.records[0].Id}", {"Site": "of @{q.records[0].Name}"}),
        )
        assert [p["httpStatusCode"] for p in parts] == [201, 201, 200, 200, 204]
        assert [p["referenceId"] for p in parts] == ["acc", "con", "get", "q", "upd"]
        account = parts[0]["body"]["id"]
        assert parts[0]["httpHeaders"] == {"Location": f"{DATA}/sobjects/Account/{account}"}
        assert parts[2]["body"]["AccountId"] == account
        assert parts[4]["body"] is None
        assert org.get(f"{DATA}/sobjects/Account/{account}").json()["Site"] == "of Northwind"
        writes = org.get("/_sim/writes").json()
        assert [(w["type"], w["operation"]) for w in writes] == [
            ("Account", "create"), ("Contact", "create"), ("Account", "update"),
        ]  # fmt: skip

    def test_all_or_none_rolls_back(self, org: httpx.Client) -> None:
        parts = composite(
            org,
            step("one", "POST", "sobjects/Account", {"Name": "A"}),
            step("two", "POST", "sobjects/Contact", {"AccountId": "@{one.id}"}),
            step("three", "POST", "sobjects/Account", {"Name": "C"}),
        )
        assert [p["httpStatusCode"] for p in parts] == [400, 400, 400]
        codes = [p["body"][0]["errorCode"] for p in parts]
        assert codes == ["PROCESSING_HALTED", "REQUIRED_FIELD_MISSING", "PROCESSING_HALTED"]
        assert accounts(org) == []
        assert org.get("/_sim/writes").json() == []

    def test_rolled_back_key_can_be_used_again(self, org: httpx.Client) -> None:
        bad = step("bad", "POST", "sobjects/Account", {})
        composite(org, step("a", "PATCH", "sobjects/Account/Key__c/K1", {"Name": "A"}), bad)
        answer = org.patch(f"{DATA}/sobjects/Account/Key__c/K1", json={"Name": "A"})
        assert answer.json()["created"] is True

    def test_without_all_or_none_the_rest_stays(self, org: httpx.Client) -> None:
        parts = composite(
            org,
            step("one", "POST", "sobjects/Account", {"Name": "A"}),
            step("two", "POST", "sobjects/Account", {}),
            step("three", "POST", "sobjects/Contact", {"LastName": "X", "AccountId": "@{two.id}"}),
            step("four", "POST", "sobjects/Account", {"Name": "D"}),
            all_or_none=False,
        )
        assert [p["httpStatusCode"] for p in parts] == [201, 400, 400, 201]
        assert parts[2]["body"][0]["errorCode"] == "PROCESSING_HALTED"
        assert "No value for two.id" in parts[2]["body"][0]["message"]
        assert accounts(org) == ["A", "D"]

    def test_caps(self, org: httpx.Client) -> None:
        def send(steps: list[dict[str, Any]]) -> int:
            return org.post(f"{DATA}/composite", json={"compositeRequest": steps}).status_code

        many = [step(f"r{n}", "POST", "sobjects/Account", {"Name": "A"}) for n in range(26)]
        assert send(many[:25]) == 200
        assert send(many) == 400
        queries = [step(f"q{n}", "GET", "query?q=SELECT+Id+FROM+Account") for n in range(6)]
        assert send(queries[:5]) == 200
        assert send(queries) == 400

    def test_malformed(self, org: httpx.Client) -> None:
        good = step("a", "GET", "limits")
        for steps in ([], [{"method": "GET"}], [good, good], [{**good, "referenceId": "a b"}], "x"):
            answer = org.post(f"{DATA}/composite", json={"compositeRequest": steps})
            assert answer.status_code == 400, steps
        nested = composite(org, step("a", "POST", "composite", {"compositeRequest": []}), all_or_none=False)
        assert nested[0]["httpStatusCode"] == 404

    def test_one_call_counts_once(self, org: httpx.Client) -> None:
        before = org.get(f"{DATA}/limits").json()["DailyApiRequests"]["Remaining"]
        composite(org, step("a", "GET", "limits"), step("b", "GET", "limits"))
        assert org.get(f"{DATA}/limits").json()["DailyApiRequests"]["Remaining"] == before - 2


class TestGraph:
    def test_each_graph_by_itself(self, org: httpx.Client) -> None:
        good = [
            step("a", "POST", "sobjects/Account", {"Name": "Good"}),
            step("b", "POST", "sobjects/Contact", {"LastName": "X", "AccountId": "@{a.id}"}),
        ]
        bad = [
            step("a", "POST", "sobjects/Account", {"Name": "Bad"}),
            step("b", "POST", "sobjects/Contact", {}),
        ]
        graphs = [{"graphId": "1", "compositeRequest": good}, {"graphId": "2", "compositeRequest": bad}]
        answer = org.post(f"{DATA}/composite/graph", json={"graphs": graphs}).json()["graphs"]
        assert [(g["graphId"], g["isSuccessful"]) for g in answer] == [("1", True), ("2", False)]
        failed = answer[1]["graphResponse"]["compositeResponse"]
        assert [p["body"][0]["errorCode"] for p in failed] == ["PROCESSING_HALTED", "REQUIRED_FIELD_MISSING"]
        assert accounts(org) == ["Good"]

    def test_500_nodes(self, org: httpx.Client) -> None:
        nodes = [step(f"r{n}", "GET", "limits") for n in range(251)]
        graphs = [{"graphId": g, "compositeRequest": nodes} for g in ("1", "2")]
        assert org.post(f"{DATA}/composite/graph", json={"graphs": graphs}).status_code == 400
        graphs[1]["compositeRequest"] = nodes[:249]
        assert org.post(f"{DATA}/composite/graph", json={"graphs": graphs}).status_code == 200


class TestBatch:
    def part(self, method: str, url: str, body: Any = None) -> dict[str, Any]:
        return {"method": method, "url": f"v64.0/{url}", "richInput": body}

    def test_results_in_order_and_no_roll_back(self, org: httpx.Client) -> None:
        parts = [
            self.part("POST", "sobjects/Account", {"Name": "A"}),
            self.part("POST", "sobjects/Account", {}),
            self.part("GET", "query/?q=SELECT+Name+FROM+Account"),
        ]
        body = org.post(f"{DATA}/composite/batch", json={"batchRequests": parts}).json()
        assert body["hasErrors"] is True
        assert [r["statusCode"] for r in body["results"]] == [201, 400, 200]
        assert body["results"][2]["result"]["records"][0]["Name"] == "A"

    def test_halt(self, org: httpx.Client) -> None:
        parts = [
            self.part("POST", "sobjects/Account", {}),
            self.part("POST", "sobjects/Account", {"Name": "A"}),
        ]
        body = org.post(f"{DATA}/composite/batch", json={"haltOnError": True, "batchRequests": parts}).json()
        assert [r["statusCode"] for r in body["results"]] == [400, 412]
        assert accounts(org) == []

    def test_cap(self, org: httpx.Client) -> None:
        parts = [self.part("GET", "limits")] * 26
        assert org.post(f"{DATA}/composite/batch", json={"batchRequests": parts}).status_code == 400


def row(type_: str = "Account", **fields: Any) -> dict[str, Any]:
    return {"attributes": {"type": type_}, **fields}


class TestCollections:
    URL = f"{DATA}/composite/sobjects"

    def test_each_record_by_itself(self, org: httpx.Client) -> None:
        records = [row(Name="A"), row(), row("Contact", LastName="B")]
        answer = org.post(self.URL, json={"allOrNone": False, "records": records})
        assert answer.status_code == 200
        first, second, third = answer.json()
        assert first == {"id": first["id"], "success": True, "errors": []}
        message = "Required fields are missing: [Name]"
        error = {"statusCode": "REQUIRED_FIELD_MISSING", "message": message, "fields": ["Name"]}
        assert second == {"success": False, "errors": [error]}
        assert third["id"][:3] == "003"
        assert len(org.get("/_sim/writes").json()) == 2

    def test_all_or_none(self, org: httpx.Client) -> None:
        answer = org.post(self.URL, json={"allOrNone": True, "records": [row(Name="A"), row()]}).json()
        assert [r["success"] for r in answer] == [False, False]
        codes = [r["errors"][0]["statusCode"] for r in answer]
        assert codes == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING"]
        assert accounts(org) == []

    def test_update_and_delete(self, org: httpx.Client) -> None:
        made = org.post(self.URL, json={"records": [row(Name="A"), row(Name="B")]}).json()
        ids = [r["id"] for r in made]
        records = [row(id=ids[0], Name="A2"), row(id="001gK000000zzzzQAA", Name="X"), row(Name="no id")]
        changed = org.patch(self.URL, json={"records": records}).json()
        assert [r["success"] for r in changed] == [True, False, False]
        assert changed[1]["errors"][0]["statusCode"] == "NOT_FOUND"
        gone = org.delete(self.URL, params={"ids": ",".join([*ids, ids[0]]), "allOrNone": "false"}).json()
        assert [r["success"] for r in gone] == [True, True, False]
        assert gone[2]["errors"][0]["statusCode"] == "ENTITY_IS_DELETED"

    def test_upsert(self, org: httpx.Client) -> None:
        org.patch(f"{DATA}/sobjects/Account/Key__c/K1", json={"Name": "A"})
        records = [row(Key__c="K1", Name="A2"), row(Key__c="K2", Name="B"), row(Name="C")]
        body = org.patch(f"{self.URL}/Account/Key__c", json={"records": records}).json()
        assert [r.get("created") for r in body] == [False, True, None]
        assert body[2]["success"] is False
        assert accounts(org) == ["A2", "B"]
        assert [w["key"] for w in org.get("/_sim/writes").json()] == ["K1", "K1", "K2"]
        mixed = {"records": [row("Contact", Key__c="K1")]}
        assert org.patch(f"{self.URL}/Account/Key__c", json=mixed).status_code == 400
        assert org.patch(f"{self.URL}/Account/Site", json={"records": records}).status_code == 404

    def test_read(self, org: httpx.Client) -> None:
        made = org.post(self.URL, json={"records": [row(Name="A")]}).json()[0]["id"]
        params = {"ids": f"{made},001gK000000zzzzQAA", "fields": "Id,Name"}
        body = org.get(f"{self.URL}/Account", params=params).json()
        assert body[0]["Name"] == "A"
        assert body[1] is None

    def test_200_records(self, org: httpx.Client) -> None:
        records = [row(Name=f"A{n}", Key__c=f"K{n}") for n in range(201)]
        assert org.post(self.URL, json={"records": records}).status_code == 400
        assert accounts(org) == []
        answer = org.post(self.URL, json={"records": records[:200]})
        assert all(r["success"] for r in answer.json())

    def test_ten_chunks(self, org: httpx.Client) -> None:
        records = [row(Name="A"), row("Contact", LastName="B")] * 5
        assert org.post(self.URL, json={"records": records}).status_code == 200
        records.append(row(Name="A"))
        assert org.post(self.URL, json={"records": records}).status_code == 400

    def test_locked_row_fails_alone(self, org: httpx.Client) -> None:
        ids = [r["id"] for r in org.post(self.URL, json={"records": [row(Name="A"), row(Name="B")]}).json()]
        org.post("/_sim/settings", json={"locked_rows": {ids[1]: 1}})
        records = [row(id=i, Site="x") for i in ids]
        first = org.patch(self.URL, json={"records": records}).json()
        assert [r["success"] for r in first] == [True, False]
        assert first[1]["errors"][0]["statusCode"] == "UNABLE_TO_LOCK_ROW"
        assert all(r["success"] for r in org.patch(self.URL, json={"records": records}).json())
