"""Kantata: pure parts. Wire bodies, templates, structure, errors, cursors, authority of every plan."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from canonical.authority import Phase, may_write
from canonical.billing import ApprovalState
from canonical.causes import Cause
from canonical.delivery import DeliveryTemplate, RolePlaceholder
from canonical.failures import (
    Conflict,
    Defect,
    OutcomeUnknown,
    RateLimited,
    Refused,
    SystemFailure,
    Transient,
    Unauthorised,
)
from canonical.money import Money
from canonical.refs import Dimensions, SystemRole
from canonical.writes import VendorWrite, resolve_write, show
from connectors.kantata import billing_plans, plans, updates
from connectors.kantata.client import Envelope
from connectors.kantata.errors import error_table, read_errors
from connectors.kantata.events import Cursor, advance, events_were_lost, to_deletions
from connectors.kantata.mapping import (
    base_unit,
    carries,
    same,
    slug,
    to_money,
    to_structure,
    to_template,
    to_wire,
)
from connectors.kantata.schemas import Event, Resource, Story, Template, parse
from connectors.kantata.settings import KantataMapping, KantataSettings, StatusKeys
from connectors.kantata.time_mapping import ProjectFacts, WorkerFacts, to_expense, to_time_entry
from connectors.kit.http import encode
from connectors.kit.secrets import Secret
from tests.acceptance.kantata import TREE, Subject

MAPPING = Subject.mapping()
SETTINGS = KantataSettings(token=Secret(env="KANTATA_TEST_TOKEN"), mapping=MAPPING)
SETUP = Subject.setup(Subject.__new__(Subject))
CONTEXT = Subject.context(Subject.__new__(Subject))
AFTER = CONTEXT.model_copy(update={"phase": Phase.AFTER_APPROVAL})
SYSTEM = "kantata-main"
T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


# --- envelope and wire -------------------------------------------------------------------------------


def test_only_results_say_what_was_asked_for() -> None:
    body = {
        "count": 1,
        "results": [{"key": "stories", "id": "2"}],
        "stories": {"1": {"id": "1", "title": "parent"}, "2": {"id": "2", "title": "asked"}},
        "meta": {"count": 1, "page_count": 1},
    }
    envelope = Envelope.read(body, "stories")
    assert [row["title"] for row in envelope.rows] == ["asked"]
    assert (envelope.side("stories", "1") or {})["title"] == "parent"


@pytest.mark.parametrize("body", [None, [], {}, {"results": [{"key": "stories", "id": "2"}], "stories": {}}])
def test_what_is_not_an_envelope_is_refused(body: Any) -> None:
    with pytest.raises(ValueError, match=r"no results|named but not"):
        Envelope.read(body, "stories")


def test_ids_travel_as_integers_and_amounts_as_exact_numbers() -> None:
    body = {
        "workspace": {
            "workspace_group_ids": ["12"],
            "primary_workspace_group_id": "12",
            "price": "1234.50",
            "status_key": "305",
            "title": "2026",
            "custom_fields": [{"custom_field_id": 9, "value": "0042"}],
            "external_reference": {"service_model_ref": "7", "service_name": "x"},
        }
    }
    sent = json.loads(encode(to_wire(body)), parse_float=Decimal)["workspace"]
    assert sent["workspace_group_ids"] == [12]
    assert sent["primary_workspace_group_id"] == 12
    assert sent["price"] == Decimal("1234.50")
    assert sent["status_key"] == 305
    assert sent["title"] == "2026"
    assert sent["custom_fields"] == [{"custom_field_id": 9, "value": "0042"}]
    assert sent["external_reference"]["service_model_ref"] == "7"
    assert encode(to_wire({"price": "120000.00"})) == b'{"price":120000}'


@pytest.mark.parametrize(
    ("ours", "theirs", "equal"),
    [
        ("150", Decimal("150.00"), True),
        ("310", 310, True),
        (True, True, True),
        (True, None, False),
        (None, None, True),
        ("0042", "42", False),
        ("a", "A", False),
    ],
)
def test_values_compare_by_meaning(ours: Any, theirs: Any, equal: bool) -> None:
    assert same(ours, theirs) is equal


@pytest.mark.parametrize(
    ("cents", "unit", "currency", "amount"),
    [(123450, 100, "EUR", "1234.5"), (5000, 1, "JPY", "5000"), (1234567, 1000, "KWD", "1234.567")],
)
def test_money_goes_by_the_currencys_base_unit(cents: int, unit: int, currency: str, amount: str) -> None:
    assert to_money(cents, unit, currency).amount == Decimal(amount)
    assert base_unit(currency) == str(unit)


def test_money_finer_than_the_currency_is_a_defect_not_a_rounding() -> None:
    with pytest.raises(Defect, match="not representable"):
        to_money(505, 100, "JPY")


def test_a_reference_must_be_ours_whatever_the_filter_returned() -> None:
    reference = {
        "id": "1",
        "service_name": "trueup",
        "service_model": "open_project",
        "service_model_ref": "s",
    }
    row = {"id": "9", "external_reference_ids": ["1"]}
    envelope = Envelope([row], {"external_references": {"1": reference}})
    assert carries(row, envelope, "trueup", "open_project", "s")
    assert not carries(row, envelope, "trueup", "open_project", "other")
    assert not carries({"id": "8"}, envelope, "trueup", "open_project", "s")


# --- templates and structure -------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [TREE, json.dumps(TREE), TREE["stories"]])
def test_a_template_is_counted_from_its_tree_and_its_positions(raw: Any) -> None:
    names = {"1": "Solution Architect", "2": "Consultant 1", "3": "Consultant #2", "4": "QA seat"}
    row = {
        "id": "300",
        "title": "Implementation",
        "raw_json": raw,
        "project_template_assignment_ids": list(names),
    }
    sides = {"project_template_assignments": {i: {"id": i, "name": name} for i, name in names.items()}}
    mapping = Subject.mapping(seat_roles={"QA seat": "tester"})
    template = to_template(row, Envelope([row], sides), mapping, SYSTEM)
    assert (template.tasks, template.milestones, template.placeholders) == (2, 2, 4)
    assert template.roles == {"Consultant": 2, "architect": 1, "tester": 1}


def test_structure_names_unnamed_positions_oldest_first_and_its_fingerprint_follows_additions() -> None:
    stories = [Story(id="1", title="a", story_type="task"), Story(id="2", title="b", story_type="milestone")]
    resources = [
        Resource(id="12", role_id="6"),
        Resource(id="9", role_id="6"),
        Resource(id="10", role_id="5"),
        Resource(id="11", role_id="6", user_id="77"),
    ]
    titles = {"5": "Solution Architect", "6": "Consultant"}
    structure = to_structure(stories, resources, titles, MAPPING)
    assert (structure.tasks, structure.milestones, structure.placeholders) == (1, 1, 3)
    assert structure.unnamed == {"Consultant": ("9", "12"), "architect": ("10",)}
    fewer = to_structure(stories[:1], resources, titles, MAPPING)
    assert fewer.fingerprint != structure.fingerprint
    assert to_structure(stories[::-1], resources[::-1], titles, MAPPING).fingerprint == structure.fingerprint


def test_roles_are_told_in_hr_s_spelling() -> None:
    assert MAPPING.role_word("SOLUTION ARCHITECT") == "architect"
    assert MAPPING.role_word("Consultant", ["consultant"]) == "consultant"
    assert MAPPING.seat_role("Consultant (2)", ["consultant"]) == "consultant"
    resources = [Resource(id="1", role_id="6"), Resource(id="2", label="Consultant 2")]
    structure = to_structure([], resources, {"6": "Consultant"}, MAPPING, {"consultant": "6"})
    assert structure.unnamed == {"consultant": ("1", "2")}


def test_slugs_keep_scripts_and_keep_different_roles_apart() -> None:
    assert slug("Solution Architect") == "solution-architect"
    assert slug("コンサルタント") == "コンサルタント"
    assert len({slug("C"), slug("C++"), slug("C#"), slug("c ")}) == 3
    assert "." not in slug("Sr. Consultant")


def test_an_answer_against_the_reference_is_a_defect_that_names_the_field() -> None:
    with pytest.raises(Defect, match="title"):
        parse(Template, {"id": "1"}, SYSTEM)


# --- settings ----------------------------------------------------------------------------------------


def test_settings_refuse_an_activation_that_changes_nothing() -> None:
    with pytest.raises(ValidationError, match="activation would change nothing"):
        KantataMapping(project_code_field=9)
    with pytest.raises(ValidationError, match="must differ"):
        KantataMapping(project_code_field=9, status_keys=StatusKeys(prepared="1", active="1"))
    with pytest.raises(ValidationError, match="one to one"):
        Subject.mapping(role_titles={"a": "Lead", "b": "lead"})
    assert KantataMapping(project_code_field=9, create_stage="estimate", active_stage="project")


def test_the_digest_follows_the_mapping_only() -> None:
    digest = SETTINGS.mapping_digest()
    assert SETTINGS.model_copy(update={"concurrency": 4}).mapping_digest() == digest
    ordered = [Subject.mapping(role_titles=titles) for titles in ({"a": "A", "b": "B"}, {"b": "B", "a": "A"})]
    digests = {SETTINGS.model_copy(update={"mapping": one}).mapping_digest() for one in ordered}
    assert len(digests) == 1
    other = SETTINGS.model_copy(update={"mapping": Subject.mapping(project_code_field=8)})
    assert other.mapping_digest() != digest


def test_titles_with_codes_leave_room_for_them() -> None:
    mapping = Subject.mapping(title_with_code=True)
    assert mapping.limits_in_force()["project.title"] == 255 - 32
    settings = SETTINGS.model_copy(update={"mapping": mapping})
    write = plans.plan_project(SYSTEM, settings, CONTEXT, SETUP)[1]
    assert show(write.body)["workspace"]["title"].startswith(f"@{SETUP.code_symbol}.code - ")
    resolved = resolve_write(write, {f"{SETUP.code_symbol}.code": "P1", "group:001XX.id": "3"})
    assert resolved.body["workspace"]["title"] == resolved.expect["title"] == "P1 - Größe 東京 🚀 rollout"


# --- plans -------------------------------------------------------------------------------------------


def later_writes() -> list[VendorWrite]:
    money = Money(amount=Decimal("100"), currency="EUR")
    lines = [billing_plans.ExportedLine(subject_type="TimeEntry", subject_id="1", document="INV-1")]
    invoice = billing_plans.InvoiceCopy(
        key="INV-1",
        number="INV-1",
        project="901",
        time_entry_ids=("1",),
        issued_on=date(2026, 2, 1),
        payment_days=30,
        purchase_order="PO1",
        project_code="P1",
    )
    payment = billing_plans.FullPayment(key="INV-1", project="901", invoice="7", receipt="R 88")
    revenue = billing_plans.Recognition(
        key="2026-01",
        project="901",
        first=date(2026, 1, 1),
        last=date(2026, 1, 31),
        amount=money,
        to_date=money,
    )
    return [
        *billing_plans.plan_exported(SYSTEM, SETTINGS, AFTER, lines),
        billing_plans.plan_invoice(SYSTEM, SETTINGS, AFTER, invoice),
        billing_plans.plan_payment(SYSTEM, SETTINGS, AFTER, payment),
        billing_plans.plan_revenue(SYSTEM, SETTINGS, AFTER, revenue),
    ]


def all_writes() -> list[VendorWrite]:
    several = SETTINGS.model_copy(
        update={"mapping": Subject.mapping(approver_ids=(1, 2), active_stage="project")}
    )
    single = SETTINGS.model_copy(update={"mapping": Subject.mapping(approver_ids=(1,))})
    return [
        *plans.plan_project(SYSTEM, several, CONTEXT, SETUP),
        *plans.plan_project(SYSTEM, single, CONTEXT, SETUP),
        *plans.plan_structure(SYSTEM, SETTINGS, CONTEXT, SETUP),
        *updates.plan_activation(SYSTEM, several, AFTER, SETUP),
        *later_writes(),
    ]


@pytest.mark.parametrize("write", all_writes(), ids=lambda write: write.operation)
def test_every_body_field_is_one_that_delivery_may_be_told(write: VendorWrite) -> None:
    assert write.body_root is not None
    assert set(write.body) == {write.body_root}
    assert set(write.sets) == set(write.body[write.body_root])
    for canonical in write.sets.values():
        object_, _, field = canonical.partition(".")
        assert may_write(object_, field, write.phase, SystemRole.PSA), f"{canonical} in {write.phase}"


def test_plans_are_the_same_every_time_and_survive_json() -> None:
    first, second = all_writes(), all_writes()
    assert first == second
    assert [VendorWrite.model_validate_json(write.model_dump_json()) for write in first] == first


def test_the_template_s_positions_get_rates_and_only_the_missing_ones_are_made() -> None:
    writes = plans.plan_structure(SYSTEM, SETTINGS, CONTEXT, SETUP)
    delivery = "delivery:006XX0001.DE01.EUR.emea.IMPL"
    assert [(write.operation, show(write.target)) for write in writes] == [
        ("add_milestone", None),
        ("set_rate", f"@{delivery}.placeholder.architect.1"),
        ("set_rate", f"@{delivery}.placeholder.consultant.1"),
        ("add_placeholder", None),
        ("set_rate", "@position:006XX0001.DE01.EUR.emea.IMPL.consultant.2.id"),
    ]
    assert writes[3].symbol == "position:006XX0001.DE01.EUR.emea.IMPL.consultant.2"
    assert [write.body["workspace_resource"].get("bill_rate") for write in writes[1:]] == [
        "21050", "15000", None, "15000",
    ]  # fmt: skip
    assert len({write.key for write in writes}) == len(writes)


@pytest.mark.parametrize(
    ("currency", "amount", "cents", "rate"),
    [("JPY", "5000000", 5000000, "15000"), ("KWD", "1234.567", 1234567, "15000000")],
)
def test_other_minor_units(currency: str, amount: str, cents: int, rate: str) -> None:
    people = (RolePlaceholder(key="c", role="Consultant", bill_rate=Decimal("15000")),)
    setup = Subject.setup(Subject.__new__(Subject), currency=currency, amount=amount, placeholders=people)
    milestone, bill = plans.plan_structure(SYSTEM, SETTINGS, CONTEXT, setup)
    assert milestone.body["story"]["budget_estimate_in_cents"] == cents
    assert bill.body["workspace_resource"]["bill_rate"] == rate
    project = plans.plan_project(SYSTEM, SETTINGS, CONTEXT, setup)[1]
    assert project.body["workspace"]["price"] == project.expect["price"] == amount


def test_a_rate_finer_than_kantata_s_is_refused_and_never_rounded() -> None:
    people = (RolePlaceholder(key="c", role="Consultant", bill_rate=Decimal("150.005")),)
    setup = Subject.setup(Subject.__new__(Subject), placeholders=people)
    with pytest.raises(Refused, match=r"150\.005 EUR") as refusal:
        plans.plan_structure(SYSTEM, SETTINGS, CONTEXT, setup)
    assert refusal.value.failure.cause is Cause.PRICE_DIFFERS
    units = SETTINGS.model_copy(update={"mapping": Subject.mapping(bill_rate_unit="units")})
    assert plans.plan_structure(SYSTEM, units, CONTEXT, setup)[1].expect == {"bill_rate": "150.005"}


def test_a_plan_without_the_role_s_id_or_with_mixed_currencies_is_our_defect() -> None:
    bare = SETUP.model_copy(update={"role_ids": {}, "template": DeliveryTemplate(id="300", title="I")})
    with pytest.raises(Defect, match="architect"):
        plans.plan_structure(SYSTEM, SETTINGS, CONTEXT, bare)
    project = SETUP.project.model_copy(update={"currency": "USD"})
    with pytest.raises(Defect, match="budget in EUR"):
        plans.plan_project(SYSTEM, SETTINGS, CONTEXT, SETUP.model_copy(update={"project": project}))
    with pytest.raises(Defect, match="not the project's currency"):
        plans.plan_structure(SYSTEM, SETTINGS, CONTEXT, SETUP.model_copy(update={"project": project}))


def test_keys_are_business_identity_and_the_group_is_shared() -> None:
    group, project = plans.plan_project(SYSTEM, SETTINGS, CONTEXT, SETUP)
    assert group.key == f"{SYSTEM}|ensure_group|001XX|g1|1"
    assert group.shared == f"{SYSTEM}|ensure_group|001XX"
    other = CONTEXT.model_copy(update={"saga_id": "o2p:emea:sf-main:other", "generation": 7})
    again, next_project = plans.plan_project(SYSTEM, SETTINGS, other, SETUP)
    assert again.key == group.key
    assert next_project.key != project.key
    assert project.body["workspace"]["external_reference"]["service_model_ref"] == project.stamp


def test_an_invoice_without_lines_and_an_overlong_receipt_are_refused() -> None:
    bare = billing_plans.InvoiceCopy(
        key="k", number="N", project="1", issued_on=date(2026, 1, 1), payment_days=1
    )
    with pytest.raises(ValueError, match="no lines"):
        billing_plans.plan_invoice(SYSTEM, SETTINGS, AFTER, bare)
    payment = billing_plans.FullPayment(key="k", project="1", invoice="2", receipt="x" * 250)
    with pytest.raises(ValueError, match="255"):
        billing_plans.plan_payment(SYSTEM, SETTINGS, AFTER, payment)
    assert later_writes()[2].forward_only


# --- errors ------------------------------------------------------------------------------------------


def failure(status: int, *errors: dict[str, str], write: bool = True) -> SystemFailure:
    response = httpx.Response(status, json={"errors": list(errors)}, headers={"x-request-id": "req-1"})
    return error_table(20).failure(read_errors(response), system=SYSTEM, write=write, what="Test")


@pytest.mark.parametrize(
    ("status", "error", "kind", "cause"),
    [
        (401, {"type": "oauth", "message": "Invalid"}, Unauthorised, Cause.CREDENTIALS_REJECTED),
        (403, {"type": "system", "message": "no"}, Refused, Cause.CREDENTIALS_REJECTED),
        (422, {"type": "validation", "field": "title", "message": "Title is too long"}, Refused,
         Cause.NAME_TOO_LONG),
        (422, {"type": "validation", "field": "name", "message": "has already been taken"}, Conflict,
         Cause.VERSION_CONFLICT),
        (422, {"type": "validation", "field": "project_tracker_template_id", "message": "unknown"}, Refused,
         Cause.TEMPLATE_MISSING),
        (422, {"type": "validation", "field": "role_id", "message": "unknown"}, Refused,
         Cause.ROLE_UNKNOWN_IN_DELIVERY),
        (422, {"type": "validation", "field": "currency", "message": "no"}, Refused, Cause.CURRENCY_NOT_SOLD),
        (422, {"type": "validation", "field": "status_key", "message": "no"}, Refused, Cause.CONFIGURATION),
        (422, {"type": "validation", "message": "has been invoiced"}, Conflict, Cause.CHANGED_BY_SOMEBODY),
        (422, {"type": "validation", "message": "something else"}, Refused, Cause.VENDOR_REFUSED),
        (400, {"type": "system", "message": "malformed"}, Refused, Cause.VENDOR_REFUSED),
        (404, {"type": "system", "message": "gone"}, Refused, Cause.RECORD_VANISHED),
        (429, {"type": "system", "message": "slow down"}, RateLimited, Cause.RATE_LIMITED),
        (418, {"type": "system", "message": "new"}, Refused, Cause.VENDOR_REFUSED),
        (503, {"type": "system", "message": "away"}, OutcomeUnknown, Cause.OUTCOME_UNKNOWN),
    ],
)  # fmt: skip
def test_error_table(status: int, error: dict[str, str], kind: type[SystemFailure], cause: Cause) -> None:
    found = failure(status, error)
    assert type(found) is kind
    assert found.failure.cause is cause
    assert found.failure.vendor_request_id == "req-1"


def test_a_read_that_meets_503_is_tried_again_and_a_429_has_our_pause() -> None:
    assert type(failure(503, {"type": "system", "message": "away"}, write=False)) is Transient
    assert failure(429, {"type": "system", "message": "slow"}).failure.retry_after_seconds == 20


@pytest.mark.parametrize("content", [b"<html>bad gateway</html>", b"", b"[]", b'{"errors": "text"}'])
def test_a_foreign_error_body_is_no_reason_to_stumble(content: bytes) -> None:
    assert read_errors(httpx.Response(502, content=content)) in ([], ())


# --- cursors and events ------------------------------------------------------------------------------


def test_overlap_rereads_but_tells_each_version_once() -> None:
    overlap = 10 * MINUTE
    fresh, cursor = advance(Cursor(), [("2", T0 + MINUTE), ("1", T0)], overlap)
    assert fresh == ["1", "2"]
    again = Cursor.decode(cursor.encode())
    assert again == cursor
    assert again.start(overlap) == T0 - 9 * MINUTE
    # A late commit inside the overlap, a repetition, and a newer version of a known record.
    late = [("3", T0 + timedelta(seconds=30)), ("1", T0), ("2", T0 + 2 * MINUTE)]
    fresh, cursor = advance(again, late, overlap)
    assert fresh == ["3", "2"]
    fresh, cursor = advance(cursor, late, overlap)
    assert fresh == []
    _, cursor = advance(cursor, [("4", T0 + 60 * MINUTE)], overlap)
    assert len(cursor.seen) == 1


def test_a_backlog_goes_on_where_its_last_portion_ended() -> None:
    _, cursor = advance(Cursor(), [("1", T0)], 10 * MINUTE, resume=T0)
    again = Cursor.decode(cursor.encode())
    assert again.start(10 * MINUTE) == T0 - timedelta(seconds=1)
    _, done = advance(again, [("1", T0)], 10 * MINUTE)
    assert done.start(10 * MINUTE) == T0 - 10 * MINUTE


def test_an_empty_first_poll_moves_nothing_and_old_cursors_have_lost_events() -> None:
    assert advance(Cursor(), [], MINUTE) == ([], Cursor())
    assert Cursor.decode(None).start(MINUTE) is None
    assert events_were_lost(Cursor(T0), T0 + timedelta(days=9, seconds=1))
    assert not events_were_lost(Cursor(T0), T0 + timedelta(days=8))
    assert not events_were_lost(Cursor(), T0)


def test_deletions_come_once_whatever_the_feed_repeats_or_reorders() -> None:
    def event(id_: str, kind: str, subject: str, minutes: int) -> Event:
        return Event(id=id_, event_type=kind, subject_id=subject, created_at=T0 + minutes * MINUTE)

    events = [
        event("3", "expense:deleted", "7", 3),
        event("1", "time_entry:deleted", "5", 1),
        event("2", "time_entry:deleted", "5", 2),
        event("4", "time_entry:updated", "6", 4),
    ]
    changes = to_deletions(events, SYSTEM)
    assert [(one.ref.type, one.ref.id, one.deleted) for one in changes] == [
        ("time_entries", "5", True),
        ("expenses", "7", True),
    ]


# --- time --------------------------------------------------------------------------------------------

FACTS = ProjectFacts(
    project_code="P1", project_entity="DE01", dimensions=Dimensions(region="emea", legal_entity="DE01")
)
ENTRY = {
    "id": "1",
    "date_performed": "2026-01-31",
    "time_in_minutes": 20,
    "billable": True,
    "approved": True,
    "user_id": "77",
    "workspace_id": "901",
    "role_id": "5",
    "recent_submission_id": None,
    "updated_at": "2026-02-01T23:30:00-08:00",
}


@pytest.mark.parametrize(
    ("status", "approval"),
    [
        (None, ApprovalState.APPROVED),
        ("approved", ApprovalState.APPROVED),
        ("new", ApprovalState.SUBMITTED),
        ("rejected", ApprovalState.REJECTED),
        ("cancelled", ApprovalState.DRAFT),
    ],
)
def test_approval_is_the_submission_s_and_dates_never_shift(
    status: str | None, approval: ApprovalState
) -> None:
    row = {**ENTRY, "recent_submission_id": "3" if status else None}
    submission = {"id": "3", "status": status, "updated_at": "2026-02-02T00:00:00Z"}
    sides: dict[str, dict[str, dict[str, Any]]] = {
        "roles": {"5": {"id": "5", "name": "Solution Architect"}},
        "timesheet_submissions": {"3": submission},
    }
    worker = WorkerFacts(worker_id="W1", employing_entity="PL01")
    entry = to_time_entry(row, Envelope([row], sides), {"901": FACTS}, {"77": worker}, MAPPING, SYSTEM)
    assert entry.approval is approval
    assert (entry.work_date, entry.minutes, entry.role) == (date(2026, 1, 31), 20, "architect")
    assert (entry.approved_at is not None) == (status == "approved")
    assert entry.source_revision.startswith("2026-02-02T07:30:00+00:00/")
    with pytest.raises(Refused, match="linked"):
        to_time_entry(row, Envelope([row], sides), {}, {"77": worker}, MAPPING, SYSTEM)


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
        "user_id": "77",
        "workspace_id": "901",
        "updated_at": "2026-01-06T00:00:00Z",
    }
    worker = WorkerFacts(worker_id="W1", employing_entity="PL01")
    expense = to_expense(row, True, {"901": FACTS}, {"77": worker}, SYSTEM)
    assert (expense.amount.amount, expense.incurred_on) == (Decimal(amount), date(2026, 1, 5))
