"""Kantata has no webhooks: changes are polled. Pure cursor logic and the meaning of subscribed events.

A cursor is opaque text: the latest change seen and what was seen within the overlap behind it. Every poll
looks back by the overlap, because Kantata publishes neither commit order nor clock; what was seen already
is dropped again, unless it may have changed within the second in which it was read. Whatever comes out is a
hint: the record is read again before anything is done with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from canonical.operations import Change
from canonical.refs import RecordRef
from connectors.kantata.schemas import Event

T = TypeVar("T")

EVENT_RETENTION = timedelta(days=9)
"""How long Kantata keeps subscribed events (its reference)."""
SEEN_LIMIT = 500
"""Most versions remembered within an overlap: a cursor is kept and passed on as text. Beyond it the oldest
come again, which is harmless: a revision that is known is known."""

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


def unsettled(answer: Iterable[tuple[str, datetime]], behind: datetime) -> frozenset[str]:
    """Versions of one answer that may change once more without showing it, since times are whole seconds:
    those of its latest second. Theirs may be the second in which the answer was given, by whatever clock.

    Args:
        answer: (record id, changed at) of one answer, which was read at one moment.
        behind: what changed before it did so well before the answer, by any clock that agrees with ours
            within the overlap.
    """
    seconds = [(one, at, aware(at).replace(microsecond=0)) for one, at in answer]
    latest = max((second for _, _, second in seconds), default=behind)
    return frozenset(mark(one, at) for one, at, second in seconds if second == latest > behind)


def advance(
    cursor: Cursor,
    read: Iterable[tuple[str, datetime]],
    overlap: timedelta,
    resume: datetime | None = None,
    polled_at: datetime | None = None,
    again: frozenset[str] = frozenset(),
) -> tuple[list[str], Cursor]:
    """Which of the versions read are new (oldest first, each once), and the cursor behind them.

    ``again`` are versions that the next poll tells again (``unsettled``).

    ``polled_at`` is when a complete poll began, by our clock: whatever changed longer ago than the overlap
    was there to be seen, so a burst of changes is not read again by every later poll. Our clock and
    Kantata's must agree within the overlap.
    """
    versions = sorted({(aware(at), record_id) for record_id, at in read})
    fresh = [(at, one) for at, one in versions if mark(one, at) not in cursor.seen]
    instants = [at for at, _ in versions] + [at for at in (cursor.at, polled_at) if at is not None]
    latest = max(instants, default=None)
    if latest is None:
        return [], Cursor()
    kept = [mark(one, at) for at, one in versions if at >= latest - overlap and mark(one, at) not in again]
    old = [one for one in cursor.seen if datetime.fromisoformat(one.rpartition("@")[2]) >= latest - overlap]
    ids = list(dict.fromkeys(one for _, one in fresh))
    return ids, Cursor(latest, newest({*kept, *old}), resume)


@dataclass(frozen=True)
class Window:
    """A reading of everything behind an instant, in parts, of a list that cannot be ordered by change."""

    since: datetime | None
    began: datetime
    """When this reading began, by our clock: what changes later belongs to the next one."""
    offset: int = 0
    """Rows read."""
    last: str | None = None
    """The last row read: the next part must begin with it."""
    seen: frozenset[str] = frozenset()
    """Versions told already."""
    done: bool = False

    @classmethod
    def decode(cls, text: str | None, since: datetime | None, now: datetime) -> Window:
        """The reading that ``encode`` interrupted, or a new one behind the last.

        Raises:
            ValueError: not one of ours.
        """
        if text is None:
            return cls(since, now)
        data = json.loads(text)
        if data["done"]:
            return cls(_moment(data["since"]), now, seen=frozenset(data["seen"]))
        return cls(
            _moment(data["since"]),
            datetime.fromisoformat(data["began"]),
            int(data["offset"]),
            data["last"],
            frozenset(data["seen"]),
        )

    def encode(self) -> str:
        """As opaque text."""
        texts = {name: _text(getattr(self, name)) for name in ("since", "began")}
        rest = {"offset": self.offset, "last": self.last, "seen": sorted(self.seen), "done": self.done}
        return json.dumps({**texts, **rest}, separators=(",", ":"))

    def again(self) -> Window:
        """The same reading from its start: rows have shifted. What was told may be told again."""
        return replace(self, offset=0, last=None)

    def fresh(self, rows: Iterable[tuple[str, datetime, T]]) -> list[T]:
        """Rows in a version that was not told yet; without the one that only proves that nothing shifted."""
        return [row for one, at, row in rows if one != self.last and mark(one, at) not in self.seen]

    def read(self, rows: Sequence[tuple[str, datetime]], size: int, overlap: timedelta) -> Window:
        """The reading after a part of at most ``size`` rows. Versions that may not be their second's last
        are told again by the next reading.
        """
        if not rows:
            return replace(self, done=True)
        offset = max(self.offset - 1, 0) + len(rows)
        settled = {mark(one, at) for one, at in rows} - unsettled(rows, self.began - overlap)
        seen = self.seen | settled
        return replace(self, offset=offset, last=rows[-1][0], seen=newest(seen), done=len(rows) < size)

    def close(self, overlap: timedelta) -> Window:
        """The finished reading: the next one begins an overlap before this one began."""
        behind = self.began - overlap
        return replace(self, since=max(behind, self.since) if self.since else behind, done=True)


def newest(seen: Iterable[str]) -> frozenset[str]:
    """The latest of the versions told, as many as a cursor keeps."""
    return frozenset(sorted(seen, key=lambda one: one.rpartition("@")[2])[-SEEN_LIMIT:])


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def events_were_lost(cursor: Cursor, now: datetime) -> bool:
    """Whether the feed may have dropped events since the poll that gave this cursor: then lists must be
    compared.
    """
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
