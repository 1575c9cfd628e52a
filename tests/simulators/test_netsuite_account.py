"""NetSuite simulator: an account with a small client, shared by these tests; seeding and resetting."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from simulators.kit import serve
from simulators.netsuite import build

RECORD = "/services/rest/record/v1"
QUERY = "/services/rest/query/v1/suiteql"
TOKEN = "/services/rest/auth/oauth2/v1/token"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LIST = {"Prefer": "respond-async", "Content-Type": "application/vnd.oracle.resource+json; type=collection"}

KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = (
    KEY.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)

SEED: dict[str, list[dict[str, Any]]] = {
    "currency": [
        {"id": "1", "name": "Euro", "symbol": "EUR", "currencyPrecision": 2},
        {"id": "2", "name": "US Dollar", "symbol": "USD", "currencyPrecision": 2},
        {"id": "3", "name": "Yen", "symbol": "JPY", "currencyPrecision": 0},
    ],
    "subsidiary": [
        {"id": "3", "name": "Firm GmbH", "currency": {"id": "1"}},
        {"id": "7", "name": "Firm Inc", "currency": {"id": "2"}},
    ],
    "term": [{"id": "2", "name": "Net 30", "daysUntilNetDue": 30}],
    "accountingPeriod": [
        {
            "id": "10",
            "periodName": "Oct 2026",
            "startDate": "2026-10-01",
            "endDate": "2026-10-31",
            "closed": True,
        },
        {"id": "11", "periodName": "Nov 2026", "startDate": "2026-11-01", "endDate": "2026-11-30"},
        {
            "id": "12",
            "periodName": "Dec 2026",
            "startDate": "2026-12-01",
            "endDate": "2026-12-31",
            "arLocked": True,
        },
    ],
    "currencyRate": [
        {
            "id": "1",
            "baseCurrency": {"id": "1"},
            "transactionCurrency": {"id": "2"},
            "effectiveDate": "2026-11-01",
            "exchangeRate": 0.9,
        }
    ],
    "serviceSaleItem": [{"id": "31", "itemId": "Consulting", "rate": 150}],
    "billingSchedule": [{"id": "9", "name": "Quarterly", "scheduleType": {"id": "STD"}}],
    "billingRateCard": [{"id": "2", "name": "Standard"}],
    "expenseCategory": [{"id": "4", "name": "Travel"}],
    "employee": [{"id": "14", "firstName": "Ann", "lastName": "Lee", "subsidiary": {"id": "3"}}],
    "customer": [
        {
            "id": "55",
            "externalId": "crm-55",
            "companyName": "Acme GmbH",
            "subsidiary": {"id": "3"},
            "currency": {"id": "1"},
            "terms": {"id": "2"},
            "currencyList": {"items": [{"currency": {"id": "1"}}, {"currency": {"id": "2"}}]},
        }
    ],
    "job": [
        {
            "id": "60",
            "externalId": "opp-60",
            "entityId": "PRJ-00001",
            "companyName": "Rollout",
            "parent": {"id": "55"},
            "subsidiary": {"id": "3"},
            "projectExpenseType": {"id": "-2"},
        }
    ],
    "projectTask": [{"id": "70", "title": "Build", "project": {"id": "60"}}],
}


def assertion(
    base: str, *, key: Any = KEY, alg: str = "ES256", headers: dict[str, Any] | None = None, **claims: Any
) -> str:
    """A signed client assertion; keyword arguments override claims, None removes."""
    now = int(time.time())
    body = {
        "iss": "sim-client",
        "scope": "rest_webservices",
        "aud": base + TOKEN,
        "iat": now,
        "exp": now + 300,
        **claims,
    }
    body = {k: v for k, v in body.items() if v is not None}
    return jwt.encode(body, key, algorithm=alg, headers={"typ": "JWT", "kid": "cert-1", **(headers or {})})


@dataclass
class Account:
    """The simulator behind real HTTP, with a token in hand."""

    http: httpx.Client
    base: str

    def control(self, name: str, body: Any = None, method: str = "POST") -> Any:
        answer = self.http.request(method, f"/_sim/{name}", json=body)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def settings(self, **changes: Any) -> None:
        self.control("settings", changes)

    def ask_token(self, **overrides: Any) -> httpx.Response:
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION,
            "client_assertion": assertion(self.base),
            **overrides,
        }
        return self.http.post(TOKEN, data=form, headers={"Authorization": ""})

    def login(self) -> None:
        answer = self.ask_token()
        assert answer.status_code == 200, answer.text
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """A record call; header names use underscores for dashes."""
        sent = {"X-NetSuite-PropertyNameValidation": "Error"}
        sent.update({k.replace("_", "-"): v for k, v in headers.items()})
        content = None if body is None else json.dumps(body)
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        return self.http.request(method, RECORD + path, content=content, headers=sent)

    def make(self, path: str, body: Any, method: str = "POST") -> str:
        """A write that must succeed; the internal id out of Location."""
        answer = self.call(method, path, body)
        assert answer.status_code == 204, answer.text
        assert answer.content == b""
        return answer.headers["Location"].rsplit("/", 1)[1]

    def get(self, path: str) -> dict[str, Any]:
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = json.loads(answer.text, parse_float=Decimal)
        return found

    def refused(
        self, method: str, path: str, body: Any = None, status: int = 400, **headers: str
    ) -> dict[str, Any]:
        """A call that must be refused; its first error detail."""
        answer = self.call(method, path, body, **headers)
        assert answer.status_code == status, (answer.status_code, answer.text)
        document = answer.json()
        assert document["status"] == status
        assert document["type"].startswith("https://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html#sec10.")
        assert "type=error" in answer.headers["Content-Type"]
        detail: dict[str, Any] = document["o:errorDetails"][0]
        return detail

    def ask(self, q: str, limit: int = 1000, offset: int = 0, **headers: str) -> httpx.Response:
        sent = {"Prefer": "transient", **headers}
        return self.http.post(QUERY, params={"limit": limit, "offset": offset}, json={"q": q}, headers=sent)

    def rows(self, q: str) -> list[dict[str, Any]]:
        """The rows of a query, without their links."""
        answer = self.ask(q)
        assert answer.status_code == 200, answer.text
        return [{k: v for k, v in item.items() if k != "links"} for item in answer.json()["items"]]

    def writes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.control("writes", method="GET")
        return found


@contextmanager
def account(seed: dict[str, list[dict[str, Any]]] | None = None, **settings: Any) -> Iterator[Account]:
    """A running account with the usual seed and a valid token."""
    with serve(build()) as running, httpx.Client(base_url=running.base_url, timeout=20) as http:
        found = Account(http, running.base_url)
        found.settings(certificates={"cert-1": PUBLIC}, **settings)
        found.control("seed", SEED if seed is None else seed)
        found.login()
        yield found


def test_what_the_control_api_shows_can_be_seeded_again() -> None:
    with account() as one:
        order = one.make(
            "/salesOrder",
            {
                "entity": {"id": "55"},
                "job": {"id": "60"},
                "tranDate": "2026-11-20",
                "orderStatus": {"id": "B"},
                "item": {"items": [{"item": {"id": "31"}, "quantity": 2}]},
            },
        )
        one.make(f"/salesOrder/{order}/!transform/invoice", {"externalId": "inv-1", "tranDate": "2026-11-20"})
        shown = one.control("records", method="GET")
        with account(seed=shown) as two:
            again = two.control("records", method="GET")
    for records in (shown, again):
        for rows in records.values():
            for row in rows:
                # Each account stamps its own instants; a second may pass between the two.
                row.pop("lastModifiedDate", None)
                row.pop("createdDate", None)
                row.pop("transactionNumber", None)
                row.pop("number", None)
    assert again == shown


def test_reset_keeps_settings_and_custom_fields_and_forgets_the_rest() -> None:
    with account() as one:
        one.control("schema", {"job": [{"name": "custentity_deal", "type": "string"}]})
        one.settings(tax_rate="19")
        one.control("reset")
        assert one.control("records", method="GET") == {}
        assert one.writes() == []
        assert one.control("settings", method="GET")["tax_rate"] == "19"
        assert one.control("schema", method="GET")["job"][0]["name"] == "custentity_deal"
        assert one.call("GET", "/customer/55").status_code == 401
        one.login()
        assert one.refused("GET", "/customer/55", status=404)["o:errorCode"] == "NONEXISTENT_ID"


def test_a_wrong_seed_names_what_is_wrong() -> None:
    with account() as one:
        for body, said in (
            ({"nonsense": [{}]}, "nonsense"),
            ({"customer": [{"id": "900", "companyNam": "X"}]}, "companyNam"),
            ({"customer": [{"id": "55", "companyName": "X", "subsidiary": {"id": "3"}}]}, "taken"),
        ):
            answer = one.http.post("/_sim/seed", json=body)
            assert answer.status_code == 400
            assert said in answer.json()["error"]
        answer = one.http.post("/_sim/schema", json={"customer": [{"name": "custbody_x", "type": "string"}]})
        assert "custentity_" in answer.json()["error"]
