"""Time entries and expenses: the lines that are approved and billed, and the account-wide date lock.

Source: vendor documentation, "Time entries", "Expenses", "Line item locks".
"""

from __future__ import annotations

from datetime import date

from simulators.kantata.rates import bill_rate
from simulators.kantata.rules import REGISTRY, Draft, Rules, money_attributes
from simulators.kantata.world import World
from simulators.kit import Record

SUBMISSIONS = {"time_entries": "timesheet_submissions", "expenses": "expense_report_submissions"}
DATES = {"time_entries": "date_performed", "expenses": "date"}
APPROVALS = {"time_entries": "require_time_approvals", "expenses": "require_expense_approvals"}


def approved(world: World, type_: str, line: Record) -> bool:
    """Whether a line counts as approved: its last submission is, or its project requires no approval."""
    workspace = world.get("workspaces", line["workspace_id"])
    if workspace is not None and not workspace.get(APPROVALS[type_]):
        return True
    submission = world.get(SUBMISSIONS[type_], line.get("recent_submission_id"))
    return submission is not None and submission["status"] == "approved"


def locked_to(world: World) -> str:
    """The last day of the account's date lock, or an empty text."""
    return max((lock["locked_to"] for lock in world.all("line_item_locks")), default="")


def refusal(world: World, type_: str, line: Record) -> str | None:
    """Why a line can be neither edited nor deleted, or None.

    The third documented reason, a linked time adjustment, does not arise: adjustments are not simulated.
    """
    if line[DATES[type_]] <= locked_to(world):
        return "is locked: its date is before the line item lock"
    if line.get("invoice_id"):
        return "is on an invoice"
    return None


def code_of(world: World, line: Record) -> str:
    """Currency of a line: as stored when it was written, else its project's."""
    workspace = world.get("workspaces", line["workspace_id"]) or {}
    return str(line.get("currency_code") or workspace.get("currency") or world.settings["currency"])


class _Lines(Rules):
    type_ = "time_entries"

    def check(self, world: World, draft: Draft) -> None:
        name = DATES[self.type_]
        if draft.current is not None and (why := refusal(world, self.type_, draft.current)):
            draft.problems.add("base", f"{draft.resource.singular.replace('_', ' ').capitalize()} {why}")
        when = draft.get(name)
        moved = name in draft.fields or draft.current is None
        if when and moved and when <= locked_to(world):
            draft.problems.add(name, "Date is before the line item lock")
        draft.default(user_id=world.me, taxable=False)
        workspace = world.get("workspaces", draft.get("workspace_id"))
        if workspace is None:
            return
        if draft.current is None or "workspace_id" in draft.fields:
            draft.fields["currency_code"] = workspace["currency"]
        story = world.get("stories", draft.get("story_id"))
        if story and story["workspace_id"] != workspace["id"]:
            draft.problems.add("story_id", "Story is not in this project")
        self.particular(world, draft, workspace, story)

    def particular(self, world: World, draft: Draft, workspace: Record, story: Record | None) -> None:
        """What only time or only expenses must satisfy."""

    def refuse_delete(self, world: World, record: Record) -> str | None:
        why = refusal(world, self.type_, record)
        return f"{self.type_.replace('_', ' ').capitalize()} {record['id']} {why}" if why else None

    def derive(self, world: World, record: Record) -> Record:
        return {
            **money_attributes(code_of(world, record)),
            "is_invoiced": bool(record.get("invoice_id")),
            "approved": approved(world, self.type_, record),
            "user_can_edit": refusal(world, self.type_, record) is None,
        }


class _Time(_Lines):
    def particular(self, world: World, draft: Draft, workspace: Record, story: Record | None) -> None:
        if workspace.get("time_trackable") is False or (story and story.get("time_trackable") is False):
            draft.problems.add("workspace_id", "Time cannot be tracked here")
        new = draft.current is None or "workspace_id" in draft.fields
        if new and workspace.get("archived") and world.settings["archived_takes_time"] == "refuse":
            draft.problems.add("workspace_id", "Time cannot be tracked on an archived project")
        if workspace.get("require_notes_on_time_entries") and not draft.get("notes"):
            draft.problems.add("notes", "Notes can't be blank in this project")
        minutes = draft.get("time_in_minutes")
        if minutes is not None and minutes < 0:
            draft.problems.add("time_in_minutes", "Time in minutes must be greater than or equal to 0")
        standard = not workspace.get("tasks_default_non_billable")
        draft.default(billable=bool(story.get("billable")) if story else standard)
        if draft.current is None and draft.get("date_performed") and draft.get("rate_in_cents") is None:
            rate = bill_rate(
                world, workspace, draft.get("user_id"), draft.get("role_id"), draft.get("date_performed")
            )
            draft.default(rate_in_cents=rate)


class _Expenses(_Lines):
    type_ = "expenses"

    def particular(self, world: World, draft: Draft, workspace: Record, story: Record | None) -> None:
        if draft.extra.get("billable") is not None:
            draft.fields["is_billable"] = draft.extra["billable"]
        draft.default(is_billable=True, reimbursable=False)


class _Locks(Rules):
    def check(self, world: World, draft: Draft) -> None:
        to = draft.get("locked_to")
        if not to:
            return
        if date.fromisoformat(to).isoweekday() != 6:
            draft.problems.add("locked_to", "Locked to must be a Saturday")
        if to <= locked_to(world):
            draft.problems.add("locked_to", "Locked to must be after the previous lock")
        for type_, name in DATES.items():
            if any(line[name] <= to and not approved(world, type_, line) for line in world.all(type_)):
                kind = type_.replace("_", " ")
                draft.problems.add("locked_to", f"All {kind} up to this date must be approved first")


REGISTRY["time_entries"] = _Time()
REGISTRY["expenses"] = _Expenses()
REGISTRY["line_item_locks"] = _Locks()
