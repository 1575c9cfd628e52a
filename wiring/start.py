"""How every trigger starts a saga: same id, same duplicate policy, same pinned mapping."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError

from activities.contracts import StartSaga
from activities.options import Timings
from canonical.failures import Failure
from canonical.names import EVENT_SIGNAL, WORKFLOW_QUEUE, SagaName, saga_id
from canonical.saga import Actor, SagaView
from runtime.settings import Settings
from wiring.vendors import VENDORS
from workflows.opportunity_to_project import OpportunityToProject
from workflows.publish import at_start


def failure_in(ended: WorkflowFailureError) -> Failure | None:
    """The failure that a saga ended with; None when it ended with something that is none of ours."""
    cause = ended.cause
    if isinstance(cause, ApplicationError) and cause.details:
        try:
            return Failure.model_validate(cause.details[0]["failure"])
        except (ValidationError, KeyError, TypeError):
            return None
    return None


def spelled_record(settings: Settings, system: str, record_id: str) -> str:
    """The one spelling of a record's id in a connected system; the id itself where it is not connected."""
    section = settings.systems.get(system)
    vendor = VENDORS.get(section.vendor) if section else None
    return vendor.spelled(record_id) if vendor else record_id


def common_start(
    settings: Settings,
    mapping: Mapping[str, str],
    saga: SagaName,
    system: str,
    record: str,
    *,
    actor: Actor,
    reason: str = "",
    plan: bool = False,
) -> dict[str, Any]:
    """What the start of every saga holds, by field of ``StartSaga``.

    Raises:
        ValueError: the record cannot be part of a saga id.
    """
    region = settings.about.region
    return {
        "saga_id": saga_id(saga, region, system, record, plan=plan),
        "region": region,
        "system": system,
        "record_id": record,
        "actor": actor,
        "reason": reason,
        "plan": plan,
        "trace_id": uuid.uuid4().hex,
        "timings": Timings(**settings.retry.model_dump()),
        "mapping": dict(mapping),
        "repair_roles": settings.policies.repair_roles,
    }


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
    record_id = spelled_record(settings, system, record_id)
    saga = SagaName.OPPORTUNITY_TO_PROJECT
    common = common_start(settings, mapping, saga, system, record_id, actor=actor, reason=reason, plan=plan)
    return StartSaga(**common, source_event_at=source_event_at)


async def start(
    client: Client, command: StartSaga, *, event: str | None = None
) -> WorkflowHandle[OpportunityToProject, SagaView]:
    """Start the saga, or find the one that runs: two triggers for one deal are one saga.

    Args:
        client: of Temporal.
        command: what it is started with.
        event: id of the received event that is the reason; the saga gets it as a signal, with the start if it
            does not run yet.

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
        start_signal=None if event is None else EVENT_SIGNAL,
        start_signal_args=[] if event is None else [event],
        static_summary=f"{'Plan' if command.plan else 'Set up'} deal {command.record_id}",
        static_details=(
            f"Opportunity-to-project for **{command.system}/{command.record_id}**, region {command.region}. "
            f"Started by {command.actor}. Inspect: `trueup show {command.saga_id}`"
        ),
    )
