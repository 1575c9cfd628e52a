"""An undisturbed run, taken apart: which step made which calls. Every case is enumerated from this."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle

from cli.local.deals import Deal
from tests.chaos.deals import copy
from tests.chaos.firm import ChaosFirm

NEVER_HIT = ("/oauth2/", "/describe", "/suiteql", "/custom_fields?")
"""Calls that a worker makes once and remembers, or no pattern tells apart; hit for want of others only."""
UNDO = "undo."
UNDO_STEP = "effects.undo_step"
"""The activity that undoes a step, whichever worker performs it."""
DECISION = "rules."
"""Begins the name of every activity that only decides."""
FIRST_NUMBER = 20
"""Numbers of the recorded copies; cases take higher ones."""


@dataclass(frozen=True)
class Call:
    """One call to a vendor: which one, and how to recognise it in another run of the same shape."""

    vendor: str
    method: str
    pattern: str
    """Regular expression of path and query; ids and keys are left open."""
    skip: int
    """Calls of the same pattern that come before it."""
    write: bool
    activity: str = ""
    """Who makes it, where calls say so (``tests.chaos.noting``); then ``skip`` counts its calls only."""

    def fault(self, kind: str, **more: Any) -> dict[str, Any]:
        """A fault that hits this call once."""
        return {
            "kind": kind,
            "method": self.method,
            "path": self.pattern,
            "skip": self.skip,
            "times": 1,
            "note": rf"^[^|]*\|{re.escape(self.activity)}\|" if self.activity else None,
            **more,
        }


@dataclass(frozen=True)
class Step:
    """One step as it ran."""

    id: str
    """Without the deal's own id, so that it fits every copy."""
    kind: str
    """``read``, ``compensatable``, ``pivot``, ``forward-only``, ``gate``."""
    activity: str
    calls: tuple[Call, ...] = ()
    began: float = 0.0
    """Seconds since 1970; steps whose times overlap run side by side."""
    ended: float = 0.0
    stops: bool = False
    """Of a run that a cancel stops: what is done stays, the next run does the rest."""
    under: bool = False
    """Of a run that another one has started: a cancel may go to either."""
    passes_over: bool = False
    """What a vendor refuses concerns its line alone: nothing is parked, the next run tries it again."""

    @property
    def writes(self) -> tuple[Call, ...]:
        """Calls that change the vendor."""
        return tuple(call for call in self.calls if call.write)

    @property
    def on_the_ledger(self) -> bool:
        """Whether the ledger's worker performs it: rules, messages, books."""
        return self.activity.startswith((DECISION, "notify.", "ledger.", "billing.", "changes."))

    @property
    def past_the_pivot(self) -> bool:
        """Whether a cancel that comes during it is too late."""
        return self.kind in ("pivot", "forward-only") and not self.stops


