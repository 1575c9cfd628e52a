"""What people decide: gates, which are asked for with figures (rule 13), and repairs of parked steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter
from temporalio import workflow

from activities.contracts import LedgerActivities, RecordDecision, StepOutcome
from canonical.causes import Cause
from canonical.failures import Failure, FailureKind
from canonical.saga import (
    GateDecision,
    GateOutcome,
    GateRequest,
    RepairAction,
    RepairCommand,
    SagaStatus,
    StepKind,
    StepState,
)
from workflows import desk
from workflows.failure import SagaStop
from workflows.kernel.core import result_type
from workflows.kernel.unwinding import Unwinding
from workflows.state import StepRecord

R = TypeVar("R")


class Deciding(Unwinding):
    """Asks, and carries out what was decided."""

    async def gate(
        self, request: GateRequest, *, amendable: type[BaseModel] | None = None
    ) -> GateDecision | None:
        """Wait for a decision. None in plan mode, where nobody is asked.

        Args:
            request: what is to be decided, by whom, until when.
            amendable: the form of an amendment, where the gate takes one.

        Raises:
            SagaStop: rejected, or the saga is to end.
        """
        record = self._record(request.step, request.title, StepKind.GATE, None)
        if record.state is StepState.DONE:
            return record.decision
        if amendable is not None:
            self._amendable[request.step] = amendable
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
                    queue=self.nature.owner,
                )
                raise self._abort(SagaStop(SagaStatus.UNDONE, failure))
            return decision

    async def _apply(
        self, record: StepRecord, repair: RepairCommand, method: Callable[..., Any] | None
    ) -> bool:
        """Carry out a repair. True when the step was skipped and now has a result."""
        self._book(LedgerActivities.record_decision, RecordDecision(saga=self.ref, repair=repair))
        record.note = f"{repair.action.value} by {repair.actor}" + (
            f": {repair.reason}" if repair.reason else ""
        )
        record.rounds = record.unknown_rounds = 0
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

    def _result(self, record: StepRecord, method: Callable[..., Awaitable[R]]) -> R:
        if record.id not in self._results:
            self._results[record.id] = TypeAdapter(result_type(method)).validate_python(record.result)
        kept: R = self._results[record.id]
        return kept
