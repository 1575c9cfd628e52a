"""``trueup close-check``: can a period of a legal entity be closed; what stands in its way, who acts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from canonical.unbilled import RollForward, UnbilledDifference
from cli.billing import words
from cli.billing.arguments import ErpOption, PsaOption, past_period, the_entity, the_route
from cli.command import command
from cli.output import Exit, Report, Table, Value, count, sums
from cli.session import Session
from rules.closing import CloseFacts, CloseLine, close_lines
from wiring.closing import CloseQuestion, close_facts

SHOWN = 100
"""Differing lines shown to people; `--json` has them all."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "close-check")(close_check)


async def close_check(
    session: Session,
    period: Annotated[str, typer.Argument(metavar="PERIOD", help="Year and month: 2026-10.")],
    entity: Annotated[str, typer.Option("--entity", help="Legal entity, for example NL01.")],
    psa: PsaOption = None,
    erp: ErpOption = None,
) -> Report:
    """Check whether a period can be closed: red or green, with hours, money, owners and the next command.

    Unposted, in flight, unapproved, blocked milestones, held, unbilled; and the unbilled balance: rolled
    forward, and against the ERP's own. Exit 0 green, 1 red.
    """
    the = the_entity(session, entity)
    month = past_period(session, period, the)
    route = the_route(session, entity=entity, region=None, psa=psa, erp=erp)
    now = datetime.now(UTC)
    asked = CloseQuestion(
        entity=entity,
        psa=route.psa,
        erp=route.erp,
        region=session.settings.about.region,
        first=month.first,
        last=month.last,
        begins=month.begins(the.timezone),
        ends=month.ends(the.timezone),
        cutoff=f"--cutoff {month.last.isoformat()} --entity {entity}",
    )
    with session.working(f"Comparing {entity} with {route.erp}"):
        facts = await close_facts(await session.systems(), await session.ledger(), asked, now)
    return _report(period, entity, facts, close_lines(facts), over=now >= asked.ends)


def _report(period: str, entity: str, facts: CloseFacts, lines: list[CloseLine], *, over: bool) -> Report:
    red = [line for line in lines if not line.ok]
    ready = not red and over
    said = f"{period} of {entity} is {'green: it can be closed' if ready else 'red'}"
    if red:
        stake = words.per_currency(line.amount for line in red)
        said += f": {count(len(red), 'thing')} to do"
        said += f", {stake} at stake" if stake != "-" else ""
        owners = sorted({line.owner for line in red if line.owner})
        said += f"; {' and '.join(owners)} {'acts' if len(owners) == 1 else 'act'}"
    said += "." if over else ". The period is not over yet."
    # What is to be done comes first.
    ordered = [*red, *(line for line in lines if line.ok)]
    rows: list[list[Value]] = [
        [
            "ok" if line.ok else "RED",
            line.check,
            line.detail,
            f"{line.items:,}" if line.items else "",
            words.hours(line.minutes) if line.minutes else "",
            str(line.amount) if line.amount is not None else "",
            line.owner or "",
            line.next or "",
        ]
        for line in ordered
    ]
    columns = ("", "check", "what", "items", "hours", "money", "who", "next")
    parts: list[Table | str] = [Table(columns, rows)]
    parts += [_roll_table(facts.rolls)] if facts.rolls else []
    parts += [_differences(one.differences) for one in facts.balances if one.differences]
    data: dict[str, Any] = {
        "period": period,
        "entity": entity,
        "green": ready,
        "over": over,
        "checks": lines,
        "at_stake": sums(line.amount for line in red),
        "roll_forward": [{**roll.model_dump(mode="json"), "computed": roll.computed} for roll in facts.rolls],
        "balances": [
            {
                "currency": one.currency,
                "ours": one.ours,
                "on_drafts": one.on_drafts,
                "rests": one.rests,
                "erp": one.erp,
                "differences": one.differences,
            }
            for one in facts.balances
        ],
    }
    return Report(said, data, parts, Exit.DONE if ready else Exit.FAILED)


def _roll_table(rolls: Sequence[RollForward]) -> Table:
    names = ("opening", "posted", "reversed", "billed", "credited", "written", "covered", "repriced")
    rows: list[list[Value]] = [
        [roll.currency, *(f"{getattr(roll, name).amount:,}" for name in (*names, "closing"))]
        for roll in rolls
    ]
    return Table(
        ("currency", *names, "closing"),
        rows,
        title="Unbilled balance, rolled forward from the period's beginning to now",
    )


def _differences(differences: Sequence[UnbilledDifference]) -> Table:
    rows: list[list[Value]] = [
        [
            one.item_key or "",
            one.posting or "",
            str(one.ours or ""),
            str(one.theirs or ""),
            one.reason,
            f"trueup show {one.item_key}" if one.item_key else "look at it in the ERP",
        ]
        for one in differences[:SHOWN]
    ]
    more = f", the first {SHOWN} of {len(differences):,}" if len(differences) > SHOWN else ""
    columns = ("item", "posting", "ours", "the ERP's", "difference", "next")
    return Table(columns, rows, title=f"Lines that differ{more}")
