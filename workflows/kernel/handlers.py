"""What an operator can do to any saga: repair, decide, renew, look. Workflow classes inherit it."""

from __future__ import annotations

from temporalio import workflow

from activities.contracts import StartSaga
from canonical.names import EVENT_SIGNAL
from canonical.saga import GateDecision, RepairCommand, SagaView
from workflows.saga import Saga


class SagaHandlers:
    """Handlers of a workflow that holds a ``saga`` and its ``start``."""

    saga: Saga
    start: StartSaga

    @workflow.update(
        name="resolve_step",
        description="Repair a parked step. One JSON value: "
        '{"command_id": "any unique text", "step": "validate", "action": '
        '"retry | retry_amended | retry_current_mapping | skip | undo_all", '
        '"actor": {"name": "you"}, "reason": "why", "amended_input": {}, "result": {}}',
    )
    async def resolve_step(self, command: RepairCommand) -> SagaView:
        """Take an operator's decision about a parked step."""
        return self.saga.repair(command)

    @resolve_step.validator
    def _check_resolve_step(self, command: RepairCommand) -> None:
        self.saga.check_repair(command, self.start.repair_roles)

    @workflow.update(
        name="decide",
        description="Decide at a gate. One JSON value: "
        '{"command_id": "any unique text", "step": "gate.credit-review", "outcome": '
        '"approve | amend | reject | send_back", "actor": {"name": "you", "roles": ["credit-manager"]}, '
        '"reason": "why", "choice": null, "amendment": null}',
    )
    async def decide(self, decision: GateDecision) -> SagaView:
        """Take a decision at a gate."""
        return self.saga.decide(decision)

    @decide.validator
    def _check_decide(self, decision: GateDecision) -> None:
        self.saga.check_decision(decision)

    @workflow.update(name="renew", description="Continue as new on current code while parked. Takes nothing.")
    async def renew(self) -> SagaView:
        """Move a parked saga to current code."""
        return self.saga.renew()

    @workflow.signal(name=EVENT_SIGNAL, description="A received event, by its id in the inbox.")
    async def event(self, event: str) -> None:
        """Be told that something happened to the record.

        Nothing is done about it: the record is read at the start and again before activation, whatever was
        told. The history keeps which events there were.
        """

    @workflow.query(name="view", description="The saga's state: steps, records, failures, figures.")
    def view(self) -> SagaView:
        """The saga as every surface shows it."""
        return self.saga.state.view()
