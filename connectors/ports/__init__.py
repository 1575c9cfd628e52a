"""What the sagas may ask of a connected system, by role, in canonical terms.

Operations are business capabilities. Reads are coroutines. Writes are *planned* by pure methods that
return ordered ``VendorWrite``s; one executor sends every planned write through ``Writer``, so that
intent, look, send, verify, record and undo are the same for all vendors (``activities/effects.py``).

Errors: every coroutine raises only ``canonical.failures.SystemFailure`` subclasses.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol, runtime_checkable

from canonical.delivery import RoleSupply, Worker
from canonical.engagement import Contract
from canonical.operations import (
    BatchTicket,
    ChangePage,
    ClientSetup,
    ContractSetup,
    DealOutcome,
    DeliverySetup,
    ErpBaseline,
    ErpClient,
    ErpReference,
    HealthCheck,
    LineOutcome,
    Notice,
    PsaBaseline,
    PsaReference,
    TemplateProgress,
    WriteContext,
)
from canonical.opportunity import Opportunity
from canonical.parties import Client
from canonical.refs import RecordRef
from canonical.writes import Landed, Shown, UndoOutcome, VendorWrite


@dataclass(frozen=True)
class Permit:
    """The executor's last word on a write, asked for when nothing but the wire is left.

    A ``Writer.send`` awaits ``confirm`` after it has its token and a free connection, right before the
    request goes out, gives the call ``seconds``, and calls ``accepted`` when the vendor said yes.
    Waiting for a connection is not time at the vendor: counted as such, a slow neighbour made a write
    look lost that was only late.
    """

    confirm: Callable[[], Awaitable[None]]
    """Raises ``Transient`` when the write may not be sent any more."""
    accepted: Callable[[], None]
    """Called once the vendor has accepted the write: a failure after that (of a read that completes the
    answer, for example) leaves a record behind."""
    seconds: float


@dataclass
class Traffic:
    """Calls of this process to one system since it began: how near they come to what the vendor allows."""

    limit: int
    """Most calls at a time."""
    calls: int = 0
    seconds: float = 0.0
    """Together, from the free connection to the answer: divided by the time that passed, calls in flight."""


PERMIT: ContextVar[Permit | None] = ContextVar("permit", default=None)
"""Set by the executor around ``Writer.send`` and ``Writer.amend``."""


@runtime_checkable
class ConnectedSystem(Protocol):
    """Any connected system instance."""

    @property
    def system(self) -> str:
        """Instance name, for example ``netsuite-emea``."""
        ...

    @property
    def mapping_digest(self) -> str:
        """Digest of this instance's field mapping: what a run is pinned to."""
        ...

    def link(self, record_type: str, record_id: str) -> str | None:
        """Where a person can open a record."""
        ...

    async def check(self) -> list[HealthCheck]:
        """Credentials, scopes, field map, reachability: each with what to fix. Never raises."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class Writer(ConnectedSystem, Protocol):
    """The moves that the effect executor makes for any planned write.

    All take writes whose symbols are resolved.
    """

    async def send(self, write: VendorWrite) -> Landed:
        """Make the call once, with ``PERMIT``. A create that the vendor refuses as already there raises
        ``Conflict``.

        Raises:
            OutcomeUnknown: it was sent and not answered.
        """
        ...

    async def find(self, write: VendorWrite) -> Landed | None:
        """The record that carries the write's stamp (create) or that already shows the body's values
        (update), else None. Deleted records are not found; inactivated ones are.
        """
        ...

    async def find_all(self, writes: Sequence[VendorWrite]) -> list[Landed | None]:
        """``find`` for several creates that are ``found_by_stamp``, in as few calls as the vendor allows;
        answers in the order of ``writes``, whose symbols need no values.
        """
        ...

    async def read_back(self, landed: Sequence[tuple[VendorWrite, Landed]]) -> list[Shown]:
        """What these records show now, in as few calls as the vendor allows; answers in the given order.

        A create whose values only the vendor makes (``VendorWrite.produces``) may come from ``send``
        without them: this reading adds them.
        """
        ...

    async def amend(self, write: VendorWrite, landed: Landed) -> Landed:
        """Change a record that an earlier form of a create made, so that it shows ``write``'s body: for
        an amended input, before activation. Only fields of the body are touched.

        Raises:
            Refused: the vendor cannot change this record; the remedy says what a person does instead.
        """
        ...

    async def before_image(self, write: VendorWrite) -> dict[str, Any]:
        """Current values of the fields named in ``write.restore`` (updates only)."""
        ...

    async def undo(self, write: VendorWrite, landed: Landed, before: dict[str, Any] | None) -> UndoOutcome:
        """Undo one landed write: delete while untouched, else inactivate and mark; restore an update's
        before-image when the current values are still ours. A record that is gone is ``NOTHING_THERE``.

        Raises:
            Conflict: somebody changed what we wrote (cause ``CHANGED_BY_SOMEBODY``).
        """
        ...


class CrmPort(Writer, Protocol):
    """Sales: where deals come from and where their progress is told back."""

    async def read_deal(self, deal_id: str) -> Opportunity | None:
        """A deal with lines, account hierarchy, approvals and documents; None when there is none."""
        ...

    async def won_deals_since(self, cursor: str | None, *, limit: int = 500) -> ChangePage:
        """Won deals changed after ``cursor`` (with the instance's overlap), oldest first."""
        ...

    def plan_write_back(self, context: WriteContext, outcome: DealOutcome) -> list[VendorWrite]:
        """Tell a deal its project codes, status and links."""
        ...

    def deal_ref(self, deal_id: str) -> RecordRef:
        """A deal's record, by its id."""
        ...

    def account_ref(self, account_id: str) -> RecordRef:
        """The record of a client that came from here, by its key."""
        ...


class ErpPort(Writer, Protocol):
    """Finance: clients, contracts, projects, billing schedules, revenue settings."""

    async def read_reference(self, *, items: Sequence[str]) -> ErpReference:
        """Entities, currencies, terms, items and periods for validation."""
        ...

    async def search_clients(self, client: Client) -> list[ErpClient]:
        """Customers that may be ``client``: by known id, external id, tax number and name."""
        ...

    async def read_client(self, client_id: str) -> ErpClient | None:
        """One customer by the ERP's id."""
        ...

    def plan_clients(self, context: WriteContext, setups: Sequence[ClientSetup]) -> list[VendorWrite]:
        """Clients with their hierarchy, parents first, under the right entities and currencies."""
        ...

    def plan_contract_and_project(self, context: WriteContext, setup: ContractSetup) -> list[VendorWrite]:
        """Contract, project, billing schedule and revenue settings in this ERP's own order (rule 19)."""
        ...

    def plan_activation(self, context: WriteContext, contract: Contract) -> list[VendorWrite]:
        """Approve the contract, then open its project."""
        ...

    async def read_baseline(self, contract: Contract, values: Mapping[str, str]) -> ErpBaseline:
        """What this ERP holds of the contract; ``values`` are the symbols' values."""
        ...


class PsaPort(Writer, Protocol):
    """Delivery: projects from templates, structure, placeholders, rates."""

    async def read_reference(self, *, templates: Sequence[str], roles: Sequence[str]) -> PsaReference:
        """Templates and roles for validation."""
        ...

    def plan_client(self, context: WriteContext, setup: DeliverySetup) -> list[VendorWrite]:
        """What must be there of the client before its project; needs nothing of the ERP."""
        ...

    def plan_project(self, context: WriteContext, setup: DeliverySetup) -> list[VendorWrite]:
        """The project itself, with its template applied by the create."""
        ...

    async def template_progress(self, setup: DeliverySetup, values: Mapping[str, str]) -> TemplateProgress:
        """How far the template's application has come."""
        ...

    def plan_structure(self, context: WriteContext, setup: DeliverySetup) -> list[VendorWrite]:
        """What the template does not bring: milestones, further placeholders, negotiated rates."""
        ...

    def plan_activation(self, context: WriteContext, setup: DeliverySetup) -> list[VendorWrite]:
        """Open the project for work."""
        ...

    async def read_baseline(self, setup: DeliverySetup, values: Mapping[str, str]) -> PsaBaseline:
        """What this system holds of the project."""
        ...


class BulkPort(Protocol):
    """Bulk writes with an outcome per line. The lines of a batch are of one record type and one method, run
    in no order and not all-or-nothing.
    """

    @property
    def system(self) -> str:
        """Instance name."""
        ...

    @property
    def batch_limit(self) -> int:
        """Most lines of one batch."""
        ...

    @property
    def traffic(self) -> Traffic:
        """Calls to the instance so far."""
        ...

    async def submit_batch(self, key: str, writes: Sequence[VendorWrite]) -> BatchTicket:
        """Hand over one batch; ``key`` makes a repetition recognisable: it is answered with the earlier batch
        (rule 29). The same key must always come with the same lines.

        Raises:
            OutcomeUnknown: no answer: hand the same batch over again with the same key.
            Refused: the batch as a whole; nothing of it landed.
        """
        ...

    async def batch_outcome(
        self, ticket: BatchTicket, writes: Sequence[VendorWrite]
    ) -> list[LineOutcome] | None:
        """Outcome per line in the order of ``writes``, each proven by reading the record back, or None while
        the vendor still works on it. May be asked again at any time, also for a batch that ended long ago.
        """
        ...


class HrPort(ConnectedSystem, Protocol):
    """People: workers, roles, cost rates. Pay never leaves through ``role_supply``."""

    async def role_supply(self, on: date) -> list[RoleSupply]:
        """How many workers hold each role, per region, on a day."""
        ...

    async def workers(self, on: date) -> list[Worker]:
        """Workers in force on a day, with cost rates."""
        ...

    async def workers_between(self, first: date, last: date) -> list[Worker]:
        """Workers as they were on any day of a stretch: of one whose terms changed, several."""
        ...


class NotificationPort(ConnectedSystem, Protocol):
    """Messages to people; at least once, never undone, corrected by a second message."""

    async def notify(self, notice: Notice) -> RecordRef:
        """Send one message; the reference names what the channel gave back."""
        ...
