"""What the ledger answers: frozen models, so that nothing above ever holds a database object."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from canonical.base import Canonical
from canonical.causes import Cause, Queue
from canonical.change_orders import ChangeOrder, ChangeOrderState
from canonical.failures import Failure, Finding
from canonical.money import Money
from canonical.project_closing import ClosingFact, ClosingState, Former
from canonical.refs import RecordRef
from canonical.saga import Actor, ExceptionCase, SagaStatus, SagaView
from canonical.writes import Landed, UndoOutcome, VendorWrite

T = TypeVar("T")


class Page(Canonical, Generic[T]):
    """One page of a list. ``cursor`` asks for the next one; None means this was the last."""

    rows: tuple[T, ...]
    cursor: int | None = None


class EffectState(StrEnum):
    """Where a vendor write stands."""

    INTENDED = "intended"
    """An attempt may be under way, or ended without sending."""
    UNKNOWN = "unknown"
    """Sent, not answered; nobody has looked since."""
    DONE = "done"
    UNDOING = "undoing"
    """Being undone, perhaps blocked (``undo_failure``)."""
    UNDONE = "undone"


class ClaimState(StrEnum):
    """What the claimer of a write may do now."""

    FIRST = "first"
    """Send: nothing of it can have reached the vendor."""
    LOOK = "look"
    """Look first: an earlier attempt may have landed."""
    DONE = "done"
    """Do not send: it landed; use ``landed``."""
    BUSY = "busy"
    """Do nothing: another attempt may be sending. Ask again at ``until``."""
    CLOSED = "closed"
    """Never send under this key again: it was undone or its step is being undone."""
    OVERTAKEN = "overtaken"
    """Do nothing: the saga has since asked for this write again, perhaps with an amended input."""


class LinkHint(Canonical):
    """Which canonical object a write's record is: becomes a link row once the write is done."""

    kind: str
    """For example ``client``, ``contract``, ``project``, ``delivery``."""
    key: str
    evidence: dict[str, Any] = {}


class Claim(Canonical):
    """The answer to a claim."""

    state: ClaimState
    key: str
    attempts: int = 0
    """How many attempts there have been, this one included."""
    landed: Landed | None = None
    """For ``DONE``."""
    created_by_us: bool | None = None
    """For ``DONE``: False when the record was there before us."""
    body_hash_matches: bool = True
    """For ``DONE`` and ``LOOK``: False when what landed (or may have) had another body."""
    until: datetime | None = None
    """For ``BUSY``: when to ask again at the earliest."""
    next_generation: int | None = None
    """For ``CLOSED`` shared records: the generation whose keys are open."""
    before: dict[str, Any] | None = None
    """The before-image an earlier attempt saved; keep it, the record may be changed by now."""
    failure: Failure | None = None
    """Why the last attempt, or a blocked undo, did not succeed."""


class EffectRow(Canonical):
    """One vendor write as the ledger knows it."""

    id: int
    key: str
    state: EffectState
    system: str
    operation: str
    title: str
    record_type: str
    saga_id: str
    """The saga of the latest attempt."""
    step_key: str
    """The step that first claimed it."""
    business_key: str
    region: str
    shared: str | None
    generation: int
    forward_only: bool
    write: VendorWrite
    """As last claimed, symbols resolved: what undo and find need."""
    body_hash: str
    attempt_id: str
    attempts: int
    deadline: datetime
    in_flight_until: datetime | None
    """An attempt may still be sending until then: undo waits it out. None when nobody can be."""
    maybe_landed: bool
    """False only when no attempt can have reached the vendor."""
    before: dict[str, Any] | None
    landed: Landed | None
    created_by_us: bool | None
    """None as long as it is not done."""
    undo_outcome: UndoOutcome | None
    undo_failure: Failure | None
    failure: Failure | None
    actor_id: str
    created_at: datetime
    done_at: datetime | None
    undone_at: datetime | None

    @property
    def record(self) -> RecordRef | None:
        """The vendor's record, once known."""
        if self.landed is None:
            return None
        return RecordRef(system=self.system, type=self.record_type, id=self.landed.id, url=self.landed.url)


class Recorded(Canonical):
    """What ``done`` recorded. ``closed`` asks the caller to undo at once: its step is being undone."""

    effect: EffectRow
    closed: bool


class HoldReleased(Canonical):
    """What letting go of a shared record means for its effects."""

    last: bool
    """Nobody else relies on it."""
    created_by_us: bool
    """The record itself was made by us (or may have been: nobody has looked yet)."""
    effects: tuple[EffectRow, ...] = ()
    """To be undone now, newest first; already marked ``undoing``. Empty unless last and ours."""


