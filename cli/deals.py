"""``trueup deals --without-project``: won deals that have no project, and what each waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Protocol

import typer

from canonical.failures import SystemFailure
from canonical.names import SagaName, saga_id
from canonical.operations import Change, ChangePage
from canonical.opportunity import Opportunity
from canonical.refs import SystemRole
from canonical.saga import SagaStatus, SagaView
from cli.ask import confirmed
from cli.begin import begin
from cli.command import command
from cli.inspect import Filter, Listed, select
from cli.output import Cell, Complaint, Exit, Report, Table, Value, age, count, moment, worth
from cli.session import Session

MOST_SAGAS = 10_000
AT_ONCE = 4
"""Deals read side by side: a list must not take a vendor's concurrency from the sagas."""
CLOCK = timedelta(minutes=5)
"""A project is to exist this long after the deal was won."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "deals")(deals)


class Deals(Protocol):
    """What this command asks of a CRM."""

    async def won_deals_since(self, cursor: str | None, *, limit: int = ...) -> ChangePage:
        """Won deals changed after ``cursor``, oldest first."""
        ...

    async def read_deal(self, deal_id: str) -> Opportunity | None:
        """A deal; None when there is none."""
        ...


@dataclass(frozen=True)
class Waiting:
    """A won deal without a project."""

    system: str
    change: Change
    saga: str
    listed: Listed | None
    deal: Opportunity | None

    @property
    def status(self) -> str:
        """Its saga's status, or that there is none."""
        return self.listed.view.status.value if self.listed else "never started"

    @property
    def startable(self) -> bool:
        """Nothing runs for it, and nobody decided against it."""
        return self.listed is None


