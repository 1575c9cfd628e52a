"""What can be posted or billed: one item per source record and revision, and its allocations (rule 1).

An item has two independent states: *cost* (posted to the ERP or not) and *billing*. Its priced amount is
split over documents by allocations, which are only ever added. For each item

    priced amount = open rest + sum of its allocations

where credits and releases count negative. Nothing is edited: what is taken back is a negative row that
names the part it frees, and the freed slice is open again until it is allocated anew, as a new part.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from pydantic import model_validator

from canonical.base import Canonical
from canonical.causes import Cause, Queue
from canonical.engagement import BillingMethod
from canonical.invoicing import BillingGroup
from canonical.money import Conversion, Exact, Money
from canonical.rates import Rate
from canonical.refs import RecordRef


class ItemKind(StrEnum):
    """What an item stands for."""

    TIME = "time"
    EXPENSE = "expense"
    MILESTONE = "milestone"
    SCHEDULE_DATE = "schedule_date"
    RETAINER_PERIOD = "retainer_period"
    PROGRESS_PERIOD = "progress_period"
    ADJUSTMENT = "adjustment"
    """A difference on something billed before, for example after a backdated rate (rule 7)."""

    @property
    def has_cost(self) -> bool:
        """Whether it is posted as cost at all."""
        return self in (ItemKind.TIME, ItemKind.EXPENSE)

    @property
    def is_fee(self) -> bool:
        """Whether the contract itself makes it billable, not somebody's work."""
        return not self.has_cost


class CostState(StrEnum):
    """Where an item stands as cost."""

    NOT_APPLICABLE = "not_applicable"
    UNPOSTED = "unposted"
    POSTED = "posted"
    REVERSED = "reversed"
    """Posted and taken back; a withdrawn item that was never posted is ``NOT_APPLICABLE``."""


class BillingState(StrEnum):
    """Where an item stands in billing. Of a split item: the state of what is least far."""

    NOT_BILLABLE = "not_billable"
    COVERED = "covered"
    """Covered by a fee: fixed-price work, or drawn from a retainer."""
    UNBILLED = "unbilled"
    HELD = "held"
    DRAFTED = "drafted"
    BILLED = "billed"
    """Nothing of it is open, held or on a draft: on issued invoices, or written down or off."""


class AllocationKind(StrEnum):
    """What becomes of a part of an item."""

    BILLED = "billed"
    """On an invoice; the invoice's state says whether that is a draft or issued."""
    HELD = "held"
    WRITTEN_DOWN = "written_down"
    """Given up before an invoice."""
    WRITTEN_OFF = "written_off"
    """Given up after an invoice: a credited part that is not billed again."""
    COVERED = "covered"
    """By a fee, or drawn from a retainer."""
    WITHDRAWN = "withdrawn"
    """The source was edited, rejected or deleted: there is nothing to bill any more."""
    CREDITED = "credited"
    """Negative: a credit memo took it back from an issued invoice."""
    RELEASED = "released"
    """Negative: taken back before anybody outside saw it (a hold that ended, a draft that changed)."""

    @property
    def frees(self) -> bool:
        """Whether it gives a part back; its amount has the opposite sign of the part's."""
        return self in (AllocationKind.CREDITED, AllocationKind.RELEASED)

    @property
    def is_final(self) -> bool:
        """Whether the part is out of the unbilled balance for good."""
        return self in (
            AllocationKind.WRITTEN_DOWN,
            AllocationKind.WRITTEN_OFF,
            AllocationKind.COVERED,
            AllocationKind.WITHDRAWN,
        )


class Hold(Canonical):
    """Why an item, or a part of it, waits for a person."""

    cause: Cause
    message: str
    remedy: str
    queue: Queue
    since: datetime | None = None
    until: date | None = None
    """Comes back by itself on that day: moved to a later cycle by a reviewer."""


class Price(Canonical):
    """What an item is worth, rounded once (rule 5)."""

    amount: Money
    """In contract currency."""
    rate: Rate | None = None
    """Of time. Fees and expenses have none."""
    conversion: Conversion | None = None
    """When the rate or the expense was in another currency (rule 4)."""
    vendor_difference: int = 0
    """Minor units by which an ERP that multiplies decimal hours is predicted to differ from ``amount``."""


