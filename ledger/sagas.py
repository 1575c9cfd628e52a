"""Sagas by generation: begun, shown, finished."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.failures import Defect
from canonical.outgoing import OutgoingType, SagaEnded
from canonical.saga import Actor, SagaStatus, SagaView
from ledger.audit import DECISIONS_CHAIN, AuditTrail
from ledger.core import unbroken
from ledger.outgoing import Outgoing
from ledger.people import actor_facts, actor_of
from ledger.rows import AuditEntry, Page, SagaBegun, SagaRow
from ledger.tables.saga import Saga


class Sagas(AuditTrail, Outgoing):
    """Saga rows."""

    @unbroken
    async def begin_saga(
        self,
        saga_id: str,
        *,
        saga: str,
        region: str,
        business_key: str,
        actor: Actor,
        reason: str,
        start_id: str,
        trace_id: str = "",
        mapping: Mapping[str, str] | None = None,
        again: bool = False,
    ) -> SagaBegun:
        """Open a saga's generation, or find the one that is open. The start goes to the audit trail.

        A new generation begins only after the last one was undone, because its keys are closed. A
        complete saga is not begun again (``accepted`` is False), unless it is one that may run ``again``.

        Args:
            saga_id: Workflow id.
            saga: ``canonical.names.SagaName`` value.
            region: The partition.
            business_key: For lists, for example the deal.
            actor: Who started it (rule 14).
            reason: Why.
            start_id: Identifies this start, for example the first run's id; repeating it is harmless.
            trace_id: For correlation.
            mapping: Digest of the field mapping pinned per system instance.
            again: A complete saga of this kind may run again, in its generation: what it does once is
                guarded by keys of its items, not by its own.
        """
        async with self.transaction() as session:
            await self.lock(session, f"saga:{saga_id}")
            last = await self._last(session, saga_id)
            if last is not None and last.start_id == start_id:
                return _begun(last, accepted=again or last.status != SagaStatus.COMPLETE)
            if last is not None and last.status == SagaStatus.COMPLETE and not again:
                return _begun(last, accepted=False)
            actor_id, now = await self._put_person(session, actor.name), self.now()
            start: dict[str, Any] = {
                "saga": saga,
                "region": region,
                "business_key": business_key,
                "status": SagaStatus.RUNNING.value,
                "start_id": start_id,
                "actor_id": actor_id,
                "actor": actor_facts(actor),
                "reason": reason,
                "trace_id": trace_id,
                "mapping": dict(mapping or {}),
                "updated_at": now,
                "finished_at": None,
            }
            if last is None or last.status == SagaStatus.UNDONE:
                generation = 1 if last is None else last.generation + 1
                last = Saga(saga_id=saga_id, generation=generation, started_at=now, **start)
            else:
                for field, value in start.items():
                    setattr(last, field, value)
            session.add(last)
            await session.flush()
            entry = AuditEntry(
                chain=DECISIONS_CHAIN,
                action="saga_begun",
                actor=actor,
                saga_id=saga_id,
                content={
                    "generation": last.generation,
                    "business_key": business_key,
                    "region": region,
                    "reason": reason,
                    "mapping": last.mapping,
                },
            )
            await self._append(session, entry, actor_id)
            return _begun(last, accepted=True)

    @unbroken
    async def save_view(self, view: SagaView) -> None:
        """Keep what surfaces show of a running saga.

        A view with a lower revision than the stored one, or of a finished saga, is ignored: it is late.
        """
        async with self.transaction() as session:
            row = await self._generation(session, view.saga_id, view.generation)
            if SagaStatus(row.status).is_final:
                return
            if row.view is not None and row.view.get("revision", 0) > view.revision:
                return
            row.status = view.status.value
            row.view = view.model_dump(mode="json")
            row.updated_at = self.now()
            session.add(row)

    @unbroken
    async def finish_saga(
        self,
        saga_id: str,
        generation: int,
        status: SagaStatus,
        *,
        view: SagaView | None = None,
        figures: Mapping[str, Any] | None = None,
    ) -> None:
        """Record a saga's end. Repeating it is harmless.

        What is complete stays complete: a later run that was refused because of it is no end of it.

        Args:
            saga_id: Workflow id.
            generation: From ``begin_saga``.
            status: A final one.
            view: The last view.
            figures: Durations in seconds, counts; for the service-level clocks.

        Raises:
            Defect: the status is not final, or the saga was never begun.
        """
        if not status.is_final:
            raise Defect(f"{status} is not the end of {saga_id}", system="ledger")
        async with self.transaction() as session:
            row = await self._generation(session, saga_id, generation)
            if row.status == SagaStatus.COMPLETE and status is not SagaStatus.COMPLETE:
                return
            row.status = status.value
            if view is not None:
                row.view = view.model_dump(mode="json")
            if figures is not None:
                row.figures = dict(figures)
            row.updated_at = self.now()
            ended = row.finished_at is None
            row.finished_at = row.finished_at or self.now()
            session.add(row)
            if ended and status is not SagaStatus.PLANNED:
                await self._tell_end(session, row)

    async def _tell_end(self, session: AsyncSession, row: Saga) -> None:
        codes = row.view.get("codes") if row.view else None
        ended = SagaEnded(
            saga_id=row.saga_id,
            saga=row.saga,
            generation=row.generation,
            status=SagaStatus(row.status),
            business_key=row.business_key,
            region=row.region,
            codes=codes or {},
        )
        # A saga that runs again in its generation ends again.
        nth = f"g{row.generation}|{row.start_id}"
        await self._tell(session, OutgoingType.SAGA_ENDED, ended, nth=nth, trace=row.trace_id)

    async def _last(self, session: AsyncSession, saga_id: str) -> Saga | None:
        query = (
            select(Saga).where(col(Saga.saga_id) == saga_id).order_by(col(Saga.generation).desc()).limit(1)
        )
        return (await session.exec(query.with_for_update())).first()

    async def _generation(self, session: AsyncSession, saga_id: str, generation: int) -> Saga:
        query = select(Saga).where(col(Saga.saga_id) == saga_id, col(Saga.generation) == generation)
        row = (await session.exec(query.with_for_update())).first()
        if row is None:
            raise Defect(f"{saga_id} generation {generation} was never begun", system="ledger")
        return row

    @unbroken
    async def saga(self, saga_id: str, *, generation: int | None = None) -> SagaRow | None:
        """A saga's latest generation, or the one named."""
        query = select(Saga).where(col(Saga.saga_id) == saga_id).order_by(col(Saga.generation).desc())
        if generation is not None:
            query = query.where(col(Saga.generation) == generation)
        rows = await self._saga_rows(query.limit(1))
        return rows[0] if rows else None

    @unbroken
    async def sagas(
        self,
        *,
        saga: str | None = None,
        statuses: Iterable[SagaStatus] | None = None,
        region: str | None = None,
        business_key: str | None = None,
        since: datetime | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Page[SagaRow]:
        """Sagas, newest first; ``since`` is about their start; ``before`` takes a page's cursor."""
        query = select(Saga).order_by(col(Saga.id).desc()).limit(limit + 1)
        for column, value in (
            (col(Saga.saga), saga),
            (col(Saga.region), region),
            (col(Saga.business_key), business_key),
        ):
            if value is not None:
                query = query.where(column == value)
        if statuses is not None:
            query = query.where(col(Saga.status).in_([status.value for status in statuses]))
        if since is not None:
            query = query.where(col(Saga.started_at) >= since)
        if before is not None:
            query = query.where(col(Saga.id) < before)
        found = await self._saga_rows(query)
        return Page(rows=tuple(found[:limit]), cursor=found[limit - 1].id if len(found) > limit else None)

    async def _saga_rows(self, query: Any) -> list[SagaRow]:
        async with self.reading() as session:
            found: Sequence[Saga] = list(await session.exec(query))
            names = await self._names(session, (row.actor_id for row in found))
            return [_saga_row(row, names[row.actor_id]) for row in found]


def _view(row: Saga) -> SagaView | None:
    return None if row.view is None else SagaView.model_validate(row.view)


def _begun(row: Saga, *, accepted: bool) -> SagaBegun:
    return SagaBegun(
        saga_id=row.saga_id,
        generation=row.generation,
        accepted=accepted,
        status=SagaStatus(row.status),
        view=_view(row),
    )


def _saga_row(row: Saga, name: str) -> SagaRow:
    return SagaRow(
        id=row.id or 0,
        saga_id=row.saga_id,
        generation=row.generation,
        saga=row.saga,
        region=row.region,
        business_key=row.business_key,
        status=SagaStatus(row.status),
        start_id=row.start_id,
        actor=actor_of(name, row.actor),
        reason=row.reason,
        trace_id=row.trace_id,
        mapping=row.mapping,
        view=_view(row),
        figures=row.figures,
        started_at=row.started_at,
        updated_at=row.updated_at,
        finished_at=row.finished_at,
    )
