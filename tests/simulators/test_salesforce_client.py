"""Salesforce simulator judged by an independent client: simple-salesforce, over TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import (
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceResourceNotFound,
)

from simulators.kit import Running, serve
from simulators.kit.serve import throwaway_tls
from simulators.salesforce import build

SCHEMA = {
    "Account": [
        {"name": "ERP_Customer_Id__c", "type": "Text", "length": 40, "externalId": True, "unique": True},
        {"name": "Legacy_Id__c", "type": "Text", "length": 40, "externalId": True},
    ]
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    tls, ca = throwaway_tls(Path(tmp_path_factory.mktemp("tls")))
    with serve(build(), tls=tls, ca_file=ca) as running:
        yield running


@pytest.fixture
def sf(running: Running, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(running.ca_file))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    trusted = ssl.create_default_context(cafile=running.ca_file)
    form = {
        "grant_type": "client_credentials",
        "client_id": "sim-salesforce-client",
        "client_secret": "sim-salesforce-secret",
    }
    with httpx.Client(base_url=running.base_url, verify=trusted, trust_env=False) as client:
        client.post("/_sim/reset").raise_for_status()
        client.post("/_sim/schema", json=SCHEMA).raise_for_status()
        issued = client.post("/services/oauth2/token", data=form).json()
    assert issued["instance_url"].startswith("https://127.0.0.1:")
    return Salesforce(instance_url=issued["instance_url"], session_id=issued["access_token"], version="64.0")


def test_records(sf: Any) -> None:
    made = sf.Account.create({"Name": "O'Hara"})
    assert made["success"] is True
    assert sf.Account.update(made["id"], {"BillingCity": "Delft"}) == 204
    assert sf.Account.get(made["id"])["BillingCity"] == "Delft"
    assert sf.Account.delete(made["id"]) == 204
    with pytest.raises(SalesforceResourceNotFound):
        sf.Account.get(made["id"])


def test_upsert_and_ambiguity(sf: Any) -> None:
    assert sf.Account.upsert("ERP_Customer_Id__c/C1", {"Name": "A"}) == 201
    assert sf.Account.upsert("ERP_Customer_Id__c/C1", {"Name": "B"}) == 200
    assert sf.Account.get_by_custom_id("ERP_Customer_Id__c", "C1")["Name"] == "B"
    for name in ("X", "Y"):
        sf.Account.create({"Name": name, "Legacy_Id__c": "same"})
    with pytest.raises(SalesforceMoreThanOneRecord):
        sf.Account.upsert("Legacy_Id__c/same", {"Name": "Z"})


def test_queries_page_by_themselves(sf: Any, running: Running) -> None:
    running.simulator.settings["page_size"] = 2
    try:
        for name in "ABCDE":
            sf.Account.create({"Name": name})
        rows = sf.query_all("SELECT Id, Name FROM Account ORDER BY Name")
        assert [r["Name"] for r in rows["records"]] == list("ABCDE")
        assert [r["Name"] for r in sf.query_all_iter("SELECT Name FROM Account ORDER BY Name DESC")] == list(
            "EDCBA"
        )
    finally:
        running.simulator.settings["page_size"] = 2000


def test_describe_and_limits(sf: Any) -> None:
    described = sf.Account.describe()
    assert described is not None
    assert "ERP_Customer_Id__c" in {f["name"] for f in described["fields"]}
    everything = sf.describe()
    assert everything is not None
    assert "Opportunity" in {o["name"] for o in everything["sobjects"]}
    assert sf.limits()["DailyApiRequests"]["Max"] == 100_000
    assert sf.api_usage["api-usage"].total == 100_000


def test_errors(sf: Any, running: Running) -> None:
    with pytest.raises(SalesforceMalformedRequest) as bad:
        sf.query("SELECT Nope FROM Account")
    refusal: Any = bad.value.content
    assert refusal[0]["errorCode"] == "INVALID_FIELD"
    running.simulator.faults.add({"kind": "expired_token"})
    with pytest.raises(SalesforceExpiredSession):
        sf.limits()
