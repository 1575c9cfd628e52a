"""NetSuite as a subject of the acceptance rows: simulator, seed, connector, one create, one update."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any, ClassVar

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from canonical.authority import Phase
from canonical.engagement import Contract
from canonical.erp_billing import (
    BillingOwner,
    CostLine,
    InvoiceDraft,
    InvoiceLineDraft,
    Reversal,
    ReversalOrder,
)
from canonical.feedback import Feed
from canonical.operations import ChangePage, ContractSetup, WriteContext
from canonical.parties import Client
from canonical.refs import SystemRole
from canonical.writes import Landed, VendorWrite, resolve_write, symbol
from connectors.netsuite import NetSuiteConnector
from connectors.netsuite.settings import NetSuiteSettings
from simulators.kit import Running
from simulators.netsuite import build
from tests.acceptance import netsuite_operations as operations
from tests.acceptance.operations import Asked, Operation, Reading, Told
from tests.acceptance.subject import PLAIN, BulkLine, Route, Site
from tests.connectors import netsuite_billing as bills
from tests.connectors import netsuite_samples as samples

SYSTEM = samples.SYSTEM
KEY_VARIABLE = "NETSUITE_TEST_KEY"
RECORD = "/services/rest/record/v1"

SCHEMA: dict[str, list[dict[str, Any]]] = {
    "customer": [{"name": "custentity_trueup_saga", "type": "string"}],
    "job": [{"name": "custentity_trueup_saga", "type": "string"}, *operations.SCHEMA["job"]],
    "salesOrder": [
        *operations.SCHEMA["salesOrder"],
        {"name": "custbody_trueup_saga", "type": "string"},
        {"name": "custcol_trueup_billing", "type": "string", "sublist": "item"},
        {"name": "custcol_trueup_line", "type": "string", "sublist": "item"},
    ],
    "invoice": [{"name": "custcol_trueup_line", "type": "string", "sublist": "item"}],
    "creditMemo": [{"name": "custcol_trueup_line", "type": "string", "sublist": "item"}],
}
CUSTOM = {
    "client_saga": "custentity_trueup_saga",
    "project_saga": "custentity_trueup_saga",
    "order_saga": "custbody_trueup_saga",
    "line_billing_method": "custcol_trueup_billing",
    "line_key": "custcol_trueup_line",
    **operations.CUSTOM,
}


PROJECT, CONTRACT = "project:006A1.DE01.EUR.id", "contract:006A1.DE01.EUR.id"
DAY = date(2026, 12, 1)


@cache
def key_pair(serial: int = 1) -> tuple[str, str]:
    """(private PEM, public PEM) of the test's certificates; another one for each serial."""
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

    name: ClassVar[str] = "netsuite"
    title: ClassVar[str] = "Oracle NetSuite"
    roles: ClassVar[tuple[SystemRole, ...]] = (SystemRole.ERP,)
    creating: ClassVar[Route] = Route("PUT", "/customer/eid:")
    looking: ClassVar[Route] = Route("GET", "/customer/eid:")
    deleting: ClassVar[Route] = Route("DELETE", "/customer/")
    token: ClassVar[Route | None] = Route("POST", "/token")
    taken: ClassVar[str] = "A record with this external ID already exists."
    no_bulk: ClassVar[str | None] = None
    batching: ClassVar[Route | None] = Route("POST", "/timeBill")

    def __init__(self, site: Site = PLAIN, **settings: Any) -> None:
        self.running: Running = site.serve(build())
        self.control = site.control(self.running)
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
            expenseCategory=[{"id": "4", "name": "Travel"}],
            employee=[
                {
                    "id": "14",
                    "firstName": "Ann",
                    "lastName": "Lee",
                    "subsidiary": {"id": "3"},
                    "email": "ann@firm.test",
                    "externalId": "W-14",
                },
                {"id": "15", "firstName": "Bo", "lastName": "Ek", "subsidiary": {"id": "7"}},
            ],
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
        mapping = {
            "custom": CUSTOM,
            "progress": operations.PROGRESS,
            "account_timezone": "America/Los_Angeles",
            **changes.pop("mapping", {}),
        }
        auth = {
            "kind": "oauth_m2m",
            "client_id": "sim-client",
            "certificate_id": "cert-1",
            "algorithm": "ES256",
            "private_key": {"env": KEY_VARIABLE},
        }
        return samples.settings(
            self.running.base_url,
            **{
                "auth": auth,
                "search_lag_seconds": 0,
                "ca_file": self.running.ca_file,
                **changes,
                "mapping": mapping,
            },
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
            [shown] = await self.connector.read_back([(write, landed)])
            assert shown.values == write.expect, f"{shown.values} is not {write.expect}"
            landed = shown.landed
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

    async def an_update(self) -> VendorWrite:
        """The opening of a project that is there."""
        values, _ = await self.contract()
        after = self.context(phase=Phase.AFTER_APPROVAL)
        return resolve_write(self.connector.plan_activation(after, samples.contract())[1], values)

    async def priced(self, currency: str, amount: Decimal) -> VendorWrite:
        """A sales order in that currency; its client and project are there."""
        line = samples.line(amount=str(amount), currency=currency)
        contract = samples.contract(line, currency=currency)
        client = samples.setup_of(samples.client(f"001{currency}"), currencies=(currency,))
        setup = samples.contract_setup(contract, client_key=f"001{currency}")
        values, _ = await self.perform(self.connector.plan_clients(self.context(), [client]))
        *first, order = self.connector.plan_contract_and_project(self.context(), setup)
        values, _ = await self.perform(first, values)
        return resolve_write(order, values)

    async def own(self, title: str) -> VendorWrite:
        """A project; its customer is there."""
        setup = samples.contract_setup(samples.contract(), name=title)
        client = self.connector.plan_clients(self.context(), [samples.setup_of(samples.client())])
        values, _ = await self.perform(client)
        return resolve_write(self.connector.plan_contract_and_project(self.context(), setup)[0], values)

    def title_in(self, landed: Landed) -> str:
        """The project's name."""
        return str(self.record("job", landed.id)["companyName"])

    async def active(self, of: Contract | None = None) -> dict[str, str]:
        """Symbol values of an active contract."""
        values, _ = await self.contract(of)
        after = self.context(phase=Phase.AFTER_APPROVAL)
        plan = self.connector.plan_activation(after, of or samples.contract())
        values, _ = await self.perform(plan, values)
        return values

    async def invoiced(self, values: Mapping[str, str], count: int = 1) -> list[str]:
        """Invoices of an active contract; their ids."""
        after = self.context(phase=Phase.AFTER_APPROVAL)
        line = bills.fee(amount="100.00", order_line=1, order_quantity=Decimal(1))
        drafts = [self.draft(values, line, key=f"G1.{n}", contract=values[CONTRACT]) for n in range(count)]
        writes = [write for draft in drafts for write in self.connector.plan_invoice(after, draft)]
        return [landed.id for _, landed in (await self.perform(writes))[1]]

    def recognise(self, order: str, amount: str) -> None:
        """The account's own revenue process recognises some of a contract."""
        self._ask("POST", "recognise", {"order": order, "amount": amount})

    def time(self, project: str, number: int, employee: str = "14", **changes: Any) -> CostLine:
        """One approved time entry to post."""
        return bills.cost(number, project=project, worker=employee, **changes)

    def plans(self) -> list[VendorWrite]:
        """Clients with parent, further entity and currency; contract, schedule, project; billing."""
        erp, before = self.connector, self.context()
        after = self.context(phase=Phase.AFTER_APPROVAL)
        entities, currencies = ("DE01", "UK01"), ("EUR", "GBP")
        parent = samples.setup_of(samples.client("001P", "Parent"), entities=entities)
        child = samples.setup_of(
            samples.client(), entities=entities, currencies=currencies, parent_symbol=parent.symbol
        )
        billed = samples.schedule((date(2026, 12, 31), "500.00"), (date(2027, 1, 31), "500.00"))
        contract = samples.contract(samples.line(schedule=billed))
        draft = bills.draft(bills.fee(), bills.timed("700", "100.00"), bills.fee("L1.1", order_line=1))
        run = draft.model_copy(update={"owner": BillingOwner.ERP_RUN})
        gone = ReversalOrder(
            line=self.time("77", 1), posting=bills.posting(), form=Reversal.DELETE, on=DAY, reason="Rejected"
        )
        return [
            *erp.plan_clients(before, [parent, child]),
            *erp.plan_contract_and_project(before, samples.contract_setup(contract)),
            *erp.plan_activation(after, contract),
            *erp.plan_cost(after, [self.time("77", 1), bills.expense(2)]),
            *erp.plan_reversals(after, [gone]),
            *erp.plan_not_billable(after, [bills.posting()]),
            *erp.plan_invoice(after, draft.model_copy(update={"contract": symbol("contract:K")})),
            *erp.plan_invoice(after, run),
            *erp.plan_issue(after, draft),
            *erp.plan_credit(after, bills.credit("880", bills.credited())),
        ]

    # --- what others do, and what is there ------------------------------------------------------------

    def made(self, write: VendorWrite) -> list[dict[str, Any]]:
        """Customers that carry the stamp."""
        return [record for record in self.records("customer") if record.get("externalId") == write.stamp]

    def name_of(self, record: Mapping[str, Any]) -> str:
        """The customer's name."""
        return str(record["companyName"])

    def amount_in(self, landed: Landed) -> Decimal:
        """The sum of the order's lines."""
        lines = self.record("salesOrder", landed.id)["item"]["items"]
        return sum((Decimal(str(line["amount"])) for line in lines), Decimal(0))

    async def edit_created(self, landed: Landed) -> None:
        """Finance renames the customer."""
        await self.patch("customer", landed.id, companyName="Renamed by somebody")

    async def edit_updated(self, landed: Landed) -> None:
        """Finance closes the project."""
        await self.patch("job", landed.id, entityStatus={"id": "1"})

    async def patch(self, record_type: str, record_id: str, **fields: Any) -> None:
        """Somebody else's change, through a session of their own."""
        somebody = self.build()
        await somebody._client.patch(record_type, record_id, fields, what="Somebody edits it")
        await somebody.close()

    async def moving(self) -> list[str]:
        """Seven invoices."""
        return await self.invoiced(await self.active(), 7)

    async def move(self, record_id: str) -> None:
        """Finance edits an invoice."""
        await self.patch("invoice", record_id, memo="moved")

    async def poll(self, cursor: str | None) -> ChangePage:
        """Two transactions at most."""
        return await self.connector.feedback_changes(Feed.INVOICES, cursor, limit=2)

    def draft(self, values: Mapping[str, str], *lines: InvoiceLineDraft, **changes: Any) -> InvoiceDraft:
        """An invoice of the active contract's project."""
        parties = {"bill_to": values["client:001A1.id"], "project": values[PROJECT], "on": DAY}
        return bills.draft(*lines, **{**parties, **changes})

    async def batch(self) -> list[VendorWrite]:
        """Three time entries to post."""
        project = (await self.active())[PROJECT]
        lines = [self.time(project, n) for n in range(3)]
        return self.connector.plan_cost(self.context(phase=Phase.AFTER_APPROVAL), lines)

    def landed_lines(self, writes: Sequence[VendorWrite]) -> list[int]:
        """How many time entries carry each stamp."""
        held = [record.get("externalId") for record in self.records("timeBill")]
        return [held.count(write.stamp) for write in writes]

    async def bulk(self) -> list[BulkLine]:
        """Four time entries; the second names an employee that is not there."""
        project = (await self.active())[PROJECT]
        lines = [self.time(project, n, "999" if n == 1 else "14") for n in range(4)]
        writes = self.connector.plan_cost(self.context(phase=Phase.AFTER_APPROVAL), lines)
        ticket = await self.connector.submit_batch("window-1", writes)
        outcomes = await self.connector.batch_outcome(ticket, writes)
        assert outcomes is not None
        return [
            BulkLine(landed=outcome.landed, told=str(outcome.failure or ""), there=count == 1)
            for outcome, count in zip(outcomes, self.landed_lines(writes), strict=True)
        ]

    async def asked(self, operation: Operation) -> Asked | str:
        """An operation on an active contract."""
        return await operations.asked(self, operation)

    async def told(self, reading: Reading) -> Told | str:
        """A reading of an active contract."""
        return await operations.told(self, reading)

    # --- credentials ----------------------------------------------------------------------------------

    def wrong_credentials(self) -> tuple[dict[str, Any], str]:
        """A private key whose certificate the account does not know."""
        private, _ = key_pair(2)
        os.environ["NETSUITE_TEST_WRONG"] = private
        auth = {**self.settings().auth.model_dump(), "private_key": {"env": "NETSUITE_TEST_WRONG"}}
        return {"auth": auth}, private.splitlines()[1]

    def rotate(self) -> None:
        """The certificate is replaced; tokens of the old one die with it."""
        private, public = key_pair(3)
        self.configure(certificates={"cert-1": public})
        os.environ[KEY_VARIABLE] = private
        self.fault("expired_token", method=self.creating.method, path=self.creating.path)

    async def secrets(self) -> list[str]:
        """The private key and the token."""
        request = self.connector._client.session.client.build_request("GET", "/")
        headers = await self.connector._client.session.auth.headers(request)
        return [key_pair()[0].splitlines()[1], headers["Authorization"].removeprefix("Bearer ")]

    def shown_settings(self) -> str:
        """The settings, printed."""
        return repr(self.settings()) + self.settings().model_dump_json()

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
