"""Sagas that start sagas: one that is waited for, and those that go on by themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import (
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    FailureError,
    WorkflowAlreadyStartedError,
)
from temporalio.workflow import ChildWorkflowCancellationType, ParentClosePolicy

from activities.contracts import StartSaga
from canonical.causes import Cause
from canonical.failures import Failure, FailureKind
from canonical.names import WORKFLOW_QUEUE
from canonical.saga import SagaView, StepKind, StepState
from workflows.kernel.deciding import Deciding
from workflows.publish import at_start, origin_of, summary_of

S = TypeVar("S", bound=StartSaga)
Run = Callable[[Any, S], Awaitable[SagaView]]


class Children(Deciding):
    """Starts other sagas."""

    async def child(self, id_: str, title: str, run: Run[S], start: S) -> SagaView:
        """Carry another saga to its end; a cancel of this one cancels it.

        A child that does not complete parks this step: once it is dealt with, it is started again.

        Raises:
            SagaStop: this saga is to end.
        """
        record = self._record(id_, title, StepKind.FORWARD_ONLY, None)
        if record.state is StepState.DONE:
            return SagaView.model_validate(record.result)
        while True:
            if record.state not in (StepState.PARKED, StepState.WAITING):
                self._check_stop()
            if record.state is not StepState.PARKED:
                if record.state is StepState.PENDING:
                    record.state = StepState.RUNNING
                record.note = start.saga_id
                self._changed()
                ended = await self._carry(run, start)
                if isinstance(ended, SagaView):
                    record.state, record.result = StepState.DONE, ended.model_dump(mode="json")
                    record.failure, record.note = None, ended.headline
                    if record.case_open:
                        self._close_case(record, "resolved: it completed")
                    self._changed()
                    return ended
                if self._stop_wanted() and record.state is StepState.RUNNING:
                    record.state = StepState.PENDING
                self._check_stop()
                record.failure = ended
                if self._passes(record, ended):
                    await self._wait(record, ended)
                    continue
                self._park(record, ended)
            repair = await self._await_repair(record)
            await self._apply(record, repair, None)

    async def _carry(self, run: Run[S], start: S) -> SagaView | Failure:
        self._in_flight += 1
        try:
            running = await self._start_child(run, start, ParentClosePolicy.REQUEST_CANCEL)
            await workflow.wait_condition(lambda: running.done() or self._stop_wanted())
            if not running.done():
                running.cancel()
            view: SagaView = await running
            return view
        except WorkflowAlreadyStartedError:
            return _under_way(start.saga_id)
        except FailureError as error:
            cause = error.cause if isinstance(error, ChildWorkflowError) else error
            words = cause.message if isinstance(cause, ApplicationError) else str(cause)
            if isinstance(cause, CancelledError):
                words = "it was stopped"
            return Failure(
                kind=FailureKind.REPAIR,
                cause=Cause.CANCELLED,
                message=f"{start.saga_id} did not complete: {words}.",
                queue=self.nature.owner,
                remedy=f"Look at it with `trueup show {start.saga_id}`, then retry: the rest is done.",
            )
        finally:
            self._in_flight -= 1

    async def attend(self, id_: str, title: str, run: Run[S], start: S) -> None:
        """Wait for another saga's end, whichever it is: it says itself how it ended. One that is under way
        already is waited for; when this saga is to stop, that one goes on.

        Raises:
            SagaStop: this saga is to end.
        """
        record = self._record(id_, title, StepKind.FORWARD_ONLY, None)
        while record.state is not StepState.DONE:
            if record.state is not StepState.WAITING:
                self._check_stop()
                record.state = StepState.RUNNING
            record.note = start.saga_id
            self._changed()
            busy = await self._beside(run, start)
            if busy is None:
                if record.case_open:
                    self._close_case(record, "resolved: it came to an end")
                record.state, record.failure = StepState.DONE, None
                self._changed()
            elif self._stop_wanted():
                record.state = StepState.PENDING
                self._check_stop()
            else:
                record.failure = busy
                await self._wait(record, busy)

    async def _beside(self, run: Run[S], start: S) -> Failure | None:
        """None: the other saga has ended."""
        self._in_flight += 1
        busy = _under_way(start.saga_id)
        try:
            running = await self._abandon(run, start)
            await workflow.wait_condition(lambda: running.done() or self._stop_wanted())
            return None if running.done() else busy
        except WorkflowAlreadyStartedError:
            return busy
        finally:
            self._in_flight -= 1

    async def launch(self, run: Run[S], start: S) -> bool:
        """Start a saga that goes on by itself, whatever becomes of this one. False: it runs already."""
        self._check_stop()
        try:
            await self._abandon(run, start)
        except WorkflowAlreadyStartedError:
            return False
        return True

    async def _abandon(self, run: Run[S], start: S) -> workflow.ChildWorkflowHandle[Any, SagaView]:
        """Start a saga that outlives this one. How it ends it says itself."""
        running = await self._start_child(run, start, ParentClosePolicy.ABANDON)
        # A failure that nobody asks for would be logged as forgotten.
        running.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return running

    @staticmethod
    async def _start_child(
        run: Run[S], start: S, policy: ParentClosePolicy
    ) -> workflow.ChildWorkflowHandle[Any, SagaView]:
        return await workflow.start_child_workflow(
            run,
            start,
            id=start.saga_id,
            task_queue=WORKFLOW_QUEUE,
            cancellation_type=ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
            parent_close_policy=policy,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            search_attributes=at_start(start),
            static_summary=summary_of(start),
            static_details=origin_of(start),
        )

    async def call_off(self, saga_id: str) -> None:
        """Ask a saga that was launched to stop; one that has ended needs no asking."""
        try:
            await workflow.get_external_workflow_handle(saga_id).cancel()
        except FailureError:
            return


def _under_way(saga_id: str) -> Failure:
    return Failure(
        kind=FailureKind.RETRY,
        cause=Cause.RUN_UNDER_WAY,
        message=f"{saga_id} is under way already; this run waits for it.",
    )


_HANDED_ON = frozenset({"region", "actor", "reason", "trace_id", "timings", "mapping", "repair_roles"})


def handed_on(start: StartSaga) -> dict[str, Any]:
    """What a saga's start gives to the starts of those that it starts."""
    return {name: getattr(start, name) for name in _HANDED_ON}
