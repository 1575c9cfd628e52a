"""``trueup doctor``: is this installation in order, and what to do about each thing that is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Annotated

import typer
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from canonical.failures import ConfigurationError, SystemFailure
from canonical.names import EVENTS_QUEUE, LEDGER_QUEUE, WORKFLOW_QUEUE, system_queue
from canonical.operations import HealthCheck, HealthState
from canonical.refs import SystemRole
from cli.command import command
from cli.output import Exit, Report, Table, Value, count
from cli.session import Session
from ledger.inbox import InboxState
from ledger.migrate import migrate
from rules.routing import find_route
from runtime import search_attributes
from runtime.client import target
from wiring.systems import vendor_settings
from wiring.webhooks import receivers, senders

OURS = "trueup"
LATE = timedelta(minutes=10)
"""An event of ours that waits longer to be handed over is waiting for a gateway."""
OK, WARNING, BROKEN = HealthState.OK, HealthState.WARNING, HealthState.BROKEN
LONG_POLL = timedelta(seconds=75)
"""A worker's poll waits up to 60 seconds at the server."""
SAGA_ROLES = (SystemRole.CRM, SystemRole.ERP, SystemRole.PSA, SystemRole.HR)
"""Roles whose systems have a queue of their own."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "doctor")(doctor)


async def doctor(
    session: Session,
    apply: Annotated[
        bool,
        typer.Option("--apply", "--fix", help="Create missing search attributes, migrate the ledger."),
    ] = False,
) -> Report:
    """Check settings, Temporal, ledger, audit trail, every connected system, limits and routes."""
    try:
        settings = session.settings
    except ConfigurationError as wrong:
        return _report([_line("settings", BROKEN, problem) for problem in wrong.problems])
    lines = [_line("settings", OK, f"{settings.about.name}, region {settings.about.region}")]
    with session.working("Checking") as progress:
        for name, check in (
            ("Temporal", _temporal),
            ("ledger", _ledger),
            ("limits", _limits),
            ("routes", _routes),
            ("people", _people),
            ("gateway", _gateway),
            ("outbox", _outbox),
            ("connected systems", _systems),
        ):
            progress.tell(f"Checking {name}")
            lines += await _guarded(name, check, session, apply)
    return _report(lines)


async def _guarded(
    name: str, check: Callable[[Session, bool], Awaitable[list[HealthCheck]]], session: Session, apply: bool
) -> list[HealthCheck]:
    """A check's lines; a check that cannot even be made is a line of its own."""
    try:
        return await check(session, apply)
    except ConfigurationError as wrong:
        return [_line(name, BROKEN, problem) for problem in wrong.problems]
    except SystemFailure as failure:
        return [_line(name, BROKEN, str(failure), failure.failure.remedy)]
    except (RPCError, OSError) as error:
        return [_line(name, BROKEN, str(error), "Check that it runs and can be reached from here.")]


def _line(
    check: str, state: HealthState, detail: str, remedy: str | None = None, system: str = OURS
) -> HealthCheck:
    return HealthCheck(system=system, check=check, state=state, detail=detail, remedy=remedy)


# --- Temporal ---------------------------------------------------------------------------------------


async def _temporal(session: Session, apply: bool) -> list[HealthCheck]:
    client = await session.client()
    lines = [_line("Temporal", OK, target(session.settings.temporal).describe())]
    made = await search_attributes.create(client) if apply else []
    absent = [] if apply else await search_attributes.missing(client)
    if absent:
        names = ", ".join(one.value for one in absent)
        lines.append(_line("search attributes", BROKEN, f"missing: {names}", "Run `trueup doctor --apply`."))
    else:
        lines.append(_line("search attributes", OK, f"{len(made)} created now" if made else "all there"))
    return lines + await _workers(session, client)


