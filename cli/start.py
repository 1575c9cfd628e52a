"""``trueup start``: carry deals to projects, post and bill approved work, follow revenue up."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from canonical.names import SagaName
from canonical.saga import SagaView
from cli import plan, sagas, words
from cli.begin import Begun, begin, refuse_saga
from cli.billing.arguments import CutoffOption, EntityOption, ErpOption, PsaOption, RegionOption
from cli.billing.start import Wanted, start_billing
from cli.changes import start_orders
from cli.closing import start_close
from cli.command import command
from cli.feedback import follow_invoices
from cli.follow import Followed, follow
from cli.output import Complaint, Exit, Report, Table, Value, count
from cli.revenue import Asked, start_revenue_run
from cli.session import Session

SEVERITY = (Exit.DONE, Exit.UNDONE, Exit.PARKED, Exit.FAILED)
"""Of several deals the worst decides the exit code; the later the worse."""

BILLING_RUNS = (SagaName.TIME_TO_BILLING, SagaName.POST_APPROVED_TIME)
"""What is started for a route and a cutoff."""

SagaArg = Annotated[SagaName, typer.Argument(help="Which saga.", metavar="SAGA")]
DealIds = Annotated[
    list[str] | None,
    typer.Argument(
        help="Ids of won deals in the CRM, or of invoices, or files, or a contract.", metavar="[ID...]"
    ),
]
SystemOption = Annotated[str | None, typer.Option("--system", help="CRM instance; the only one by default.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait at most.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "start")(start)


async def start(
    session: Session,
    saga: SagaArg,
    ids: DealIds = None,
    system: SystemOption = None,
    cutoff: CutoffOption = None,
    entity: EntityOption = None,
    region: RegionOption = None,
    psa: PsaOption = None,
    erp: ErpOption = None,
    reason: ReasonOption = "",
    plan_only: Annotated[bool, typer.Option("--plan", help="Show what it would do, do nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow until it needs nobody.")] = False,
    timeout: TimeoutOption = 600,
) -> Report:
    """Start a saga; starting one that runs finds it.

    opportunity-to-project takes deal ids; time-to-billing and post-approved-time take a route and --cutoff;
    invoice-feedback takes ids of invoices in the ERP.
    revenue-follow-up takes a period, for example 2026-10, and --entity.
    change-order takes JSON files, one or more change orders each; its --plan says what would come of them.
    close-project takes a contract or its project code; its --plan says what stands in the way.
    With --wait: exit 0 complete, 3 parked or waiting for a decision, 4 undone, 1 failed or not done in time.
    """
    if saga in BILLING_RUNS:
        _without(saga, {"ID": bool(ids), "--system": system is not None})
        wanted = Wanted(saga, entity, region, psa, erp, cutoff, reason)
        return await start_billing(session, wanted, plan_only=plan_only, wait=wait, timeout=timeout)
    if saga is SagaName.INVOICE_FEEDBACK:
        given = {"--cutoff": cutoff, "--entity": entity, "--region": region, "--psa": psa, "--system": system}
        _without(saga, {name: value is not None for name, value in given.items()})
        wanted_ids = list(dict.fromkeys(ids or []))
        return await follow_invoices(
            session, wanted_ids, erp, reason, plan_only=plan_only, wait=wait, timeout=timeout
        )
    if saga is SagaName.REVENUE_FOLLOW_UP:
        _without(saga, {"--system": system is not None, "--cutoff": cutoff is not None})
        asked = Asked(ids or [], entity, region, psa, erp, reason)
        return await start_revenue_run(session, asked, plan_only=plan_only, wait=wait, timeout=timeout)
    if saga is SagaName.CHANGE_ORDER:
        _without(saga, {"--system": system is not None, "--cutoff": cutoff is not None, "--wait": wait})
        if not ids:
            raise Complaint("Which change orders? Give their JSON files.", code=Exit.USAGE)
        return await start_orders(session, ids, reason, plan=plan_only)
    if saga is SagaName.CLOSE_PROJECT:
        _without(saga, {"--system": system is not None, "--cutoff": cutoff is not None})
        return await start_close(session, ids or [], reason, plan_only=plan_only, wait=wait, timeout=timeout)
    refuse_saga(saga)
    route = (("--cutoff", cutoff), ("--entity", entity), ("--region", region), ("--psa", psa), ("--erp", erp))
    _without(saga, {name: value is not None for name, value in route})
    if not ids:
        raise Complaint("Which deals? Give the ids of won deals in the CRM.", code=Exit.USAGE)
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


def _without(saga: SagaName, given: dict[str, bool]) -> None:
    """Refuse what another saga takes."""
    wrong = [name for name, present in given.items() if present]
    if wrong:
        raise Complaint(f"{saga.value} takes no {', no '.join(wrong)}.", code=Exit.USAGE)


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
