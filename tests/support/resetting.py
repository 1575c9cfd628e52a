"""An operator resets a run to its beginning, as from the Web UI."""

from __future__ import annotations

import uuid

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client


async def reset_to_the_beginning(client: Client, workflow_id: str) -> str | None:
    """Reset the latest run of a workflow: another run does everything again. Answers its run id.

    None when the run has not come to its first decision yet: there is nothing to reset to.

    Raises:
        RPCError: the server refuses.
    """
    run = (await client.get_workflow_handle(workflow_id).describe()).run_id
    history = await client.get_workflow_handle(workflow_id, run_id=run).fetch_history()
    task = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    first = next((event.event_id for event in history.events if event.event_type == task), None)
    if first is None:
        return None
    request = ResetWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run),
        workflow_task_finish_event_id=first,
        request_id=uuid.uuid4().hex,
        reason="reset by an operator",
    )
    return (await client.workflow_service.reset_workflow_execution(request)).run_id