async def _workers(session: Session, client: Client) -> list[HealthCheck]:
    wanted = [(WORKFLOW_QUEUE, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW)]
    wanted.append((LEDGER_QUEUE, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY))
    if session.settings.gateway.subscriptions:
        wanted.append((EVENTS_QUEUE, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY))
    for name, section in session.settings.systems.items():
        if set(section.roles) & set(SAGA_ROLES):
            wanted.append((system_queue(name), TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY))
    answers = await asyncio.gather(
        *(
            client.workflow_service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
                )
            )
            for queue, kind in wanted
        )
    )
    # The server remembers pollers for minutes; one that lives asks again within a long poll.
    recent = datetime.now(UTC) - LONG_POLL
    silent = [
        queue
        for (queue, _), answer in zip(wanted, answers, strict=True)
        if not any(one.last_access_time.ToDatetime(UTC) > recent for one in answer.pollers)
    ]
    if silent:
        return [_line("workers", WARNING, f"nobody serves {', '.join(silent)}", "Run `trueup worker`.")]
    return [_line("workers", OK, f"all {len(wanted)} queues are served")]


# --- ledger -----------------------------------------------------------------------------------------


async def _ledger(session: Session, apply: bool) -> list[HealthCheck]:
    if apply:
        await migrate(session.settings.ledger.location())
    ledger = await session.ledger()
    lines = [_line("ledger", OK, f"{ledger.database}, schema is current")]
    problems = await ledger.verify()
    if problems:
        remedy = "Somebody changed history: keep the database as it is and call your auditor."
        return lines + [_line("audit trail", BROKEN, problem, remedy) for problem in problems]
    lines.append(_line("audit trail", OK, f"{count(await ledger.audit_count(), 'row')}, chains verify"))
    if session.settings.ledger.personal_key_file is None:
        lines.append(
            _line(
                "who decided",
                WARNING,
                "no personal key: actors' names are not kept",
                "Set ledger.personal_key_file, so that the audit trail can name people.",
            )
        )
    unfinished = await ledger.unfinished(limit=500)
    if unfinished.rows:
        more = "more than " if unfinished.cursor is not None else ""
        lines.append(_line("writes under way", OK, f"{more}{count(len(unfinished.rows), 'write')}"))
    return lines


# --- limits, routes, people -------------------------------------------------------------------------


async def _limits(session: Session, apply: bool) -> list[HealthCheck]:
    lines = []
    worker = session.settings.worker
    for name, section in session.settings.systems.items():
        allowed = getattr(vendor_settings(name, section), "concurrency", None)
        if not isinstance(allowed, int):
            continue
        used = worker.slots_for(name) * worker.replicas
        detail = (
            f"{worker.slots_for(name)} slots x {worker.replicas} replicas, {allowed} calls allowed at once"
        )
        remedy = f"Set worker.slots.{name} to at most {max(1, allowed // worker.replicas)}."
        lines.append(
            _line("limits", BROKEN, detail, remedy, name)
            if used > allowed
            else _line("limits", OK, detail, system=name)
        )
    return lines


async def _routes(session: Session, apply: bool) -> list[HealthCheck]:
    firm = session.settings.firm()
    missing, broken = [], []
    for entity, region in product((one.code for one in firm.entities), session.settings.regions):
        try:
            route = find_route(firm, business_unit=None, legal_entity=entity, region=region, on=None)
        except ValueError:
            continue  # Only the effective date or the business unit decides between them.
        if route is None:
            missing.append(f"{entity}/{region}")
    if not firm.entities or not firm.routes:
        broken.append(
            _line(
                "routes",
                BROKEN,
                "no legal entities or no routes are configured",
                "Add [[entities]] and [[routes]].",
            )
        )
    if missing:
        detail = f"no route for {', '.join(missing)}"
        broken.append(_line("routes", WARNING, detail, "Fine if nothing is sold there; else add [[routes]]."))
    return broken or [
        _line("routes", OK, f"{count(len(firm.routes), 'route')} cover all entities and regions")
    ]


