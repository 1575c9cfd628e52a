"""``trueup list`` and ``trueup show``: which sagas there are, and all about one; or an invoice, an item."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from temporalio.client import Client

from canonical.causes import Cause, Queue
from canonical.money import Money
from canonical.names import SagaName, SearchAttribute
from canonical.saga import CaseState, SagaStatus, SagaView
from cli import sagas, words
from cli.billing import look
from cli.billing.words import figures
from cli.causes import CauseOption
from cli.command import command
from cli.output import Complaint, Report, Table, Value, age, count, duration, moment, when, worth
from cli.session import Session
from ledger.rows import CaseRow, DecisionRow, SagaRow
from ledger.store import Ledger
from workflows.details import STATUS_WORDS

MOST_ASKED = 30
STUCK = (SagaStatus.PARKED, SagaStatus.UNDO_BLOCKED, SagaStatus.GATED)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "list")(list_sagas)
    command(app, "show")(show)


# --- list -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listed:
    """One saga of the list."""

    view: SagaView
    at_stake: Money | None
    since: datetime | None
    """When it got into the state it is in, else when it was started."""
    source: str

    def facts(self) -> dict[str, Any]:
        """For ``--json``."""
        view = self.view
        return {
            "saga_id": view.saga_id,
            "status": view.status,
            "business_key": view.business_key,
            "region": view.region,
            "cause": view.cause,
            "queue": view.queue,
            "project_code": view.project_code,
            "at_stake": self.at_stake,
            "started_at": view.started_at,
            "since": self.since,
            "headline": view.headline,
            "source": self.source,
        }


@dataclass(frozen=True)
class Filter:
    """What the list is narrowed to."""

    status: SagaStatus | None = None
    queue: Queue | None = None
    cause: Cause | None = None
    system: str | None = None
    region: str | None = None
    since: datetime | None = None

    def query(self) -> str:
        """As Temporal's visibility understands it."""
        conditions = [f"{SearchAttribute.SAGA_STATUS} IS NOT NULL"]
        for attribute, value in (
            (SearchAttribute.SAGA_STATUS, self.status and self.status.value),
            (SearchAttribute.EXCEPTION_QUEUE, self.queue and self.queue.value),
            (SearchAttribute.CAUSE_CODE, self.cause and self.cause.value),
            (SearchAttribute.SYSTEM, self.system),
            (SearchAttribute.REGION, self.region),
        ):
            if value:
                conditions.append(f"{attribute} = {sagas.quoted(value)}")
        if self.since:
            conditions.append(f"StartTime >= '{self.since.astimezone(UTC).isoformat()}'")
        return " AND ".join(conditions)

    def fits(self, view: SagaView, case: CaseRow | None) -> bool:
        """Whether a saga known from the ledger alone belongs to the list."""
        failure = case.case.failure if case else None
        return (
            self.status in (None, view.status)
            and self.queue in (None, failure.queue if failure else view.queue)
            and self.cause in (None, failure.cause if failure else view.cause)
            and (self.system is None or (failure is not None and failure.system == self.system))
        )


async def list_sagas(
    session: Session,
    status: Annotated[SagaStatus | None, typer.Option("--status", help="Only in this state.")] = None,
    queue: Annotated[Queue | None, typer.Option("--queue", help="Only of this exception queue.")] = None,
    cause: CauseOption = None,
    system: Annotated[str | None, typer.Option("--system", help="Only stuck at this system.")] = None,
    region: Annotated[str | None, typer.Option("--region", help="Only of this region.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Started since: 7d, 12h, a date.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Rows at most.")] = 100,
) -> Report:
    """List sagas: status, age, cause, money at stake."""
    wanted = Filter(status, queue, cause, system, region, moment(since) if since else None)
    found, caveat = await select(session, wanted, limit)
    now = datetime.now(UTC)
    stuck = [one for one in found if one.view.status in STUCK]
    stake = worth(one.at_stake for one in stuck)
    said = count(len(found), "saga")
    if stuck:
        said += f", {len(stuck)} {'needs' if len(stuck) == 1 else 'need'} a person"
        said += f" ({stake} at stake)" if stake else ""
    said += "."
    rows: list[list[Value]] = [
        [
            sagas.cell(session, one.view.saga_id),
            one.view.status.value,
            age(one.since, now),
            one.view.cause.value if one.view.cause else "",
            one.view.queue.value if one.view.queue else "",
            str(one.at_stake) if one.at_stake else "",
            one.view.project_code or "",
        ]
        for one in found
    ]
    parts: list[Table | str] = (
        [Table(("saga", "status", "age", "cause", "queue", "at stake", "project code"), rows)] if rows else []
    )
    if len(found) == limit:
        parts.append(f"Only the first {limit}; narrow the list or raise --limit.")
    if stuck:
        parts.append(f"Look at one:\n  trueup show {stuck[0].view.saga_id}")
    if caveat:
        parts.append(f"From the ledger alone: {caveat}")
    return Report(said, {"sagas": [one.facts() for one in found], "caveat": caveat}, parts)


