"""Giving parts back, with what they used of caps and drew from retainers, in one transaction (rule 1)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.invoicing import DocumentState
from canonical.items import AllocationKind, LimitUse
from canonical.money import Money
from canonical.names import movement_key
from canonical.retainers import Movement, MovementKind
from ledger.accounts import Accounts
from ledger.item_rows import change_items, chunks, items_by_id
from ledger.sheets import Part, Sheet, parts_of
from ledger.tables.accounts import CapUse
from ledger.tables.allocation import Allocation
from ledger.tables.billable_item import BillableItem
from ledger.tables.invoice_state import InvoiceState


@dataclass(frozen=True)
class GiveBack:
    """Some of a part to give back; all that is left where amounts are empty."""

    allocation_key: str
    minutes: int | None = None
    minor: int | None = None
    billed_minor: int | None = None
    """In the document's currency; in proportion when empty."""


@dataclass
class Moves:
    """What one transaction does to items and accounts, written in few statements at its end."""

    sheets: dict[int, Sheet] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    uses: list[tuple[str, LimitUse]] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)

    def sheet(self, row: BillableItem) -> Sheet:
        """The working copy of an item."""
        return self.sheets.setdefault(row.id or 0, Sheet(row))


COLUMNS = {
    "billed_minor": None,
    "billed_currency": None,
    "document": None,
    "cause": None,
    "reason": None,
    "until": None,
}
"""What every allocation row has besides what its sheet says."""


