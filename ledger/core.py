"""What every part of the ledger stands on: short transactions, locks by name, time, error translation."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

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


@dataclass
class _Open:
    """The transaction that a task is inside of."""

    owner: object
    task: object
    session: AsyncSession
    writes: bool
    over: bool = False


_OPEN: ContextVar[_Open | None] = ContextVar("trueup_ledger_transaction", default=None)


S = TypeVar("S", bound="Core")
P = ParamSpec("P")
R = TypeVar("R")


def unbroken(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Let a ledger method end before its caller is cancelled.

    A cancelled statement leaves its connection in the middle of a transaction, with SQLite's write lock,
    until somebody collects it (measured: the next writers wait out the busy timeout). Activities are
    cancelled at any point; ledger calls are short, so the cancellation waits for them.
    """

    @wraps(method)
    async def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if self._inside() is not None:
            return await method(self, *args, **kwargs)
        task = asyncio.create_task(method(self, *args, **kwargs))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            while not task.done():
                # A second cancellation waits as well.
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # Seen: the caller gets the cancellation instead.
            raise

    return run


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

        Never await a vendor, a workflow or a person inside: locks are held. Callers that can be cancelled
        use ``together``.

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

    @unbroken
    async def together(self, work: Callable[[], Awaitable[R]]) -> R:
        """Await ``work`` in one transaction: the ledger calls it makes happen all or not at all.

        Unlike ``transaction`` it is safe for callers that can be cancelled.
        """
        async with self.transaction():
            return await work()

    def _inside(self) -> _Open | None:
        """The open transaction of this task.

        Raises:
            Defect: the transaction is another task's; waiting for it here could wait for ever.
        """
        current = _OPEN.get()
        if current is None or current.owner is not self or current.over:
            return None
        if current.task is not asyncio.current_task():
            raise Defect("a task started inside a ledger transaction calls the ledger", system="ledger")
        return current

    def _joined(self, *, writes: bool) -> AsyncSession | None:
        current = self._inside()
        if current is None:
            return None
        if writes and not current.writes:
            raise Defect("a ledger write was started inside a ledger read", system="ledger")
        return current.session

    @asynccontextmanager
    async def _session(self, engine: AsyncEngine, *, writes: bool) -> AsyncIterator[AsyncSession]:
        try:
            async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
                await session.connection()
                opened = _Open(self, asyncio.current_task(), session, writes)
                token = _OPEN.set(opened)
                try:
                    yield session
                finally:
                    opened.over = True
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
