"""List filters: each is a small test on a record, made from the query once per list.

Source: vendor documentation, list parameters of each resource (Swagger digest). ``approved``, ``invoiced``
and ``uninvoiced`` of time entries are presence flags: any value, even ``false``, means true.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from simulators.kantata import values
from simulators.kantata.lines import DATES, approved
from simulators.kantata.problems import invalid, system
from simulators.kantata.references import matching_subjects
from simulators.kantata.rules import derived
from simulators.kantata.schema import Resource
from simulators.kantata.world import World
from simulators.kit import Record

Test = Callable[[Record], bool]
Make = Callable[[World, str], Test]


def flag(name: str, value: str) -> bool:
    """A boolean parameter.

    Raises:
        Refused: 400 when it is none.
    """
    try:
        return values.boolean(value)
    except values.BadValue as bad:
        raise system(400, f"{name} {bad}") from None


def id_set(name: str, value: str) -> set[str]:
    """A comma list of ids."""
    try:
        return {values.identifier(v.strip()) for v in value.split(",") if v.strip()}
    except values.BadValue:
        raise system(400, f"{name} is not a comma-separated list of ids") from None


def date_range(name: str, value: str) -> tuple[str, str]:
    """``YYYY-MM-DD:YYYY-MM-DD``."""
    try:
        first, last = value.split(":")
        return values.day(first), values.day(last)
    except ValueError:
        raise system(400, f"{name} is not a range YYYY-MM-DD:YYYY-MM-DD") from None


def _moment(name: str, inclusive: bool) -> Callable[[Record, str], bool]:
    """``created_after`` and its like, compared in whole seconds, as answers print them."""
    attribute, word = name.rsplit("_", 1)
    column = "last_synced_at" if attribute == "last_synced" else f"{attribute}_at"

    def test(record: Record, at: str) -> bool:
        have, limit = str(record.get(column) or "")[:19], at[:19]
        if not have:
            return False
        if have == limit:
            return inclusive
        return have > limit if word == "after" else have < limit

    return test


_MOMENT = re.compile(r"(created|updated|last_synced)_(after|before)\Z")


def _ids(name: str, column: str) -> Make:
    def make(_world: World, value: str) -> Test:
        wanted = id_set(name, value)
        return lambda r: r.get(column) in wanted

    return make


def _flag(name: str, test: Callable[[World, Record], bool]) -> Make:
    def make(world: World, value: str) -> Test:
        wanted = flag(name, value)
        return lambda r: test(world, r) == wanted

    return make


def _presence(test: Callable[[World, Record], bool], *, negated: bool = False) -> Make:
    return lambda world, _value: lambda r: test(world, r) != negated


def _range(name: str, column: str) -> Make:
    def make(_world: World, value: str) -> Test:
        first, last = date_range(name, value)
        return lambda r: first <= str(r.get(column) or "") <= last

    return make


def _words(column: str) -> Make:
    def make(_world: World, value: str) -> Test:
        wanted = {v.strip() for v in value.split(",")}
        return lambda r: str(r.get(column)) in wanted

    return make


def _day(name: str, column: str, keep: Callable[[str, str], bool]) -> Make:
    def make(_world: World, value: str) -> Test:
        try:
            limit = values.day(value)
        except values.BadValue as bad:
            raise system(400, f"{name} {bad}") from None
        return lambda r: bool(r.get(column)) and keep(str(r[column]), limit)

    return make


def _custom(kind: str) -> Make:
    """``by_custom_text_value=(field:value):(field:value)``; every pair must match."""

    def make(world: World, value: str) -> Test:
        pairs = re.findall(r"\((\d+):([^)]*)\)", value)
        if not pairs:
            raise system(400, f"by_custom_{kind}_value is not of the form (field:value):(field:value)")

        def test(record: Record) -> bool:
            mine = {v["custom_field_id"]: v["value"] for v in world.field_values("workspaces", record["id"])}
            for field, wanted in pairs:
                have = mine.get(field)
                shown = [str(x) for x in have] if isinstance(have, list) else [str(have)]
                if have is None or wanted not in shown:
                    return False
            return True

        return test

    return make


def _has_values(world: World, value: str) -> Test:
    wanted = id_set("has_value_for_custom_field_ids", value)
    return lambda r: wanted <= {v["custom_field_id"] for v in world.field_values("workspaces", r["id"])}


def _participant(world: World, value: str) -> Test:
    wanted = id_set("has_participant", value)
    return lambda r: any(
        p["user_id"] in wanted for p in world.find("participations", "workspace_id", r["id"])
    )


def _except(_world: World, value: str) -> Test:
    unwanted = id_set("except", value)
    return lambda r: r["id"] not in unwanted


def _title(_world: World, value: str) -> Test:
    return lambda r: value.casefold() in str(r.get("title") or "").casefold()


def _own(name: str, column: str) -> Make:
    return _flag(name, lambda world, r: r.get(column) == world.me)


def _approved(type_: str) -> Callable[[World, Record], bool]:
    return lambda world, r: approved(world, type_, r)


def _invoiced(_world: World, r: Record) -> bool:
    return bool(r.get("invoice_id"))


_TIME: Final[dict[str, Make]] = {
    "approved": _presence(_approved("time_entries")),
    "invoiced": _presence(_invoiced),
    "uninvoiced": _presence(_invoiced, negated=True),
    "billable": _flag("billable", lambda _w, r: bool(r.get("billable"))),
    "created_by": _ids("created_by", "user_id"),
    "date_performed_between": _range("date_performed_between", "date_performed"),
    "in_active_invoice_id": _ids("in_active_invoice_id", "invoice_id"),
    "in_active_submission": _flag("in_active_submission", lambda _w, r: bool(r.get("active_submission_id"))),
    "with_recent_timesheet_ids": _ids("with_recent_timesheet_ids", "recent_submission_id"),
    "with_timesheet_id": _ids("with_timesheet_id", "active_submission_id"),
    "with_user_ids": _ids("with_user_ids", "user_id"),
    "workspace_ids": _ids("workspace_ids", "workspace_id"),
}
_EXPENSES: Final[dict[str, Make]] = {
    "approved": _flag("approved", _approved("expenses")),
    "invoiced": _flag("invoiced", _invoiced),
    "uninvoiced": _flag("uninvoiced", lambda w, r: not _invoiced(w, r)),
    "submitted": _flag("submitted", lambda _w, r: bool(r.get("active_submission_id"))),
    "unsubmitted": _flag("unsubmitted", lambda _w, r: not r.get("active_submission_id")),
    "reimbursable": _flag("reimbursable", lambda _w, r: bool(r.get("reimbursable"))),
    "mine": _own("mine", "user_id"),
    "date_expensed_between": _range("date_expensed_between", "date"),
    "in_active_invoice_id": _ids("in_active_invoice_id", "invoice_id"),
    "with_expense_report_id": _ids("with_expense_report_id", "active_submission_id"),
    "with_recent_expense_report_ids": _ids("with_recent_expense_report_ids", "recent_submission_id"),
}
_SUBMISSIONS: Final[dict[str, Make]] = {
    "active": _flag("active", lambda _w, r: r["status"] in ("new", "approved")),
    "not_cancelled": _flag("not_cancelled", lambda _w, r: r["status"] != "cancelled"),
    "statuses": _words("status"),
    "start_date": _day("start_date", "start_date", str.__eq__),
    "end_date": _day("end_date", "end_date", str.__eq__),
    "start_date_after": _day("start_date_after", "start_date", str.__gt__),
    "user_ids": _ids("user_ids", "user_id"),
    "workspace_ids": _ids("workspace_ids", "workspace_id"),
}
_MAKERS: Final[dict[str, dict[str, Make]]] = {
    "time_entries": _TIME,
    "expenses": _EXPENSES,
    "timesheet_submissions": _SUBMISSIONS,
    "expense_report_submissions": _SUBMISSIONS,
    "workspaces": {
        "budgeted": _flag("budgeted", lambda _w, r: bool(r.get("budgeted"))),
        "due_date_after": _day("due_date_after", "due_date", str.__gt__),
        "due_date_before": _day("due_date_before", "due_date", str.__lt__),
        "except": _except,
        "has_participant": _participant,
        "has_value_for_custom_field_ids": _has_values,
        **{f"by_custom_{k}_value": _custom(k) for k in ("text", "choice", "date", "number")},
    },
    "project_templates": {"by_title": _title, "matching": _title, "mine": _own("mine", "user_id")},
    "stories": {"story_type": _words("story_type")},
    "invoices": {
        "paid": _flag("paid", lambda _w, r: r["status"] == "accepted payment"),
        "pending": _flag("pending", lambda _w, r: r["status"] == "new" and not r["draft"]),
        "without_drafts": _flag("without_drafts", lambda _w, r: not r["draft"]),
        "user_invoice_number": _words("user_invoice_number"),
        "within_dates": _range("within_dates", "invoice_date"),
    },
    "external_payments": {
        "invoice_id": _ids("invoice_id", "invoice_id"),
        "user_id": _ids("user_id", "user_id"),
    },
    "external_references": {
        n: _words(n)
        for n in (
            "subject_type",
            "subject_id",
            "service_name",
            "service_model",
            "service_model_ref",
            "status",
            "external_status",
        )
    }
    | {"external_message": lambda _w, v: lambda r: r.get("external_message") == v},
    "custom_field_values": {"subject_type": _words("subject_type"), "subject_id": _words("subject_id")},
    "subscribed_events": {
        "event_types": _words("event_type"),
        "subject_id": _ids("subject_id", "subject_id"),
        "subject_type": _words("subject_type"),
        "user_ids": _ids("user_ids", "user_id"),
    },
}
_DEFAULTED: Final = {"archived", "include_archived", "from_archived_workspaces", "on_my_account"}
_SPECIAL: Final = {"most_recent", "most_recent_by_event_type"}


def tests_of(world: World, resource: Resource, params: dict[str, str]) -> list[Test]:
    """Every test that a record must pass to be listed, default filters included.

    Raises:
        Refused: 400 for a value that cannot be read, 422 for a missing mandatory filter.
    """
    tests = visibility(world, resource, params)
    _mandatory(world, resource, params)
    makers = _MAKERS.get(resource.name, {})
    subjects = matching_subjects(world, resource.name, params)
    if subjects is not None:
        tests.append(_among(subjects))
    for name, value in params.items():
        if name in _DEFAULTED | _SPECIAL:
            continue
        if name in makers:
            tests.append(makers[name](world, value))
        elif _MOMENT.match(name):
            tests.append(_moment_test(world, name, value))
        elif name == "workspace_id":
            tests.append(_workspace(resource, value))
        elif name == "has_external_references":
            tests.append(_referenced(world, resource.name, flag(name, value)))
        elif name == "without_external_reference_service_name":
            tests.append(_not_exported(world, resource.name, value))
        elif name in world.settings["extra_filters"].get(resource.name, []):
            tests.append(_words(name)(world, value))
    return tests


def _among(wanted: set[str]) -> Test:
    return lambda r: r["id"] in wanted


def _referenced(world: World, type_: str, wanted: bool) -> Test:
    return lambda r: bool(world.references(type_, r["id"])) == wanted


def _not_exported(world: World, type_: str, service: str) -> Test:
    return lambda r: all(x["service_name"] != service for x in world.references(type_, r["id"]))


def moment(name: str, value: str) -> str:
    """An instant as stored.

    Raises:
        Refused: 400 when it is none.
    """
    try:
        return values.instant(value)
    except values.BadValue as bad:
        raise system(400, f"{name} {bad}") from None


def _moment_test(world: World, name: str, value: str) -> Test:
    at = moment(name, value)
    test = _moment(name, bool(world.settings["after_is_inclusive"]))
    return lambda r: test(r, at)


def _workspace(resource: Resource, value: str) -> Test:
    wanted = id_set("workspace_id", value)
    if "workspace_ids" in resource.fields:
        return lambda r: bool(wanted & set(r.get("workspace_ids") or []))
    return lambda r: r.get("workspace_id") in wanted


def _mandatory(world: World, resource: Resource, params: dict[str, str]) -> None:
    if resource.name == "external_references" and "subject_type" not in params:
        raise invalid("subject_type", "Subject type can't be blank")
    needs = world.settings["participations_need_workspace"]
    if resource.name == "participations" and needs and "workspace_id" not in params:
        raise invalid("workspace_id", "Workspace can't be blank")


def visibility(world: World, resource: Resource, params: dict[str, str]) -> list[Test]:
    """Default filters: they also decide whether a read by id finds the record."""
    tests: list[Test] = []
    hidden = {str(w) for w in world.settings["hidden_workspace_ids"]}
    if hidden and resource.name == "workspaces":
        tests.append(lambda r: r["id"] not in hidden)
    elif hidden and "workspace_id" in resource.fields:
        tests.append(lambda r: r.get("workspace_id") not in hidden)
    if resource.name == "workspaces":
        mode = params.get("archived", "exclude")
        if mode not in ("only", "exclude", "include"):
            raise system(400, "archived takes only, exclude or include")
        if "archived" not in params and flag("include_archived", params.get("include_archived", "false")):
            mode = "include"
        if mode != "include":
            tests.append(lambda r: bool(r.get("archived")) == (mode == "only"))
    if resource.name in DATES:
        if not flag("from_archived_workspaces", params.get("from_archived_workspaces", "false")):
            tests.append(
                lambda r: (
                    not (world.get("workspaces", r["workspace_id"]) or {"archived": False}).get("archived")
                )
            )
        if flag("on_my_account", params.get("on_my_account", "true")):
            account = str(world.settings["account_id"])
            tests.append(
                lambda r: (world.get("users", r.get("user_id")) or {}).get("account_id", account) == account
            )
    if resource.name == "custom_field_choices":
        tests.append(lambda r: not r.get("removed"))
    return tests


def narrowed(world: World, resource: Resource, params: dict[str, str]) -> list[Record] | None:
    """A smaller set that holds every hit, when an index gives one."""
    subjects = matching_subjects(world, resource.name, params)
    if subjects is not None:
        found = (world.get(resource.name, s) for s in sorted(subjects, key=int))
        return [r for r in found if r is not None]
    if resource.name in DATES and "with_recent_timesheet_ids" in params:
        sheets = id_set("with_recent_timesheet_ids", params["with_recent_timesheet_ids"])
        return [r for s in sorted(sheets) for r in world.find(resource.name, "recent_submission_id", s)]
    if "workspace_id" in params and "workspace_id" in resource.fields and resource.name != "invoices":
        wanted = id_set("workspace_id", params["workspace_id"])
        if world.indexed(resource.name, "workspace_id"):
            return [r for w in sorted(wanted) for r in world.find(resource.name, "workspace_id", w)]
    return None


def shown_name(resource: Resource, name: str) -> str:
    """An order value's attribute."""
    special = {"amount": "amount_in_cents", "vendor_name": "vendor_id"}
    if resource.name.endswith("_submissions") and name == "date":
        return "start_date"
    return special.get(name, name)


def derive_for_order(world: World, resource: Resource, record: Record, name: str) -> Any:
    """The value a list is ordered by."""
    if name in record:
        return record[name]
    return derived(world, resource.name, record).get(name)
