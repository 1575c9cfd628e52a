"""The saga's live details for the Web UI, in Markdown: headline, steps, failure, the command to type."""

from __future__ import annotations

from collections.abc import Mapping

from canonical.refs import RecordRef
from canonical.saga import GateOutcome, GateRequest, SagaStatus, SagaView, StepState, StepView
from workflows.figures import counted, share

_MARK: Mapping[StepState, str] = {
    StepState.DONE: "✔",
    StepState.SKIPPED: "↷",
    StepState.RUNNING: "▶",
    StepState.WAITING: "…",
    StepState.GATED: "?",
    StepState.PARKED: "✘",
    StepState.UNDOING: "↶",
    StepState.UNDONE: "↶",
    StepState.UNDO_BLOCKED: "✘",
    StepState.PENDING: "·",
}


def details(view: SagaView) -> str:
    """The whole panel."""
    # What is asked of the reader comes first: the panel shows some twenty lines without scrolling.
    parts = [f"## {_plain(view.headline)}", _facts(view)]
    parts += [_trouble(view, step) for step in view.parked_steps]
    parts += [_question(view, step) for step in view.gates]
    parts += [
        f"**Waiting for {step.system}**: {_plain(step.failure.message)} It goes on by itself."
        for step in view.steps
        if step.state is StepState.WAITING and step.failure
    ]
    parts.append(_figures(view))
    parts.append(_steps(view))
    return "\n\n".join(part for part in parts if part)


def commands(view: SagaView, step: StepView) -> list[str]:
    """What an operator may type about a parked step, most likely first."""
    base = f"trueup resolve {view.saga_id} {step.id}"
    lines = [f"{base} --retry"]
    if step.state is StepState.UNDO_BLOCKED:
        return [*lines, f'{base} --skip --reason "handled by hand: ..."']
    lines.append(f"{base} --amend FILE.json")
    if step.can_skip:
        lines.append(f'{base} --skip --result FILE.json --reason "..."')
    if not view.pivot_passed:
        lines.append(f'{base} --undo-all --reason "..."')
    return lines


def _facts(view: SagaView) -> str:
    facts = [f"**Status** {STATUS_WORDS[view.status]}"]
    if view.codes:
        facts.append("**Project code** " + ", ".join(view.codes.values()))
    if view.at_stake:
        facts.append(f"**{'Value' if view.status is SagaStatus.COMPLETE else 'At stake'}** {view.at_stake}")
    if view.parked_since:
        facts.append(f"**Since** {view.parked_since:%Y-%m-%d %H:%M} UTC")
    return " · ".join(facts)


def _figures(view: SagaView) -> str:
    """Items and money by state, what is held and why, and the speed against what the vendor allows."""
    rows = [f"- {_plain(one.state)} · {_plain(counted(one))}" for one in view.tallies if one.items]
    held = [
        f"- **{one.cause.value}** · {one.queue.value} · {_plain(counted(one.tally))}" for one in view.held
    ]
    parts = [_progress(view), _rate(view)]
    parts += ["### Items\n" + "\n".join(rows)] if rows else []
    parts += [f"### Held\n{chr(10).join(held)}\n\n{_LET_GO}"] if held else []
    return "\n\n".join(part for part in parts if part)


def _progress(view: SagaView) -> str:
    """How far a run over many items is, while it goes on."""
    done, known = share(view)
    if not known or view.status.is_final:
        return ""
    filled = done * BAR // known
    bar = "▰" * filled + "▱" * (BAR - filled)
    return f"**Progress** {bar} {done * 100 // known} % · {done:,} of {known:,} lines posted or held"


def _rate(view: SagaView) -> str:
    rate = view.rate
    if rate is None:
        return ""
    return (
        f"**Rate** {rate.lines_per_second:,.0f} lines/s · {rate.calls_in_flight:.1f} of {rate.limit} "
        f"calls in flight at {rate.system}"
    )


BAR = 20
"""Characters of the bar."""
_LET_GO = "Repaired? `trueup resolve --cause CODE` shows what would post, then lets it go."


