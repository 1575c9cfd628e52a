"""A gateway in one process: a real ledger on SQLite; a CRM and a Temporal that remember what was asked."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import httpx
from fastapi import FastAPI
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.contracts import StartSaga
from activities.contracts.outgoing import Delivery
from canonical.engagement import Contract
from canonical.erp_billing import InvoiceState
from canonical.failures import Transient
from canonical.feedback import Feed, InvoiceStanding, RevenueStanding, zero
from canonical.money import Money
from canonical.opportunity import Opportunity, OpportunityLine
from canonical.refs import RecordRef
from connectors.netsuite import events as netsuite
from gateway.api.callers import Callers
from gateway.app import create_app
from gateway.dispatch import Dispatcher
from gateway.front import Front
from gateway.relay import Relay
from ledger.inbox import InboxRow
from ledger.migrate import migrate
from ledger.store import Ledger
from runtime.settings import Settings, load
from tests.gateway import tokens
from tests.rules.changes import contract
from wiring.events import Desk
from wiring.webhooks import receivers

HOST = "https://hooks.acme.example"
SECRET = "a-shared-secret-of-32-characters"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ORG = "00DgK0000000001UAA"
CONFIG = """
[firm]
name = "Acme Consulting"
region = "emea"
regions = ["amer"]

[systems.sf-main]
vendor = "salesforce"
roles = ["crm"]
base_url = "https://acme.example"
[systems.netsuite-emea]
vendor = "netsuite"
roles = ["erp"]
[systems.kantata-main]
vendor = "kantata"
roles = ["psa"]

[[entities]]
code = "DE01"
name = "Acme GmbH"
country = "DE"
base_currency = "EUR"
timezone = "Europe/Berlin"
[[entities]]
code = "US01"
name = "Acme Inc"
country = "US"
base_currency = "USD"
timezone = "America/New_York"

[[routes]]
legal_entity = "DE01"
crm = "sf-main"
erp = "netsuite-emea"
psa = "kantata-main"

[gateway]
public_url = "https://hooks.acme.example"
body_limit = 100_000

[gateway.tokens]
issuer = "https://issuer.acme.example"
audience = "trueup"
algorithm = "ES256"
keys_file = "FOLDER/keys.json"

[gateway.clients.portal]
regions = ["emea"]
[gateway.clients.germany]
regions = ["emea"]
entities = ["DE01"]
[gateway.clients.america]
regions = ["amer"]

[gateway.subscriptions.all]
url = "https://receiver.example/hook"
secrets = [{ env = "TRUEUP_TEST_WHSEC" }]
[gateway.subscriptions.ends]
url = "https://receiver.example/ends"
types = ["trueup.saga.ended.v1"]
secrets = [{ env = "TRUEUP_TEST_WHSEC" }]
[gateway.subscriptions.parked]
url = "https://receiver.example/parked"
types = ["trueup.saga.parked.v1"]
secrets = [{ env = "TRUEUP_TEST_WHSEC" }]
[gateway.subscriptions.germany]
url = "https://receiver.example/de"
entities = ["DE01"]
secrets = [{ env = "TRUEUP_TEST_WHSEC" }]

[gateway.sources.deals]
kind = "standard-webhooks"
system = "sf-main"
secrets = [{ env = "TRUEUP_TEST_WHSEC" }]
events = [
  { type = "deal.*", saga = "opportunity-to-project" },
  { type = "invoice.*", saga = "invoice-feedback" },
  { type = "scope.*", saga = "change-order" },
]

[gateway.sources.finance]
kind = "netsuite"
system = "netsuite-emea"
secrets = [{ env = "TRUEUP_TEST_WHSEC" }]
events = [{ type = "*", saga = "invoice-feedback" }]

[gateway.sources.sf-orders]
kind = "salesforce-outbound-message"
system = "sf-main"
secrets = [{ env = "TRUEUP_TEST_SECRET" }]
organization_ids = ["00DgK0000000001"]
events = [{ type = "Opportunity", saga = "opportunity-to-project", where = { StageName = "Closed Won" } }]

[gateway.sources.jira]
kind = "jira"
system = "jira-cloud"
secrets = [{ env = "TRUEUP_TEST_SECRET" }]

[gateway.sources.asana]
kind = "asana"
system = "asana-main"
handshake = true
secrets = [{ env = "TRUEUP_TEST_SECRET" }]

