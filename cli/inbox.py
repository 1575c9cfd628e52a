"""``trueup inbox``: received events, what became of them, and letting parked ones be tried again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from cli import sagas
from cli.command import command
from cli.output import Complaint, Exit, Report, Table, Value, age, count
from cli.session import Session
from ledger.inbox import InboxRow, InboxState

UNSETTLED = (InboxState.RECEIVED, InboxState.WAITING, InboxState.PARKED)
MOST = 5_000
"""Events that one ``--retry`` takes at most."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "inbox")(inbox)


async def inbox(
    session: Session,
    state: Annotated[InboxState | None, typer.Option("--state", help="Only events in this state.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Only of this source.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Events shown at most.")] = 50,
    retry: Annotated[
        bool, typer.Option("--retry", help="Let the parked events of this choice be tried again.")
    ] = False,
) -> Report:
    """List received events that no saga has yet, newest first; with --state others too."""
    ledger = await session.ledger()
    if source is not None and source not in session.settings.gateway.sources:
        known = ", ".join(session.settings.gateway.sources) or "none"
        raise Complaint(f"{source!r} is no configured source; configured: {known}.", code=Exit.USAGE)
    states = (state,) if state else UNSETTLED
    reopened = 0
    if retry:
        chosen = (state,) if state else (InboxState.PARKED,)
        ids = [row.id for row in (await ledger.inbox(states=chosen, source=source, limit=MOST)).rows]
        reopened = await ledger.reopen_events(ids)
    counts = await ledger.inbox_counts()
    page = await ledger.inbox(states=states, source=source, limit=limit)
    open_ = sum(counts.get(one, 0) for one in (InboxState.RECEIVED, InboxState.WAITING))
    said = f"{count(counts.get(InboxState.PARKED, 0), 'event')} parked, {open_} on the way, "
    said += f"{counts.get(InboxState.HANDED, 0)} handed over."
    said += f" {count(reopened, 'event')} will be tried again by the gateway." if retry else ""
    parts: list[Table | str] = []
    if page.rows:
        columns = ("event", "source", "type", "record", "state", "received", "times", "why, or saga")
        parts.append(Table(columns, [_line(session, row) for row in page.rows]))
    if page.cursor is not None:
        parts.append(f"Only the newest {limit}; narrow the list or raise --limit.")
    if any(row.state is InboxState.PARKED for row in page.rows):
        parts.append("When the reason is mended:\n  trueup inbox --retry")
    data = {
        "counts": {one.value: number for one, number in counts.items()},
        "reopened": reopened,
        "events": list(page.rows),
    }
    return Report(said, data, parts)


def _line(session: Session, row: InboxRow) -> list[Value]:
    record = f"{row.system}/{row.record_type}/{row.record_id}" if row.record_id else row.system
    return [
        str(row.id),
        row.source,
        row.type,
        record,
        row.state.value,
        age(row.received_at, datetime.now(UTC)),
        str(row.deliveries),
        sagas.cell(session, row.saga_id) if row.saga_id and not row.reason else row.reason,
    ]
