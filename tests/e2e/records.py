"""What the vendors hold, compared before and after: the judge of "exactly this" and of "nothing remains"."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = Any
Snapshot = dict[str, Json]
"""``Firm.everything``: by system, record type and place."""

DIARIES = {"subscribed_events"}
"""What a vendor notes about its records in a feed: it grows with every change, whoever makes it."""


@dataclass
class Difference:
    """What came, went and changed between two snapshots, by system and record type."""

    new: dict[tuple[str, str], list[Json]] = field(default_factory=dict)
    gone: dict[tuple[str, str], list[Json]] = field(default_factory=dict)
    changed: dict[tuple[str, str], list[Json]] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many new records there are of each type."""
        return {type_: len(rows) for (_, type_), rows in sorted(self.new.items())}

    def only(self, type_: str) -> Json:
        """The only new record of a type."""
        (row,) = self.all(type_)
        return row

    def all(self, type_: str) -> list[Json]:
        """All new records of a type."""
        return next((rows for (_, name), rows in self.new.items() if name == type_), [])

    def __bool__(self) -> bool:
        return bool(self.new or self.gone or self.changed)


def difference(before: Snapshot, after: Snapshot) -> Difference:
    """What happened at the vendors between two snapshots."""
    found = Difference()
    for system in before:
        for type_ in sorted((set(before[system]) | set(after[system])) - DIARIES):
            old = {_id(row): row for row in before[system].get(type_, [])}
            new = {_id(row): row for row in after[system].get(type_, [])}
            place = (system, type_)
            for rows, into in (
                ([new[id_] for id_ in new if id_ not in old], found.new),
                ([old[id_] for id_ in old if id_ not in new], found.gone),
                ([new[id_] for id_ in new if id_ in old and new[id_] != old[id_]], found.changed),
            ):
                if rows:
                    into[place] = rows
    return found


def _id(row: Json) -> str:
    return str(row.get("Id") or row["id"])
