"""What every saga uses: its reference, its start, step outcomes, undo, cases, decisions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any

from temporalio import activity

from activities.options import Timings
from canonical.base import Canonical
from canonical.delivery import DeliveryProject
from canonical.engagement import Engagement
from canonical.failures import Failure
from canonical.refs import RecordRef
from canonical.saga import Actor, GateDecision, GateRequest, RepairCommand, SagaView


class SagaRef(Canonical):
    """The saga an activity works for."""

    saga_id: str
    generation: int = 1
    region: str
    business_key: str
    trace_id: str
    actor: Actor
    plan: bool = False
    """Plan only: read, build the writes, send none, touch no ledger."""
    call_seconds: float = 35
    mapping: dict[str, str] = {}


class StepOutcome(Canonical):
    """What a writing step did, or would do."""

    values: dict[str, str] = {}
    """What only the vendor could make, by symbol."""
    records: tuple[RecordRef, ...] = ()
    writes: tuple[dict[str, Any], ...] = ()
    """In plan mode: the writes with their symbols shown."""
    note: str | None = None


class StartSaga(Canonical):
    """How a saga is started; the same for every trigger."""

    saga_id: str
    region: str
    system: str
    record_id: str
    actor: Actor
    reason: str = ""
    plan: bool = False
    trace_id: str
    timings: Timings = Timings()
    mapping: dict[str, str] = {}
    source_event_at: datetime | None = None
    """When the business event happened: the five-minute clock counts from here."""
    repair_roles: dict[str, tuple[str, ...]] = {}
    """Roles that may repair, by exception queue; an absent queue allows anybody."""
    state: dict[str, Any] | None = None
    """The saga's own state when it continues as new."""


class UndoStep(Canonical):
    """A step to undo in one system, found by its key."""

    saga: SagaRef
    step: str
    step_key: str
    system: str
    reason: str


class UndoStepResult(Canonical):
    """What the undo did, in words per record, and the numbers that stay used up."""

    done: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()


class NothingToAmend(Canonical):
    """What a repair may amend where systems are corrected instead, and read again."""


class OpenCase(Canonical):
    """An exception to record."""

    saga: SagaRef
    step: str
    failure: Failure
    transient: bool
    opened_at: datetime
    links: tuple[RecordRef, ...] = ()


class CloseCase(Canonical):
    """An exception that is over."""

    saga: SagaRef
    step: str
    resolution: str


class RecordDecision(Canonical):
    """A human decision to keep: a repair or a gate's."""

    saga: SagaRef
    repair: RepairCommand | None = None
    gate: GateDecision | None = None
    request: GateRequest | None = None


class EscalateCase(Canonical):
    """A deadline that passed."""

    saga: SagaRef
    step: str
    message: str


class LeftStep(Canonical):
    """A step that may have left something in a connected system."""

    step: str
    step_key: str
    system: str
    title: str
    """Of its first write."""


class LeftBehind(Canonical):
    """What a saga may have left in connected systems, as the ledger knows."""

    steps: tuple[LeftStep, ...] = ()
    """In the order in which they were first performed."""


class FinishSaga(Canonical):
    """The end of a saga, with its view as the lasting record."""

    saga: SagaRef
    view: SagaView
    engagement: Engagement | None = None
    deliveries: tuple[DeliveryProject, ...] = ()


class EffectActivities(ABC):
    """Undo, the same for every connected system; runs on the system's own queue."""

    @activity.defn(name="effects.undo_step")
    @abstractmethod
    async def undo_step(self, command: UndoStep) -> UndoStepResult:
        """Undo whatever carries the step's keys; nothing there is done."""


class LedgerActivities(ABC):
    """Cases, decisions and the end of a saga."""

    @activity.defn(name="ledger.open_case")
    @abstractmethod
    async def open_case(self, command: OpenCase) -> None:
        """Record or re-open an exception."""

    @activity.defn(name="ledger.close_case")
    @abstractmethod
    async def close_case(self, command: CloseCase) -> None:
        """Close an exception."""

    @activity.defn(name="ledger.escalate_case")
    @abstractmethod
    async def escalate_case(self, command: EscalateCase) -> None:
        """A deadline passed: tell the queue's owner."""

    @activity.defn(name="ledger.record_decision")
    @abstractmethod
    async def record_decision(self, command: RecordDecision) -> None:
        """Keep who decided what, and why."""

    @activity.defn(name="ledger.left_behind")
    @abstractmethod
    async def left_behind(self, saga: SagaRef) -> LeftBehind:
        """Steps that may have left something: an earlier run of the saga may have got further than this."""

    @activity.defn(name="ledger.finish_saga")
    @abstractmethod
    async def finish_saga(self, command: FinishSaga) -> None:
        """Close the saga's row."""
