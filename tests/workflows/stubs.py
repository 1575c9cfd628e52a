"""Stub activities by name: they answer what a test scripts and remember how they were called."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.contracts import (
    CloseCase,
    EscalateCase,
    FinishSaga,
    LeftBehind,
    LeftStep,
    OpenCase,
    RecordDecision,
    SagaRef,
    StepOutcome,
    UndoStep,
    UndoStepResult,
)
from canonical.causes import Cause, Queue
from canonical.failures import Failure, FailureKind
from canonical.refs import RecordRef
from tests.workflows.probe import Do


@dataclass
class Desk:
    """One saga's stubs: what they answer, in which order they were asked."""

    calls: list[str] = field(default_factory=list)
    """``do ID``, ``undo ID``, ``read ID`` in the order in which they began."""
    inputs: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    books: list[str] = field(default_factory=list)
    """Ledger entries in order, for example ``open ID``, ``decide ID``, ``finish STATUS``."""
    entries: list[Any] = field(default_factory=list)
    script: dict[str, list[Failure | Exception]] = field(default_factory=dict)
    """By call (``do ID``): failures to raise, one per call, before it succeeds."""
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    """By call: it goes on only when the event is set."""
    left: list[LeftStep] = field(default_factory=list)
    """What an earlier run of the saga did, as the ledger knows."""
    began: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))

    def fail(self, call: str, *failures: Failure | Exception) -> None:
        self.script.setdefault(call, []).extend(failures)

    def block(self, call: str) -> asyncio.Event:
        """Make a call wait until the event returned is set."""
        self.gates[call] = asyncio.Event()
        return self.gates[call]

    async def take(self, call: str, command: Any) -> None:
        self.calls.append(call)
        self.inputs[call].append(command)
        self.began[call].set()
        if call in self.gates:
            await self.gates[call].wait()
        rest = self.script.get(call)
        if rest:
            wrong = rest.pop(0)
            if isinstance(wrong, Failure):
                raise refused(wrong)
            raise wrong


DESKS: dict[str, Desk] = {}
"""By saga id: the worker is shared by all tests."""


def refused(failure: Failure) -> ApplicationError:
    """A failure as ``activities.failures`` raises it, never retried by the server."""
    return ApplicationError(
        failure.message, failure.model_dump(mode="json"), type=failure.cause.value, non_retryable=True
    )


def repair(message: str = "the vendor says no", **more: Any) -> Failure:
    values: dict[str, Any] = {
        "kind": FailureKind.REPAIR,
        "cause": Cause.VENDOR_REFUSED,
        "message": message,
        "queue": Queue.MASTER_DATA,
        **more,
    }
    return Failure(**values)


def away(message: str = "the vendor is away", **more: Any) -> Failure:
    values: dict[str, Any] = {
        "kind": FailureKind.RETRY,
        "cause": Cause.VENDOR_UNAVAILABLE,
        "message": message,
        **more,
    }
    return Failure(**values)


def record(step: str, system: str) -> RecordRef:
    return RecordRef(system=system, type="thing", id=step.upper())


def desk(saga: SagaRef) -> Desk:
    return DESKS.setdefault(saga.saga_id, Desk())


class SystemStubs:
    """Every connected system."""

    @activity.defn(name="probe.write")
    async def write(self, command: Do) -> StepOutcome:
        mine = desk(command.saga)
        await mine.take(f"do {command.step}", command)
        if command.saga.plan:
            return StepOutcome(writes=({"key": command.step, "title": command.step},))
        return StepOutcome(
            values={f"{command.step}.id": command.step.upper()},
            records=(record(command.step, command.system),),
        )

    @activity.defn(name="probe.read")
    async def read(self, command: Do) -> str:
        await desk(command.saga).take(f"read {command.step}", command)
        return f"{command.step}, {command.note}"

    @activity.defn(name="effects.undo_step")
    async def undo_step(self, command: UndoStep) -> UndoStepResult:
        await desk(command.saga).take(f"undo {command.step}", command)
        return UndoStepResult(done=(f"{command.step}: deleted",), gaps=(f"gap-{command.step}",))


class LedgerStubs:
    """The ledger's activities."""

    async def _note(self, saga: SagaRef, word: str, command: Any) -> None:
        mine = desk(saga)
        rest = mine.script.get(word.split()[0])
        if rest:
            wrong = rest.pop(0)
            mine.books.append(f"{word} failed")
            raise refused(wrong) if isinstance(wrong, Failure) else wrong
        mine.books.append(word)
        mine.entries.append(command)

    @activity.defn(name="ledger.open_case")
    async def open_case(self, command: OpenCase) -> None:
        await self._note(command.saga, f"open {command.step}", command)

    @activity.defn(name="ledger.close_case")
    async def close_case(self, command: CloseCase) -> None:
        await self._note(command.saga, f"close {command.step}", command)

    @activity.defn(name="ledger.escalate_case")
    async def escalate_case(self, command: EscalateCase) -> None:
        await self._note(command.saga, f"escalate {command.step}", command)

    @activity.defn(name="ledger.record_decision")
    async def record_decision(self, command: RecordDecision) -> None:
        made = command.repair or command.gate
        assert made is not None
        await self._note(command.saga, f"decide {made.step}", command)

    @activity.defn(name="ledger.left_behind")
    async def left_behind(self, command: SagaRef) -> LeftBehind:
        return LeftBehind(steps=tuple(desk(command).left))

    @activity.defn(name="ledger.finish_saga")
    async def finish_saga(self, command: FinishSaga) -> None:
        await self._note(command.saga, f"finish {command.view.status.value}", command)
