"""``trueup approvals``: decisions that sagas wait for, and making them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer

from canonical.names import SearchAttribute
from canonical.saga import GateDecision, GateOutcome, SagaStatus, SagaView, StepView
from cli import sagas, words
from cli.billing import review
from cli.command import As, Config, Json, command, entry
from cli.output import Complaint, Exit, Report, Table, Value, count, when, worth
from cli.repair import live, update
from cli.session import Session, command_id
from workflows.opportunity_to_project import OpportunityToProject

AT_ONCE = 8
"""Sagas asked side by side."""

SagaArg = Annotated[str, typer.Argument(help="Saga id, deal id, project code, or the end of an id.")]
StepArg = Annotated[str | None, typer.Argument(help="The step that asks; the only one by default.")]
Why = Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands; without a sub-command it lists."""
    group = typer.Typer(help="Decisions that sagas wait for: list, show, approve, reject, change lines.")
    group.callback(invoke_without_command=True)(_list_by_default)
    command(group, "list")(approvals)
    command(group, "approve")(approve)
    command(group, "reject")(reject)
    command(group, "send-back")(send_back)
    review.register(group)
    app.add_typer(group, name="approvals")


def _list_by_default(
    context: typer.Context, config: Config = None, as_json: Json = False, as_name: As = None
) -> None:
    if context.invoked_subcommand is None:
        entry(approvals)(config=config, as_json=as_json, as_name=as_name, region=None)


async def approvals(
    session: Session,
    region: Annotated[str | None, typer.Option("--region", help="Only of this region.")] = None,
) -> Report:
    """List open decisions: what is asked, with figures, of whom, until when."""
    client = await session.client()
    stuck = ", ".join(f"'{one.value}'" for one in (SagaStatus.GATED, SagaStatus.PARKED))
    query = f"{SearchAttribute.SAGA_STATUS} IN ({stuck}) AND ExecutionStatus = 'Running'"
    if region:
        query += f" AND {SearchAttribute.REGION} = {sagas.quoted(region)}"
    found = [execution.id async for execution in client.list_workflows(query)]
    limit = asyncio.Semaphore(AT_ONCE)
    silent: list[str] = []

    async def ask(saga: str) -> SagaView | None:
        async with limit:
            try:
                return await sagas.live_view(client, saga)
            except sagas.NoAnswer:
                silent.append(saga)
                return None

    with session.working(f"Asking {count(len(found), 'saga')}"):
        views = [view for view in await asyncio.gather(*map(ask, found)) if view is not None]
    asked = [(view, step) for view in views for step in view.gates if step.gate]
    return _approvals_report(session, asked, silent)


def _approvals_report(session: Session, asked: list[tuple[SagaView, StepView]], silent: list[str]) -> Report:
    now = datetime.now(UTC)
    stake = worth(step.gate.amount or view.at_stake for view, step in asked if step.gate)
    late = sum(bool(step.gate and step.gate.deadline and step.gate.deadline < now) for _, step in asked)
    said = f"{count(len(asked), 'decision')} open" + (f", {stake} waiting" if stake else "")
    said += f", {late} past the deadline." if late else "."
    rows: list[list[Value]] = []
    facts = []
    for view, step in asked:
        gate = step.gate
        assert gate is not None
        rows.append(
            [
                sagas.cell(session, view.saga_id),
                step.id,
                gate.title,
                str(gate.amount or view.at_stake or ""),
                ", ".join(gate.roles),
                when(gate.deadline),
            ]
        )
        facts.append({"saga_id": view.saga_id, "revision": view.revision, "request": gate})
    parts: list[Table | str] = []
    if rows:
        parts.append(Table(("saga", "step", "decision", "amount", "who", "until"), rows))
        parts += [words.gate_text(view, step) for view, step in asked]
    if silent:
        parts.append(f"No worker answered for {count(len(silent), 'saga')}: {', '.join(silent)}.")
    return Report(said, {"approvals": facts, "silent": silent}, parts, Exit.FAILED if silent else Exit.DONE)


async def approve(
    session: Session,
    saga: SagaArg,
    step: StepArg = None,
    choice: Annotated[str | None, typer.Option("--choice", help="Which of the choices.")] = None,
    reason: Why = "",
) -> Report:
    """Approve; where records are offered, say which with --choice."""
    return await decide(session, saga, step, GateOutcome.APPROVE, reason, choice)


async def reject(session: Session, saga: SagaArg, step: StepArg = None, reason: Why = "") -> Report:
    """Reject: what the saga made is undone. Needs --reason."""
    return await decide(session, saga, step, GateOutcome.REJECT, reason, None)


async def send_back(session: Session, saga: SagaArg, step: StepArg = None, reason: Why = "") -> Report:
    """Send the question back to whoever asked; it stays open. Needs --reason."""
    return await decide(session, saga, step, GateOutcome.SEND_BACK, reason, None)


async def decide(
    session: Session, saga: str, step: str | None, outcome: GateOutcome, reason: str, choice: str | None
) -> Report:
    """Make one decision.

    Raises:
        Complaint: the saga refused it, in its words; or nobody took it.
    """
    if outcome is not GateOutcome.APPROVE and not reason:
        raise Complaint(f"{outcome.value.replace('_', '-')} needs --reason.", code=Exit.USAGE)
    name = await review.find_run(session, saga)
    view = await live(session, name)
    chosen = _the_gate(view, step)
    decision = GateDecision(
        command_id=command_id(),
        step=chosen,
        outcome=outcome,
        actor=session.actor,
        reason=reason,
        choice=choice,
    )
    await update(session, name, OpportunityToProject.decide, decision)
    words_ = {
        GateOutcome.APPROVE: "approved; the saga goes on",
        GateOutcome.REJECT: "rejected; what was made is undone",
        GateOutcome.SEND_BACK: "sent back; the question stays open",
    }
    return Report(
        f"'{chosen}' of {_lower(words.subject(view))} is {words_[outcome]}.",
        {"saga_id": name, "decision": decision},
        [f"  trueup show {name}"],
    )


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _the_gate(view: SagaView, step: str | None) -> str:
    open_ = [one.id for one in view.gates]
    if step is not None:
        return step
    if len(open_) == 1:
        return open_[0]
    if not open_:
        raise Complaint(
            f"{words.sentence(view)} It asks for no decision.", command=f"trueup show {view.saga_id}"
        )
    raise Complaint(f"Which decision? Open: {', '.join(open_)}.", code=Exit.USAGE, details=open_)
