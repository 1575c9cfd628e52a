"""NetSuite as a subject of the acceptance rows: simulator, seed, connector, one create, one update."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from canonical.authority import Phase
from canonical.engagement import Contract
from canonical.operations import ContractSetup, WriteContext
from canonical.parties import Client
from canonical.writes import Landed, VendorWrite, resolve_write
from connectors.netsuite import NetSuiteConnector
from connectors.netsuite.settings import NetSuiteSettings
from simulators.kit import Running, serve
from simulators.netsuite import build
from tests.connectors import netsuite_samples as samples

SYSTEM = samples.SYSTEM
KEY_VARIABLE = "NETSUITE_TEST_KEY"
RECORD = "/services/rest/record/v1"

SCHEMA: dict[str, list[dict[str, Any]]] = {
    "customer": [{"name": "custentity_trueup_saga", "type": "string"}],
    "job": [{"name": "custentity_trueup_saga", "type": "string"}],
    "salesOrder": [
        {"name": "custbody_trueup_saga", "type": "string"},
        {"name": "custcol_trueup_billing", "type": "string", "sublist": "item"},
        {"name": "custcol_trueup_line", "type": "string", "sublist": "item"},
    ],
}
CUSTOM = {
    "client_saga": "custentity_trueup_saga",
    "project_saga": "custentity_trueup_saga",
    "order_saga": "custbody_trueup_saga",
    "line_billing_method": "custcol_trueup_billing",
    "line_key": "custcol_trueup_line",
}


@cache
def key_pair() -> tuple[str, str]:
    """(private PEM, public PEM) of the test's certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


