"""Waiting for systems and for people: pauses, parking, decisions, and the operators' commands."""

from __future__ import annotations

from collections.abc import Mapping

from temporalio import workflow

from canonical.failures import Failure, FailureKind
from canonical.saga import (
    GateDecision,
    RepairCommand,
    SagaView,
    StepState,
)
from workflows import desk
from workflows.kernel.books import Books
from workflows.kernel.core import growing_pause, result_type
from workflows.state import StepRecord

COMMANDS_KEPT = 100
"""Operator command ids remembered for idempotency; a saga never sees that many."""


UNKNOWN_ROUNDS = 8
"""Waits for an outcome that stays unknown before a person is asked: with the standard pauses some ten
minutes, longer than most outages. Every new try looks before it sends, so waiting is safe."""


class Waiting(Books):
    """Waits with a status that every surface shows."""

    @staticmethod
    def _passes(record: StepRecord, failure: Failure) -> bool:
        """Whether to wait and try again without asking anybody."""
        # Only its own rounds count: after a long outage the first unknown outcome is the first one.
        unknown = failure.kind is FailureKind.UNKNOWN_OUTCOME and record.unknown_rounds < UNKNOWN_ROUNDS
        return failure.kind.passes_by_itself or unknown

    async def _wait(self, record: StepRecord, failure: Failure) -> None:
        """Pause for a passing reason, then let the caller try again."""
        pause = growing_pause(self.start.timings, record.rounds)
        pause = max(pause * (0.5 + workflow.random().random() / 2), float(failure.retry_after_seconds or 0))
        first = record.rounds == 0
        record.rounds += 1
        record.unknown_rounds += failure.kind is FailureKind.UNKNOWN_OUTCOME
        record.state = StepState.WAITING
        if first:
            record.waiting_since = workflow.now()
            self._changed(f"Waiting for {record.system or 'the ledger'}: {failure.message}")
            self._open_case(record, failure, transient=True)
        await self._pause(self._stop_wanted, pause, f"{record.id}: try again")
        if self._stop_wanted():
            record.state = StepState.PENDING
            self._close_case(record, "the saga was stopped")
        self._check_stop()

    def _park(self, record: StepRecord, failure: Failure, state: StepState = StepState.PARKED) -> None:
        record.state, record.failure, record.waiting_since = state, failure, workflow.now()
        # The status is set before the case is written, so a ledger outage cannot block it.
        self._changed(f"{record.title}: {failure.message}")
        self._open_case(record, failure, transient=False)

    async def _await_repair(self, record: StepRecord) -> RepairCommand:
        while record.id not in self._repairs:
            answered = await self._pause(
                lambda: record.id in self._repairs or self._stop_wanted(),
                self.start.timings.gate_reminder,
                f"{record.id}: waiting for a repair",
            )
            if record.id not in self._repairs and self._stop_wanted():
                self._human_time(record)
                record.state = StepState.PENDING
                self._close_case(record, "the saga was stopped")
                self._check_stop()
            if not answered:
                self._remind(record, f"still parked: {record.title}")
        self._human_time(record)
        return self._repairs.pop(record.id)

    async def _await_decision(self, record: StepRecord) -> GateDecision:
        while record.id not in self._decisions:
            answered = await self._pause(
                lambda: record.id in self._decisions or self._stop_wanted(),
                self.start.timings.gate_reminder,
                f"{record.id}: waiting for a decision",
            )
            if record.id not in self._decisions and self._stop_wanted():
                self._human_time(record)
                record.state = StepState.PENDING
                self._check_stop()
            if not answered:
                self._remind(record, f"decision overdue: {record.title}")
        return self._decisions.pop(record.id)

    def check_repair(self, command: RepairCommand, roles: Mapping[str, tuple[str, ...]]) -> None:
        """Refuse a repair that makes no sense (``workflows.desk``)."""
        pending = command.step in self._repairs
        current, method = self._commands.get(command.step, (None, None))
        result = None if method is None else result_type(method)
        desk.check_repair(
            self.state,
            command,
            roles,
            pending=pending,
            current=current,
            result_type=result,
            nature=self.nature,
        )

    def repair(self, command: RepairCommand) -> SagaView:
        """Take a checked repair; the waiting step acts on it."""
        if self._first_time(command.command_id):
            self._repairs[command.step] = command
        return self.state.view()

    def check_decision(self, decision: GateDecision) -> None:
        """Refuse a decision that makes no sense (``workflows.desk``)."""
        desk.check_decision(self.state, decision, self._amendable.get(decision.step))

    def decide(self, decision: GateDecision) -> SagaView:
        """Take a checked decision."""
        if self._first_time(decision.command_id):
            self._decisions[decision.step] = decision
        return self.state.view()

    def renew(self) -> SagaView:
        """Continue as new at the next quiet moment: moves a parked saga to current code."""
        self._renew = True
        return self.state.view()

    def _first_time(self, command_id: str) -> bool:
        if command_id in self.state.commands_seen:
            return False
        self.state.commands_seen = [*self.state.commands_seen, command_id][-COMMANDS_KEPT:]
        return True
