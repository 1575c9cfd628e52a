"""What the ERP is asked to post and bill, and what it answers, in canonical terms.

Ids are the ERP's own where a field says so; the enrichment finds them before anything is planned. While
planning they may be symbols (``canonical.writes.symbol``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from typing import Any

from canonical.base import Canonical, Personal
from canonical.billing import CreditMemo, Invoice
from canonical.engagement import InvoiceGrouping
from canonical.money import AmountRole, CurrencyCode, Exact, Money, total
from canonical.refs import RecordRef

# --- what an ERP can do ---------------------------------------------------------------------------


class BillingOwner(StrEnum):
    """Who makes the invoice (rule 26)."""

    OURS = "ours"
    """We send the lines and the amounts."""
    ERP_RUN = "erp_run"
    """We release, the ERP generates, we read and compare."""
    DELIVERY = "delivery"
    """The delivery system's released billing events are the source."""


class Reversal(StrEnum):
    """How a posted line is taken back."""

    DELETE = "delete"
    """Removed: only unbilled, in an open period."""
    NEGATIVE_LINE = "negative_line"
    """A line of the opposite sign in an open period, naming the original."""


class Book(StrEnum):
    """The ledgers whose periods are locked apart from one another (rule 30)."""

    RECEIVABLES = "receivables"
    PAYABLES = "payables"
    GENERAL = "general"


class BillingCapabilities(Canonical):
    """What an ERP can and cannot do, as its connector is configured. Asked before planning, never guessed."""

    owners: tuple[BillingOwner, ...]
    drafts: bool
    """A draft stands in the ERP before it is issued. False: making the invoice already posts it, so the
    review happens before anything is sent and the draft write itself is the pivot."""
    groupings: tuple[InvoiceGrouping, ...]
    """What one invoice can collect (rule 25)."""
    reversals: tuple[Reversal, ...]
    keeps_work_date: bool
    """A line posted in another period keeps its work date in a field of its own. False: in its text."""
    exact_amounts: bool
    """Line amounts are sent, not multiplied by the ERP (rule 5)."""
    voids: bool = False
    credits_by_line: bool = False
    """A credit names the invoice lines it corrects."""
    locks_per_entity: bool = False
    """Period locks are told per legal entity. False: for the whole account; a lock of one entity shows only
    as a refusal."""
    foreign_workers: bool = False
    """Accepts the time of a worker of another legal entity (rule 35)."""
    unbilled_balance: bool = False
    """Knows what it has not billed yet (rule 37)."""
    limitations: tuple[str, ...] = ()
    """For people: what this ERP cannot do, and what is done instead."""


# --- master data ----------------------------------------------------------------------------------


class ErpWorker(Canonical):
    """A worker as the ERP holds it: raw material for the enrichment of a line."""

    ref: RecordRef
    email: Personal | None = None
    external_id: str | None = None
    number: Personal | None = None
    """What the ERP calls the worker, often the employee number."""
    legal_entity: str | None = None
    """Employing entity."""
    subcontractor: bool = False
    """Paid by vendor bill: the cost comes from there (rule 34)."""
    inactive: bool = False


class ErpProject(Canonical):
    """A project as the ERP holds it now."""

    ref: RecordRef
    code: str
    client: str | None = None
    legal_entity: str
    currency: str
    open: bool
    """Whether time and expenses are taken."""


# --- cost -----------------------------------------------------------------------------------------


class CostKind(StrEnum):
    """What is posted as cost."""

    TIME = "time"
    EXPENSE = "expense"


