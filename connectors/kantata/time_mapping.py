"""Time entries, expenses, milestones and projects as Kantata holds them, in canonical words. Pure.

Nothing is decided here: whose legal entity, which contract, whether a policy lets unapproved projects
through, all that is judged per item by the rules.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TypeVar

from canonical.billing import ApprovalState
from canonical.delivered import (
    ApprovalBasis,
    DeliveredExpense,
    DeliveredMilestone,
    DeliveredProject,
    DeliveredTime,
)
from canonical.money import AmountRole, exponent
from canonical.refs import RecordRef
from connectors.kantata.client import Envelope, Row
from connectors.kantata.events import aware
from connectors.kantata.mapping import our_reference, to_money
from connectors.kantata.schemas import Entry, Expense, Line, Story, Submission, Workspace, parse
from connectors.kantata.settings import AcceptanceFields, KantataMapping

Told = TypeVar("Told", DeliveredTime, DeliveredExpense)

MARK_EXPORTED = "mark_exported"
"""``service_model`` of our mark on what the ERP has taken."""

APPROVALS = {
    "new": ApprovalState.SUBMITTED,
    "approved": ApprovalState.APPROVED,
    "rejected": ApprovalState.REJECTED,
    "cancelled": ApprovalState.DRAFT,
}
"""A submission's status; Kantata keeps approval there and not on the line."""
COMPLETE = 100
"""``percentage_complete`` of a finished milestone, where it names no state."""


def approval_of(
    line: Line, submission: Submission | None, flag: bool
) -> tuple[ApprovalState, ApprovalBasis | None]:
    """Approval by the most recent submission (rule 27). ``flag`` is Kantata's own opinion, which also holds
    for lines of projects that ask for no approval: it counts unless somebody has rejected the line.
    """
    state = APPROVALS.get(submission.status, ApprovalState.SUBMITTED) if submission else ApprovalState.DRAFT
    if state is ApprovalState.APPROVED:
        return state, ApprovalBasis.SUBMISSION
    if flag and state is not ApprovalState.REJECTED:
        return ApprovalState.APPROVED, ApprovalBasis.NOT_REQUIRED
    return state, None


def _submission(line: Line, envelope: Envelope, kind: str, system: str) -> Submission | None:
    side = envelope.side(kind, line.recent_submission_id or line.active_submission_id)
    return None if side is None else parse(Submission, side, system)


def _common(
    line: Line,
    row: Row,
    envelope: Envelope,
    mapping: KantataMapping,
    system: str,
    kind: str,
    submission: Submission | None,
    flag: bool,
) -> dict[str, object]:
    """What time and expenses have in common."""
    approval, basis = approval_of(line, submission, flag)
    # An approval or rejection is a revision of its own: it need not touch the line.
    state = f"{submission.id}.{submission.status}" if submission else ("open" if flag else "none")
    mark = our_reference(row, envelope, mapping.service_name)
    user = envelope.side("users", line.user_id) or {}
    by_submission = basis is ApprovalBasis.SUBMISSION
    return {
        "ref": RecordRef(system=system, type=kind, id=line.id),
        "revision": f"{aware(line.updated_at).isoformat()}/{state}",
        "changed_at": aware(line.updated_at),
        "project": RecordRef(system=system, type="workspaces", id=line.workspace_id or ""),
        "worker": RecordRef(system=system, type="users", id=line.user_id or ""),
        "worker_email": user.get("email_address"),
        "approval": approval,
        "approval_basis": basis,
        "approved_at": aware(submission.resolved_at) if submission and by_submission else None,
        "submission": None if submission is None else submission.id,
        "invoiced": line.is_invoiced,
        "exported_to": mark.service_model_ref if mark and mark.service_model == MARK_EXPORTED else None,
        "note": line.notes,
    }


def _with_revision(line: Told) -> Told:
    """Times of change are whole seconds: what matters of a line tells its versions of one second apart."""
    return line.model_copy(update={"revision": f"{line.revision}/{line.substance[:8]}"})