class Subject:
    """One account with entities, currencies and items, and the connector that talks to it."""

    def __init__(self, **settings: Any) -> None:
        self.running: Running = serve(build())
        self.control = httpx.Client(base_url=self.running.base_url, trust_env=False, timeout=10)
        private, public = key_pair()
        os.environ[KEY_VARIABLE] = private
        self.configure(
            certificates={"cert-1": public}, auto_numbering={"job": "PRJ-{n:05d}", "customer": "C{n}"}
        )
        self._ask("POST", "schema", SCHEMA)
        self.prepare()
        self.connector = self.build(**settings)

    def prepare(self) -> None:
        """What an account has before we come."""
        currencies = (("4", "EUR", 2), ("2", "GBP", 2), ("6", "JPY", 0), ("8", "KWD", 3))
        self.seed(
            currency=[
                {"id": id_, "name": code, "symbol": code, "currencyPrecision": decimals}
                for id_, code, decimals in currencies
            ],
            subsidiary=[
                {"id": "3", "name": "Germany", "currency": {"id": "4"}},
                {"id": "7", "name": "United Kingdom", "currency": {"id": "2"}},
            ],
            term=[{"id": "2", "name": "Net 30"}],
            serviceSaleItem=[{"id": "31", "itemId": "Implementation"}],
            employee=[{"id": "14", "firstName": "Ann", "lastName": "Lee", "subsidiary": {"id": "3"}}],
            accountingPeriod=[
                {"id": id_, "periodName": start[:7], "startDate": start, "endDate": end, "closed": closed}
                for id_, start, end, closed in (
                    ("1", "2026-10-01", "2026-10-31", True),
                    ("2", "2026-11-01", "2026-11-30", False),
                    ("3", "2026-12-01", "2026-12-31", False),
                )
            ],
        )

    def settings(self, **changes: Any) -> NetSuiteSettings:
        """Settings of this account."""
        mapping = {"custom": CUSTOM, "account_timezone": "America/Los_Angeles", **changes.pop("mapping", {})}
        auth = {
            "kind": "oauth_m2m",
            "client_id": "sim-client",
            "certificate_id": "cert-1",
            "algorithm": "ES256",
            "private_key": {"env": KEY_VARIABLE},
        }
        return samples.settings(
            self.running.base_url, **{"auth": auth, "search_lag_seconds": 0, **changes, "mapping": mapping}
        )

    def build(self, **settings: Any) -> NetSuiteConnector:
        """A connector of this account."""
        return NetSuiteConnector(SYSTEM, self.settings(**settings))

    async def close(self) -> None:
        """Stop everything."""
        await self.connector.close()
        self.control.close()
        self.running.stop()

    # --- writes -------------------------------------------------------------------------------------

    def context(self, generation: int = 1, *, phase: Phase = Phase.BEFORE_APPROVAL) -> WriteContext:
        """A saga's step."""
        return samples.context(generation=generation, phase=phase)

    def create(self, name: str = "Ünïcödé 🚀 株式会社", key: str = "001A1", **changes: Any) -> VendorWrite:
        """A customer."""
        client: Client = samples.client(key, name)
        return self.connector.plan_clients(self.context(), [samples.setup_of(client, **changes)])[0]

    async def perform(
        self, writes: Sequence[VendorWrite], values: Mapping[str, str] | None = None
    ) -> tuple[dict[str, str], list[tuple[VendorWrite, Landed]]]:
        """Send writes in order as the executor does: look, send, read back; the symbols' values."""
        known, done = dict(values or {}), []
        for planned in writes:
            write = resolve_write(planned, known)
            landed = await self.connector.find(write) or await self.connector.send(write)
            shown = await self.connector.read_back(write, landed)
            assert shown == write.expect, f"{shown} is not {write.expect}"
            known[f"{write.symbol}.id"] = landed.id
            known.update({f"{write.symbol}.{name}": value for name, value in landed.values.items()})
            done.append((write, landed))
        return known, done

    async def contract(
        self, of: Contract | None = None
    ) -> tuple[dict[str, str], list[tuple[VendorWrite, Landed]]]:
        """A client with a contract and its project; the symbols' values and what landed."""
        setup: ContractSetup = samples.contract_setup(of)
        client = samples.setup_of(
            samples.client(), entities=(setup.contract.legal_entity,), currencies=(setup.contract.currency,)
        )
        values, first = await self.perform(self.connector.plan_clients(self.context(), [client]))
        writes = self.connector.plan_contract_and_project(self.context(), setup)
        values, rest = await self.perform(writes, values)
        return values, [*first, *rest]

    async def update(self) -> VendorWrite:
        """The approval of a contract that is there."""
        values, _ = await self.contract()
        planned = self.connector.plan_activation(self.context(), samples.contract())[0]
        return resolve_write(planned, values)

    # --- the simulator's control API ----------------------------------------------------------------

    def seed(self, **records: list[dict[str, Any]]) -> None:
        """Put records there."""
        self._ask("POST", "seed", records)

    def configure(self, **settings: Any) -> None:
        """Change the account's settings."""
        self._ask("POST", "settings", settings)

    def fault(self, kind: str, **more: Any) -> None:
        """Let the next matching call go wrong."""
        self._ask("POST", "faults", {"kind": kind, **more})

    def fired(self) -> int:
        """How many faults went off."""
        return sum(int(fault["fired"]) for fault in self._ask("GET", "faults"))

    def records(self, type_: str) -> list[dict[str, Any]]:
        """Live records of a type."""
        found: list[dict[str, Any]] = self._ask("GET", f"records?type={type_}")[type_]
        return found

    def record(self, type_: str, id_: str) -> dict[str, Any]:
        """One live record."""
        return next(record for record in self.records(type_) if str(record["id"]) == id_)

    def writes(self) -> list[dict[str, Any]]:
        """Every accepted write, in order."""
        found: list[dict[str, Any]] = self._ask("GET", "writes")
        return found

    def calls(self) -> list[dict[str, Any]]:
        """Every call, in order."""
        found: list[dict[str, Any]] = self._ask("GET", "calls")["calls"]
        return found

    def reset(self) -> None:
        """An account as at the start."""
        self._ask("POST", "reset")
        self.prepare()

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        response = self.control.request(method, f"/_sim/{path}", json=body)
        assert response.status_code < 300, response.text
        return response.json() if response.content else None
