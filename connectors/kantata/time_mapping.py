"""Time entries and expenses in canonical words. Pure: facts that Kantata does not hold are passed in."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TypeVar

from canonical.base import Canonical, Personal
from canonical.billing import ApprovalState, ExpenseItem, TimeEntry
from canonical.causes import Cause, Queue
from canonical.failures import Refused
from canonical.money import AmountRole, Money, exponent
from canonical.refs import Dimensions, RecordRef
from connectors.kantata.client import Envelope, Row
from connectors.kantata.events import aware
from connectors.kantata.mapping import to_money
from connectors.kantata.schemas import Entry, Expense, Submission, parse
from connectors.kantata.settings import KantataMapping

Facts = TypeVar("Facts")

APPROVALS = {
    "new": ApprovalState.SUBMITTED,
    "approved": ApprovalState.APPROVED,
    "rejected": ApprovalState.REJECTED,
    "cancelled": ApprovalState.DRAFT,
}
"""A submission's status; Kantata keeps approval there and not on the entry."""


class ProjectFacts(Canonical):
    """What the ledger knows of the project behind a Kantata workspace id."""

    project_code: str
    project_entity: str
    dimensions: Dimensions


class WorkerFacts(Canonical):
    """What HR knows of the worker behind a Kantata user id."""

    worker_id: Personal
    employing_entity: str


def approval_of(row: Row, envelope: Envelope, system: str) -> tuple[ApprovalState, Submission | None]:
    """Approval of a time entry by its most recent submission; without one by its own flag, which is also
    set where a project needs no approval.
    """
    entry = parse(Entry, row, system)
    side = envelope.side("timesheet_submissions", entry.recent_submission_id or entry.active_submission_id)
    if side is None:
        return (ApprovalState.APPROVED if entry.approved else ApprovalState.DRAFT), None
    submission = parse(Submission, side, system)
    return APPROVALS.get(submission.status, ApprovalState.SUBMITTED), submission


def to_time_entry(
    row: Row,
    envelope: Envelope,
    projects: Mapping[str, ProjectFacts],
    workers: Mapping[str, WorkerFacts],
    mapping: KantataMapping,
    system: str,
) -> TimeEntry:
    """A time entry. An approval or rejection is a revision of its own, as it need not touch the entry.

    Raises:
        Refused: the project or the worker is not known to us.
    """
    entry = parse(Entry, row, system)
    ref = RecordRef(system=system, type="time_entries", id=entry.id)
    project, worker = _known(projects, entry.workspace_id, ref), _known(workers, entry.user_id, ref)
    approval, submission = approval_of(row, envelope, system)
    role = envelope.side("roles", entry.role_id) or {}
    approved = approval is ApprovalState.APPROVED
    state = f"{submission.id}.{submission.status}" if submission else "none"
    return TimeEntry(
        ref=ref,
        source_revision=f"{aware(entry.updated_at).isoformat()}/{state}",
        project_code=project.project_code,
        task_key=entry.story_id,
        worker_id=worker.worker_id,
        role=mapping.role_word(str(role.get("name", ""))),
        work_date=entry.date_performed,
        minutes=entry.time_in_minutes,
        billable=entry.billable,
        approval=approval,
        approved_at=aware(submission.updated_at) if approved and submission else None,
        employing_entity=worker.employing_entity,
        project_entity=project.project_entity,
        dimensions=project.dimensions,
        note=entry.notes,
    )


def to_expense(
    row: Row,
    approved: bool,
    projects: Mapping[str, ProjectFacts],
    workers: Mapping[str, WorkerFacts],
    system: str,
) -> ExpenseItem:
    """An expense as incurred. ``approved`` says whether it came from the list of approved ones.

    Raises:
        Refused: the project or the worker is not known to us.
    """
    expense = parse(Expense, row, system)
    ref = RecordRef(system=system, type="expenses", id=expense.id)
    project, worker = _known(projects, expense.workspace_id, ref), _known(workers, expense.user_id, ref)
    unit = expense.currency_base_unit or 10 ** exponent(expense.currency)
    amount: Money = to_money(expense.amount_in_cents, unit, expense.currency)
    return ExpenseItem(
        ref=ref,
        source_revision=aware(expense.updated_at).isoformat(),
        project_code=project.project_code,
        worker_id=worker.worker_id,
        incurred_on=expense.incurred_on,
        amount=amount.model_copy(update={"role": AmountRole.TRANSACTION}),
        category=expense.category,
        billable=expense.is_billable,
        reimbursed_by="kantata" if expense.reimbursable else "none",
        approval=ApprovalState.APPROVED if approved else ApprovalState.SUBMITTED,
        dimensions=project.dimensions,
    )


def hourly_rate(row: Row, system: str) -> Decimal | None:
    """Kantata's own bill rate per hour of a time entry, in units of its currency, for comparison only
    where the contract is the pricing authority (rule 7).
    """
    entry = parse(Entry, row, system)
    if entry.rate_in_cents is None or entry.currency is None:
        return None
    return Decimal(entry.rate_in_cents).scaleb(-exponent(entry.currency))


def _known(table: Mapping[str, Facts], key: str | None, ref: RecordRef) -> Facts:
    facts = table.get(key or "")
    if facts is None:
        raise Refused(
            f"{ref}: neither project nor worker {key} is linked to one of ours.",
            cause=Cause.ENGAGEMENT_UNKNOWN,
            queue=Queue.MASTER_DATA,
            system=ref.system,
            record=ref,
            remedy="Link the project or worker with `trueup adopt`, then retry.",
        )
    return facts
