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
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, TypeAdapter
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from activities.contracts import (
    CloseCase,
    EffectActivities,
    EscalateCase,
    FinishSaga,
    LedgerActivities,
    OpenCase,
    RecordDecision,
    SagaRef,
    StartSaga,
    StepOutcome,
    UndoStep,
    UndoStepResult,
)
from activities.options import CallClass, activity_config
from canonical.causes import Cause, Queue
from canonical.failures import Failure, FailureKind
from canonical.names import LEDGER_QUEUE, step_key
from canonical.saga import (
    GateDecision,
    GateOutcome,
    GateRequest,
    RepairAction,
    RepairCommand,
    SagaStatus,
    SagaView,
    StepKind,
    StepState,
)
from workflows import desk
from workflows.failure import SagaStop, failure_of
from workflows.publish import publish
from workflows.state import SagaState, StepRecord, UndoEntry

C = TypeVar("C", bound=BaseModel)
R = TypeVar("R")

SUMMARY_LIMIT = 120
"""Characters of an activity's summary that the Web UI shows on its bar."""
COMMANDS_KEPT = 100
"""Operator command ids remembered for idempotency; a saga never sees that many."""
FATAL = frozenset({Cause.BAD_INPUT, Cause.DEAL_NOT_FOUND, Cause.DEAL_NOT_WON})
"""Causes that end a saga before its first write: there is nothing in it to repair."""


