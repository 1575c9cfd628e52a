"""``ScheduledRun``: what a Temporal Schedule starts. It begins a run and lasts as long as that run.

So the schedule's overlap policy sees the run itself: the next one is buffered until this one is over.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import SearchAttributeKey, WorkflowIDReusePolicy
from temporalio.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

from activities.contracts import PreparedRun, PrepareRun, ScheduleActivities, ScheduledRun, StartSaga
from activities.options import CallClass, Timings, activity_config
from canonical.names import LEDGER_QUEUE, WORKFLOW_QUEUE
from canonical.saga import SagaView
from workflows.billing.post_approved_time import PostApprovedTime
from workflows.billing.time_to_billing import TimeToBilling
from workflows.feedback.poll_changes import PollChanges
from workflows.kernel.children import Run
from workflows.kernel.core import activity_name
from workflows.publish import at_start
from workflows.revenue.revenue_follow_up import RevenueFollowUp

DUE = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
"""Set by the server on what a schedule starts: when it was due."""


@workflow.defn(name="ScheduledRun", failure_exception_types=[ValidationError])
class Scheduled:
    """One run per moment at which a schedule is due."""

    @workflow.run
    async def run(self, wanted: ScheduledRun) -> str:
        """Begin the run and wait for its end; answers how it ended."""
        due = workflow.info().typed_search_attributes.get(DUE) or workflow.info().start_time
        config = activity_config(LEDGER_QUEUE, CallClass.LEDGER, Timings())
        config["summary"] = f"Prepare the run of {wanted.schedule}"
        prepared: PreparedRun = await workflow.execute_activity(
            activity_name(ScheduleActivities.prepare),
            PrepareRun(wanted=wanted, due=due),
            result_type=PreparedRun,
            **config,
        )
        start: StartSaga | None = prepared.posting or prepared.cutoff or prepared.poll or prepared.revenue
        if start is None:
            return "nothing to start"
        return await self._carry(start, prepared)

    async def _carry(self, start: StartSaga, prepared: PreparedRun) -> str:
        run: Run[Any] = PostApprovedTime.run
        if prepared.cutoff is not None:
            run = TimeToBilling.run
        elif prepared.poll is not None:
            run = PollChanges.run
        elif prepared.revenue is not None:
            run = RevenueFollowUp.run
        try:
            # Whatever becomes of this workflow, the run goes on: it is what an operator stops.
            running = await workflow.start_child_workflow(
                run,
                start,
                id=start.saga_id,
                task_queue=WORKFLOW_QUEUE,
                parent_close_policy=ParentClosePolicy.ABANDON,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                search_attributes=at_start(start),
            )
            workflow.set_current_details(f"Started **{start.saga_id}** and waits for its end.")
            view: SagaView = await running
            return f"{start.saga_id}: {view.headline}"
        except WorkflowAlreadyStartedError:
            return f"{start.saga_id} was under way already"
        except ChildWorkflowError as ended:
            # It says itself how it ended, and has its own cases; the schedule's next run is due all the same.
            return f"{start.saga_id}: {ended.cause}"
