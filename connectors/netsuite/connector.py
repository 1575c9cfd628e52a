"""Oracle NetSuite as ERP and bulk target: the ports' operations, each handed to the part that knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from canonical.billing import Invoice
from canonical.engagement import Contract
from canonical.money import Money
from canonical.operations import (
    BatchTicket,
    ChangePage,
    ClientSetup,
    ContractSetup,
    ErpBaseline,
    ErpClient,
    ErpReference,
    HealthCheck,
    LineOutcome,
    WriteContext,
)
from canonical.parties import Client
from canonical.writes import Landed, Shown, UndoOutcome, VendorWrite
from connectors.netsuite import bulk
from connectors.netsuite.billing_plans import (
    BillingPlanner,
    Charge,
    CreditRequest,
    InvoiceRequest,
    TimeBill,
)
from connectors.netsuite.billing_reads import BillingReads, Period
from connectors.netsuite.checks import Checks
from connectors.netsuite.client import NetSuiteClient
from connectors.netsuite.plans import Planner
from connectors.netsuite.reads import Reads
from connectors.netsuite.settings import NetSuiteSettings
from connectors.netsuite.undo import Undoer
from connectors.netsuite.writer import Writer


class NetSuiteConnector:
    """One NetSuite account: ``ErpPort`` and ``BulkPort``, and the billing sagas' own operations."""

    def __init__(self, system: str, settings: NetSuiteSettings) -> None:
        self._system = system
        self._settings = settings
        self._client = NetSuiteClient(system, settings)
        self._planner = Planner(system, settings)
        self._billing = BillingPlanner(self._planner)
        self._writer = Writer(self._client, settings.mapping)
        self._undoer = Undoer(self._client, settings.mapping)
        self._reads = Reads(self._client, settings)
        self._billing_reads = BillingReads(self._client, settings)
        self._bulk = bulk.Bulk(self._client)

    # --- any connected system ---------------------------------------------------------------------------

    @property
    def system(self) -> str:
        """Instance name."""
        return self._system

    @property
    def mapping_digest(self) -> str:
        """Digest of the field mapping."""
        return self._settings.mapping.digest

    def link(self, record_type: str, record_id: str) -> str | None:
        """The configured UI page, else the API address."""
        return self._client.link(record_type, record_id)

    async def check(self) -> list[HealthCheck]:
        """Sign-in, query right, mapped ids, custom fields. Never raises."""
        return await Checks(self._client, self._settings.mapping).run()

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    # --- the executor's moves -----------------------------------------------------------------------------

    async def send(self, write: VendorWrite) -> Landed:
        """See ``connectors.ports.Writer.send``."""
        return await self._writer.send(write)

    async def find(self, write: VendorWrite) -> Landed | None:
        """See ``connectors.ports.Writer.find``."""
        return await self._writer.find(write)

    async def amend(self, write: VendorWrite, landed: Landed) -> Landed:
        """See ``connectors.ports.Writer.amend``."""
        return await self._writer.amend(write, landed)

    async def find_all(self, writes: Sequence[VendorWrite]) -> list[Landed | None]:
        """See ``connectors.ports.Writer.find_all``."""
        return await self._writer.find_all(writes)

    async def read_back(self, landed: Sequence[tuple[VendorWrite, Landed]]) -> list[Shown]:
        """See ``connectors.ports.Writer.read_back``."""
        return await self._writer.read_back(landed)

    async def before_image(self, write: VendorWrite) -> dict[str, Any]:
        """See ``connectors.ports.Writer.before_image``."""
        return await self._writer.before_image(write)

    async def undo(self, write: VendorWrite, landed: Landed, before: dict[str, Any] | None) -> UndoOutcome:
        """See ``connectors.ports.Writer.undo``."""
        return await self._undoer.undo(write, landed, before)

    # --- ErpPort ------------------------------------------------------------------------------------------

    async def read_reference(self, *, items: Sequence[str]) -> ErpReference:
        """Entities, currencies, terms, items and closed periods."""
        return await self._reads.reference(items)

    async def search_clients(self, client: Client) -> list[ErpClient]:
        """Customers that may be ``client``, inactive ones included."""
        return await self._reads.search_clients(client)

    async def read_client(self, client_id: str) -> ErpClient | None:
        """One customer by internal id."""
        return await self._reads.read_client(client_id)

    def plan_clients(self, context: WriteContext, setups: Sequence[ClientSetup]) -> list[VendorWrite]:
        """Clients, relationships to further entities, currencies; parents first."""
        return self._planner.clients(context, setups)

    def plan_contract_and_project(self, context: WriteContext, setup: ContractSetup) -> list[VendorWrite]:
        """Project, billing schedules, sales order (pending approval)."""
        return self._planner.contract_and_project(context, setup)

    def plan_activation(self, context: WriteContext, contract: Contract) -> list[VendorWrite]:
        """Approve the sales order, then open the project."""
        return self._planner.activation(context, contract)

    async def read_baseline(self, contract: Contract, values: Mapping[str, str]) -> ErpBaseline:
        """What NetSuite holds of the contract and its project."""
        return await self._reads.baseline(contract, values)

    # --- BulkPort -----------------------------------------------------------------------------------------

    @property
    def batch_limit(self) -> int:
        """Most lines of one batch."""
        return bulk.LIMIT

    async def submit_batch(self, key: str, writes: Sequence[VendorWrite]) -> BatchTicket:
        """Hand over one asynchronous list call."""
        return await self._bulk.submit(key, writes)

    async def batch_outcome(
        self, ticket: BatchTicket, writes: Sequence[VendorWrite]
    ) -> list[LineOutcome] | None:
        """Outcome per line, in the order of ``writes``; None while the job runs."""
        return await self._bulk.outcome(ticket, writes)

    # --- billing ------------------------------------------------------------------------------------------

    def plan_time_bills(self, context: WriteContext, lines: Sequence[TimeBill]) -> list[VendorWrite]:
        """Approved time as ``timeBill`` records, fit for ``submit_batch``."""
        return self._billing.time_bills(context, lines)

    def plan_charges(self, context: WriteContext, lines: Sequence[Charge]) -> list[VendorWrite]:
        """Milestones, schedule dates and retainer periods as charges."""
        return self._billing.charges(context, lines)

    def plan_invoice(self, context: WriteContext, request: InvoiceRequest) -> VendorWrite:
        """An invoice from a sales order."""
        return self._billing.invoice(context, request)

    def plan_credit_memo(self, context: WriteContext, request: CreditRequest) -> VendorWrite:
        """A credit memo from an invoice."""
        return self._billing.credit_memo(context, request)

    async def changed_transactions_since(self, cursor: str | None, *, limit: int = 500) -> ChangePage:
        """Changed invoices, payments and credits, oldest first."""
        return await self._billing_reads.changed_transactions_since(cursor, limit=limit)

    async def read_invoice(
        self, invoice_id: str, *, contract_keys: tuple[str, ...] = (), credited: Money | None = None
    ) -> Invoice | None:
        """An invoice in canonical form."""
        return await self._billing_reads.read_invoice(
            invoice_id, contract_keys=contract_keys, credited=credited
        )

    async def periods(self) -> list[Period]:
        """Accounting months with their locks."""
        return await self._billing_reads.periods()
