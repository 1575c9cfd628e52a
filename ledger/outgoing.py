"""Our own events: kept in the transaction that makes them true, told to subscribers from there."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.base import Canonical
from canonical.outgoing import OutgoingType, ProjectChanged, SagaEnded, SagaParked
from ledger.core import Core, unbroken
from ledger.tables.outgoing_event import OutgoingEvent


class OutgoingRow(Canonical):
    """An event as the ledger knows it."""

    id: int
    event_id: str
    type: OutgoingType
    subject: str
    region: str
    data: dict[str, Any]
    trace_id: str
    at: datetime
    relayed_at: datetime | None


class Untold(Canonical):
    """Events that no gateway has handed over yet."""

    events: int
    oldest: datetime | None


class Outgoing(Core):
    """Events to tell."""

    async def _tell(
        self,
        session: AsyncSession,
        type_: OutgoingType,
        data: SagaEnded | SagaParked | ProjectChanged,
        *,
        nth: str,
        trace: str,
    ) -> None:
        """Keep an event; ``nth`` tells it from others of its saga, so that repeating it adds nothing."""
        identity = hashlib.sha256(f"{type_.value}|{data.saga_id}|{nth}".encode()).hexdigest()[:32]
        values = {
            "event_id": f"evt_{identity}",
            "type": type_.value,
            "subject": data.saga_id,
            "region": data.region,
            "data": data.model_dump(mode="json"),
            "trace_id": trace,
            "at": self.now(),
        }
        await self.insert_ignore(session, OutgoingEvent, values)

    @unbroken
    async def untold_events(self, *, after: int = 0, limit: int = 100) -> list[OutgoingRow]:
        """Events whose deliveries were not handed to Temporal yet, oldest first."""
        query = select(OutgoingEvent).where(
            col(OutgoingEvent.relayed_at).is_(None), col(OutgoingEvent.id) > after
        )
        async with self.reading() as session:
            rows = await session.exec(query.order_by(col(OutgoingEvent.id)).limit(limit))
            return [OutgoingRow.model_validate(row, from_attributes=True) for row in rows]

    @unbroken
    async def untold_counts(self) -> Untold:
        """How many events were not handed to Temporal yet, and since when."""
        query = select(func.count(), func.min(OutgoingEvent.at)).where(
            col(OutgoingEvent.relayed_at).is_(None)
        )
        async with self.reading() as session:
            number, oldest = (await session.exec(query)).one()
        return Untold(events=number, oldest=oldest)

    @unbroken
    async def told(self, event_id: str) -> None:
        """Note that an event's deliveries are Temporal's now."""
        async with self.transaction() as session:
            query = select(OutgoingEvent).where(col(OutgoingEvent.event_id) == event_id).with_for_update()
            row = (await session.exec(query)).first()
            if row is not None and row.relayed_at is None:
                row.relayed_at = self.now()
                session.add(row)

    @unbroken
    async def outgoing_event(self, event_id: str) -> OutgoingRow | None:
        """An event by its id."""
        query = select(OutgoingEvent).where(col(OutgoingEvent.event_id) == event_id)
        async with self.reading() as session:
            row = (await session.exec(query)).first()
            return None if row is None else OutgoingRow.model_validate(row, from_attributes=True)
