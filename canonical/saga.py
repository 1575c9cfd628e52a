"""A saga as operators see it, and what they may tell it: views, repairs, gates, actors."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from canonical.base import Canonical, Personal
from canonical.causes import Cause, Queue
from canonical.failures import Failure
from canonical.money import Money
from canonical.refs import RecordRef


class SagaStatus(StrEnum):
    """Where a saga stands. Exactly the last five are final."""

    RUNNING = "running"
    WAITING = "waiting"
    """A system is away or asks for patience; goes on by itself."""
    GATED = "gated"
    """A decision is asked of a person; not an exception."""
    PARKED = "parked"
    """A person must repair something."""
    UNDOING = "undoing"
    UNDO_BLOCKED = "undo-blocked"
    """Parked inside the undo: the rest is undone, this one needs a person."""
    COMPLETE = "complete"
    STOPPED = "stopped"
    """Cancelled, and what was done stays: the next run does the rest."""
    UNDONE = "undone"
    FAILED = "failed"
    """Ended before the first write: bad input."""
    PLANNED = "planned"
    """A plan was made; nothing was written."""

    @property
    def is_final(self) -> bool:
        """Whether nothing will happen any more."""
        return self in _FINAL


_FINAL = frozenset(
    {
        SagaStatus.COMPLETE,
        SagaStatus.STOPPED,
        SagaStatus.UNDONE,
        SagaStatus.FAILED,
        SagaStatus.PLANNED,
    }
)


class StepState(StrEnum):
    """Where a step stands."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    GATED = "gated"
    PARKED = "parked"
    DONE = "done"
    SKIPPED = "skipped"
    UNDOING = "undoing"
    UNDONE = "undone"
    UNDO_BLOCKED = "undo-blocked"


class StepKind(StrEnum):
    """What may happen to a step after it is done."""

    READ = "read"
    COMPENSATABLE = "compensatable"
    PIVOT = "pivot"
    FORWARD_ONLY = "forward-only"
    GATE = "gate"


class Actor(Canonical):
    """Who did or decided something (rule 14)."""

    name: Personal
    roles: tuple[str, ...] = ()
    verified: bool = False
    """False while single sign-on is not configured: the operating system's word only."""

    def __str__(self) -> str:
        return self.name if self.verified else f"{self.name} (unverified)"


SYSTEM_ACTOR = Actor(name="trueup", verified=True)


class RepairAction(StrEnum):
    """What an operator may do about a parked step."""

    RETRY = "retry"
    RETRY_AMENDED = "retry_amended"
    RETRY_CURRENT_MAPPING = "retry_current_mapping"
    SKIP = "skip"
    UNDO_ALL = "undo_all"


class RepairCommand(Canonical):
    """One operator decision about one parked step. ``command_id`` makes it idempotent."""

    command_id: str
    step: str
    action: RepairAction
    actor: Actor
    reason: str = ""
    expected_revision: int | None = None
    """The view's revision the operator looked at; a newer one refuses the command."""
    amended_input: dict[str, Any] | None = None
    """For ``retry_amended``: a JSON merge patch on the step's input."""
    result: dict[str, Any] | None = None
    """For ``skip``: the step's result, made by hand."""


class GateOutcome(StrEnum):
    """Decisions at a gate (rule 13)."""

    APPROVE = "approve"
    REJECT = "reject"
    AMEND = "amend"
    SEND_BACK = "send_back"


class GateRequest(Canonical):
    """What is to be decided, with figures, by whom, until when, and what happens then."""

    gate: str
    """The gate's kind, for example ``credit-review``."""
    step: str
    title: str
    question: str
    figures: dict[str, str] = {}
    roles: tuple[str, ...]
    amount: Money | None = None
    requester: str | None = None
    """Who asked for it; may not decide."""
    deadline: datetime | None = None
    on_deadline: str = "escalates to the queue's owner; nothing is decided by itself"
    options: tuple[GateOutcome, ...] = (GateOutcome.APPROVE, GateOutcome.REJECT, GateOutcome.SEND_BACK)
    choices: dict[str, str] = {}
    """For a choice between records: value and explanation."""


