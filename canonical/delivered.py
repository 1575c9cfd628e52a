"""What a delivery system tells of time, expenses, milestones and projects, before anything is decided.

These are readings, in our words but with the delivery system's own ids: which project code, legal entity or
worker stands behind them is found out per item, so that one unknown project holds its own lines only.
"""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from enum import StrEnum

from canonical.base import Canonical, Personal
from canonical.billing import ApprovalState
from canonical.money import CurrencyCode, Exact, Money
from canonical.operations import Change
from canonical.refs import RecordRef


class ApprovalBasis(StrEnum):
    """Why a line counts as approved (rule 27)."""

    SUBMISSION = "submission"
    """Its current submission is approved."""
    NOT_REQUIRED = "not_required"
    """Its project asks for no approval: that counts only where a policy names the project."""


class _Line(Canonical):
    ref: RecordRef
    revision: str
    """Changes whenever the line or its approval does; part of the key of what is posted for it."""
    changed_at: datetime
    project: RecordRef
    worker: RecordRef
    worker_email: Personal | None = None
    billable: bool
    approval: ApprovalState
    approval_basis: ApprovalBasis | None = None
    """Only of approved lines."""
    approved_at: datetime | None = None
    submission: str | None = None
    """Id of the timesheet or expense report it was handed in with last."""
    invoiced: bool = False
    """The delivery system itself has it on an invoice."""
    exported_to: str | None = None
    """The document that our mark names, when the line carries one."""
    note: str | None = None

    @property
    def approved(self) -> bool:
        """Whether it may be posted as far as the delivery system goes."""
        return self.approval is ApprovalState.APPROVED


class DeliveredTime(_Line):
    """A time entry as the delivery system holds it now. The work date is never shifted (rule 30)."""

    work_date: date
    minutes: int
    role: str | None = None
    """Our role word; None when the entry names none."""
    task: str | None = None
    rate: Exact | None = None
    """The delivery system's own bill rate per hour, for comparison or where it is the authority (rule 7)."""
    rate_currency: CurrencyCode | None = None

    @property
    def substance(self) -> str:
        """Digest of what matters to cost and billing: two revisions that share it differ in nothing that
        was posted or billed (a new approval of the same hours, a corrected note).
        """
        return _digest(
            self.project.id,
            self.worker.id,
            self.work_date.isoformat(),
            str(self.minutes),
            self.role or "",
            self.task or "",
            str(self.billable),
        )


class DeliveredExpense(_Line):
    """An expense as incurred, in its own currency."""

    incurred_on: date
    amount: Money
    category: str
    reimbursable: bool = False
    """The worker paid it. Who reimburses is the route's word, not the delivery system's (rule 34)."""

    @property
    def substance(self) -> str:
        """As ``DeliveredTime.substance``."""
        return _digest(
            self.project.id,
            self.worker.id,
            self.incurred_on.isoformat(),
            str(self.amount.minor),
            self.amount.currency,
            self.category,
            str(self.billable),
        )


class DeliveredMilestone(Canonical):
    """A milestone and how far it is (rule 33). ``accepted_on`` is empty where nobody has accepted it."""

    ref: RecordRef
    project: RecordRef
    title: str
    due: date | None = None
    complete: bool
    completed_on: date | None = None
    """The day on which the delivery system says it became complete, as far as it tells."""
    accepted_on: date | None = None
    accepted_by: Personal | None = None
    acceptance_document: str | None = None
    amount: Money | None = None
    """What delivery believes it is worth; the contract's amount counts (rule 8)."""
    archived: bool = False
    changed_at: datetime | None = None


class DeliveredProject(Canonical):
    """What matters of a project to the time that is booked on it."""

    ref: RecordRef
    title: str
    code: str | None = None
    """The project code it carries; None or another one than the ERP's holds its lines."""
    currency: CurrencyCode | None = None
    archived: bool = False
    """Archived projects still owe their time (rule 28)."""
    time_approval_required: bool
    expense_approval_required: bool
    percent_complete: Exact | None = None
    """Progress of the project's work as delivery tells it, 0 to 100."""
    minutes_at_completion: int | None = None
    """Worked and still to be worked, where delivery plans it."""
    changed_at: datetime | None = None


class TimePage(Canonical):
    """Changed time entries after a cursor, oldest change first, as they are now."""

    entries: tuple[DeliveredTime, ...]
    cursor: str
    more: bool


class DeletionPage(Canonical):
    """Hard deletes after a cursor."""

    changes: tuple[Change, ...]
    cursor: str
    complete: bool
    """False when the feed is not licensed or has dropped events behind the cursor: then each open period is
    listed and compared (``DeliveryFeed.present``)."""


class LineKind(StrEnum):
    """What a delivered line is."""

    TIME = "time"
    EXPENSE = "expense"
    TIMESHEET = "timesheet"
    """A whole timesheet: marks only. One mark instead of one for each of its lines."""


class ExportMark(Canonical):
    """A line (or timesheet) that the ERP has taken, and the ERP document that holds it."""

    kind: LineKind
    id: str
    document: str
    """For people in delivery: the ERP document, or batch, that holds it."""


class HeldMark(ExportMark):
    """A mark of ours as the delivery system holds it."""

    reference: str
    """The mark's own id, for taking it off."""


class DeletionSource(StrEnum):
    """How hard deletes come to light (rule 28)."""

    EVENTS = "events"
    LISTING = "listing"


class FeedCapabilities(Canonical):
    """What a delivery system's feed can and cannot do, as its connector is configured."""

    deletions: DeletionSource
    expense_cursor: bool = False
    """False: expenses are found by listing the open window again."""
    acceptance: bool = False
    """Whether milestones tell when, by whom and with which document they were accepted."""
    marks_per_call: int = 1
    read_limit: int
    """Most lines that one call reads by id."""
    limitations: tuple[str, ...] = ()
    """For people: what this system cannot do, and what is done instead."""


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]
