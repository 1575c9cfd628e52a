"""Oracle NetSuite as ERP and bulk target: the ports' operations, each handed to the part that knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from canonical.change_orders import OrderChange
from canonical.engagement import Contract
from canonical.failures import Finding
from canonical.operations import (
    ClientSetup,
    ContractSetup,
    ErpBaseline,
    ErpClient,
    ErpReference,
    HealthCheck,
    WriteContext,
)
from canonical.parties import Client
from canonical.progress import ContractProgress
from canonical.project_closing import ErpClosure
from canonical.writes import Landed, Shown, UndoOutcome, VendorWrite
from connectors.netsuite import change_plans, closing_plans, progress_plans
from connectors.netsuite.billing import BillingSide
from connectors.netsuite.checks import Checks
from connectors.netsuite.client import NetSuiteClient
from connectors.netsuite.plans import Planner
from connectors.netsuite.reads import Reads
from connectors.netsuite.settings import NetSuiteSettings
from connectors.netsuite.undo import Undoer
from connectors.netsuite.writer import Writer


class NetSuiteConnector(BillingSide):
    """One NetSuite account: ``ErpPort``, and ``BillingPort`` by its other half."""

    def __init__(self, system: str, settings: NetSuiteSettings) -> None:
        self._system = system
        self._settings = settings
        self._client = NetSuiteClient(system, settings)
        self._planner = Planner(system, settings)
        super().__init__(self._client, self._planner, settings)
        self._writer = Writer(self._client, settings.mapping)
        self._undoer = Undoer(self._client, settings.mapping)
        self._reads = Reads(self._client, settings)

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

    async def line_places(self, contract: Contract, values: Mapping[str, str]) -> dict[str, str]:
        """Line numbers of the sales order by line key."""
        return await self._reads.line_places(contract, values)

    def plan_hold(self, context: WriteContext, change: OrderChange) -> list[VendorWrite]:
        """Say on the sales order that it is being changed."""
        return change_plans.hold(self._planner, context, change)

    def plan_change(self, context: WriteContext, change: OrderChange) -> list[VendorWrite]:
        """Billing schedules, then the sales order's lines, then the project's dates and rules."""
        return change_plans.change(self._planner, context, change)

    def plan_close(self, context: WriteContext, closure: ErpClosure) -> list[VendorWrite]:
        """Close the project."""
        return closing_plans.close(self._planner, context, closure)

    def plan_reopen(
        self, context: WriteContext, closure: ErpClosure, former: Mapping[str, Any]
    ) -> list[VendorWrite]:
        """Open it again, with its former values."""
        return closing_plans.reopen(self._planner, context, closure, former)

    def progress_gaps(self, progress: ContractProgress) -> list[Finding]:
        """What of a contract's progress this account has no field for."""
        return progress_plans.gaps(self._settings.mapping, progress)

    def plan_progress(self, context: WriteContext, progress: ContractProgress) -> list[VendorWrite]:
        """The custom fields of the project."""
        return progress_plans.progress(self._planner, context, progress)

    async def read_baseline(self, contract: Contract, values: Mapping[str, str]) -> ErpBaseline:
        """What NetSuite holds of the contract and its project."""
        return await self._reads.baseline(contract, values)