[gateway.sources.unset]
kind = "jira"
system = "jira-cloud"
secrets = [{ env = "TRUEUP_TEST_NOT_SET" }]
"""


def deal(id_: str, *, won: bool = True, entity: str | None = "DE01") -> Opportunity:
    """A deal as a CRM reads it."""
    amount = Money(amount=Decimal("100.00"), currency="EUR")
    return Opportunity(
        ref=RecordRef(system="sf-main", type="Opportunity", id=id_),
        name="A deal",
        revision="1",
        stage="Closed Won" if won else "Negotiation",
        is_won=won,
        is_closed=won,
        currency="EUR",
        amount=amount,
        legal_entity=entity,
        client=None,
        lines=(
            OpportunityLine(
                id="1", service_code="IMPL", quantity=Decimal(1), unit_price=Decimal(100), amount=amount
            ),
        ),
    )


@dataclass
class Crm:
    """Knows some deals, or is away."""

    deals: dict[str, Opportunity] = field(default_factory=dict)
    away: bool = False

    async def read_deal(self, deal_id: str) -> Opportunity | None:
        """A deal."""
        if self.away:
            raise Transient("the CRM is away")
        return self.deals.get(deal_id)


@dataclass
class Erp:
    """Knows some invoices, what payments settle and whose revenue is recognised."""

    invoices: set[str] = field(default_factory=set)
    settles: dict[str, list[str]] = field(default_factory=dict)
    """Invoices by payment or credit."""
    revenue: set[str] = field(default_factory=set)
    away: bool = False

    def told_of(self, record_type: str, record_id: str) -> tuple[Feed, RecordRef] | None:
        """As NetSuite's connector says it."""
        return netsuite.told_of("netsuite-emea", record_type, record_id)

    async def invoice_standing(self, invoice_id: str) -> InvoiceStanding:
        """Whether it is there."""
        if self.away:
            raise Transient("the ERP is away")
        there = InvoiceState.POSTED if invoice_id in self.invoices else InvoiceState.ABSENT
        return InvoiceStanding(ref=_invoice(invoice_id), state=there)

    async def invoices_of(self, documents: Sequence[RecordRef]) -> list[RecordRef]:
        """What they settle."""
        return [_invoice(id_) for one in documents for id_ in self.settles.get(one.id, [])]

    async def revenue_standing(self, contract_id: str) -> RevenueStanding | None:
        """What is recognised."""
        if contract_id not in self.revenue:
            return None
        order = RecordRef(system="netsuite-emea", type="salesOrder", id=contract_id)
        return RevenueStanding(ref=order, recognised=zero("EUR"), deferred=zero("EUR"))


def _invoice(id_: str) -> RecordRef:
    return RecordRef(system="netsuite-emea", type="invoice", id=id_)


@dataclass
class Systems:
    """The connected systems, as far as a gateway asks."""

    the_crm: Crm
    the_erp: Erp

    async def crm(self, system: str, digest: str = "") -> Crm:
        """The CRM."""
        assert system == "sf-main"
        return self.the_crm

    async def feedback(self, system: str, digest: str = "") -> Erp:
        """The ERP."""
        assert system == "netsuite-emea"
        return self.the_erp

    def mapping_digests(self) -> dict[str, str]:
        """No mapping."""
        return {}

    async def store_mappings(self) -> None:
        """None to keep."""


@dataclass
class Temporal:
    """Remembers starts and signals; ``complete`` ids are refused as Temporal refuses them."""

    started: list[StartSaga] = field(default_factory=list)
    signals: list[tuple[str, str]] = field(default_factory=list)
    complete: set[str] = field(default_factory=set)
    away: Exception | None = None
    answers: dict[str, Any] = field(default_factory=dict)
    """Results by workflow id, for callers that wait."""
    views: dict[str, Any] = field(default_factory=dict)
    terminated: list[str] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    """Events whose deliveries it does not take."""

    def get_workflow_handle(self, id: str, **_: Any) -> Any:
        """A handle of any workflow."""
        return Handle(self, id)

    async def start_workflow(self, run: Any, command: Any, *, id: str, **given: Any) -> Any:
        """Start, or find what runs."""
        if self.away is not None:
            raise self.away
        if id in self.complete:
            raise WorkflowAlreadyStartedError(id, "OpportunityToProject")
        if isinstance(command, Delivery):
            if command.event_id in self.refused:
                raise RPCError("too long", RPCStatusCode.INVALID_ARGUMENT, b"")
            self.deliveries.append(command)
            return Handle(self, id)
        if id not in {one.saga_id for one in self.started}:
            self.started.append(command)
        if given.get("start_signal"):
            (event,) = given["start_signal_args"]
            self.signals.append((id, event))
        return Handle(self, id)


