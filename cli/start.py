"""``trueup start``: carry deals to projects, and follow them."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from canonical.names import SagaName
from canonical.saga import SagaView
from cli import plan, sagas, words
from cli.begin import Begun, begin, only_opportunity_to_project
from cli.command import command
from cli.follow import Followed, follow
from cli.output import Complaint, Exit, Report, Table, Value, count
from cli.session import Session

SEVERITY = (Exit.DONE, Exit.UNDONE, Exit.PARKED, Exit.FAILED)
"""Of several deals the worst decides the exit code; the later the worse."""

SagaArg = Annotated[SagaName, typer.Argument(help="Which saga.", metavar="SAGA")]
DealIds = Annotated[list[str], typer.Argument(help="Ids of the won deals in the CRM.", metavar="ID...")]
SystemOption = Annotated[str | None, typer.Option("--system", help="CRM instance; the only one by default.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait at most.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "start")(start)


async def start(
    session: Session,
    saga: SagaArg,
    ids: DealIds,
    system: SystemOption = None,
    reason: ReasonOption = "",
    plan_only: Annotated[bool, typer.Option("--plan", help="Show the writes, make none.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow until it needs nobody.")] = False,
    timeout: TimeoutOption = 600,
) -> Report:
    """Start a saga for won deals; starting one that runs finds it.

    With --wait: exit 0 complete, 3 parked or waiting for a decision, 4 undone, 1 failed or not done in time.
    """
    only_opportunity_to_project(saga)
    crm = session.crm(system)
    if plan_only:
        if len(ids) > 1:
            raise Complaint("--plan shows one deal at a time.", code=Exit.USAGE)
        return await plan.plan_deal(session, ids[0], crm, None, timeout)
    begun = [await begin(session, one, crm, reason) for one in dict.fromkeys(ids)]
    if not wait:
        return started(session, begun)
    client = await session.client()
    with session.working("Starting") as progress:
        followed = await asyncio.gather(
            *(follow(client, one.saga_id, timeout, progress) for one in begun if one.fresh)
        )
    return reported(session, begun, list(followed), timeout)


def started(session: Session, begun: list[Begun]) -> Report:
    """What was started, without waiting for it."""
    running = [one for one in begun if one.fresh]
    said = [f"{count(len(running), 'deal')} under way."] if running else []
    said += [_before(one.view) for one in begun if one.view is not None]
    rows: list[list[Value]] = [
        [
            sagas.cell(session, one.saga_id),
            "under way" if one.fresh else "complete",
            f"trueup show {one.saga_id}",
        ]
        for one in begun
    ]
    data = {"sagas": [_facts(session, one, one.view) for one in begun]}
    return Report(" ".join(said), data, [Table(("saga", "status", "look at it"), rows)])


def reported(session: Session, begun: list[Begun], followed: list[Followed], timeout: float) -> Report:
    """Where the sagas ended or stopped."""
    by_id = {one.saga_id: one for one in followed}
    said: list[str] = []
    parts: list[Table | str] = []
    codes: list[int] = []
    found = []
    for one in begun:
        seen = by_id.get(one.saga_id) or Followed(one.saga_id, one.view, True)
        found.append(_facts(session, one, seen.view) | {"settled": seen.settled})
        text, code = outcome(seen, timeout)
        said.append(text if one.fresh or one.view is None else _before(one.view))
        codes.append(code)
        if seen.view is not None and (one.fresh or len(begun) == 1):
            parts += [words.step_table(seen.view), *words.trouble(seen.view)]
    worst = max(codes, key=lambda code: SEVERITY.index(Exit(code)))
    if len(said) == 1:
        return Report(said[0], {"sagas": found}, parts, worst)
    return Report(_together(codes), {"sagas": found}, ["\n".join(said), *parts], worst)


def outcome(seen: Followed, timeout: float) -> tuple[str, int]:
    """(sentence, exit code) about a saga that was followed."""
    if seen.view is None:
        return (
            f"{seen.saga_id} was started, and no worker answered within {timeout:g} s; it begins as soon as "
            "one runs (`trueup worker`).",
            Exit.FAILED,
        )
    if not seen.settled:
        return f"{words.sentence(seen.view)} Not finished within {timeout:g} s; it goes on.", Exit.FAILED
    return words.sentence(seen.view), words.exit_code(seen.view)


def _before(view: SagaView) -> str:
    return f"{words.sentence(view)} It was set up before; nothing was started."


def _facts(session: Session, one: Begun, view: SagaView | None) -> dict[str, object]:
    return {"saga_id": one.saga_id, "started": one.fresh, "view": view, "web": session.web(one.saga_id)}


def _together(codes: list[int]) -> str:
    words_by_code = {
        Exit.DONE: "complete",
        Exit.PARKED: "waiting for a person",
        Exit.UNDONE: "undone",
        Exit.FAILED: "failed or not finished",
    }
    parts = [f"{codes.count(code)} {word}" for code, word in words_by_code.items() if code in codes]
    return f"{count(len(codes), 'deal')}: {', '.join(parts)}."
