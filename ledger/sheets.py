"""An item's amounts while a transaction moves them between buckets; the database checks the sum."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from canonical.causes import Cause
from canonical.failures import Conflict
from canonical.items import AllocationKind, BillingState
from canonical.names import allocation_key
from ledger.tables.allocation import Allocation
from ledger.tables.billable_item import BUCKETS, BillableItem

_BUCKET = {
    AllocationKind.HELD: "held",
    AllocationKind.BILLED: "drafted",
    AllocationKind.WRITTEN_DOWN: "written",
    AllocationKind.WRITTEN_OFF: "written",
    AllocationKind.COVERED: "covered",
    AllocationKind.WITHDRAWN: "withdrawn",
}
"""Where a taken part is; what is on an issued invoice has moved on to ``billed``."""


def bucket_of(kind: AllocationKind, *, issued: bool) -> str:
    """The bucket of a part taken as ``kind``."""
    return "billed" if kind is AllocationKind.BILLED and issued else _BUCKET[kind]


@dataclass
class Part:
    """A part as it stands: the row that took it, and what is left of it."""

    taken: Allocation
    left_minor: int
    left_minutes: int
    releases: int
    left_billed: int = 0
    """In the document's currency."""
    credited: bool = False
    """Something of it was taken back by a credit memo."""

    @property
    def kind(self) -> AllocationKind:
        """What it was taken for."""
        return AllocationKind(self.taken.kind)

    @property
    def is_live(self) -> bool:
        """Whether anything of it is left."""
        return bool(self.left_minor or self.left_minutes)


def parts_of(rows: list[Allocation]) -> dict[tuple[int, int], Part]:
    """Parts by item and number, from all their rows."""
    taken = {(row.item_id, row.part): row for row in rows if row.release_no == 0}
    last: dict[tuple[int, int], Allocation] = {}
    billed: dict[tuple[int, int], int] = defaultdict(int)
    credited: set[tuple[int, int]] = set()
    for row in rows:
        key = (row.item_id, row.part)
        if row.kind == AllocationKind.CREDITED:
            credited.add(key)
        billed[key] += row.billed_minor or 0
        if key not in last or row.release_no > last[key].release_no:
            last[key] = row
    return {
        key: Part(
            row,
            last[key].left_minor,
            last[key].left_minutes,
            last[key].release_no,
            billed[key],
            key in credited,
        )
        for key, row in taken.items()
    }


@dataclass
class Sheet:
    """Working copy of one item's amounts."""

    row: BillableItem
    amounts: dict[str, int] = field(default_factory=dict)
    open_minutes: int = 0
    parts: int = 0

    def __post_init__(self) -> None:
        self.amounts = {name: getattr(self.row, f"{name}_minor") for name in BUCKETS}
        self.open_minutes = self.row.open_minutes
        self.parts = self.row.parts

    @property
    def item_id(self) -> int:
        """The item's row number."""
        return self.row.id or 0

    def take(self, kind: AllocationKind, minutes: int, minor: int, at: datetime) -> dict[str, Any]:
        """Take a slice of what is open; answers the columns of its allocation.

        Raises:
            Conflict: there is not that much open: somebody else was quicker.
        """
        if self.row.currency is None:
            raise _gone(self, "is not priced")
        if not _within(minor, self.amounts["open"]) or not _within(minutes, self.open_minutes):
            raise _gone(self, "has less open than was to be allocated")
        self.amounts["open"] -= minor
        self.amounts[_BUCKET[kind]] += minor
        self.open_minutes -= minutes
        self.parts += 1
        return {
            "allocation_key": allocation_key(self.row.item_key, self.parts),
            "item_id": self.item_id,
            "part": self.parts,
            "release_no": 0,
            "kind": kind.value,
            "minutes": minutes,
            "amount_minor": minor,
            "currency": self.row.currency,
            "part_minor": minor,
            "left_minor": minor,
            "left_minutes": minutes,
            "at": at,
        }

    def free(
        self,
        part: Part,
        kind: AllocationKind,
        at: datetime,
        *,
        issued: bool,
        minutes: int | None = None,
        minor: int | None = None,
    ) -> dict[str, Any]:
        """Give back some of a part, all that is left of it by default; answers its allocation's columns.

        Raises:
            Conflict: there is not that much left of the part.
        """
        minor = part.left_minor if minor is None else minor
        minutes = part.left_minutes if minutes is None else minutes
        if not _within(minor, part.left_minor) or not _within(minutes, part.left_minutes):
            raise _gone(self, f"has less left in part {part.taken.part} than was to be given back")
        self.amounts[bucket_of(part.kind, issued=issued)] -= minor
        self.amounts["open"] += minor
        self.open_minutes += minutes
        part.left_minor -= minor
        part.left_minutes -= minutes
        part.releases += 1
        taken = part.taken
        return {
            "allocation_key": allocation_key(self.row.item_key, taken.part, part.releases),
            "item_id": self.item_id,
            "part": taken.part,
            "release_no": part.releases,
            "kind": kind.value,
            "minutes": -minutes,
            "amount_minor": -minor,
            "currency": taken.currency,
            "part_minor": taken.part_minor,
            "left_minor": part.left_minor,
            "left_minutes": part.left_minutes,
            "at": at,
        }

    def move(self, source: str, target: str, minor: int) -> None:
        """Move an amount between buckets, for example from drafted to billed."""
        self.amounts[source] -= minor
        self.amounts[target] += minor

    def reprice(self, open_minor: int) -> tuple[int, int]:
        """Set what is open; answers the priced amount before and after."""
        before = sum(self.amounts.values())
        self.amounts["open"] = open_minor
        return before, sum(self.amounts.values())

    def columns(self, at: datetime) -> dict[str, Any]:
        """What to write back."""
        return {
            "row_id": self.item_id,
            **{f"{name}_minor": value for name, value in self.amounts.items()},
            "priced_minor": sum(self.amounts.values()),
            "open_minutes": self.open_minutes,
            "parts": self.parts,
            "billing": self.state().value,
            "updated_at": at,
        }

    def state(self) -> BillingState:
        """The state of what is least far."""
        amounts = self.amounts
        if amounts["open"] or self.open_minutes or not self.parts:
            return BillingState.UNBILLED
        for bucket, state in _STATES:
            if amounts[bucket]:
                return state
        # Nothing has an amount, for example free work: all of it is dealt with.
        return BillingState.BILLED


_STATES = (
    ("held", BillingState.HELD),
    ("drafted", BillingState.DRAFTED),
    ("billed", BillingState.BILLED),
    ("written", BillingState.BILLED),
    ("covered", BillingState.COVERED),
    ("withdrawn", BillingState.NOT_BILLABLE),
)


def _within(wanted: int, there: int) -> bool:
    return 0 <= wanted <= there if there >= 0 else there <= wanted <= 0


def _gone(sheet: Sheet, words: str) -> Conflict:
    return Conflict(
        f"{sheet.row.item_key} {words}.",
        cause=Cause.VERSION_CONFLICT,
        system="ledger",
        remedy="decide again over the item as it is now",
    )
