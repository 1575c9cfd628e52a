"""Starts probes and plays operator: repairs, decisions, cancels, looks."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from activities.contracts import StartSaga
from activities.options import Timings
from canonical.names import WORKFLOW_QUEUE
from canonical.saga import (
    Actor,
    GateDecision,
    GateOutcome,
    RepairAction,
    RepairCommand,
    SagaStatus,
    SagaView,
    StepState,
    StepView,
)
from tests.workflows.probe import Probe
from tests.workflows.stubs import DESKS, Desk
from workflows.opportunity_to_project import OpportunityToProject

ANNA = Actor(name="anna", roles=("master-data",))
PATIENCE = 15.0
"""Real seconds within which a state must be reached; it takes milliseconds."""
QUESTIONS, ANSWERED = 4, timedelta(seconds=3)
OPEN = timedelta(days=60)
"""The server likes to skip to where an ended workflow would have timed out. Its own ten years, a few dozen
times over, take its clock beyond what nanoseconds can count (2262), and then it hangs."""
Part = dict[str, Any]


def step(id_: str, kind: str = "compensatable", system: str = "erp") -> Part:
    return {"step": id_, "kind": kind, "system": system}


def gate(id_: str = "gate.credit", **more: Any) -> Part:
    request = {
        "gate": "credit-review",
        "step": id_,
        "title": "Credit review",
        "question": "May we?",
        "roles": ["credit-manager"],
        **more,
    }
    return {"gate": request}


@dataclass
class Run:
    """One saga under test with its stubs."""

    environment: WorkflowEnvironment
    handle: WorkflowHandle[Any, SagaView]
    desk: Desk

    async def view(self) -> SagaView:
        """What the saga shows now. This server loses a question put while a saga continues as new."""
        for _ in range(QUESTIONS):
            with suppress(RPCError):
                view: SagaView = await self.handle.query("view", result_type=SagaView, rpc_timeout=ANSWERED)
                return view
        raise AssertionError("the saga does not answer")

    async def step(self, id_: str) -> StepView:
        view = await self.view()
        return next(one for one in view.steps if one.id == id_)

    async def until(self, reached: Callable[[SagaView], bool]) -> SagaView:
        """Poll the saga's view; fails with the last one when it never gets there."""
        give_up = asyncio.get_running_loop().time() + PATIENCE
        while True:
            view = await self.view()
            if reached(view):
                return view
            assert asyncio.get_running_loop().time() < give_up, view.model_dump_json(indent=1)
            await asyncio.sleep(0.01)

    async def status(self, wanted: SagaStatus) -> SagaView:
        return await self.until(lambda view: view.status is wanted)

    async def parked(self, *ids: str) -> SagaView:
        """Until exactly these steps are parked."""
        return await self.until(lambda view: {one.id for one in view.parked_steps} == set(ids))

    async def done(self, id_: str) -> SagaView:
        return await self.until(
            lambda view: any(one.id == id_ and one.state is StepState.DONE for one in view.steps)
        )

    async def booked(self, *words: str) -> None:
        """Until the ledger holds these entries; entries are written behind the saga's back."""
        give_up = asyncio.get_running_loop().time() + PATIENCE
        while not set(words) <= set(self.desk.books):
            assert asyncio.get_running_loop().time() < give_up, self.desk.books
            await asyncio.sleep(0.01)

    async def began(self, call: str) -> None:
        await asyncio.wait_for(self.desk.began[call].wait(), PATIENCE)

    async def repair(
        self, id_: str, action: RepairAction = RepairAction.RETRY, *, command: str | None = None, **more: Any
    ) -> SagaView:
        values: dict[str, Any] = {"actor": ANNA, "reason": "looked at it", **more}
        view: SagaView = await self.handle.execute_update(
            "resolve_step",
            RepairCommand(command_id=command or uuid.uuid4().hex, step=id_, action=action, **values),
            result_type=SagaView,
        )
        return view

    async def decide(
        self,
        outcome: GateOutcome,
        id_: str = "gate.credit",
        *,
        command: str | None = None,
        actor: Actor | None = None,
        reason: str = "because",
        choice: str | None = None,
    ) -> SagaView:
        decision = GateDecision(
            command_id=command or uuid.uuid4().hex,
            step=id_,
            outcome=outcome,
            actor=actor or Actor(name="carla", roles=("credit-manager",)),
            reason=reason,
            choice=choice,
        )
        view: SagaView = await self.handle.execute_update("decide", decision, result_type=SagaView)
        return view

    async def result(self) -> SagaView:
        """The end; time is skipped while waiting for it."""
        return await asyncio.wait_for(self.handle.result(), PATIENCE)

    async def failure(self) -> BaseException | None:
        """What a saga that did not complete ended with."""
        try:
            view = await self.result()
        except WorkflowFailureError as error:
            return error.cause
        raise AssertionError(f"it completed: {view.headline}")

    async def undone(self, message: str | None = None) -> SagaView:
        """Until it ended undone, cancelled or failed with its original failure."""
        cause = await self.failure()
        assert isinstance(cause, (ApplicationError, CancelledError)), cause
        if message is not None:
            assert isinstance(cause, ApplicationError)
            assert cause.message == message
        return await self.view()

    async def skip(self, **time: float) -> None:
        """Let time pass. A test that does so is marked ``own_server``."""
        await self.environment.sleep(timedelta(**time))

    async def events(self, *types: EventType.ValueType, run_id: str | None = None) -> list[HistoryEvent]:
        handle = self.handle
        if run_id is not None:
            handle = self.environment.client.get_workflow_handle(handle.id, run_id=run_id)
        history = await handle.fetch_history()
        return [event for event in history.events if not types or event.event_type in types]


