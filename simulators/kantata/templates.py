"""Project templates and their application to a project, at once or bit by bit.

Source: vendor documentation, "Project templates" and "Workspaces" (template keys of a create). Whether
application finishes before the create returns is not documented: the setting ``template_seconds`` makes
tasks and placeholders appear gradually.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final

from simulators.kantata import values
from simulators.kantata.rules import REGISTRY, Draft, Rules, ids
from simulators.kantata.world import World
from simulators.kit import Call, Record

TASK_KEYS: Final = {
    "title",
    "story_type",
    "description",
    "time_estimate_in_minutes",
    "budget_estimate_in_cents",
    "billable",
    "fixed_fee",
    "weight",
    "priority",
    "start_offset_days",
    "due_offset_days",
    "sub_stories",
}
"""What a task of ``raw_json`` may say. Offsets count calendar days from the template's start date."""


@dataclass
class Job:
    """A template being applied: steps in order, a parent before its children."""

    workspace: str
    began: datetime
    seconds: float
    steps: list[Record]
    call: Call | None = None
    """The call that began it: what appears later is announced as its doing."""
    done: int = 0
    made: dict[int, str] = field(default_factory=dict)
    """Story id by the number of its step."""


def jobs(world: World) -> list[Job]:
    """Applications that have not finished."""
    return world.jobs


def tree_of(raw: Any) -> list[Record]:
    """The task tree of ``raw_json`` (text or structure; a list, or an object with ``stories``).

    Raises:
        BadValue: it is not such a tree.
    """
    if isinstance(raw, str):
        try:
            raw = json.loads(raw) if raw.strip() else []
        except ValueError:
            raise values.BadValue("is not valid JSON") from None
    tree = raw.get("stories", []) if isinstance(raw, dict) else raw
    if tree is None:
        return []
    if not isinstance(tree, list):
        raise values.BadValue("has no list of stories")
    for task in tree:
        if not isinstance(task, dict) or not isinstance(task.get("title"), str):
            raise values.BadValue("has a story without a title")
        if strangers := set(task) - TASK_KEYS:
            raise values.BadValue(f"has unknown story attributes: {', '.join(sorted(strangers))}")
        tree_of(task.get("sub_stories") or [])
    return tree


def _flatten(tree: list[Record], parent: int | None, into: list[Record]) -> list[Record]:
    for task in tree:
        into.append({"task": {k: v for k, v in task.items() if k != "sub_stories"}, "parent": parent})
        _flatten(task.get("sub_stories") or [], len(into) - 1, into)
    return into


def check(world: World, draft: Draft) -> None:
    """Check the template keys of a project write."""
    template = world.get("project_templates", draft.extra.get("project_tracker_template_id"))
    rows = draft.extra.get("project_template_assignment_mappings") or []
    name = "project_template_assignment_mappings"
    before = world.get("stories", draft.extra.get("project_template_before_story_id"))
    if before and draft.current and before["workspace_id"] != draft.current["id"]:
        draft.problems.add("project_template_before_story_id", "Story is not in this project")
    if rows and template is None:
        draft.problems.add(name, "Mappings need project_tracker_template_id")
        return
    joining = {p["user_id"] for p in draft.extra.get("participations") or []}
    if draft.current:
        present = world.find("participations", "workspace_id", draft.current["id"])
        joining |= {p["user_id"] for p in present}
    mappings: dict[str, Record] = {}
    for n, row in enumerate(rows):
        where = f"{name}[{n}]"
        try:
            read = {k: None if v is None else values.identifier(v) for k, v in dict(row).items()}
        except (values.BadValue, TypeError, ValueError):
            draft.problems.add(where, "takes resource_id with user_id or role_id")
            continue
        resource = world.get("project_template_assignments", read.get("resource_id"))
        if set(read) - {"resource_id", "user_id", "role_id"} or not (
            read.get("user_id") or read.get("role_id")
        ):
            draft.problems.add(where, "takes resource_id with user_id or role_id")
        elif resource is None or template is None or resource["project_template_id"] != template["id"]:
            draft.problems.add(where, "Resource is not a resource of this template")
        elif read.get("role_id") and world.get("roles", read["role_id"]) is None:
            draft.problems.add(where, "Role does not exist")
        elif read.get("user_id") and read["user_id"] not in joining:
            draft.problems.add(where, "User must be in participations")
        else:
            mappings[resource["id"]] = read
    draft.extra["mappings"] = mappings


