"""What every part of the ledger stands on: short transactions, locks by name, time, error translation."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.failures import Defect
from ledger.engine import WRITE
from ledger.errors import DRIVER_ERRORS, translate
from ledger.personal import Sealer
from ledger.tables.base import Table


def utc_now() -> datetime:
    """The default clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Open:
    """The transaction that a task is inside of."""

    owner: object
    task: object
    session: AsyncSession
    writes: bool


_OPEN: ContextVar[_Open | None] = ContextVar("trueup_ledger_transaction", default=None)


class Core:
    """Transactions, locks and the clock. Use ``ledger.store.Ledger``."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        clock: Callable[[], datetime] = utc_now,
        sealer: Sealer | None = None,
        look_always: bool = False,
    ) -> None:
        self._engine = engine
        self._writer = engine.execution_options(**{WRITE: True})
        self._sqlite = engine.dialect.name == "sqlite"
        # SQLite has one writer at a time and its waiters poll; queueing them here is fair and quick.
        self._gate = asyncio.Lock() if self._sqlite else None
        self._clock = clock
        self._sealer = sealer
        self.look_always = look_always

    @property
    def database(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    def now(self) -> datetime:
        """The injected clock's time in UTC.

        Raises:
            ValueError: the clock gives times without a zone.
        """
        now = self._clock()
        if now.tzinfo is None:
            raise ValueError("the ledger's clock must give times with a zone")
        return now.astimezone(UTC)

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One short write transaction. Ledger calls made inside by the same task join it.

        Never await a vendor, a workflow or a person inside: locks are held.

        Raises:
            Transient: the database is away or busy (cause ``LEDGER_UNAVAILABLE``); nothing was changed,
                or everything was and the answer got lost, so every call of the ledger can be repeated.
        """
        joined = self._joined(writes=True)
        if joined is not None:
            yield joined
            return
        async with self._gate or nullcontext(), self._session(self._writer, writes=True) as session:
            yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """One read transaction; joins the task's own write transaction, so that it sees its rows."""
        joined = self._joined(writes=False)
        if joined is not None:
            yield joined
            return
        async with self._session(self._engine, writes=False) as session:
            yield session

    def _joined(self, *, writes: bool) -> AsyncSession | None:
        current = _OPEN.get()
        if current is None or current.owner is not self or current.task is not asyncio.current_task():
            return None
        if writes and not current.writes:
            raise Defect("a ledger write was started inside a ledger read", system="ledger")
        return current.session

    @asynccontextmanager
    async def _session(self, engine: AsyncEngine, *, writes: bool) -> AsyncIterator[AsyncSession]:
        try:
            async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
                await session.connection()
                token = _OPEN.set(_Open(self, asyncio.current_task(), session, writes))
                try:
                    yield session
                finally:
                    _OPEN.reset(token)
        except DRIVER_ERRORS as error:
            raise translate(error) from error

    async def lock(self, session: AsyncSession, *names: str) -> None:
        """Serialise with everybody who locks one of ``names``, until the transaction ends.

        SQLite's write transactions are serial already. The order is fixed, so that two transactions
        with several names never wait for each other.
        """
        if self._sqlite:
            return
        numbers = sorted(
            int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
            for name in set(names)
        )
        for number in numbers:
            await session.exec(select(func.pg_advisory_xact_lock(number)))

    async def insert_ignore(
        self, session: AsyncSession, table: type[Table], values: Mapping[str, Any] | list[dict[str, Any]]
    ) -> None:
        """Insert rows, leaving those that are there already as they are."""
        insert = sqlite.insert(table) if self._sqlite else postgresql.insert(table)
        await session.exec(insert.values(values).on_conflict_do_nothing())
