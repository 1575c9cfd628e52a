"""What the ledger and the sagas know, each object checked against the caller's regions and entities."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from temporalio.client import WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.service import RPCError

from canonical.failures import ConfigurationError
from canonical.names import SagaName, contract_entities, saga_id, saga_parts
from canonical.refs import RecordRef
from canonical.saga import SagaView
from gateway.api.callers import Caller, Scope
from gateway.api.deals import entities_of_deal, spelled
from gateway.api.models import (
    Amount,
    ApprovedTime,
    ClientAccount,
    ClientAccounts,
    Code,
    DealId,
    Project,
    Projects,
    Record,
    SagaBody,
    SearchText,
    Step,
    SystemName,
    UnbilledTime,
)
from gateway.api.routes import ProcessRoute, caller_of, front_of, needs
from gateway.front import Front
from gateway.problems import Kind, Problem, described
from ledger.rows import LinkRow

PROBLEMS = described(
    Kind.MALFORMED, Kind.UNAUTHENTICATED, Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.METHOD, Kind.TOO_SLOW,
    Kind.TOO_LARGE, Kind.INVALID, Kind.UNAVAILABLE,
)  # fmt: skip
LIVE = timedelta(seconds=3)
"""How long a running saga is asked for what it knows before the ledger's word is given."""

router = APIRouter(prefix="/v1", tags=["process API"], route_class=ProcessRoute)


@router.get("/client-accounts", operation_id="listClientAccounts", responses=PROBLEMS,
            openapi_extra=needs(Scope.CLIENTS_READ))  # fmt: skip
