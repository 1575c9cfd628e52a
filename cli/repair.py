"""``trueup resolve`` and ``trueup cancel``: an operator's commands to a running saga."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from canonical.causes import Cause
from canonical.names import saga_parts
from canonical.saga import GateDecision, RepairAction, RepairCommand, SagaStatus, SagaView, StepView
from canonical.unbilled import UnbilledGroup
from cli import sagas, words
from cli.ask import confirmed
from cli.billing.held import held_groups, let_go
from cli.billing.words import NATURES
from cli.causes import AllOfCause
from cli.command import command
from cli.follow import Followed, follow, undone_or_blocked
from cli.inspect import Filter, Listed, select
from cli.output import Cell, Complaint, Exit, Report, Table, Value, count, worth
from cli.session import Session, command_id
from workflows.kernel.nature import OnCancel
from workflows.opportunity_to_project import OpportunityToProject

MOST_AT_ONCE = 1_000
"""Sagas of one bulk command."""

SagaText = Annotated[str | None, typer.Argument(help="Saga id, deal id, project code, or the end of an id.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "resolve")(resolve)
    command(app, "cancel")(cancel)


# --- resolve ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wish:
    """What is to be done about a parked step."""

    action: RepairAction
    reason: str
    amended: dict[str, Any] | None = None
    result: dict[str, Any] | None = None

    def about(self, session: Session, view: SagaView, step: str) -> RepairCommand:
        """The command for one step of a saga as it was looked at."""
        return RepairCommand(
            command_id=command_id(),
            step=step,
            action=self.action,
            actor=session.actor,
            reason=self.reason,
            expected_revision=view.revision,
            amended_input=self.amended,
            result=self.result,
        )


async def resolve(
    session: Session,
    saga: SagaText = None,
    step: Annotated[str | None, typer.Argument(help="The parked step; the only one by default.")] = None,
    cause: AllOfCause = None,
    project: Annotated[
        str | None, typer.Option("--project", help="For --cause: only items of this project code.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try again.")] = False,
    amend: Annotated[
        Path | None, typer.Option("--amend", help="Try again with this JSON merge patch on the step's input.")
    ] = None,
    current_mapping: Annotated[
        bool, typer.Option("--current-mapping", help="Try again with today's field mapping.")
    ] = False,
    skip: Annotated[bool, typer.Option("--skip", help="Go on as if done; needs --reason.")] = False,
    result: Annotated[Path | None, typer.Option("--result", help="For --skip: the step's result.")] = None,
    undo_all: Annotated[
        bool, typer.Option("--undo-all", help="Undo the whole saga; needs --reason.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
    yes: Yes = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow until it needs nobody.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait at most.")] = 600,
) -> Report:
    """Repair a parked step, or everything that waits for one cause.

    With --cause, held items are checked again first: it shows how many would post and how many the ERP has
    already, and asks before it lets them go.
    """
    if (saga is None) == (cause is None):
        raise Complaint("Name a saga, or --cause CODE for all of that cause.", code=Exit.USAGE)
    # All of a cause is tried again, unless something else is asked for.
    only = cause is not None and not (amend or current_mapping or skip or undo_all)
    wish = _wish(retry or only, amend, current_mapping, skip, result, undo_all, reason)
    if cause is not None:
        return await _resolve_cause(session, cause, wish, Bulk(project, yes, wait, timeout))
    if project is not None:
        raise Complaint("--project belongs to --cause.", code=Exit.USAGE)
    assert saga is not None
    name = await sagas.find(session, saga)
    view = await live(session, name)
    chosen = _the_step(view, step)
    await send(session, name, wish.about(session, view, chosen))
    said = f"{view.saga_id}: {wish.action.value} of '{chosen}' is accepted."
    if not wait:
        return Report(
            said, {"saga_id": name, "step": chosen, "action": wish.action}, [f"  trueup show {name}"]
        )
    until = undone_or_blocked if wish.action is RepairAction.UNDO_ALL else None
    with session.working(f"Following {name}") as progress:
        client = await session.client()
        seen = await (
            follow(client, name, timeout, progress, until)
            if until
            else follow(client, name, timeout, progress)
        )
    return followed_report(seen, said, timeout)


def _wish(
    retry: bool,
    amend: Path | None,
    current_mapping: bool,
    skip: bool,
    result: Path | None,
    undo_all: bool,
    reason: str,
) -> Wish:
    chosen = [
        action
        for action, wanted in (
            (RepairAction.RETRY, retry),
            (RepairAction.RETRY_AMENDED, amend is not None),
            (RepairAction.RETRY_CURRENT_MAPPING, current_mapping),
            (RepairAction.SKIP, skip),
            (RepairAction.UNDO_ALL, undo_all),
        )
        if wanted
    ]
    if len(chosen) != 1:
        raise Complaint(
            "Say what to do: one of --retry, --amend FILE, --current-mapping, --skip, --undo-all.",
            code=Exit.USAGE,
        )
    action = chosen[0]
    if action in (RepairAction.SKIP, RepairAction.UNDO_ALL) and not reason:
        raise Complaint(f"--{action.value.replace('_', '-')} needs --reason.", code=Exit.USAGE)
    if result is not None and action is not RepairAction.SKIP:
        raise Complaint("--result belongs to --skip.", code=Exit.USAGE)
    return Wish(
        action, reason, _json_object(amend) if amend else None, _json_object(result) if result else None
    )


def _json_object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except ValueError as error:
        raise Complaint(f"{file} is no JSON: {error}.", code=Exit.USAGE) from None
    if not isinstance(found, dict):
        raise Complaint(f"{file} must hold one JSON object.", code=Exit.USAGE)
    return found


async def live(session: Session, saga: str) -> SagaView:
    """The saga's own view: a command may only be given about what was looked at.

    Raises:
        Complaint: nobody answers, or the saga is gone.
    """
    try:
        view = await sagas.live_view(await session.client(), saga)
    except sagas.NoAnswer:
        raise no_worker(saga) from None
    if view is None:
        raise Complaint(f"{saga} does not run (any more).", command=f"trueup show {saga}")
    return view


def no_worker(saga: str) -> Complaint:
    """Nobody serves the saga now."""
    return Complaint(
        f"No worker answers for {saga}; nothing was changed.",
        remedy="Start one, then try again:",
        command="trueup worker",
    )


def _the_step(view: SagaView, step: str | None) -> str:
    parked = [one.id for one in view.parked_steps]
    if step is not None:
        return step
    if len(parked) == 1:
        return parked[0]
    if not parked:
        raise Complaint(f"{words.sentence(view)} Nothing is parked.", command=f"trueup show {view.saga_id}")
    raise Complaint(f"Which step? Parked: {', '.join(parked)}.", code=Exit.USAGE, details=parked)


async def send(session: Session, saga: str, given: RepairCommand) -> SagaView:
    """Give the command to the saga.

    Raises:
        Complaint: the saga refused it, in its words; or nobody took it.
    """
    return await update(session, saga, OpportunityToProject.resolve_step, given)


async def update(session: Session, saga: str, method: Any, given: RepairCommand | GateDecision) -> SagaView:
    """Send an update; its id is the command's, so that one sent twice acts once.

    Raises:
        Complaint: the saga refused it, in its words; or nobody took it.
    """
    handle = sagas.handle(await session.client(), saga)
    try:
        view: SagaView = await handle.execute_update(
            method, given, id=given.command_id, rpc_timeout=2 * sagas.ANSWER
        )
    except Exception as error:
        raise refusal(saga, error) from None
    return view


def refusal(saga: str, error: Exception) -> Exception:
    """Why a saga did not take a command, on one line; other errors as they are."""
    match error:
        case WorkflowUpdateFailedError():
            words_ = error.cause.message if isinstance(error.cause, ApplicationError) else str(error.cause)
            return Complaint(f"Refused: {words_}", command=f"trueup show {saga}")
        case WorkflowUpdateRPCTimeoutOrCancelledError():
            return Complaint(
                f"No worker took the command for {saga} in time.",
                remedy="It may still be taken when one runs: look before repeating it.",
                command=f"trueup show {saga}",
            )
        case RPCError() if error.status is RPCStatusCode.NOT_FOUND:
            return Complaint(f"{saga} has ended; there is nothing to decide.", command=f"trueup show {saga}")
    return error


def followed_report(seen: Followed, said: str, timeout: float) -> Report:
    """Where a saga stands after a command."""
    if seen.view is None:
        raise no_worker(seen.saga_id)
    view = seen.view
    late = "" if seen.settled else f" Not finished within {timeout:g} s; it goes on."
    code = words.exit_code(view) if seen.settled else Exit.FAILED
    return Report(
        f"{words.sentence(view)}{late}",
        {"saga": view, "settled": seen.settled},
        [said, words.step_table(view), *words.trouble(view)],
        code,
    )


# --- resolve by cause ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bulk:
    """How everything of a cause is carried out."""

    project: str | None
    yes: bool
    wait: bool
    timeout: float


async def _resolve_cause(session: Session, cause: Cause, wish: Wish, bulk: Bulk) -> Report:
    if wish.action in (RepairAction.SKIP, RepairAction.RETRY_AMENDED):
        raise Complaint("Amended input and hand-made results fit one step: name the saga.", code=Exit.USAGE)
    groups: list[UnbilledGroup] = []
    if wish.action is RepairAction.RETRY:
        groups = await held_groups(await session.ledger(), cause=cause)
        groups = [one for one in groups if bulk.project in (None, one.project_code)]
    stuck: list[Listed] = []
    if bulk.project is None:
        found, _ = await select(session, Filter(cause=cause), MOST_AT_ONCE)
        stuck = [one for one in found if one.view.status in (SagaStatus.PARKED, SagaStatus.UNDO_BLOCKED)]
    if not stuck and not groups:
        where = f" of project {bulk.project}" if bulk.project else ""
        said = f"No saga is parked with {cause.value} and no item{where} is held for it."
        return Report(said, {"sagas": [], "groups": []}, ["  trueup exceptions"])
    reports = []
    if stuck:
        reports.append(await _resolve_sagas(session, cause, wish, stuck, bulk.yes))
    if groups:
        reports.append(
            await let_go(
                session,
                cause,
                groups,
                project=bulk.project,
                reason=wish.reason,
                yes=bulk.yes,
                wait=bulk.wait,
                timeout=bulk.timeout,
            )
        )
    return Report(
        " ".join(one.sentence for one in reports),
        {name: value for one in reports for name, value in one.data.items()},
        [part for one in reports for part in one.parts],
        max(one.code for one in reports),
    )


async def _resolve_sagas(
    session: Session, cause: Cause, wish: Wish, stuck: list[Listed], yes: bool
) -> Report:
    stake = worth(one.at_stake for one in stuck)
    what = f"{wish.action.value} of {count(len(stuck), 'saga')} parked with {cause.value}"
    confirmed(session, f"{what}{f' ({stake} at stake)' if stake else ''}", yes)
    results = []
    with session.working(what) as progress:
        for one in stuck:
            progress.tell(one.view.saga_id)
            results.append(await _resolve_one(session, one.view.saga_id, cause, wish))
    refused = [row for row in results if not row["accepted"]]
    rows: list[list[Value]] = [
        [
            sagas.cell(session, row["saga_id"]),
            ", ".join(row["steps"]),
            "accepted" if row["accepted"] else row["refusal"],
        ]
        for row in results
    ]
    said = f"{wish.action.value} accepted for {len(results) - len(refused)} of {count(len(results), 'saga')}."
    return Report(
        said,
        {"cause": cause, "action": wish.action, "sagas": results},
        [Table(("saga", "steps", "outcome"), rows)],
        Exit.FAILED if refused else Exit.DONE,
    )


async def _resolve_one(session: Session, saga: str, cause: Cause, wish: Wish) -> dict[str, Any]:
    steps: list[str] = []
    try:
        view = await live(session, saga)
        for step in [one for one in view.parked_steps if _has(one, cause)]:
            view = await send(session, saga, wish.about(session, view, step.id))
            steps.append(step.id)
            if wish.action is RepairAction.UNDO_ALL:
                break
    except Complaint as complaint:
        return {"saga_id": saga, "steps": steps, "accepted": False, "refusal": complaint.message}
    if not steps:
        return {"saga_id": saga, "steps": [], "accepted": False, "refusal": "nothing is parked any more"}
    return {"saga_id": saga, "steps": steps, "accepted": True, "refusal": None}


def _has(step: StepView, cause: Cause) -> bool:
    return step.failure is not None and step.failure.cause is cause


# --- cancel -----------------------------------------------------------------------------------------


async def cancel(
    session: Session,
    saga: Annotated[str, typer.Argument(help="Saga id, deal id, project code, or the end of an id.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
    terminate: Annotated[
        bool, typer.Option("--terminate", help="Stop without undoing anything: leaves half a project behind.")
    ] = False,
    sure: Annotated[
        bool, typer.Option("--i-know-this-skips-compensation", help="Needed for --terminate.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow until it is undone.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait at most.")] = 600,
) -> Report:
    """Cancel a saga: before its point of no return everything it made is undone, last first.

    A posting run stops at its next batch, and what is posted stays posted. With --wait: exit 4 when all is
    undone or stopped, 3 when the undo needs a person.
    """
    if terminate and not sure:
        raise Complaint(
            "Refused: terminating undoes nothing and leaves whatever was made in the connected systems.",
            remedy="Cancel without --terminate, or add --i-know-this-skips-compensation.",
            code=Exit.USAGE,
        )
    name = await sagas.find(session, saga)
    view = (await sagas.see(session, name)).view
    if view.status.is_final:
        raise Complaint(f"{words.sentence(view)} There is nothing to cancel.", command=f"trueup show {name}")
    if terminate:
        return await _terminate(session, name, view, reason)
    if view.pivot_passed:
        raise Complaint(
            _too_late(view),
            remedy="Correct it forward, or with a business document (change order, credit).",
            command=f"trueup show {name}",
        )
    made = [step for step in view.steps if step.records and step.kind.value == "compensatable"]
    await _note(session, name, "cancel", reason)
    handle = sagas.handle(await session.client(), name)
    await handle.cancel(reason=f"by {session.actor}" + (f": {reason}" if reason else ""))
    undone = f"{count(len(made), 'step')} will be undone, last first" if made else "it has made nothing yet"
    if stops(view):
        undone = "it stops at the next batch, and what is done stays"
    said = f"{name} is being cancelled; {undone}."
    if not wait:
        gone: list[list[Value]] = [
            [step.title, step.system, words.records_of(step)] for step in reversed(made)
        ]
        parts: list[Table | str] = [Table(("what", "system", "to be undone"), gone)] if gone else []
        return Report(
            said, {"saga_id": name, "undoing": [step.id for step in made]}, [*parts, f"  trueup show {name}"]
        )
    with session.working(said) as progress:
        seen = await follow(await session.client(), name, timeout, progress, undone_or_blocked)
    return followed_report(seen, said, timeout)


def _too_late(view: SagaView) -> str:
    nature = NATURES.get(saga_parts(view.saga_id)[0])
    if nature is None:
        return f"Deal {words.deal_of(view)} is already active: a cancel would undo nothing."
    return f"{words.subject(view)}: a cancel would undo nothing. {nature.point_of_no_return}"


def stops(view: SagaView) -> bool:
    """Whether a cancel of the saga stops it and leaves what is done, instead of undoing it (rule 23)."""
    nature = NATURES.get(saga_parts(view.saga_id)[0])
    return nature is not None and nature.on_cancel is OnCancel.STOP


async def _terminate(session: Session, saga: str, view: SagaView, reason: str) -> Report:
    left = [ref for step in view.steps for ref in step.records]
    await _note(session, saga, "terminate", reason)
    handle = sagas.handle(await session.client(), saga)
    await handle.terminate(reason=f"by {session.actor}: {reason}")
    rows: list[list[Value]] = [[ref.system, Cell(f"{ref.type} {ref.id}", ref.url)] for ref in left]
    return Report(
        f"{saga} was terminated; {count(len(left), 'record')} left behind, nothing was undone.",
        {"saga_id": saga, "left": left},
        [Table(("system", "record"), rows)] if rows else [],
    )


async def _note(session: Session, saga: str, kind: str, reason: str) -> None:
    """Keep who decided it (rule 14): the saga itself only hears that somebody did."""
    ledger = await session.ledger()
    await ledger.decide(
        command_id=command_id(),
        kind=kind,
        saga_id=saga,
        step="",
        outcome=kind,
        actor=session.actor,
        reason=reason,
    )
