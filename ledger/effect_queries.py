"""Looking at effects: of a saga, of a record, unfinished ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import or_
from sqlmodel import col, select

from canonical.refs import RecordRef
from ledger.core import Core, unbroken
from ledger.effect_rows import effect_row
from ledger.rows import EffectRow, EffectState, Page
from ledger.tables.effect import Effect

UNFINISHED = (EffectState.INTENDED, EffectState.UNKNOWN, EffectState.UNDOING)


class EffectQueries(Core):
    """Lists of effects, oldest first."""

    @unbroken
    async def effect(self, key: str) -> EffectRow | None:
        """One effect by key."""
        async with self.reading() as session:
            row = (await session.exec(select(Effect).where(col(Effect.key) == key))).first()
            return None if row is None else effect_row(row)

    @unbroken
    async def known_keys(self, keys: Sequence[str]) -> frozenset[str]:
        """Those of ``keys`` that were ever claimed."""
        async with self.reading() as session:
            return frozenset(await session.exec(select(Effect.key).where(col(Effect.key).in_(keys))))

    @unbroken
    async def effects(
        self,
        *,
        saga_id: str | None = None,
        step_key: str | None = None,
        business_key: str | None = None,
        record: RecordRef | None = None,
        system: str | None = None,
        shared: str | None = None,
        states: Iterable[EffectState] | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Page[EffectRow]:
        """Effects that match everything given. A saga's include those whose latest attempt was its."""
        query = select(Effect).where(col(Effect.id) > after).order_by(col(Effect.id)).limit(limit + 1)
        if saga_id is not None:
            query = query.where(or_(col(Effect.saga_id) == saga_id, col(Effect.attempt_saga_id) == saga_id))
        if step_key is not None:
            query = query.where(
                or_(col(Effect.step_key) == step_key, col(Effect.attempt_step_key) == step_key)
            )
        if record is not None:
            query = query.where(
                col(Effect.system) == record.system,
                col(Effect.record_type) == record.type,
                col(Effect.record_id) == record.id,
            )
        for column, value in (
            (col(Effect.business_key), business_key),
            (col(Effect.system), system),
            (col(Effect.shared), shared),
        ):
            if value is not None:
                query = query.where(column == value)
        if states is not None:
            query = query.where(col(Effect.state).in_([state.value for state in states]))
        async with self.reading() as session:
            found = [effect_row(row) for row in await session.exec(query)]
        return Page(rows=tuple(found[:limit]), cursor=found[limit - 1].id if len(found) > limit else None)

    @unbroken
    async def unfinished(
        self, *, system: str | None = None, after: int = 0, limit: int = 100
    ) -> Page[EffectRow]:
        """Effects whose end is open: intended, unknown, undoing."""
        return await self.effects(system=system, states=UNFINISHED, after=after, limit=limit)
