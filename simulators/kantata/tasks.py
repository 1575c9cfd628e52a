"""Tasks, milestones, deliverables and issues ("stories") with their assignments.

Source: vendor documentation, "Stories" (SDK specification: title at most 200, description at most 1000
characters, estimates only in budgeted projects).
"""

from __future__ import annotations

from typing import Any

from simulators.kantata import values
from simulators.kantata.problems import Problems
from simulators.kantata.rules import REGISTRY, Draft, Rules, clean, ids
from simulators.kantata.schema import RESOURCES
from simulators.kantata.world import World
from simulators.kit import Record

_ESTIMATES = ("budget_estimate_in_cents", "cost_budget_in_cents", "time_estimate_in_minutes")


def add_story(world: World, fields: Record) -> Record:
    """Store a story with the defaults of its project; used by templates and ``sub_stories``."""
    draft = Draft(RESOURCES["stories"], {}, None, dict(fields))
    _defaults(world, draft)
    return world.insert("stories", draft.fields)


def _defaults(world: World, draft: Draft) -> None:
    workspace = world.must("workspaces", draft.fields["workspace_id"])
    taken = [s.get("position") or 0 for s in world.find("stories", "workspace_id", workspace["id"])]
    draft.default(
        billable=not workspace.get("tasks_default_non_billable"),
        fixed_fee=bool(workspace.get("stories_are_fixed_fee_by_default")),
        archived=False,
        state=world.settings["story_states"][0],
        percentage_complete=0,
        time_trackable=True,
        creator_id=world.me,
        assignee_ids=[],
        position=max(taken, default=0) + 1,
    )


