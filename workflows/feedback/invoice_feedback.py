"""``InvoiceFeedback``: an invoice (or a contract's revenue) followed from issue to settlement (rules 40, 41).

An event is a hint: the ERP is read again, the newest reading is taken over, its targets are brought to what
is known. What is asked of a target is never "show this state" but "show what is known", so that nothing that
comes late, twice or in another order can put an older state over a newer one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError
from temporalio import workflow

from activities.contracts import (
    FeedbackActivities,
    FiguresActivities,
    FiguresShown,
    ReadSubject,
    ShowFigures,
    StartFeedback,
    SubjectRead,
)
from activities.options import CallClass
from canonical.causes import Queue
from canonical.feedback import Target
from canonical.names import EVENT_SIGNAL, SagaName, feedback_subject, system_queue
from canonical.saga import (
    SYSTEM_ACTOR,
    RepairAction,
    RepairCommand,
    SagaStatus,
    SagaView,
    StepKind,
    StepState,
)
from workflows.kernel.handlers import SagaHandlers
from workflows.kernel.nature import Nature, OnCancel
from workflows.saga import Saga

FOLLOWING = Nature(
    on_cancel=OnCancel.STOP,
    owner=Queue.BILLING,
    ends={
        SagaStatus.COMPLETE: "Told.",
        SagaStatus.PLANNED: "Planned: nothing was told.",
        SagaStatus.STOPPED: "Stopped: nothing is told until its next change.",
    },
)
EVENTS_KEPT = 200
"""Events waiting to be looked at: all of them are answered by one reading."""
LONGEST_PAUSE = 60.0
"""Seconds between readings that do not count: a replica may be behind for long."""
MOST_LOOKS = 3
"""Looks for a record of which an event told and which is not there."""


@workflow.defn(name="InvoiceFeedback", failure_exception_types=[ValidationError])
class InvoiceFeedback(SagaHandlers):
    """One entity per record: whoever tells of it starts it or finds it running."""

    @workflow.init
    def __init__(self, start: StartFeedback | None = None) -> None:
        start = StartFeedback.model_validate(start)
        self.start = start
        self.follows = start
        record, revenue = feedback_subject(start.record_id)
        what = "the revenue of contract" if revenue else "invoice"
        self.saga = Saga(
            SagaName.INVOICE_FEEDBACK.value, start, f"Following {what} {start.system}/{record}", FOLLOWING
        )
        self.notes: dict[str, Any] = self.saga.state.progress
        """Events not looked at, the round, what the last reading asked for: survives continue-as-new."""
        self.notes.setdefault("events", list(start.events))

    @workflow.run
    async def run(self, start: StartFeedback | None = None) -> SagaView:
        """Follow until it is settled; any later change starts it again."""
        view = await self.saga.conduct(self.follow)
        if self.notes["events"] and not self.start.plan:
            # Told of while the last page was being written: begin again at once.
            again = self.follows.model_copy(update={"events": tuple(self.notes["events"]), "state": None})
            workflow.continue_as_new(again)
        return view

    @workflow.signal(name=EVENT_SIGNAL, description="Something happened to the record. Takes the event's id.")
    async def event(self, event: str) -> None:
        """Note that something happened: the record is read again."""
        events = self.notes["events"]
        if event not in events:
            self.notes["events"] = [*events, event][-EVENTS_KEPT:]
        for step in self.saga.state.steps:
            if step.state is StepState.PARKED:
                self._again(step.id, event)

    @workflow.query(name="idle", description="Whether it waits for the next event, with nothing left to do.")
    def idle(self) -> bool:
        """Whether everything that was told is dealt with."""
        return bool(self.notes.get("idle")) and not self.notes["events"]

    def _again(self, step: str, event_id: str) -> None:
        """A parked step is tried again when the record has changed: that may be the repair."""
        command = RepairCommand(
            command_id=f"{step} {event_id}",
            step=step,
            action=RepairAction.RETRY,
            actor=SYSTEM_ACTOR,
            reason=f"the record changed: {event_id}"[:200],
        )
        self.saga.repair(command)

    # --- the business process -----------------------------------------------------------------------

    async def follow(self) -> None:
        """Read, show, wait; until it is settled."""
        self.saga.stage("read", "Read the ERP again", self.start.system)
        self.saga.stage("show", "Show it")
        notes = self.notes
        while True:
            if notes.get("idle"):
                await self.wait()
            read = await self.look()
            if read.again_after is not None or not read.known:
                if await self.look_again(read):
                    continue
                break
            await self.show(read)
            self.end_round(read)
            if self.start.plan or (read.settled and not notes["events"]):
                break
            notes["idle"] = True
        self.saga.nothing_to_do("show")
        self.saga.state.conclusion = f"{read.note}."

    async def look(self) -> SubjectRead:
        """Read the record once for everything that was told of it."""
        notes = self.notes
        if "taken" not in notes:
            if not self.start.plan and notes["events"] and not notes.get("confirming"):
                # More of the burst may be on its way; what comes from now on is the next round's.
                await self.saga.rest(lambda: False, self.follows.pace.gather_seconds, "gather events")
            notes["taken"], notes["events"] = notes["events"], []
            notes["round"] = notes.get("round", 0) + 1
        number = notes["round"]
        read: SubjectRead = await self.saga.step(
            f"read.{number}",
            "Read the ERP again",
            FeedbackActivities.read,
            ReadSubject(
                saga=self.saga.ref,
                system=self.start.system,
                record=self.start.record_id,
                events=tuple(notes["taken"][-10:]),
                confirming=notes.get("confirming"),
                turn=bool(notes.get("turn")),
                reason=self.start.reason or ", ".join(notes["taken"][-3:]),
            ),
            kind=StepKind.READ,
            queue=system_queue(self.start.system),
            call=CallClass.READ,
            system=self.start.system,
        )
        return read

    async def look_again(self, read: SubjectRead) -> bool:
        """A reading that does not count, or found nothing: once more after a pause. False: enough looked."""
        notes, pace = self.notes, self.follows.pace
        self._fold(read)
        if read.known:
            notes["confirming"] = read.digest
            again = notes["again"] = notes.get("again", 0) + 1
            pause = min(LONGEST_PAUSE, (read.again_after or 0) * 2 ** min(again - 1, 10))
            await self.saga.rest(lambda: False, pause, "read again")
            if self.saga.renewal_due():
                await self.saga.boundary()
            return True
        notes.pop("confirming", None)
        notes["looks"] = notes.get("looks", 0) + 1
        if notes["events"]:
            return True
        if self.start.plan or not read.absent or notes["looks"] >= MOST_LOOKS:
            return False
        await self.saga.rest(lambda: bool(notes["events"]), pace.absent_seconds, "look for it again")
        return True

    async def show(self, read: SubjectRead) -> None:
        """Bring everything that shows figures of it to what is known; targets do not wait for one another."""
        self.saga.state.codes = read.codes or self.saga.state.codes
        shown = await self.saga.together(*(self._show(target, read) for target in read.targets))
        wrote = sum(one.wrote for one in shown)
        # A plan keeps its steps: they hold what would be written.
        for target in () if self.start.plan else read.targets:
            self.saga.fold(self._step_of(target), "show", f"{wrote} of {len(shown)} written")

    async def _show(self, target: Target, read: SubjectRead) -> FiguresShown:
        step = self._step_of(target)
        shown: FiguresShown = await self.saga.step(
            step,
            f"Show it on {target.kind.value} {target.ref.id}",
            FiguresActivities.show,
            ShowFigures(
                saga=self.saga.ref,
                step=step,
                target=target,
                turn=bool(self.notes.get("turn")),
                overlay=read.held,
            ),
            kind=StepKind.FORWARD_ONLY,
            queue=system_queue(target.ref.system),
            call=CallClass.WRITE,
            system=target.ref.system,
        )
        return shown

    def _step_of(self, target: Target) -> str:
        return f"show.{self.notes['round']}.{target.ref.system}.{target.ref.id}"

    def end_round(self, read: SubjectRead) -> None:
        """What was told is dealt with; the next event begins a new round."""
        self._fold(read)
        for name in ("confirming", "again", "turn", "looks"):
            self.notes.pop(name, None)
        turn = read.next_turn
        self.notes["next_turn"] = turn.isoformat() if turn is not None else None
        self.notes["in_run"] = self.notes.get("in_run", 0) + 1

    def _fold(self, read: SubjectRead) -> None:
        self.saga.fold(f"read.{self.notes['round']}", "read", read.note)
        self.notes.pop("taken", None)

    async def wait(self) -> None:
        """Nothing is under way: until an event comes, or midnight changes its age. Continues as new here."""
        notes = self.notes
        while True:
            if self.saga.renewal_due() or notes.get("in_run", 0) >= self.follows.pace.rounds_per_run:
                notes["in_run"] = 0
                await self.saga.boundary()
            if notes["events"]:
                break
            seconds = self._until_turn()
            if seconds is not None and seconds <= 0:
                notes["turn"] = True
                break
            await self.saga.rest(lambda: bool(notes["events"]), seconds, "until its age changes")
        notes.pop("idle")

    def _until_turn(self) -> float | None:
        told = self.notes.get("next_turn")
        if told is None:
            return None
        return (datetime.fromisoformat(told) - workflow.now()) / timedelta(seconds=1)