async def _people(session: Session, apply: bool) -> list[HealthCheck]:
    policies, actors = session.settings.policies, session.settings.actors
    held = {role for roles in actors.values() for role in roles}
    needed = {role: f"repairs in {queue}" for queue, roles in policies.repair_roles.items() for role in roles}
    for gate in (policies.credit_review, policies.sow_gate, policies.client_choice):
        needed |= dict.fromkeys((*gate.roles, *gate.senior_roles), "a gate") if gate else {}
    nobody = [f"{role} ({what})" for role, what in sorted(needed.items()) if role not in held]
    if nobody:
        detail = f"nobody in [actors] has the role {', '.join(nobody)}"
        return [_line("people", WARNING, detail, "Add the people with their roles to [actors].")]
    return [_line("people", OK, f"{count(len(actors), 'actor')} configured")]


async def _gateway(session: Session, apply: bool) -> list[HealthCheck]:
    """The front door's configuration, where there is one; its secrets as far as they are here."""
    section = session.settings.gateway
    if not (section.sources or section.subscriptions or section.tokens):
        return []
    secrets: list[str] = []
    for receiver in receivers(session.settings).values():
        secrets += receiver.missing()
    for sender in senders(session.settings).values():
        secrets += sender.missing()
    if section.tokens and not section.tokens.keys_file.is_file():
        secrets.append(f"file {section.tokens.keys_file}")
    lines = []
    if secrets:
        remedy = "Fine if the gateway runs elsewhere and has them; else provide them."
        lines.append(_line("gateway secrets", WARNING, f"not here: {', '.join(secrets)}", remedy))
    parked = (await (await session.ledger()).inbox_counts()).get(InboxState.PARKED, 0)
    if parked:
        lines.append(_line("inbox", WARNING, f"{count(parked, 'event')} parked", "See `trueup inbox`."))
    said = f"{count(len(section.sources), 'source')}, {count(len(section.clients), 'client')}"
    return lines or [_line("gateway", OK, f"{said}, {count(len(section.subscriptions), 'subscription')}")]


async def _outbox(session: Session, apply: bool) -> list[HealthCheck]:
    """Events of ours that do not get where they are to go."""
    ledger = await session.ledger()
    lines = []
    for name, number in (await ledger.undelivered_counts()).items():
        said = f"{count(number, 'event')} not taken by {name}"
        lines.append(_line("outbox", WARNING, said, "Mend the receiver, then `trueup outbox --retry`."))
    waiting = await ledger.untold_counts()
    listened = bool(session.settings.gateway.subscriptions)
    if listened and waiting.oldest is not None and datetime.now(UTC) - waiting.oldest > LATE:
        since = f"{waiting.oldest:%Y-%m-%d %H:%M} UTC"
        said = f"{count(waiting.events, 'event')} not handed over, the oldest of {since}"
        remedy = "Events go out while a `trueup gateway` runs; see its log."
        lines.append(_line("outbox", WARNING, said, remedy))
    return lines


async def _systems(session: Session, apply: bool) -> list[HealthCheck]:
    systems = await session.systems()
    answers = await asyncio.gather(*(systems.current(name).check() for name in systems.names))
    if not answers:
        return [_line("connected systems", WARNING, "none is configured", "Add [systems.NAME] sections.")]
    return [line for lines in answers for line in lines]


def _report(lines: list[HealthCheck]) -> Report:
    broken = sum(line.state is BROKEN for line in lines)
    warnings = sum(line.state is WARNING for line in lines)
    if broken:
        said = f"{count(broken, 'thing')} {'is' if broken == 1 else 'are'} broken"
        said += f", {count(warnings, 'warning')}." if warnings else "."
    else:
        said = f"All is in order; {count(warnings, 'warning')}." if warnings else "All is in order."
    rows: list[list[Value]] = [
        [line.state.value.upper() if line.state is BROKEN else line.state.value, line.system, line.check,
         line.detail, "" if line.state is OK else line.remedy]
        for line in lines
    ]  # fmt: skip
    return Report(
        said,
        {"ok": not broken, "checks": lines},
        [Table(("", "where", "what", "found", "remedy"), rows)],
        Exit.FAILED if broken else Exit.DONE,
    )
