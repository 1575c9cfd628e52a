"""Closing a contract's projects from the command line, and ``trueup reopen-project`` (rule 45)."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import WorkflowAlreadyStartedError

from activities.contracts import StartCloseProject, StartReopenProject
from canonical.failures import Failure
from cli import plan, sagas, words
from cli.ask import confirmed
from cli.billing import words as billing
from cli.command import command
from cli.follow import follow
from cli.output import Complaint, Exit, Report, Table, Value, count
from cli.session import Session
from ledger.rows import ProjectClosingRow
from wiring.start import failure_in
from wiring.start_closing import ClosingStarts, start_closing

CLOSE = "trueup start close-project CONTRACT"


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "reopen-project")(reopen)


async def start_close(
    session: Session, named: Sequence[str], reason: str, *, plan_only: bool, wait: bool, timeout: float
) -> Report:
    """Start closing a contract's projects, find the closing that runs, or say what stands in the way.

    Raises:
        Complaint: not exactly one contract, or none of that name.
    """
    if len(named) != 1:
        raise Complaint(
            "Which contract? Name one, by its key or its project code.", command=CLOSE, code=Exit.USAGE
        )
    contract = await contract_named(session, named[0])
    ledger = await session.ledger()
    last = await ledger.project_closing(contract)
    if last is not None and last.in_force:
        return Report(
            f"{_subject(last)} is closed since {last.closed_at:%Y-%m-%d %H:%M} UTC; nothing was started.",
            {"contract": contract, "closing": last, "started": False, "saga_id": last.saga_id},
            [f"  trueup show {last.saga_id}", f"  trueup reopen-project {contract}"],
        )
    starts = await _starts(session)
    try:
        start = await starts.close(contract, reason, plan=plan_only)
    except ValueError as error:
        raise Complaint(f"{contract!r} is no contract: {error}.", code=Exit.USAGE) from None
    if plan_only:
        return await _plan(session, start, timeout)
    return await _begin(session, start, contract, wait=wait, timeout=timeout)


async def contract_named(session: Session, text: str) -> str:
    """The contract of that key, or whose project has that code.

    Raises:
        Complaint: none is known.
    """
    ledger = await session.ledger()
    if await ledger.contract_version(text) is not None:
        return text
    found = await ledger.contract_of_code(text)
    if found is not None:
        return found
    for saga in await sagas.find_all(session, text):
        row = await ledger.saga(saga)
        for contract, code in (row.view.codes if row is not None and row.view is not None else {}).items():
            if code == text and await ledger.contract_version(contract) is not None:
                return contract
    raise Complaint(
        f"No contract and no project code {text!r} is known.",
        remedy="The contracts:",
        command="trueup change-orders list",
        code=Exit.USAGE,
    )


async def reopen(
    session: Session,
    contract: Annotated[str, typer.Argument(help="Key of the contract, or its project code.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Put back what the preview shows.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow until it needs nobody.")] = True,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait at most.")] = 600,
) -> Report:
    """Open a closed contract's projects again: shows what is put back, and does it only with --yes.

    Finance, delivery and the deal get what they showed before the closing.
    """
    key = await contract_named(session, contract)
    closing = await (await session.ledger()).project_closing(key)
    if closing is None:
        raise Complaint(f"The projects of {key} were never closed here.", command=CLOSE, code=Exit.USAGE)
    if not closing.in_force:
        return Report(
            f"{_subject(closing)} is open: it was re-opened before. Nothing was done.",
            {"contract": key, "closing": closing, "started": False, "saga_id": closing.reopen_saga_id},
        )
    if yes and not reason.strip():
        raise Complaint("Opening again needs --reason.", code=Exit.USAGE)
    said = f"{count(len(closing.former), 'record')} of {_subject(closing)} would be put back."
    parts: list[Table | str] = [_preview(closing)]
    if not yes and (session.as_json or not sys.stdin.isatty()):
        again = shlex.join(["trueup", "reopen-project", key])
        parts.append(f'Open it:\n  {again} --reason "..." --yes')
        data = {"contract": key, "closing": closing, "started": False, "saga_id": None}
        return Report(f"{said} Nothing was done yet.", data, parts)
    confirmed(session, said, yes)
    if not reason.strip():
        raise Complaint("Opening again needs --reason.", code=Exit.USAGE)
    start = await (await _starts(session)).reopen(closing, reason)
    report = await _begin(session, start, key, wait=wait, timeout=timeout)
    return Report(report.sentence, report.data, [*parts, *report.parts], report.code)


def _preview(closing: ProjectClosingRow) -> Table:
    rows: list[list[Value]] = [
        [one.system, f"{one.record.type} {one.record.id}", name, _shown(value)]
        for one in closing.former
        for name, value in one.values.items()
    ]
    if closing.deal is not None:
        rows += [
            [closing.deal.system, f"{closing.deal.type} {closing.deal.id}", name, _shown(value)]
            for name, value in (closing.deal_former or {}).items()
        ]
    return Table(("system", "record", "field", "is put back to"), rows)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("refName") or value.get("id") or value)
    return "" if value is None else str(value)


def _subject(closing: ProjectClosingRow) -> str:
    return f"Project {closing.project_code} (contract {closing.contract_key})"


async def _starts(session: Session) -> ClosingStarts:
    systems = await session.systems()
    await systems.store_mappings()
    return ClosingStarts(session.settings, systems.mapping_digests(), await session.ledger(), session.actor)


async def _begin(
    session: Session,
    start: StartCloseProject | StartReopenProject,
    contract: str,
    *,
    wait: bool,
    timeout: float,
) -> Report:
    client = await session.client()
    data: dict[str, Any] = {"contract": contract, "saga_id": start.saga_id, "started": True}
    data["web"] = session.web(start.saga_id)
    try:
        await start_closing(client, start)
    except WorkflowAlreadyStartedError:
        view = (await sagas.see(session, start.saga_id)).view
        said = f"{words.sentence(view)} Nothing was started."
        return Report(said, {**data, "started": False, "view": view}, [], words.exit_code(view))
    if not wait:
        said = f"{billing.subject(start.saga_id)} is under way."
        return Report(said, data, [f"  trueup show {start.saga_id}"])
    with session.working(f"Following {start.saga_id}") as progress:
        seen = await follow(client, start.saga_id, timeout, progress)
    if seen.view is None or not seen.settled:
        said = f"{start.saga_id} is not finished within {timeout:g} s; it goes on."
        return Report(said, {**data, "view": seen.view}, [f"  trueup show {start.saga_id}"], Exit.FAILED)
    parts: list[Table | str] = [words.step_table(seen.view), *words.trouble(seen.view)]
    return Report(words.sentence(seen.view), {**data, "view": seen.view}, parts, words.exit_code(seen.view))


async def _plan(session: Session, start: StartCloseProject, timeout: float) -> Report:
    """What would be written, or everything that stands in the way; nothing is written.

    Raises:
        Complaint: no worker made the plan in time.
    """
    client = await session.client()
    with session.working(f"Looking at {start.contract}"):
        handle = await start_closing(client, start)
        try:
            view = await asyncio.wait_for(handle.result(), timeout)
        except TimeoutError:
            await handle.terminate(reason="nobody waits for this plan any more")
            raise Complaint(
                f"No worker made the plan within {timeout:g} s; nothing was written.",
                remedy="Start a worker, then plan again:",
                command="trueup worker",
            ) from None
        except WorkflowFailureError as error:
            return _in_the_way(start.contract, failure_in(error))
    said = f"{start.contract} can be closed: {count(len(view.writes), 'write')}. Nothing was written."
    parts: list[Table | str] = []
    if view.writes:
        parts.append("\n".join(line for write in view.writes for line in plan.lines_of(write)))
    return Report(said, {"contract": start.contract, "writes": view.writes, "facts": []}, parts)


def _in_the_way(contract: str, failure: Failure | None) -> Report:
    if failure is None:
        raise Complaint(f"The plan of {contract} failed; the worker's log says why. Nothing was written.")
    stake = f" {failure.at_stake} is at stake." if failure.at_stake else ""
    return Report(
        f"{contract} cannot be closed now. {failure.message}{stake} Nothing was written.",
        {"contract": contract, "writes": [], "facts": failure.findings, "failure": failure},
        ["\n".join(words.failure_lines(failure))],
        Exit.FAILED,
    )