class CostLine(Canonical):
    """One approved line to post as cost; billable ones also become the ERP's unbilled balance."""

    kind: CostKind
    source: RecordRef
    revision: str
    """Source revision: part of the key, since each approved revision is posted once (rules 1, 10)."""
    part: int = 1
    """Which part of a line that was split."""
    legal_entity: str
    """Of the project."""
    project: Any
    """The ERP's project id."""
    project_code: str
    """For people."""
    worker: str
    """The ERP's id of the worker."""
    task: str | None = None
    """The ERP's id of the task."""
    item: str | None = None
    """The ERP's service item (time) or expense category (expenses)."""
    work_date: date
    posting_date: date
    """Equal to the work date unless its period is closed (rule 30)."""
    minutes: int = 0
    amount: Money | None = None
    """Expenses: as incurred."""
    billable: bool
    """Enters the ERP's unbilled balance: time and materials. Covered or fixed-fee work is cost only."""
    bill_rate: Exact | None = None
    """Per hour, in the project's currency: what the ERP values unbilled time with."""
    payable_to_worker: bool = False
    """The ERP reimburses the worker. False posts the cost and never a payable (rule 34)."""
    note: str | None = None

    @property
    def identity(self) -> str:
        """Business identity of this posting."""
        part = "" if self.part == 1 else f".p{self.part}"
        return f"{self.source.system}.{self.source.id}.{self.revision}{part}".replace("|", "/")


class Posting(Canonical):
    """A posted line as the ERP shows it now."""

    ref: RecordRef
    stamp: str
    """What it carries of ours; empty for lines that are not ours."""
    kind: CostKind
    project: str
    worker: str
    posted_on: date
    minutes: int = 0
    amount: Money | None = None
    billable: bool
    approved: bool
    billed_on: str | None = None
    """Id of the invoice that bills it."""
    reverses: str | None = None
    """Stamp of the line that it takes back."""


class ReversalOrder(Canonical):
    """A posted line to take back. ``posting`` was read just before; ``line`` is what was posted."""

    line: CostLine
    posting: Posting
    form: Reversal
    on: date
    """Posting date of a negative line: the first open period's (rule 16)."""
    reason: str


# --- periods --------------------------------------------------------------------------------------


class AccountingPeriod(Canonical):
    """A month of the books with its locks. ``legal_entity`` is empty where locks are the whole account's."""

    name: str
    start: date
    end: date
    legal_entity: str | None = None
    closed: bool = False
    receivables_locked: bool = False
    payables_locked: bool = False
    general_locked: bool = False

    def open_for(self, book: Book) -> bool:
        """Whether something can be posted to a book in it."""
        locked = {
            Book.RECEIVABLES: self.receivables_locked,
            Book.PAYABLES: self.payables_locked,
            Book.GENERAL: False,
        }[book]
        return not (self.closed or self.general_locked or locked)


def posting_date(periods: Sequence[AccountingPeriod], day: date, book: Book) -> date | None:
    """The day on which something of ``day`` can be posted: that day, else the first day of the first open
    period after it (rule 30). None when there is none; no periods at all leave the day alone.
    """
    if not periods:
        return day
    for period in sorted(periods, key=lambda one: one.start):
        if period.end >= day and period.open_for(book):
            return max(day, period.start)
    return None


# --- invoices -------------------------------------------------------------------------------------


class InvoiceLineKind(StrEnum):
    """What an invoice line bills."""

    TIME = "time"
    EXPENSE = "expense"
    FEE = "fee"
    """Milestone, schedule date, retainer period, progress."""
    ADJUSTMENT = "adjustment"


class InvoiceLineDraft(Canonical):
    """One line of an invoice to make, with the exact amount (net of tax)."""

    key: str
    """Business identity: the allocation it bills."""
    kind: InvoiceLineKind
    description: str
    item: str
    """The ERP's service item; for expenses its category."""
    amount: Money
    posting: str | None = None
    """The ERP's id of the posted line that it bills; without, the line stands alone."""
    order_line: int | None = None
    """Line of the contract in the ERP that it bills (see ``BillingPort.contract_lines``)."""
    order_quantity: Exact | None = None
    """How much of that line's quantity it uses up: the ERP counts a contract line's billing in quantities."""
    project: Any = None
    """The ERP's project id."""
    work_date: date | None = None