async def list_client_accounts(
    request: Request,
    system: Annotated[SystemName | None, Query(description="Only clients with a record there.")] = None,
    record_type: Annotated[Code | None, Query(description="Together with `record_id`.")] = None,
    record_id: Annotated[SearchText | None, Query(description="Only the client of this record.")] = None,
    after: Annotated[int, Query(ge=0, le=2**53, description="The `next` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> ClientAccounts:
    """Clients with their records in all systems, oldest first."""
    front, caller = front_of(request), caller_of(request)
    caller.require(front.settings.about.region)
    ledger = front.desk.ledger
    cursor: int | None = None
    if record_id is not None:
        if system is None or record_type is None:
            raise Problem(Kind.INVALID, "record_id needs system and record_type.")
        found = await ledger.links_to(RecordRef(system=system, type=record_type, id=record_id))
        links = [one for one in found if one.kind == "client"]
    else:
        page = await ledger.links(kind="client", system=system, after=after, limit=limit)
        links, cursor = list(page.rows), page.cursor
    items = []
    for key in dict.fromkeys(one.key for one in links):
        records = await ledger.links_of("client", key)
        if await _may_see(front, caller, records):
            adopted = any(one.adopted for one in records)
            items.append(
                ClientAccount(key=key, records=[Record.of(one.record) for one in records], adopted=adopted)
            )
    return ClientAccounts(items=items, next=cursor)


async def _may_see(front: Front, caller: Caller, links: list[LinkRow]) -> bool:
    """A client is as visible as the contracts of the sagas that made or used its records."""
    if not caller.entities:
        return True
    for saga in {one.saga_id for one in links if one.saga_id}:
        row = await front.desk.ledger.saga(saga)
        entities = contract_entities(row.view.codes) if row and row.view else None
        if entities and caller.may_use(front.settings.about.region, entities):
            return True
    return False


@router.get("/projects", operation_id="listProjects", responses=PROBLEMS,
            openapi_extra=needs(Scope.PROJECTS_READ))  # fmt: skip
async def list_projects(
    request: Request,
    system: Annotated[SystemName, Query(description="The CRM instance.")],
    deal_id: Annotated[DealId, Query(description="The deal's id in the CRM.")],
) -> Projects:
    """The projects of a deal, with their codes and records."""
    front, caller = front_of(request), caller_of(request)
    region = front.settings.about.region
    name = saga_id(SagaName.OPPORTUNITY_TO_PROJECT, region, system, spelled(front.settings, system, deal_id))
    view, _ = await _saga(front, name)
    await _require(front, caller, view)
    items = []
    for contract, code in view.codes.items():
        _, entity, currency = contract.rsplit(".", 2)
        links = [
            link
            for kind in ("contract", "project")
            for link in await front.desk.ledger.links_of(kind, contract)
        ]
        items.append(
            Project(
                contract=contract,
                legal_entity=entity,
                currency=currency,
                code=code,
                records=[Record.of(one.record) for one in links],
            )
        )
    return Projects(saga_id=name, status=view.status, items=items)


@router.get("/approved-time", operation_id="listApprovedTime", responses=PROBLEMS,
            openapi_extra=needs(Scope.TIME_READ))  # fmt: skip
async def list_approved_time(
    request: Request,
    legal_entity: Annotated[Code | None, Query()] = None,
    project_code: Annotated[SearchText | None, Query()] = None,
) -> ApprovedTime:
    """Approved work that is not billed, by why and by project."""
    front, caller = front_of(request), caller_of(request)
    region = front.settings.about.region
    caller.require(region, () if legal_entity is None else (legal_entity,))
    groups = await front.desk.ledger.unbilled_groups(legal_entity=legal_entity, project_code=project_code)
    return ApprovedTime(
        items=[
            UnbilledTime(
                reason=one.reason,
                cause=one.cause,
                queue=one.queue,
                legal_entity=one.legal_entity,
                project_code=one.project_code,
                items=one.items,
                minutes=one.minutes,
                amount=Amount.of(one.amount),
                since=one.since,
            )
            for one in groups
            if caller.may_use(region, (one.legal_entity,))
        ]
    )


@router.get("/sagas/{id}", operation_id="getSaga", responses=PROBLEMS,
            openapi_extra=needs(Scope.SAGAS_READ))  # fmt: skip
async def get_saga(request: Request, id: str) -> SagaBody:
    """A saga as it stands: live while it runs, else as the ledger keeps it."""
    front, caller = front_of(request), caller_of(request)
    try:
        saga_parts(id)
    except ValueError:
        raise Problem(Kind.NOT_FOUND, "That is not a saga's id.") from None
    if not id.isascii() or not id.isprintable() or len(id) > 255:
        raise Problem(Kind.NOT_FOUND, "That is not a saga's id.")
    view, source = await _saga(front, id)
    await _require(front, caller, view)
    return SagaBody(
        saga_id=view.saga_id,
        saga=view.saga,
        status=view.status,
        headline=view.headline,
        business_key=view.business_key,
        region=view.region,
        codes=view.codes,
        cause=view.cause,
        queue=view.queue,
        started_at=view.started_at,
        trace_id=view.trace_id,
        steps=[
            Step(
                id=one.id,
                title=one.title,
                kind=one.kind,
                state=one.state,
                system=one.system,
                records=[Record.of(ref) for ref in one.records],
            )
            for one in view.steps
        ],
        source=source,
    )


async def _saga(front: Front, name: str) -> tuple[SagaView, str]:
    """(view, where it is from).

    Raises:
        Problem: nobody knows it.
    """
    row = await front.desk.ledger.saga(name)
    if row is None or not row.status.is_final:
        try:
            handle = (await front.desk.client()).get_workflow_handle(name, result_type=SagaView)
            view = await handle.query("view", result_type=SagaView, rpc_timeout=LIVE)
            if isinstance(view, SagaView):
                return view, "live"
        except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError, ConfigurationError):
            pass  # No worker, no server, or not known there: the ledger says what it has.
    if row is None:
        raise Problem(Kind.NOT_FOUND, "No such saga is known.")
    if row.view is not None:
        return row.view, "ledger"
    view = SagaView(
        saga_id=row.saga_id, saga=row.saga, status=row.status, headline="", business_key=row.business_key,
        region=row.region, started_at=row.started_at, trace_id=row.trace_id,
    )  # fmt: skip
    return view, "ledger"


async def _require(front: Front, caller: Caller, view: SagaView) -> None:
    """The saga must be of the caller's region, and all it is about of the caller's entities.

    Raises:
        Problem: it is not; said as if it were not there, so that nobody learns what others have.
    """
    entities = await _entities(front, view) if caller.entities else ()
    if not caller.may_use(view.region, entities):
        raise Problem(Kind.NOT_FOUND, "No such saga is known.")


async def _entities(front: Front, view: SagaView) -> tuple[str | None, ...] | None:
    if found := contract_entities(view.codes):
        return found
    name, _, system, record = saga_parts(view.saga_id)
    if name is not SagaName.OPPORTUNITY_TO_PROJECT:
        return None
    return await entities_of_deal(front, system, record)
