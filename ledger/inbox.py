"""The inbox: an event is durable here before its sender is answered, and is handed over from here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlmodel import col, func, select

from canonical.base import Canonical
from ledger.core import Core, unbroken
from ledger.rows import Page
from ledger.tables.inbox import Inbox


class InboxState(StrEnum):
    """Where a received event stands."""

    RECEIVED = "received"
    """Durable, not handed over yet."""
    WAITING = "waiting"
    """Its record, or a system that is asked about it, is not there yet; tried again by itself."""
    HANDED = "handed"
    """A saga has it."""
    IGNORED = "ignored"
    """The configuration, or the record itself, says that it means nothing to us."""
    PARKED = "parked"
    """Kept; a person, a new rule or a later release is needed."""


OPEN = (InboxState.RECEIVED.value, InboxState.WAITING.value)


class NewEvent(Canonical):
    """An event as its source told it."""

    event_id: str
    type: str
    record_type: str = ""
    record_id: str = ""
    fields: dict[str, str] = {}
    occurred_at: datetime | None = None


class InboxRow(NewEvent):
    """An event as the ledger knows it."""

    id: int
    source: str
    system: str
    state: InboxState
    reason: str
    saga_id: str | None
    trace_id: str
    attempts: int
    deliveries: int
    received_at: datetime
    next_try_at: datetime
    settled_at: datetime | None


class Inboxes(Core):
    """Received events."""

    @unbroken
    async def receive_events(
        self, source: str, system: str, events: Sequence[NewEvent], *, trace_id: str, lease: timedelta
    ) -> list[InboxRow]:
        """Make events durable; those known already are counted and left as they are.

        Args:
            source: the configured source.
            system: whose records they are about.
            events: what it told.
            trace_id: for correlation.
            lease: how long the receiver itself has for handing them over before the sweeper may.

        Returns:
            A row for each, in the given order; one that is handed over already is a repetition.
        """
        if not events:
            return []
        async with self.transaction() as session:
            now = self.now()
            rows = {
                one.event_id: {
                    **one.model_dump(),
                    "source": source,
                    "system": system,
                    "state": InboxState.RECEIVED.value,
                    "reason": "",
                    "trace_id": trace_id,
                    "attempts": 0,
                    "deliveries": 0,
                    "received_at": now,
                    "next_try_at": now + lease,
                }
                for one in events
            }
            await self.insert_ignore(session, Inbox, list(rows.values()))
            query = (
                select(Inbox)
                .where(col(Inbox.source) == source, col(Inbox.event_id).in_(list(rows)))
                .order_by(col(Inbox.id))
                .with_for_update()
            )
            found = {row.event_id: row for row in await session.exec(query)}
            for row in found.values():
                row.deliveries += 1
                session.add(row)
            await session.flush()
            return [_row(found[event_id]) for event_id in rows]

    @unbroken
    async def claim_events(self, *, lease: timedelta, limit: int) -> list[InboxRow]:
        """Events that are due, oldest first, taken for ``lease``; nobody else gets them meanwhile."""
        async with self.transaction() as session:
            now = self.now()
            query = (
                select(Inbox)
                .where(col(Inbox.state).in_(OPEN), col(Inbox.next_try_at) <= now)
                .order_by(col(Inbox.next_try_at), col(Inbox.id))
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            found = list(await session.exec(query))
            for row in found:
                row.next_try_at = now + lease
                session.add(row)
            await session.flush()
            return [_row(row) for row in found]

    @unbroken
    async def settle_event(
        self, id_: int, state: InboxState, *, reason: str = "", saga_id: str | None = None
    ) -> None:
        """Say what became of an event; one that is handed over already stays so."""
        await self._change(id_, state, reason, saga_id, None)

    @unbroken
    async def postpone_event(self, id_: int, until: datetime, reason: str) -> None:
        """Try an event again later."""
        await self._change(id_, InboxState.WAITING, reason, None, until)

    async def _change(
        self, id_: int, state: InboxState, reason: str, saga_id: str | None, until: datetime | None
    ) -> None:
        async with self.transaction() as session:
            row = (await session.exec(select(Inbox).where(col(Inbox.id) == id_).with_for_update())).first()
            if row is None or row.state == InboxState.HANDED:
                return
            row.state, row.reason, row.attempts = state.value, _plain(reason), row.attempts + 1
            row.saga_id = saga_id or row.saga_id
            if until is not None:
                row.next_try_at = until
            row.settled_at = None if state.value in OPEN else self.now()
            session.add(row)

    @unbroken
    async def reopen_events(self, ids: Collection[int]) -> int:
        """Let parked and ignored events be tried again; answers how many there were."""
        if not ids:
            return 0
        async with self.transaction() as session:
            again = (InboxState.PARKED.value, InboxState.IGNORED.value, InboxState.WAITING.value)
            query = select(Inbox).where(col(Inbox.id).in_(sorted(ids)), col(Inbox.state).in_(again))
            found = list(await session.exec(query.with_for_update()))
            for row in found:
                # Its patience begins anew: somebody has looked.
                row.state, row.reason, row.attempts = InboxState.RECEIVED.value, "", 0
                row.next_try_at, row.settled_at = self.now(), None
                session.add(row)
            return len(found)

    @unbroken
    async def inbox(
        self,
        *,
        states: Collection[InboxState] | None = None,
        source: str | None = None,
        event_id: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Page[InboxRow]:
        """Received events, newest first."""
        query = select(Inbox).order_by(col(Inbox.id).desc()).limit(limit + 1)
        if states is not None:
            query = query.where(col(Inbox.state).in_([state.value for state in states]))
        for column, value in ((col(Inbox.source), source), (col(Inbox.event_id), event_id)):
            if value is not None:
                query = query.where(column == value)
        if before is not None:
            query = query.where(col(Inbox.id) < before)
        async with self.reading() as session:
            rows = [_row(row) for row in await session.exec(query)]
        return Page(rows=tuple(rows[:limit]), cursor=rows[limit - 1].id if len(rows) > limit else None)

    @unbroken
    async def inbox_counts(self) -> dict[InboxState, int]:
        """How many events there are in each state."""
        query: Any = select(Inbox.state, func.count()).group_by(col(Inbox.state))
        async with self.reading() as session:
            return {InboxState(state): number for state, number in await session.exec(query)}


def _plain(text: str) -> str:
    """Words that may come from a vendor, as one line that every database takes."""
    return "".join(char if char.isprintable() else " " for char in text[:500])


def _row(row: Inbox) -> InboxRow:
    return InboxRow.model_validate(row, from_attributes=True)
