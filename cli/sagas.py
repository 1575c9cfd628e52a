"""Finding a saga by what people know of it, and seeing where it stands: live, else from the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from canonical.causes import Cause, Queue
from canonical.names import SagaName, SearchAttribute, saga_id, saga_parts
from canonical.refs import SystemRole
from canonical.saga import SagaStatus, SagaView
from cli.output import Cell, Complaint, Exit
from cli.session import Session
from ledger.rows import SagaRow
from ledger.store import Ledger
from runtime.search_attributes import (
    CAUSE_CODE,
    EXCEPTION_QUEUE,
    PARKED_SINCE,
    PROJECT_CODE,
    SAGA_STATUS,
)
from workflows.opportunity_to_project import OpportunityToProject

Handle = WorkflowHandle[OpportunityToProject, SagaView]

ANSWER = timedelta(seconds=8)
"""How long a running worker may take to answer; without one the server itself waits for minutes."""
PAGE = 500
MOST_SCANNED = 20_000
"""Rows looked through for a suffix; whoever has more sagas types a longer part."""


class NoAnswer(Exception):
    """Nobody answered the query: no worker runs, or its code cannot replay the saga."""


@dataclass(frozen=True)
class Seen:
    """A saga as it stands, and how well that is known."""

    view: SagaView
    source: str
    """``live``, ``ledger`` or ``temporal`` (status only)."""
    row: SagaRow | None = None
    caveat: str | None = None
    """Why it is not the live view."""


def handle(client: Client, saga: str) -> Handle:
    """The typed handle of a saga."""
    return client.get_workflow_handle_for(OpportunityToProject.run, saga)


async def live_view(client: Client, saga: str, patience: timedelta = ANSWER) -> SagaView | None:
    """What the saga says of itself; None when Temporal does not know it (any more).

    Raises:
        NoAnswer: nobody answers.
    """
    try:
        view = await handle(client, saga).query(OpportunityToProject.view, rpc_timeout=patience)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        if error.status is RPCStatusCode.UNAVAILABLE:
            raise
        raise NoAnswer(error.message) from None
    except (WorkflowQueryFailedError, WorkflowQueryRejectedError) as error:
        raise NoAnswer(str(error)) from None
    assert isinstance(view, SagaView)
    return view


async def see(session: Session, saga: str) -> Seen:
    """A saga as it stands, from the best source that answers.

    Raises:
        Complaint: nobody knows it.
    """
    client, away = await session.client_if_up()
    caveat = away
    if client is not None:
        try:
            view = await live_view(client, saga)
        except NoAnswer:
            caveat = "No worker answered; is `trueup worker` running?"
        else:
            if view is not None:
                return Seen(view, "live", await _row(session, saga))
            caveat = "Temporal no longer keeps this saga"
    row = await (await session.ledger()).saga(saga)
    if row is not None and row.view is not None and row.status.is_final:
        return Seen(row.view, "ledger", row, caveat)
    if client is not None and (known := await _described(client, saga)) is not None:
        return Seen(known, "temporal", row, caveat)
    if row is not None:
        return Seen(_view_of_row(row), "ledger", row, caveat)
    raise unknown(saga)


async def _row(session: Session, saga: str) -> SagaRow | None:
    ledger = await session.ledger()
    return await ledger.saga(saga)


def _view_of_row(row: SagaRow) -> SagaView:
    return row.view or SagaView(
        saga_id=row.saga_id,
        saga=row.saga,
        status=row.status,
        headline="",
        business_key=row.business_key,
        region=row.region,
        generation=row.generation,
        started_at=row.started_at,
        mapping=row.mapping,
        trace_id=row.trace_id,
    )


async def _described(client: Client, saga: str) -> SagaView | None:
    """What Temporal alone knows: search attributes and memo, which survive without a worker."""
    try:
        found = await handle(client, saga).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    return view_of_execution(found, await found.memo())


def view_of_execution(found: WorkflowExecution, memo: Any = None) -> SagaView:
    """A view without steps, from search attributes."""
    cause, queue = attribute(found, CAUSE_CODE), attribute(found, EXCEPTION_QUEUE)
    name, region, system, record_id = saga_parts(found.id)
    code = attribute(found, PROJECT_CODE)
    return SagaView(
        saga_id=found.id,
        saga=name.value,
        status=status_of(found),
        headline=str((memo or {}).get("headline", "")),
        business_key=f"{system}/{record_id}",
        region=region,
        project_code=code,
        codes={"": code} if code else {},
        cause=Cause(cause) if cause in set(Cause) else None,
        queue=Queue(queue) if queue in set(Queue) else None,
        started_at=found.start_time,
        parked_since=attribute(found, PARKED_SINCE),
    )


def attribute(found: WorkflowExecution, key: SearchAttributeKey[Any]) -> Any:
    """A search attribute's value, None when unset."""
    return found.typed_search_attributes.get(key)


