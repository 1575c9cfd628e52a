"""SQLite with one hand-over to its thread per statement.

``aiosqlite`` runs every call in a thread of the connection's own. SQLAlchemy makes four of them for one
statement: cursor, execute, fetch, close. Each waits until the other thread gets the interpreter, which a busy
worker lets go of every few milliseconds only, and all that time the write lock is held. Here a statement is
one call, and a transaction that is over is not rolled back once more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import aiosqlite
from aiosqlite.context import contextmanager


class WholeCursor(aiosqlite.Cursor):
    """A cursor whose statement is executed, read to its end and closed in one go."""

    def __init__(self, connection: WholeConnection) -> None:
        # The parent keeps a cursor of the driver; here there is one only while a statement runs.
        self.iter_chunk_size = connection.chunk
        self._conn = connection
        self._told: Any = None
        self._count, self._last = -1, None
        self._rows: list[Any] = []

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> WholeCursor:
        """Execute and read everything."""
        return await self._run(sqlite3.Cursor.execute, sql, () if parameters is None else parameters)

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> WholeCursor:
        """Execute once per set of parameters."""
        return await self._run(sqlite3.Cursor.executemany, sql, parameters)

    async def _run(self, method: Any, sql: str, parameters: Any) -> WholeCursor:
        connection: Any = self._conn
        whole = connection._execute(_whole, connection._conn, method, sql, parameters)
        self._told, self._count, self._last, self._rows = await whole
        return self

    async def fetchall(self) -> Sequence[Any]:
        """What was read."""
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def description(self) -> Any:
        """The columns of the last statement; None when it has none."""
        return self._told

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed."""
        return self._count

    @property
    def lastrowid(self) -> int | None:
        """The number of the last row that was inserted."""
        return self._last


class WholeConnection(aiosqlite.Connection):
    """A connection whose statements are one call each."""

    chunk = 64

    @contextmanager
    async def cursor(self) -> aiosqlite.Cursor:
        """A cursor; nothing is asked of the thread before there is a statement."""
        return WholeCursor(self)

    async def rollback(self) -> None:
        """Roll back, if there is anything to."""
        if self.in_transaction:
            await super().rollback()


def connect(database: str, **more: Any) -> WholeConnection:
    """A connection; to be awaited, as ``aiosqlite.connect``."""
    made = WholeConnection(lambda: sqlite3.connect(database, **more), WholeConnection.chunk)
    made._thread.daemon = True  # as SQLAlchemy sets it: a process that ends does not wait for it
    return made


def _whole(
    connection: sqlite3.Connection, method: Any, sql: str, parameters: Any
) -> tuple[Any, int, int | None, list[Any]]:
    cursor = connection.cursor()
    try:
        method(cursor, sql, parameters)
        rows = cursor.fetchall() if cursor.description else []
        return cursor.description, cursor.rowcount, cursor.lastrowid, rows
    finally:
        cursor.close()