async def select(session: Session, wanted: Filter, limit: int) -> tuple[list[Listed], str | None]:
    """Sagas that fit, stuck ones first and dearest first; and why Temporal could not be asked."""
    ledger = await session.ledger()
    cases = await open_cases(ledger)
    client, away = await session.client_if_up()
    found: dict[str, Listed] = {}
    known: set[str] = set()
    if client is not None:
        found, known = await _from_temporal(client, wanted, cases, limit)
    rows = await ledger.sagas(
        statuses=[wanted.status] if wanted.status and wanted.status.is_final else None,
        region=wanted.region,
        since=wanted.since,
        limit=limit,
    )
    for row in rows.rows:
        # Temporal knows all that are open; of those that ended it forgets the old ones.
        if row.saga_id not in known and (client is None or row.status.is_final):
            one = _from_ledger(row, cases.get(row.saga_id))
            if wanted.fits(one.view, cases.get(row.saga_id)):
                found.setdefault(row.saga_id, one)
    ordered = sorted(found.values(), key=_urgency)[:limit]
    if client is not None:
        ordered = sorted(await _priced(client, ordered), key=_urgency)
    return ordered, away


async def _priced(client: Client, found: list[Listed]) -> list[Listed]:
    """Gated sagas have no case that says what they are worth: ask a screenful of them."""

    async def ask(one: Listed) -> Listed:
        try:
            view = await sagas.live_view(client, one.view.saga_id, timedelta(seconds=2))
        except sagas.NoAnswer:
            return one
        return one if view is None else replace(one, at_stake=view.at_stake)

    unpriced = [one for one in found if one.view.status is SagaStatus.GATED and one.at_stake is None]
    asked = unpriced[:MOST_ASKED]
    rest = [one for one in found if not any(one is each for each in asked)]
    return [*rest, *await asyncio.gather(*map(ask, asked))]


async def _from_temporal(
    client: Client, wanted: Filter, cases: dict[str, CaseRow], limit: int
) -> tuple[dict[str, Listed], set[str]]:
    found: dict[str, Listed] = {}
    async for execution in client.list_workflows(wanted.query(), limit=limit):
        if execution.id in found:
            continue  # Newest first: an older run of a saga that was undone and started again.
        view = sagas.view_of_execution(execution)
        case = cases.get(execution.id)
        view = view.model_copy(update={"headline": case.case.failure.message}) if case else view
        stake = case.case.failure.at_stake if case else None
        found[execution.id] = Listed(view, stake, view.parked_since or view.started_at, "temporal")
    return found, set(found)


def _from_ledger(row: SagaRow, case: CaseRow | None) -> Listed:
    status = row.status
    if case is not None and not status.is_final:
        status = SagaStatus.WAITING if case.case.transient else SagaStatus.PARKED
    seen = row.view or SagaView(
        saga_id=row.saga_id,
        saga=row.saga,
        status=status,
        headline="",
        business_key=row.business_key,
        region=row.region,
        started_at=row.started_at,
    )
    failure = case.case.failure if case else None
    view = seen.model_copy(
        update={
            "status": status,
            "cause": failure.cause if failure else seen.cause,
            "queue": failure.queue if failure else seen.queue,
        }
    )
    stake = failure.at_stake if failure else seen.at_stake
    return Listed(view, stake, case.case.opened_at if case else row.finished_at or row.started_at, "ledger")


