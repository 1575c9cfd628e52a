"""The repair desk: which operator commands make sense now. Refusals are one clear line for the dialog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from temporalio.exceptions import ApplicationError

from canonical.saga import Actor, GateDecision, GateOutcome, RepairAction, RepairCommand, StepState
from workflows.kernel.nature import Nature, OnCancel
from workflows.state import SagaState

M = TypeVar("M", bound=BaseModel)

FIXED = frozenset({"saga", "step", "system"})
"""Input fields that no repair may change: they make up the step's identity."""


def check_repair(
    state: SagaState,
    command: RepairCommand,
    roles: Mapping[str, tuple[str, ...]],
    *,
    pending: bool,
    current: BaseModel | None,
    result_type: Any,
    nature: Nature,
) -> None:
    """Refuse a repair that makes no sense.

    Args:
        state: the saga's state.
        command: what the operator wants.
        roles: roles that may repair, by exception queue; an absent queue allows anybody.
        pending: a decision about this step is already being carried out.
        current: the parked step's input, without amendments.
        result_type: the parked step's result type.
        nature: what kind of saga it is.

    Raises:
        ApplicationError: one line saying why.
    """
    if command.command_id in state.commands_seen:
        return
    record = state.step(command.step)
    if record is None or record.state not in (StepState.PARKED, StepState.UNDO_BLOCKED):
        stuck = ", ".join(step.id for step in state.view().parked_steps) or "none"
        raise refuse(f"Step {command.step!r} is not parked; parked now: {stuck}.")
    if pending:
        raise refuse(f"Step {command.step!r} already has a decision that is being carried out.")
    if command.expected_revision not in (None, state.revision):
        raise refuse(
            f"The saga has changed since you looked (revision {state.revision}, "
            f"you saw {command.expected_revision}); look again."
        )
    queue = record.failure.queue.value if record.failure else ""
    _check_role(command.actor, roles.get(queue, ()), f"repairs in queue {queue}")
    undoing = record.state is StepState.UNDO_BLOCKED
    if command.action in (RepairAction.SKIP, RepairAction.UNDO_ALL) and not command.reason:
        raise refuse(f"{command.action.value} needs a reason.")
    if undoing and command.action not in (RepairAction.RETRY, RepairAction.SKIP):
        raise refuse("While undoing, a step can only be retried or skipped.")
    if command.action is RepairAction.UNDO_ALL and state.pivot_passed:
        raise refuse(nature.point_of_no_return)
    if command.action is RepairAction.UNDO_ALL and nature.on_cancel is OnCancel.STOP:
        raise refuse(f"What is done stays: stop it with `trueup cancel {state.saga_id}`.")
    if command.action is RepairAction.RETRY_AMENDED:
        _check_amendment(current, record.amended or {}, command.amended_input)
    if command.action is RepairAction.SKIP and not undoing:
        if result_type is None:
            raise refuse("This cannot be skipped: correct the data and retry, amend the input, or undo all.")
        try:
            TypeAdapter(result_type).validate_python(command.result)
        except ValidationError as bad:
            raise refuse(f"The result does not fit the step: {_brief(bad)}") from None


def check_decision(
    state: SagaState, decision: GateDecision, amendable: type[BaseModel] | None = None
) -> None:
    """Refuse a gate decision that makes no sense (rule 13: role, not the requester).

    Args:
        state: the saga's state.
        decision: what somebody decided.
        amendable: the form of an amendment, for gates that take one.

    Raises:
        ApplicationError: one line saying why.
    """
    if decision.command_id in state.commands_seen:
        return
    record = state.step(decision.step)
    if record is None or record.state is not StepState.GATED or record.gate is None:
        asked = ", ".join(step.id for step in state.view().gates) or "none"
        raise refuse(f"Step {decision.step!r} asks for no decision; open decisions: {asked}.")
    gate = record.gate
    if decision.outcome not in gate.options:
        raise refuse(f"Possible here: {', '.join(option.value for option in gate.options)}.")
    _check_role(decision.actor, gate.roles, gate.title)
    if gate.requester and gate.requester == decision.actor.name:
        raise refuse("Whoever asked for it may not decide it.")
    if gate.choices and decision.outcome is GateOutcome.APPROVE and decision.choice not in gate.choices:
        raise refuse(f"Choose one of: {', '.join(gate.choices)}.")
    if decision.outcome is GateOutcome.AMEND:
        if amendable is None:
            raise refuse("There is nothing to amend here.")
        try:
            amendable.model_validate(decision.amendment)
        except ValidationError as bad:
            raise refuse(f"The amendment does not fit: {_brief(bad)}") from None
    if decision.outcome in (GateOutcome.REJECT, GateOutcome.SEND_BACK) and not decision.reason:
        raise refuse(f"{decision.outcome.value} needs a reason.")


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: ``patch`` merged into ``target``; null removes."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def refuse(message: str) -> ApplicationError:
    """A refusal as the Web UI and the command line show it."""
    return ApplicationError(message, type="Refused", non_retryable=True)


def _check_amendment(
    current: BaseModel | None, earlier: dict[str, Any], patch: dict[str, Any] | None
) -> None:
    """The amended input must still be an input of the step: found here, not when it is used."""
    if not patch or current is None:
        raise refuse("Retry with amended input needs the amended input.")
    allowed = sorted(set(type(current).model_fields) - FIXED)
    if not set(patch) <= set(allowed):
        raise refuse(
            f"Amended input may set {', '.join(allowed) or 'nothing'}; got {', '.join(sorted(patch))}."
        )
    try:
        amend(current, merge_patch(earlier, patch))
    except ValidationError as bad:
        raise refuse(f"The amended input does not fit the step: {_brief(bad)}") from None


def amend(current: M, patch: dict[str, Any]) -> M:
    """A step's input with a merge patch applied.

    Raises:
        ValidationError: the result is not an input of the step.
    """
    return type(current).model_validate(merge_patch(current.model_dump(mode="json"), patch))


def _check_role(actor: Actor, roles: tuple[str, ...], what: str) -> None:
    if roles and not set(roles) & set(actor.roles):
        raise refuse(f"{actor} has not the role for {what}; needs one of {', '.join(roles)}.")


def _brief(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
