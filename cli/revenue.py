"""``trueup revenue``: sold, delivered, billed and recognised of a period; and starting its follow-up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from temporalio.client import WorkflowFailureError

from activities.contracts import StartRevenueFollowUp
from canonical.failures import Severity
from canonical.money import Money
from canonical.parties import LegalEntity
from canonical.progress import DifferenceKind, RevenueRow, SendState
from canonical.saga import SagaView
from cli.billing import runs, words
from cli.billing.arguments import Period, past_period, the_entity, the_route
from cli.command import command
from cli.output import Complaint, Exit, Report, Table, Value, count, sums
from cli.plan import lines_of
from cli.session import Session
from wiring.start import failure_in
from wiring.start_revenue import RevenueStarts, start_revenue

FIGURES = ("booked", "delivered", "billed", "recognised", "deferred")
UNKNOWN = "not priced"


@dataclass(frozen=True)
class Asked:
    """What was typed after ``trueup start revenue-follow-up``."""

    periods: Sequence[str]
    entity: str | None
    region: str | None
    psa: str | None
    erp: str | None
    reason: str


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "revenue")(revenue)


# --- starting ---------------------------------------------------------------------------------------


async def start_revenue_run(
    session: Session, asked: Asked, *, plan_only: bool, wait: bool, timeout: float
) -> Report:
    """Start the follow-up of a period, or show what it would send.

    Raises:
        Complaint: no such period, entity or route.
    """
    entity, period = _wanted(session, asked)
    route = the_route(session, entity=entity.code, region=asked.region, psa=asked.psa, erp=asked.erp)
    systems = await session.systems()
    await systems.store_mappings()
    starts = RevenueStarts(session.settings, systems.mapping_digests(), session.actor)
    start = starts.follow_up(route.psa, route.erp, entity.code, period.first, asked.reason, plan=plan_only)
    client = await session.client()
    handle = await start_revenue(client, start)
    if plan_only:
        try:
            view = await asyncio.wait_for(handle.result(), timeout)
        except TimeoutError:
            await handle.terminate(reason="nobody waits for this plan any more")
            raise Complaint(
                f"No worker made the plan within {timeout:g} s; nothing was sent.",
                remedy="Start a worker, then plan again:",
                command="trueup worker",
            ) from None
        except WorkflowFailureError as error:
            failure = failure_in(error)
            said = failure.message if failure is not None else str(error.cause)
            remedy = failure.remedy if failure is not None else None
            raise Complaint(f"It cannot be planned: {said}", remedy=remedy) from None
        return _planned(view)
    if not wait:
        return runs.started(session, start)
    return await _followed(session, start, timeout)


def _wanted(session: Session, asked: Asked) -> tuple[LegalEntity, Period]:
    example = "for example: trueup start revenue-follow-up 2026-10 --entity NL01"
    if len(asked.periods) != 1:
        raise Complaint(f"Which period? Give one, {example}.", code=Exit.USAGE)
    if asked.entity is None:
        raise Complaint(f"Of which legal entity? Give --entity, {example}.", code=Exit.USAGE)
    entity = the_entity(session, asked.entity)
    return entity, past_period(session, asked.periods[0], entity)


async def _followed(session: Session, start: StartRevenueFollowUp, timeout: float) -> Report:
    report = await runs.followed(session, start, timeout)
    show = f"trueup revenue {start.period} --entity {start.entity}"
    return Report(report.sentence, report.data, [*report.parts, f"Look at it:\n  {show}"], report.code)


def _planned(view: SagaView) -> Report:
    said = f"{view.headline} {count(len(view.writes), 'write')} would be made, none was."
    parts: list[Table | str] = [*words.figures(view)]
    parts += ["\n".join(line for write in view.writes for line in lines_of(write))] if view.writes else []
    return Report(said, {"writes": view.writes, "saga": view}, parts)


# --- looking ----------------------------------------------------------------------------------------


async def revenue(
    session: Session,
    period: Annotated[str, typer.Argument(metavar="PERIOD", help="Year and month: 2026-10.")],
    entity: Annotated[str, typer.Option("--entity", help="Legal entity, for example NL01.")],
    differences: Annotated[
        bool, typer.Option("--differences", help="Only what differs: worth, owner, next command.")
    ] = False,
) -> Report:
    """Show what of a period's contracts is booked, delivered, billed, recognised and deferred, compared.

    Figures are sums to the period's end, as the last run of revenue-follow-up found them. The ERP computes
    what is recognised; nothing here does.
    """
    the = the_entity(session, entity)
    month = past_period(session, period, the)
    rows = await (await session.ledger()).revenue_rows(month.name, legal_entity=entity)
    if not rows:
        raise Complaint(
            f"The revenue of {entity} for {month.name} was not followed up yet, or no contract has any.",
            remedy="Follow it up:",
            command=f"trueup start revenue-follow-up {month.name} --entity {entity} --wait",
        )
    wrong = [one for row in rows for one in row.differences if not one.kind.is_position]
    held = [row for row in rows if row.state is SendState.HELD]
    said = f"{month.name} of {entity}: {count(len(rows), 'contract')}"
    said += f", {count(len(wrong), 'difference')} to look at"
    worth = words.per_currency(_size(one.worth) for one in wrong)
    said += f" worth {worth}" if wrong else ""
    said += f", inputs of {count(len(held), 'contract')} held" if held else ""
    parts: list[Table | str] = [] if differences else [_table(rows), _totals(rows)]
    parts += [_differences(rows)] if any(row.differences for row in rows) else []
    parts += [_findings(rows)] if any(row.findings for row in rows) else []
    data: dict[str, Any] = {
        "period": month.name,
        "entity": entity,
        "contracts": rows,
        "totals": {name: sums(_figure(row, name) for row in rows) for name in FIGURES},
        "differences": [
            {"contract": row.contract_key, **one.model_dump(mode="json")}
            for row in rows
            for one in row.differences
        ],
        "held": len(held),
    }
    return Report(f"{said}.", data, parts)


def _figure(row: RevenueRow, name: str) -> Money | None:
    found: Money | None = getattr(row.figures, name)
    return found


def _size(money: Money) -> Money:
    return -money if money.amount < 0 else money


def _amount(row: RevenueRow, name: str) -> str:
    found = _figure(row, name)
    if found is not None:
        return str(found)
    return UNKNOWN if name == "delivered" else "none"


def _position(row: RevenueRow) -> str:
    positions = (DifferenceKind.CONTRACT_LIABILITY, DifferenceKind.CONTRACT_ASSET)
    return ", ".join(f"{one.kind.value} {one.worth}" for one in row.differences if one.kind in positions)


def _table(rows: Iterable[RevenueRow]) -> Table:
    table: list[list[Value]] = [
        [
            row.contract_key,
            row.name,
            words.effort(row.figures.delivered_minutes),
            *(_amount(row, name) for name in FIGURES),
            _position(row),
            row.state.value,
        ]
        for row in rows
    ]
    columns = ("contract", "name", "hours", *FIGURES, "position", "inputs")
    return Table(columns, table, title="Contracts, to the period's end")


def _totals(rows: Sequence[RevenueRow]) -> Table:
    """One line per currency: amounts of different currencies are never added."""
    table: list[list[Value]] = []
    for currency in sorted({row.figures.booked.currency for row in rows}):
        own = [row for row in rows if row.figures.booked.currency == currency]
        figures = [sums(_figure(row, name) for row in own) for name in FIGURES]
        hours = words.effort(sum(row.figures.delivered_minutes for row in own))
        table.append([currency, f"{len(own):,}", hours, *(str(one[0]) if one else "none" for one in figures)])
    return Table(("currency", "contracts", "hours", *FIGURES), table, title="Totals")


def _differences(rows: Iterable[RevenueRow]) -> Table:
    """What is to be corrected first, positions of the balance sheet after it."""
    every = [(row, one) for row in rows for one in row.differences]
    table: list[list[Value]] = [
        [row.contract_key, one.kind.value, str(one.worth), one.message, one.owner.value, one.next]
        for row, one in sorted(every, key=lambda pair: pair[1].kind.is_position)
    ]
    return Table(
        ("contract", "what", "worth", "why", "who", "next"), table, title="Differences and positions"
    )


def _findings(rows: Iterable[RevenueRow]) -> Table:
    table: list[list[Value]] = [
        [
            row.contract_key,
            one.cause.value,
            one.message,
            one.queue.value,
            one.remedy,
            "" if one.severity is Severity.WARNING else _again(row),
        ]
        for row in rows
        for one in row.findings
    ]
    columns = ("contract", "cause", "what", "who", "remedy", "next")
    return Table(columns, table, title="Inputs: what is held, and what is to be known")


def _again(row: RevenueRow) -> str:
    """What to type once a finding is repaired: the next run takes it up."""
    return f"trueup start revenue-follow-up {row.period} --entity {row.legal_entity}"
