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
from workflows.publish import at_start

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
                ended = await self._carry(run, start)
                if isinstance(ended, SagaView):
                    record.state, record.result = StepState.DONE, ended.model_dump(mode="json")
                    record.failure, record.note = None, ended.headline
                    if record.case_open:
                        self._close_case(record, "resolved: it completed")
                    self._changed()
                    return ended
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
            return Failure(
                kind=FailureKind.RETRY,
                cause=Cause.RUN_UNDER_WAY,
                message=f"{start.saga_id} is under way already; this run waits for it.",
            )
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

    async def launch(self, run: Run[S], start: S) -> bool:
        """Start a saga that goes on by itself, whatever becomes of this one. False: it runs already."""
        self._check_stop()
        try:
            await self._start_child(run, start, ParentClosePolicy.ABANDON)
        except WorkflowAlreadyStartedError:
            return False
        return True

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
        )

    async def call_off(self, saga_id: str) -> None:
        """Ask a saga that was launched to stop; one that has ended needs no asking."""
        try:
            await workflow.get_external_workflow_handle(saga_id).cancel()
        except FailureError:
            return


_HANDED_ON = frozenset({"region", "actor", "reason", "trace_id", "timings", "mapping", "repair_roles"})


def handed_on(start: StartSaga) -> dict[str, Any]:
    """What a saga's start gives to the starts of those that it starts."""
    return {name: getattr(start, name) for name in _HANDED_ON}