@dataclass(frozen=True)
class Handle:
    """A workflow's handle."""

    temporal: Temporal
    id: str

    async def query(self, name: str, **_: Any) -> Any:
        """Its view, if it runs and a worker answers."""
        view = self.temporal.views.get(self.id)
        if view is None:
            raise RPCError("not found", RPCStatusCode.NOT_FOUND, b"")
        return view

    async def terminate(self, **_: Any) -> None:
        """End it."""
        self.temporal.terminated.append(self.id)

    async def result(self) -> Any:
        """What it ends with; never, when nobody said."""
        if self.id not in self.temporal.answers:
            await asyncio.Event().wait()
        answer = self.temporal.answers[self.id]
        if isinstance(answer, BaseException):
            raise answer
        return answer


@dataclass
class Clock:
    """A clock to turn."""

    at: datetime = datetime(2026, 11, 29, 9, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Now."""
        return self.at

    def turn(self, **by: float) -> None:
        """Let time pass."""
        self.at += timedelta(**by)


def stalled(temporal: Temporal) -> tuple[asyncio.Event, asyncio.Event]:
    """Let starts stand still at the server: the first event says that one came, the second lets all go."""
    reached, held = asyncio.Event(), asyncio.Event()
    real = temporal.start_workflow

    async def slow(*args: Any, **given: Any) -> Any:
        reached.set()
        await held.wait()
        return await real(*args, **given)

    temporal.start_workflow = slow  # type: ignore[method-assign]
    return reached, held


@dataclass
class House:
    """The gateway and everything around it."""

    app: FastAPI
    front: Front
    crm: Crm
    erp: Erp
    temporal: Temporal
    ledger: Ledger
    clock: Clock
    http: httpx.AsyncClient

    async def agreed(self, key: str, entity: str) -> Contract:
        """A contract in the ledger, as its deal made it."""
        terms = contract(key=key, legal_entity=entity, erp="netsuite-emea")
        await self.ledger.add_contract_version(terms, saga_id=f"o2p:emea:sf-main:{key}")
        return terms

    async def rows(self) -> list[InboxRow]:
        """The inbox, oldest first."""
        return sorted((await self.ledger.inbox()).rows, key=lambda row: row.id)

    async def settle(self) -> None:
        """Hand over what was received."""
        await self.front.dispatcher.drain()


def template(folder: Path) -> Path:
    """A migrated database, made once."""
    path = folder / "template.db"
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, migrate(f"sqlite:///{path}")).result()
    return path


def settings_of(folder: Path, text: str = CONFIG) -> Settings:
    """The configuration, loaded from a file as a person writes it."""
    file = folder / "trueup.toml"
    file.write_text(text.replace("FOLDER", str(folder)))
    (folder / "keys.json").write_text(tokens.key_set())
    return load(file, environ={})


@asynccontextmanager
async def house(folder: Path, database: Path, *, config: str = CONFIG) -> AsyncIterator[House]:
    """A house over a copy of ``database``."""
    os.environ["TRUEUP_TEST_SECRET"] = SECRET
    os.environ["TRUEUP_TEST_WHSEC"] = WHSEC
    os.environ.pop("TRUEUP_TEST_NOT_SET", None)
    own = folder / "ledger.db"
    shutil.copy(database, own)
    settings = settings_of(folder, config)
    clock, crm, erp, temporal = Clock(), Crm(), Erp(), Temporal()
    ledger = await Ledger.open(f"sqlite:///{own}", clock=clock)

    async def connected() -> Any:
        return temporal

    desk = Desk(settings, cast(Any, Systems(crm, erp)), ledger, connected)
    front = Front(
        settings, desk, receivers(settings), Dispatcher(desk), Relay(desk), Callers(settings.gateway), clock
    )
    app = create_app(front)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url=HOST) as http:
        try:
            yield House(app, front, crm, erp, temporal, ledger, clock, http)
        finally:
            await ledger.close()
