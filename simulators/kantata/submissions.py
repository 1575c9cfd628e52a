"""Timesheets and expense reports: submitting lines, and resolving submissions one by one or in bulk.

Source: vendor documentation, "Timesheet submissions", "Timesheet approvals", "Expense report submissions".
A line is linked to its latest submission only; after a rejection a new submission is a new object.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from simulators.kantata import values
from simulators.kantata.bodies import wrapped
from simulators.kantata.lines import DATES, SUBMISSIONS, code_of
from simulators.kantata.problems import Refused, invalid, not_found, problem, system
from simulators.kantata.rules import REGISTRY, Draft, Rules, ids, money_attributes, plain
from simulators.kantata.world import World
from simulators.kit import Call, Record

LINES: Final = {container: lines for lines, container in SUBMISSIONS.items()}
_STATUS: Final = {"approval": "approved", "rejection": "rejected", "cancellation": "cancelled"}
_FROM: Final = {
    "approval": {"new"},
    "rejection": {"new", "approved"},
    "cancellation": {"new", "approved"},
}
ACTIONS: Final = {"approve": "approval", "reject": "rejection", "cancel": "cancellation"}


class _Submissions(Rules):
    def __init__(self, type_: str) -> None:
        self.type_ = type_
        self.lines = LINES[type_]

    def check(self, world: World, draft: Draft) -> None:
        draft.default(status="new", user_id=world.me)
        wanted: list[str] = []
        for value in draft.extra.get("line_item_ids") or []:
            try:
                wanted.append(values.identifier(value))
            except values.BadValue as bad:
                draft.problems.add("line_item_ids", f"Line item {value} {bad}")
        lines: list[Record] = []
        for id_ in dict.fromkeys(wanted):
            line = world.get(self.lines, id_)
            if line is None:
                draft.problems.add("line_item_ids", f"Line item does not exist: {id_}")
                continue
            lines.append(line)
            if line["workspace_id"] != draft.get("workspace_id"):
                draft.problems.add("line_item_ids", f"Line item {id_} is not in this project")
            if line["user_id"] != draft.get("user_id"):
                draft.problems.add("line_item_ids", f"Line item {id_} belongs to another user")
            if line.get("active_submission_id"):
                draft.problems.add("line_item_ids", f"Line item {id_} has already been submitted")
        draft.extra["lines"] = lines
        days = [line[DATES[self.lines]] for line in lines]
        if days and self.lines == "time_entries":
            first = date.fromisoformat(min(days))
            begin = first - timedelta(days=(first.isoweekday() % 7))
            draft.fields["start_date"] = begin.isoformat()
            draft.fields["end_date"] = (begin + timedelta(days=6)).isoformat()
            if max(days) > draft.fields["end_date"]:
                draft.problems.add("line_item_ids", "Line items are not all of one week (Sunday to Saturday)")
        elif days:
            draft.fields["start_date"], draft.fields["end_date"] = min(days), max(days)

    def after(self, world: World, draft: Draft, record: Record) -> None:
        link = {"active_submission_id": record["id"], "recent_submission_id": record["id"]}
        for line in draft.extra.get("lines") or []:
            world.change(self.lines, line["id"], link, touch=_touches(world))

    def derive(self, world: World, record: Record) -> Record:
        lines = world.find(self.lines, "recent_submission_id", record["id"])
        workspace = world.must("workspaces", record["workspace_id"])
        code = code_of(world, lines[0]) if lines else str(workspace["currency"])
        if self.lines == "time_entries":
            total = sum(
                values.line_amount(e.get("rate_in_cents") or 0, e["time_in_minutes"])
                for e in lines
                if e.get("billable")
            )
        else:
            total = sum(e["amount_in_cents"] for e in lines)
        unit = values.base_unit(code)
        whole = f"{total // unit}" + (f".{total % unit:0{len(str(unit)) - 1}d}" if unit > 1 else "")
        return {
            **money_attributes(code),
            "type": "Timesheet" if self.lines == "time_entries" else "ExpenseReport",
            "line_item_total_in_cents": total,
            "line_item_total_formatted": f"{values.symbol(code)}{whole}",
        }

    def links(self, world: World, record: Record, name: str) -> list[str] | None:
        if name == self.lines:
            return ids(world.find(self.lines, "recent_submission_id", record["id"]))
        if name == "resolutions":
            return ids(world.find("resolutions", "target_id", record["id"]))
        return None


def _touches(world: World) -> bool:
    return bool(world.settings["approval_touches_lines"])


def description_of(call: Call) -> tuple[str | None, Record]:
    """The ``description`` of a single resolution and the row as sent; the body may be missing."""
    row = wrapped(call, "resolution", optional=True)
    if strangers := sorted(set(row) - {"description"}):
        raise invalid(strangers[0], f"{strangers[0]} is not an attribute of a resolution")
    if row.get("description") is not None and not isinstance(row["description"], str):
        raise invalid("description", "Description is not a string")
    return row.get("description"), row


def bulk_body(world: World, call: Call) -> tuple[list[str], str | None, Record]:
    """Ids, description and row of a bulk resolution (``{"resolution":{"submission_ids":[1,2]}}``)."""
    row = wrapped(call, "resolution")
    if strangers := sorted(set(row) - {"description", "submission_ids"}):
        raise invalid(strangers[0], f"{strangers[0]} is not an attribute of a resolution")
    sent = row.get("submission_ids")
    if not isinstance(sent, list) or not sent:
        raise invalid("submission_ids", "Submission ids can't be blank")
    try:
        wanted = [values.identifier(v) for v in sent]
    except values.BadValue as bad:
        raise invalid("submission_ids", f"Submission ids {bad}") from None
    return list(dict.fromkeys(wanted)), row.get("description"), plain(row)


def why_not(world: World, type_: str, record: Record, kind: str) -> str | None:
    """Why a submission cannot be resolved this way, or None."""
    if record["status"] not in _FROM[kind]:
        return f"Submission {record['id']} is {record['status']} and cannot be {_STATUS[kind]}"
    lines = world.find(LINES[type_], "recent_submission_id", record["id"])
    undoing = kind != "approval"
    if undoing and world.settings["resolve_invoiced"] == "refuse" and any(e.get("invoice_id") for e in lines):
        return f"Submission {record['id']} has line items on an invoice"
    if kind == "rejection" and type_ == "expense_report_submissions":
        held = [r for e in lines for r in world.references("expenses", e["id"])]
        held += world.references(type_, record["id"])
        if any(r.get("locked") for r in held):
            return f"Submission {record['id']} has an external reference that is locked"
    return None


def resolve(world: World, type_: str, record: Record, kind: str, description: str | None) -> Record:
    """Resolve a submission that ``why_not`` lets pass.

    Returns:
        The stored resolution.
    """
    for old in world.find("resolutions", "target_id", record["id"]):
        world.change("resolutions", old["id"], {"current": False})
    made = world.insert(
        "resolutions",
        {
            "type": kind,
            "description": description,
            "target_type": "Submission",
            "target_id": record["id"],
            "user_id": world.me,
            "current": True,
        },
    )
    changes = {
        "status": _STATUS[kind],
        "resolution_description": description,
        "current_resolution_description": description,
        "current_resolution_creator_id": world.me,
        "current_resolution_created_at_date": made["created_at"],
    }
    world.change(type_, record["id"], changes)
    lines = LINES[type_]
    for line in world.find(lines, "recent_submission_id", record["id"]):
        active = record["id"] if kind == "approval" else None
        world.change(lines, line["id"], {"active_submission_id": active}, touch=_touches(world))
    return made


def resolve_one(world: World, call: Call, type_: str, id_: str, action: str) -> tuple[Record, Record]:
    """``PUT /timesheet_submissions/{id}/approve`` and its like.

    Returns:
        The submission, and the row as sent.
    """
    record = world.get(type_, id_)
    if record is None:
        raise not_found("Submission")
    description, row = description_of(call)
    kind = ACTIONS[action]
    if why := why_not(world, type_, record, kind):
        raise system(422, why)
    resolve(world, type_, record, kind, description)
    return world.must(type_, id_), row


def resolve_many(world: World, call: Call, kind: str) -> tuple[list[Record], Record]:
    """``POST /timesheet_approvals`` and its like: all or nothing.

    Returns:
        The stored resolutions, and the row as sent.
    """
    type_ = "timesheet_submissions"
    wanted, description, row = bulk_body(world, call)
    problems = []
    records = []
    for id_ in wanted:
        record = world.get(type_, id_)
        if record is None:
            problems.append(problem(f"Submission does not exist: {id_}", "submission_ids"))
        elif why := why_not(world, type_, record, kind):
            problems.append(problem(why, "submission_ids"))
        else:
            records.append(record)
    if problems:
        raise Refused(422, problems)
    return [resolve(world, type_, r, kind, description) for r in records], row


for _type in LINES:
    REGISTRY[_type] = _Submissions(_type)
