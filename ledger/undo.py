"""Undoing writes: tombstones first, then one effect after the other, newest first.

Order of an undo: ``tombstone`` the step; per effect wait until ``in_flight_until``, call ``undoing``, look,
undo at the vendor, call ``undone``. Shared effects go through ``release_hold`` before that.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, not_, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.causes import Cause
from canonical.failures import Conflict, Failure, Refused
from canonical.names import step_generation
from canonical.saga import Actor
from canonical.writes import UndoOutcome
from ledger.core import unbroken
from ledger.effect_rows import audit_entry, effect_row, known_effect
from ledger.outcomes import Outcomes
from ledger.rows import EffectRow, EffectState
from ledger.tables.effect import Effect
from ledger.tables.holder import Holder
from ledger.tables.project_closing import ProjectClosing
from ledger.tables.tombstone import Tombstone


class Undo(Outcomes):
    """Tombstones and the undoing of effects."""

    @unbroken
    async def tombstone(self, step_key: str, *, saga_id: str, actor: Actor) -> list[EffectRow]:
        """Forbid all later sends of a step and say what it may have left behind. Idempotent.

        Returns:
            The step's effects in every state, newest first, each with ``in_flight_until``; also shared
            ones that it holds without having made them.

        Raises:
            Refused: ``PIVOT_PASSED``: a write of the saga that only goes forward is done, or may be. A run
                that was reset to before its pivot does not know that it passed it; the ledger does.
        """
        async with self.transaction() as session:
            await self.lock(session, f"step:{step_key}")
            await self._before_the_pivot(session, step_key, saga_id)
            values: dict[str, Any] = {"step_key": step_key, "saga_id": saga_id, "at": self.now()}
            values["actor_id"] = await self._put_person(session, actor.name)
            await self.insert_ignore(session, Tombstone, values)
            held = select(Holder.shared_key).where(col(Holder.step_key) == step_key)
            query = select(Effect).where(
                or_(
                    col(Effect.step_key) == step_key,
                    col(Effect.attempt_step_key) == step_key,
                    col(Effect.shared).in_(held) & col(Effect.undone_at).is_(None),
                )
            )
            return [effect_row(row) for row in await session.exec(query.order_by(col(Effect.id).desc()))]

    @unbroken
    async def left_behind(self, saga_id: str, generation: int) -> dict[str, EffectRow]:
        """Steps of a saga that may have left something, by step key, with the first effect of each.

        In the order in which they were first claimed. Steps that a pivot's writes belong to are not among
        them, nor those of which all is undone or was certainly never sent.
        """
        held = select(Holder.shared_key).where(col(Holder.saga_id) == saga_id)
        query = select(Effect).where(
            or_(
                col(Effect.saga_id) == saga_id,
                col(Effect.attempt_saga_id) == saga_id,
                col(Effect.shared).in_(held),
            ),
            col(Effect.forward_only).is_(False),
            col(Effect.undone_at).is_(None),
            _may_be_there(),
        )
        async with self.reading() as session:
            rows = list(await session.exec(query.order_by(col(Effect.id))))
            holds = select(Holder).where(col(Holder.saga_id) == saga_id).order_by(col(Holder.id))
            steps = [(row.shared_key, row.step_key) for row in await session.exec(holds)]
        found: dict[str, EffectRow] = {}
        for row in rows:
            own = {row.step_key, row.attempt_step_key} if row.shared is None else set()
            for key in sorted(own | {step for shared, step in steps if shared == row.shared}):
                if key.startswith(f"{saga_id}|g{generation}|"):
                    found.setdefault(key, effect_row(row))
        return found

    async def _before_the_pivot(self, session: AsyncSession, step_key: str, saga_id: str) -> None:
        query = select(Effect).where(
            col(Effect.saga_id) == saga_id,
            col(Effect.forward_only).is_(True),
            col(Effect.generation) == step_generation(step_key),
            _may_be_there(),
        )
        passed = (await session.exec(query.order_by(col(Effect.id)).limit(1))).first()
        agreed = select(ProjectClosing).where(
            or_(col(ProjectClosing.saga_id) == saga_id, col(ProjectClosing.reopen_saga_id) == saga_id)
        )
        if (await session.exec(agreed.limit(1))).first() is not None:
            # Their pivot is the agreement itself: it is no vendor's write.
            raise Refused(
                "The closing or re-opening is agreed; from there on the saga only goes forward.",
                cause=Cause.PIVOT_PASSED,
                system="ledger",
            )
        if passed is not None:
            raise Refused(
                f"{passed.title}: done, or may be; from there on the saga only goes forward.",
                cause=Cause.PIVOT_PASSED,
                system=passed.system,
                key=passed.key,
            )

    @unbroken
    async def undoing(self, key: str) -> EffectRow:
        """Mark an effect as being undone, right before looking for it. Idempotent; also clears a failure.

        Raises:
            Defect: it was never claimed.
        """
        async with self.transaction() as session:
            row = await known_effect(session, key)
            if row.state != EffectState.UNDONE:
                row.state = EffectState.UNDOING.value
                row.undo_failure = None
                row.landed_late = False
                row.updated_at = self.now()
                session.add(row)
            return effect_row(row)

    @unbroken
    async def undone(self, key: str, outcome: UndoOutcome, *, actor: Actor | None = None) -> EffectRow:
        """Record that no live record of ours remains, with an audit row; removes its links. Idempotent.

        Args:
            key: The effect's key.
            outcome: What the vendor's side of the undo did.
            actor: On whose authority it was undone; the writer's when empty.

        Raises:
            Conflict: it was not marked ``undoing``, or it landed since: call ``undoing`` and look again.
        """
        async with self.transaction() as session:
            row = await known_effect(session, key)
            if row.state == EffectState.UNDONE:
                return effect_row(row)
            if row.state != EffectState.UNDOING or row.landed_late:
                raise Conflict(
                    f"{row.title}: landed while it was being undone"
                    if row.landed_late
                    else f"{row.title}: is {row.state}, not being undone",
                    cause=Cause.VERSION_CONFLICT,
                    system=row.system,
                    key=key,
                    record=effect_row(row).record,
                    remedy="look again, then undo again",
                )
            row.state = EffectState.UNDONE.value
            row.undo_outcome = outcome.model_dump(mode="json")
            row.undo_failure = None
            row.undone_at = row.undone_at or self.now()
            row.updated_at = self.now()
            session.add(row)
            await self._unlink_effect(session, key)
            await session.flush()
            if row.shared is not None:
                await self._let_go(session, row.shared)
            name = (await self._names(session, [row.actor_id]))[row.actor_id]
            entry = audit_entry(row, "undone", name, result=outcome.result.value, gap=outcome.gap)
            actor_id = row.actor_id
            if actor is not None:
                actor_id = await self._put_person(session, actor.name)
                entry = entry.model_copy(update={"actor": actor})
            await self._append(session, entry, actor_id)
            return effect_row(row)

    @unbroken
    async def undo_failed(self, key: str, failure: Failure) -> EffectRow:
        """Record that an undo is blocked; the effect stays ``undoing`` until somebody helps."""
        async with self.transaction() as session:
            row = await known_effect(session, key)
            if row.state != EffectState.UNDONE:
                row.state = EffectState.UNDOING.value
                row.undo_failure = failure.model_dump(mode="json")
                row.updated_at = self.now()
                session.add(row)
            return effect_row(row)


def _may_be_there() -> ColumnElement[bool]:
    """Claimed and let go again means: the vendor refused it, or never got it. All else may be there."""
    return not_((col(Effect.state) == EffectState.INTENDED.value) & col(Effect.released).is_(True))