class SourceLine(Canonical):
    """A time entry or expense as it goes into the ledger: the delivery system's facts, nothing decided.

    ``minutes`` are whole; ``work_date`` is the worker's calendar date and never shifted (rule 30).
    """

    kind: ItemKind
    source: RecordRef
    revision: str
    substance: str
    """Digest of what matters to cost and billing: a revision with the same one is no new item."""
    region: str
    project: RecordRef
    """Of the delivery system."""
    worker: RecordRef
    """Of the delivery system: an id, no name."""
    work_date: date
    minutes: int = 0
    incurred: Money | None = None
    """Of expenses: as incurred, in its own currency."""
    recoverable_tax: Money | None = None
    """Part of ``incurred`` that the firm gets back from the tax office."""
    role: str | None = None
    task: str | None = None
    category: str | None = None
    """Of expenses."""
    billable: bool
    reimbursable: bool = False
    """Of expenses: the worker paid."""
    approved: bool
    """By its submission, or by a policy that its project needs no approval (rule 27)."""
    approved_at: datetime | None = None
    submission: str | None = None
    changed_at: datetime
    exported_to: str | None = None
    delivery_rate: Exact | None = None
    """The delivery system's own bill rate per hour: compared, or used where it is the authority (rule 7)."""
    delivery_currency: str | None = None
    note: str | None = None

    @property
    def source_key(self) -> str:
        """The record, whatever its revision."""
        return str(self.source)


class FeeItem(Canonical):
    """A billable amount that the contract itself makes: milestone, schedule date, period, adjustment."""

    kind: ItemKind
    source: RecordRef
    """``canonical.names.fee_source``."""
    revision: str = "1"
    region: str
    contract_key: str
    line_key: str | None
    project_code: str
    legal_entity: str
    day: date
    """The day from which it may be billed."""
    amount: Money
    limit: Money | None = None
    """How much of it may be billed so far; all of it when empty (rule 33)."""
    title: str
    purchase_order: str | None = None
    group: BillingGroup | None = None
    group_key: str | None = None
    hold: Hold | None = None
    """What it waits for: a milestone that is not complete or not accepted."""
    adjusts: str | None = None
    """Of adjustments: key of the item whose billed amount they correct."""
    reason: str | None = None

    @model_validator(mode="after")
    def _is_a_fee(self) -> FeeItem:
        if not self.kind.is_fee:
            raise ValueError(f"a {self.kind.value} item comes from a source line, not from the contract")
        return self


class Placement(Canonical):
    """What enrichment found out about a source line: where it belongs, how it is billed, what it is worth."""

    contract_key: str | None = None
    line_key: str | None = None
    contract_version: int | None = None
    project_code: str | None = None
    legal_entity: str | None = None
    """Of the project: the seller."""
    employing_entity: str | None = None
    """Of the worker."""
    erp_system: str | None = None
    erp_project: str | None = None
    erp_worker: str | None = None
    erp_task: str | None = None
    erp_item: str | None = None
    """Service item, or expense category."""
    method: BillingMethod | None = None
    billing: BillingState = BillingState.NOT_BILLABLE
    """The state in which billing begins: not billable, covered by fee or unbilled."""
    posting_date: date | None = None
    """Equal to the work date unless its period is closed (rule 30)."""
    posts_cost: bool = True
    """False for work whose cost comes from elsewhere: subcontractors' vendor bills (rule 34)."""
    unbilled_in_erp: bool = False
    """Whether the posting enters the ERP's own unbilled balance: time and materials, and expenses."""
    payable_to_worker: bool = False
    purchase_order: str | None = None
    group: BillingGroup | None = None
    group_key: str | None = None
    """What one invoice of it would collect (rule 25); only of billable items."""
    price: Price | None = None
    hold: Hold | None = None
    """Set: neither posted nor billed until it is resolved."""


class Allocation(Canonical):
    """One append-only row: a part of an item and what becomes of it (rule 1)."""

    key: str
    """``canonical.names.allocation_key``."""
    item_key: str
    part: int
    """Number of the slice within the item; each slice is taken once, ever."""
    kind: AllocationKind
    minutes: int = 0
    amount: Money
    """In contract currency. Negative where the kind frees, of negative items the other way round."""
    document: str | None = None
    """Invoice or credit key, or the retainer that covers it."""
    cause: Cause | None = None
    """Of holds."""
    reason: str | None = None
    """The approver's or reviewer's words."""
    until: date | None = None
    at: datetime


class LimitUse(Canonical):
    """What an allocation uses of a cap or purchase order; negative: what it gives back (rule 31)."""

    key: str
    amount: Money
    limit: Money
    """The limit as agreed at that moment."""


class RetainerDraw(Canonical):
    """What an allocation takes from one lot of a retainer, as a positive amount (rule 32)."""

    account: str
    lot: str
    amount: Money


class PlannedAllocation(Canonical):
    """What the rules want to become of an open slice of an item; the ledger does it, or says decide again."""

    item_key: str
    kind: AllocationKind
    minutes: int
    amount: Money
    billed: Money | None = None
    """Of invoice lines: in the invoice's currency."""
    document: str | None = None
    cause: Cause | None = None
    reason: str | None = None
    until: date | None = None
    uses: tuple[LimitUse, ...] = ()
    draws: tuple[RetainerDraw, ...] = ()
