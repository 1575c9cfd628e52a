"""What the service-level clocks are counted from and to."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlmodel import col, select

from canonical.base import Canonical
from canonical.feedback import TargetKind
from canonical.refs import RecordRef
from ledger.core import Core, unbroken
from ledger.tables.feedback import FeedbackClock
from ledger.tables.inbox import Inbox


class ShownRow(Canonical):
    """One change and one record that came to show it."""

    target: RecordRef
    kind: TargetKind
    region: str
    source_at: datetime | None
    """When it happened in the ERP; None where nobody told."""
    noted_at: datetime
    shown_at: datetime
    saga_id: str


class Clocks(Core):
    """Times of events and of what they led to."""

    @unbroken
    async def shown_since(self, since: datetime, *, limit: int = 100_000) -> list[ShownRow]:
        """What records came to show since a moment, the newest first."""
        query = (
            select(FeedbackClock)
            .where(col(FeedbackClock.shown_at) >= since)
            .order_by(col(FeedbackClock.shown_at).desc(), col(FeedbackClock.id).desc())
            .limit(limit)
        )
        async with self.reading() as session:
            return [
                ShownRow(
                    target=RecordRef.parse(row.target),
                    kind=TargetKind(row.kind),
                    region=row.region,
                    source_at=row.source_at,
                    noted_at=row.noted_at,
                    shown_at=row.shown_at,
                    saga_id=row.saga_id,
                )
                for row in await session.exec(query)
            ]

    @unbroken
    async def event_times(self, rows: Collection[int]) -> dict[int, datetime]:
        """When received events happened, by number in the inbox; when they came, where no source said."""
        if not rows:
            return {}
        query: Any = select(Inbox.id, Inbox.occurred_at, Inbox.received_at)
        query = query.where(col(Inbox.id).in_(sorted(rows)))
        async with self.reading() as session:
            return {id_: occurred or received for id_, occurred, received in await session.exec(query)}

    @unbroken
    async def first_events(self, sagas: Collection[str]) -> dict[str, datetime]:
        """When the first event of a saga happened, by saga; those started otherwise are missing."""
        found: dict[str, datetime] = {}
        names = sorted(sagas)
        async with self.reading() as session:
            for begin in range(0, len(names), 500):
                query: Any = select(Inbox.saga_id, Inbox.occurred_at, Inbox.received_at).where(
                    col(Inbox.saga_id).in_(names[begin : begin + 500])
                )
                for name, occurred, received in await session.exec(query):
                    at = occurred or received
                    found[name] = min(found.get(name, at), at)
        return found
