"""Every case of the chaos table: step x fault x seed, enumerated from a recording. Nothing is sampled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.recording import Call, Recording, Step


class Fault(StrEnum):
    """What goes wrong. The value is the column's heading."""

    ERROR = "error before"
    """The vendor answers 503 once and has done nothing."""
    LOST = "answer lost"
    """The vendor does it and the connection breaks."""
    KILL_BEFORE = "kill before"
    """The worker dies with -9 while the call is in flight; the vendor never does it."""
    KILL_LATE = "kill, late"
    """The worker dies, and the vendor does it only when the next attempt has already begun."""
    KILL_AFTER = "kill after"
    """The vendor has done it; the worker dies before it hears."""
    KILL_ALL = "kill all"
    """The same, and the processes of workflows and ledger die with it."""
    CANCEL_BEFORE = "cancel before"
    CANCEL_DURING = "cancel during"
    CANCEL_AFTER = "cancel after"
    REFUSED = "refused"
    """The vendor refuses the content: a person must help. Then the cause goes away, the step is retried."""
    CANCEL_PARKED = "cancel parked"
    """The same, but it is cancelled while it waits for the person."""
    RENEWED = "renewed parked"
    """The same, and it continues as new while it waits: the run that goes on is another one."""
    CANCEL_UNDOING = "cancel undoing"
    """A second cancel while the undo of the step is in flight."""
    CANCEL_DECIDED = "cancel decided"
    """A person has decided to undo everything; the first cancel comes while the undo is in flight."""
    UNDO_ERROR = "undo error"
    UNDO_LOST = "undo lost"
    """The vendor undoes it and the connection breaks."""
    UNDO_KILL = "undo kill"
    UNDO_REFUSED = "undo refused"
    """The vendor refuses, for good: a person must help; here the cause goes away and the undo is retried."""
    KEPT = "undo kept"
    """The vendor refuses to delete: the record is put out of use and marked, or a person must help."""


class End(StrEnum):
    """The one legal end of a case."""

    COMPLETE = "complete"
    UNDONE = "undone"
    STOPPED = "stopped"
    """What is done stays; and the next run does the rest."""
    LEFT = "complete, one left"
    """Complete but for the line that was refused; and the next run does that one."""
    PARKED = "parked"
    """Parked with everything named; and complete after the repair."""
    UNDO_BLOCKED = "undo-blocked"
    """Parked in the undo with every survivor named; and undone after the repair."""
    UNDONE_OR_KEPT = "undone or kept"
    """Undone with the record put away and marked; where a vendor cannot do that, blocked and then undone."""


@dataclass(frozen=True)
class Cell:
    """One case."""

    seed: int
    step: str
    fault: Fault
    end: End
    call: Call | None = None
    """The call that is hit, or during which the cancel comes; None where a step calls no vendor."""
    number: int = 0
    """Which of several calls of the step, where all are hit."""
    top: bool = False
    """The cancel goes to the run that started the step's own."""

    @property
    def key(self) -> str:
        """Names the case in the results."""
        return f"{self.seed}|{self.step}|{self.fault.value}|{self.number}"


ON_WRITES = (
    Fault.LOST,
    Fault.KILL_LATE,
    Fault.KILL_AFTER,
    Fault.KILL_ALL,
    Fault.RENEWED,
)
ON_ANY = (Fault.ERROR, Fault.REFUSED, Fault.CANCEL_PARKED)
ON_UNDO = (
    Fault.CANCEL_UNDOING,
    Fault.CANCEL_DECIDED,
    Fault.UNDO_ERROR,
    Fault.UNDO_LOST,
    Fault.UNDO_KILL,
    Fault.UNDO_REFUSED,
    Fault.KEPT,
)
ON_LEDGER_UNDO = (Fault.CANCEL_UNDOING, Fault.UNDO_KILL)
"""Undos without a call: their worker is stopped, then killed or a second cancel comes."""
CANCELS = (Fault.CANCEL_BEFORE, Fault.CANCEL_DURING, Fault.CANCEL_AFTER)
WHILE_PARKED = (Fault.CANCEL_PARKED, Fault.RENEWED)
PER_WRITE = frozenset({*ON_WRITES, *ON_ANY, Fault.KILL_BEFORE, Fault.CANCEL_DURING})
"""Faults that hit a write of the step itself."""


def faults_of(step: Step, recording: Recording) -> tuple[Fault, ...]:
    """The faults that are tried on a step: all against which nothing speaks."""
    return tuple(fault for fault in Fault if why_not(step, fault, recording) is None)


def why_not(step: Step, fault: Fault, recording: Recording) -> str | None:
    """Why a fault makes no sense for a step; None where it is tried.

    Raises:
        RuntimeError: a step that can be undone was recorded without its undo.
    """
    if fault in ON_UNDO:
        return _why_no_undo(step, fault, recording)
    if step.kind == "gate":
        return (
            None if fault is Fault.CANCEL_DURING else "waits for a person: no call to hit, no worker to kill"
        )
    if fault in CANCELS or fault is Fault.KILL_BEFORE:
        return None
    if not step.calls:
        return "calls no vendor: none can fail, refuse or answer late"
    if fault in WHILE_PARKED and step.passes_over:
        return "never parks: a line that is refused holds up nobody and waits for the next run"
    if fault in ON_WRITES and not step.writes:
        return "only reads: an answer that is lost, or comes late, changes nothing"
    return None


