"""A saga whose business is data: what it takes to put the kernel, and nothing else, under test."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any

from pydantic import ValidationError
from temporalio import activity, workflow

from activities.contracts import SagaRef, StartSaga, StepOutcome
from activities.options import CallClass
from canonical.base import Canonical
from canonical.failures import Failure
from canonical.names import system_queue
from canonical.saga import GateDecision, GateRequest, RepairCommand, SagaStatus, SagaView, StepKind
from workflows.saga import Saga


class Do(Canonical):
    """One step's input; ``note`` is what a repair may amend."""

    saga: SagaRef
    step: str
    system: str
    note: str = "as planned"
    values: dict[str, str] = {}


class HoldInput(Canonical):
    """What a repair of a hold may amend."""

    deal: dict[str, Any] = {}


class ProbeActivities(ABC):
    @activity.defn(name="probe.write")
    @abstractmethod
    async def write(self, command: Do) -> StepOutcome: ...

    @activity.defn(name="probe.read")
    @abstractmethod
    async def read(self, command: Do) -> str: ...


@workflow.defn(name="Probe", failure_exception_types=[ValidationError])
class Probe:
    """Runs the parts listed in the start's reason, one after another.

    A part is ``{"step": id, "kind": kind, "system": name}``, ``{"gate": request}``, ``{"together": parts}``,
    ``{"hold": id, "failure": failure}``, ``{"retract": id}`` or ``{"stop": failure}``.
    """

    @workflow.init
    def __init__(self, start: StartSaga) -> None:
        self.start = start
        self.saga = Saga("probe", start, "Probing the kernel")
        self.seen: list[Any] = []

    @workflow.run
    async def run(self, start: StartSaga) -> SagaView:
        return await self.saga.conduct(self.business)

    async def business(self) -> None:
        for part in json.loads(self.start.reason):
            await self.part(part)

    async def part(self, part: dict[str, Any]) -> None:
        if "step" in part:
            await self.step(part["step"], StepKind(part.get("kind", "compensatable")), part["system"])
        elif "gate" in part:
            decision = await self.saga.gate(GateRequest.model_validate(part["gate"]))
            self.seen.append(decision.outcome.value if decision else None)
        elif "together" in part:
            await self.saga.together(*(self.part(one) for one in part["together"]))
        elif "hold" in part:
            failure = Failure.model_validate(part["failure"])
            self.seen.append(await self.saga.hold(part["hold"], "Held", failure, HoldInput()))
            self.saga.settled(part["hold"], "Held")
        elif "retract" in part:
            await self.saga.retract(part["retract"])
        else:
            raise self.saga.stop(SagaStatus(part["stop"]), Failure.model_validate(part["failure"]))

    async def step(self, id_: str, kind: StepKind, system: str) -> None:
        command = Do(saga=self.saga.ref, step=id_, system=system, values=self.saga.values)
        queue = system_queue(system)
        if kind is StepKind.READ:
            found = await self.saga.step(
                id_, f"Read {id_}", ProbeActivities.read, command, kind=kind, queue=queue, system=system
            )
            self.seen.append(found)
            return
        outcome = await self.saga.step(
            id_,
            f"Do {id_}",
            ProbeActivities.write,
            command,
            kind=kind,
            queue=queue,
            call=CallClass.WRITE,
            system=system,
        )
        self.saga.keep(outcome)

    @workflow.update(name="resolve_step")
    async def resolve_step(self, command: RepairCommand) -> SagaView:
        return self.saga.repair(command)

    @resolve_step.validator
    def _check_resolve_step(self, command: RepairCommand) -> None:
        self.saga.check_repair(command, self.start.repair_roles)

    @workflow.update(name="decide")
    async def decide(self, decision: GateDecision) -> SagaView:
        return self.saga.decide(decision)

    @decide.validator
    def _check_decide(self, decision: GateDecision) -> None:
        self.saga.check_decision(decision)

    @workflow.update(name="renew")
    async def renew(self) -> SagaView:
        return self.saga.renew()

    @workflow.query(name="view")
    def view(self) -> SagaView:
        return self.saga.state.view()

    @workflow.query(name="seen")
    def what_was_seen(self) -> list[Any]:
        return self.seen
