"""How every trigger starts a saga: same id, same duplicate policy, same pinned mapping."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from activities.contracts import StartSaga
from activities.options import Timings
from canonical.names import WORKFLOW_QUEUE, SagaName, saga_id
from canonical.saga import Actor, SagaView
from runtime.settings import Settings
from wiring.vendors import VENDORS
from workflows.opportunity_to_project import OpportunityToProject
from workflows.publish import at_start


def start_input(
    settings: Settings,
    mapping: Mapping[str, str],
    *,
    system: str,
    record_id: str,
    actor: Actor,
    reason: str = "",
    plan: bool = False,
    source_event_at: datetime | None = None,
) -> StartSaga:
    """What a saga is started with.

    Raises:
        ValueError: the record's id cannot be part of a saga id.
    """
    section = settings.systems.get(system)
    vendor = VENDORS.get(section.vendor) if section else None
    record_id = vendor.spelled(record_id) if vendor else record_id
    name = saga_id(SagaName.OPPORTUNITY_TO_PROJECT, settings.about.region, system, record_id, plan=plan)
    return StartSaga(
        saga_id=name,
        region=settings.about.region,
        system=system,
        record_id=record_id,
        actor=actor,
        reason=reason,
        plan=plan,
        trace_id=uuid.uuid4().hex,
        timings=Timings(**settings.retry.model_dump()),
        mapping=dict(mapping),
        source_event_at=source_event_at,
        repair_roles=settings.policies.repair_roles,
    )


async def start(client: Client, command: StartSaga) -> WorkflowHandle[OpportunityToProject, SagaView]:
    """Start the saga, or find the one that runs: two triggers for one deal are one saga.

    Raises:
        WorkflowAlreadyStartedError: it is complete; a deal is converted once.
    """
    return await client.start_workflow(
        OpportunityToProject.run,
        command,
        id=command.saga_id,
        task_queue=WORKFLOW_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE
        if command.plan
        else WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
        search_attributes=at_start(command),
        static_summary=f"{'Plan' if command.plan else 'Set up'} deal {command.record_id}",
        static_details=(
            f"Opportunity-to-project for **{command.system}/{command.record_id}**, region {command.region}. "
            f"Started by {command.actor}. Inspect: `trueup show {command.saga_id}`"
        ),
    )