class Releases(Accounts):
    """What allocations, documents and withdrawals have in common."""

    async def _give_back(
        self,
        session: AsyncSession,
        moves: Moves,
        wanted: Sequence[GiveBack],
        kind: AllocationKind,
        *,
        document: str | None = None,
        reason: str | None = None,
    ) -> list[tuple[Sheet, Part, dict[str, Any]]]:
        """Free parts; with them what they used of caps and drew from retainers. Parts of which nothing is
        left are passed over.
        """
        by_key = {one.allocation_key: one for one in wanted}
        taken: list[Allocation] = []
        for keys in chunks(sorted(by_key)):
            query = select(Allocation).where(col(Allocation.allocation_key).in_(keys))
            taken += list(await session.exec(query))
        items = await items_by_id(session, (row.item_id for row in taken), lock=True)
        parts = await self._parts(session, items)
        uses = await self._cap_uses(session, self._entries(parts, taken))
        draws = await self._draws(session, (row.allocation_key for row in taken))
        issued = await self._issued(session, {row.document for row in taken if row.document})
        freed = []
        for row in sorted(taken, key=lambda one: (one.item_id, one.part)):
            part = parts[row.item_id, row.part]
            if not part.is_live:
                continue
            one = by_key[row.allocation_key]
            sheet = moves.sheet(items[row.item_id])
            left_before = part.left_minor
            columns = sheet.free(
                part,
                kind,
                self.now(),
                issued=row.document in issued,
                minutes=one.minutes,
                minor=one.minor,
            )
            billed = _billed_share(part, left_before, one.billed_minor)
            columns |= {
                **COLUMNS,
                "billed_minor": billed,
                "billed_currency": row.billed_currency,
                "document": document or row.document,
                "reason": reason,
            }
            moves.rows.append(columns)
            self._free_accounts(moves, part, left_before, columns, uses, draws)
            freed.append((sheet, part, columns))
        return freed

    def _free_accounts(
        self,
        moves: Moves,
        part: Part,
        left_before: int,
        columns: dict[str, Any],
        uses: dict[str, list[CapUse]],
        draws: dict[str, list[Movement]],
    ) -> None:
        """A credit frees what it credits (rule 31); what was drawn returns to its lot (rule 32)."""
        taken, share = part.taken, (part.left_minor, left_before)
        spent: dict[str, list[CapUse]] = defaultdict(list)
        for number in range(part.releases):
            for use in uses.get(_entry(taken, number), []):
                spent[use.cap_key].append(use)
        for key, rows in sorted(spent.items()):
            used = sum(row.amount_minor for row in rows)
            back = used - _proportion(used, share)
            if back:
                limit = Money.of_minor(rows[-1].limit_minor, rows[-1].currency)
                freed = LimitUse(key=key, amount=Money.of_minor(-back, rows[-1].currency), limit=limit)
                moves.uses.append((columns["allocation_key"], freed))
        drawn = draws.get(taken.allocation_key, [])
        spent_in_all = -sum(one.amount.minor for one in drawn)
        rest = spent_in_all - _proportion(spent_in_all, share)
        lots: dict[tuple[str, str], int] = defaultdict(int)
        for one in drawn:
            lots[one.account, one.lot] -= one.amount.minor
        # The newest lot first: what was drawn last is given back first.
        for (account, lot), taken_from in reversed(list(lots.items())):
            returned = min(rest, taken_from)
            if returned <= 0:
                continue
            rest -= returned
            moves.movements.append(
                Movement(
                    key=movement_key(
                        account, MovementKind.RETURNED.value, f"{columns['allocation_key']}/{lot}"
                    ),
                    account=account,
                    kind=MovementKind.RETURNED,
                    lot=lot,
                    on=self.now().date(),
                    amount=Money.of_minor(returned, taken.currency),
                    document=taken.allocation_key,
                )
            )

    def _entries(self, parts: dict[tuple[int, int], Part], taken: Iterable[Allocation]) -> list[str]:
        return [
            _entry(row, number)
            for row in taken
            for number in range(parts[row.item_id, row.part].releases + 1)
        ]

    async def _parts(self, session: AsyncSession, items: Iterable[int]) -> dict[tuple[int, int], Part]:
        rows: list[Allocation] = []
        for ids in chunks(items):
            query = select(Allocation).where(col(Allocation.item_id).in_(ids)).order_by(col(Allocation.id))
            rows += list(await session.exec(query))
        return parts_of(rows)

    async def _issued(self, session: AsyncSession, documents: Iterable[str]) -> set[str]:
        found: set[str] = set()
        for keys in chunks(sorted(set(documents))):
            query = select(InvoiceState.document).where(
                col(InvoiceState.document).in_(keys), col(InvoiceState.state) == DocumentState.ISSUED
            )
            found |= set(await session.exec(query))
        return found

    async def _apply(self, session: AsyncSession, moves: Moves) -> None:
        if moves.rows:
            await (await session.connection()).execute(insert(Allocation), moves.rows)
        await self._use_caps(session, moves.uses)
        await self._move(session, moves.movements)
        now = self.now()
        if moves.sheets:
            await change_items(session, [sheet.columns(now) for sheet in moves.sheets.values()])

    async def _open_drafts(self, session: AsyncSession, documents: Iterable[str]) -> set[str]:
        found: set[str] = set()
        states = (DocumentState.DRAFTING, DocumentState.DRAFTED)
        for keys in chunks(sorted(set(documents))):
            query = select(InvoiceState.document).where(
                col(InvoiceState.document).in_(keys), col(InvoiceState.state).in_(states)
            )
            found |= set(await session.exec(query))
        return found


def _entry(row: Allocation, release: int) -> str:
    return row.allocation_key + (f"-{release}" if release else "")


def _proportion(amount: int, share: tuple[int, int]) -> int:
    """What of ``amount`` stays when ``share`` (left, before) of its part stays; whole, towards zero."""
    left, before = share
    if before == 0 or left == 0:
        return 0
    whole = abs(amount) * abs(left) // abs(before)
    return whole if amount >= 0 else -whole


def _billed_share(part: Part, left_before: int, told: int | None) -> int | None:
    """What a release is in the document's currency: the opposite of what was billed, in proportion."""
    if part.taken.billed_minor is None:
        return None
    back = told
    if back is None:
        back = part.left_billed - _proportion(part.left_billed, (part.left_minor, left_before))
    part.left_billed -= back
    return -back
