"""Undo of any step in any connected system."""

from __future__ import annotations

from temporalio import activity

from activities.contracts import EffectActivities, UndoStep, UndoStepResult
from activities.failures import guarded
from activities.writing import Writing


class EffectActivitiesOver(Writing, EffectActivities):
    """Undoes through the effect executor, on the system's own queue."""

    @activity.defn(name="effects.undo_step")
    @guarded
    async def undo_step(self, command: UndoStep) -> UndoStepResult:
        """Undo whatever carries the step's keys."""
        system = await self.systems.writer(command.system, self.digest(command.saga, command.system))
        return await self.effects.undo_step(system, command.step_key, saga=command.saga)