class GateDecision(Canonical):
    """One decision. ``choice`` picks one of the request's choices where it has any."""

    command_id: str
    step: str
    outcome: GateOutcome
    actor: Actor
    reason: str = ""
    choice: str | None = None
    amendment: dict[str, Any] | None = None
    """For ``amend``: what is to be changed, in the form that the gate's question gives."""


class Tally(Canonical):
    """Items in one state, with their effort and money."""

    state: str
    items: int = 0
    minutes: int = 0
    amounts: tuple[Money, ...] = ()
    """One per currency and role."""

    def __add__(self, other: Tally) -> Tally:
        """Both together, money kept apart by currency and role."""
        amounts = {(one.currency, one.role): one for one in self.amounts}
        for one in other.amounts:
            known = amounts.get((one.currency, one.role))
            amounts[one.currency, one.role] = one if known is None else known + one
        return self.model_copy(
            update={
                "items": self.items + other.items,
                "minutes": self.minutes + other.minutes,
                "amounts": tuple(amounts[key] for key in sorted(amounts)),
            }
        )


class HeldItems(Canonical):
    """Items that wait for somebody, by cause."""

    cause: Cause
    queue: Queue
    tally: Tally


class Throughput(Canonical):
    """How fast a system is written to, against what it allows."""

    system: str
    lines_per_second: float
    calls_in_flight: float
    """On average over the time measured."""
    limit: int
    """Concurrent calls that the vendor grants us."""


class StepView(Canonical):
    """One row of the step table."""

    id: str
    title: str
    kind: StepKind
    state: StepState
    system: str | None = None
    records: tuple[RecordRef, ...] = ()
    failure: Failure | None = None
    gate: GateRequest | None = None
    attempts: int = 0
    note: str | None = None
    can_skip: bool = True
    """False for findings: they are corrected, not skipped."""


class SagaView(Canonical):
    """What every surface shows of a saga: Web UI, command line, console."""

    saga_id: str
    saga: str
    status: SagaStatus
    headline: str
    business_key: str
    region: str
    generation: int = 1
    revision: int = 0
    """Rises with every change an operator should have seen before deciding."""
    steps: tuple[StepView, ...] = ()
    project_code: str | None = None
    codes: dict[str, str] = {}
    """Project code by contract key."""
    cause: Cause | None = None
    queue: Queue | None = None
    at_stake: Money | None = None
    tallies: tuple[Tally, ...] = ()
    """For sagas over many items: items, effort and money by state."""
    held: tuple[HeldItems, ...] = ()
    rate: Throughput | None = None
    started_at: datetime | None = None
    parked_since: datetime | None = None
    pivot_passed: bool = False
    human_seconds: int = 0
    """Time spent waiting for people, for the clock without them (rule 21)."""
    writes: tuple[dict[str, Any], ...] = ()
    """In plan mode: the writes, in order, with symbols."""
    gaps: tuple[str, ...] = ()
    """Numbers used up by undone records (rule 16)."""
    mapping: dict[str, str] = {}
    """Digest of the field mapping pinned per system."""
    trace_id: str = ""

    @property
    def parked_steps(self) -> tuple[StepView, ...]:
        """Steps that wait for a repair."""
        return tuple(s for s in self.steps if s.state in (StepState.PARKED, StepState.UNDO_BLOCKED))

    @property
    def gates(self) -> tuple[StepView, ...]:
        """Steps that wait for a decision."""
        return tuple(s for s in self.steps if s.state is StepState.GATED)


class CaseState(StrEnum):
    """State of an exception case."""

    OPEN = "open"
    CLOSED = "closed"


class ExceptionCase(Canonical):
    """Something a person must look at: cause, owner, remedy, money, age, links."""

    id: str
    saga_id: str
    step: str
    business_key: str
    region: str
    state: CaseState
    transient: bool = False
    """Closes by itself when the system returns."""
    failure: Failure
    owner: str | None = None
    opened_at: datetime
    closed_at: datetime | None = None
    resolution: str | None = None
    links: tuple[RecordRef, ...] = ()
