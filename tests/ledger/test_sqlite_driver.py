"""SQLite's driver as the ledger uses it: one hand-over to the connection's thread per statement."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from ledger import sqlite_driver
from ledger.engine import WRITE, build

pytestmark = pytest.mark.anyio


class Counted(sqlite_driver.WholeConnection):
    """Counts what is asked of its thread."""

    asked = 0

    async def _execute(self, fn: Any, *args: Any, **more: Any) -> Any:
        self.asked += 1
        return await super()._execute(fn, *args, **more)  # type: ignore[no-untyped-call]


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[Counted]:
    made = Counted(lambda: sqlite3.connect(tmp_path / "x.db", isolation_level=None), 64)
    await made
    yield made
    await made.close()


async def fetched(cursor: Any) -> list[Any]:
    return list(await cursor.fetchall())


async def test_a_statement_is_one_call(connection: Counted) -> None:
    async with connection.cursor() as cursor:
        await cursor.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
        await cursor.executemany("INSERT INTO t (name) VALUES (?)", [("a",), ("b",)])
        assert cursor.rowcount == 2
        before = connection.asked
        await cursor.execute("SELECT id, name FROM t WHERE name > ? ORDER BY id", ("",))
        rows = await fetched(cursor)
    assert rows == [(1, "a"), (2, "b")]
    assert [column[0] for column in cursor.description] == ["id", "name"]
    assert connection.asked == before + 1


async def test_what_an_insert_returns_is_read_and_the_row_is_there(connection: Counted) -> None:
    async with connection.cursor() as cursor:
        await cursor.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
        await cursor.execute("INSERT INTO t (name) VALUES ('a'), ('b') RETURNING id")
        assert await fetched(cursor) == [(1,), (2,)]
        await cursor.execute("UPDATE t SET name = 'c'")
        assert cursor.rowcount == 2
        assert not cursor.description


async def test_only_an_open_transaction_is_rolled_back(connection: Counted) -> None:
    async with connection.cursor() as cursor:
        await cursor.execute("CREATE TABLE t (id INTEGER)")
        before = connection.asked
        await connection.rollback()
        assert connection.asked == before
        await cursor.execute("BEGIN")
        await cursor.execute("INSERT INTO t VALUES (1)")
        await connection.rollback()
        await cursor.execute("SELECT count(*) FROM t")
        assert await fetched(cursor) == [(0,)]


async def test_a_failing_statement_leaves_the_engine_usable(tmp_path: Path) -> None:
    engine = build(f"sqlite:///{tmp_path / 'x.db'}").execution_options(**{WRITE: True})
    async with engine.begin() as opened:
        await opened.execute(text("CREATE TABLE t (id INTEGER PRIMARY KEY)"))
        await opened.execute(text("INSERT INTO t VALUES (1)"))

    async def twice() -> None:
        async with engine.begin() as one:
            await one.execute(text("INSERT INTO t VALUES (2)"))
            await one.execute(text("INSERT INTO t VALUES (1)"))

    with pytest.raises(IntegrityError):
        await twice()
    async with engine.connect() as opened:
        assert (await opened.execute(text("SELECT id FROM t"))).scalars().all() == [1]
    await engine.dispose()