class _Stories(Rules):
    def check(self, world: World, draft: Draft) -> None:
        self._limits(world, draft)
        workspace = world.get("workspaces", draft.get("workspace_id"))
        if workspace is None:
            return
        if draft.current is None:
            _defaults(world, draft)
        sent = [n for n in _ESTIMATES if draft.fields.get(n) is not None and n in draft.row]
        if not workspace.get("budgeted"):
            for name in sent:
                if world.settings["unbudgeted_estimates"] == "refuse":
                    draft.problems.add(name, f"{name} is only valid in budgeted projects")
                else:
                    draft.fields[name] = None
        self._parent(world, draft, workspace["id"])
        self._assignments(world, draft)
        self._children(world, draft)
        start, due = draft.get("start_date"), draft.get("due_date")
        if start and due and due < start:
            draft.problems.add("due_date", "Due date must be on or after the start date")

    def _limits(self, world: World, draft: Draft) -> None:
        for name in ("title", "description"):
            most = world.settings[f"story_{name}_max"]
            if len(draft.fields.get(name) or "") > most:
                draft.problems.add(name, f"{name.capitalize()} is too long (maximum is {most} characters)")
        done = draft.fields.get("percentage_complete")
        if done is not None and not 0 <= done <= 100:
            draft.problems.add("percentage_complete", "Percentage complete must be between 0 and 100")
        if (status := draft.extra.get("status")) is not None:
            draft.fields["state"] = status
        if draft.fields.get("state") not in (None, *world.settings["story_states"]):
            draft.problems.add("state", "State is not included in the list")

    def _parent(self, world: World, draft: Draft, workspace: str) -> None:
        parent = world.get("stories", draft.fields.get("parent_id"))
        if parent is None:
            return
        if parent["workspace_id"] != workspace:
            draft.problems.add("parent_id", "Parent is not in the same project")
        if draft.current and draft.current["id"] in [parent["id"], *_ancestors(world, parent)]:
            draft.problems.add("parent_id", "Parent cannot be the story itself or one below it")

    def _assignments(self, world: World, draft: Draft) -> None:
        rows = draft.extra.get("assignments")
        if rows is None:
            return
        users: list[str] = []
        for n, row in enumerate(rows):
            known = {"assignee_id", "resource_id", "current", "estimated_minutes", "id"}
            if not isinstance(row, dict) or set(row) - known:
                draft.problems.add(f"assignments[{n}]", "has unknown attributes")
                continue
            for name, type_ in (("assignee_id", "users"), ("resource_id", "workspace_resources")):
                value = row.get(name)
                if value is not None and world.get(type_, str(value)) is None:
                    draft.problems.add(f"assignments[{n}].{name}", f"{name} does not exist")
            if row.get("assignee_id") is not None:
                users.append(str(row["assignee_id"]))
            elif row.get("resource_id") is None:
                draft.problems.add(f"assignments[{n}]", "takes assignee_id or resource_id")
        draft.fields["assignee_ids"] = list(dict.fromkeys(users))

    def _children(self, world: World, draft: Draft) -> None:
        children: list[Record] = []
        for n, row in enumerate(draft.extra.get("sub_stories") or []):
            if not isinstance(row, dict):
                draft.problems.add(f"sub_stories[{n}]", "is not an object")
                continue
            sent = {**row, "workspace_id": draft.fields["workspace_id"]}
            child = Draft(RESOURCES["stories"], sent, None)
            clean(world, child)
            self._limits(world, child)
            _prefix(child.problems, draft.problems, f"sub_stories[{n}].")
            self._children(world, child)
            children.append({"fields": child.fields, "children": child.extra.get("sub_stories") or []})
        if draft.extra.get("sub_stories") is not None:
            draft.extra["sub_stories"] = children

    def after(self, world: World, draft: Draft, record: Record) -> None:
        self._assign(world, draft, record)
        self._add_children(world, record, draft.extra.get("sub_stories") or [])

    def _add_children(self, world: World, parent: Record, children: list[Record]) -> None:
        for child in children:
            fields = {**child["fields"], "workspace_id": parent["workspace_id"], "parent_id": parent["id"]}
            self._add_children(world, add_story(world, fields), child["children"])

    def _assign(self, world: World, draft: Draft, record: Record) -> None:
        rows: list[dict[str, Any]] | None = draft.extra.get("assignments")
        if rows is None:
            if "assignee_ids" not in draft.fields:
                return
            rows = [{"assignee_id": u} for u in record.get("assignee_ids") or []]
        for old in world.find("assignments", "story_id", record["id"]):
            world.remove("assignments", old["id"])
        for row in rows:
            fields = {
                "story_id": record["id"],
                "assignee_id": None if row.get("assignee_id") is None else str(row["assignee_id"]),
                "resource_id": None if row.get("resource_id") is None else str(row["resource_id"]),
                "estimated_minutes": row.get("estimated_minutes"),
                "current": row.get("current", True),
                "allocated_minutes": 0,
            }
            world.insert("assignments", fields)

    def refuse_delete(self, world: World, record: Record) -> str | None:
        if world.settings["delete_story_with_time"] == "detach":
            return None
        below = [record["id"], *_descendants(world, record["id"])]
        if any(world.has("time_entries", "story_id", s) for s in below):
            return "This task has time entries and cannot be deleted"
        return None

    def before_delete(self, world: World, record: Record) -> None:
        for child in world.find("stories", "parent_id", record["id"]):
            self.before_delete(world, child)
            world.remove("stories", child["id"])
        for type_ in ("time_entries", "expenses", "billing_milestones"):
            for line in world.find(type_, "story_id", record["id"]):
                world.change(type_, line["id"], {"story_id": None})
        for assignment in world.find("assignments", "story_id", record["id"]):
            world.remove("assignments", assignment["id"])

    def derive(self, world: World, record: Record) -> Record:
        billable = other = used = 0
        for entry in world.find("time_entries", "story_id", record["id"]):
            if entry.get("billable"):
                billable += entry["time_in_minutes"]
                used += values.line_amount(entry.get("rate_in_cents") or 0, entry["time_in_minutes"])
            else:
                other += entry["time_in_minutes"]
        above = _ancestors(world, record)
        return {
            "sub_story_count": len(world.find("stories", "parent_id", record["id"])),
            "root_id": above[-1] if above else None,
            "budget_used_in_cents": used,
            "logged_billable_time_in_minutes": billable,
            "logged_nonbillable_time_in_minutes": other,
        }

    def links(self, world: World, record: Record, name: str) -> list[str] | None:
        assignments = world.find("assignments", "story_id", record["id"])
        match name:
            case "sub_stories":
                return ids(world.find("stories", "parent_id", record["id"]))
            case "descendants":
                return _descendants(world, record["id"])
            case "ancestors":
                return _ancestors(world, record)
            case "current_assignments":
                return [a["id"] for a in assignments if a["current"]]
            case "workspace_resources" | "workspace_resources_with_unnamed":
                held = [world.get("workspace_resources", a.get("resource_id")) for a in assignments]
                all_ = name.endswith("unnamed")
                return [r["id"] for r in held if r and (all_ or r.get("user_id"))]
        return None


def _ancestors(world: World, record: Record) -> list[str]:
    """Ids from the parent up to the root."""
    found: list[str] = []
    parent = world.get("stories", record.get("parent_id"))
    while parent is not None:
        found.append(parent["id"])
        parent = world.get("stories", parent.get("parent_id"))
    return found


def _descendants(world: World, id_: str) -> list[str]:
    found: list[str] = []
    for child in world.find("stories", "parent_id", id_):
        found += [child["id"], *_descendants(world, child["id"])]
    return found


def _prefix(inner: Problems, outer: Problems, prefix: str) -> None:
    outer.found.extend({**p, "field": f"{prefix}{p['field']}"} for p in inner.found)


REGISTRY["stories"] = _Stories()