class LinkRow(Canonical):
    """A cross-reference."""

    id: int
    kind: str
    key: str
    record: RecordRef
    evidence: dict[str, Any]
    created_by_us: bool
    adopted: bool
    effect_key: str | None
    saga_id: str | None
    at: datetime


class SagaBegun(Canonical):
    """Answer to ``begin_saga``: the generation to build keys with, or the state that forbids a start."""

    saga_id: str
    generation: int
    accepted: bool
    """False when the last generation is complete: nothing to start."""
    status: SagaStatus
    view: SagaView | None = None
    """The last view written of this generation."""


class SagaRow(Canonical):
    """One generation of a saga."""

    id: int
    saga_id: str
    generation: int
    saga: str
    region: str
    business_key: str
    status: SagaStatus
    start_id: str
    actor: Actor
    reason: str
    trace_id: str
    mapping: dict[str, str]
    view: SagaView | None
    figures: dict[str, Any]
    started_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class CaseRow(Canonical):
    """An exception case with its history in numbers."""

    id: int
    case: ExceptionCase
    first_opened_at: datetime
    times_opened: int
    escalated_at: datetime | None
    escalated_to: str | None
    escalations: int


class AtStake(Canonical):
    """Open cases and the money in them. Sums never cross a currency or an amount's role (rule 4)."""

    queue: Queue
    cause: Cause
    cases: int
    money: Money | None
    """None counts cases without an amount."""


class DecisionRow(Canonical):
    """A human decision (rule 14)."""

    id: int
    command_id: str
    kind: str
    saga_id: str
    step: str
    case_id: str | None
    outcome: str
    actor: Actor
    reason: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    at: datetime


class ContractVersionRow(Canonical):
    """Terms of a contract as agreed."""

    id: int
    contract_key: str
    version: int
    effective_on: date | None
    terms: dict[str, Any]
    digest: str
    amount: Money
    saga_id: str
    at: datetime


class BaselineRow(Canonical):
    """What all systems held of a contract."""

    id: int
    contract_key: str
    version: int
    contract_version: int
    systems: dict[str, Any]
    digest: str
    saga_id: str
    at: datetime


class ChangeOrderRow(Canonical):
    """A change order as received, and what came of it."""

    id: int
    order: ChangeOrder
    state: ChangeOrderState
    cause: Cause | None
    """Why it was refused, undone or withdrawn."""
    reason: str
    findings: tuple[Finding, ...]
    treatment: str | None
    saga_id: str | None
    actor: Actor
    """Who sent it."""
    sent_because: str
    decider: Actor | None
    """Who in finance decided."""
    received_at: datetime
    decided_at: datetime | None


class ProjectClosingRow(Canonical):
    """A closing of a contract's projects that was agreed."""

    contract_key: str
    number: int
    state: ClosingState
    project_code: str
    region: str
    saga_id: str
    waived: tuple[ClosingFact, ...]
    reason: str
    decider: Actor | None
    """Who let facts pass."""
    former: tuple[Former, ...]
    deal: RecordRef | None
    deal_former: dict[str, Any] | None
    closed_at: datetime
    reopen_saga_id: str | None
    reopened_because: str
    reopened_at: datetime | None

    @property
    def in_force(self) -> bool:
        """Whether the projects are closed."""
        return self.state is ClosingState.CLOSED


class MappingRow(Canonical):
    """A field mapping by digest."""

    digest: str
    system: str
    content: dict[str, Any]
    at: datetime


class AuditEntry(Canonical):
    """Something to be written to the audit trail. No personal values outside ``personal``."""

    chain: str
    """A system instance, or ``trueup``."""
    action: str
    actor: Actor
    content: dict[str, Any] = {}
    saga_id: str | None = None
    effect_key: str | None = None
    record: RecordRef | None = None
    personal: dict[str, Any] | None = None
    """Encrypted for ``person``; only its digest is in the chain. Dropped when there is no sealer."""
    person: str | None = None
    """Whose values ``personal`` holds; the actor's when empty."""


class AuditRow(Canonical):
    """A row of the audit trail. ``actor.name`` is a placeholder for an erased or unrecorded person."""

    id: int
    chain: str
    seq: int
    at: datetime
    action: str
    saga_id: str | None
    effect_key: str | None
    record: RecordRef | None
    actor: Actor
    content: dict[str, Any]
    personal: dict[str, Any] | None
    row_hash: str


class SealRow(Canonical):
    """A sealed batch of one chain; publish ``seal`` elsewhere to make a rewrite of history evident."""

    chain: str
    seq_from: int
    seq_to: int
    seal: str
    at: datetime