async def refusal(work: Awaitable[SagaView]) -> str:
    """The one line with which an update is refused."""
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await work
    cause = refused.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == "Refused"
    return cause.message


@dataclass
class Kernel:
    """Starts sagas; whatever still runs at a test's end is terminated, so that time can be skipped."""

    environment: WorkflowEnvironment
    runs: list[Run] = field(default_factory=list)

    async def start(
        self,
        *parts: Part,
        desk: Desk | None = None,
        plan: bool = False,
        timings: Timings | None = None,
        repair_roles: dict[str, tuple[str, ...]] | None = None,
        **more: Any,
    ) -> Run:
        name = f"{'plan:' if plan else ''}o2p:emea:crm:{uuid.uuid4().hex[:18]}"
        command = StartSaga(
            saga_id=name,
            region="emea",
            system="crm",
            record_id=name.rsplit(":", 1)[1],
            actor=Actor(name="test"),
            reason=json.dumps(parts),
            plan=plan,
            trace_id="trace",
            timings=timings or Timings(attempts=1),
            repair_roles=repair_roles or {},
            **more,
        )
        mine = desk or Desk()
        DESKS[name] = mine
        handle = await self.environment.client.start_workflow(
            Probe.run, command, id=name, task_queue=WORKFLOW_QUEUE, execution_timeout=OPEN
        )
        run = Run(self.environment, handle, mine)
        self.runs.append(run)
        return run

    async def start_deal(self, desk: Desk, record_id: str, *, plan: bool = False) -> Run:
        """Start opportunity-to-project over stubs."""
        name = f"{'plan:' if plan else ''}o2p:emea:sf-main:{uuid.uuid4().hex[:18]}"
        command = StartSaga(
            saga_id=name,
            region="emea",
            system="sf-main",
            record_id=record_id,
            actor=Actor(name="test"),
            plan=plan,
            trace_id="trace",
            timings=Timings(attempts=1),
        )
        DESKS[name] = desk
        handle = await self.environment.client.start_workflow(
            OpportunityToProject.run, command, id=name, task_queue=WORKFLOW_QUEUE, execution_timeout=OPEN
        )
        run = Run(self.environment, handle, desk)
        self.runs.append(run)
        return run

    async def start_saga(
        self, run: Callable[..., Awaitable[SagaView]], command: StartSaga, desk: Desk
    ) -> Run:
        """Start any saga by its ``run``."""
        DESKS[command.saga_id] = desk
        handle = await self.environment.client.start_workflow(
            run,
            command,
            id=command.saga_id,
            task_queue=WORKFLOW_QUEUE,
            execution_timeout=OPEN,
        )
        mine = Run(self.environment, handle, desk)
        self.runs.append(mine)
        return mine

    def found(self, saga_id: str, desk: Desk) -> Run:
        """A saga that another one has started."""
        handle: WorkflowHandle[Any, SagaView] = self.environment.client.get_workflow_handle(
            saga_id, result_type=SagaView
        )
        mine = Run(self.environment, handle, desk)
        self.runs.append(mine)
        return mine

    async def start_raw(self, workflow: str, *arguments: Any) -> WorkflowHandle[Any, Any]:
        """Start by name with whatever input."""
        handle: WorkflowHandle[Any, Any] = await self.environment.client.start_workflow(
            workflow,
            args=list(arguments),
            id=f"raw-{uuid.uuid4().hex}",
            task_queue=WORKFLOW_QUEUE,
            execution_timeout=OPEN,
        )
        self.runs.append(Run(self.environment, handle, Desk()))
        return handle

    async def clean_up(self) -> None:
        for run in self.runs:
            for event in run.desk.gates.values():
                event.set()
            with suppress(RPCError):
                await run.handle.terminate("test is over")