@dataclass
class Recording:
    """All steps of a run in the order in which they began, and their undos."""

    steps: list[Step] = field(default_factory=list)
    undo: dict[str, Step] = field(default_factory=dict)
    """By the step that is undone, without the deal's id."""
    writes: int = 0

    def same_before(self, step: Step) -> int:
        """How many steps that the same activity performs begin before a step."""
        return sum(one.activity == step.activity and one.began < step.began for one in self.steps)

    def before(self, step: Step) -> Call | None:
        """The last call that is made before a step begins."""
        earlier = [one for one in self.steps if one.calls and one.ended <= step.began]
        return max(earlier, key=lambda one: one.began).calls[-1] if earlier else None

    def holder(self, call: Call) -> Step:
        """The step that makes a call."""
        return next(step for step in self.steps if call in step.calls)

    def after(self, step: Step) -> Call | None:
        """The first call that is made after a step has ended."""
        later = [one for one in self.steps if one.calls and one.began >= step.ended]
        return min(later, key=lambda one: one.began).calls[0] if later else None

    @property
    def last_before_pivot(self) -> Call:
        """The last call before anything is activated: where a cancel undoes the most."""
        pivot = next(step for step in self.steps if step.past_the_pivot)
        call = self.before(pivot)
        assert call is not None
        return call

    def dump(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def load(cls, data: dict[str, Any]) -> Recording:
        """From JSON."""

        def step(row: dict[str, Any]) -> Step:
            return Step(**{**row, "calls": tuple(Call(**call) for call in row["calls"])})

        return cls(
            [step(row) for row in data["steps"]],
            {name: step(row) for name, row in data["undo"].items()},
            data["writes"],
        )


def general(step: str) -> str:
    """A step's id without the deal's: the same step of every copy."""
    return re.sub(r"006\w{15}", "*", step)


def pattern_of(path: str) -> str:
    """A pattern that fits the same call of another deal."""
    bare, _, query = path.partition("?")
    parts = []
    for part in bare.split("/"):
        stamp = re.search(r"tu-([a-z]+-[a-z]+)-", part)
        if stamp:
            parts.append(rf"[^/]*tu-{stamp[1]}-[^/?]*")
        elif part.isdigit():
            parts.append(r"\d+")
        elif re.fullmatch(r"[0-9A-Za-z]{18}", part):
            parts.append(r"\w{18}")
        else:
            parts.append(re.escape(part))
    names = []
    for pair in query.split("&") if query else []:
        name, _, value = pair.partition("=")
        model = name == "external_reference_service_model"
        names.append(re.escape(name) + "=" + (re.escape(value) if model else "[^&]*"))
    return "^" + "/".join(parts) + (r"\?" + "&".join(names) if names else "") + "$"


async def record(firm: ChaosFirm, pattern: Deal, *, seconds: float = 60) -> Recording:
    """Run a deal twice: once to the end, and once cancelled at the last moment, to see the undo.

    Expects a firm with one slot per system, so that a system's calls belong to one step at a time.

    Raises:
        RuntimeError: it did not end as it should, or a write belongs to no step.
    """
    await _run(firm, copy(pattern, FIRST_NUMBER), seconds)  # fills caches and tokens
    found = await _run(firm, copy(pattern, FIRST_NUMBER + 1), seconds)
    again = copy(pattern, FIRST_NUMBER + 2)
    before = await _marks(firm)
    hold = found.last_before_pivot
    await firm.control(hold.vendor, "POST", "faults", hold.fault("delay_after", delay_ms=900))
    await firm.seed(again)
    handle = await firm.start(again)
    async with asyncio.timeout(seconds):
        while not (await firm.control(hold.vendor, "GET", "faults"))[0]["fired"]:
            await firm.approve(handle)
            await asyncio.sleep(0.02)
    await handle.cancel()
    end = await firm.settle(handle, seconds)
    if end != "undone":
        raise RuntimeError(f"the cancelled recording ended as {end}")
    undone = await _steps(firm, handle, before)
    found.undo = {step.id.removeprefix(UNDO): step for step in undone.steps if step.id.startswith(UNDO)}
    return found


async def _run(firm: ChaosFirm, deal: Deal, seconds: float) -> Recording:
    before = await _marks(firm)
    await firm.seed(deal)
    handle = await firm.start(deal)
    end = await firm.settle(handle, seconds)
    if end != "complete":
        view = await firm.view(handle)
        raise RuntimeError(f"the undisturbed run of {deal.name!r} ended as {end}: {view['headline']}")
    return await _steps(firm, handle, before)


async def _marks(firm: ChaosFirm) -> dict[str, tuple[int, int]]:
    marks = {}
    for vendor in firm.urls:
        calls = (await firm.control(vendor, "GET", "calls"))["calls"]
        marks[vendor] = len(calls), len(await firm.control(vendor, "GET", "writes"))
    return marks


async def _steps(
    firm: ChaosFirm, handle: WorkflowHandle[Any, Any], before: dict[str, tuple[int, int]]
) -> Recording:
    view = await firm.view(handle)
    by_title = {step["title"]: step for step in view["steps"]}
    by_id = {step["id"]: step for step in view["steps"]}
    spans = await _spans(firm, handle)
    calls: dict[int, list[Call]] = {index: [] for index in range(len(spans))}
    logged = 0
    for vendor, (call_mark, write_mark) in before.items():
        seen: dict[tuple[str, str], int] = {}
        logged += len((await firm.control(vendor, "GET", "writes"))[write_mark:])
        for row in (await firm.control(vendor, "GET", "calls"))["calls"][call_mark:]:
            pattern = pattern_of(row["path"])
            skip = seen.get((row["method"], pattern), 0)
            seen[row["method"], pattern] = skip + 1
            at = datetime.fromisoformat(row["at"])
            holders = [
                index
                for index, (_, system, began, ended) in enumerate(spans)
                if system == vendor and began <= at <= ended
            ]
            write = row["method"] != "GET" and not any(word in row["path"] for word in NEVER_HIT)
            if not holders and write:
                raise RuntimeError(f"{row['method']} {row['path']} belongs to no step")
            for index in holders[:1]:
                calls[index].append(Call(vendor, row["method"], pattern, skip, write))
    found = Recording(writes=logged)
    for index, (name, _, began, ended) in enumerate(spans):
        step = by_id.get(name[0]) or by_title.get(name[1])
        if step is not None:
            usable = [call for call in calls[index] if not remembered(call)] or calls[index][:1]
            found.steps.append(
                Step(
                    general(step["id"]),
                    step["kind"],
                    name[2],
                    tuple(usable),
                    began.timestamp(),
                    ended.timestamp(),
                )
            )
    for step in view["steps"]:
        if step["kind"] == "gate":
            first = next(i for i, one in enumerate(found.steps) if one.kind != "read")
            found.steps.insert(first, Step(general(step["id"]), "gate", ""))
    count = sum(len(step.writes) for step in found.steps)
    if count != logged:
        raise RuntimeError(f"{count} writes in the steps, {logged} in the vendors' logs")
    return found


def remembered(call: Call) -> bool:
    """Whether a worker makes the call once and remembers the answer."""
    return any(re.escape(word) in call.pattern or word in call.pattern for word in NEVER_HIT)


async def _spans(
    firm: ChaosFirm, handle: WorkflowHandle[Any, Any]
) -> list[tuple[tuple[str, str, str], str, datetime, datetime]]:
    """((step id, title, activity), vendor, began, ended) of every activity, in the order they began."""
    kinds = {name: section.vendor for name, section in firm.settings.systems.items()}
    scheduled: dict[int, tuple[tuple[str, str, str], str]] = {}
    began: dict[int, datetime] = {}
    spans = []
    for event in (await handle.fetch_history()).events:
        at = event.event_time
        match event.event_type:
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                made = event.activity_task_scheduled_event_attributes
                payload = json.loads(made.input.payloads[0].data)
                summary = json.loads(event.user_metadata.summary.data or b'""')
                step = payload.get("step", "")
                if made.activity_type.name == UNDO_STEP:
                    step = UNDO + step
                vendor = kinds.get(made.task_queue.name.removeprefix("trueup-system-"), "")
                scheduled[event.event_id] = (step, summary, made.activity_type.name), vendor
            case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                began[event.activity_task_started_event_attributes.scheduled_event_id] = utc(at)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                id_ = event.activity_task_completed_event_attributes.scheduled_event_id
                spans.append((*scheduled[id_], began[id_], utc(at)))
    return sorted(spans, key=lambda span: span[2])


def utc(at: Any) -> datetime:
    """An instant of a history."""
    found: datetime = at.ToDatetime(tzinfo=UTC)
    return found


def describe(recordings: Iterable[Recording]) -> str:
    """One line a recording."""
    return "\n".join(
        f"{len(one.steps)} steps, {sum(len(s.calls) for s in one.steps)} calls, {one.writes} writes, "
        f"{len(one.undo)} undos"
        for one in recordings
    )
