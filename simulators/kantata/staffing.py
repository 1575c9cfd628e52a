"""Named and unnamed resources of a project, their allocations, and requests for staff.

Source: vendor documentation, "Workspace resources", "Workspace allocations", "Resource requests".
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from simulators.kantata import values
from simulators.kantata.custom import check_inline, set_values
from simulators.kantata.projects import join
from simulators.kantata.rates import role_rate
from simulators.kantata.rules import REGISTRY, Draft, Rules
from simulators.kantata.world import World
from simulators.kit import Record

DAY_MINUTES = 480
"""Working minutes of a weekday, for turning a percentage into minutes and back."""


def add_resource(
    world: World, workspace: str, user: str | None, role: str | None, label: str | None = None
) -> Record:
    """Store a resource; naming somebody makes him a participant."""
    seat = join(world, workspace, user)["id"] if user else None
    fields = {"workspace_id": workspace, "user_id": user, "role_id": role, "label": label}
    return world.insert("workspace_resources", {**fields, "participation_id": seat, "skill_ids": []})


class _Resources(Rules):
    def check(self, world: World, draft: Draft) -> None:
        draft.default(skill_ids=[])
        if not draft.get("user_id") and not draft.get("role_id") and draft.current is None:
            draft.problems.add("role_id", "Role can't be blank for an unnamed resource")
        for sent, stored in (("bill_rate", "resource_bill_rate"), ("cost_rate", "resource_cost_rate")):
            if sent in draft.extra:
                rate = draft.extra[sent]
                if rate is not None and rate < 0:
                    draft.problems.add(sent, f"{sent} must be greater than or equal to 0")
                draft.fields[stored] = rate

    def after(self, world: World, draft: Draft, record: Record) -> None:
        if record.get("user_id") and draft.fields.get("user_id"):
            seat = join(world, record["workspace_id"], record["user_id"])
            world.change("workspace_resources", record["id"], {"participation_id": seat["id"]}, touch=False)

    def before_delete(self, world: World, record: Record) -> None:
        for type_, index in (
            ("workspace_allocations", "workspace_resource_id"),
            ("resource_requests", "resource_id"),
            ("assignments", "resource_id"),
        ):
            for row in world.find(type_, index, record["id"]):
                world.remove(type_, row["id"])

    def derive(self, world: World, record: Record) -> Record:
        user = world.get("users", record.get("user_id"))
        role = world.get("roles", record.get("role_id"))
        workspace = world.must("workspaces", record["workspace_id"])
        allocations = world.find("workspace_allocations", "workspace_resource_id", record["id"])
        rate = role_rate(world, workspace, record.get("role_id"))
        role_name = role["name"] if role else None
        requests = world.find("resource_requests", "resource_id", record["id"])
        pending = [r["id"] for r in requests if r["status"] == "new"]
        return {
            "role_name": role_name,
            "account_role_name": role_name,
            "full_name": user["full_name"] if user else None,
            "workspace_title": workspace["title"],
            "display_label": user["full_name"] if user else (record.get("label") or role_name),
            "allocations_count": len(allocations),
            "assignments_count": len(world.find("assignments", "resource_id", record["id"])),
            "role_rate": rate,
            "role_available_on_rate_card": rate is not None,
            "deletable": True,
            "total_allocated_minutes": sum(a["minutes"] for a in allocations),
            "earliest_allocation_date": min((a["start_date"] for a in allocations), default=None),
            "latest_allocation_date": max((a["end_date"] for a in allocations), default=None),
            "pending_resource_request_id": pending[-1] if pending else None,
        }


class _Allocations(Rules):
    def check(self, world: World, draft: Draft) -> None:
        draft.default(hard=False, creator_id=world.me)
        draft.fields["updater_id"] = world.me
        if resource := world.get("workspace_resources", draft.extra.get("resource_id")):
            draft.fields["workspace_resource_id"] = resource["id"]
            draft.fields["workspace_id"] = resource["workspace_id"]
        start, end = draft.get("start_date"), draft.get("end_date")
        if start and end and end < start:
            draft.problems.add("end_date", "End date must be on or after the start date")
        minutes = draft.get("minutes")
        if minutes is not None and minutes < 0:
            draft.problems.add("minutes", "Minutes must be greater than or equal to 0")

    def derive(self, world: World, record: Record) -> Record:
        room = values.weekdays(record["start_date"], record["end_date"]) * DAY_MINUTES
        share = Decimal(100 * record["minutes"]) / room if room else Decimal(0)
        return {"percentage": format(share.quantize(Decimal("0.01"), ROUND_HALF_UP), "f")}


class _Requests(Rules):
    def check(self, world: World, draft: Draft) -> None:
        if draft.current is not None:
            if draft.current["status"] != "new":
                draft.problems.add("request_resolution_status", "Request has already been resolved")
            return
        draft.default(status="new", creator_id=world.me, approver_ids=[])
        workspace, role = draft.extra.get("resource_workspace_id"), draft.extra.get("resource_role_id")
        if not draft.get("resource_id") and not (workspace and role):
            draft.problems.add("resource_id", "Resource can't be blank without a project and role")
        start = draft.extra.get("workspace_allocation_start_date")
        end = draft.extra.get("workspace_allocation_end_date")
        if start and end and end < start:
            draft.problems.add("workspace_allocation_end_date", "End date must be on or after the start date")
        check_inline(world, draft)

    def after(self, world: World, draft: Draft, record: Record) -> None:
        if draft.current is not None:
            self._resolve(world, draft, record)
            return
        resource = record.get("resource_id")
        if not resource:
            made = add_resource(
                world, draft.extra["resource_workspace_id"], None, draft.extra["resource_role_id"]
            )
            resource = made["id"]
            world.change("resource_requests", record["id"], {"resource_id": resource})
        set_values(world, "resource_requests", record["id"], draft.extra.get("custom_fields") or [])
        start = draft.extra.get("workspace_allocation_start_date")
        end = draft.extra.get("workspace_allocation_end_date")
        if start and end:
            percentage = Decimal(draft.extra.get("workspace_allocation_percentage") or "100")
            minutes = (percentage / 100 * values.weekdays(start, end) * DAY_MINUTES).to_integral_value()
            fields = {
                "workspace_resource_id": resource,
                "workspace_id": world.must("workspace_resources", resource)["workspace_id"],
                "start_date": start,
                "end_date": end,
                "minutes": int(minutes),
                "hard": False,
                "creator_id": world.me,
                "updater_id": world.me,
            }
            world.insert("workspace_allocations", fields)

    def _resolve(self, world: World, draft: Draft, record: Record) -> None:
        word = draft.extra["request_resolution_status"]
        status = {"approve": "approved", "reject": "rejected", "cancel": "cancelled"}[word]
        world.change("resource_requests", record["id"], {"status": status})
        user = draft.extra.get("user_id")
        if status == "approved" and user:
            resource = world.must("workspace_resources", record["resource_id"])
            seat = join(world, resource["workspace_id"], user)
            changes = {"user_id": user, "participation_id": seat["id"]}
            world.change("workspace_resources", resource["id"], changes)
        if status == "approved" and (hard := draft.extra.get("allocations_state")) is not None:
            for row in world.find("workspace_allocations", "workspace_resource_id", record["resource_id"]):
                world.change("workspace_allocations", row["id"], {"hard": hard})


REGISTRY["workspace_resources"] = _Resources()
REGISTRY["workspace_allocations"] = _Allocations()
REGISTRY["resource_requests"] = _Requests()
