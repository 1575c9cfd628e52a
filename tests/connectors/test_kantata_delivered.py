"""Kantata's time, expenses, milestones and projects in canonical words, from answers as it gives them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from canonical.billing import ApprovalState
from canonical.delivered import ApprovalBasis, DeliveredTime
from canonical.money import AmountRole
from connectors.kantata.client import Envelope
from connectors.kantata.events import Cursor, Window, advance, mark, unsettled
from connectors.kantata.settings import AcceptanceFields
from connectors.kantata.time_mapping import to_expense, to_milestone, to_project, to_time
from tests.acceptance.kantata import CODE_FIELD, SYSTEM, Subject

MAPPING = Subject.mapping(acceptance=AcceptanceFields(date=21, by=22, document=23))
ANSWER: dict[str, Any] = {
    "count": 1,
    "results": [{"key": "time_entries", "id": "1"}],
    "time_entries": {
        "1": {
            "id": "1",
            "created_at": "2026-01-31T17:30:00-08:00",
            "updated_at": "2026-02-01T23:30:00-08:00",
            "date_performed": "2026-01-31",
            "story_id": "40",
            "time_in_minutes": 20,
            "billable": True,
            "notes": "Workshop",
            "rate_in_cents": 21050,
            "cost_rate_in_cents": None,
            "currency": "EUR",
            "currency_symbol": "€",
            "currency_base_unit": 100,
            "approved": True,
            "taxable": False,
            "is_invoiced": False,
            "user_id": "77",
            "workspace_id": "901",
            "role_id": "5",
            "active_submission_id": "3",
            "recent_submission_id": "3",
            "external_reference_ids": ["60"],
        }
    },
    "users": {"77": {"id": "77", "full_name": "Ann Lee", "email_address": "ann@firm.test"}},
    "roles": {"5": {"id": "5", "name": "Solution Architect"}},
    "timesheet_submissions": {
        "3": {
            "id": "3",
            "status": "approved",
            "updated_at": "2026-02-02T01:00:00Z",
            "current_resolution_created_at_date": "2026-02-02T00:59:00Z",
        }
    },
    "external_references": {
        "60": {
            "id": "60",
            "service_name": "trueup",
            "service_model": "mark_exported",
            "service_model_ref": "timeBill 88",
            "status": "successful",
        }
    },
    "meta": {"count": 1, "page_count": 1, "page_number": 1, "page_size": 20},
}


def time(**changes: Any) -> DeliveredTime:
    """The answer's entry with other attributes; ``status`` is its submission's, None without one."""
    status = changes.pop("status", "approved")
    row = {**ANSWER["time_entries"]["1"], **changes}
    if status is None:
        row["recent_submission_id"] = row["active_submission_id"] = None
    sheet = {**ANSWER["timesheet_submissions"]["3"], "status": status}
    sides = {**ANSWER, "timesheet_submissions": {"3": sheet}, "time_entries": {"1": row}}
    envelope = Envelope.read(sides, "time_entries")
    return to_time(envelope.rows[0], envelope, MAPPING, SYSTEM)


def test_an_entry_is_told_as_it_is_and_its_day_never_shifts() -> None:
    entry = time()
    assert (entry.work_date, entry.minutes, entry.role) == (date(2026, 1, 31), 20, "architect")
    assert (str(entry.ref), entry.project.id) == (f"{SYSTEM}/time_entries/1", "901")
    assert (entry.worker.id, entry.worker_email, entry.task) == ("77", "ann@firm.test", "40")
    assert (entry.rate, entry.rate_currency) == (Decimal("210.5"), "EUR")
    assert entry.approved_at == datetime(2026, 2, 2, 0, 59, tzinfo=UTC)
    assert entry.revision == f"2026-02-02T07:30:00+00:00/3.approved/{entry.substance[:8]}"
    assert (entry.submission, entry.exported_to, entry.note) == ("3", "timeBill 88", "Workshop")


@pytest.mark.parametrize(
    ("status", "flag", "approval", "basis"),
    [
        ("approved", True, ApprovalState.APPROVED, ApprovalBasis.SUBMISSION),
        ("approved", False, ApprovalState.APPROVED, ApprovalBasis.SUBMISSION),
        ("new", False, ApprovalState.SUBMITTED, None),
        ("rejected", False, ApprovalState.REJECTED, None),
        ("cancelled", False, ApprovalState.DRAFT, None),
        (None, False, ApprovalState.DRAFT, None),
        # Kantata calls everything approved in a project that asks for no approval; a rejection stands.
        (None, True, ApprovalState.APPROVED, ApprovalBasis.NOT_REQUIRED),
        ("new", True, ApprovalState.APPROVED, ApprovalBasis.NOT_REQUIRED),
        ("rejected", True, ApprovalState.REJECTED, None),
    ],
)
def test_approval_is_the_submission_s_else_what_the_project_asks_for(
    status: str | None, flag: bool, approval: ApprovalState, basis: ApprovalBasis | None
) -> None:
    entry = time(status=status, approved=flag)
    assert (entry.approval, entry.approval_basis) == (approval, basis)
    assert (entry.approved_at is not None) == (basis is ApprovalBasis.SUBMISSION)


def test_every_change_is_a_revision_and_only_some_change_the_substance() -> None:
    first = time()
    for same in (time(notes="corrected", updated_at="2026-02-03T00:00:00Z"), time(status="rejected")):
        assert same.revision != first.revision
        assert same.substance == first.substance
    for change in (
        {"time_in_minutes": 21},
        {"date_performed": "2026-02-01"},
        {"billable": False},
        {"role_id": None},
        {"story_id": "41"},
        {"workspace_id": "902"},
        {"user_id": "78"},
    ):
        changed = time(**change)
        assert changed.substance != first.substance
        assert changed.revision != first.revision, "also within the second of the change before"


def test_a_mark_of_somebody_else_is_not_ours() -> None:
    theirs = {**ANSWER["external_references"]["60"], "service_model": "open_project"}
    envelope = Envelope.read({**ANSWER, "external_references": {"60": theirs}}, "time_entries")
    assert to_time(envelope.rows[0], envelope, MAPPING, SYSTEM).exported_to is None


@pytest.mark.parametrize(
    ("currency", "unit", "cents", "rate"), [("JPY", 1, 9800, "9800"), ("KWD", None, 15500, "15.5")]
)
def test_rates_in_the_currency_s_own_unit(currency: str, unit: int | None, cents: int, rate: str) -> None:
    entry = time(currency=currency, currency_base_unit=unit, rate_in_cents=cents)
    assert entry.rate == Decimal(rate)
    assert time(rate_in_cents=None).rate is None


@pytest.mark.parametrize(
    ("currency", "unit", "cents", "amount"), [("JPY", 1, 980, "980"), ("KWD", None, 1500, "1.5")]
)
def test_expenses_in_their_own_currency(currency: str, unit: int | None, cents: int, amount: str) -> None:
    row = {
        "id": "4",
        "date": "2026-01-05",
        "category": "Travel",
        "amount_in_cents": cents,
        "currency": currency,
        "currency_base_unit": unit,
        "is_billable": True,
        "reimbursable": True,
        "user_id": "77",
        "workspace_id": "901",
        "updated_at": "2026-01-06T00:00:00Z",
    }
    expense = to_expense(row, Envelope([row], {}), True, MAPPING, SYSTEM)
    assert (expense.amount.amount, expense.incurred_on) == (Decimal(amount), date(2026, 1, 5))
    assert (expense.amount.role, expense.approval_basis) == (
        AmountRole.TRANSACTION,
        ApprovalBasis.NOT_REQUIRED,
    )
    open_ = to_expense(row, Envelope([row], {}), False, MAPPING, SYSTEM)
    assert (open_.approval, open_.substance) == (ApprovalState.DRAFT, expense.substance)
    assert open_.revision != expense.revision


def milestone(values: dict[int, Any], **changes: Any) -> Any:
    row = {
        "id": "40",
        "title": "Go live",
        "story_type": "milestone",
        "due_date": "2026-06-30",
        "state": "started",
        "budget_estimate_in_cents": 123450,
        "updated_at": "2026-02-01T00:00:00Z",
        "workspace_id": "901",
        "custom_field_value_ids": [str(n) for n in values],
        **changes,
    }
    sides = {
        "workspaces": {"901": {"id": "901", "currency": "EUR", "currency_base_unit": 100}},
        "custom_field_values": {
            str(n): {"id": str(n), "custom_field_id": str(n), "value": value} for n, value in values.items()
        },
    }
    return to_milestone(row, Envelope([row], sides), MAPPING, SYSTEM)


def test_a_milestone_is_complete_by_its_state_and_accepted_by_the_account_s_own_fields() -> None:
    open_ = milestone({})
    assert (open_.complete, open_.accepted_on, str(open_.amount)) == (False, None, "EUR 1,234.50")
    assert milestone({}, state="Completed").complete
    assert milestone({}, state=None, percentage_complete=100).complete
    assert not milestone({}, state="started", percentage_complete=100).complete
    done = milestone({21: "2026-07-01", 22: "J. Doe", 23: "ACC-7"}, state="completed")
    assert (done.accepted_on, done.accepted_by, done.acceptance_document) == (
        date(2026, 7, 1),
        "J. Doe",
        "ACC-7",
    )
    assert milestone({21: ""}).accepted_on is None


def test_a_project_tells_its_code_and_what_it_asks_for() -> None:
    row = {
        "id": "901",
        "title": "ACME",
        "archived": True,
        "currency": "EUR",
        "require_time_approvals": True,
        "updated_at": "2026-02-01T00:00:00Z",
        "custom_field_value_ids": ["7"],
    }
    values = {"7": {"id": "7", "custom_field_id": str(CODE_FIELD), "value": "PRJ-1"}}
    project = to_project(row, Envelope([row], {"custom_field_values": values}), MAPPING, SYSTEM)
    assert (project.code, project.archived) == ("PRJ-1", True)
    assert (project.time_approval_required, project.expense_approval_required) == (True, False)
    bare = to_project({**row, "custom_field_value_ids": []}, Envelope(), MAPPING, SYSTEM)
    assert bare.code is None


# --- cursors ------------------------------------------------------------------------------------------

T0 = datetime(2026, 1, 5, 12, tzinfo=UTC)
OVERLAP = timedelta(minutes=10)


def test_a_finished_poll_moves_on_even_when_nothing_new_came() -> None:
    """Else a burst of changes would be read again by every later poll until the next change comes."""
    fresh, after = advance(Cursor(), [("1", T0)], OVERLAP, polled_at=T0 + timedelta(hours=1))
    assert fresh == ["1"]
    assert after.start(OVERLAP) == T0 + timedelta(minutes=50)
    assert after.seen == frozenset()
    # A clock of theirs that is ahead of ours is never overtaken.
    _, ahead = advance(Cursor(), [("1", T0)], OVERLAP, polled_at=T0 - timedelta(hours=1))
    assert ahead.start(OVERLAP) == T0 - OVERLAP


def test_what_may_change_within_its_second_is_told_again() -> None:
    """Times are whole seconds: a sheet approved, read and rejected within one second has one version."""
    rows = [("1", T0), ("2", T0 + timedelta(seconds=1)), ("3", T0 + timedelta(seconds=1))]
    again = unsettled(rows, T0 - OVERLAP)
    assert again == {mark("2", rows[1][1]), mark("3", rows[2][1])}
    _, after = advance(Cursor(), rows, OVERLAP, polled_at=T0, again=again)
    fresh, _ = advance(after, rows, OVERLAP, polled_at=T0)
    assert fresh == ["2", "3"], "the first can have no other version"
    window = Window.decode(None, None, T0).read(rows, 4, OVERLAP)
    assert window.seen == {mark("1", T0)}
    # Once the overlap has passed, no clock can call it the present.
    assert unsettled(rows, T0 + timedelta(minutes=1)) == frozenset()
    assert unsettled([], T0) == frozenset()


def test_a_window_survives_interruption_and_never_skips_what_changed_meanwhile() -> None:
    window = Window.decode(None, None, T0)
    rows = [(str(n), T0 + timedelta(seconds=n)) for n in range(3)]
    window = window.read(rows, 3, OVERLAP)
    assert (window.offset, window.last, window.done) == (3, "2", False)
    window = Window.decode(window.encode(), None, T0 + timedelta(hours=1))
    assert window.began == T0, "the reading that was interrupted goes on"
    more = [("2", rows[2][1], "2"), ("3", T0, "3")]
    assert window.fresh(more) == ["3"]
    window = window.read([(one, at) for one, at, _ in more], 3, OVERLAP)
    assert window.done
    closed = window.close(OVERLAP)
    assert closed.since == T0 - OVERLAP
    later = Window.decode(closed.encode(), None, T0 + timedelta(hours=1))
    assert (later.since, later.offset, later.last) == (T0 - OVERLAP, 0, None)
    assert later.fresh([("3", T0, "3"), ("3", T0 + timedelta(hours=1), "3'")]) == ["3'"]
    assert mark("3", T0) in later.seen
    shifted = window.again()
    assert (shifted.offset, shifted.last, shifted.began) == (0, None, T0)
