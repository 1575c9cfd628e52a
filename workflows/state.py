"""A saga's state as one versioned document: what lets it continue as new from any wait or park."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from canonical.failures import Failure
from canonical.money import Money
from canonical.refs import RecordRef
from canonical.saga import (
    GateDecision,
    GateRequest,
    HeldItems,
    SagaStatus,
    SagaView,
    StepKind,
    StepState,
    StepView,
    Tally,
    Throughput,
)

STATE_VERSION = 1
"""Raise when a field changes its meaning; readers keep understanding all older versions."""


class StepRecord(BaseModel):
    """One step: where it stands, what came out, what an operator changed about it."""

    model_config = ConfigDict(extra="ignore")

    id: str
    title: str
    kind: StepKind
    state: StepState = StepState.PENDING
    system: str | None = None
    result: Any = None
    """The activity's result as JSON, filled in when the saga continues as new or a step is skipped."""
    records: tuple[RecordRef, ...] = ()
    failure: Failure | None = None
    gate: GateRequest | None = None
    decision: GateDecision | None = None
    attempts: int = 0
    rounds: int = 0
    """Waits so far, for the growing pause."""
    unknown_rounds: int = 0
    """How many of them were for an outcome that nobody knew."""
    note: str | None = None
    amended: dict[str, Any] | None = None
    """A repair's merge patch on the step's input."""
    writes: tuple[dict[str, Any], ...] = ()
    """In plan mode: what it would write."""
    current_mapping: bool = False
    """A repair moved this step to the current field mapping."""
    case_open: bool = False
    can_skip: bool = True
    waiting_since: datetime | None = None
    reminded: int = 0


class UndoEntry(BaseModel):
    """An undo, registered before its step runs. It finds its records by the step's key."""

    model_config = ConfigDict(extra="ignore")

    step: str
    step_key: str
    system: str
    queue: str
    title: str
    stands_on: tuple[str, ...] = ()
    """Steps whose records this one's hang on: they are undone only after it."""


class SagaState(BaseModel):
    """Everything a saga knows about itself."""

    model_config = ConfigDict(extra="ignore")

    version: int = STATE_VERSION
    saga: str
    saga_id: str
    generation: int = 1
    business_key: str
    region: str
    trace_id: str = ""
    status: SagaStatus = SagaStatus.RUNNING
    headline: str = ""
    revision: int = 0
    steps: list[StepRecord] = []
    undo: list[UndoEntry] = []
    values: dict[str, str] = {}
    codes: dict[str, str] = {}
    gaps: list[str] = []
    at_stake: Money | None = None
    conclusion: str = ""
    """What came out, in a sentence: the end of the last headline."""
    tallies: tuple[Tally, ...] = ()
    held: tuple[HeldItems, ...] = ()
    rate: Throughput | None = None
    progress: dict[str, Any] = {}
    """The business's own notes on how far it is, for sagas that go on in pieces."""
    pivot_passed: bool = False
    cancelled: bool = False
    unwinding: bool = False
    original: Failure | None = None
    """Why it is being undone: what the workflow will end with."""
    started_at: datetime | None = None
    parked_since: datetime | None = None
    human_seconds: int = 0
    mapping: dict[str, str] = {}
    commands_seen: list[str] = []
    """Ids of the last operator commands, so that one sent twice acts once."""

    def step(self, id_: str) -> StepRecord | None:
        """The step of that id."""
        return next((step for step in self.steps if step.id == id_), None)

    def stuck(self) -> StepRecord | None:
        """The step that a person should look at first, else the first that waits or asks."""
        order = (StepState.PARKED, StepState.UNDO_BLOCKED, StepState.GATED, StepState.WAITING)
        return next((step for wanted in order for step in self.steps if step.state is wanted), None)

    def view(self) -> SagaView:
        """The state as every surface shows it."""
        stuck = self.stuck()
        failure = stuck.failure if stuck else self.original
        return SagaView(
            saga_id=self.saga_id,
            saga=self.saga,
            status=self.status,
            headline=self.headline,
            business_key=self.business_key,
            region=self.region,
            generation=self.generation,
            revision=self.revision,
            steps=tuple(
                StepView(
                    id=step.id,
                    title=step.title,
                    kind=step.kind,
                    state=step.state,
                    system=step.system,
                    records=step.records,
                    failure=step.failure,
                    gate=step.gate if step.state is StepState.GATED else None,
                    attempts=step.attempts,
                    note=step.note,
                    can_skip=step.can_skip,
                )
                for step in self.steps
            ),
            project_code=next(iter(self.codes.values()), None),
            codes=self.codes,
            cause=failure.cause if failure else None,
            queue=failure.queue if failure else None,
            at_stake=self.at_stake,
            tallies=self.tallies,
            held=self.held,
            rate=self.rate,
            started_at=self.started_at,
            parked_since=self.parked_since,
            pivot_passed=self.pivot_passed,
            human_seconds=self.human_seconds,
            # A shared record that several steps ask for is written once, and so it is planned once.
            writes=tuple({write["key"]: write for step in self.steps for write in step.writes}.values()),
            gaps=tuple(self.gaps),
            mapping=self.mapping,
            trace_id=self.trace_id,
        )
