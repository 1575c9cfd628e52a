"""``DeliverEvent``: one event to one subscriber, at least once, with the same id; tried for days."""

from __future__ import annotations

from datetime import timedelta

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from activities.contracts.outgoing import Delivery, GiveUp, OutgoingActivities
from activities.options import CallClass, Timings, activity_config
from canonical.names import EVENTS_QUEUE
from canonical.outgoing import DeliveryOutcome
from workflows.kernel.core import activity_name, growing_pause

PAUSES = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""Between attempts, as Standard Webhooks recommends; each a little longer by chance."""
LONGEST = timedelta(days=1)
"""A receiver may not ask for more patience than this."""


@workflow.defn(name="DeliverEvent", failure_exception_types=[ValidationError])
class DeliverEvent:
    """Done when the receiver has the event or nobody wants it; else failed, with a case."""

    @workflow.run
    async def run(self, delivery: Delivery) -> str:
        """Try until it is taken."""
        outcome = DeliveryOutcome(taken=False)
        for number, pause in enumerate((*PAUSES, None), 1):
            outcome = await self._attempt(delivery)
            if outcome.taken or outcome.over:
                return outcome.detail
            workflow.set_current_details(f"Attempt {number} of {len(PAUSES) + 1}: {outcome.detail}")
            if pause is not None:
                asked = timedelta(seconds=min(outcome.retry_after_seconds or 0, LONGEST.total_seconds()))
                await workflow.sleep(max(pause * workflow.random().uniform(1, 1.1), asked))
        await self._give_up(delivery, outcome.detail)
        raise ApplicationError(
            f"{delivery.subscription} did not take event {delivery.event_id}: {outcome.detail}. "
            f"Next: trueup outbox --subscription {delivery.subscription}",
            type="NotDelivered",
            non_retryable=True,
        )

    async def _attempt(self, delivery: Delivery) -> DeliveryOutcome:
        config = activity_config(EVENTS_QUEUE, CallClass.NOTIFY, Timings())
        config["summary"] = f"Tell {delivery.subscription}"
        try:
            outcome: DeliveryOutcome = await workflow.execute_activity(
                activity_name(OutgoingActivities.deliver), delivery, result_type=DeliveryOutcome, **config
            )
            return outcome
        except ActivityError as failed:
            # Our own ledger away, a worker that died over it: an attempt that failed, not the end of all.
            return DeliveryOutcome(taken=False, detail=f"it could not be sent: {failed.cause or failed}")

    async def _give_up(self, delivery: Delivery, detail: str) -> None:
        config = activity_config(EVENTS_QUEUE, CallClass.LEDGER, Timings())
        config["summary"] = "Open a case: it was not taken"
        command = GiveUp(delivery=delivery, run_id=workflow.info().run_id, detail=detail)
        rounds = 0
        while True:
            try:
                await workflow.execute_activity(activity_name(OutgoingActivities.give_up), command, **config)
                return
            except ActivityError:
                rounds += 1
            await workflow.sleep(timedelta(seconds=growing_pause(Timings(), rounds)))
