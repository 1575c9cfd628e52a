"""What the ledger answers about items, allocations, documents and batches: frozen models."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from canonical.base import Canonical
from canonical.batches import BatchRef, LineState
from canonical.causes import Cause
from canonical.engagement import BillingMethod
from canonical.invoicing import BillingGroup, CreditProposal, DocumentKind, DocumentState
from canonical.items import (
    AllocationKind,
    BillingState,
    CostState,
    FeeItem,
    Hold,
    ItemKind,
    Placement,
    Price,
    SourceLine,
)
from canonical.money import Money
from canonical.rates import Rate
from canonical.refs import RecordRef


class ItemRow(Canonical):
    """An item as the ledger knows it."""

    id: int
    key: str
    kind: ItemKind
    source: str
    revision: str
    region: str
    psa: str | None
    erp: str | None
    contract_key: str | None
    line_key: str | None
    project_code: str | None
    legal_entity: str | None
    employing_entity: str | None
    work_date: date
    posting_date: date | None
    minutes: int
    approved: bool
    current: bool
    replaces: str | None
    cost: CostState
    billing: BillingState
    method: BillingMethod | None
    placed: bool
    unbilled_in_erp: bool
    hold: Hold | None
    withdrawn: str | None
    priced: Money | None
    """None while it is not priced."""
    open: Money | None
    held: Money | None
    drafted: Money | None
    billed: Money | None
    open_minutes: int
    limit: Money | None
    rate: Rate | None
    price: Price | None
    purchase_order: str | None
    group_key: str | None
    turn: int
    posting_id: str | None
    posted_at: datetime | None
    look_first: bool
    marked: str | None
    piece: str | None
    line: SourceLine | None
    """Of time and expenses."""
    fee: FeeItem | None
    """Of everything else."""
    placement: Placement | None

    @property
    def source_id(self) -> str:
        """What lines of one day are ordered by (rule 31)."""
        return self.source

    @property
    def title(self) -> str:
        """What it is, for an invoice line."""
        if self.fee is not None:
            return self.fee.title
        if self.line is None:
            return self.kind.value
        return self.line.role or self.line.category or self.kind.value


class TakenIn(Canonical):
    """What a page of the feed was to the ledger."""

    new: int = 0
    same: int = 0
    """Known as they are."""
    confirmed: int = 0
    """A new revision that changes nothing of substance."""
    renewed: int = 0
    """Read anew before they were posted."""
    replaced: int = 0
    """Changed after they were posted: to be taken back and posted anew."""
    withdrawn: int = 0
    """Rejected or deleted after they were posted: to be taken back."""
    restored: int = 0
    """Approved again before the taking back had begun."""
    deferred: int = 0
    """A batch is under way; looked at again when it is settled."""

    def __add__(self, other: TakenIn) -> TakenIn:
        mine, theirs = self.model_dump(), other.model_dump()
        return TakenIn(**{name: mine[name] + theirs[name] for name in mine})


class FeesTaken(Canonical):
    """What became of a contract's fees."""

    new: int = 0
    same: int = 0
    changed: int = 0
    reopened: tuple[str, ...] = ()
    """Keys of billed milestones that are no longer complete or accepted: to be credited (rule 33)."""


class PieceRow(Canonical):
    """A piece of work."""

    key: str
    psa: str
    erp: str
    open: bool
    claimed: int
    more: bool
    until: datetime
    to_post: int = 0
    to_reverse: int = 0


class PlacedResult(Canonical):
    """What became of placements."""

    placed: int = 0
    held: int = 0
    stale: tuple[str, ...] = ()
    """Keys of items that changed meanwhile: look at them again."""


class BatchClaimState(StrEnum):
    """What a sender may do with a batch now."""

    SEND = "send"
    """Nothing of it can have reached the vendor."""
    AGAIN = "again"
    """It may have been handed over before: hand it over again under the same key."""
    BUSY = "busy"
    """Another attempt may be sending; ask again at ``until``."""
    ACCEPTED = "accepted"
    """The vendor has it: ask for its outcome."""
    DONE = "done"
    CLOSED = "closed"
    """Abandoned or superseded: never send it."""


class BatchClaim(Canonical):
    """The answer to ``submit_batch``."""

    state: BatchClaimState
    batch: BatchRef
    until: datetime | None = None


class BatchLineRow(Canonical):
    """One line of a batch with its item."""

    line: int
    item: ItemRow
    state: LineState
    record_id: str | None = None
    cause: Cause | None = None
    message: str | None = None


class MarkLine(Canonical):
    """What marking a line in delivery needs of it: a batch of marks never reads whole items."""

    key: str
    kind: ItemKind
    source: RecordRef
    submission: str | None = None
    posting_id: str | None = None


class DocumentRow(Canonical):
    """An invoice or credit in one target."""

    key: str
    target: str
    kind: DocumentKind
    state: DocumentState
    group: BillingGroup
    group_key: str
    cycle: str
    sequence: int
    corrects: str | None
    legal_entity: str
    saga_id: str
    version: int
    applied: int | None
    last_command: str | None
    lines: int
    net: Money
    record_id: str | None
    number: str | None
    told_net: Money | None
    tax: Money | None
    gross: Money | None
    on: date
    issued_on: date | None
    issued_at: datetime | None
    proposal: CreditProposal | None
    reason: str | None

    @property
    def in_step(self) -> bool:
        """Whether the target shows the lines as they are now."""
        return self.applied == self.version


class AllocationRow(Canonical):
    """One allocation row."""

    key: str
    item_id: int
    part: int
    release_no: int
    kind: AllocationKind
    minutes: int
    amount: Money
    left: Money
    left_minutes: int
    billed: Money | None
    document: str | None
    cause: Cause | None
    reason: str | None
    until: date | None
    at: datetime


class DocumentLine(Canonical):
    """A live line of a document: what of a part is left on it, and its item."""

    allocation: AllocationRow
    item: ItemRow
    billed: Money
    """What of it is left, in the document's currency."""
    first: bool = True
    """No earlier part of the item was ever on an invoice: its posting is not billed yet in the ERP."""
    again: bool = False
    """An earlier part was credited: what the ERP counts as billed of the contract's line stays counted."""


class RatedItem(Canonical):
    """A priced item as a change of its rate finds it."""

    item: ItemRow
    unbilled_minutes: int
    unbilled: Money
    """Open, held or on a draft that may still change."""
    settled: Money
    """Billed, given up or covered."""
    billed: tuple[DocumentLine, ...]
    """What of it is on issued invoices, part by part."""
    busy: bool = False
    """A part of it is on an invoice that is being issued."""


class DueDay(Canonical):
    """Open work of a contract on a day within a billing group."""

    contract_key: str
    day: date
    kind: ItemKind
    items: int


class DueGroupRow(Canonical):
    """A billing group with open work."""

    group_key: str
    group: BillingGroup
    days: tuple[DueDay, ...]


class HeldGroupRow(Canonical):
    """Items that wait for the same cause, per project."""

    cause: Cause
    queue: str
    legal_entity: str | None
    contract_key: str | None
    project_code: str | None
    project: str | None
    items: int
    minutes: int
    amount: Money | None
    since: datetime | None


class RepricingRow(Canonical):
    """A trace of rule 7."""

    item_key: str
    before: Money
    after: Money
    version_before: int | None
    version_after: int | None
    reason: str
    at: datetime
