"""``trueup slo``: how long it took, counted from what happened at the source: from a won deal to its project,
from an invoice's change to the records that show it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from canonical.names import SagaName, event_moment
from canonical.saga import SagaStatus
from cli.command import command
from cli.output import Report, Table, Value, count, duration, moment
from cli.session import Session
from ledger.rows import SagaRow
from ledger.store import Ledger

PROJECT = timedelta(minutes=5)
"""From a won deal to the project."""
INVOICE = timedelta(minutes=15)
"""From what happened to an invoice to the records that show it."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "slo")(slo)


@dataclass(frozen=True)
class Clock:
    """One clock: what it measures, and its measurements in seconds."""

    name: str
    allowed: timedelta
    seconds: tuple[float, ...]
    unknown: int = 0
    """Measurements whose source moment nobody told: counted from when we learned of it."""

    @property
    def late(self) -> int:
        """How many took longer than is allowed."""
        return sum(one > self.allowed.total_seconds() for one in self.seconds)


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that so large a share of all does not exceed; None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


async def slo(
    session: Session,
    since: Annotated[str, typer.Option("--since", help="Ended since: 7d, 12h, a date.")] = "7d",
) -> Report:
    """Show the clocks, counted from the source: 5 minutes to a project, 15 minutes to the invoice's status.

    Exit 1 when something took longer, or is behind for longer now.
    """
    ledger, now, after = await session.ledger(), datetime.now(UTC), moment(since)
    clocks = [*await project_clocks(ledger, after), await invoice_clock(ledger, after)]
    behind = [
        row
        for row in await ledger.stale_targets(limit=10_000)
        if row.wanted_since is not None and now - row.wanted_since > INVOICE
    ]
    late = sum(clock.late for clock in clocks[1:]) + len(behind)
    measured = sum(len(clock.seconds) for clock in clocks[1:])
    said = f"{count(measured, 'measurement')} since {after:%Y-%m-%d %H:%M} UTC, "
    said += f"{late} late." if late else "none late."
    parts: list[Table | str] = [_table(clocks)]
    if behind:
        parts.append(f"{count(len(behind), 'record')} behind for longer than 15 minutes now:\n"
                     "  trueup invoices --crm-stale")  # fmt: skip
    if unknown := sum(clock.unknown for clock in clocks[1:]):
        parts.append(f"Of {unknown} nobody told when it happened: counted from when we learned of it.")
    data: dict[str, Any] = {
        "since": after,
        "clocks": [_facts(clock) for clock in clocks],
        "behind_now": [row.target.ref for row in behind],
    }
    return Report(said, data, parts, 1 if late else 0)


async def project_clocks(ledger: Ledger, after: datetime) -> tuple[Clock, Clock]:
    """Total, and without the time that people took (rule 21); the second one is what is promised."""
    rows = await _completed(ledger, after)
    events = await ledger.first_events([row.saga_id for row in rows])
    total, own, unknown = [], [], 0
    for row in rows:
        source = events.get(row.saga_id) or event_moment(row.reason)
        unknown += source is None
        begun = min(source or row.started_at, row.started_at)
        assert row.finished_at is not None
        seconds = (row.finished_at - begun).total_seconds()
        total.append(seconds)
        own.append(max(0.0, seconds - float(row.figures.get("human_seconds", 0))))
    return (
        Clock("won deal to project, people included", PROJECT, tuple(total), unknown),
        Clock("won deal to project", PROJECT, tuple(own), unknown),
    )


async def _completed(ledger: Ledger, after: datetime) -> list[SagaRow]:
    found: list[SagaRow] = []
    before = None
    while True:
        page = await ledger.sagas(
            saga=SagaName.OPPORTUNITY_TO_PROJECT.value,
            statuses=[SagaStatus.COMPLETE],
            before=before,
            limit=500,
        )
        found += [row for row in page.rows if row.finished_at is not None and row.finished_at >= after]
        if page.cursor is None:
            return found
        before = page.cursor


async def invoice_clock(ledger: Ledger, after: datetime) -> Clock:
    """From what happened in the ERP to each record that shows it."""
    rows = await ledger.shown_since(after)
    seconds = [
        (row.shown_at - min(row.source_at or row.noted_at, row.noted_at)).total_seconds() for row in rows
    ]
    return Clock(
        "invoice's change to the records that show it",
        INVOICE,
        tuple(seconds),
        sum(row.source_at is None for row in rows),
    )


def _table(clocks: Sequence[Clock]) -> Table:
    rows: list[list[Value]] = []
    for clock in clocks:
        figures = [percentile(clock.seconds, share) for share in (0.5, 0.99, 1)]
        rows.append(
            [
                clock.name,
                duration(clock.allowed.total_seconds()),
                str(len(clock.seconds)),
                *("-" if one is None else duration(one) for one in figures),
                str(clock.late),
            ]
        )
    columns = ("from what to what", "allowed", "measured", "half within", "99% within", "longest", "late")
    return Table(columns, rows)


def _facts(clock: Clock) -> dict[str, Any]:
    return {
        "clock": clock.name,
        "allowed_seconds": clock.allowed.total_seconds(),
        "measured": len(clock.seconds),
        "p50": percentile(clock.seconds, 0.5),
        "p99": percentile(clock.seconds, 0.99),
        "longest": percentile(clock.seconds, 1),
        "late": clock.late,
        "source_unknown": clock.unknown,
    }
