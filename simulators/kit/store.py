"""Records in the vendor's own JSON, and the log of accepted writes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

Record = dict[str, Any]


def wire_number(value: object) -> int | float:
    """A ``Decimal`` as a JSON number, so that simulators may keep money exact in their records.

    Raises:
        TypeError: not a ``Decimal``.
    """
    if not isinstance(value, Decimal):
        raise TypeError(f"not serialisable: {type(value).__name__}")
    return int(value) if value == value.to_integral_value() else float(value)


def as_text(body: Any) -> str:
    """A body as compact JSON: a tenth of what its objects take."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), default=wire_number)


@dataclass(frozen=True, slots=True)
class Write:
    """One accepted write: what ``/_sim/writes`` lists."""

    seq: int
    at: str
    method: str
    path: str
    type: str
    id: str
    key: str | None
    operation: str
    """``create``, ``update``, ``delete``, or the vendor's own word for an action."""
    accepted_at: str
    """When the vendor said yes, in microseconds: for a job, when it was taken on, not when it ran."""
    text: str = field(repr=False)
    """The body as JSON text."""

    @property
    def body(self) -> Any:
        """The body as sent."""
        return json.loads(self.text)

    def as_json(self) -> dict[str, Any]:
        """The write as the control API prints it."""
        names = ("seq", "at", "accepted_at", "method", "path", "type", "id", "key", "body", "operation")
        return {name: getattr(self, name) for name in names}


class Store:
    """Live and deleted records by type and id, ids handed out per type, and the write log."""

    frozen = False
    """Stored records are replaced, never edited in place: their versions can share what is stored."""

    def __init__(self) -> None:
        self._gone: dict[tuple[str, str], str] = {}
        self._records: dict[str, dict[str, Record]] = {}
        self._deleted: dict[str, dict[str, Record]] = {}
        self._history: dict[tuple[str, str], list[tuple[str, Record]]] = {}
        self._next: dict[str, int] = {}
        self.writes: list[Write] = []

    def clear(self) -> None:
        """Forget everything (``/_sim/reset``)."""
        frozen = self.frozen
        self.__init__()  # type: ignore[misc]
        self.frozen = frozen

    def number(self, series: str, start: int = 1) -> int:
        """The next number of a series; numbers are used up even when a record is deleted."""
        value = self._next.get(series, start)
        self._next[series] = value + 1
        return value

    def keep_above(self, series: str, used: int) -> None:
        """Make sure the series never hands out ``used`` again (seeded ids)."""
        self._next[series] = max(self._next.get(series, 1), used + 1)

    def types(self) -> list[str]:
        """Every type that holds or held a record."""
        return sorted(set(self._records) | set(self._deleted))

    def get(self, type_: str, id_: str) -> Record | None:
        """The live record itself (mutable), or None."""
        return self._records.get(type_, {}).get(str(id_))

    def deleted(self, type_: str, id_: str) -> Record | None:
        """The record as it was when deleted, or None."""
        return self._deleted.get(type_, {}).get(str(id_))

    def all(self, type_: str) -> Iterator[Record]:
        """Live records of a type in insertion order."""
        return iter(list(self._records.get(type_, {}).values()))

    def put(self, type_: str, id_: str, record: Record, at: str) -> Record:
        """Insert or replace, remembering the version for stale reads."""
        self._records.setdefault(type_, {})[str(id_)] = record
        version = record if self.frozen else copy.deepcopy(record)
        self._history.setdefault((type_, str(id_)), []).append((at, version))
        return record

    def remember(self, type_: str, id_: str, at: str) -> None:
        """Note a version after an in-place change, so that stale reads and history see it."""
        record = self.get(type_, id_)
        if record is not None:
            self._history.setdefault((type_, str(id_)), []).append((at, copy.deepcopy(record)))

    def history(self, type_: str, id_: str) -> list[tuple[str, Record]]:
        """Every version with the instant it was stored, oldest first."""
        return self._history.get((type_, str(id_)), [])

    def previous(self, type_: str, id_: str) -> Record | None:
        """The version before the current one (what a lagging replica would show), or None."""
        versions = self.history(type_, id_)
        return copy.deepcopy(versions[-2][1]) if len(versions) > 1 else None

    def delete(self, type_: str, id_: str, at: str | None = None) -> Record | None:
        """Move a record to the deleted ones; ``at`` is when."""
        record = self._records.get(type_, {}).pop(str(id_), None)
        if record is not None:
            self._deleted.setdefault(type_, {})[str(id_)] = record
            if at is not None:
                self._gone[type_, str(id_)] = at
        return record

    def gone_at(self, type_: str, id_: str) -> str | None:
        """When a record was deleted; None while it lives (or where nobody said)."""
        return self._gone.get((type_, str(id_)))

    def ids(self, type_: str) -> list[str]:
        """Ids of a type, deleted ones included."""
        return [*self._records.get(type_, {}), *self._deleted.get(type_, {})]

    def snapshot(self) -> Any:
        """A deep copy to return to when an all-or-nothing request fails."""
        return copy.deepcopy((self._records, self._deleted, self._history, self.writes, self._gone))

    def restore(self, snapshot: Any) -> None:
        """Go back to ``snapshot`` (ids handed out since stay used up)."""
        self._records, self._deleted, self._history, self.writes, self._gone = snapshot

    def log(
        self,
        *,
        at: str,
        method: str,
        path: str,
        type: str,
        id: str,
        body: Any,
        operation: str,
        key: str | None = None,
        accepted_at: str | None = None,
    ) -> None:
        """Record an accepted write."""
        number, when = len(self.writes) + 1, accepted_at or at
        self.writes.append(
            Write(number, at, method, path, type, str(id), key, operation, when, as_text(body))
        )

    def as_json(self, *, include_deleted: bool = False, only: str | None = None) -> dict[str, list[Record]]:
        """All records per type (of one type with ``only``), in the shape that ``/_sim/seed`` takes."""

        def wanted(kept: dict[str, dict[str, Record]]) -> dict[str, dict[str, Record]]:
            return kept if only is None else {only: kept.get(only, {})}

        live = wanted(self._records)
        result = {t: [copy.deepcopy(r) for r in rows.values()] for t, rows in live.items() if rows}
        if include_deleted:
            for type_, rows in wanted(self._deleted).items():
                gone = [{**copy.deepcopy(r), "_deleted": True} for r in rows.values()]
                result.setdefault(type_, []).extend(gone)
        return result
