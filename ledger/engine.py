"""Engines for the two databases, set up so that both keep the same promises.

SQLite: one host only; WAL; every write transaction takes the write lock at its start
(``BEGIN IMMEDIATE``), because a read that turns into a write fails when somebody else wrote between.
``synchronous=FULL``: an intent row that a power cut takes back would allow a second send.

PostgreSQL: read committed, with advisory locks per business key (``Core.lock``).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from sqlite3 import OperationalError
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from canonical.failures import ConfigurationError
from ledger import sqlite_driver
from ledger.types import dumps, loads

WRITE = "trueup_write"
"""Execution option of engines whose transactions write."""

BUSY_SECONDS = 15
"""How long to wait for another process's write lock before ``Transient``."""
CONNECT_SECONDS = 10
STATEMENT_SECONDS = 30
POOL_SIZE = 10
POOL_OVERFLOW = 10
"""Connections of one process: at most their sum."""

_WAL_TRIES = 200
_WAL_PAUSE_SECONDS = 0.02

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


def normalise(url: str) -> URL:
    """The URL with the asynchronous driver.

    Args:
        url: ``sqlite:///path``, ``sqlite+aiosqlite:///path``, ``postgresql://...`` or
            ``postgresql+asyncpg://...``.

    Raises:
        ConfigurationError: another database, not a URL, or SQLite in memory.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError(
            [
                "ledger.url is not a database URL; expected e.g. sqlite:///trueup.db or postgresql://user@host/trueup"
            ]
        ) from None
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise ConfigurationError(
            [f"ledger.url: {parsed.drivername!r} is not supported; use one of {', '.join(sorted(_DRIVERS))}"]
        )
    if driver == "sqlite+aiosqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigurationError(
            ["ledger.url: a ledger in memory forgets what was sent; give a file, e.g. sqlite:///trueup.db"]
        )
    return parsed.set(drivername=driver)


def is_sqlite(url: str) -> bool:
    """Whether the ledger is embedded, hence usable by the processes of one host only.

    Raises:
        ConfigurationError: see ``normalise``.
    """
    return normalise(url).get_backend_name() == "sqlite"


def build(url: str) -> AsyncEngine:
    """An engine for ``url``; nothing is connected yet.

    Raises:
        ConfigurationError: see ``normalise``.
    """
    target = normalise(url)
    common: dict[str, Any] = {
        "json_serializer": dumps,
        "json_deserializer": loads,
        "pool_size": POOL_SIZE,
        "max_overflow": POOL_OVERFLOW,
        "pool_timeout": STATEMENT_SECONDS,
        # Statements' parameters may be personal; they must not appear in error texts or logs.
        "hide_parameters": True,
    }
    if target.get_backend_name() == "sqlite":
        Path(str(target.database)).expanduser().parent.mkdir(parents=True, exist_ok=True)
        engine = create_async_engine(
            target,
            connect_args={"timeout": BUSY_SECONDS, "async_creator_fn": sqlite_driver.connect},
            **common,
        )
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    return create_async_engine(
        target,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        connect_args={
            "timeout": CONNECT_SECONDS,
            "command_timeout": STATEMENT_SECONDS,
            "server_settings": {
                "application_name": "trueup-ledger",
                # Whatever the server's default: an intent row that a crash takes back allows a second send.
                "synchronous_commit": "on",
                "lock_timeout": f"{BUSY_SECONDS}s",
                "idle_in_transaction_session_timeout": f"{2 * STATEMENT_SECONDS}s",
            },
        },
        **common,
    )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # None: the driver starts no transactions by itself, _begin_sqlite does.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_SECONDS * 1000}",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",  # an erased person's key must not linger in free pages
    ):
        cursor.execute(f"PRAGMA {pragma}")
    for last in [False] * _WAL_TRIES + [True]:
        # Does nothing once the file is in this mode. The first change ignores the busy timeout.
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            break
        except OperationalError:
            if last:
                raise
            connection.run_async(lambda _: asyncio.sleep(_WAL_PAUSE_SECONDS))
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