class InvoiceDraft(Canonical):
    """An invoice to ask for. Asking again with other lines changes the draft of the same key."""

    key: str
    """Group, cycle and sequence (rule 25)."""
    owner: BillingOwner = BillingOwner.OURS
    seller: str
    bill_to: Any
    """The ERP's id of the client."""
    contract: Any = None
    """The ERP's id of the contract, when lines bill contract lines."""
    project: Any = None
    """The ERP's id of the one project, when there is one."""
    currency: CurrencyCode
    on: date
    purchase_order: str | None = None
    memo: str | None = None
    lines: tuple[InvoiceLineDraft, ...]

    @property
    def net(self) -> Money:
        """Sum of the lines."""
        if not self.lines:
            return Money.of_minor(0, self.currency, AmountRole.BILLING)
        return total(line.amount for line in self.lines)


class InvoiceState(StrEnum):
    """How far an invoice that was asked for has come (rule 26); proven by reading back only."""

    ABSENT = "absent"
    PENDING = "pending"
    """The ERP works on it; it may take hours."""
    DRAFTED = "drafted"
    POSTED = "posted"
    REFUSED = "refused"
    """The ERP (or an approver there) said no; ``reason`` says why."""


class InvoiceLineReading(Canonical):
    """One line as the ERP shows it."""

    line: str
    """The ERP's own key of the line."""
    key: str | None = None
    """Our key, where the ERP keeps it."""
    kind: InvoiceLineKind
    net: Money
    tax: Money
    posting: str | None = None
    order_line: int | None = None


class InvoiceReading(Canonical):
    """An invoice as the ERP shows it now."""

    state: InvoiceState
    invoice: Invoice | None = None
    """Net, tax, gross, paid, credited, balance; None while absent or pending."""
    lines: tuple[InvoiceLineReading, ...] = ()
    exchange_rate: Exact | None = None
    """Units of the entity's currency for one of the invoice's, as booked (rule 4)."""
    posting_period: str | None = None
    reason: str | None = None


class CreditLine(Canonical):
    """What is credited of one invoice line, as a positive net amount."""

    key: str
    """Business identity: the allocation that is credited."""
    invoice_line: str
    """Our key of the invoice line."""
    description: str
    item: str
    amount: Money


class CreditDraft(Canonical):
    """A credit of an invoice, in part or whole (rule 39)."""

    key: str
    invoice: str
    """The ERP's id of the invoice."""
    on: date
    """A day in a period that is open for receivables."""
    reason: str
    lines: tuple[CreditLine, ...]
    exchange_rate: Exact | None = None
    """The invoice's (rule 4)."""
    apply: bool = True
    """Reduce what the invoice still owes. False for one that is paid: the credit then stays open."""

    @property
    def net(self) -> Money:
        """Sum of the lines."""
        return total(line.amount for line in self.lines)


class CreditReading(Canonical):
    """A credit memo as the ERP shows it now."""

    credit: CreditMemo
    applied: Money
    """What of its gross amount reduces the invoice."""
    exchange_rate: Exact | None = None


class ContractLineReading(Canonical):
    """A line of the contract in the ERP: what is agreed and what of it is billed."""

    order_line: int
    key: str | None = None
    """Our contract line, where the ERP keeps its key."""
    item: str
    amount: Money
    billed: Money
    quantity: Exact
    quantity_billed: Exact


# --- the ERP's own unbilled balance ---------------------------------------------------------------


class UnbilledTotal(Canonical):
    """What the ERP itself has not billed yet, per legal entity and currency (rule 37)."""

    legal_entity: str
    kind: InvoiceLineKind
    amount: Money
    lines: int


class UnbilledLine(Canonical):
    """One line of it."""

    ref: RecordRef
    stamp: str
    kind: InvoiceLineKind
    project: str
    day: date
    amount: Money


class UnbilledPage(Canonical):
    """Part of the unbilled lines; ``cursor`` is empty at the end."""

    lines: tuple[UnbilledLine, ...]
    cursor: str | None = None
