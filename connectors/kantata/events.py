"""Kantata has no webhooks: changes are polled. Pure cursor logic and the meaning of subscribed events.

A cursor is opaque text: the latest change seen and what was seen within the overlap behind it. Every poll
looks back by the overlap, because Kantata publishes neither commit order nor clock; what was seen already
is dropped again. Whatever comes out is a hint: the record is read again before anything is done with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from canonical.operations import Change
from canonical.refs import RecordRef
from connectors.kantata.schemas import Event

EVENT_RETENTION = timedelta(days=9)
"""How long Kantata keeps subscribed events (its reference)."""
SEEN_LIMIT = 5_000
"""Most entries remembered within an overlap. Beyond it the oldest come again, which is harmless."""

DELETIONS = {
    "time_entry:deleted": "time_entries",
    "expense:deleted": "expenses",
    "invoice:deleted": "invoices",
    "workspace:deleted": "workspaces",
    "story:deleted": "stories",
}
"""The only sign of hard deletes: event type -> record type."""


@dataclass(frozen=True)
class Cursor:
    """A polling position."""

    at: datetime | None = None
    seen: frozenset[str] = frozenset()
    resume: datetime | None = None
    """Set while a backlog is worked off in portions: where the last one ended."""

    @classmethod
    def decode(cls, text: str | None) -> Cursor:
        """The cursor that ``encode`` wrote; the beginning for None.

        Raises:
            ValueError: not one of ours.
        """
        if text is None:
            return cls()
        data = json.loads(text)
        return cls(_moment(data["at"]), frozenset(data["seen"]), _moment(data["resume"]))

    def encode(self) -> str:
        """As opaque text, the same for the same position."""
        at = self.at.isoformat() if self.at else None
        resume = self.resume.isoformat() if self.resume else None
        return json.dumps({"at": at, "seen": sorted(self.seen), "resume": resume}, separators=(",", ":"))

    def start(self, overlap: timedelta) -> datetime | None:
        """From when on to read; None for everything. A backlog goes on where its last portion ended (less
        a second: times are that coarse); looking back within it could repeat itself for ever.
        """
        if self.resume:
            return self.resume - timedelta(seconds=1)
        return self.at - overlap if self.at else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def aware(moment: datetime) -> datetime:
    """``moment`` in UTC; Kantata's times without an offset are taken as UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def mark(record_id: str, changed_at: datetime) -> str:
    """What a cursor remembers of one version of a record."""
    return f"{record_id}@{aware(changed_at).isoformat()}"


def advance(
    cursor: Cursor,
    read: Iterable[tuple[str, datetime]],
    overlap: timedelta,
    resume: datetime | None = None,
) -> tuple[list[str], Cursor]:
    """Which of the versions read are new (oldest first, each once), and the cursor behind them."""
    versions = sorted({(aware(at), record_id) for record_id, at in read})
    fresh = [(at, one) for at, one in versions if mark(one, at) not in cursor.seen]
    latest = max([at for at, _ in versions] + ([cursor.at] if cursor.at else []), default=None)
    if latest is None:
        return [], Cursor()
    kept = [mark(one, at) for at, one in versions if at >= latest - overlap]
    old = [one for one in cursor.seen if datetime.fromisoformat(one.rpartition("@")[2]) >= latest - overlap]
    remembered = sorted({*kept, *old}, key=lambda one: one.rpartition("@")[2])[-SEEN_LIMIT:]
    ids = list(dict.fromkeys(one for _, one in fresh))
    return ids, Cursor(latest, frozenset(remembered), resume)


def events_were_lost(cursor: Cursor, now: datetime) -> bool:
    """Whether the feed has already dropped events behind this cursor: then lists must be compared."""
    return cursor.at is not None and now - cursor.at > EVENT_RETENTION


def to_deletions(events: Sequence[Event], system: str) -> list[Change]:
    """The records that events say are gone, each once, oldest first."""
    gone: dict[tuple[str, str], Change] = {}
    for event in sorted(events, key=lambda one: (aware(one.created_at), int(one.id))):
        kind = DELETIONS.get(event.event_type)
        if kind is not None:
            gone.setdefault(
                (kind, event.subject_id),
                Change(
                    ref=RecordRef(system=system, type=kind, id=event.subject_id),
                    modified_at=aware(event.subject_changed_at or event.created_at),
                    deleted=True,
                ),
            )
    return list(gone.values())
