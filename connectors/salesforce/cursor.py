"""The polling position as data. Pure.

A sweep begins an overlap before the newest change seen so far, because a long transaction commits with an
older stamp than the watermark, and then walks forward by (SystemModstamp, Id). The same deal is therefore
told again in later polls; receivers recognise it by its id.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.salesforce.soql import Where, select

_FORM = re.compile(r"sf1\|(?P<stamp>[^|]*)\|(?P<id>[A-Za-z0-9]*)")
_FIELDS = ("Id", "SystemModstamp", "IsWon")
_ORDER = ("SystemModstamp", "Id")
_WON = Where("IsWon", "=", True)


@dataclass(frozen=True)
class Cursor:
    """``id`` set: in the middle of a sweep, behind that row. Unset: between sweeps."""

    stamp: datetime | None = None
    id: str = ""

    def __str__(self) -> str:
        return f"sf1|{self.stamp.isoformat() if self.stamp else ''}|{self.id}"

    @classmethod
    def parse(cls, words: str | None) -> Cursor:
        """The cursor printed by ``str``; None is the beginning.

        Raises:
            ValueError: not one of ours.
        """
        if words is None:
            return cls()
        form = _FORM.fullmatch(words)
        if form is None or (form["id"] and not form["stamp"]):
            raise ValueError(f"{words!r} is not a polling position of this connector")
        return cls(datetime.fromisoformat(form["stamp"]) if form["stamp"] else None, form["id"])

    def queries(self, *, overlap: timedelta, first: datetime | None, limit: int) -> list[str]:
        """The queries that continue from here; the second one is for what the first leaves of ``limit``.

        In the middle of a sweep they are two, because rows of the same instant as the last one come first.
        """
        if self.id and self.stamp:
            same = [_WON, Where("SystemModstamp", "=", self.stamp), Where("Id", ">", self.id)]
            later = [_WON, Where("SystemModstamp", ">", self.stamp)]
            return [_query(same, limit), _query(later, limit)]
        start = self.stamp - overlap if self.stamp else first
        return [_query([_WON, *([Where("SystemModstamp", ">=", start)] if start else [])], limit)]

    def after(self, rows: Sequence[tuple[datetime, str]], *, more: bool) -> Cursor:
        """The position behind ``rows``, which are in order."""
        if more:
            return Cursor(*rows[-1])
        return Cursor(rows[-1][0] if rows else self.stamp)


def _query(where: list[Where], limit: int) -> str:
    return select("Opportunity", _FIELDS, where=where, order=_ORDER, limit=limit)


def stamp(value: str) -> datetime:
    """A SystemModstamp such as ``2026-11-01T00:00:00.000+0000``."""
    return datetime.fromisoformat(value)
