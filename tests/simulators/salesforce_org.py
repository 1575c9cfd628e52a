"""Salesforce simulator: one organisation for the tests of rows, fields and features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from simulators.kit import Running, serve
from simulators.salesforce import build
from simulators.salesforce.simulator import defaults

DATA = "/services/data/v64.0"
SCHEMA = {
    "Account": [
        {"name": "ERP_Customer_Id__c", "type": "Text", "length": 40, "externalId": True, "unique": True},
        {"name": "Legacy_Id__c", "type": "Text", "length": 40, "externalId": True},
        {"name": "Tax_Id__c", "type": "Text", "length": 20},
        {"name": "Invoiced__c", "type": "Currency", "precision": 12, "scale": 2},
        {"name": "Active__c", "type": "Checkbox"},
        {"name": "Since__c", "type": "DateTime"},
        {"name": "Tier__c", "type": "Picklist", "values": ["Gold", "Silver"]},
        {"name": "Partner__c", "type": "Lookup", "referenceTo": "Account", "relationshipName": "Clients"},
    ],
    "Opportunity": [{"name": "Project_Code__c", "type": "Text", "length": 80}],
    "OpportunityLineItem": [{"name": "Billing_Method__c", "type": "Text", "length": 20}],
}


def errors(answer: httpx.Response) -> list[tuple[int, str]]:
    return [(answer.status_code, e["errorCode"]) for e in answer.json()]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serve(build()) as running:
        yield running


@pytest.fixture
def org(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.base_url, trust_env=False) as client:
        client.post("/_sim/reset").raise_for_status()
        client.post("/_sim/settings", json=defaults()).raise_for_status()
        client.post("/_sim/schema", json=SCHEMA).raise_for_status()
        form = {
            "grant_type": "client_credentials",
            "client_id": "sim-salesforce-client",
            "client_secret": "sim-salesforce-secret",
        }
        token = client.post("/services/oauth2/token", data=form).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def create(org: httpx.Client, type_: str, **fields: Any) -> str:
    answer = org.post(f"{DATA}/sobjects/{type_}", json=fields)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def read(org: httpx.Client, type_: str, id_: str) -> dict[str, Any]:
    answer = org.get(f"{DATA}/sobjects/{type_}/{id_}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def deal(org: httpx.Client, **fields: Any) -> str:
    base = {"Name": "Deal", "StageName": "Prospecting", "CloseDate": "2026-11-30"}
    return create(org, "Opportunity", **{**base, **fields})


def priced(org: httpx.Client) -> tuple[str, str]:
    """A product with a price of 150 in the standard price book: (product, entry)."""
    book = org.get("/_sim/records?type=Pricebook2").json()["Pricebook2"][0]["Id"]
    product = create(org, "Product2", Name="Consulting", ProductCode="CONS", IsActive=True)
    entry = create(org, "PricebookEntry", Pricebook2Id=book, Product2Id=product, UnitPrice=150, IsActive=True)
    return product, entry