async def deals(
    session: Session,
    without_project: Annotated[
        bool, typer.Option("--without-project", help="Won deals that have no project yet.")
    ] = False,
    since: Annotated[str, typer.Option("--since", help="Changed since: 30d, 12h, a date.")] = "30d",
    system: Annotated[str | None, typer.Option("--system", help="Only of this CRM instance.")] = None,
    start: Annotated[bool, typer.Option("--start", help="Start those that were never started.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> Report:
    """Scan the CRM for won deals that have no project; missed events show here too."""
    if not without_project:
        raise Complaint("Which deals?", command="trueup deals --without-project", code=Exit.USAGE)
    after = moment(since)
    crms = (session.crm(system),) if system else session.settings.systems_with(SystemRole.CRM)
    if not crms:
        raise Complaint("No CRM is configured.", remedy="Add a system with the role crm.", code=Exit.USAGE)
    found, scanned, caveat = await _without_project(session, crms, after)
    started = await _start(session, found, reason, yes) if start else []
    return _report(session, found, scanned, started, caveat)


async def _without_project(
    session: Session, crms: Sequence[str], after: datetime
) -> tuple[list[Waiting], int, str | None]:
    systems = await session.systems()
    listed, caveat = await select(session, Filter(), MOST_SAGAS)
    by_id = {one.view.saga_id: one for one in listed}
    limit = asyncio.Semaphore(AT_ONCE)
    found: list[Waiting] = []
    scanned = 0
    with session.working("Scanning the CRM for won deals") as progress:
        for crm in crms:
            port = await systems.crm(crm)
            changes = await won_since(port, after)
            scanned += len(changes)
            progress.tell(f"{crm}: {len(changes)} won deals, reading those without a project")
            rows = [(change, _saga_id(session, crm, change.ref.id)) for change in changes]
            missing = [(change, saga) for change, saga in rows if not _settled(by_id.get(saga))]
            read = await asyncio.gather(*(_read(port, change.ref.id, limit) for change, _ in missing))
            found += [
                Waiting(crm, change, saga, by_id.get(saga), deal)
                for (change, saga), deal in zip(missing, read, strict=True)
            ]
    return sorted(found, key=_urgency), scanned, caveat


async def won_since(port: Deals, after: datetime) -> list[Change]:
    """Won deals changed since a moment, each once, oldest first."""
    found: dict[str, Change] = {}
    cursor: str | None = None
    while True:
        page = await port.won_deals_since(cursor)
        for change in page.changes:
            if not change.deleted and change.modified_at >= after:
                found[change.ref.id] = change
        if not page.more:
            return list(found.values())
        cursor = page.cursor


async def _read(port: Deals, deal: str, limit: asyncio.Semaphore) -> Opportunity | None:
    async with limit:
        try:
            return await port.read_deal(deal)
        except SystemFailure:
            return None  # Shown without name and amount: the list matters more.


def _saga_id(session: Session, crm: str, deal: str) -> str:
    return saga_id(SagaName.OPPORTUNITY_TO_PROJECT, session.settings.about.region, crm, deal)


def _settled(listed: Listed | None) -> bool:
    return listed is not None and listed.view.status is SagaStatus.COMPLETE


def _urgency(one: Waiting) -> tuple[int, datetime]:
    return -(one.deal.amount.minor if one.deal and one.deal.amount else 0), one.change.modified_at


async def _start(session: Session, found: list[Waiting], reason: str, yes: bool) -> list[str]:
    chosen = [one for one in found if one.startable]
    if not chosen:
        return []
    stake = worth(one.deal.amount for one in chosen if one.deal)
    confirmed(session, f"Start {count(len(chosen), 'deal')}{f' ({stake})' if stake else ''}", yes)
    why = reason or "found without a project"
    return [(await begin(session, one.change.ref.id, one.system, why)).saga_id for one in chosen]


def _report(
    session: Session, found: list[Waiting], scanned: int, started: list[str], caveat: str | None
) -> Report:
    now = datetime.now(UTC)
    stake = worth(one.deal.amount for one in found if one.deal)
    said = f"{count(len(found), 'won deal')} of {scanned} {'has' if len(found) == 1 else 'have'} no project"
    said += f" ({stake})" if stake else ""
    groups = [_reason(one.listed.view) if one.listed else "never started" for one in found]
    said += "".join(
        f"{'; ' if i == 0 else ', '}{groups.count(group)} {group}"
        for i, group in enumerate(dict.fromkeys(groups))
    )
    said += f". {count(len(started), 'deal')} started now." if started else "."
    rows: list[list[Value]] = []
    facts: list[dict[str, Any]] = []
    for one in found:
        deal, view = one.deal, one.listed.view if one.listed else None
        late = now - one.change.modified_at > CLOCK
        rows.append(
            [
                Cell(one.change.ref.id, one.change.ref.url),
                deal.name if deal else "",
                str(deal.amount or "") if deal else "",
                age(one.change.modified_at, now) + (" late" if late else ""),
                _reason(view) if view else "never started",
                view.queue.value if view and view.queue else "",
                _next(one, started),
            ]
        )
        facts.append(
            {
                "system": one.system,
                "deal": one.change.ref,
                "name": deal.name if deal else None,
                "amount": deal.amount if deal else None,
                "close_date": deal.close_date if deal else None,
                "changed_at": one.change.modified_at,
                "late": late,
                "saga_id": one.saga,
                "status": one.status,
                "cause": view.cause if view else None,
                "queue": view.queue if view else None,
                "waits_for": _reason(view) if view else "never started",
                "next": _next(one, started),
            }
        )
    columns = ("deal", "name", "amount", "changed", "waits for", "queue", "next")
    parts: list[Table | str] = [Table(columns, rows)] if rows else []
    if not started and any(one.startable for one in found):
        parts.append("Start those that were never started:\n  trueup deals --without-project --start")
    if caveat:
        parts.append(f"Statuses are the ledger's: {caveat}")
    return Report(said, {"scanned": scanned, "deals": facts, "started": started, "caveat": caveat}, parts)


def _reason(view: SagaView) -> str:
    """What a saga without a project waits for."""
    match view.status:
        case SagaStatus.PARKED | SagaStatus.UNDO_BLOCKED:
            return f"parked, {view.cause.value}" if view.cause else view.status.value
        case SagaStatus.GATED:
            return "waiting for a decision"
        case SagaStatus.WAITING:
            return "waiting for a system"
    return view.status.value


def _next(one: Waiting, started: list[str]) -> str:
    if one.startable and one.saga not in started:
        return (
            f"trueup start {SagaName.OPPORTUNITY_TO_PROJECT.value} {one.change.ref.id} --system {one.system}"
        )
    return f"trueup show {one.saga}"
