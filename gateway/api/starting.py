"""What the process API starts: deals, postings, and the pre-flight that writes nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import WorkflowAlreadyStartedError

from activities.contracts import StartSaga
from canonical.failures import Failure, Severity, SystemFailure
from canonical.opportunity import Opportunity
from canonical.saga import SagaView, StepKind
from gateway.api.callers import Scope
from gateway.api.deals import entities_of_route, selling_entities
from gateway.api.models import (
    FindingBody,
    StartApprovedTime,
    Started,
    StartProject,
    StartValidation,
    Validation,
)
from gateway.api.reading import PROBLEMS
from gateway.api.routes import ProcessRoute, caller_of, front_of, needs, run_name_of, saga_href, trace
from gateway.front import Front
from gateway.problems import Kind, Problem, described
from wiring.events import read_won_deal
from wiring.start import failure_in, start, start_input
from wiring.start_billing import BillingStarts, start_run

_STARTING = {
    **PROBLEMS,
    **described(Kind.MALFORMED, Kind.KEY_MISSING),
    **described(Kind.IN_FLIGHT, Kind.NOT_STARTABLE),
    **described(Kind.INVALID, Kind.KEY_REUSED),
    200: {"model": Started, "description": "It was done before."},
}
_LOCATION = {"Location": {"description": "Where to look at the saga.", "schema": {"type": "string"}}}
_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"model": Started, "description": "Under way.", "headers": _LOCATION}
}

router = APIRouter(prefix="/v1", tags=["process API"], route_class=ProcessRoute)


@router.post("/projects", operation_id="startProject", status_code=202, responses={**_STARTING, **_ACCEPTED},
             openapi_extra=needs(Scope.PROJECTS_WRITE, key=True))  # fmt: skip
async def start_project(request: Request, response: Response, wanted: StartProject) -> Started:
    """Start opportunity-to-project for a won deal, or find the saga that runs or ran for it."""
    front, caller = front_of(request), caller_of(request)
    deal = await _deal(front, wanted.system, wanted.deal_id)
    caller.require(front.settings.about.region, selling_entities(deal))
    if not deal.is_won:
        raise Problem(Kind.NOT_STARTABLE, "The deal is not won.")
    command = _command(front, wanted.system, deal, actor_of=request, reason=wanted.reason)
    await front.desk.systems.store_mappings()
    try:
        await start(await front.desk.client(), command)
    except WorkflowAlreadyStartedError:
        response.status_code = 200
        return _started(response, command.saga_id, "complete")
    return _started(response, command.saga_id, "under way")


@router.post("/approved-time", operation_id="postApprovedTime", status_code=202,
             responses={**{k: v for k, v in _STARTING.items() if k != 200}, **_ACCEPTED},
             openapi_extra=needs(Scope.TIME_WRITE, key=True))  # fmt: skip
async def post_approved_time(request: Request, response: Response, wanted: StartApprovedTime) -> Started:
    """Start posting what is approved on a route. What is posted already is not posted again."""
    front, caller = front_of(request), caller_of(request)
    entities = entities_of_route(front.settings, wanted.psa, wanted.erp)
    if entities is None:
        raise Problem(Kind.NOT_FOUND, "No route leads from that delivery system to that ERP.")
    caller.require(front.settings.about.region, entities)
    systems = front.desk.systems
    await systems.store_mappings()
    starts = BillingStarts(front.settings, systems.mapping_digests(), caller.actor)
    command = starts.posting(
        wanted.psa, wanted.erp, run_name_of(request), through=wanted.through, reason=wanted.reason
    )
    await start_run(await front.desk.client(), command.model_copy(update={"trace_id": trace()}))
    return _started(response, command.saga_id, "under way")


@router.post("/validations", operation_id="validateDeal",
             responses={**PROBLEMS, **described(Kind.TIMED_OUT), **described(Kind.NOT_STARTABLE)},
             openapi_extra=needs(Scope.VALIDATIONS_RUN))  # fmt: skip
async def validate_deal(request: Request, wanted: StartValidation) -> Validation:
    """Run every check of a deal, as setting it up would, and answer with all findings. Writes nothing."""
    front, caller = front_of(request), caller_of(request)
    deal = await _deal(front, wanted.system, wanted.deal_id)
    caller.require(front.settings.about.region, selling_entities(deal))
    command = _command(front, wanted.system, deal, actor_of=request, plan=True)
    await front.desk.systems.store_mappings()
    handle = await start(await front.desk.client(), command)
    seconds = front.settings.gateway.validation_seconds
    try:
        view = await asyncio.wait_for(handle.result(), seconds)
    except TimeoutError:
        await handle.terminate(reason="nobody waits for this plan any more")
        raise Problem(
            Kind.TIMED_OUT, f"The checks took longer than {seconds:g} s; nothing was written. Try again."
        ) from None
    except WorkflowFailureError as ended:
        return _refused(failure_in(ended))
    return _planned(view)


async def _deal(front: Front, system: str, record_id: str) -> Opportunity:
    try:
        deal = await read_won_deal(front.desk, system, record_id)
    except SystemFailure as failure:
        if failure.failure.kind.passes_by_itself:
            raise
        raise Problem(
            Kind.NOT_FOUND, "That system is not connected as a CRM, or refused to read it."
        ) from None
    if deal is None:
        raise Problem(Kind.NOT_FOUND, "The CRM has no such deal.")
    return deal


def _command(
    front: Front, system: str, deal: Opportunity, *, actor_of: Request, reason: str = "", plan: bool = False
) -> StartSaga:
    try:
        command = start_input(
            front.settings,
            front.desk.systems.mapping_digests(),
            system=system,
            record_id=deal.ref.id,
            actor=caller_of(actor_of).actor,
            reason=reason,
            plan=plan,
        )
    except ValueError:
        raise Problem(Kind.NOT_FOUND, "That cannot be the id of a deal.") from None
    return command.model_copy(update={"trace_id": trace()})


def _started(response: Response, saga: str, status: str) -> Started:
    href = saga_href(saga)
    response.headers["Location"] = href
    return Started(saga_id=saga, status=status, href=href)


def _planned(view: SagaView) -> Validation:
    questions = [step.note for step in view.steps if step.kind is StepKind.GATE and step.note]
    return Validation(
        valid=True,
        findings=[],
        writes=len(view.writes),
        questions=questions,
        detail=f"{len(view.writes)} records would be made or changed. Nothing was written.",
    )


def _refused(failure: Failure | None) -> Validation:
    findings = [FindingBody.of(one) for one in failure.findings] if failure else []
    blocking = [one for one in findings if one.severity == Severity.BLOCKING.value]
    said = failure.message if failure else "The checks ended with a failure; the worker's log says why."
    return Validation(
        valid=False,
        findings=findings,
        writes=0,
        questions=[],
        detail=f"{len(blocking)} findings stand in the way." if blocking else said,
    )
