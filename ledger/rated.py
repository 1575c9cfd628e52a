"""What a change of rates finds: priced work, what of it is unbilled or billed, its adjustments (rule 7)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.items import AllocationKind, ItemKind
from canonical.money import Money
from ledger.billing_rows import RatedItem
from ledger.core import unbroken
from ledger.credits import billed_line
from ledger.intake import Intake
from ledger.item_rows import chunks, item_row
from ledger.rows import Page
from ledger.sheets import Part
from ledger.tables.allocation import Repricing
from ledger.tables.billable_item import BillableItem


class Rated(Intake):
    """Reading what rates concern."""

    @unbroken
    async def rated(self, contract_key: str, *, after: int = 0, limit: int = 500) -> Page[RatedItem]:
        """Time of a contract that has a price, oldest item first. What was withdrawn is left out."""
        query = _of(contract_key, ItemKind.TIME).where(col(BillableItem.id) > after).limit(limit)
        async with self.reading() as session:
            rows = list(await session.exec(query))
            found = await self._rated(session, rows)
        cursor = rows[-1].id if rows and len(rows) == limit else None
        return Page(rows=tuple(found), cursor=cursor)

    @unbroken
    async def adjustments(self, contract_key: str) -> dict[str, list[RatedItem]]:
        """A contract's adjustments by the item that they adjust, oldest first."""
        by_item: dict[str, list[RatedItem]] = defaultdict(list)
        async with self.reading() as session:
            rows = list(await session.exec(_of(contract_key, ItemKind.ADJUSTMENT)))
            for one in await self._rated(session, rows):
                if one.item.fee is not None and one.item.fee.adjusts is not None:
                    by_item[one.item.fee.adjusts].append(one)
        return dict(by_item)

    @unbroken
    async def repriced_since_posting(self, items: Iterable[int]) -> dict[int, int]:
        """By item, by how many minor units its worth has changed since the ERP was told of it."""
        found: dict[int, int] = {}
        delta = func.sum(col(Repricing.after_minor) - col(Repricing.before_minor))
        async with self.reading() as session:
            for part in chunks(items):
                query = (
                    select(Repricing.item_id, delta)
                    .join(BillableItem, col(BillableItem.id) == col(Repricing.item_id))
                    .where(col(Repricing.item_id).in_(part), col(Repricing.at) >= col(BillableItem.posted_at))
                    .group_by(col(Repricing.item_id))
                )
                found |= {item_id: int(minor) for item_id, minor in await session.exec(query)}
        return found

    async def _rated(self, session: AsyncSession, rows: Sequence[BillableItem]) -> list[RatedItem]:
        parts = await self._parts(session, [row.id or 0 for row in rows])
        documents = {part.taken.document for part in parts.values() if part.taken.document}
        issued = await self._issued(session, documents)
        drafts = await self._open_drafts(session, documents)
        own: dict[int, list[Part]] = defaultdict(list)
        for (item_id, _), part in sorted(parts.items(), key=lambda pair: pair[0]):
            if part.is_live:
                own[item_id].append(part)
        return [_rated_item(row, own[row.id or 0], issued, drafts) for row in rows]


def _of(contract_key: str, kind: ItemKind) -> Any:
    return (
        select(BillableItem)
        .where(
            col(BillableItem.contract_key) == contract_key,
            col(BillableItem.kind) == kind,
            col(BillableItem.withdrawn).is_(None),
            col(BillableItem.currency).is_not(None),
        )
        .order_by(col(BillableItem.id))
    )


def _rated_item(row: BillableItem, parts: Sequence[Part], issued: set[str], drafts: set[str]) -> RatedItem:
    item = item_row(row)
    minutes, minor = row.open_minutes, row.open_minor
    billed, busy = [], False
    for part in parts:
        on_invoice = part.kind is AllocationKind.BILLED
        if part.kind is AllocationKind.HELD or (on_invoice and part.taken.document in drafts):
            minutes += part.left_minutes
            minor += part.left_minor
        elif on_invoice and part.taken.document in issued:
            billed.append(billed_line(item, part))
        elif on_invoice:
            busy = True
    settled = row.priced_minor - minor - row.withdrawn_minor
    currency = row.currency or ""
    return RatedItem(
        item=item,
        unbilled_minutes=minutes,
        unbilled=Money.of_minor(minor, currency),
        settled=Money.of_minor(settled, currency),
        billed=tuple(billed),
        busy=busy,
    )
