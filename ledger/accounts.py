"""Caps, purchase orders and retainers as accounts whose rows carry their balances (rules 31, 32).

Whoever writes to an account locks it first, and reads its last row under that lock. The constraints of the
tables are the last word: a row that overdraws, or that another writer has written too, is refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import func, insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.base import Canonical
from canonical.causes import Cause
from canonical.failures import Conflict, Defect
from canonical.items import LimitUse
from canonical.money import Money
from canonical.retainers import Movement, MovementKind, RetainerLot
from ledger.core import unbroken
from ledger.cursors import Cursors
from ledger.item_rows import chunks
from ledger.tables.accounts import CapUse, RetainerMovement


class AccountBalances(Canonical):
    """Balances of the accounts asked for; what was never used is missing."""

    used: dict[str, Money] = {}
    lots: dict[str, tuple[RetainerLot, ...]] = {}


class Accounts(Cursors):
    """Reading and moving the accounts."""

    @unbroken
    async def account_balances(
        self, limits: Iterable[str] = (), retainers: Iterable[str] = (), *, lock: bool = False
    ) -> AccountBalances:
        """Balances now. With ``lock``, inside ``together``: nobody else moves them until it ends.

        Raises:
            Defect: ``lock`` outside a transaction: the lock would be gone before it is of use.
        """
        limits, retainers = sorted(set(limits)), sorted(set(retainers))
        if lock and self._inside() is None:
            raise Defect("account balances are locked outside a transaction", system="ledger")
        opened = self.transaction() if lock else self.reading()
        async with opened as session:
            if lock:
                await self.lock(session, *(_name(key) for key in (*limits, *retainers)))
            ends = await self._cap_ends(session, limits)
            used = {key: Money.of_minor(row.used_minor, row.currency) for key, row in ends.items()}
            lots = {account: tuple(await self._lots(session, account)) for account in retainers}
            return AccountBalances(used=used, lots={key: value for key, value in lots.items() if value})

    @unbroken
    async def add_movements(self, movements: Sequence[Movement]) -> int:
        """Add movements of retainers; those that are there already are left alone.

        Returns:
            How many were new.

        Raises:
            Conflict: a balance would become negative.
        """
        async with self.transaction() as session:
            return await self._move(session, movements)

    @unbroken
    async def movements(self, account: str) -> list[Movement]:
        """All movements of a retainer, oldest first."""
        async with self.reading() as session:
            query = select(RetainerMovement).where(col(RetainerMovement.account) == account)
            rows = await session.exec(query.order_by(col(RetainerMovement.number)))
            return [_movement(row) for row in rows]

    @unbroken
    async def open_retainers(self) -> list[str]:
        """Retainers that have a balance left, by account."""
        last = (
            select(RetainerMovement.account, func.max(RetainerMovement.number).label("number"))
            .group_by(col(RetainerMovement.account))
            .subquery()
        )
        query = (
            select(RetainerMovement.account)
            .join(
                last,
                (col(RetainerMovement.account) == last.c.account)
                & (col(RetainerMovement.number) == last.c.number),
            )
            .where(col(RetainerMovement.balance_minor) > 0)
            .order_by(col(RetainerMovement.account))
        )
        async with self.reading() as session:
            return list(await session.exec(query))

    # --- caps ---------------------------------------------------------------------------------------

    async def _cap_ends(self, session: AsyncSession, keys: Sequence[str]) -> dict[str, CapUse]:
        """The last row of each cap."""
        found: dict[str, CapUse] = {}
        for part in chunks(keys):
            last = (
                select(CapUse.cap_key, func.max(CapUse.number).label("number"))
                .where(col(CapUse.cap_key).in_(part))
                .group_by(col(CapUse.cap_key))
                .subquery()
            )
            query = select(CapUse).join(
                last, (col(CapUse.cap_key) == last.c.cap_key) & (col(CapUse.number) == last.c.number)
            )
            found |= {row.cap_key: row for row in await session.exec(query)}
        return found

    async def _use_caps(self, session: AsyncSession, uses: Sequence[tuple[str, LimitUse]]) -> None:
        """Write (entry key, use) in the given order.

        Raises:
            Conflict: a limit would be overdrawn: somebody else was quicker.
        """
        if not uses:
            return
        keys = sorted({use.key for _, use in uses})
        await self.lock(session, *(_name(key) for key in keys))
        ends = await self._cap_ends(session, keys)
        used = {key: row.used_minor for key, row in ends.items()}
        number = {key: row.number for key, row in ends.items()}
        rows: list[dict[str, Any]] = []
        for entry, use in uses:
            used[use.key] = used.get(use.key, 0) + use.amount.minor
            number[use.key] = number.get(use.key, 0) + 1
            if use.amount.minor > 0 and used[use.key] > use.limit.minor:
                raise _overdrawn(f"{use.key} has a limit of {use.limit}, which is used up")
            if used[use.key] < 0:
                raise _overdrawn(f"{use.key} would be given back more than was used of it")
            rows.append(
                {
                    "cap_key": use.key,
                    "number": number[use.key],
                    "entry_key": entry,
                    "amount_minor": use.amount.minor,
                    "used_minor": used[use.key],
                    "limit_minor": use.limit.minor,
                    "currency": use.amount.currency,
                    "at": self.now(),
                }
            )
        await (await session.connection()).execute(insert(CapUse), rows)

    async def _cap_uses(self, session: AsyncSession, entries: Iterable[str]) -> dict[str, list[CapUse]]:
        """What allocations used of caps, by allocation key."""
        found: dict[str, list[CapUse]] = defaultdict(list)
        for part in chunks(sorted(set(entries))):
            query = select(CapUse).where(col(CapUse.entry_key).in_(part)).order_by(col(CapUse.id))
            for row in await session.exec(query):
                found[row.entry_key].append(row)
        return found

    # --- retainers ----------------------------------------------------------------------------------

    async def _lot_ends(self, session: AsyncSession, account: str) -> list[RetainerMovement]:
        """The last row of each lot of a retainer, oldest lot first."""
        last = (
            select(func.max(RetainerMovement.number).label("number"))
            .where(col(RetainerMovement.account) == account)
            .group_by(col(RetainerMovement.lot))
            .subquery()
        )
        query = (
            select(RetainerMovement)
            .where(col(RetainerMovement.account) == account)
            .join(last, col(RetainerMovement.number) == last.c.number)
            .order_by(col(RetainerMovement.lot_opened_on), col(RetainerMovement.lot))
        )
        return list(await session.exec(query))

    async def _lots(self, session: AsyncSession, account: str) -> list[RetainerLot]:
        query = (
            select(RetainerMovement.lot, func.count())
            .where(
                col(RetainerMovement.account) == account,
                col(RetainerMovement.kind) == MovementKind.EXPIRED,
            )
            .group_by(col(RetainerMovement.lot))
        )
        expired = dict((await session.exec(query)).all())
        return [
            RetainerLot(
                lot=row.lot,
                opened_on=row.lot_opened_on,
                balance=Money.of_minor(row.lot_minor, row.currency),
                rolled_over=row.lot_rolled,
                expired=expired.get(row.lot, 0),
            )
            for row in await self._lot_ends(session, account)
        ]

    async def _move(self, session: AsyncSession, movements: Sequence[Movement]) -> int:
        if not movements:
            return 0
        accounts = sorted({one.account for one in movements})
        await self.lock(session, *(_name(account) for account in accounts))
        known: set[str] = set()
        for part in chunks(one.key for one in movements):
            query = select(RetainerMovement.movement_key).where(col(RetainerMovement.movement_key).in_(part))
            known |= set(await session.exec(query))
        rows: list[dict[str, Any]] = []
        for account in accounts:
            own = [one for one in movements if one.account == account and one.key not in known]
            rows += await self._account_rows(session, account, own)
        if rows:
            await (await session.connection()).execute(insert(RetainerMovement), rows)
        return len(rows)

    async def _account_rows(
        self, session: AsyncSession, account: str, movements: Sequence[Movement]
    ) -> list[dict[str, Any]]:
        ends = {row.lot: row for row in await self._lot_ends(session, account)}
        lots = {lot: row.lot_minor for lot, row in ends.items()}
        opened = {lot: row.lot_opened_on for lot, row in ends.items()}
        rolled = {lot: row.lot_rolled for lot, row in ends.items()}
        last = max(ends.values(), key=lambda row: row.number, default=None)
        number, balance = (last.number, last.balance_minor) if last is not None else (0, 0)
        rows = []
        for one in movements:
            number += 1
            balance += one.amount.minor
            lots[one.lot] = lots.get(one.lot, 0) + one.amount.minor
            if lots[one.lot] < 0 or balance < 0:
                raise _overdrawn(f"{account}, lot {one.lot}, has not {-one.amount} left")
            opened.setdefault(one.lot, one.on)
            rolled[one.lot] = rolled.get(one.lot, 0) + (one.kind is MovementKind.ROLLED_OVER)
            rows.append(
                {
                    "account": account,
                    "number": number,
                    "movement_key": one.key,
                    "kind": one.kind.value,
                    "lot": one.lot,
                    "lot_opened_on": opened[one.lot],
                    "lot_rolled": rolled[one.lot],
                    "on_day": one.on,
                    "amount_minor": one.amount.minor,
                    "lot_minor": lots[one.lot],
                    "balance_minor": balance,
                    "currency": one.amount.currency,
                    "document": one.document,
                    "at": self.now(),
                }
            )
        return rows

    async def _draws(self, session: AsyncSession, entries: Iterable[str]) -> dict[str, list[Movement]]:
        """What allocations drew from retainers and got back, by allocation key."""
        found: dict[str, list[Movement]] = defaultdict(list)
        for part in chunks(sorted(set(entries))):
            query = (
                select(RetainerMovement)
                .where(
                    col(RetainerMovement.document).in_(part),
                    col(RetainerMovement.kind).in_((MovementKind.DRAWN, MovementKind.RETURNED)),
                )
                .order_by(col(RetainerMovement.id))
            )
            for row in await session.exec(query):
                found[row.document or ""].append(_movement(row))
        return found


def _name(key: str) -> str:
    return f"account:{key}"


def _overdrawn(words: str) -> Conflict:
    return Conflict(
        f"{words}.",
        cause=Cause.VERSION_CONFLICT,
        system="ledger",
        remedy="decide again over the balances as they are now",
    )


def _movement(row: RetainerMovement) -> Movement:
    return Movement(
        key=row.movement_key,
        account=row.account,
        kind=MovementKind(row.kind),
        lot=row.lot,
        on=row.on_day,
        amount=Money.of_minor(row.amount_minor, row.currency),
        document=row.document,
    )