def _urgency(one: Listed) -> tuple[int, int, float]:
    # Amounts of different currencies only rank here; they are never added.
    rank = STUCK.index(one.view.status) if one.view.status in STUCK else len(STUCK)
    final = one.view.status.is_final
    since = one.since.timestamp() if one.since else 0.0
    return rank + final, -(one.at_stake.minor if one.at_stake else 0), -since if final else since


async def open_cases(ledger: Ledger, *, most: int = 20_000) -> dict[str, CaseRow]:
    """The open case of each saga that a person should look at first: lasting before passing ones."""
    found: dict[str, CaseRow] = {}
    after, seen = 0, 0
    while seen < most:
        page = await ledger.cases(state=CaseState.OPEN, after=after, limit=500)
        for row in page.rows:
            kept = found.get(row.case.saga_id)
            if kept is None or (kept.case.transient and not row.case.transient):
                found[row.case.saga_id] = row
        seen += len(page.rows)
        if page.cursor is None:
            break
        after = page.cursor
    return found


# --- show -------------------------------------------------------------------------------------------


async def show(
    session: Session,
    saga: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="Saga, deal, project code or the end of an id; an invoice, an item or its source.",
        ),
    ],
) -> Report:
    """Show one saga: steps, records with links, what is wrong, who acts, what to type, who decided what.

    An invoice is named by its key or number, an item by its key, its source record or its posting.
    """
    if (found := await look.find(session, saga)) is not None:
        return found
    otherwise = Complaint(
        f"No saga, deal, project code, invoice or item {saga!r} is known.",
        remedy="List sagas, decisions, or what is not billed; or start a saga for a deal:",
        command="trueup list   |   trueup approvals   |   trueup unbilled   |   "
        f"trueup start {SagaName.OPPORTUNITY_TO_PROJECT.value} DEAL_ID",
    )
    name = await sagas.find(session, saga, otherwise)
    with session.working(f"Asking {name}"):
        seen = await sagas.see(session, name)
    ledger = await session.ledger()
    decisions = (await ledger.decisions(saga_id=name, limit=500)).rows
    now = datetime.now(UTC)
    clock = sagas.clock(seen, now)
    view = seen.view
    parts: list[Table | str] = [_facts(session, seen, clock), *figures(view)]
    if view.steps:
        parts.append(words.step_table(view))
    parts += words.trouble(view)
    if view.gaps:
        parts.append(f"Numbers that stay used up: {', '.join(view.gaps)}.")
    if decisions:
        parts.append(decision_table(decisions))
    data = {
        "saga": view,
        "source": seen.source,
        "caveat": seen.caveat,
        "decisions": decisions,
        "seconds": {"total": clock[0], "without_people": clock[1]} if clock else None,
        "web": session.web(name),
    }
    return Report(words.sentence(view), data, parts)


def _facts(session: Session, seen: sagas.Seen, clock: tuple[float, float] | None) -> str:
    view, row = seen.view, seen.row
    lines = [f"{view.saga_id}, {STATUS_WORDS[view.status]}, generation {view.generation}"]
    if view.headline:
        lines.append(view.headline)
    if row is not None:
        why = f": {row.reason}" if row.reason else ""
        lines.append(f"Started {when(row.started_at)} by {row.actor}{why}")
    if clock is not None:
        lines.append(f"Time: {duration(clock[0])} in all, {duration(clock[1])} without waiting for people")
    if view.at_stake and not view.status.is_final:
        lines.append(f"At stake: {view.at_stake}")
    if (web := session.web(view.saga_id)) is not None:
        lines.append(f"Temporal: {web}")
    if seen.source != "live":
        source = "the ledger's last word" if seen.source == "ledger" else "Temporal's index, without steps"
        lines.append(f"This is {source}. {seen.caveat or ''}".strip())
    return "\n".join(lines)


def decision_table(decisions: tuple[DecisionRow, ...]) -> Table:
    """Who decided what, and why."""
    rows: list[list[Value]] = [
        [when(one.at), str(one.actor), one.kind, one.step, one.outcome, one.reason] for one in decisions
    ]
    return Table(("when", "who", "kind", "step", "decision", "reason"), rows, title="Decisions")
