"""(b) What the saga's kernel costs: processor time and history events against the same calls without it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle

from bench import cpu
from bench.bare import QUEUE, Bare, Nothing
from bench.calls import count
from bench.firm import BenchFirm
from bench.result import Goal, Part, Row
from bench.stats import paired, spread
from canonical.saga import SagaStatus
from cli.local.deals import Deal

OVERHEAD = 1.15
"""The worker's processor time per saga against the same calls without the kernel."""
IN_FLIGHT = 6
"""Deals at once; more add nothing on two cores."""
SETTLE = 0.5
"""Seconds after a batch in which what it left behind still counts as its own."""
DELIBERATE = {"UPSERT_WORKFLOW_SEARCH_ATTRIBUTES": 1}
"""The one event that the saga has and the bare workflow lacks: its end, for lists and searches."""
WORKFLOW_TASK = "WORKFLOW_TASK_"
"""How many of these there are depends on which answers happen to come in together."""


@dataclass
class Side:
    """One side of the comparison."""

    carry: Callable[[Deal], Awaitable[WorkflowHandle[Any, Any]]]
    """Carries one deal to its end."""
    cpu: list[float] = field(default_factory=list)
    """Milliseconds of the worker's processor time per deal, by round."""
    handles: list[WorkflowHandle[Any, Any]] = field(default_factory=list)
    events: list[list[Any]] = field(default_factory=list)
    """Of every deal."""
    calls: list[dict[str, dict[str, int]]] = field(default_factory=list)
    """Vendor calls of every deal."""


def names(events: Iterable[Any]) -> Counter[str]:
    """How many events of each type a history has."""
    return Counter(EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in events)


def without_tasks(found: Counter[str]) -> Counter[str]:
    """Without the events of workflow tasks."""
    return Counter({name: times for name, times in found.items() if not name.startswith(WORKFLOW_TASK)})


async def kernel_cost(firm: BenchFirm, rounds: int, deals: int) -> Part:
    """Batches of deals by the saga, by the bare workflow and by nothing at all, in turn, in one worker.

    Args:
        firm: with one worker for all queues.
        rounds: of one batch for each side; which is first changes every round.
        deals: per batch.
    """
    (worker,) = firm.workers.values()

    async def saga(deal: Deal) -> WorkflowHandle[Any, Any]:
        return (await firm.run(deal)).handle

    async def bare(deal: Deal) -> WorkflowHandle[Any, Any]:
        command = firm.command(deal)
        handle: WorkflowHandle[Any, Any] = await firm.client.start_workflow(
            Bare.run, command, id=command.saga_id, task_queue=QUEUE
        )
        if (await handle.result()).status is not SagaStatus.COMPLETE:
            raise RuntimeError(f"{handle.id} did not become complete")
        return handle

    await bare(await firm.win())
    activities = sum(_activities(await _events(await saga(await firm.win()))).values())
    sides, engine = {"saga": Side(saga), "bare": Side(bare)}, list[float]()
    for number in range(rounds):
        order = list(sides.values())
        for side in order if number % 2 == 0 else reversed(order):
            await _batch(firm, side, deals, worker.pid)
        engine.append(await _floor(firm, activities, deals, worker.pid))
    calls = await firm.calls()
    for side in sides.values():
        for handle in side.handles:
            side.events.append(await _events(handle))
            side.calls.append(count(call for call in calls if call.saga == handle.id))
    return report(sides["saga"], sides["bare"], engine, activities)


async def _batch(firm: BenchFirm, side: Side, deals: int, pid: int) -> None:
    won = [await firm.win() for _ in range(deals)]
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one(deal: Deal) -> WorkflowHandle[Any, Any]:
        async with slots:
            return await side.carry(deal)

    before = cpu.used(pid)
    side.handles += await asyncio.gather(*(one(deal) for deal in won))
    await asyncio.sleep(SETTLE)
    side.cpu.append((cpu.used(pid) - before) / deals * 1000)


