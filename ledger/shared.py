"""Records that several sagas rely on: holders, and who may undo (rule 12).

A shared record's effects carry its shared key. A saga that claims one of them becomes a holder in the
same transaction; the last holder that lets go marks the effects ``undoing`` in the same transaction. So
no saga can latch on to a record that is about to be deleted.
"""

from __future__ import annotations

from sqlalchemy import delete, not_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.writes import WriteKind
from ledger.audit import AuditTrail
from ledger.core import unbroken
from ledger.effect_rows import effect_row, maybe_landed
from ledger.rows import EffectState, HoldReleased
from ledger.tables.effect import Effect
from ledger.tables.holder import Holder


class SharedRecords(AuditTrail):
    """Holding and letting go of shared records."""

    @unbroken
    async def hold(self, shared_key: str, saga_id: str, step_key: str) -> bool:
        """Register as a holder; repeating it is harmless. Also for records that no saga created.

        Returns:
            False when the record is being undone right now: ask again later.
        """
        async with self.transaction() as session:
            await self.lock(session, f"effect:{shared_key}")
            if await self._being_undone(session, shared_key) is not None:
                return False
            await self._hold(session, shared_key, saga_id, step_key)
            return True

    async def _hold(self, session: AsyncSession, shared_key: str, saga_id: str, step_key: str) -> None:
        values = {"shared_key": shared_key, "saga_id": saga_id, "step_key": step_key, "at": self.now()}
        await self.insert_ignore(session, Holder, values)

    @unbroken
    async def holders(self, shared_key: str) -> tuple[str, ...]:
        """Ids of the sagas that rely on the record."""
        async with self.reading() as session:
            query = select(Holder.saga_id).where(col(Holder.shared_key) == shared_key).distinct()
            return tuple(sorted(await session.exec(query)))

    @unbroken
    async def shared_generation(self, shared_key: str) -> int:
        """Which generation's keys to use: 1 plus the number of undone generations."""
        async with self.reading() as session:
            return 1 + len(await self._undone_generations(session, shared_key))

    async def _being_undone(self, session: AsyncSession, shared_key: str) -> Effect | None:
        # One that landed after its undo is left out: its generation is closed, it holds nobody up.
        query = select(Effect).where(
            col(Effect.shared) == shared_key,
            col(Effect.state) == EffectState.UNDOING,
            col(Effect.undone_at).is_(None),
        )
        return (await session.exec(query.order_by(col(Effect.id)))).first()

    async def _undone_generations(self, session: AsyncSession, shared_key: str) -> set[int]:
        query = select(Effect.generation).where(
            col(Effect.shared) == shared_key, col(Effect.undone_at).is_not(None)
        )
        return set(await session.exec(query.distinct()))

    @unbroken
    async def release_hold(self, shared_key: str, saga_id: str, step_key: str | None = None) -> HoldReleased:
        """Let go. When nobody else holds the record and it is ours, its effects are marked ``undoing``.

        With ``step_key`` only that step lets go: the other steps of the saga may still have records in the
        shared one, so the last of them undoes it. The last hold stays until the effects are undone:
        whoever repeats the step's undo after a crash finds the record by it.

        Repeating it after a crash gives the same effects again, as far as they are not undone yet. A
        record is ours when its first create was: done with ``created``, or nobody has looked yet. Of one
        that was there before us, only what we added to it is undone.
        Among the effects returned, one with ``created_by_us`` False was there before us: release it
        (``UndoResult.RELEASED``), do not delete it.
        """
        async with self.transaction() as session:
            await self.lock(session, f"effect:{shared_key}")
            held = col(Holder.shared_key) == shared_key
            own = held & (col(Holder.saga_id) == saga_id)
            if step_key is not None:
                own = own & (col(Holder.step_key) == step_key)
            others = (await session.exec(select(Holder.id).where(held, not_(own)))).first() is not None
            if others or step_key is None:
                await session.exec(delete(Holder).where(own))
            if others:
                return HoldReleased(last=False, created_by_us=False)
            rows = list(
                await session.exec(
                    select(Effect)
                    .where(col(Effect.shared) == shared_key, col(Effect.undone_at).is_(None))
                    .order_by(col(Effect.id).desc())
                    .with_for_update()
                    .execution_options(populate_existing=True)
                )
            )
            creates = [row for row in rows if row.kind == WriteKind.CREATE]
            begun = [row for row in rows if row.state == EffectState.UNDOING]
            if begun:
                rows = begun
            elif not creates or not _ours(creates[-1]):
                rows = [row for row in creates if _ours(row)]
            if not rows:
                await session.exec(delete(Holder).where(own))
                return HoldReleased(last=True, created_by_us=False)
            for row in rows:
                row.state = EffectState.UNDOING.value
                row.updated_at = self.now()
                session.add(row)
            await session.flush()
            return HoldReleased(last=True, created_by_us=True, effects=tuple(effect_row(row) for row in rows))

    async def _let_go(self, session: AsyncSession, shared_key: str) -> None:
        """Forget the last hold once nothing of the shared record is left to undo."""
        if await self._being_undone(session, shared_key) is None:
            await session.exec(delete(Holder).where(col(Holder.shared_key) == shared_key))


def _ours(create: Effect) -> bool:
    if create.created_by_us is not None:
        return create.created_by_us
    return maybe_landed(create) or create.state != EffectState.DONE