def to_time(row: Row, envelope: Envelope, mapping: KantataMapping, system: str) -> DeliveredTime:
    """A time entry. ``row`` came with the includes of ``feeds.ENTRY_INCLUDES``."""
    entry = parse(Entry, row, system)
    submission = _submission(entry, envelope, "timesheet_submissions", system)
    role = envelope.side("roles", entry.role_id)
    time = DeliveredTime.model_validate(
        {
            **_common(entry, row, envelope, mapping, system, "time_entries", submission, entry.approved),
            "billable": entry.billable,
            "work_date": entry.date_performed,
            "minutes": entry.time_in_minutes,
            "role": None if role is None else mapping.role_word(str(role.get("name", ""))),
            "task": entry.story_id,
            "rate": hourly_rate(entry),
            "rate_currency": entry.currency,
        }
    )
    return _with_revision(time)


def to_expense(
    row: Row, envelope: Envelope, approved: bool, mapping: KantataMapping, system: str
) -> DeliveredExpense:
    """An expense as incurred. ``approved`` says whether Kantata lists it among the approved ones: expenses
    carry no such attribute.
    """
    expense = parse(Expense, row, system)
    submission = _submission(expense, envelope, "expense_report_submissions", system)
    unit = expense.currency_base_unit or 10 ** exponent(expense.currency)
    amount = to_money(expense.amount_in_cents, unit, expense.currency)
    incurred = DeliveredExpense.model_validate(
        {
            **_common(expense, row, envelope, mapping, system, "expenses", submission, approved),
            "billable": expense.is_billable,
            "incurred_on": expense.incurred_on,
            "amount": amount.model_copy(update={"role": AmountRole.TRANSACTION}),
            "category": expense.category,
            "reimbursable": expense.reimbursable,
        }
    )
    return _with_revision(incurred)


def hourly_rate(entry: Entry) -> Decimal | None:
    """Kantata's own bill rate per hour in units of its currency: for comparison, unless delivery is the
    contract's pricing authority (rule 7).
    """
    if entry.rate_in_cents is None or entry.currency is None:
        return None
    unit = entry.currency_base_unit or 10 ** exponent(entry.currency)
    return Decimal(entry.rate_in_cents) / unit


def to_milestone(row: Row, envelope: Envelope, mapping: KantataMapping, system: str) -> DeliveredMilestone:
    """A milestone. Kantata knows no acceptance: it stands in custom fields, where the account has some."""
    story = parse(Story, row, system)
    fields = mapping.acceptance or AcceptanceFields()
    values = {
        str(value.get("custom_field_id")): value.get("value")
        for value in envelope.included(row, "custom_field_values", "custom_field_value_ids")
    }

    def told(field: int | None) -> str | None:
        value = None if field is None else values.get(str(field))
        return None if value in (None, "") else str(value)

    accepted = told(fields.date)
    project = envelope.side("workspaces", story.workspace_id) or {}
    currency, unit = project.get("currency"), project.get("currency_base_unit")
    cents = story.budget_estimate_in_cents
    priced = cents is not None and currency is not None and unit
    done = story.state is not None and story.state.casefold() in mapping.complete_states
    return DeliveredMilestone(
        ref=RecordRef(system=system, type="stories", id=story.id),
        project=RecordRef(system=system, type="workspaces", id=story.workspace_id or ""),
        title=story.title,
        due=story.due_date,
        complete=done or (story.state is None and story.percentage_complete == COMPLETE),
        accepted_on=None if accepted is None else date.fromisoformat(accepted[:10]),
        accepted_by=told(fields.by),
        acceptance_document=told(fields.document),
        amount=to_money(int(cents or 0), int(unit or 1), str(currency)) if priced else None,
        archived=story.archived,
        changed_at=None if story.changed_at is None else aware(story.changed_at),
    )


def to_project(row: Row, envelope: Envelope, mapping: KantataMapping, system: str) -> DeliveredProject:
    """A project's facts; its custom field values carry the ids of their fields."""
    project = parse(Workspace, row, system)
    values = envelope.included(row, "custom_field_values", "custom_field_value_ids")
    code = next(
        (v.get("value") for v in values if str(v.get("custom_field_id")) == str(mapping.project_code_field)),
        None,
    )
    return DeliveredProject(
        ref=RecordRef(system=system, type="workspaces", id=project.id),
        title=project.title,
        code=str(code) if code not in (None, "") else None,
        currency=project.currency,
        archived=project.archived,
        time_approval_required=project.require_time_approvals,
        expense_approval_required=project.require_expense_approvals,
        percent_complete=None
        if project.percentage_complete is None
        else Decimal(project.percentage_complete),
        changed_at=None if project.changed_at is None else aware(project.changed_at),
    )
