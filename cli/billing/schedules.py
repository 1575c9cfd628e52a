"""``trueup schedules``: runs that begin by the clock, declared in the configuration."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from temporalio.service import RPCError, RPCStatusCode

from canonical.names import schedule_id
from cli.ask import confirmed
from cli.command import command
from cli.output import Complaint, Exit, Report, Table, Value, count, when
from cli.session import Session
from ledger.audit import DECISIONS_CHAIN
from ledger.rows import AuditEntry
from runtime.sections import ScheduleSection
from wiring import schedules as server
from wiring.schedules import Listed, Standing

NameArg = Annotated[str, typer.Argument(metavar="NAME", help="A schedule's name in trueup.toml.")]
Why = Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(help="Runs that begin by the clock.", no_args_is_help=True)
    command(group, "list")(list_schedules)
    command(group, "apply")(apply)
    command(group, "pause")(pause)
    command(group, "resume")(resume)
    app.add_typer(group, name="schedules")


async def list_schedules(session: Session) -> Report:
    """List schedules: what they start, when next, what is paused, what differs from the configuration."""
    found = await server.listed(await session.client(), session.settings)
    off = [one for one in found if one.standing is not Standing.AS_DECLARED]
    paused = [one for one in found if one.known is not None and one.known.paused]
    said = count(len(found), "schedule")
    said += f", {len(paused)} paused" if paused else ""
    said += f", {len(off)} not as the configuration says" if off else ""
    parts: list[Table | str] = [_table(found)] if found else []
    missed = sum(one.known.missed for one in found if one.known is not None)
    if missed:
        parts.append(
            f"{count(missed, 'run')} left out because the catch-up window had passed when the server or the "
            "schedule came back; the next run does their work."
        )
    if off:
        parts.append("Bring the server to what the configuration says:\n  trueup schedules apply")
    return Report(f"{said}.", {"schedules": [_facts(one) for one in found]}, parts)


def _table(found: list[Listed]) -> Table:
    rows: list[list[Value]] = [
        [
            one.name,
            one.section.run if one.section else "",
            rhythm(one.section) if one.section else "",
            "paused" if one.known and one.known.paused else "active" if one.known else "",
            when(one.known.next_at) if one.known and not one.known.paused else "",
            when(one.known.last_at) if one.known else "",
            one.standing.value,
            one.known.note if one.known else "",
        ]
        for one in found
    ]
    return Table(("name", "starts", "when", "state", "next", "last", "configuration", "note"), rows)


def rhythm(section: ScheduleSection) -> str:
    """When a schedule is due, and what happens when it cannot run then."""
    every = f"cron {section.cron}" if section.cron else f"every {section.every_minutes} min"
    overlap = {
        "buffer_one": "the next waits",
        "buffer_all": "all wait",
        "skip": "left out while one runs",
    }[section.overlap]
    return f"{every} ({section.timezone}); {overlap}; caught up within {section.catch_up_minutes} min"


def _facts(one: Listed) -> dict[str, Any]:
    known = one.known
    return {
        "name": one.name,
        "standing": one.standing,
        "declared": one.section,
        "paused": known.paused if known else None,
        "next_at": known.next_at if known else None,
        "last_at": known.last_at if known else None,
        "last_run": known.last_run if known else None,
        "missed": known.missed if known else None,
        "skipped": known.skipped if known else None,
        "running": known.running if known else None,
        "note": known.note if known else None,
    }


async def apply(
    session: Session,
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is not declared without asking.")] = False,
) -> Report:
    """Make the server's schedules those of the configuration; asks before it removes one."""
    client, settings = await session.client(), session.settings
    found = await server.listed(client, settings)
    gone = [one for one in found if one.standing is Standing.NOT_DECLARED]
    if gone:
        names = ", ".join(one.name for one in gone)
        confirmed(
            session, f"Remove {count(len(gone), 'schedule')} that the configuration lacks: {names}", yes
        )
    done: list[list[Value]] = []
    for one in found:
        match one.standing:
            case Standing.NOT_DECLARED:
                await server.remove(client, settings, one.name)
                done.append([one.name, "removed"])
            case Standing.NOT_APPLIED | Standing.CHANGED if one.section is not None:
                await _put(session, one.section)
                done.append([one.name, "created" if one.known is None else "changed"])
    for row in done:
        await _note(session, str(row[0]), f"schedule_{row[1]}", "")
    said = (
        f"{count(len(done), 'schedule')} brought to what the configuration says."
        if done
        else f"{count(len(found), 'schedule')}, all as the configuration says."
    )
    data = {"done": {str(name): what for name, what in done}}
    return Report(said, data, [Table(("schedule", "what"), done)] if done else [])


async def _put(session: Session, section: ScheduleSection) -> None:
    try:
        await server.put(await session.client(), session.settings, section)
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            raise Complaint(
                f"Schedule {section.name} ({rhythm(section)}) was refused: {error.message}.",
                remedy="Correct its section [[schedules]] in trueup.toml, then apply again:",
                command="trueup schedules apply",
                code=Exit.USAGE,
            ) from None
        raise


async def pause(session: Session, name: NameArg, reason: Why = "") -> Report:
    """Pause a schedule: nothing begins by it until it is resumed; a run under way goes on. Needs --reason."""
    if not reason.strip():
        raise Complaint("pause needs --reason.", code=Exit.USAGE)
    return await _turn(session, name, reason, paused=True)


async def resume(session: Session, name: NameArg, reason: Why = "") -> Report:
    """Resume a paused schedule. What was due meanwhile is not made up for: the next run does its work."""
    return await _turn(session, name, reason, paused=False)


async def _turn(session: Session, name: str, reason: str, *, paused: bool) -> Report:
    found = {one.name: one for one in await server.listed(await session.client(), session.settings)}
    one = found.get(name)
    if one is None or one.known is None:
        there = ", ".join(other.name for other in found.values() if other.known) or "none"
        raise Complaint(
            f"There is no schedule {name!r} on the server; there: {there}.",
            remedy="Apply the configuration first:" if one is not None else None,
            command="trueup schedules apply" if one is not None else "trueup schedules list",
            code=Exit.USAGE,
        )
    word = "paused" if paused else "resumed"
    if one.known.paused is paused:
        return Report(f"{name} is {'paused' if paused else 'active'} already: {one.known.note}", _facts(one))
    note = f"{word} by {session.actor}" + (f": {reason}" if reason else "")
    handle = server.handle(await session.client(), session.settings, name)
    await (handle.pause(note=note) if paused else handle.unpause(note=note))
    await _note(session, name, f"schedule_{word}", reason)
    return Report(
        f"{name} is {word}.", {"name": name, "paused": paused, "note": note}, ["  trueup schedules list"]
    )


async def _note(session: Session, name: str, action: str, reason: str) -> None:
    """Who changed when runs begin goes to the audit trail (rule 14)."""
    content = {"schedule": schedule_id(session.settings.about.region, name), "reason": reason}
    entry = AuditEntry(chain=DECISIONS_CHAIN, action=action, actor=session.actor, content=content)
    await (await session.ledger()).audit(entry)
