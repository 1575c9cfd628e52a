"""Salesforce simulator: faults, the request allowance, seeds, control calls, size."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from simulators.kit import Running, serve
from simulators.salesforce import build
from simulators.salesforce.simulator import defaults

DATA = "/services/data/v64.0"
KEY = {"name": "Saga_Key__c", "type": "Text", "length": 64, "externalId": True, "unique": True}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serve(build()) as running:
        yield running


@pytest.fixture
def org(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.base_url, trust_env=False, timeout=60) as client:
        client.post("/_sim/reset").raise_for_status()
        client.post("/_sim/settings", json=defaults()).raise_for_status()
        client.post("/_sim/schema", json={"Account": [KEY], "Opportunity": [KEY]}).raise_for_status()
        form = {
            "grant_type": "client_credentials",
            "client_id": "sim-salesforce-client",
            "client_secret": "sim-salesforce-secret",
        }
        token = client.post("/services/oauth2/token", data=form).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def fault(org: httpx.Client, **rule: Any) -> None:
    org.post("/_sim/faults", json=rule).raise_for_status()


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()[0]["errorCode"]


class TestFaults:
    def test_locked_row(self, org: httpx.Client) -> None:
        fault(org, kind="business", method="PATCH", message="UNABLE_TO_LOCK_ROW")
        path = f"{DATA}/sobjects/Account/Saga_Key__c/K1"
        answer = org.patch(path, json={"Name": "A"})
        assert code(answer) == (400, "UNABLE_TO_LOCK_ROW")
        assert answer.json()[0]["message"].startswith("unable to obtain exclusive access")
        assert org.patch(path, json={"Name": "A"}).status_code == 201

    def test_a_fault_for_one_caller_s_calls(self, org: httpx.Client) -> None:
        fault(org, kind="error_before", status=503, note=r"\|draft\|")
        for who, status in (("", 200), ("s|issue|1", 200), ("s|draft|1", 503), ("s|draft|2", 200)):
            answer = org.get(f"{DATA}/limits", headers={"x-sim-note": who})
            assert answer.status_code == status

    def test_business_refusal(self, org: httpx.Client) -> None:
        fault(org, kind="business", message="Tax id first")
        answer = org.post(f"{DATA}/sobjects/Account", json={"Name": "A"})
        assert code(answer) == (400, "FIELD_CUSTOM_VALIDATION_EXCEPTION")
        fault(org, kind="business", message="QUERY_TIMEOUT: took too long")
        answer = org.get(f"{DATA}/query", params={"q": "SELECT Id FROM Account"})
        assert (code(answer), answer.json()[0]["message"]) == ((400, "QUERY_TIMEOUT"), "took too long")

    def test_server_errors(self, org: httpx.Client) -> None:
        for status in (500, 502, 503):
            fault(org, kind="error_before", status=status)
            assert code(org.get(f"{DATA}/limits")) == (status, "SERVER_UNAVAILABLE")
        fault(org, kind="error_before", status=500, path="oauth2")
        assert org.post("/services/oauth2/token", data={}).json()["error"] == "unknown_error"

    def test_lost_answer_after_commit(self, org: httpx.Client) -> None:
        fault(org, kind="drop_after", method="PATCH")
        path = f"{DATA}/sobjects/Account/Saga_Key__c/K1"
        with pytest.raises(httpx.TransportError):
            org.patch(path, json={"Name": "A"})
        assert org.patch(path, json={"Name": "A"}).json()["created"] is False

    def test_a_slow_answer_is_slow_whatever_it_says(self, org: httpx.Client) -> None:
        path = f"{DATA}/sobjects/Account/Saga_Key__c/nobody"
        fault(org, kind="delay_after", method="GET", delay_ms=300)
        began = time.monotonic()
        assert org.get(path).status_code == 404
        assert time.monotonic() - began >= 0.3

    def test_stale_reads(self, org: httpx.Client) -> None:
        path = f"{DATA}/sobjects/Account/Saga_Key__c/K1"
        id_ = org.patch(path, json={"Name": "old"}).json()["id"]
        query = {"q": "SELECT Name FROM Account WHERE Saga_Key__c = 'K1'"}
        fault(org, kind="stale_read", method="GET", times=3)
        assert org.get(f"{DATA}/sobjects/Account/{id_}").status_code == 404
        assert org.get(path).status_code == 404
        assert org.get(f"{DATA}/query", params=query).json()["totalSize"] == 0
        org.patch(path, json={"Name": "new"})
        fault(org, kind="stale_read", method="GET", times=2)
        assert org.get(f"{DATA}/sobjects/Account/{id_}").json()["Name"] == "old"
        assert org.get(f"{DATA}/query", params=query).json()["records"][0]["Name"] == "old"
        assert org.get(f"{DATA}/query", params=query).json()["records"][0]["Name"] == "new"


class TestAllowance:
    def test_falls_then_refuses_without_retry_after(self, org: httpx.Client) -> None:
        org.post("/_sim/settings", json={"api_limit": 102, "api_used": 100})
        seen = [org.get(f"{DATA}/limits").headers["sforce-limit-info"] for _ in range(2)]
        assert seen == ["api-usage=101/102", "api-usage=102/102"]
        answer = org.get(f"{DATA}/limits")
        assert code(answer) == (403, "REQUEST_LIMIT_EXCEEDED")
        assert answer.headers["sforce-limit-info"] == "api-usage=102/102"
        assert "retry-after" not in answer.headers

    def test_injected(self, org: httpx.Client) -> None:
        fault(org, kind="rate_limit")
        answer = org.get(f"{DATA}/limits")
        assert code(answer) == (403, "REQUEST_LIMIT_EXCEEDED")
        assert "retry-after" not in answer.headers
        assert org.get(f"{DATA}/limits").status_code == 200

    def test_header_on_every_answer(self, org: httpx.Client) -> None:
        for answer in (
            org.get(f"{DATA}/limits"),
            org.get(f"{DATA}/sobjects/Nope"),
            org.post(f"{DATA}/sobjects/Account", json={"Name": "A"}),
            org.get(f"{DATA}/query", params={"q": "nonsense"}),
        ):
            assert answer.headers["sforce-limit-info"].startswith("api-usage=")


class TestSeedAndControl:
    def test_what_records_prints_can_be_seeded(self, org: httpx.Client) -> None:
        account = org.post(f"{DATA}/sobjects/Account", json={"Name": "A", "Saga_Key__c": "K"}).json()["id"]
        body = {"Name": "D", "StageName": "Closed Won", "CloseDate": "2026-01-01", "AccountId": account}
        org.post(f"{DATA}/sobjects/Opportunity", json=body).raise_for_status()
        before = org.get("/_sim/records").json()
        org.post("/_sim/reset")
        assert "Account" not in org.get("/_sim/records").json()
        org.post("/_sim/seed", json=before).raise_for_status()
        assert org.get("/_sim/records").json() == before
        assert org.get("/_sim/writes").json() == []
        assert (
            org.patch(f"{DATA}/sobjects/Account/Saga_Key__c/K", json={"Name": "B"}).json()["created"] is False
        )

    @pytest.mark.parametrize(
        ("records", "why"),
        [
            ({"Nope": [{}]}, "unknown object Nope"),
            ({"Account": [{}]}, "REQUIRED_FIELD_MISSING"),
            ({"Account": [{"Name": "A", "Nope": 1}]}, "INVALID_FIELD"),
            ({"Account": [{"Name": "A", "Id": "003gK0000000001QAA"}]}, "MALFORMED_ID"),
            (
                {"Account": [{"Name": "A", "Saga_Key__c": "K"}, {"Name": "B", "Saga_Key__c": "k"}]},
                "DUPLICATE_VALUE",
            ),
            ({"Contact": [{"LastName": "A", "AccountId": "006gK0000000001QAA"}]}, "MALFORMED_ID"),
        ],
    )
    def test_bad_seed_leaves_nothing(
        self, org: httpx.Client, records: dict[str, list[dict[str, Any]]], why: str
    ) -> None:
        answer = org.post("/_sim/seed", json={"Product2": [{"Name": "P"}], **records})
        assert answer.status_code == 400
        assert why in answer.json()["error"]
        assert "Product2" not in org.get("/_sim/records").json()

    def test_generated_ids_avoid_seeded_ones(self, org: httpx.Client) -> None:
        org.post(
            "/_sim/seed", json={"Account": [{"Id": "001gK0000000001", "Name": "seeded"}]}
        ).raise_for_status()
        made = org.post(f"{DATA}/sobjects/Account", json={"Name": "A"}).json()["id"]
        assert made == "001gK0000000002QAA"

    def test_change_by_somebody_else(self, org: httpx.Client) -> None:
        id_ = org.post(f"{DATA}/sobjects/Account", json={"Name": "A"}).json()["id"]
        before = org.get(f"{DATA}/sobjects/Account/{id_}").json()
        system = {"type": "Account", "id": id_, "fields": {"Site": "S"}, "system": True}
        org.post("/_sim/change", json=system).raise_for_status()
        after = org.get(f"{DATA}/sobjects/Account/{id_}").json()
        assert after["Site"] == "S"
        assert after["SystemModstamp"] > before["SystemModstamp"]
        assert after["LastModifiedDate"] == before["LastModifiedDate"]
        org.post(
            "/_sim/change", json={"type": "Account", "id": id_, "fields": {"Name": "B"}}
        ).raise_for_status()
        last = org.get(f"{DATA}/sobjects/Account/{id_}").json()
        assert last["Name"] == "B"
        assert last["LastModifiedDate"] > before["LastModifiedDate"]
        assert len(org.get("/_sim/writes").json()) == 1
        assert org.post("/_sim/change", json={**system, "fields": {"Nope": 1}}).status_code == 400

    def test_whole_second_stamps(self, org: httpx.Client) -> None:
        org.post("/_sim/settings", json={"stamp_precision": "second"})
        id_ = org.post(f"{DATA}/sobjects/Account", json={"Name": "A"}).json()["id"]
        assert org.get(f"{DATA}/sobjects/Account/{id_}").json()["SystemModstamp"].endswith(".000+0000")


class TestSize:
    def test_writes_and_look_ups_do_not_slow_down(self, org: httpx.Client) -> None:
        def upsert(start: int) -> float:
            records = [
                {"attributes": {"type": "Account"}, "Name": f"A{n}", "Saga_Key__c": f"K{n}"}
                for n in range(start, start + 200)
            ]
            began = time.process_time()
            answer = org.patch(f"{DATA}/composite/sobjects/Account/Saga_Key__c", json={"records": records})
            assert all(r["created"] for r in answer.json())
            return time.process_time() - began

        first = min(upsert(0), upsert(200))
        rows = [{"Name": f"B{n}", "Saga_Key__c": f"S{n}"} for n in range(4000)]
        org.post("/_sim/seed", json={"Account": rows}).raise_for_status()
        # A scan per write would make this some ten times slower; a shared machine makes it noisy.
        assert min(upsert(400), upsert(600)) < first * 4
        query = {"q": "SELECT Name FROM Account WHERE Saga_Key__c = 's3999'"}
        assert org.get(f"{DATA}/query", params=query).json()["records"][0]["Name"] == "B3999"
