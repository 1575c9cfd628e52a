"""Undo: everything registered, last first; what is blocked parks while the rest goes on."""

from __future__ import annotations

from temporalio.exceptions import ActivityError

from activities.contracts import (
    EffectActivities,
    LedgerActivities,
    LeftBehind,
    RecordDecision,
    UndoStep,
    UndoStepResult,
)
from activities.options import CallClass
from canonical.causes import Cause
from canonical.names import system_queue
from canonical.refs import RecordRef
from canonical.saga import (
    RepairAction,
    SagaStatus,
    StepKind,
    StepState,
)
from workflows.failure import PivotPassed, failure_of
from workflows.kernel.waiting import Waiting
from workflows.state import StepRecord, UndoEntry


class Unwinding(Waiting):
    """Undoes steps by their keys."""

    async def retract(self, *steps: str) -> None:
        """Undo these steps now, because the business no longer wants them; the saga goes on.

        Past the pivot (which a run that was reset learns here) they stay.
        """
        for entry in [entry for entry in reversed(self.state.undo) if entry.step in steps]:
            record = self._undo_record(entry)
            try:
                while not await self._undo(entry, record):
                    await self._await_any_repair([entry])
                    if self._is_undone(entry):
                        break
            except PivotPassed as passed:
                self._forward(passed)
                return
            record.id = f"retracted.{entry.step}"
            self.state.undo.remove(entry)
            self.state.steps = [step for step in self.state.steps if step.id != entry.step]

    async def _unwind(self) -> None:
        """Undo everything registered, last first. One that fails parks while the rest go on, except the
        steps it stands on: a vendor would refuse or only inactivate their records while it is there.
        """
        self._set_status(SagaStatus.UNDOING)
        while open_entries := [entry for entry in reversed(self.state.undo) if not self._is_undone(entry)]:
            blocked: list[UndoEntry] = []
            held: set[str] = set()
            for entry in open_entries:
                record = self._undo_record(entry)
                if entry.step in held:
                    record.note = "waits for what hangs on it"
                elif record.state is StepState.UNDO_BLOCKED or not await self._undo(entry, record):
                    blocked.append(entry)
                else:
                    continue
                held.update(entry.stands_on)
            if blocked:
                await self._await_any_repair(blocked)

    async def _undo(self, entry: UndoEntry, record: StepRecord) -> bool:
        """Undo one step; False when it is blocked and parked."""
        record.rounds = record.unknown_rounds = 0
        while True:
            if record.rounds == 0:
                record.state = StepState.UNDOING
            self._changed()
            command = UndoStep(
                saga=self.ref,
                step=entry.step,
                step_key=entry.step_key,
                system=entry.system,
                reason=self.state.original.message if self.state.original else "",
            )
            try:
                result: UndoStepResult = await self._call(
                    EffectActivities.undo_step, command, f"undo: {entry.title}", entry.queue, CallClass.UNDO
                )
            except ActivityError as error:
                failure = failure_of(error, system=entry.system, writes=True)
            else:
                record.state, record.failure = StepState.UNDONE, None
                record.records = ()
                record.note = "; ".join(result.done) or None
                self.state.gaps.extend(result.gaps)
                if record.case_open:
                    self._close_case(record, "resolved: undone")
                self._changed()
                return True
            if failure.cause is Cause.PIVOT_PASSED:
                raise PivotPassed(failure)
            record.failure = failure
            if self._passes(record, failure):
                await self._wait(record, failure)
                continue
            survivors = (*(failure.survivors or record.records), *self._held_back(entry))
            failure = failure.model_copy(update={"survivors": tuple(dict.fromkeys(survivors))})
            self._park(record, failure, StepState.UNDO_BLOCKED)
            return False

    def _held_back(self, entry: UndoEntry) -> list[RecordRef]:
        """Records of the steps that ``entry`` stands on: they stay as long as it does."""
        by_step = {one.step: one for one in self.state.undo}
        found: list[RecordRef] = []
        below = [by_step[step] for step in entry.stands_on if step in by_step]
        while below:
            one = below.pop()
            done = self.state.step(one.step)
            if done is not None and not self._is_undone(one):
                found += done.records
            below += [by_step[step] for step in one.stands_on if step in by_step]
        return found

    async def _await_any_repair(self, blocked: list[UndoEntry]) -> None:
        """Wait until a person has dealt with one blocked undo; then all blocked ones are tried again."""
        ids = [_undo_id(entry.step) for entry in blocked]
        while not any(id_ in self._repairs for id_ in ids):
            answered = await self._pause(
                lambda: any(id_ in self._repairs for id_ in ids),
                self.start.timings.gate_reminder,
                "undo blocked: waiting for a repair",
            )
            if not answered:
                self._remind(self._undo_record(blocked[0]), "undo still blocked")
        for entry in blocked:
            record = self._undo_record(entry)
            self._human_time(record)
            repair = self._repairs.pop(_undo_id(entry.step), None)
            if repair is not None:
                self._book(LedgerActivities.record_decision, RecordDecision(saga=self.ref, repair=repair))
                record.note = f"{repair.action.value} by {repair.actor}: {repair.reason}"
            if repair is not None and repair.action is RepairAction.SKIP:
                record.state, record.failure = StepState.SKIPPED, None
                self._close_case(record, f"handled by hand, says {repair.actor}: {repair.reason}")
            else:
                record.state = StepState.PENDING

    async def _find_left_behind(self) -> None:
        """Register the undo of what an earlier run of this saga did and this one, reset, has not got to yet.

        What it stands on nobody here knows, so it is taken to stand on everything before it.
        """
        left: LeftBehind = await self._execute_patiently(
            LedgerActivities.left_behind, self.ref, "what is there to be undone"
        )
        for one in left.steps:
            known = [entry.step for entry in self.state.undo]
            if one.step not in known:
                self.state.undo.append(
                    UndoEntry(
                        step=one.step,
                        step_key=one.step_key,
                        system=one.system,
                        queue=system_queue(one.system),
                        title=one.title,
                        stands_on=tuple(known),
                    )
                )

    def _forward(self, passed: PivotPassed) -> None:
        """Take up the business again: what this run took for undoable is past its pivot, as the ledger
        knows. The first undo finds that out, so nothing is undone yet.
        """
        begun = {_undo_id(entry.step) for entry in self.state.undo}
        self.state.steps = [step for step in self.state.steps if step.id not in begun]
        self.state.pivot_passed, self.state.unwinding = True, False
        self.state.original = self._stop = None
        self._changed(f"Not undone: {passed.failure.message}")

    def _undo_record(self, entry: UndoEntry) -> StepRecord:
        done = self.state.step(entry.step)
        record = self._record(
            _undo_id(entry.step), f"undo: {entry.title}", StepKind.COMPENSATABLE, entry.system
        )
        if record.state is StepState.PENDING and not record.records and done is not None:
            record.records = done.records
        return record

    def _is_undone(self, entry: UndoEntry) -> bool:
        record = self.state.step(_undo_id(entry.step))
        return record is not None and record.state in (StepState.UNDONE, StepState.SKIPPED)


def _undo_id(step: str) -> str:
    return f"undo.{step}"
