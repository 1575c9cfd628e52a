"""``trueup plan``: the exact writes of a saga, in order, none of them made."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic_core import to_jsonable_python
from temporalio.client import WorkflowFailureError

from canonical.failures import Failure
from canonical.names import SagaName
from canonical.saga import SagaView, StepKind
from canonical.writes import WriteKind
from cli import sagas, words
from cli.begin import prepared, refuse_saga
from cli.command import command
from cli.output import Complaint, Exit, Report, Table, count
from cli.session import Session
from wiring.start import failure_in
from wiring.start import start as start_saga


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "plan")(plan)


async def plan(
    session: Session,
    saga: Annotated[SagaName, typer.Argument(help="Which saga.", metavar="SAGA")],
    deal: Annotated[str, typer.Argument(help="Id of the won deal in the CRM.", metavar="ID")],
    system: Annotated[str | None, typer.Option("--system", help="CRM instance.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the plan to this JSON file.")] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait at most.")] = 120,
) -> Report:
    """Show every write a saga would make, in order, or everything that stands in its way. Writes nothing."""
    refuse_saga(saga)
    return await plan_deal(session, deal, session.crm(system), out, timeout)


async def plan_deal(session: Session, deal: str, system: str, out: Path | None, timeout: float) -> Report:
    """Run the saga in plan mode and report its writes.

    Raises:
        Complaint: no worker made the plan in time.
    """
    given = await prepared(session, deal, system, "", plan=True)
    client = await session.client()
    with session.working(f"Planning deal {deal}"):
        handle = await start_saga(client, given)
        try:
            view = await asyncio.wait_for(handle.result(), timeout)
        except TimeoutError:
            await handle.terminate(reason="nobody waits for this plan any more")
            raise await _late(session, given.saga_id, timeout) from None
        except WorkflowFailureError as error:
            return _refused(session, system, deal, failure_in(error))
    ref = f"{system}/{deal}"
    if out is not None:
        _keep(out, ref, view)
    return _planned(view, ref, out)


def _keep(out: Path, ref: str, view: SagaView) -> None:
    plan = {"deal": ref, "writes": to_jsonable_python(view.writes)}
    out.write_text(json.dumps(plan, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


async def _late(session: Session, saga: str, timeout: float) -> Complaint:
    try:
        view = await sagas.live_view(await session.client(), saga)
    except sagas.NoAnswer:
        view = None
    if view is None:
        return Complaint(
            f"No worker made the plan within {timeout:g} s; nothing was written.",
            remedy="Start a worker, then plan again:",
            command="trueup worker",
        )
    waits = "; ".join(words.trouble(view)) or view.headline
    return Complaint(
        f"The plan was not ready within {timeout:g} s; nothing was written. {waits}",
        remedy="Try again, or allow more time with --timeout.",
        details=view,
    )


def _refused(session: Session, system: str, deal: str, failure: Failure | None) -> Report:
    """What stands in the way of the deal."""
    if failure is None:
        raise Complaint(f"The plan of deal {deal} failed; the worker's log says why. Nothing was written.")
    blocking = count(len(failure.findings), "finding") if failure.findings else failure.cause.value
    stake = f" {failure.at_stake} is at stake." if failure.at_stake else ""
    parts: list[Table | str] = ["\n".join(words.failure_lines(failure))]
    return Report(
        f"Deal {deal} cannot be set up as it is: {blocking}. Nothing was written.{stake}",
        {"deal": f"{system}/{deal}", "writes": [], "failure": failure, "findings": failure.findings},
        parts,
        Exit.FAILED,
    )


def _planned(view: SagaView, ref: str, out: Path | None) -> Report:
    kinds = Counter(write["kind"] for write in view.writes)
    systems = list(dict.fromkeys(str(write["system"]) for write in view.writes))
    questions = [step.note for step in view.steps if step.kind is StepKind.GATE and step.note]
    made, changed = kinds[WriteKind.CREATE.value], kinds[WriteKind.UPDATE.value]
    said = (
        f"Deal {words.deal_of(view)}: {count(len(view.writes), 'write')} in "
        f"{', '.join(systems) or 'no system'} ({made} to create, {changed} to change). Nothing was written."
    )
    parts: list[Table | str] = []
    if questions:
        parts.append(
            "Before the first write a person decides:\n" + "\n".join(f"  {one}" for one in questions)
        )
    notes = [
        f"  {step.title}: {step.note}" for step in view.steps if step.note and step.note not in questions
    ]
    if notes:
        parts.append("Notes:\n" + "\n".join(notes))
    if view.writes:
        parts.append("\n".join(line for write in view.writes for line in lines_of(write)))
    if out is not None:
        parts.append(f"The plan is in {out}.")
    data: dict[str, Any] = {
        "deal": ref,
        "saga_id": view.saga_id,
        "writes": view.writes,
        "questions": questions,
        "notes": notes,
        "out": out,
    }
    return Report(said, data, parts)


def lines_of(write: dict[str, Any]) -> list[str]:
    """One write as a diff shows it: ``+`` makes a record, ``~`` changes one; its fields beneath."""
    sign = "+" if write["kind"] == WriteKind.CREATE.value else "~"
    head = f"{sign} {write['system']}  {write['type']}  {write['title']}"
    return [head, f"    {write['method']} {write['path']}", *_fields(write["body"], "    ")]


def _fields(value: Any, indent: str, name: str = "") -> list[str]:
    """A body's fields, one a line, nested names joined by dots."""
    if isinstance(value, dict):
        return [
            line
            for key, item in value.items()
            for line in _fields(item, indent, f"{name}.{key}" if name else key)
        ]
    if isinstance(value, list):
        return [
            line for number, item in enumerate(value) for line in _fields(item, indent, f"{name}[{number}]")
        ]
    return [] if value is None and not name else [f"{indent}{name}: {value}"]
