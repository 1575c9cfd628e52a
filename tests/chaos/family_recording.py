"""An undisturbed run, and all runs that it starts, taken apart: which step of which run made which calls.

Every call names the activity that made it (``tests.chaos.noting``), so what runs side by side is told apart.
Of several runs of one type one is enumerated; seeds go through them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from temporalio.api.enums.v1 import EventType

from tests.chaos.family import Family, Member
from tests.chaos.firm import ChaosFirm
from tests.chaos.noting import read
from tests.chaos.recording import UNDO, UNDO_STEP, Call, Step, general, pattern_of, remembered, utc


def ends_of(activity: str, payload: Mapping[str, Any]) -> str:
    """A step's name within its run: the saga's own, or what its activity does."""
    verb = activity.rpartition(".")[2].removesuffix("_run").replace("_", " ")
    return str(payload.get("step") or verb)


@dataclass(frozen=True)
class Layout:
    """What a recording needs to know of a saga and of the sagas that it starts."""

    runs: Mapping[str, str]
    """Workflow type -> the run's name in steps."""
    kinds: Mapping[str, str]
    """Step's name, or activity -> kind of the step; a read where neither is here."""
    stopping: tuple[str, ...]
    """Workflow types that a cancel stops; it undoes the others."""
    passing_over: tuple[str, ...] = ()
    """Activities that leave a line which a vendor refuses to the next run."""
    name: Callable[[str, Mapping[str, Any]], str] = ends_of
    """(activity, its input) -> the step's name within its run."""


BOOKS = "ledger."
"""Begins the names of activities that belong to no step: cases, decisions, the end."""
Marks = Mapping[str, int]


@dataclass
class Span:
    """One activity of one run."""

    step: str
    activity: str
    run: Member
    id: str
    began: datetime
    ended: datetime
    calls: list[Call] = field(default_factory=list)


async def marks(firm: ChaosFirm) -> dict[str, int]:
    """How many calls every vendor has seen."""
    return {vendor: len((await firm.control(vendor, "GET", "calls"))["calls"]) for vendor in firm.urls}


async def steps(
    firm: ChaosFirm, family: Family, layout: Layout, since: Marks, focus: int, mine: str | None = None
) -> list[Step]:
    """The steps of a family's runs in the order in which they began.

    Args:
        firm: the firm.
        family: its runs.
        layout: of the saga.
        since: calls of every vendor before it.
        focus: which of several runs of one type is enumerated.
        mine: only the steps of this run.

    Raises:
        RuntimeError: a write belongs to no step.
    """
    members = await family.members()
    top = members[0]
    spans = [span for member in members for span in await _spans(member, layout)]
    await _attribute(firm, spans, since)
    chosen = {mine} if mine else _in_focus(members, focus)
    found: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda one: one.began):
        if span.run.id in chosen:
            found.setdefault(span.step, []).append(span)
    result = [_step(name, parts, top, layout) for name, parts in found.items()]
    for member in members:
        if member.id in chosen and (gate := await _gate(firm, member, layout)):
            pivots = (i for i, one in enumerate(result) if one.kind == "pivot" and one.id.startswith(gate))
            place = next(pivots, len(result))
            result.insert(place, Step(f"{gate}.gate", "gate", "", under=member.id != top.id))
    return result


def _in_focus(members: Iterable[Member], focus: int) -> set[str]:
    """One run of every type."""
    by_type: dict[str, list[str]] = {}
    for one in members:
        by_type.setdefault(one.type, []).append(one.id)
    return {sorted(ids)[focus % len(ids)] for ids in by_type.values()}


def _step(name: str, parts: list[Span], top: Member, layout: Layout) -> Step:
    """Several spans of a step are its parts: the one that wrote most stands for it."""
    best = max(parts, key=lambda one: (sum(call.write for call in one.calls), len(one.calls)))
    calls = [call for call in best.calls if not remembered(call)] or best.calls[:1]
    return Step(
        name,
        layout.kinds.get(name) or layout.kinds.get(best.activity, "read"),
        best.activity,
        tuple(calls),
        best.began.timestamp(),
        best.ended.timestamp(),
        stops=best.run.type in layout.stopping,
        under=best.run.id != top.id,
        passes_over=best.activity in layout.passing_over,
    )


async def _gate(firm: ChaosFirm, member: Member, layout: Layout) -> str:
    """The run's name in steps, where a decision was asked for in it."""
    view = await firm.view(member.handle)
    return layout.runs[member.type] if any(step["kind"] == "gate" for step in view["steps"]) else ""


async def _spans(member: Member, layout: Layout) -> list[Span]:
    scheduled: dict[int, tuple[str, str, str]] = {}
    began: dict[int, datetime] = {}
    spans = []
    for event in (await member.handle.fetch_history()).events:
        at = event.event_time
        match event.event_type:
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                made = event.activity_task_scheduled_event_attributes
                payload = json.loads(made.input.payloads[0].data)
                name = made.activity_type.name
                step = _name(layout, member, name, payload)
                scheduled[event.event_id] = step, name, made.activity_id
            case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                began[event.activity_task_started_event_attributes.scheduled_event_id] = utc(at)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                id_ = event.activity_task_completed_event_attributes.scheduled_event_id
                step, activity, number = scheduled[id_]
                if not activity.startswith(BOOKS):
                    spans.append(Span(step, activity, member, number, began[id_], utc(at)))
    return spans


def _name(layout: Layout, member: Member, activity: str, payload: Mapping[str, Any]) -> str:
    run = layout.runs[member.type]
    if activity == UNDO_STEP:
        return f"{UNDO}{run}.{general(payload['step'])}"
    return f"{run}.{general(layout.name(activity, payload))}"


async def _attribute(firm: ChaosFirm, spans: Iterable[Span], since: Marks) -> None:
    by_activity = {(span.run.run, span.id): span for span in spans}
    for vendor, mark in since.items():
        seen: dict[tuple[str, str, str], int] = {}
        for row in (await firm.control(vendor, "GET", "calls"))["calls"][mark:]:
            pattern, note = pattern_of(row["path"]), read(row["note"])
            caller = "" if note is None else note.activity
            skip = seen.get((row["method"], pattern, caller), 0)
            seen[row["method"], pattern, caller] = skip + 1
            asks = ("suiteql", "/oauth2/")
            call = Call(
                vendor,
                row["method"],
                pattern,
                skip,
                row["method"] != "GET" and not any(word in row["path"] for word in asks),
                caller,
            )
            span = by_activity.get((note.run, note.id)) if note is not None else None
            if span is not None:
                span.calls.append(call)
            elif call.write:
                raise RuntimeError(f"{call.method} {row['path']} belongs to no step")


def plain(step: Step) -> Step:
    """An undo by the name of what it undoes."""
    return replace(step, id=step.id.removeprefix(UNDO))