def status_of(found: WorkflowExecution | WorkflowExecutionDescription) -> SagaStatus:
    """A saga's status by its search attribute; how the run closed where that says more."""
    published = attribute(found, SAGA_STATUS)
    status = SagaStatus(published) if published in set(SagaStatus) else SagaStatus.RUNNING
    if status.is_final or found.status in (None, WorkflowExecutionStatus.RUNNING):
        return status
    return SagaStatus.COMPLETE if found.status is WorkflowExecutionStatus.COMPLETED else SagaStatus.FAILED


# --- finding ----------------------------------------------------------------------------------------


async def find(session: Session, text: str, otherwise: Complaint | None = None) -> str:
    """The saga that ``text`` names: full id, deal id, project code, or the end of an id.

    Args:
        session: where to look.
        text: as typed.
        otherwise: what is said when nothing is known, where more than sagas can be named.

    Raises:
        Complaint: none or several; the several are listed.
    """
    found = await find_all(session, text)
    if len(found) == 1:
        return found[0]
    if not found:
        raise otherwise or unknown(text)
    raise Complaint(
        f"{text!r} could mean {len(found)} sagas: {', '.join(found[:10])}.",
        remedy="Type one of them in full.",
        code=Exit.USAGE,
        details=found,
    )


def unknown(text: str) -> Complaint:
    """Nothing is known under that name."""
    return Complaint(
        f"No saga, deal or project code {text!r} is known.",
        remedy="List all sagas, or start one for a deal:",
        command=f"trueup list   |   trueup start {SagaName.OPPORTUNITY_TO_PROJECT.value} DEAL_ID",
    )


async def find_all(session: Session, text: str) -> list[str]:
    """All sagas that ``text`` names, the most exact reading first."""
    try:
        saga_parts(text)
        return [text]
    except ValueError:
        pass
    client, _ = await session.client_if_up()
    ledger = await session.ledger()
    exact = [one for one in _ids_of_deal(session, text) if await _exists(client, ledger, one)]
    if exact:
        return exact
    found: dict[str, None] = {}
    if client is not None and _quotable(text):
        query = f"{SearchAttribute.PROJECT_CODE} = '{text}'"
        async for execution in client.list_workflows(query, limit=PAGE):
            found[execution.id] = None
    async for row in _rows(ledger):
        if row.saga_id.endswith(text) or (row.view is not None and text in row.view.codes.values()):
            found[row.saga_id] = None
    if not found and client is not None:
        query = f"{SearchAttribute.SAGA_STATUS} IS NOT NULL AND ExecutionStatus = 'Running'"
        async for execution in client.list_workflows(query, limit=MOST_SCANNED):
            if execution.id.endswith(text):
                found[execution.id] = None
    return list(found)


def _ids_of_deal(session: Session, deal: str) -> list[str]:
    ids = []
    for crm in session.settings.systems_with(SystemRole.CRM):
        try:
            region = session.settings.about.region
            ids.append(saga_id(SagaName.OPPORTUNITY_TO_PROJECT, region, crm, deal))
        except ValueError:
            return []
    return ids


async def _exists(client: Client | None, ledger: Ledger, saga: str) -> bool:
    if await ledger.saga(saga) is not None:
        return True
    if client is None:
        return False
    try:
        await handle(client, saga).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


async def _rows(ledger: Ledger) -> AsyncIterator[SagaRow]:
    before: int | None = None
    scanned = 0
    while scanned < MOST_SCANNED:
        page = await ledger.sagas(before=before, limit=PAGE)
        for row in page.rows:
            yield row
        scanned += len(page.rows)
        if page.cursor is None:
            return
        before = page.cursor


def _quotable(text: str) -> bool:
    return text.isprintable() and "'" not in text and "\\" not in text


def quoted(text: str) -> str:
    """A value inside a visibility query.

    Raises:
        Complaint: it cannot stand in one.
    """
    if not _quotable(text):
        raise Complaint(f"{text!r} cannot be looked for.", code=Exit.USAGE)
    return f"'{text}'"


def cell(session: Session, saga: str) -> Cell:
    """A saga as a table's cell."""
    return Cell(saga, session.web(saga), quiet=True)


def clock(seen: Seen, now: datetime) -> tuple[float, float] | None:
    """(seconds in all, seconds without waiting for people) (rule 21); None before the first step."""
    view, row = seen.view, seen.row
    if view.started_at is None:
        return None
    end = row.finished_at if row is not None and row.finished_at and view.status.is_final else now
    total = max(0.0, (end - view.started_at).total_seconds())
    people = float(view.human_seconds)
    if view.parked_since is not None and not view.status.is_final:
        people += max(0.0, (now - view.parked_since).total_seconds())
    return total, max(0.0, total - people)
