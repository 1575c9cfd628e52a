"""Long activities that come to an end in good order: when their saga is to stop, or their worker is.

A cancel must not tear a batch in half: what is in flight is brought to its end and committed, nothing new is
begun. A cancelled activity then answers how far it came; one whose worker stops fails, so that the server
gives it to another worker, which goes on from what is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from temporalio import activity

from canonical.failures import Transient

R = TypeVar("R")
T = TypeVar("T")


class Ending:
    """Whether to come to an end. ``stopped``: the saga wants it; else it is the worker that stops."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.stopped = False

    @property
    def wanted(self) -> bool:
        """Whether nothing new is to be begun."""
        return self._event.is_set()

    def ask(self, *, stopped: bool) -> None:
        """Ask for the end."""
        self.stopped = self.stopped or stopped
        self._event.set()

    async def pause(self, seconds: float) -> None:
        """Sleep, unless the end is asked for."""
        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except TimeoutError:
            return


async def ending_well(work: Callable[[Ending], Awaitable[R]]) -> R:
    """Run ``work`` to its end, in good order also when it is cancelled.

    Raises:
        Transient: the worker stops; the rest is for another one.
    """
    ending = Ending()
    task = asyncio.ensure_future(work(ending))
    watch = asyncio.create_task(_watch(ending))
    try:
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                if task.cancelled():
                    raise
                details = activity.cancellation_details()
                ending.ask(stopped=details is not None and details.cancel_requested)
        result = task.result()
    finally:
        watch.cancel()
    if ending.wanted and not ending.stopped:
        raise Transient("The worker is being stopped; another one goes on.")
    return result


async def _watch(ending: Ending) -> None:
    await activity.wait_for_worker_shutdown()
    ending.ask(stopped=False)


async def in_window(
    size: int, source: AsyncIterator[T], work: Callable[[T], Awaitable[None]], ending: Ending
) -> None:
    """Do ``work`` for everything that ``source`` gives, at most ``size`` at a time, in no order.

    After a failure or a wish to end nothing new is taken; what is under way is brought to its end.

    Raises:
        BaseException: the first failure, once everything under way has ended.
    """
    running: set[asyncio.Task[None]] = set()
    failed: BaseException | None = None
    try:
        async for one in source:
            running.add(asyncio.ensure_future(work(one)))
            while len(running) >= size or (running and ending.wanted):
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                failed = _first_failure(failed, done)
            if failed is not None or ending.wanted:
                break
    finally:
        while running:
            done, running = await asyncio.wait(running)
            failed = _first_failure(failed, done)
    if failed is not None:
        raise failed


def _first_failure(known: BaseException | None, done: set[asyncio.Task[None]]) -> BaseException | None:
    """The failure that is told. Every task is asked for its own: one that nobody asks for is reported by the
    event loop, at some later moment, as forgotten.
    """
    found = [error for task in done if (error := task.exception()) is not None]
    return known or next(iter(found), None)