class Saga:
    """One saga's kernel. Held by the workflow object; the workflow's handlers delegate to it."""

    def __init__(self, name: str, start: StartSaga, title: str) -> None:
        self.start = start
        self.state = (
            SagaState.model_validate(start.state)
            if start.state
            else SagaState(
                saga=name,
                saga_id=start.saga_id,
                business_key=f"{start.system}/{start.record_id}",
                region=start.region,
                trace_id=start.trace_id,
                headline=title,
                mapping=start.mapping,
            )
        )
        self._results: dict[str, Any] = {}
        self._commands: dict[str, tuple[type[BaseModel], Callable[..., Any] | None]] = {}
        self._repairs: dict[str, RepairCommand] = {}
        self._decisions: dict[str, GateDecision] = {}
        self._stop: SagaStop | None = None
        self._in_flight = 0
        self._renew = False
        self._books: asyncio.Task[None] | None = None
        self._published: tuple[Any, ...] = ()

    # --- what a saga's run() uses ------------------------------------------------------------------

    @property
    def ref(self) -> SagaRef:
        """The saga as its activities know it."""
        return SagaRef(
            saga_id=self.state.saga_id,
            generation=self.state.generation,
            region=self.state.region,
            business_key=self.state.business_key,
            trace_id=self.state.trace_id,
            actor=self.start.actor,
            plan=self.start.plan,
            call_seconds=self.start.timings.call,
            mapping=self.state.mapping,
        )

    @property
    def values(self) -> dict[str, str]:
        """Values that vendors made so far, by symbol."""
        return dict(self.state.values)

    async def conduct(self, business: Callable[[], Coroutine[Any, Any, None]]) -> SagaView:
        """Run the business process to one of its legal ends.

        Raises:
            asyncio.CancelledError: cancelled, and everything was undone.
            ApplicationError: undone by decision, or ended before the first write.
        """
        if self.state.started_at is None:
            self.state.started_at = workflow.now()
        if not self.state.unwinding:
            self._set_status(SagaStatus.RUNNING)
            try:
                await self._shielded(business())
                self._set_status(SagaStatus.PLANNED if self.start.plan else SagaStatus.COMPLETE)
            except SagaStop as stop:
                self.state.original = stop.failure
                if stop.status is SagaStatus.FAILED or not self.state.undo:
                    self._set_status(stop.status)
                else:
                    self.state.unwinding = True
        if self.state.unwinding:
            await self._shielded(self._unwind())
            self._set_status(SagaStatus.UNDONE)
        if not self.start.plan:
            await self._shielded(self._finish())
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._end()

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
    ) -> R:
        """Perform one step to its end; a step that is already done returns its result.

        Raises:
            SagaStop: the saga is to end: cancelled, undone by decision, or bad input.
        """
        record = self._record(id_, title, kind, system)
        if record.state in (StepState.DONE, StepState.SKIPPED):
            return self._result(record, method)
        self._commands[id_] = (type(command), method)
        writes = kind in (StepKind.COMPENSATABLE, StepKind.PIVOT, StepKind.FORWARD_ONLY)
        if record.state not in (StepState.PARKED, StepState.WAITING):
            self._check_stop()
        if kind is StepKind.COMPENSATABLE and not self.start.plan:
            self._register_undo(record, queue)
        while True:
            if record.state is not StepState.PARKED:
                result = await self._attempt(record, method, command, queue, call, writes)
                if not isinstance(result, Failure):
                    return self._done(record, result)
                failure = result
                if failure.kind.passes_by_itself:
                    await self._wait(record, failure)
                    continue
                if failure.cause in FATAL or self.start.plan:
                    raise self._abort(SagaStop(SagaStatus.FAILED, failure))
                self._park(record, failure)
            repair = await self._await_repair(record)
            skipped = await self._apply(record, repair, method)
            if skipped:
                return self._result(record, method)

    async def gate(self, request: GateRequest) -> GateDecision | None:
        """Wait for a decision. None in plan mode, where nobody is asked.

        Raises:
            SagaStop: rejected, or the saga is to end.
        """
        record = self._record(request.step, request.title, StepKind.GATE, None)
        if record.state is StepState.DONE:
            return record.decision
        self._check_stop()
        if self.start.plan:
            record.state, record.note = StepState.DONE, f"would ask: {request.question}"
            return None
        if record.state is not StepState.GATED:
            record.gate, record.state, record.waiting_since = request, StepState.GATED, workflow.now()
            self._changed(f"Waiting for a decision: {request.title}")
        while True:
            decision = await self._await_decision(record)
            self._book(
                LedgerActivities.record_decision,
                RecordDecision(saga=self.ref, gate=decision, request=request),
            )
            if decision.outcome is GateOutcome.SEND_BACK:
                record.note = f"sent back by {decision.actor}: {decision.reason}"
                self._changed(f"Sent back: {request.title}")
                continue
            self._human_time(record)
            record.state, record.decision = StepState.DONE, decision
            record.note = f"{decision.outcome.value} by {decision.actor}" + (
                f": {decision.reason}" if decision.reason else ""
            )
            self._changed()
            if decision.outcome is GateOutcome.REJECT:
                failure = Failure(
                    kind=FailureKind.REPAIR,
                    cause=Cause.CREDIT_REJECTED if request.gate == "credit-review" else Cause.CANCELLED,
                    message=f"{request.title}: rejected by {decision.actor}. {decision.reason}".strip(),
                    queue=Queue.SALES,
                )
                raise self._abort(SagaStop(SagaStatus.UNDONE, failure))
            return decision

    async def together(self, *branches: Coroutine[Any, Any, R]) -> list[R]:
        """Run branches side by side and wait for all of them, whatever happens to one."""
        outcomes = await asyncio.gather(*branches, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]

    async def hold(
        self, id_: str, title: str, failure: Failure, amendable: type[BaseModel]
    ) -> dict[str, Any]:
        """Park on findings until a person has dealt with them; answers the amendments so far.

        The caller reads and judges again. ``amendable`` says what may be amended; nothing can be skipped.

        Raises:
            SagaStop: the saga is to end.
        """
        record = self._record(id_, title, StepKind.READ, failure.system)
        self._commands[id_] = (amendable, None)
        if self.start.plan:
            raise self._abort(SagaStop(SagaStatus.FAILED, failure))
        if record.state is not StepState.PARKED:
            self._park(record, failure)
        repair = await self._await_repair(record)
        await self._apply(record, repair, None)
        return record.amended or {}

    def settled(self, id_: str, title: str, note: str | None = None) -> None:
        """What ``hold`` guarded is in order: close its case, show it as done."""
        record = self._record(id_, title, StepKind.READ, None)
        if record.case_open:
            self._close_case(record, "resolved: in order on the next look")
        record.state, record.failure, record.note = StepState.DONE, None, note or record.note
        self._changed()

    async def retract(self, *steps: str) -> None:
        """Undo these steps now, because the business no longer wants them; the saga goes on."""
        for entry in [entry for entry in reversed(self.state.undo) if entry.step in steps]:
            record = self._undo_record(entry)
            while not await self._undo(entry, record):
                await self._await_any_repair([entry])
                if self._is_undone(entry):
                    break
            self.state.undo.remove(entry)
            self.state.steps = [step for step in self.state.steps if step.id != entry.step]

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

    def amended(self, id_: str) -> dict[str, Any]:
        """A repair's merge patch for a step, {} when there is none."""
        record = self.state.step(id_)
        return (record.amended if record else None) or {}

    # --- one step ----------------------------------------------------------------------------------

    async def _attempt(
        self,
        record: StepRecord,
        method: Callable[[Any, C], Awaitable[R]],
        command: C,
        queue: str,
        call: CallClass,
        writes: bool,
    ) -> R | Failure:
        record.state = StepState.RUNNING
        record.attempts += 1
        self._changed()
        try:
            result: R = await self._call(method, self._amend(record, command), record.title, queue, call)
            return result
        except ActivityError as error:
            failure = failure_of(error, system=record.system, writes=writes)
        record.failure = failure
        if record.kind is StepKind.PIVOT and failure.maybe_landed:
            # Part of the pivot exists or may exist: from here on there is only forward.
            self.state.pivot_passed = True
        return failure

    async def _call(
        self,
        method: Callable[..., Awaitable[Any]],
        command: BaseModel,
        title: str,
        queue: str,
        call: CallClass,
    ) -> Any:
        """Run one activity; every call of every saga goes through here."""
        self._in_flight += 1
        try:
            return await workflow.execute_activity(  # type: ignore[call-overload]
                _name(method),
                command,
                result_type=_result_type(method),
                summary=title[:SUMMARY_LIMIT],
                **activity_config(queue, call, self.start.timings),
            )
        finally:
            self._in_flight -= 1

    def _amend(self, record: StepRecord, command: C) -> C:
        if record.current_mapping:
            data = command.model_dump(mode="json")
            data["saga"]["mapping"] = {}
            command = type(command).model_validate(data)
        if not record.amended:
            return command
        return type(command).model_validate(desk.merge_patch(command.model_dump(mode="json"), record.amended))

    def _done(self, record: StepRecord, result: R) -> R:
        if record.case_open:
            self._close_case(record, "resolved: the step went through")
        record.state, record.failure, record.rounds = StepState.DONE, None, 0
        if isinstance(result, StepOutcome):
            record.records = result.records
            record.note = result.note or record.note
            self.state.writes.extend(result.writes)
        if record.kind is StepKind.PIVOT and not self.start.plan:
            self.state.pivot_passed = True
        self._results[record.id] = result
        self._changed()
        return result

    def _result(self, record: StepRecord, method: Callable[..., Awaitable[R]]) -> R:
        if record.id not in self._results:
            self._results[record.id] = TypeAdapter(_result_type(method)).validate_python(record.result)
        kept: R = self._results[record.id]
        return kept

    def _record(self, id_: str, title: str, kind: StepKind, system: str | None) -> StepRecord:
        record = self.state.step(id_)
        if record is None:
            record = StepRecord(id=id_, title=title, kind=kind, system=system)
            self.state.steps.append(record)
        return record

    def _register_undo(self, record: StepRecord, queue: str) -> None:
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
            )
        )

    # --- stopping ----------------------------------------------------------------------------------

    def _stop_wanted(self) -> bool:
        return self._stop is not None or (
            self.state.cancelled and not self.state.pivot_passed and not self.state.unwinding
        )

    def _check_stop(self) -> None:
        if self._stop is not None:
            raise self._stop
        if self._stop_wanted():
            raise self._abort(
                SagaStop(
                    SagaStatus.UNDONE,
                    Failure(
                        kind=FailureKind.REPAIR,
                        cause=Cause.CANCELLED,
                        message=f"Cancelled: {workflow.cancellation_reason() or 'no reason given'}.",
                        queue=Queue.SALES,
                    ),
                )
            )

    def _abort(self, stop: SagaStop) -> SagaStop:
        """Make every branch stop at its next boundary; the first reason stays the reason."""
        if self._stop is None:
            self._stop = stop
        return self._stop

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
                    self._changed("Cancel came after activation: the saga goes forward")
        task.result()

    # --- waiting and parking -------------------------------------------------------------------------

    async def _wait(self, record: StepRecord, failure: Failure) -> None:
        """Pause for a passing reason, then let the caller try again."""
        timings = self.start.timings
        pause = min(timings.wait_ceiling, timings.wait_first * 2**record.rounds)
        pause = max(pause * (0.5 + workflow.random().random() / 2), float(failure.retry_after_seconds or 0))
        first = record.rounds == 0
        record.rounds += 1
        record.state = StepState.WAITING
        if first:
            record.waiting_since = workflow.now()
            self._changed(f"Waiting for {record.system or 'the ledger'}: {failure.message}")
            self._open_case(record, failure, transient=True)
        await self._pause(self._stop_wanted, pause, f"{record.id}: try again")
        if self._stop_wanted():
            record.state = StepState.PENDING
            self._close_case(record, "the saga was stopped")
        self._check_stop()

    def _park(self, record: StepRecord, failure: Failure, state: StepState = StepState.PARKED) -> None:
        record.state, record.failure, record.waiting_since = state, failure, workflow.now()
        # The status is set before the case is written, so a ledger outage cannot block it.
        self._changed(f"{record.title}: {failure.message}")
        self._open_case(record, failure, transient=False)

    async def _await_repair(self, record: StepRecord) -> RepairCommand:
        while record.id not in self._repairs:
            answered = await self._pause(
                lambda: record.id in self._repairs or self._stop_wanted(),
                self.start.timings.gate_reminder,
                f"{record.id}: waiting for a repair",
            )
            if record.id not in self._repairs and self._stop_wanted():
                self._human_time(record)
                record.state = StepState.PENDING
                self._close_case(record, "the saga was stopped")
                self._check_stop()
            if not answered:
                self._remind(record, f"still parked: {record.title}")
        self._human_time(record)
        return self._repairs.pop(record.id)

    async def _await_decision(self, record: StepRecord) -> GateDecision:
        while record.id not in self._decisions:
            answered = await self._pause(
                lambda: record.id in self._decisions or self._stop_wanted(),
                self.start.timings.gate_reminder,
                f"{record.id}: waiting for a decision",
            )
            if record.id not in self._decisions and self._stop_wanted():
                self._human_time(record)
                record.state = StepState.PENDING
                self._check_stop()
            if not answered:
                self._remind(record, f"decision overdue: {record.title}")
        return self._decisions.pop(record.id)

    async def _apply(
        self, record: StepRecord, repair: RepairCommand, method: Callable[..., Any] | None
    ) -> bool:
        """Carry out a repair. True when the step was skipped and now has a result."""
        self._book(LedgerActivities.record_decision, RecordDecision(saga=self.ref, repair=repair))
        record.note = f"{repair.action.value} by {repair.actor}" + (
            f": {repair.reason}" if repair.reason else ""
        )
        record.rounds = 0
        match repair.action:
            case RepairAction.UNDO_ALL:
                record.state = StepState.PENDING
                self._close_case(record, f"undone by {repair.actor}: {repair.reason}")
                failure = record.failure or Failure(
                    kind=FailureKind.REPAIR, cause=Cause.CANCELLED, message=repair.reason
                )
                raise self._abort(SagaStop(SagaStatus.UNDONE, failure))
            case RepairAction.SKIP if method is not None:
                record.state, record.result, record.failure = StepState.SKIPPED, repair.result, None
                self._close_case(record, f"skipped by {repair.actor}: {repair.reason}")
                kept = self._result(record, method)
                if isinstance(kept, StepOutcome):
                    record.records = kept.records
                if record.kind is StepKind.PIVOT:
                    self.state.pivot_passed = True
                self._changed()
                return True
            case RepairAction.RETRY_AMENDED:
                record.amended = desk.merge_patch(record.amended or {}, repair.amended_input or {})
            case RepairAction.RETRY_CURRENT_MAPPING:
                record.current_mapping = True
            case _:
                pass
        record.state = StepState.RUNNING
        self._changed()
        return False

    async def _pause(self, until: Callable[[], bool], seconds: float, summary: str) -> bool:
        """Wait until ``until`` holds (True) or ``seconds`` have passed (False)."""
        try:
            await workflow.wait_condition(
                until, timeout=timedelta(seconds=seconds), timeout_summary=summary[:120]
            )
        except TimeoutError:
            return False
        return True

    def _human_time(self, record: StepRecord) -> None:
        if record.waiting_since is not None:
            self.state.human_seconds += int((workflow.now() - record.waiting_since).total_seconds())
            record.waiting_since = None

    def _remind(self, record: StepRecord, message: str) -> None:
        record.reminded += 1
        self._book(
            LedgerActivities.escalate_case, EscalateCase(saga=self.ref, step=record.id, message=message)
        )

    # --- undo --------------------------------------------------------------------------------------

    async def _unwind(self) -> None:
        """Undo everything registered, last first. One that fails parks while the rest go on; once it is
        repaired, those that were refused because of it are tried again.
        """
        self._set_status(SagaStatus.UNDOING)
        open_entries = [entry for entry in reversed(self.state.undo) if not self._is_undone(entry)]
        while open_entries:
            blocked = []
            for entry in open_entries:
                record = self._undo_record(entry)
                if record.state is StepState.UNDO_BLOCKED or not await self._undo(entry, record):
                    blocked.append(entry)
            open_entries = blocked
            if blocked:
                await self._await_any_repair(blocked)
                open_entries = [entry for entry in blocked if not self._is_undone(entry)]

    async def _undo(self, entry: UndoEntry, record: StepRecord) -> bool:
        """Undo one step; False when it is blocked and parked."""
        record.rounds = 0
        while True:
            record.state = StepState.UNDOING
            self._changed()
            command = UndoStep(
                saga=self.ref,
                step=entry.step,
                step_key=entry.step_key,
                system=entry.system,
                reason=self.state.original.message if self.state.original else "",
            )
            try:
                result: UndoStepResult = await self._call(
                    EffectActivities.undo_step, command, f"undo: {entry.title}", entry.queue, CallClass.UNDO
                )
            except ActivityError as error:
                failure = failure_of(error, system=entry.system, writes=True)
            else:
                record.state, record.failure = StepState.UNDONE, None
                record.records = ()
                record.note = "; ".join(result.done) or None
                self.state.gaps.extend(result.gaps)
                if record.case_open:
                    self._close_case(record, "resolved: undone")
                self._changed()
                return True
            record.failure = failure
            if failure.kind.passes_by_itself:
                await self._wait(record, failure)
                continue
            failure = failure.model_copy(update={"survivors": failure.survivors or record.records})
            self._park(record, failure, StepState.UNDO_BLOCKED)
            return False

    async def _await_any_repair(self, blocked: list[UndoEntry]) -> None:
        """Wait until a person has dealt with one blocked undo; then all blocked ones are tried again."""
        ids = [_undo_id(entry.step) for entry in blocked]
        while not any(id_ in self._repairs for id_ in ids):
            answered = await self._pause(
                lambda: any(id_ in self._repairs for id_ in ids),
                self.start.timings.gate_reminder,
                "undo blocked: waiting for a repair",
            )
            if not answered:
                self._remind(self._undo_record(blocked[0]), "undo still blocked")
        for entry in blocked:
            record = self._undo_record(entry)
            self._human_time(record)
            repair = self._repairs.pop(_undo_id(entry.step), None)
            if repair is not None:
                self._book(LedgerActivities.record_decision, RecordDecision(saga=self.ref, repair=repair))
                record.note = f"{repair.action.value} by {repair.actor}: {repair.reason}"
            if repair is not None and repair.action is RepairAction.SKIP:
                record.state, record.failure = StepState.SKIPPED, None
                self._close_case(record, f"handled by hand, says {repair.actor}: {repair.reason}")
            else:
                record.state = StepState.PENDING

    def _undo_record(self, entry: UndoEntry) -> StepRecord:
        done = self.state.step(entry.step)
        record = self._record(
            _undo_id(entry.step), f"undo: {entry.title}", StepKind.COMPENSATABLE, entry.system
        )
        if record.state is StepState.PENDING and not record.records and done is not None:
            record.records = done.records
        return record

    def _is_undone(self, entry: UndoEntry) -> bool:
        record = self.state.step(_undo_id(entry.step))
        return record is not None and record.state in (StepState.UNDONE, StepState.SKIPPED)

    # --- the end -----------------------------------------------------------------------------------

    async def _finish(self) -> None:
        if self._books is not None:
            await self._books
        await self._execute_patiently(
            LedgerActivities.finish_saga,
            FinishSaga(saga=self.ref, view=self.state.view()),
            "close the saga's row",
        )

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

    # --- books: cases and decisions, in order, never in the way ----------------------------------------

    def _book(self, method: Callable[..., Awaitable[None]], command: BaseModel) -> None:
        """Write to the ledger behind everything booked before, without holding the saga up."""
        if self.start.plan:
            return
        before = self._books

        async def entry() -> None:
            if before is not None:
                await before
            await self._execute_patiently(method, command, "ledger entry")

        self._books = asyncio.create_task(entry())

    async def _execute_patiently(
        self, method: Callable[..., Awaitable[None]], command: BaseModel, summary: str
    ) -> None:
        """Call the ledger until it answers: an outage delays, it never loses."""
        rounds = 0
        timings = self.start.timings
        while True:
            try:
                await self._call(method, command, summary, LEDGER_QUEUE, CallClass.LEDGER)
                return
            except ActivityError:
                rounds += 1
            pause = min(timings.wait_ceiling, timings.wait_first * 2**rounds)
            await workflow.sleep(timedelta(seconds=pause), summary="ledger: try again")

    def _open_case(self, record: StepRecord, failure: Failure, *, transient: bool) -> None:
        record.case_open = True
        self._book(
            LedgerActivities.open_case,
            OpenCase(
                saga=self.ref,
                step=record.id,
                failure=failure.model_copy(update={"at_stake": failure.at_stake or self.state.at_stake}),
                transient=transient,
                opened_at=workflow.now(),
                links=record.records,
            ),
        )

    def _close_case(self, record: StepRecord, resolution: str) -> None:
        if record.case_open:
            record.case_open = False
            self._book(
                LedgerActivities.close_case, CloseCase(saga=self.ref, step=record.id, resolution=resolution)
            )

    # --- continue as new -----------------------------------------------------------------------------

    def _may_renew(self) -> bool:
        """Whether to continue as new now: wanted, and nothing in flight but waiting for people."""
        if self._in_flight or (self._books is not None and not self._books.done()):
            return False
        if self._repairs or self._decisions or self.state.stuck() is None:
            return False
        return self._renew or workflow.info().is_continue_as_new_suggested()

    async def _continue_as_new(self, task: asyncio.Task[None]) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        for record in self.state.steps:
            if record.id in self._results and record.result is None:
                record.result = TypeAdapter(Any).dump_python(self._results[record.id], mode="json")
        state = self.state.model_dump(mode="json")
        workflow.continue_as_new(self.start.model_copy(update={"state": state}))

    # --- operators -----------------------------------------------------------------------------------

    def check_repair(self, command: RepairCommand, roles: Mapping[str, tuple[str, ...]]) -> None:
        """Refuse a repair that makes no sense (``workflows.desk``)."""
        pending = command.step in self._repairs
        model, method = self._commands.get(command.step, (None, None))
        result_type = None if method is None else _result_type(method)
        desk.check_repair(self.state, command, roles, pending=pending, model=model, result_type=result_type)

    def repair(self, command: RepairCommand) -> SagaView:
        """Take a checked repair; the waiting step acts on it."""
        if self._first_time(command.command_id):
            self._repairs[command.step] = command
        return self.state.view()

    def check_decision(self, decision: GateDecision) -> None:
        """Refuse a decision that makes no sense (``workflows.desk``)."""
        desk.check_decision(self.state, decision)

    def decide(self, decision: GateDecision) -> SagaView:
        """Take a checked decision."""
        if self._first_time(decision.command_id):
            self._decisions[decision.step] = decision
        return self.state.view()

    def renew(self) -> SagaView:
        """Continue as new at the next quiet moment: moves a parked saga to current code."""
        self._renew = True
        return self.state.view()

    def _first_time(self, command_id: str) -> bool:
        if command_id in self.state.commands_seen:
            return False
        self.state.commands_seen = [*self.state.commands_seen, command_id][-COMMANDS_KEPT:]
        return True

    # --- showing -----------------------------------------------------------------------------------

    def _set_status(self, status: SagaStatus) -> None:
        self.state.status = status
        if status.is_final:
            self.state.headline = _FINAL_WORDS[status].format(
                codes=", ".join(self.state.codes.values()) or "none"
            )
            if self.state.original and status is not SagaStatus.COMPLETE:
                self.state.headline += f" {self.state.original.message}"
        self._changed()

    def _changed(self, headline: str | None = None) -> None:
        """Bring every surface up to date; search attributes only when an operator's lists change."""
        state = self.state
        state.revision += 1
        if not state.status.is_final:
            state.status = self._status_now()
            if headline:
                state.headline = headline
        stuck = state.stuck()
        parked = state.status in (SagaStatus.PARKED, SagaStatus.UNDO_BLOCKED)
        if parked and state.parked_since is None:
            state.parked_since = workflow.now()
        if not parked:
            state.parked_since = None
        self._published = publish(state, stuck, self._published, plan=self.start.plan)

    def _status_now(self) -> SagaStatus:
        states = {step.state for step in self.state.steps}
        if StepState.UNDO_BLOCKED in states:
            return SagaStatus.UNDO_BLOCKED
        if self.state.unwinding:
            return SagaStatus.UNDOING
        for found, status in (
            (StepState.PARKED, SagaStatus.PARKED),
            (StepState.GATED, SagaStatus.GATED),
            (StepState.WAITING, SagaStatus.WAITING),
        ):
            if found in states:
                return status
        return SagaStatus.RUNNING


_FINAL_WORDS = {
    SagaStatus.COMPLETE: "Complete: project code {codes}.",
    SagaStatus.UNDONE: "Undone: nothing of it remains.",
    SagaStatus.FAILED: "Not started: nothing was written.",
    SagaStatus.PLANNED: "Planned: nothing was written.",
}


def _undo_id(step: str) -> str:
    return f"undo.{step}"


def _name(method: Callable[..., Any]) -> str:
    return str(getattr(method, "__temporal_activity_definition").name)


def _result_type(method: Callable[..., Any]) -> Any:
    return get_type_hints(method)["return"]
