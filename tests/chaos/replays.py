"""A replay of anything changes nothing: triggers that come again after the server has forgotten the saga,
activities run again with the input they had, histories replayed under the workflows' code.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import ActivityTaskScheduledEventAttributes, HistoryEvent
from temporalio.client import (
    ActivityFailureError,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHistory,
)
from temporalio.common import RawValue, RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from tests.chaos.firm import ChaosFirm
from tests.chaos.world import Won, World
from tests.support.replaying import replayer
from wiring.start import start_input
from workflows.opportunity_to_project import OpportunityToProject

PATIENCE = timedelta(seconds=20)
SENDS = ("ensure_", "set_up_", "open_project", "complete_structure", "activate_", "write_back", "undo_step")
"""In the names of the activities that write to vendors."""


async def judge_replays(world: World, complete: Sequence[Won]) -> list[str]:
    """Everything again, and what that changed at the vendors."""
    firm = world.firm
    before = await _marks(firm)
    found = [problem for won in complete for problem in await _started_again(firm, won)]
    histories = [one for won in world.won for one in await _histories(firm, won.saga.id)]
    found += await _replayed(histories)
    for won in world.won[:1]:
        found += await _performed_again(firm, [one for one in histories if one.workflow_id == won.saga.id])
    for vendor, (mark, records) in (await _marks(firm)).items():
        if mark != before[vendor][0]:
            more = await firm.control(vendor, "GET", f"writes?since={before[vendor][0]}")
            what = ", ".join(f"{one['operation']} of {one['type']} {one['id']}" for one in more)
            found.append(f"replays made {vendor} accept {what}")
        elif records != before[vendor][1]:
            found.append(f"replays changed {vendor}'s records")
    return found


async def _marks(firm: ChaosFirm) -> dict[str, tuple[int, Any]]:
    records = await firm.records()
    return {v: (len(await firm.control(v, "GET", "writes")), records[v]) for v in firm.urls}


async def _started_again(firm: ChaosFirm, won: Won) -> list[str]:
    """A trigger now, and one that comes when the server has long forgotten that the saga was complete."""
    found = []
    try:
        await firm.start(won.deal)
        found.append(f"{won.saga.id} was complete and could be started again")
    except WorkflowAlreadyStartedError:
        pass
    command = start_input(
        firm.settings, firm.mapping, system="sf-main", record_id=won.id, actor=firm.settings.actor("root")
    )
    description = await firm.client.get_workflow_handle(won.saga.id).describe()
    handle = await firm.client.start_workflow(
        OpportunityToProject.run,
        command,
        id=won.saga.id,
        task_queue=description.task_queue,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
    )
    try:
        await asyncio.wait_for(handle.result(), PATIENCE.total_seconds())
        found.append(f"{won.saga.id} was complete and completed once more")
    except WorkflowFailureError:
        pass
    except TimeoutError:
        await handle.terminate("it was to refuse")
        found.append(f"{won.saga.id} was complete; started again it did not refuse")
    return found


async def _histories(firm: ChaosFirm, saga: str) -> list[WorkflowHistory]:
    """Of all runs of a saga that have ended."""
    found = []
    async for run in firm.client.list_workflows(f"WorkflowId = '{saga}'"):
        if run.status is not WorkflowExecutionStatus.RUNNING:
            found.append(await firm.client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history())
    return found


async def _replayed(histories: Sequence[WorkflowHistory]) -> list[str]:
    again, found = replayer(), []
    for history in histories:
        result = await again.replay_workflow(history, raise_on_replay_failure=False)
        if result.replay_failure is not None:
            found.append(f"{history.workflow_id} {history.run_id} does not replay: {result.replay_failure}")
    return found


async def _performed_again(firm: ChaosFirm, histories: Sequence[WorkflowHistory]) -> list[str]:
    """Every writing step once more, on a worker, with the very input that it had last.

    An earlier input of a step that was amended is left out: asked for now, it would be a new demand. That a
    late attempt of it puts nothing back is what the move ``freeze`` is there for.
    """
    for made in _last_inputs(event for history in histories for event in _sending(history)):
        try:
            await firm.client.execute_activity(
                made.activity_type.name,
                args=[RawValue(payload) for payload in made.input.payloads],
                id=f"again-{uuid.uuid4().hex}",
                task_queue=made.task_queue.name,
                start_to_close_timeout=PATIENCE,
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
        except ActivityFailureError:
            continue  # refused: what was undone is closed. Whether anything was sent the vendors know.
    return []


def _sending(history: WorkflowHistory) -> Iterator[HistoryEvent]:
    for event in history.events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            name = event.activity_task_scheduled_event_attributes.activity_type.name
            if any(word in name for word in SENDS):
                yield event


def _last_inputs(events: Iterable[HistoryEvent]) -> list[ActivityTaskScheduledEventAttributes]:
    """By activity and step the last of its inputs, in the order in which they were asked for."""
    last: dict[tuple[str, str], ActivityTaskScheduledEventAttributes] = {}
    for event in sorted(events, key=lambda one: one.event_time.ToNanoseconds()):
        made = event.activity_task_scheduled_event_attributes
        step = json.loads(made.input.payloads[0].data)["step"]
        last.pop((made.activity_type.name, step), None)
        last[made.activity_type.name, step] = made
    return list(last.values())
