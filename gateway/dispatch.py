"""Handing events over: at once after they were received, and by sweeping the inbox for what a crash left."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from types import TracebackType

from canonical.failures import SystemFailure
from ledger.inbox import OPEN, InboxRow, InboxState
from runtime.logging import logger
from wiring.events import Desk, Outcome, hand_over

_log = logger("trueup.gateway")

BACKLOG = 1_000
"""Events kept in memory at most; the sweeper finds the others in the inbox."""


class Dispatcher:
    """Hands events over, some at a time. Enter it to let it run."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._section = desk.settings.gateway
        self._queue: asyncio.Queue[InboxRow] = asyncio.Queue(BACKLOG)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def lease(self) -> timedelta:
        """How long one process has for handing over an event."""
        return timedelta(seconds=self._section.lease_seconds)

    async def __aenter__(self) -> Dispatcher:
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._section.at_once)]
        self._tasks.append(asyncio.create_task(self._sweep()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What is cut off here is found by the next sweep of any process.
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    def offer(self, rows: Iterable[InboxRow]) -> None:
        """Take events that were just received; more than memory holds is left to the sweeper."""
        for row in rows:
            if row.state.value in OPEN:
                with suppress(asyncio.QueueFull):
                    self._queue.put_nowait(row)

    async def settle(self, row: InboxRow) -> Outcome:
        """Hand one event over and write down what became of it."""
        outcome = await hand_over(self._desk, row)
        ledger = self._desk.ledger
        if outcome.until is not None:
            await ledger.postpone_event(row.id, outcome.until, outcome.reason)
        else:
            await ledger.settle_event(row.id, outcome.state, reason=outcome.reason, saga_id=outcome.saga_id)
        if outcome.state is InboxState.PARKED:
            _log.warning("event parked", source=row.source, row=row.id, reason=outcome.reason)
        return outcome

    async def sweep(self) -> int:
        """Settle everything that is due now; answers how many events that were."""
        done = 0
        while rows := await self._desk.ledger.claim_events(lease=self.lease, limit=100):
            for row in rows:
                await self._settled(row)
            done += len(rows)
        return done

    async def drain(self) -> None:
        """Settle what was offered; for tests and for a caller that runs no tasks."""
        while not self._queue.empty():
            await self._settled(self._queue.get_nowait())

    async def _work(self) -> None:
        while True:
            await self._settled(await self._queue.get())

    async def _sweep(self) -> None:
        while True:
            try:
                for row in await self._desk.ledger.claim_events(lease=self.lease, limit=100):
                    await self._queue.put(row)
            except SystemFailure as away:
                _log.warning("the inbox cannot be searched now", failure=str(away))
            except Exception as error:
                _log.error("the inbox could not be searched", exc_info=error)
            await asyncio.sleep(self._section.sweep_seconds)

    async def _settled(self, row: InboxRow) -> None:
        try:
            await self.settle(row)
        except SystemFailure as away:
            _log.warning("an event stays in the inbox for now", row=row.id, failure=str(away))
        except Exception as error:
            # It stays due: the next sweep takes it again.
            _log.error("an event could not be handed over", row=row.id, exc_info=error)
