"""Gates: decisions that are asked of people, with figures; not exceptions (rule 13)."""

from __future__ import annotations

from pydantic import BaseModel
from temporalio import workflow

from activities.contracts import LedgerActivities, RecordDecision
from canonical.causes import Cause
from canonical.failures import Failure, FailureKind
from canonical.saga import GateDecision, GateOutcome, GateRequest, SagaStatus, StepKind, StepState
from workflows.failure import SagaStop
from workflows.kernel.unwinding import Unwinding


class Gates(Unwinding):
    """Waits for decisions."""

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
