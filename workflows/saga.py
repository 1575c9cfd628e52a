"""The saga kernel: steps, undo, waiting, parking, gates, repair.

A workflow's ``run`` reads as the business process; everything that makes it safe is here.

- Undo is registered before its step and finds its records by the step's key.
- The business runs in a task of its own that an operator's cancel never interrupts: a cancel is a wish,
  honoured at step boundaries and while waiting, until the pivot; after it the saga goes forward.
- A step that fails for a passing reason *waits*; one that needs a person *parks*; neither ends the saga.
- Only workflow-exit errors are handled here. Anything else stays a workflow-task failure, which a
  corrected deployment heals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError

from activities.contracts import NothingToAmend, StepOutcome
from activities.options import CallClass
from canonical.causes import Cause
from canonical.failures import Failure
from canonical.names import step_key
from canonical.saga import (
    HeldItems,
    SagaStatus,
    SagaView,
    StepKind,
    StepState,
    Tally,
    Throughput,
)
from workflows import desk
from workflows.failure import PivotPassed, SagaStop, failure_of
from workflows.kernel.children import Children
from workflows.kernel.nature import OnCancel
from workflows.state import StepRecord, UndoEntry

C = TypeVar("C", bound=BaseModel)
R = TypeVar("R")

FATAL = frozenset({Cause.BAD_INPUT, Cause.DEAL_NOT_FOUND, Cause.DEAL_NOT_WON})
"""Causes that end a saga before its first write: there is nothing in it to repair."""


class Saga(Children):
    """One saga's kernel. Held by the workflow object; the workflow's handlers delegate to it."""

    async def conduct(self, business: Callable[[], Coroutine[Any, Any, None]]) -> SagaView:
        """Run the business process to one of its legal ends.

        Raises:
            asyncio.CancelledError: cancelled, and everything was undone.
            ApplicationError: undone by decision, or ended before the first write.
        """
        if self.state.started_at is None:
            self.state.started_at = workflow.now()
        if not self.state.unwinding:
            await self._attend(business)
        while self.state.unwinding:
            try:
                await self._shielded(self._unwind())
                self._set_status(SagaStatus.UNDONE)
                break
            except PivotPassed as passed:
                self._forward(passed)
                await self._attend(business)
        if not self.start.plan:
            await self._shielded(self._finish())
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._end()

    async def _attend(self, business: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run the business process until it is done or is to be undone."""
        self._set_status(SagaStatus.RUNNING)
        try:
            await self._shielded(business())
            self._check_stop()  # a cancel during the last step counts, unless the pivot has passed
            self._set_status(SagaStatus.PLANNED if self.start.plan else SagaStatus.COMPLETE)
        except SagaStop as stop:
            self.state.original = stop.failure
            if self._may_have_left_behind(stop.status):
                await self._shielded(self._find_left_behind())
            if self.state.undo and not self.state.pivot_passed:
                self.state.unwinding = True
            else:
                self._set_status(stop.status)

    def _may_have_left_behind(self, end: SagaStatus) -> bool:
        """Whether an earlier run may have done what this one, reset to before it, knows nothing of: then the
        end of this one undoes that too, also where nothing was written yet as far as it can tell.
        """
        if self.start.plan:
            return False
        if end is SagaStatus.FAILED and self.nature.on_cancel is OnCancel.UNDO:
            return workflow.patched("left-behind-before-the-first-write")
        return end is SagaStatus.UNDONE

    async def step(
        self,
        id_: str,
        title: str,
        method: Callable[[Any, C], Awaitable[R]],
        command: C,
        *,
        kind: StepKind,
        queue: str,
        call: CallClass = CallClass.READ,
        system: str | None = None,
        stands_on: tuple[str, ...] = (),
        interruptible: bool = False,
    ) -> R:
        """Perform one step to its end; a step that is already done returns its result.

        Args:
            id_: names the step in this saga, in commands and in its key.
            title: for people.
            method: the activity.
            command: its input.
            kind: what may happen to the step after it is done.
            queue: task queue of the activity.
            call: class of time limits.
            system: the connected system it talks to.
            stands_on: steps whose records its own hang on; they are undone only after it.
            interruptible: the activity comes to an end in good order when the saga is to stop, and its
                result says how far it came.

        Raises:
            SagaStop: the saga is to end: cancelled, undone by decision, or bad input.
        """
        record = self._record(id_, title, kind, system)
        if record.state in (StepState.DONE, StepState.SKIPPED):
            return self._result(record, method)
        self._commands[id_] = (command, method)
        writes = kind in (StepKind.COMPENSATABLE, StepKind.PIVOT, StepKind.FORWARD_ONLY)
        if record.state not in (StepState.PARKED, StepState.WAITING):
            self._check_stop()
        if kind is StepKind.COMPENSATABLE and not self.start.plan:
            self._register_undo(record, queue, stands_on)
        while True:
            if record.state is not StepState.PARKED:
                result = await self._attempt(record, method, command, queue, call, writes, interruptible)
                if not isinstance(result, Failure):
                    return self._done(record, result)
                failure = result
                if self._passes(record, failure):
                    await self._wait(record, failure)
                    continue
                if self.start.plan or (failure.cause in FATAL and not self.state.undo):
                    raise self._abort(SagaStop(SagaStatus.FAILED, failure))
                self._park(record, failure)
            repair = await self._await_repair(record)
            skipped = await self._apply(record, repair, method)
            if skipped:
                return self._result(record, method)

    async def together(self, *branches: Coroutine[Any, Any, R]) -> list[R]:
        """Run branches side by side and wait for all of them, whatever happens to one."""
        outcomes = await asyncio.gather(*branches, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]

    async def hold(self, id_: str, title: str, failure: Failure, amendable: BaseModel) -> dict[str, Any]:
        """Park on findings until a person has dealt with them; answers the amendments so far.

        The caller reads and judges again. ``amendable`` says what may be amended; nothing can be skipped.

        Raises:
            SagaStop: the saga is to end.
        """
        record = self._record(id_, title, StepKind.READ, failure.system)
        self._commands[id_] = (amendable, None)
        record.can_skip = False
        if self.start.plan:
            raise self._abort(SagaStop(SagaStatus.FAILED, failure))
        if record.state is not StepState.PARKED:
            self._park(record, failure)
        repair = await self._await_repair(record)
        await self._apply(record, repair, None)
        return record.amended or {}

    async def expect(
        self, id_: str, title: str, failure: Failure, arrived: Callable[[], bool], seconds: float
    ) -> None:
        """Wait for what others are to send; when it has not come in time that becomes a case.

        Args:
            id_: names the wait; ``settled`` ends it once what was expected is there.
            title: for people.
            failure: what is waited for, whose case it becomes and what they can do.
            arrived: whether something came: the caller looks whether it was that.
            seconds: from now until it is a case.

        Raises:
            SagaStop: the saga is to end.
        """
        record = self._record(id_, title, StepKind.READ, None)
        self._commands[id_] = (NothingToAmend(), None)
        record.can_skip = False
        if record.state is not StepState.PARKED:
            record.state, record.failure, record.note = StepState.WAITING, failure, failure.message
            record.waiting_since = workflow.now()
            self._changed(failure.message)
            came = await self._pause(lambda: arrived() or self._stop_wanted(), max(seconds, 0.001), id_)
            self._human_time(record)
            self._check_stop()
            if came:
                return
            self._park(record, failure)
        while not arrived():
            if record.id in self._repairs:
                await self._apply(record, self._repairs.pop(record.id), None)
                return
            answered = await self._pause(
                lambda: arrived() or record.id in self._repairs or self._stop_wanted(),
                self.start.timings.gate_reminder,
                f"{id_}: still missing",
            )
            if self._stop_wanted():
                record.state = StepState.PENDING
                self._close_case(record, "the saga was stopped")
                self._check_stop()
            if not answered:
                self._remind(record, f"still missing: {title}")

    def settled(self, id_: str, title: str, note: str | None = None) -> None:
        """What ``hold`` guarded is in order: close its case, show it as done."""
        record = self._record(id_, title, StepKind.READ, None)
        if record.case_open:
            self._close_case(record, "resolved: in order on the next look")
        record.state, record.failure, record.note = StepState.DONE, None, note or record.note
        self._changed()

    def stop(self, status: SagaStatus, failure: Failure) -> SagaStop:
        """The exception with which a business process ends itself."""
        return self._abort(SagaStop(status, failure))

    def keep(self, outcome: StepOutcome) -> None:
        """Remember what a writing step brought: values for later steps, planned writes."""
        self.state.values.update(outcome.values)

    def forget(self, *steps: str) -> None:
        """Do these steps again: their input changed. Their keys stay, so nothing is made twice."""
        for id_ in steps:
            record = self.state.step(id_)
            if record is not None and record.state in (StepState.DONE, StepState.SKIPPED):
                record.state, record.result = StepState.PENDING, None
                self._results.pop(id_, None)

    def stage(self, id_: str, title: str, system: str | None = None) -> None:
        """A line of the page for work that goes on in parts, in the order in which stages are named."""
        self._record(id_, title, StepKind.FORWARD_ONLY, system)

    def fold(self, id_: str, into: str, note: str) -> None:
        """A finished part of a stage: what remains of it is the stage's own line.

        However many parts there are, the saga's state stays as large as what is under way.
        """
        record, stage = self.state.step(id_), self.state.step(into)
        if record is None or stage is None:
            return
        stage.attempts += record.attempts
        stage.state, stage.note = StepState.DONE, note
        self.state.steps.remove(record)
        for kept in (self._results, self._commands):
            kept.pop(id_, None)
        self._changed()

    def nothing_to_do(self, *stages: str) -> None:
        """Stages that had no part are done too: the work is over."""
        for id_ in stages:
            record = self.state.step(id_)
            if record is not None and record.state is StepState.PENDING:
                record.state, record.note = StepState.DONE, "nothing to do"
        self._changed()

    def show(
        self,
        *,
        tallies: tuple[Tally, ...] | None = None,
        held: tuple[HeldItems, ...] | None = None,
        rate: Throughput | None = None,
    ) -> None:
        """Show items and money by state, what is held and why, and how fast it goes."""
        state = self.state
        state.tallies = state.tallies if tallies is None else tallies
        state.held = state.held if held is None else held
        state.rate = rate or state.rate
        self._changed()

    @property
    def stopping(self) -> bool:
        """Whether the saga is to stop at its next boundary."""
        return self._stop_wanted()

    def checkpoint(self) -> None:
        """A boundary.

        Raises:
            SagaStop: the saga is to stop here.
        """
        self._check_stop()

    def renewal_due(self) -> bool:
        """Whether a saga that goes on in pieces should come to a boundary and continue as new."""
        return self._renew or workflow.info().is_continue_as_new_suggested()

    async def rest(self, until: Callable[[], bool], seconds: float | None, summary: str) -> bool:
        """Nothing is under way: wait until there is something to do (True) or the time has passed (False).

        A renewal that is wanted meanwhile is one of the things to do: come to a boundary.

        Raises:
            SagaStop: the saga is to stop.
        """

        def awake() -> bool:
            return until() or self._renew or self._stop_wanted()

        if seconds is None:
            await workflow.wait_condition(awake)
            woken = True
        else:
            woken = await self._pause(awake, seconds, summary)
        self._check_stop()
        return woken

    async def boundary(self) -> None:
        """Nothing is under way, and ``state.progress`` says where to go on: continue as new."""
        self._check_stop()
        self._at_boundary = True
        await workflow.wait_condition(lambda: not self._at_boundary)

    def amended(self, id_: str) -> dict[str, Any]:
        """A repair's merge patch for a step, {} when there is none."""
        record = self.state.step(id_)
        return (record.amended if record else None) or {}

    async def _attempt(
        self,
        record: StepRecord,
        method: Callable[[Any, C], Awaitable[R]],
        command: C,
        queue: str,
        call: CallClass,
        writes: bool,
        interruptible: bool = False,
    ) -> R | Failure:
        if record.rounds == 0:
            # A step that waits stays shown as waiting while it tries again.
            record.state = StepState.RUNNING
        record.attempts += 1
        self._changed()
        try:
            result: R = await self._call(
                method, self._amend(record, command), record.title, queue, call, interruptible
            )
            return result
        except ActivityError as error:
            if isinstance(error.cause, CancelledError) and self._stop_wanted():
                record.state = StepState.PENDING  # it was not begun, or it ended without a word
                self._check_stop()
            failure = failure_of(error, system=record.system, writes=writes)
        record.failure = failure
        if record.kind is StepKind.PIVOT and failure.maybe_landed:
            # Part of the pivot exists or may exist: from here on there is only forward.
            self.state.pivot_passed = True
        return failure

    def _amend(self, record: StepRecord, command: C) -> C:
        if record.current_mapping:
            data = command.model_dump(mode="json")
            data["saga"]["mapping"] = {}
            command = type(command).model_validate(data)
        if not record.amended:
            return command
        return desk.amend(command, record.amended)

    def _done(self, record: StepRecord, result: R) -> R:
        if record.case_open:
            self._close_case(record, "resolved: the step went through")
        record.state, record.failure = StepState.DONE, None
        record.rounds = record.unknown_rounds = 0
        if isinstance(result, StepOutcome):
            record.records = result.records
            record.note = result.note or record.note
            record.writes = result.writes
        if record.kind is StepKind.PIVOT and not self.start.plan:
            self.state.pivot_passed = True
        self._results[record.id] = result
        self._changed()
        return result

    def _register_undo(self, record: StepRecord, queue: str, stands_on: tuple[str, ...]) -> None:
        if any(entry.step == record.id for entry in self.state.undo):
            return
        assert record.system is not None
        self.state.undo.append(
            UndoEntry(
                step=record.id,
                step_key=step_key(self.state.saga_id, self.state.generation, record.id),
                system=record.system,
                queue=queue,
                title=record.title,
                stands_on=stands_on,
            )
        )

    async def _shielded(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` so that a cancel is noted and does not interrupt it.

        On eviction every task is cancelled, this one's too: only then the cancellation is let through.
        """
        task = asyncio.create_task(work)
        while not task.done():
            try:
                await workflow.wait_condition(lambda: task.done() or self._may_renew())
                if not task.done():
                    await self._continue_as_new(task)
            except asyncio.CancelledError:
                if task.cancelling() or task.cancelled():
                    raise
                self.state.cancelled = True
                if self.state.pivot_passed:
                    self._changed(self.nature.cancel_too_late)
        try:
            task.result()
        except ValidationError as bug:
            # Only an undecodable start may fail the workflow by this; in our own code it is a bug, and a
            # bug waits for a corrected deployment with everything it built still registered for undo.
            raise RuntimeError(f"a value of ours does not validate: {bug}") from bug

    def _end(self) -> SagaView:
        view = self.state.view()
        failure = self.state.original
        if failure is None:
            return view
        if self.state.cancelled and failure.cause is Cause.CANCELLED:
            raise asyncio.CancelledError(failure.message)
        raise ApplicationError(
            failure.message,
            {
                "failure": failure.model_dump(mode="json"),
                "status": self.state.status.value,
                "gaps": self.state.gaps,
            },
            type=failure.cause.value,
            non_retryable=True,
        )

    def _may_renew(self) -> bool:
        """Whether to continue as new now: wanted, and nothing in flight but waiting for people."""
        if self._in_flight or (self._books is not None and not self._books.done()):
            return False
        if self._repairs or self._decisions:
            return False
        if self._at_boundary:
            return True
        if self.state.stuck() is None:
            return False
        info = workflow.info()
        old = workflow.now() - info.start_time >= timedelta(seconds=self.start.timings.renew_after)
        return self._renew or old or info.is_continue_as_new_suggested()

    async def _continue_as_new(self, task: asyncio.Task[None]) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        for record in self.state.steps:
            if record.id in self._results and record.result is None:
                record.result = TypeAdapter(Any).dump_python(self._results[record.id], mode="json")
        state = self.state.model_dump(mode="json")
        workflow.continue_as_new(self.start.model_copy(update={"state": state}))
