"""``trueup exceptions``: what waits for whom, worth how much, for how long."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from canonical.causes import Cause, Queue
from canonical.saga import CaseState
from cli.billing.held import exceptions_table, group_facts, held_groups
from cli.billing.words import of_hours
from cli.causes import CauseOption
from cli.command import command
from cli.output import Cell, Report, Table, Value, age, count, duration, worth
from cli.session import Session
from ledger.rows import CaseRow
from ledger.store import Ledger
from rules.causes import CATALOGUE

MOST = 20_000
"""Open cases read at most."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "exceptions")(exceptions)


async def exceptions(
    session: Session,
    queue: Annotated[Queue | None, typer.Option("--queue", help="Only of this queue.")] = None,
    cause: CauseOption = None,
    mine: Annotated[bool, typer.Option("--mine", help="Only what I own or my roles may repair.")] = False,
    region: Annotated[str | None, typer.Option("--region", help="Only of this region.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Cases shown at most.")] = 50,
) -> Report:
    """List exceptions, dearest and oldest first: stuck sagas, then held items by cause and project."""
    ledger = await session.ledger()
    now = datetime.now(UTC)
    found = await _open(ledger, queue, cause, region)
    # Items are the deployment's own: it serves one region.
    items = await held_groups(ledger, queue=queue, cause=cause) if _serves(session, region) else []
    if mine:
        items = [one for one in items if one.queue and _repairs(session, one.queue.value)]
    if mine:
        found = [row for row in found if _is_mine(session, row)]
    found.sort(key=lambda row: _weight(row, now), reverse=True)
    lasting = [row for row in found if not row.case.transient]
    stake = worth(row.case.failure.at_stake for row in lasting)
    said = f"{count(len(lasting), 'exception')} {'needs' if len(lasting) == 1 else 'need'} a person"
    said += f", {stake} at stake" if stake else ""
    said += f"; {len(found) - len(lasting)} more pass by themselves." if len(found) > len(lasting) else "."
    if items:
        number = sum(one.items for one in items)
        said += f" {count(number, 'item')} {'is' if number == 1 else 'are'} held"
        said += of_hours(sum(one.minutes for one in items))
        money = worth(one.amount for one in items)
        said += f", {money}." if money else "."
    parts: list[Table | str] = []
    if found:
        parts.append(_groups(found, now))
        parts.append(_cases(session, found[:limit], now))
    if len(found) > limit:
        parts.append(f"Only the first {limit} of {len(found)}; narrow the list or raise --limit.")
    if items:
        parts.append(exceptions_table(items[:limit], now))
    if len(items) > limit:
        parts.append(f"Only the first {limit} of {len(items)} groups of items; raise --limit.")
    data = {
        "items": [group_facts(one) for one in items],
        "groups": [
            {
                "queue": key[0],
                "cause": key[1],
                "cases": len(rows),
                "at_stake": worth_list(rows),
                "oldest_seconds": _oldest(rows, now),
            }
            for key, rows in grouped(found).items()
        ],
        "cases": [
            {**row.case.model_dump(mode="json"), "times_opened": row.times_opened, "next": next_command(row)}
            for row in found
        ],
    }
    return Report(said, data, parts)


async def _open(
    ledger: Ledger, queue: Queue | None, cause: Cause | None, region: str | None
) -> list[CaseRow]:
    found: list[CaseRow] = []
    after = 0
    while len(found) < MOST:
        page = await ledger.cases(
            state=CaseState.OPEN,
            queues=[queue] if queue else None,
            cause=cause,
            region=region,
            after=after,
            limit=500,
        )
        found += page.rows
        if page.cursor is None:
            break
        after = page.cursor
    return found


def _is_mine(session: Session, row: CaseRow) -> bool:
    actor, queue = session.actor, row.case.failure.queue.value
    return row.case.owner == actor.name or row.case.owner in actor.roles or _repairs(session, queue)


def _repairs(session: Session, queue: str) -> bool:
    allowed = session.settings.policies.repair_roles.get(queue, ())
    return bool({*allowed} & {*session.actor.roles})


def _serves(session: Session, region: str | None) -> bool:
    return region in (None, session.settings.about.region)


def _weight(row: CaseRow, now: datetime) -> tuple[bool, float, float]:
    # Value times age orders the list; amounts of different currencies only rank, they are never added.
    seconds = (now - row.case.opened_at).total_seconds()
    stake = row.case.failure.at_stake
    return not row.case.transient, (stake.minor if stake else 0) * seconds, seconds


def grouped(rows: list[CaseRow]) -> dict[tuple[Queue, Cause], list[CaseRow]]:
    """Cases by queue and cause."""
    found: dict[tuple[Queue, Cause], list[CaseRow]] = {}
    for row in rows:
        found.setdefault((row.case.failure.queue, row.case.failure.cause), []).append(row)
    return found


def worth_list(rows: list[CaseRow]) -> str:
    """The money in some cases, per currency."""
    return worth(row.case.failure.at_stake for row in rows)


def _oldest(rows: list[CaseRow], now: datetime) -> float:
    return max((now - row.case.opened_at).total_seconds() for row in rows)


def _groups(found: list[CaseRow], now: datetime) -> Table:
    rows: list[list[Value]] = [
        [
            queue.value,
            cause.value,
            str(len(group)),
            worth_list(group),
            duration(_oldest(group, now)),
            CATALOGUE[cause].remedy,
        ]
        for (queue, cause), group in grouped(found).items()
    ]
    return Table(("queue", "cause", "cases", "at stake", "oldest", "remedy"), rows, title="By cause")


def _cases(session: Session, found: list[CaseRow], now: datetime) -> Table:
    rows: list[list[Value]] = []
    for row in found:
        case, failure = row.case, row.case.failure
        deal = Cell(case.business_key, failure.record.url if failure.record else None)
        rows.append(
            [
                deal,
                str(failure.at_stake or ""),
                age(case.opened_at, now),
                failure.cause.value,
                "by itself" if case.transient else case.owner or failure.queue.value,
                failure.message,
                next_command(row),
            ]
        )
    return Table(("deal", "at stake", "age", "cause", "who", "what", "next"), rows, title="Cases")


def next_command(row: CaseRow) -> str:
    """What to type about a case."""
    if row.case.failure.cause is Cause.EVENT_NOT_TAKEN:
        return f"trueup outbox --subscription {row.case.business_key.rpartition('/')[2]}"
    return f"trueup show {row.case.saga_id}"
