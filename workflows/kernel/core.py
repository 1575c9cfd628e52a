"""What all layers stand on: the state, activity calls, status, stopping."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, get_type_hints

from pydantic import BaseModel
from temporalio import workflow

from activities.contracts import (
    SagaRef,
    StartSaga,
)
from activities.options import CallClass, Timings, activity_config
from canonical.causes import Cause
from canonical.failures import Failure, FailureKind
from canonical.saga import (
    GateDecision,
    RepairCommand,
    SagaStatus,
    StepKind,
    StepState,
)
from workflows.failure import SagaStop
from workflows.kernel.nature import Nature
from workflows.publish import publish
from workflows.state import SagaState, StepRecord

SUMMARY_LIMIT = 120
"""Characters of an activity's summary that the Web UI shows on its bar."""


class Core:
    """The state and what moves it. Layers above add books, waiting, undo and steps."""

    def __init__(self, name: str, start: StartSaga, title: str, nature: Nature | None = None) -> None:
        self.start = start
        self.nature = nature or Nature()
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
        self._commands: dict[str, tuple[BaseModel, Callable[..., Any] | None]] = {}
        # The input and the activity of every step under way: what a repair is checked against.
        self._repairs: dict[str, RepairCommand] = {}
        self._decisions: dict[str, GateDecision] = {}
        self._amendable: dict[str, type[BaseModel]] = {}
        # The form of an amendment, of gates that take one.
        self._stop: SagaStop | None = None
        self._in_flight = 0
        self._renew = False
        self._at_boundary = False
        self._books: asyncio.Task[None] | None = None
        self._published: tuple[Any, ...] = ()

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

    async def _call(
        self,
        method: Callable[..., Awaitable[Any]],
        command: BaseModel,
        title: str,
        queue: str,
        call: CallClass,
        interruptible: bool = False,
    ) -> Any:
        """Run one activity; every call of every saga goes through here.

        An interruptible one is asked to come to an end when the saga is to stop: it ends in good order,
        with a result that says how far it came.
        """
        self._in_flight += 1
        try:
            running = workflow.start_activity(  # type: ignore[call-overload]
                activity_name(method),
                command,
                result_type=result_type(method),
                summary=title[:SUMMARY_LIMIT],
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
                if interruptible
                else workflow.ActivityCancellationType.TRY_CANCEL,
                **activity_config(queue, call, self.start.timings),
            )
            if interruptible:
                await workflow.wait_condition(lambda: running.done() or self._stop_wanted())
                if not running.done():
                    running.cancel()
            return await running
        finally:
            self._in_flight -= 1

    def _record(self, id_: str, title: str, kind: StepKind, system: str | None) -> StepRecord:
        record = self.state.step(id_)
        if record is None:
            record = StepRecord(id=id_, title=title, kind=kind, system=system)
            self.state.steps.append(record)
        return record

    def _set_status(self, status: SagaStatus) -> None:
        self.state.status = status
        if status.is_final:
            codes = ", ".join(self.state.codes.values()) or "none"
            self.state.headline = self.nature.headline(status, codes)
            if self.state.conclusion:
                self.state.headline = f"{self.state.headline} {self.state.conclusion}"
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

    def _stop_wanted(self) -> bool:
        """Whether the business is to stop here. While unwinding there is no business left to stop."""
        if self.state.unwinding:
            return False
        return self._stop is not None or (self.state.cancelled and not self.state.pivot_passed)

    def _check_stop(self) -> None:
        if not self._stop_wanted():
            return
        if self._stop is not None:
            raise self._stop
        raise self._abort(
            SagaStop(
                self.nature.cancelled_as,
                Failure(
                    kind=FailureKind.REPAIR,
                    cause=Cause.CANCELLED,
                    message=f"Cancelled: {workflow.cancellation_reason() or 'no reason given'}.",
                    queue=self.nature.owner,
                ),
            )
        )

    def _abort(self, stop: SagaStop) -> SagaStop:
        """Make every branch stop at its next boundary; the first reason stays the reason."""
        if self._stop is None:
            self._stop = stop
        return self._stop

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


MOST_DOUBLINGS = 30
"""The pause has long reached its ceiling by then; a power that grows on exceeds a float after some days."""


def growing_pause(timings: Timings, rounds: int) -> float:
    """Seconds before the next try: doubled every round, up to the ceiling."""
    return min(timings.wait_ceiling, timings.wait_first * 2.0 ** min(rounds, MOST_DOUBLINGS))


def activity_name(method: Callable[..., Any]) -> str:
    """The registered name of an activity."""
    return str(getattr(method, "__temporal_activity_definition").name)


def result_type(method: Callable[..., Any]) -> Any:
    """The annotated result of an activity."""
    return get_type_hints(method)["return"]