def _why_no_undo(step: Step, fault: Fault, recording: Recording) -> str | None:
    if step.stops:
        return "a cancel stops this run: what is done is valid and stays, the next run does the rest"
    if step.kind != "compensatable":
        return "has no undo: it makes nothing, or is the point of no return or comes after it"
    undo = recording.undo.get(step.id)
    if undo is None and step.writes:
        raise RuntimeError(f"{step.id} writes, and the recording does not have its undo")
    if undo is None:
        return "makes nothing in this run: its undo has nothing to take back"
    if not undo.calls and not step.on_the_ledger:
        return "its undo calls nobody: what it made falls away with the record that it belongs to"
    if not undo.calls:
        return None if fault in ON_LEDGER_UNDO else "its undo is the ledger's own: no vendor is called"
    if not step.writes:
        return "makes nothing in this run: its undo has nothing to take back"
    if fault is Fault.KEPT and not any(call.method == "DELETE" for call in undo.calls):
        return "its undo deletes nothing that a vendor could refuse to delete"
    return None


def pick(calls: Sequence[Call], turn: int) -> Call:
    """The call of this turn: seeds go through them one by one."""
    return calls[turn % len(calls)]


def cells_of(
    seed: int, recording: Recording, *, every_write: bool = False, turn: int | None = None
) -> Iterator[Cell]:
    """All cases of one seed.

    Args:
        seed: of the recording.
        recording: an undisturbed run.
        every_write: every kind of write of a step is hit; else seeds go through all its writes one by one.
        turn: where seeds that share their steps begin to go through them; the seed's own number when empty.
    """
    first = seed if turn is None else turn
    for index, step in enumerate(recording.steps):
        for fault in faults_of(step, recording):
            turns = kinds(step) if every_write and fault in PER_WRITE else []
            if len(turns) < 2:
                yield cell(seed, recording, step, fault, turn=first + index)
            else:
                for number, place in enumerate(turns):
                    yield cell(seed, recording, step, fault, turn=place, number=number)


def kinds(step: Step) -> list[int]:
    """The first write of every kind that a step makes, by its place."""
    kinds: dict[tuple[str, str, str], int] = {}
    for place, one in enumerate(step.writes):
        kinds.setdefault((one.vendor, one.method, one.pattern), place)
    return list(kinds.values())


def cell(seed: int, recording: Recording, step: Step, fault: Fault, *, turn: int, number: int = 0) -> Cell:
    """One case: which call is hit and what the end must be."""
    calls = step.writes or step.calls
    call: Call | None = pick(calls, turn) if calls else None
    undo = recording.undo.get(step.id)
    match fault:
        case Fault.CANCEL_BEFORE:
            call = recording.before(step)
        case Fault.CANCEL_AFTER:
            call = recording.after(step)
        case Fault.CANCEL_UNDOING | Fault.CANCEL_DECIDED | Fault.UNDO_KILL | Fault.UNDO_ERROR if undo:
            # None for the ledger's own undo: its worker is what is hit.
            call = pick(undo.calls, turn) if undo.calls else None
        case Fault.UNDO_LOST if undo is not None:
            call = pick(undo.writes, turn)
        case Fault.UNDO_REFUSED if undo is not None:
            # A vendor that refuses to delete is answered by putting the record away; so a read is refused.
            call = pick([one for one in undo.calls if not one.write], turn)
        case Fault.KEPT if undo is not None:
            call = pick([one for one in undo.calls if one.method == "DELETE"], turn)
    # Who started the step's run is the one that is cancelled every other time.
    top = fault in CANCELS and turn % 2 == 1 and (recording.holder(call) if call else step).under
    return Cell(seed, step.id, fault, _end(recording, step, fault, call, top), call, number, top)


def _cancelled(step: Step, top: bool = False) -> End:
    """How a run ends that is cancelled during a step."""
    if step.stops or top:
        return End.STOPPED
    return End.COMPLETE if step.past_the_pivot else End.UNDONE


def _end(recording: Recording, step: Step, fault: Fault, call: Call | None, top: bool) -> End:
    match fault:
        case Fault.REFUSED if step.passes_over:
            return End.LEFT
        case Fault.REFUSED | Fault.RENEWED:
            return End.PARKED
        case Fault.UNDO_REFUSED:
            return End.UNDO_BLOCKED
        case Fault.KEPT:
            return End.UNDONE_OR_KEPT
        case Fault.UNDO_ERROR | Fault.UNDO_LOST | Fault.UNDO_KILL:
            return End.UNDONE
        case Fault.CANCEL_UNDOING | Fault.CANCEL_DECIDED:
            return End.UNDONE
        case Fault.CANCEL_DURING:
            return _cancelled(step, top)
        case Fault.CANCEL_BEFORE | Fault.CANCEL_AFTER:
            if call is None:
                # Before the first step nothing runs yet; after the last one the saga has ended.
                return _cancelled(step, top) if fault is Fault.CANCEL_BEFORE else End.COMPLETE
            return _cancelled(recording.holder(call), top)
        case Fault.CANCEL_PARKED:
            # A pivot whose first write is done is passed: the cancel comes too late, the repair completes it.
            alone = sum(one.kind == "pivot" for one in recording.steps) == 1
            passed = step.past_the_pivot and not (step.kind == "pivot" and alone and call == step.writes[0])
            return End.PARKED if passed else _cancelled(step) if step.stops else End.UNDONE
    return End.COMPLETE