def start(world: World, draft: Draft, record: Record, *, stories: bool = True) -> list[Record]:
    """Begin applying the draft's template to a stored project; at once when ``template_seconds`` is 0.

    Args:
        world: the account.
        draft: the project write with template keys.
        record: the stored project.
        stories: False adds people and placeholders only.

    Returns:
        The template's tasks, parents first.
    """
    template = world.get("project_templates", draft.extra.get("project_tracker_template_id"))
    if template is None:
        return []
    began = draft.extra.get("project_template_start_date") or record.get("start_date") or world.today()
    tasks = _flatten(tree_of(template.get("raw_json")), None, [])
    for step in tasks:
        step["start"] = began
    people = _people(world, draft, template)
    seconds = float(world.settings["template_seconds"])
    steps = people + ([{**t, "parent_step": t["parent"]} for t in tasks] if stories else [])
    job = Job(record["id"], world.simulator.clock.now(), seconds, steps, world.call)
    for step in job.steps[len(people) :]:
        if step["parent_step"] is not None:
            step["parent_step"] += len(people)
    jobs(world).append(job)
    advance(world)
    return [t["task"] for t in tasks]


def _people(world: World, draft: Draft, template: Record) -> list[Record]:
    unnamed = bool(draft.extra.get("project_template_create_unnamed_resources"))
    mappings = draft.extra.get("mappings") or {}
    steps: list[Record] = []
    for seat in world.find("project_template_assignments", "project_template_id", template["id"]):
        mapped = mappings.get(seat["id"])
        if mapped is None and not unnamed:
            continue
        mapped = mapped or {"user_id": None, "role_id": seat.get("role_id")}
        steps.append(
            {"seat": seat["name"], "user_id": mapped.get("user_id"), "role_id": mapped.get("role_id")}
        )
    return steps


def advance(world: World) -> None:
    """Carry every running application as far as the clock allows."""
    now = world.simulator.clock.now()
    for job in list(jobs(world)):
        elapsed = (now - job.began).total_seconds()
        share = 1.0 if elapsed >= job.seconds else elapsed / job.seconds
        present, world.call = world.call, job.call
        while job.done < int(share * len(job.steps)):
            _step(world, job, job.steps[job.done])
            job.done += 1
        world.call = present
        if share >= 1.0:
            jobs(world).remove(job)


def _step(world: World, job: Job, step: Record) -> None:
    # Imported here because both modules need projects, and projects need templates.
    from simulators.kantata.staffing import add_resource
    from simulators.kantata.tasks import add_story

    if "seat" in step:
        add_resource(world, job.workspace, step["user_id"], step["role_id"], label=step["seat"])
        return
    task = dict(step["task"])
    first = date.fromisoformat(step["start"])
    for name, offset in (("start_date", "start_offset_days"), ("due_date", "due_offset_days")):
        days = task.pop(offset, None)
        task[name] = None if days is None else (first + timedelta(days=int(days))).isoformat()
    parent = None if step["parent_step"] is None else job.made.get(step["parent_step"])
    fields = {"story_type": "task", **task, "workspace_id": job.workspace, "parent_id": parent}
    job.made[job.done] = add_story(world, fields)["id"]


def cancel(world: World, workspace: str) -> None:
    """Stop applying templates to a project that goes away."""
    jobs(world)[:] = [j for j in jobs(world) if j.workspace != workspace]


class _Templates(Rules):
    def check(self, world: World, draft: Draft) -> None:
        draft.default(user_id=world.me, shared=False, is_budgeted=False)
        if draft.extra.get("sharing") is not None:
            draft.fields["shared"] = draft.extra["sharing"]
        try:
            tree_of(draft.fields.get("raw_json"))
        except values.BadValue as bad:
            draft.problems.add("raw_json", f"Raw json {bad}")

    def derive(self, world: World, record: Record) -> Record:
        return {"item_count": len(_flatten(tree_of(record.get("raw_json")), None, []))}

    def links(self, world: World, record: Record, name: str) -> list[str] | None:
        if name == "project_template_assignments":
            return ids(world.find("project_template_assignments", "project_template_id", record["id"]))
        return None


REGISTRY["project_templates"] = _Templates()
