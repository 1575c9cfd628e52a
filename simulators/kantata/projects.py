"""Projects, client groups, participations and status reports.

Source: vendor documentation, "Workspaces", "Workspace groups", "Participations".
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from simulators.kantata import templates, values
from simulators.kantata.rules import REGISTRY, Draft, Rules, ids, money_attributes
from simulators.kantata.world import World
from simulators.kit import Record

_FLAGS = (
    "budgeted",
    "require_time_approvals",
    "require_expense_approvals",
    "change_orders_enabled",
    "tasks_default_non_billable",
    "stories_are_fixed_fee_by_default",
    "expenses_in_burn_rate",
    "posts_require_privacy_decision",
    "exclude_archived_stories_percent_complete",
    "require_notes_on_time_entries",
    "archived",
)
_PREFERENCES = {
    "project_code",
    "purchase_order",
    "client_invoice_name",
    "client_invoice_address",
    "consultant_invoice_name",
    "consultant_invoice_address",
}


class _Workspaces(Rules):
    depends = (
        "time_entries",
        "expenses",
        "stories",
        "status_reports",
        "timesheet_submissions",
        "expense_report_submissions",
    )

    def check(self, world: World, draft: Draft) -> None:
        first = world.settings["statuses"][0]["key"]
        draft.default(**dict.fromkeys(_FLAGS, False))
        draft.default(
            time_trackable=True,
            access_level="invitation",
            stage="project",
            currency=world.settings["currency"],
            account_id=str(world.settings["account_id"]),
            creator_id=world.me,
            creator_role="consultant",
            workspace_group_ids=[],
            approver_ids=[],
            status_key=first,
        )
        keys = {s["key"] for s in world.settings["statuses"]}
        if draft.get("status_key") not in keys:
            draft.problems.add("status_key", "Status key is not a status of this account")
        # The rate card's currency wins over one that is sent.
        if card := world.get("rate_cards", draft.get("rate_card_id")):
            draft.fields["currency"] = card["currency"]
        self._price(draft)
        start, due = draft.get("start_date"), draft.get("due_date")
        if start and due and due < start:
            draft.problems.add("due_date", "Due date must be on or after the start date")
        preference = draft.extra.get("invoice_preference")
        if preference is not None:
            if not isinstance(preference, dict) or set(preference) - _PREFERENCES:
                draft.problems.add("invoice_preference", "Invoice preference has unknown attributes")
            draft.fields["preferences"] = preference
        self._participations(world, draft)
        templates.check(world, draft)

    def _price(self, draft: Draft) -> None:
        price = draft.extra.get("price")
        if price is None:
            if draft.current is None and draft.get("budgeted") and draft.fields.get("price_in_cents") is None:
                draft.problems.add("price", "Price can't be blank when the project is budgeted")
            return
        amount = Decimal(price) * values.base_unit(draft.get("currency"))
        if amount != amount.to_integral_value():
            draft.problems.add("price", f"Price has more decimals than {draft.get('currency')}")
        else:
            draft.fields["price_in_cents"] = int(amount)

    def _participations(self, world: World, draft: Draft) -> None:
        known = {"user_id", "role", "access_level", "can_invite", "permissions"}
        rows: list[Record] = []
        for n, row in enumerate(draft.extra.get("participations") or []):
            where = f"participations[{n}]"
            if not isinstance(row, dict) or set(row) - known:
                draft.problems.add(where, "has unknown attributes")
                continue
            try:
                user = values.identifier(row.get("user_id"))
            except values.BadValue as bad:
                draft.problems.add(where, f"user_id {bad}")
                continue
            if world.get("users", user) is None:
                draft.problems.add(where, f"User does not exist: {user}")
            rows.append({**row, "user_id": user})
        draft.extra["participations"] = rows

    def after(self, world: World, draft: Draft, record: Record) -> None:
        if draft.current is None and world.call is not None:
            join(world, record["id"], world.me, lead=True)
        for row in draft.extra.get("participations") or []:
            join(world, record["id"], row["user_id"], role=row.get("role") or "maven")
        templates.start(world, draft, record)

    def refuse_delete(self, world: World, record: Record) -> str | None:
        if world.settings["delete_workspace_with_time"] == "allow":
            return None
        held = {
            "time entries": world.has("time_entries", "workspace_id", record["id"]),
            "expenses": world.has("expenses", "workspace_id", record["id"]),
            "invoices": world.has("invoices", "workspace_ids", record["id"]),
        }
        names = [name for name, there in held.items() if there]
        return f"This project has {' and '.join(names)} and cannot be deleted" if names else None

    def before_delete(self, world: World, record: Record) -> None:
        templates.cancel(world, record["id"])
        for type_, index in (
            ("time_entries", "workspace_id"),
            ("expenses", "workspace_id"),
            ("timesheet_submissions", "workspace_id"),
            ("expense_report_submissions", "workspace_id"),
            ("billing_milestones", "workspace_id"),
            ("project_accounting_records", "workspace_id"),
            ("workspace_allocations", "workspace_id"),
            ("workspace_resources", "workspace_id"),
            ("stories", "workspace_id"),
            ("participations", "workspace_id"),
            ("status_reports", "workspace_id"),
        ):
            for row in reversed(world.find(type_, index, record["id"])):
                if world.get(type_, row["id"]) is None:
                    continue
                if type_ in ("stories", "workspace_resources"):
                    REGISTRY[type_].before_delete(world, row)
                world.remove(type_, row["id"])

    def derive(self, world: World, record: Record) -> Record:
        id_, code = record["id"], record["currency"]
        unit = values.base_unit(code)
        price = record.get("price_in_cents")
        used = 0
        for entry in world.find("time_entries", "workspace_id", id_):
            if entry.get("billable"):
                used += values.line_amount(entry.get("rate_in_cents") or 0, entry["time_in_minutes"])
        spent = sum(e["amount_in_cents"] for e in world.find("expenses", "workspace_id", id_))
        stories = [s for s in world.find("stories", "workspace_id", id_) if not s.get("archived")]
        done = sum(s.get("percentage_complete") or 0 for s in stories)
        status = next((s for s in world.settings["statuses"] if s["key"] == record.get("status_key")), None)
        milestones = [s for s in stories if s["story_type"] == "milestone" and s.get("state") != "completed"]
        milestones.sort(key=lambda s: (s.get("due_date") or "9999", int(s["id"])))
        reports = world.find("status_reports", "workspace_id", id_)
        sheets = world.find("timesheet_submissions", "workspace_id", id_)
        expense_reports = world.find("expense_report_submissions", "workspace_id", id_)
        return {
            **money_attributes(code),
            "price": None if price is None else format(Decimal(price) / unit, "f"),
            "effective_due_date": record.get("due_date"),
            "can_create_line_items": True,
            "can_invite": True,
            "has_budget_access": bool(world.settings["financial_access"]),
            "budget_used_in_cents": used,
            "over_budget": used > (price or 0) > 0,
            "percent_of_budget_used": round(100 * used / price) if price else 0,
            "total_expenses_in_cents": spent,
            "status": status,
            "percentage_complete": round(done / len(stories)) if stories else 0,
            "has_active_timesheet_submissions": any(s["status"] in ("new", "approved") for s in sheets),
            "has_active_expense_report_submissions": any(
                s["status"] in ("new", "approved") for s in expense_reports
            ),
            "next_uncompleted_milestone_id": milestones[0]["id"] if milestones else None,
            "current_status_report_id": reports[-1]["id"] if reports else None,
        }

    def links(self, world: World, record: Record, name: str) -> list[str] | None:
        id_ = record["id"]
        match name:
            case "participants":
                return [p["user_id"] for p in world.find("participations", "workspace_id", id_)]
            case "workspace_resources":
                rows = world.find("workspace_resources", "workspace_id", id_)
                return [r["id"] for r in rows if r.get("user_id")]
            case "workspace_resources_with_unnamed":
                return ids(world.find("workspace_resources", "workspace_id", id_))
            case "participations" | "timesheet_submissions" | "status_reports":
                return ids(world.find(name, "workspace_id", id_))
        return None


def join(world: World, workspace: str, user: str, *, role: str = "maven", lead: bool = False) -> Record:
    """The user's participation in a project, made if there is none."""
    for mine in world.find("participations", "workspace_id", workspace):
        if mine["user_id"] == user:
            return mine
    fields: dict[str, Any] = {"workspace_id": workspace, "user_id": user, "role": role, "is_team_lead": lead}
    return world.insert("participations", fields)


