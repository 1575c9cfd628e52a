"""A saga in words and tables: the same on every command that shows one."""

from __future__ import annotations

from canonical.failures import Failure
from canonical.names import saga_parts
from canonical.saga import GateOutcome, SagaStatus, SagaView, StepState, StepView
from cli.billing import words as billing
from cli.output import Exit, Table, Value, age, count, record
from workflows.details import STATUS_WORDS, commands

MARK = {
    StepState.DONE: "ok",
    StepState.SKIPPED: "skipped",
    StepState.RUNNING: "running",
    StepState.WAITING: "waiting",
    StepState.GATED: "decide!",
    StepState.PARKED: "PARKED",
    StepState.UNDOING: "undoing",
    StepState.UNDONE: "undone",
    StepState.UNDO_BLOCKED: "BLOCKED",
    StepState.PENDING: "",
}


def deal_of(view: SagaView) -> str:
    """The deal's id in its CRM."""
    return saga_parts(view.saga_id)[3]


def subject(view: SagaView) -> str:
    """What a saga is about."""
    return billing.subject(view.saga_id) if billing.is_billing(view.saga_id) else f"Deal {deal_of(view)}"


def sentence(view: SagaView) -> str:
    """Where the saga stands, as a manager reads it."""
    if billing.is_billing(view.saga_id):
        return billing.sentence(view)
    deal, done = deal_of(view), sum(step.state is StepState.DONE for step in view.steps)
    stake = f", {view.at_stake} at stake" if view.at_stake else ""
    match view.status:
        case SagaStatus.COMPLETE:
            codes = ", ".join(view.codes.values())
            what = f"is set up: project code {codes}" if codes else "is complete; it needs no project"
            return f"Deal {deal} {what}."
        case SagaStatus.PARKED | SagaStatus.UNDO_BLOCKED:
            stuck = ", ".join(f"'{step.title}'" for step in view.parked_steps) or "a step"
            queue = f"; {view.queue.value} acts" if view.queue else ""
            since = f" for {age(view.parked_since)}" if view.parked_since else ""
            what = (
                "is parked"
                if view.status is SagaStatus.PARKED
                else "cannot be undone completely, it is stuck"
            )
            return f"Deal {deal} {what} at {stuck}{since}{stake}{queue}."
        case SagaStatus.GATED:
            asked = ", ".join(step.gate.title for step in view.gates if step.gate) or "a gate"
            return f"Deal {deal} waits for a decision: {asked}{stake}."
        case SagaStatus.UNDONE:
            return f"Deal {deal} was undone; nothing of it remains. {_why(view)}".strip()
        case SagaStatus.FAILED:
            return f"Deal {deal} was not set up and nothing was written. {_why(view)}".strip()
        case SagaStatus.WAITING:
            return f"Deal {deal} waits for a connected system and goes on by itself{stake}."
    return f"Deal {deal} is {STATUS_WORDS[view.status]}: {count(done, 'step')} done so far{stake}."


def _why(view: SagaView) -> str:
    text = view.headline
    for known in ("Undone: nothing of it remains.", "Not started: nothing was written."):
        text = text.removeprefix(known)
    return text.strip()


def exit_code(view: SagaView) -> int:
    """What a command that waited for the saga exits with."""
    match view.status:
        case SagaStatus.COMPLETE | SagaStatus.PLANNED:
            return Exit.DONE
        case SagaStatus.PARKED | SagaStatus.UNDO_BLOCKED | SagaStatus.GATED:
            return Exit.PARKED
        case SagaStatus.UNDONE | SagaStatus.STOPPED:
            return Exit.UNDONE
    return Exit.FAILED


def step_table(view: SagaView) -> Table:
    """All steps with the records they made."""
    rows: list[list[Value]] = []
    undone = {step.id for step in view.steps if step.state is StepState.UNDONE}
    for step in view.steps:
        gone = undo_step(step.id) in undone
        records: list[Value] = [
            f"{ref.type} {ref.id}, undone" if gone else record(ref) for ref in step.records
        ] or [""]
        mark = MARK[StepState.UNDONE if gone else step.state]
        rows.append([mark, step.id, step.title, step.system, records[0], step.note])
        # One row per record, so that every record keeps its own link.
        rows += [["", "", "", "", one, ""] for one in records[1:]]
    return Table(("", "step", "what", "system", "record", "note"), rows)


def undo_step(step: str) -> str:
    """Id under which the kernel shows a step's undo."""
    return f"undo.{step}"


def trouble(view: SagaView) -> list[str]:
    """Per parked, waiting and gated step: what is wrong, who acts, what to type."""
    parts = [failure_text(view, step) for step in view.parked_steps if step.failure]
    parts += [
        f"{step.title}: waiting for {step.system or 'the ledger'}, goes on by itself. {step.failure.message}"
        for step in view.steps
        if step.state is StepState.WAITING and step.failure
    ]
    return parts + [gate_text(view, step) for step in view.gates if step.gate]


def failure_text(view: SagaView, step: StepView) -> str:
    """One parked step: failure, findings, remedy, commands."""
    failure = step.failure
    assert failure is not None
    lines = [f"{step.title} ({step.id}): {failure.cause.value}", *failure_lines(failure)]
    lines += ["What to type:", *(f"  {line}" for line in commands(view, step))]
    return "\n".join(lines)


def failure_lines(failure: Failure) -> list[str]:
    """What happened, to which record, who acts, how."""
    lines = [f"  {failure.message}"]
    for finding in failure.findings:
        place = f" [{finding.record.url or finding.record}]" if finding.record else ""
        field = f" ({finding.field})" if finding.field else ""
        lines.append(f"  - {finding.cause.value}: {finding.message}{field}{place}")
        lines.append(f"    {finding.queue.value}: {finding.remedy}")
    if failure.record and not failure.findings:
        lines.append(f"  Record: {failure.record.url or failure.record}")
    if failure.survivors:
        lines.append("  Still there: " + ", ".join(ref.url or str(ref) for ref in failure.survivors))
    if failure.remedy and not failure.findings:
        lines.append(f"  {failure.queue.value}: {failure.remedy}")
    if failure.vendor_code or failure.vendor_request_id:
        facts = (failure.status, failure.vendor_code, failure.vendor_request_id)
        lines.append("  The system's words for it: " + ", ".join(str(fact) for fact in facts if fact))
    return lines


def gate_text(view: SagaView, step: StepView) -> str:
    """One open decision: question, figures, who, until when, commands."""
    gate = step.gate
    assert gate is not None
    lines = [f"{gate.title} ({step.id}): {gate.question}"]
    lines += [f"  {name}: {value}" for name, value in gate.figures.items()]
    lines += [f"  choice {value}: {text}" for value, text in gate.choices.items()]
    until = f" until {gate.deadline:%Y-%m-%d %H:%M}Z; then: {gate.on_deadline}" if gate.deadline else ""
    lines.append(f"  Who may decide: {', '.join(gate.roles)}{until}.")
    pick = " --choice VALUE" if gate.choices else ""
    base = f"{view.saga_id} {step.id}"
    if gate.requester:
        lines.append(f"  Asked by {gate.requester}, who may not decide it.")
    lines += ["What to type:", f"  trueup approvals approve {base}{pick}"]
    if GateOutcome.AMEND in gate.options:
        lines.append(f"  trueup approvals show {view.saga_id}   (its lines; hold, move or write them down)")
    lines.append(f'  trueup approvals reject {base} --reason "..."')
    return "\n".join(lines)


def records_of(step: StepView) -> str:
    """A step's records on one line."""
    return ", ".join(f"{ref.type} {ref.id}" for ref in step.records)
