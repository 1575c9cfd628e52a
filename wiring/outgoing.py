"""Handing an outgoing event to Temporal: one workflow for each subscriber, the first time or once more."""

from __future__ import annotations

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from activities.contracts.outgoing import Delivery
from canonical.names import WORKFLOW_QUEUE, delivery_id
from canonical.outgoing import OutgoingType
from ledger.undelivered import UndeliveredRow
from workflows.outgoing import DeliverEvent


async def tell(
    client: Client, *, event_id: str, type_: OutgoingType, subject: str, region: str, subscription: str
) -> None:
    """Start the delivery of an event to a subscriber; one that was started before is left as it is.

    Raises:
        RPCError: Temporal does not take it.
    """
    try:
        await _start(client, WorkflowIDReusePolicy.REJECT_DUPLICATE,
                     event_id, type_, subject, region, subscription)  # fmt: skip
    except WorkflowAlreadyStartedError:
        return


async def tell_again(client: Client, row: UndeliveredRow) -> bool:
    """Start the delivery of an event that was given up once more, with all its attempts.

    Returns:
        False when the run that gave it up has not quite ended: ask again.

    Raises:
        RPCError: Temporal does not take it.
    """
    try:
        again = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
        await _start(client, again, row.event_id, OutgoingType(row.type), row.subject, row.region,
                     row.subscription)  # fmt: skip
    except WorkflowAlreadyStartedError:
        # Another run is under way or has succeeded; only the one that gave up would leave it unsent.
        handle = client.get_workflow_handle(delivery_id(row.region, row.subscription, row.event_id))
        found = await handle.describe()
        return not (found.status is WorkflowExecutionStatus.RUNNING and found.run_id == row.run_id)
    return True


async def _start(
    client: Client,
    reuse: WorkflowIDReusePolicy,
    event_id: str,
    type_: OutgoingType,
    subject: str,
    region: str,
    subscription: str,
) -> None:
    await client.start_workflow(
        DeliverEvent.run,
        Delivery(event_id=event_id, subscription=subscription),
        id=delivery_id(region, subscription, event_id),
        task_queue=WORKFLOW_QUEUE,
        id_reuse_policy=reuse,
        static_summary=f"Tell {subscription}: {type_.value}",
        static_details=f"About `{subject}`.",
    )
