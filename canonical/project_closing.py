"""Closing a contract's projects: what was read, what stands in the way, what systems are asked to do.

Everything here is a reading or a wish. What follows from the readings is for ``rules.project_closing``.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Any

from canonical.base import Canonical
from canonical.causes import Cause, Queue
from canonical.money import Exact, Money
from canonical.refs import RecordRef
from canonical.unbilled import InFlight, UnbilledGroup


class ClosingState(StrEnum):
    """Where a closing that was agreed stands."""

    CLOSED = "closed"
    REOPENED = "reopened"


class DealStatus(StrEnum):
    """What sales see of a deal whose contracts are being closed."""

    CLOSED = "closed"
    PARTLY_CLOSED = "partly-closed"
    """Some of the deal's contracts are closed."""


class ClosingFact(Canonical):
    """One thing that stands in the way of closing a project."""

    cause: Cause
    what: str
    """In a sentence, with the record that it is about."""
    key: str
    """The same thing has the same key when it is read again."""
    record: RecordRef | None = None
    worth: Money | None = None
    queue: Queue
    """Who acts."""
    remedy: str
    command: str | None = None
    """What to type next, where there is something to type."""
    waivable: bool = False
    """Whether it may be approved with a reason."""


# --- readings ----------------------------------------------------------------------------------------------


class OpenDocument(Canonical):
    """An invoice or credit that is begun and not issued."""

    key: str
    kind: str
    state: str
    net: Money
    saga_id: str


class BillingEvent(Canonical):
    """Something the contract bills that no item stands for yet."""

    line_key: str
    title: str
    due: date | None = None
    amount: Money


class RetainerLeft(Canonical):
    """A retainer that the client has paid and not used up."""

    account: str
    balance: Money


class KnownInvoice(Canonical):
    """An issued invoice of the contract, as it was last read; without ``balance`` it never was."""

    ref: RecordRef
    number: str | None = None
    currency: str
    balance: Money | None = None
    status: str = ""
    disputed: bool = False
    due_on: date | None = None


class LedgerReading(Canonical):
    """What our own ledger knows of a contract that matters to closing it."""

    groups: tuple[UnbilledGroup, ...] = ()
    """Work and fees that are not posted or not billed, by reason."""
    in_flight: tuple[InFlight, ...] = ()
    corrections: int = 0
    """Posted or billed items whose source is gone: a reversal or credit is still to come."""
    documents: tuple[OpenDocument, ...] = ()
    events: tuple[BillingEvent, ...] = ()
    retainers: tuple[RetainerLeft, ...] = ()
    change_orders: tuple[str, ...] = ()
    sagas: tuple[str, ...] = ()
    """Ids of other sagas that are under way on the contract."""
    invoices: tuple[KnownInvoice, ...] = ()


class OpenWork(Canonical):
    """Time or expenses of a delivery project that are in the way, counted."""

    items: int = 0
    minutes: int = 0
    some: tuple[RecordRef, ...] = ()
    """The first of them."""


class OpenRecord(Canonical):
    """A position, request or milestone of a delivery project."""

    ref: RecordRef
    title: str


class PortDelivery(Canonical):
    """What a delivery system's port tells of one project besides its time and expenses."""

    archived: bool
    positions: tuple[OpenRecord, ...] = ()
    """Unnamed ones: placeholders that nobody has released."""
    requests: tuple[OpenRecord, ...] = ()
    """Requests for staff that nobody has decided."""


class DeliveryReading(Canonical):
    """One delivery project as it is now, against what the ledger knows of it."""

    delivery_key: str
    project: RecordRef
    title: str
    missing: bool = False
    """The delivery system has no such project any more."""
    unapproved: OpenWork = OpenWork()
    unread: OpenWork = OpenWork()
    """Approved, and not in the ledger as it is now."""
    positions: tuple[OpenRecord, ...] = ()
    requests: tuple[OpenRecord, ...] = ()
    milestones: tuple[OpenRecord, ...] = ()
    """Those that are not complete."""


class ErpReading(Canonical):
    """The contract in its ERP as it is now."""

    project: RecordRef
    project_code: str = ""
    deferred: Money | None = None
    """Revenue that is not recognised yet; None where the ERP keeps no plans for the contract."""
    balances: dict[str, Exact] = {}
    """What invoices owe, by record id; those that are gone are missing."""


# --- what systems are asked to do --------------------------------------------------------------------------


class DeliveryClosure(Canonical):
    """Close a delivery project for time."""

    contract_key: str
    delivery_key: str
    project_id: str
    title: str
    number: int
    """Which closing of the contract it is."""
    round: int = 1
    """Which attempt of this closing: one that was taken back is another write."""


class ErpClosure(Canonical):
    """Close a contract's project in the ERP."""

    contract_key: str
    project_id: str
    name: str
    number: int
    round: int = 1


class DealClosure(Canonical):
    """Show on the deal that its contracts are closed, or are not any more."""

    deal: RecordRef
    contract_key: str
    number: int
    status: DealStatus | None = None
    """None: ``former`` is put back."""
    former: dict[str, Any] = {}
    """Fields of the vendor's record as they were before the first closing."""


class Former(Canonical):
    """What a closing changed of one record, and what it was before: what a re-opening puts back."""

    system: str
    operation: str
    record: RecordRef
    key: str
    """Our key of what the record is: the delivery project, or the contract."""
    title: str
    values: dict[str, Any]
    """Fields of the vendor's record with their former values."""
