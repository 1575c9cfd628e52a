"""Polling positions: moved in the transaction that takes in what was read (rules 9, 28)."""

from __future__ import annotations

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ledger.core import Core, unbroken
from ledger.tables.cursor import Cursor


class Cursors(Core):
    """Positions by name (``canonical.names.cursor_name``)."""

    @unbroken
    async def cursor(self, name: str) -> str | None:
        """The position; None when the feed was never read."""
        async with self.reading() as session:
            query = select(Cursor.value).where(col(Cursor.name) == name)
            return (await session.exec(query)).first()

    @unbroken
    async def put_cursor(self, name: str, value: str) -> None:
        """Move a position by itself, for a feed whose page brought nothing to take in."""
        async with self.transaction() as session:
            await self._put_cursor(session, name, value)

    async def _put_cursor(self, session: AsyncSession, name: str, value: str) -> None:
        query = select(Cursor).where(col(Cursor.name) == name).with_for_update()
        row = (await session.exec(query)).first()
        if row is None:
            await self.insert_ignore(session, Cursor, {"name": name, "value": value, "at": self.now()})
            row = (await session.exec(query)).one()
        row.value, row.at = value, self.now()
        session.add(row)