async def _floor(firm: BenchFirm, activities: int, deals: int, pid: int) -> float:
    slots = asyncio.Semaphore(IN_FLIGHT)
    before = cpu.used(pid)

    async def one(number: int) -> None:
        async with slots:
            await firm.client.execute_workflow(
                Nothing.run, activities, id=f"nothing-{before}-{number}", task_queue=QUEUE
            )

    await asyncio.gather(*(one(number) for number in range(deals)))
    await asyncio.sleep(SETTLE)
    return (cpu.used(pid) - before) / deals * 1000


async def _events(handle: WorkflowHandle[Any, Any]) -> list[Any]:
    return list((await handle.fetch_history()).events)


def _activities(events: Iterable[Any]) -> Counter[str]:
    return Counter(
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    )


def extra_events(saga: Side, bare: Side) -> dict[str, int]:
    """Events that the saga has and the bare workflow lacks, or the other way round, by type; the most of any
    deal. Without workflow tasks and the deliberate one.
    """
    extra: dict[str, int] = {}
    for ours, theirs in zip(saga.events, bare.events, strict=True):
        difference = without_tasks(names(ours))
        difference.subtract(without_tasks(names(theirs)))
        difference.subtract(DELIBERATE)
        for name, times in difference.items():
            if times:
                extra[name] = max(extra.get(name, 0), times, key=abs)
    return extra


def idle_tasks(side: Side) -> int:
    """Workflow tasks that neither the start nor the end of an activity woke: timers, signals, retries."""
    found = 0
    for events in side.events:
        woken = True
        for event in events:
            match event.event_type:
                case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                    woken = True
                case EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
                    found += not woken
                    woken = False
    return found


def report(saga: Side, bare: Side, engine: Sequence[float], activities: int) -> Part:
    """The measurement in words and figures.

    Raises:
        RuntimeError: the two sides did not make the same calls: nothing can be compared.
    """
    called = {str(calls) for side in (saga, bare) for calls in side.calls}
    performed = {str(sorted(_activities(one).items())) for side in (saga, bare) for one in side.events}
    if len(called) != 1 or len(performed) != 1:
        raise RuntimeError(f"the sides did not do the same: {sorted(called)} {sorted(performed)}")
    extra = extra_events(saga, bare)
    totals = {name: [len(one) for one in side.events] for name, side in (("saga", saga), ("bare", bare))}
    tasks = {
        name: [names(one)["WORKFLOW_TASK_COMPLETED"] for one in side.events]
        for name, side in (("saga", saga), ("bare", bare))
    }
    ratio = paired(saga.cpu, bare.cpu)
    part = Part("kernel", "What the saga's kernel costs")
    part.figures = {
        "cpu_to_bare": round(ratio, 3),
        "saga_cpu_ms": round(median(saga.cpu), 1),
        "bare_cpu_ms": round(median(bare.cpu), 1),
        "engine_cpu_ms": round(median(engine), 1),
        "saga_events": int(median(totals["saga"])),
        "bare_events": int(median(totals["bare"])),
        "extra_events": sum(abs(times) for times in extra.values()) + idle_tasks(saga),
        "activities_per_deal": activities,
        "kernel_deals": len(saga.handles),
    }
    part.goals = [Goal("cpu_to_bare", at_most=OVERHEAD), Goal("extra_events", at_most=0)]
    part.rows = [
        Row(
            "worker CPU per deal against the same calls in a bare workflow",
            spread([a / b for a, b in zip(saga.cpu, bare.cpu, strict=True)]),
            "cpu_to_bare",
        ),
        Row("worker CPU per deal, saga / bare, ms", f"{spread(saga.cpu, 0)} / {spread(bare.cpu, 0)}"),
        Row(f"the engine alone: {activities} activities that do nothing, ms", spread(engine, 0)),
        Row(
            "history events per deal, saga / bare",
            f"{spread(totals['saga'], 0)} / {spread(totals['bare'], 0)}",
        ),
        Row(
            "workflow tasks among them (by which answers come in together)",
            f"{spread(tasks['saga'], 0)} / {spread(tasks['bare'], 0)}",
        ),
        Row(
            "events that the bare workflow lacks, beside the final search attributes (1)",
            ", ".join(f"{name} {times:+d}" for name, times in extra.items()) or "none",
            "extra_events",
        ),
    ]
    return part
