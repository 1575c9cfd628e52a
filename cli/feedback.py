"""Following invoices from the command line: the ERP is read again, and what it says is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from temporalio.client import WorkflowFailureError

from canonical.refs import SystemRole
from canonical.saga import SagaView
from cli import sagas
from cli.follow import follow
from cli.output import Complaint, Exit, Report, Table, Value, count
from cli.session import Session, command_id
from wiring.start_feedback import FeedbackStarts, start_plan, tell


async def starts(session: Session) -> FeedbackStarts:
    """Builds starts on behalf of whoever types; today's field mappings are kept for whichever worker."""
    systems = await session.systems()
    await systems.store_mappings()
    return FeedbackStarts(session.settings, systems.mapping_digests(), session.actor)


def the_erp(session: Session, named: str | None) -> str:
    """The ERP instance that is named, or the only one.

    Raises:
        Complaint: it is not an ERP, or there are several.
    """
    known = session.settings.systems_with(SystemRole.ERP)
    if named is None and len(known) == 1:
        return known[0]
    if named is not None and named in known:
        return named
    listing = ", ".join(known) or "none"
    raise Complaint(
        f"{named!r} is not a configured ERP; configured: {listing}."
        if named
        else f"Which ERP? Configured: {listing}.",
        remedy="Name one with --erp.",
        code=Exit.USAGE,
    )


async def follow_invoices(
    session: Session,
    ids: Sequence[str],
    erp: str | None,
    reason: str,
    *,
    plan_only: bool,
    wait: bool,
    timeout: float,
) -> Report:
    """Have invoices read again; starting one that is followed tells it to look.

    Raises:
        Complaint: no ids, an id that cannot be one, no such ERP.
    """
    system = the_erp(session, erp)
    if not ids:
        raise Complaint("Which invoices? Give their ids in the ERP.", code=Exit.USAGE)
    building = await starts(session)
    try:
        wanted = [building.feedback(system, one, reason, plan=plan_only) for one in ids]
    except ValueError as error:
        raise Complaint(f"That is no invoice id: {error}.", code=Exit.USAGE) from None
    client = await session.client()
    if plan_only:
        if len(wanted) > 1:
            raise Complaint("--plan shows one invoice at a time.", code=Exit.USAGE)
        handle = await start_plan(client, wanted[0])
        try:
            view = await asyncio.wait_for(handle.result(), timeout)
        except TimeoutError:
            await handle.terminate(reason="nobody waits for this plan any more")
            raise Complaint(
                f"No worker made the plan within {timeout:g} s; nothing was written.",
                remedy="Start a worker, then plan again:",
                command="trueup worker",
            ) from None
        except WorkflowFailureError as error:
            raise Complaint(f"It cannot be planned: {error.cause}") from None
        return _planned(view)
    for one in wanted:
        await tell(client, one, f"told by hand {command_id()}")
    if not wait:
        return _started(session, [one.saga_id for one in wanted])
    with session.working("Reading the ERP again") as progress:
        followed = await asyncio.gather(
            *(follow(client, one.saga_id, timeout, progress, until=_told) for one in wanted)
        )
    return _reported(session, [one.view for one in followed], timeout)


def _told(view: SagaView) -> bool:
    """Ended, needs a person, or everything that was told is dealt with."""
    if view.status.is_final or view.parked_steps:
        return True
    busy = any(step.state.value in ("running", "waiting") for step in view.steps)
    return not busy and any(step.id == "read" and step.attempts for step in view.steps)


def _started(session: Session, names: Sequence[str]) -> Report:
    rows: list[list[Value]] = [[sagas.cell(session, name), f"trueup show {name}"] for name in names]
    return Report(
        f"{count(len(names), 'invoice')} {'is' if len(names) == 1 else 'are'} read again.",
        {"sagas": list(names)},
        [Table(("saga", "look at it"), rows)],
    )


def _reported(session: Session, views: Sequence[SagaView | None], timeout: float) -> Report:
    parked = [view for view in views if view is not None and view.parked_steps]
    silent = sum(view is None for view in views)
    said = f"{count(len(views) - silent, 'invoice')} read again"
    said += f", {len(parked)} parked" if parked else ""
    said += f"; no worker answered for {silent} within {timeout:g} s" if silent else ""
    rows: list[list[Value]] = [
        [sagas.cell(session, view.saga_id), view.status.value, _words(view)]
        for view in views
        if view is not None
    ]
    code = Exit.FAILED if silent else Exit.PARKED if parked else Exit.DONE
    return Report(f"{said}.", {"sagas": list(views)}, [Table(("saga", "status", "what it says"), rows)], code)


def _words(view: SagaView) -> str:
    if view.parked_steps and view.parked_steps[0].failure is not None:
        return view.parked_steps[0].failure.message
    if view.status.is_final:
        return view.headline
    read = next((step.note for step in view.steps if step.id == "read" and step.note), None)
    return read or view.headline


def _planned(view: SagaView) -> Report:
    rows: list[list[Value]] = [
        [str(one["system"]), str(one["title"]), ", ".join(sorted(one["body"] or {}))] for one in view.writes
    ]
    said = f"{view.headline} {count(len(view.writes), 'write')} would be made, none was."
    parts: list[Table | str] = [Table(("system", "what", "fields"), rows)] if rows else []
    return Report(said, {"writes": view.writes, "saga": view}, parts)
