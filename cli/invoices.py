"""``trueup invoices``: how invoices stand as they were last read, and which records do not show it yet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from canonical.feedback import Feed
from canonical.names import cursor_name
from canonical.refs import SystemRole
from cli import sagas
from cli.command import command
from cli.feedback import starts, the_erp
from cli.output import Report, Table, Value, age, count, record, when
from cli.session import Session
from ledger.feedback import ErpInvoiceRow
from ledger.feedback_targets import TargetRow
from ledger.store import Ledger
from wiring.start_feedback import start_poll

CLOCK = timedelta(minutes=15)
"""Invoice status is to be in the CRM this long after it changed."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "invoices")(invoices)


async def invoices(
    session: Session,
    crm_stale: Annotated[
        bool, typer.Option("--crm-stale", help="Only records that do not show what is known.")
    ] = False,
    contract: Annotated[str | None, typer.Option("--contract", help="Only of this contract's key.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows at most.")] = 50,
    poll: Annotated[bool, typer.Option("--poll", help="Ask the ERP what changed, now.")] = False,
    scan: Annotated[
        bool, typer.Option("--scan", help="With --poll: compare everything, not only what is new.")
    ] = False,
    erp: Annotated[str | None, typer.Option("--erp", help="ERP instance; the only one by default.")] = None,
) -> Report:
    """List invoices as they were last read in the ERP; --crm-stale: what the CRM does not show yet.

    Exit 1 with --crm-stale when something is behind for longer than 15 minutes.
    """
    if poll:
        return await _poll(session, the_erp(session, erp), scan)
    ledger = await session.ledger()
    if crm_stale:
        return await _stale(session, ledger, limit)
    found = await ledger.erp_invoices(contract_key=contract, limit=limit)
    said = f"{count(len(found), 'invoice')}, the last changed first" if found else "No invoice was read yet"
    open_ = sum(not one.settled for one in found)
    said += f"; {open_} not settled." if found else "."
    parts: list[Table | str] = [invoice_table(session, found)] if found else []
    return Report(said, {"invoices": [invoice_facts(one) for one in found]}, parts)


async def _poll(session: Session, erp: str, scan: bool) -> Report:
    building = await starts(session)
    start = building.poll(erp, "by-hand-scan" if scan else "by-hand", scan=scan, reason="asked by hand")
    await start_poll(await session.client(), start)
    return Report(
        f"{erp} is being asked what changed.",
        {"saga_id": start.saga_id, "web": session.web(start.saga_id)},
        [f"  trueup show {start.saga_id}"],
    )


async def _stale(session: Session, ledger: Ledger, limit: int) -> Report:
    rows = await ledger.stale_targets(limit=limit)
    now = datetime.now(UTC)
    late = [row for row in rows if row.wanted_since is not None and now - row.wanted_since > CLOCK]
    feeds = await _feeds(session, ledger)
    said = (
        f"{count(len(rows), 'record')} {'does' if len(rows) == 1 else 'do'} not show what is known, "
        f"{len(late)} for longer than 15 minutes."
        if rows
        else "Every record shows what is known of its invoices."
    )
    parts: list[Table | str] = []
    if rows:
        parts.append(_stale_table(session, rows, now))
    parts.append(_feed_table(feeds, now))
    if unread := [name for name, at in feeds.items() if at is None or now - at > CLOCK]:
        parts.append(
            f"Not asked within 15 minutes: {', '.join(unread)}. What changed there since is not known; ask:\n"
            "  trueup invoices --poll"
        )
    data: dict[str, Any] = {
        "stale": [
            {
                "target": row.target.ref,
                "kind": row.target.kind,
                "since": row.wanted_since,
                "late": row in late,
                "saga_id": row.saga_id,
                "failure": row.failure,
                "last_shown": row.figures,
                "shown_at": row.applied_at,
            }
            for row in rows
        ],
        "feeds": feeds,
    }
    return Report(said, data, parts, 1 if late else 0)


async def _feeds(session: Session, ledger: Ledger) -> dict[str, datetime | None]:
    """When each feed of each ERP was last asked."""
    names = {
        f"{erp} {feed.value}": cursor_name(erp, f"feedback.{feed.value}")
        for erp in session.settings.systems_with(SystemRole.ERP)
        for feed in Feed
    }
    read = await ledger.read_at(names.values())
    return {name: read.get(cursor) for name, cursor in names.items()}


def _stale_table(session: Session, rows: Sequence[TargetRow], now: datetime) -> Table:
    table: list[list[Value]] = [
        [
            row.target.kind.value,
            record(row.target.ref),
            age(row.wanted_since, now) if row.wanted_since else "",
            row.failure or "under way, or waiting for its saga",
            sagas.cell(session, row.saga_id),
            f"trueup show {row.saga_id}",
        ]
        for row in rows
    ]
    return Table(("what", "record", "behind for", "why", "saga", "look at it"), table)


def _feed_table(feeds: dict[str, datetime | None], now: datetime) -> Table:
    rows: list[list[Value]] = [
        [name, f"{age(at, now)} ago" if at is not None else "never"] for name, at in feeds.items()
    ]
    return Table(("feed", "last asked"), rows, title="Polls")


def invoice_table(session: Session, found: Sequence[ErpInvoiceRow], title: str = "") -> Table:
    """Invoices with status and amounts."""
    rows: list[list[Value]] = []
    for one in found:
        told = one.standing.invoice
        rows.append(
            [
                one.number or one.ref.id,
                one.status.value + (", disputed" if one.disputed else ""),
                str(told.gross) if told else "",
                str(told.balance) if told else "",
                told.due_on.isoformat() if told and told.due_on else "",
                when(one.changed_at),
                record(one.ref),
                sagas.cell(session, one.saga_id),
            ]
        )
    columns = ("invoice", "status", "gross", "open", "due", "changed", "record", "saga")
    return Table(columns, rows, title=title)


def invoice_facts(one: ErpInvoiceRow) -> dict[str, Any]:
    """An invoice for ``--json``."""
    told = one.standing.invoice
    return {
        "record": one.ref,
        "number": one.number,
        "status": one.status,
        "settled": one.settled,
        "disputed": one.disputed,
        "net": told.net if told else None,
        "gross": told.gross if told else None,
        "paid": told.paid if told else None,
        "credited": told.credited if told else None,
        "withheld": told.withheld if told else None,
        "written_off": told.written_off if told else None,
        "balance": told.balance if told else None,
        "due_on": told.due_on if told else None,
        "applications": one.standing.applications,
        "version": one.version,
        "modified_at": one.modified_at,
        "read_at": one.read_at,
        "saga_id": one.saga_id,
    }
