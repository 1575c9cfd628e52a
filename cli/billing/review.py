"""Reviewing drafts and credits at the command line: show the lines; hold, move, write down, transfer them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from activities.contracts import ReviewEdits
from canonical.invoicing import DocumentKind, DocumentState, LineAction, LineDecision
from canonical.money import Money
from canonical.saga import GateDecision, GateOutcome, SagaView, StepView
from cli import sagas
from cli import words as saga_words
from cli.billing import words
from cli.billing.arguments import the_day
from cli.billing.lines import line_facts, line_parts, named
from cli.command import command
from cli.follow import follow
from cli.output import Complaint, Exit, Report, Table, Value, count
from cli.repair import live, update
from cli.session import Session, command_id
from ledger.billing_rows import DocumentLine, DocumentRow
from ledger.store import Ledger
from workflows.opportunity_to_project import OpportunityToProject

RunArg = Annotated[
    str, typer.Argument(metavar="RUN", help="Run, invoice key or billing group, or the end of a run's id.")
]
LinesArg = Annotated[
    list[str],
    typer.Argument(metavar="LINE...", help="Lines as `approvals show` names them; or a day, for all of it."),
]
Why = Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait at most.")]


def register(group: typer.Typer) -> None:
    """Add the commands to ``trueup approvals``."""
    command(group, "show")(show)
    command(group, "hold")(hold)
    command(group, "move")(move)
    command(group, "write-down")(write_down)
    command(group, "transfer")(transfer)
    command(group, "amend")(amend)


@dataclass(frozen=True)
class Reviewed:
    """What is to be decided, with what stands behind it."""

    saga: str
    view: SagaView
    gate: StepView
    document: DocumentRow | None
    lines: Sequence[DocumentLine]


# --- show -------------------------------------------------------------------------------------------


async def show(session: Session, run: RunArg) -> Report:
    """Show one decision with its lines: what would be billed or credited, for how much."""
    found = await reviewed(session, run)
    gate = found.gate.gate
    assert gate is not None
    said = f"{gate.title}: {gate.amount or found.view.at_stake or 'no amount'}"
    parts: list[Table | str] = [saga_words.gate_text(found.view, found.gate)]
    row = found.document
    if row is not None and row.kind is DocumentKind.CREDIT:
        said += f", {count(len(row.proposal.parts) if row.proposal else 0, 'line')} to credit."
        parts += [_credit_table(row)]
    else:
        said += f", {count(len(found.lines), 'line')}."
        parts += line_parts(found.lines)
        if GateOutcome.AMEND in gate.options:
            parts.append(_how(found))
    data: dict[str, Any] = {
        "saga_id": found.saga,
        "revision": found.view.revision,
        "request": gate,
        "document": row,
        "lines": [line_facts(line, name) for line, name in named(found.lines)],
        "held": found.view.held,
    }
    return Report(said, data, parts)


def _credit_table(row: DocumentRow) -> Table:
    proposal = row.proposal
    rows: list[list[Value]] = [
        [part.item_key, words.hours(part.minutes), str(part.billed), part.proposed.value]
        for part in (proposal.parts if proposal else ())
    ]
    return Table(("item", "hours", "credited", "then, as proposed"), rows, title="Lines to credit")


def _how(found: Reviewed) -> str:
    line = named(found.lines)[0][1] if found.lines else "LINE"
    run = found.saga
    return "\n".join(
        [
            "Change lines before it is issued:",
            f'  trueup approvals hold {run} {line} --reason "..."',
            f'  trueup approvals move {run} {line} --until DAY --reason "..."',
            f'  trueup approvals write-down {run} {line} --amount AMOUNT --reason "..."',
            f'  trueup approvals transfer {run} {line} --to PROJECT --reason "..."',
        ]
    )


# --- edits ------------------------------------------------------------------------------------------


async def hold(
    session: Session, run: RunArg, lines: LinesArg, reason: Why = "", timeout: TimeoutOption = 60
) -> Report:
    """Take lines off a draft and keep them back until somebody lets them go. Needs --reason."""
    return await _edit(session, run, lines, LineAction.HOLD, reason, timeout)


async def move(
    session: Session,
    run: RunArg,
    lines: LinesArg,
    until: Annotated[str, typer.Option("--until", metavar="DAY", help="Billed again from this day on.")],
    reason: Why = "",
    timeout: TimeoutOption = 60,
) -> Report:
    """Move lines to a later cycle: they come back by themselves on --until. Needs --reason."""
    day = the_day(until, "day")
    return await _edit(session, run, lines, LineAction.MOVE, reason, timeout, until=day)


async def write_down(
    session: Session,
    run: RunArg,
    lines: LinesArg,
    amount: Annotated[
        str | None, typer.Option("--amount", help="How much of a line is given up; all of it by default.")
    ] = None,
    reason: Why = "",
    timeout: TimeoutOption = 60,
) -> Report:
    """Give up lines, or --amount of a line, before the invoice. Needs --reason."""
    given = _amount(amount) if amount is not None else None
    return await _edit(session, run, lines, LineAction.WRITE_DOWN, reason, timeout, amount=given)


async def transfer(
    session: Session,
    run: RunArg,
    lines: LinesArg,
    to: Annotated[str, typer.Option("--to", metavar="PROJECT", help="Project code they belong to.")],
    reason: Why = "",
    timeout: TimeoutOption = 60,
) -> Report:
    """Hold lines that belong to another project until their source is corrected. Needs --reason."""
    return await _edit(session, run, lines, LineAction.TRANSFER, reason, timeout, to=to)


async def amend(
    session: Session,
    run: RunArg,
    file: Annotated[Path, typer.Option("--file", help='JSON: {"decisions": [...]}, one per line.')],
    reason: Why = "",
    timeout: TimeoutOption = 60,
) -> Report:
    """Carry out many line decisions at once, from a JSON file."""
    try:
        edits = ReviewEdits.model_validate(json.loads(file.read_text(encoding="utf-8"), parse_float=Decimal))
    except ValidationError as wrong:
        first = wrong.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Complaint(f"{file}: {place}: {first['msg']}.", code=Exit.USAGE) from None
    except ValueError as wrong:
        raise Complaint(f"{file} is no JSON: {wrong}.", code=Exit.USAGE) from None
    found = await reviewed(session, run)
    return await _decide(session, found, edits.decisions, reason, timeout)


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount <= 0:
        raise Complaint(
            f"{text!r} is not an amount.", remedy="Write for example 150 or 149.50.", code=Exit.USAGE
        )
    return amount


async def _edit(
    session: Session,
    run: str,
    wanted: Sequence[str],
    action: LineAction,
    reason: str,
    timeout: float,
    *,
    amount: Decimal | None = None,
    until: date | None = None,
    to: str | None = None,
) -> Report:
    if not reason.strip():
        raise Complaint(f"{action.value.replace('_', '-')} needs --reason.", code=Exit.USAGE)
    found = await reviewed(session, run)
    lines = _chosen(found, wanted)
    if amount is not None and len(lines) != 1:
        raise Complaint("--amount fits one line; without it lines are given up whole.", code=Exit.USAGE)
    if until is not None and found.document is not None and until <= found.document.on:
        raise Complaint(
            f"{until.isoformat()} is not after this invoice's own day, {found.document.on.isoformat()}.",
            code=Exit.USAGE,
        )
    decisions = [
        LineDecision(
            allocation_key=line.allocation.key,
            action=action,
            reason=reason,
            amount=_part_of(line, amount) if amount is not None else None,
            until=until,
            to_project=to,
        )
        for line in lines
    ]
    return await _decide(session, found, decisions, reason, timeout)


def _part_of(line: DocumentLine, amount: Decimal) -> Money:
    whole = line.allocation.amount
    try:
        part = Money(amount=amount, currency=whole.currency, role=whole.role)
    except ValidationError as wrong:
        raise Complaint(f"{amount} is no amount: {wrong.errors()[0]['msg']}.", code=Exit.USAGE) from None
    if part.minor > abs(whole.minor):
        raise Complaint(f"The line is worth {whole}; no more than that can be given up.", code=Exit.USAGE)
    return part if whole.minor >= 0 else -part


def _chosen(found: Reviewed, wanted: Sequence[str]) -> list[DocumentLine]:
    chosen: dict[str, DocumentLine] = {}
    for text in wanted:
        fits = [
            line
            for line, name in named(found.lines)
            if text in (name, line.allocation.key, line.item.key, line.item.source)
            or text == line.item.source.rsplit("/", 1)[-1]
            or text == line.item.work_date.isoformat()
        ]
        if not fits:
            raise Complaint(
                f"No line {text!r} is on this draft.",
                remedy="See its lines:",
                command=f"trueup approvals show {found.saga}",
                code=Exit.USAGE,
            )
        chosen |= {line.allocation.key: line for line in fits}
    return list(chosen.values())


async def _decide(
    session: Session, found: Reviewed, decisions: Sequence[LineDecision], reason: str, timeout: float
) -> Report:
    """Give the edits to the run, wait for the draft as it is then, and show what became of its money."""
    gate = found.gate.gate
    assert gate is not None
    if GateOutcome.AMEND not in gate.options:
        possible = ", ".join(option.value for option in gate.options)
        raise Complaint(f"{gate.title}: lines cannot be changed here; possible: {possible}.", code=Exit.USAGE)
    await update(
        session,
        found.saga,
        OpportunityToProject.decide,
        GateDecision(
            command_id=command_id(),
            step=found.gate.id,
            outcome=GateOutcome.AMEND,
            actor=session.actor,
            reason=reason or decisions[0].reason,
            amendment=ReviewEdits(decisions=tuple(decisions)).model_dump(mode="json"),
        ),
    )
    said = f"{count(len(decisions), 'line')} changed on {gate.title[:1].lower()}{gate.title[1:]}"
    asked = found.gate.id

    def done(view: SagaView) -> bool:
        again = any(step.id != asked for step in view.gates)
        return view.status.is_final or bool(view.parked_steps) or again

    with session.working(f"Changing the draft of {found.saga}") as progress:
        seen = await follow(await session.client(), found.saga, timeout, progress, done)
    if seen.view is None or not seen.settled:
        raise Complaint(
            f"{said}, and the draft was not ready again within {timeout:g} s; it goes on by itself.",
            command=f"trueup show {found.saga}",
        )
    view, before = seen.view, gate.amount
    after = view.gates[0].gate if view.gates else None
    data = {"saga_id": found.saga, "decisions": list(decisions), "before": before, "saga": view}
    if view.parked_steps or after is None:
        code = saga_words.exit_code(view)
        return Report(f"{said}. {saga_words.sentence(view)}", data, [*saga_words.trouble(view)], code)
    return Report(
        f"{said}: {before} before, {after.amount} now; it waits for approval.",
        {**data, "after": after.amount},
        [f"  trueup approvals show {found.saga}\n  trueup approvals approve {found.saga}"],
    )


# --- finding ----------------------------------------------------------------------------------------


async def find_run(session: Session, text: str) -> str:
    """The run that a person means: by its id or its end, its invoice or credit, or its billing group.

    Raises:
        Complaint: none or several.
    """
    ledger = await session.ledger()
    row = await ledger.document(text)
    if row is not None:
        return row.saga_id
    open_ = [one for one in DocumentState if one.is_open]
    found = {one.saga_id for one in await ledger.documents(group_key=text, states=open_)}
    if len(found) == 1:
        return found.pop()
    otherwise = Complaint(
        f"No saga, deal, invoice or billing group {text!r} is known.",
        remedy="List what waits for a decision:",
        command="trueup approvals",
    )
    return await sagas.find(session, text, otherwise)


async def reviewed(session: Session, text: str) -> Reviewed:
    """What a run asks to be decided, with the document's lines.

    Raises:
        Complaint: it asks for nothing, or nobody answers.
    """
    saga = await find_run(session, text)
    view = await live(session, saga)
    gates = [step for step in view.gates if step.gate is not None]
    if not gates:
        raise Complaint(
            f"{saga_words.sentence(view)} It asks for no decision.", command=f"trueup show {saga}"
        )
    row = await _document(await session.ledger(), saga)
    lines: Sequence[DocumentLine] = ()
    if row is not None and row.kind is DocumentKind.INVOICE:
        lines = await (await session.ledger()).document_lines(row.key)
    return Reviewed(saga, view, gates[0], row, lines)


async def _document(ledger: Ledger, saga: str) -> DocumentRow | None:
    rows = await ledger.documents(saga_id=saga, states=[one for one in DocumentState if one.is_open])
    return rows[-1] if rows else None
