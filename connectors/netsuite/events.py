"""Changes in NetSuite: it sends nothing by itself, so changed transactions are polled. Pure.

A keyset cursor over ``(lastmodifieddate, id)``: offset paging over moving rows would lose some. Times in
queries are the account's local time. While a cursor lies in the hour that a clock change repeats, the next
poll goes back by that hour: rows of the second pass carry local times that the first pass already had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from canonical.feedback import Feed
from canonical.operations import Change
from canonical.refs import RecordRef

FORM = "%Y-%m-%d %H:%M:%S"
RECORD_TYPES = {
    "CustInvc": "invoice",
    "CustPymt": "customerPayment",
    "CustCred": "creditMemo",
    "CustRfnd": "customerRefund",
}
"""SuiteQL's transaction type -> record type."""
FEEDS = {
    "invoice": Feed.INVOICES,
    "customerPayment": Feed.PAYMENTS,
    "creditMemo": Feed.CREDITS,
    "customerRefund": Feed.CREDITS,
    "salesOrder": Feed.REVENUE,
}
"""Of which feed a record type is; of revenue it is the order that is recognised."""
_NAMES = {name.lower(): name for name in FEEDS}
"""SuiteScript, which tells of events, writes record types in lower case; REST in camel case."""


@dataclass(frozen=True)
class Cursor:
    """Where polling stands: the last row's local time and id, and whether its page was the last one."""

    at: str
    id: int
    more: bool = False

    def encode(self) -> str:
        """The cursor as opaque text."""
        return json.dumps({"at": self.at, "id": self.id, "more": self.more}, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """The cursor of an ``encode``.

        Raises:
            ValueError: not such a text.
        """
        try:
            data = json.loads(text)
            cursor = cls(at=str(data["at"]), id=int(data["id"]), more=bool(data["more"]))
            datetime.strptime(cursor.at, FORM)  # noqa: DTZ007 - local time of the account by definition
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{text!r} is not a position in NetSuite's changes") from error
        return cursor

    @classmethod
    def starting(cls, moment: datetime, zone: ZoneInfo) -> Cursor:
        """A cursor that takes everything from an instant on."""
        return cls(at=moment.astimezone(zone).strftime(FORM), id=0)

    def lower_bound(self, zone: ZoneInfo, overlap: timedelta) -> tuple[str, int | None]:
        """From where the next query reads: exactly behind the last row within a poll, overlapping between
        polls (rows may become visible late).
        """
        if self.more:
            return self.at, self.id
        local = datetime.strptime(self.at, FORM)  # noqa: DTZ007
        return (local - overlap - _repeated(local, zone)).strftime(FORM), None


def _repeated(local: datetime, zone: ZoneInfo) -> timedelta:
    """How much a clock change repeats at this local time; zero at all other times."""
    first = local.replace(tzinfo=zone, fold=0).utcoffset() or timedelta(0)
    second = local.replace(tzinfo=zone, fold=1).utcoffset() or timedelta(0)
    return max(first - second, timedelta(0))


def to_utc(local: str, zone: ZoneInfo) -> datetime:
    """An account's local time as an instant; in a repeated hour the first pass."""
    moment = datetime.strptime(local, FORM).replace(tzinfo=zone)
    return moment.astimezone(UTC)


def to_changes(system: str, rows: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> tuple[Change, ...]:
    """The rows as hints that a record changed; types we do not follow are left out. A revenue plan's row
    names the order that it recognises.
    """
    return tuple(
        Change(
            ref=RecordRef(system=system, type=type_, id=str(id_)),
            modified_at=to_utc(str(row["modified"]), zone),
        )
        for row in rows
        for type_, id_ in [_told(row)]
        if type_ and id_
    )


def told_of(system: str, record_type: str, record_id: str) -> tuple[Feed, RecordRef] | None:
    """The record of which a script in the account told, and its feed; None for other types."""
    type_ = _NAMES.get(record_type.lower())
    return (FEEDS[type_], RecordRef(system=system, type=type_, id=record_id)) if type_ else None


def _told(row: Mapping[str, Any]) -> tuple[str | None, Any]:
    if "contract" in row:
        return "salesOrder", row["contract"]
    return RECORD_TYPES.get(str(row.get("type"))), row["id"]


def advance(cursor: Cursor, rows: Sequence[Mapping[str, Any]], *, more: bool) -> Cursor:
    """The cursor behind the last row; never backwards, since an overlap re-reads old rows."""
    if not rows:
        return Cursor(cursor.at, cursor.id)
    last = Cursor(str(rows[-1]["modified"]), int(str(rows[-1]["id"])), more)
    # Within a poll the position must follow the rows even below the old one, or paging would never end.
    if more or (last.at, last.id) >= (cursor.at, cursor.id):
        return last
    return Cursor(cursor.at, cursor.id)