def _steps(view: SagaView) -> str:
    """A list, not a table: the Web UI leaves no space between a table's columns."""
    rows = ["### Steps"]
    for step in view.steps:
        words = [f"{_MARK[step.state]} {_plain(step.title)}"]
        if step.system and step.system not in step.title:
            words.append(step.system)
        if step.state is not StepState.DONE:
            words.append(f"**{step.state.value}**")
        if step.note:
            words.append(_plain(step.note))
        words += [", ".join(_record(ref) for ref in step.records)] if step.records else []
        rows.append("- " + " · ".join(words))
    return "\n".join(rows) if view.steps else ""


def _trouble(view: SagaView, step: StepView) -> str:
    failure = step.failure
    if failure is None:
        return ""
    lines = [f"### {_plain(step.title)}: {failure.cause.value}"]
    if failure.message not in view.headline:
        lines.append(_plain(failure.message))
    if len(failure.findings) > 1:
        lines += [
            f"- **{finding.cause.value}** {_plain(finding.message)} *{_plain(finding.remedy)}*"
            for finding in failure.findings
        ]
    if failure.record:
        lines.append(f"Record: {_record(failure.record)}")
    if failure.remedy and len(failure.findings) < 2:
        lines.append(f"**Remedy:** {_plain(failure.remedy)}")
    if failure.survivors:
        lines.append("Still there: " + ", ".join(_record(ref) for ref in failure.survivors))
    lines.append(f"Queue **{failure.queue.value}**. Then type one of:")
    lines.append("```\n" + "\n".join(commands(view, step)) + "\n```")
    return "\n\n".join(lines)


def _question(view: SagaView, step: StepView) -> str:
    gate = step.gate
    if gate is None:
        return ""
    figures = "\n".join(f"- {name}: {_plain(value)}" for name, value in gate.figures.items())
    choices = "\n".join(f"- `{value}`: {_plain(text)}" for value, text in gate.choices.items())
    pick = " --choice VALUE" if gate.choices else ""
    return "\n\n".join(
        part
        for part in (
            f"### Decision: {_plain(gate.title)}",
            _plain(gate.question),
            figures,
            choices,
            f"Who: {', '.join(gate.roles)}."
            + (
                f" Until {gate.deadline:%Y-%m-%d %H:%M} UTC; then: {gate.on_deadline}."
                if gate.deadline
                else ""
            ),
            "```\n" + "\n".join(_decisions(view, step, gate, pick)) + "\n```",
        )
        if part
    )


def _decisions(view: SagaView, step: StepView, gate: GateRequest, pick: str) -> list[str]:
    base = "trueup approvals"
    lines = [f"{base} approve {view.saga_id} {step.id}{pick}"]
    if GateOutcome.AMEND in gate.options:
        lines = [f"{base} show {view.saga_id}   # its lines; hold, move, write-down, transfer", *lines]
    return [*lines, f'{base} reject {view.saga_id} {step.id} --reason "..."']


def _record(ref: RecordRef) -> str:
    label = f"{ref.type} {ref.id}"
    return f"[{label}]({ref.url})" if ref.url else label


def _plain(text: str) -> str:
    """A vendor's or a client's words without power over the page: Markdown and HTML made harmless."""
    for char in "\\`*_[]<>|#":
        text = text.replace(char, "\\" + char)
    return text.replace("\n", " ")


STATUS_WORDS: Mapping[SagaStatus, str] = {
    SagaStatus.RUNNING: "in progress",
    SagaStatus.WAITING: "waiting for a system, goes on by itself",
    SagaStatus.GATED: "waiting for a decision",
    SagaStatus.PARKED: "parked: needs a repair",
    SagaStatus.UNDOING: "being undone",
    SagaStatus.UNDO_BLOCKED: "undo blocked: needs a person",
    SagaStatus.COMPLETE: "complete",
    SagaStatus.STOPPED: "stopped: what is done stays",
    SagaStatus.UNDONE: "undone: nothing of it remains",
    SagaStatus.FAILED: "ended before the first write",
    SagaStatus.PLANNED: "planned, nothing written",
}
