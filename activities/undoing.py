"""How a step's writes are undone: forbid later sends, wait out, look, undo, record."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from activities.contracts import SagaRef, UndoStepResult
from activities.performing import Performing
from canonical.causes import Cause
from canonical.failures import (
    OutcomeUnknown,
    SystemFailure,
)
from canonical.writes import UndoOutcome, UndoResult, WriteKind
from connectors.ports import Writer
from ledger.rows import ClaimState, EffectRow, EffectState

SECOND_LOOKS = 3
"""How often an undo looks again for a late commit before it says that a person must look."""


class Undoing(Performing):
    """Undoes whatever a step left behind; nothing there is done."""

    async def undo_step(self, system: Writer, step_key: str, *, saga: SagaRef) -> UndoStepResult:
        """Undo whatever a step left behind, newest first; nothing there is done.

        Raises:
            SystemFailure: with the records that survive.
        """
        rows = await self.ledger.tombstone(step_key, saga_id=saga.saga_id, actor=saga.actor)
        words: list[str] = []
        gaps: list[str] = []
        shared: set[str] = set()
        for row in rows:
            if row.state is EffectState.UNDONE or row.forward_only:
                continue
            if row.shared is None:
                await self._undo_one(system, row, saga, words, gaps)
                continue
            if row.shared in shared:
                continue
            shared.add(row.shared)
            await self._wait_out(row)
            released = await self.ledger.release_hold(row.shared, saga.saga_id, step_key)
            for effect in released.effects:
                await self._undo_one(system, effect, saga, words, gaps)
            if not released.effects:
                words.append(f"{row.title}: let go, {await self._why_kept(row.shared, saga, released.last)}")
        return UndoStepResult(done=tuple(words), gaps=tuple(gaps))

    async def take_back_superseded(
        self, system: Writer, step_key: str, keep: Collection[str], *, saga: SagaRef
    ) -> None:
        """Undo what an earlier input of a step made and the present one, just performed, has no place for.

        Records that sagas share are never among them.

        Args:
            system: where they are.
            step_key: the step.
            keep: keys of the writes that the step consists of now.
            saga: on whose behalf.

        Raises:
            SystemFailure: with the records that survive.
        """
        rows = (await self.ledger.effects(step_key=step_key, limit=1000)).rows
        for row in reversed(rows):
            ours = row.step_key == step_key and row.shared is None and row.state is not EffectState.UNDONE
            if ours and row.write.kind is WriteKind.CREATE and row.key not in keep:
                await self._undo_one(system, row, saga, [], [])

    async def _why_kept(self, shared: str, saga: SagaRef, last: bool) -> str:
        if last:
            return "it was there before us"
        others = set(await self.ledger.holders(shared)) - {saga.saga_id}
        return "another saga relies on it" if others else "the saga's other steps still rely on it"

    async def _undo_one(
        self, system: Writer, row: EffectRow, saga: SagaRef, words: list[str], gaps: list[str]
    ) -> None:
        await self._wait_out(row)
        row = await self.ledger.undoing(row.key)
        try:
            outcome = await self._undo_at_vendor(system, row)
        except SystemFailure as error:
            survivors = (row.record,) if row.record else ()
            error.failure = error.failure.model_copy(
                update={"survivors": survivors, "key": row.key, "maybe_landed": True}
            )
            await self.ledger.undo_failed(row.key, error.failure)
            raise
        await self.ledger.undone(row.key, outcome, actor=saga.actor)
        words.append(f"{row.title}: {outcome.result.value.replace('_', ' ')}")
        if outcome.gap:
            gaps.append(outcome.gap)

    async def _undo_at_vendor(self, system: Writer, row: EffectRow) -> UndoOutcome:
        if row.created_by_us is False:
            return UndoOutcome(result=UndoResult.RELEASED, ref=row.record)
        if row.write.kind is WriteKind.UPDATE and not row.write.restore:
            # Nothing is put back: what was changed goes with its record, or does no harm.
            return UndoOutcome(result=UndoResult.RELEASED, ref=row.record)
        if row.landed is None and not row.maybe_landed:
            return UndoOutcome(result=UndoResult.NOTHING_THERE)
        if row.landed is None:
            # Sent and never answered: the vendor gets its whole call before we say that nothing is there.
            await self._until(row.deadline)
        landed = row.landed or await self._look(system, row.write, ClaimState.LOOK)
        outcome = UndoOutcome(result=UndoResult.NOTHING_THERE)
        if landed is not None:
            outcome = await system.undo(row.write, landed, row.before)
        if row.landed is not None or row.write.kind is WriteKind.UPDATE:
            return outcome
        # Nobody ever saw the answer: a slow vendor may still commit. Look again before saying it is gone.
        for _ in range(SECOND_LOOKS):
            await self._sleep(row.write.settle_seconds)
            late = await system.find(row.write)
            if late is None or outcome.result is UndoResult.INACTIVATED:
                return outcome
            outcome = await system.undo(row.write, late, row.before)
        raise OutcomeUnknown(
            f"{row.title}: keeps coming back after its undo.", system=row.system, cause=Cause.UNDO_BLOCKED
        )

    async def _wait_out(self, row: EffectRow) -> None:
        """Let an attempt that may still be sending run out of its lease."""
        if row.in_flight_until is not None:
            await self._until(row.in_flight_until)

    async def _until(self, moment: datetime) -> None:
        await self._sleep(max(0.0, (moment - self._now()).total_seconds()))