class _Groups(Rules):
    def check(self, world: World, draft: Draft) -> None:
        draft.default(company=False)

    def after(self, world: World, draft: Draft, record: Record) -> None:
        for id_ in draft.extra.get("add_workspace_ids") or []:
            groups = world.must("workspaces", id_).get("workspace_group_ids") or []
            if record["id"] not in groups:
                world.change("workspaces", id_, {"workspace_group_ids": [*groups, record["id"]]})
        for id_ in draft.extra.get("remove_workspace_ids") or []:
            self._leave(world, world.must("workspaces", id_), record["id"])

    def before_delete(self, world: World, record: Record) -> None:
        for workspace in world.find("workspaces", "workspace_group_ids", record["id"]):
            self._leave(world, workspace, record["id"])

    def _leave(self, world: World, workspace: Record, group: str) -> None:
        groups = [g for g in workspace.get("workspace_group_ids") or [] if g != group]
        changes: Record = {"workspace_group_ids": groups}
        if workspace.get("primary_workspace_group_id") == group:
            changes["primary_workspace_group_id"] = None
        world.change("workspaces", workspace["id"], changes)

    def links(self, world: World, record: Record, name: str) -> list[str] | None:
        if name == "workspaces":
            return ids(world.find("workspaces", "workspace_group_ids", record["id"]))
        return None


class _Participations(Rules):
    def check(self, world: World, draft: Draft) -> None:
        draft.default(role="maven", is_team_lead=False)
        if "team_lead" in draft.extra:
            draft.fields["is_team_lead"] = draft.extra["team_lead"]
        workspace, user = draft.get("workspace_id"), draft.get("user_id")
        if draft.current is None and workspace and user:
            present = world.find("participations", "workspace_id", workspace)
            if any(p["user_id"] == user for p in present):
                draft.problems.add("user_id", "User already participates in this project")

    def links(self, world: World, record: Record, name: str) -> list[str] | None:
        if name == "workspace_resources":
            rows = world.find("workspace_resources", "workspace_id", record["workspace_id"])
            return [r["id"] for r in rows if r.get("user_id") == record["user_id"]]
        return None


class _StatusReports(Rules):
    def check(self, world: World, draft: Draft) -> None:
        draft.default(creator_id=world.me)


REGISTRY["workspaces"] = _Workspaces()
REGISTRY["workspace_groups"] = _Groups()
REGISTRY["participations"] = _Participations()
REGISTRY["status_reports"] = _StatusReports()
