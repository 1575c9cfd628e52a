"""How a process runs, drains and ends: signals, readiness and liveness files, and the way out."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import NoReturn

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
LIVE_SECONDS = 5.0
"""How often the liveness file is touched; a check allows several times that."""
COLLECT_AFTER = (20_000, 20, 20)
"""New objects until garbage is collected among them; how often until among older ones too."""

M_ARENA_MAX = -8
"""``mallopt``'s name of the setting in glibc (malloc.h)."""
ARENAS = 2
"""Heaps that a process's threads share."""

_log = logging.getLogger("trueup.lifecycle")


def exit_now(code: int) -> NoReturn:
    """End the process at once, with everything that was printed or logged written out.

    The Temporal SDK's native threads can crash the interpreter while it shuts down, after the work is
    done (``PyGILState_Release``, seen in 2 of 40 short runs): a shell would see 134 or 139 instead of
    ``code``. Leaving without the interpreter's shutdown cannot crash.
    """
    with suppress(Exception):
        logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        # A closed pipe (`trueup list | head`) must not change the exit code.
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def spare_the_collector() -> None:
    """Leave out of garbage collection what is loaded by now, which stays, and collect less often.

    A worker in bulk work makes many objects that end by themselves. With the interpreter's defaults it spent
    a fifth of its time looking for cycles among them and among all loaded modules.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def share_heaps() -> None:
    """Let all threads take their memory from few heaps. Call it before threads are started.

    glibc gives threads heaps of their own, up to eight per core, and each keeps what was once freed into it:
    a worker with ten connections to its database grew by 60 MB before it stopped growing. Where the C
    library is another one, nothing happens.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


class Stop:
    """The wish to end: the first signal asks for a graceful drain, the second one forces."""

    def __init__(self, force: Callable[[int], object]) -> None:
        self._asked = asyncio.Event()
        self._force = force
        self.signal: int | None = None

    def ask(self, number: int | None = None) -> None:
        """Ask to stop; asking a second time by a signal forces."""
        if self._asked.is_set():
            if number is not None:
                _log.warning("second signal: leaving without waiting for calls in flight")
                self._force(128 + number)
            return
        self.signal = number
        self._asked.set()

    @property
    def asked(self) -> bool:
        """Whether the process is to end."""
        return self._asked.is_set()

    async def wait(self) -> None:
        """Return once the process is to end."""
        await self._asked.wait()


@asynccontextmanager
async def stop_on_signals(force: Callable[[int], object] = exit_now) -> AsyncIterator[Stop]:
    """Inside, SIGTERM and SIGINT ask the yielded ``Stop``; afterwards they do what they did before.

    Args:
        force: called with the exit code at the second signal.
    """
    stop = Stop(force)
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.ask, number)
    try:
        yield stop
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


async def run_until_stopped(
    *services: AbstractAsyncContextManager[object],
    ready_file: Path | None = None,
    live_file: Path | None = None,
    is_well: Callable[[], bool] = lambda: True,
    until: Stop | None = None,
) -> None:
    """Run services until a signal arrives, then let them drain, the last started first.

    A Temporal ``Worker`` is such a service: leaving it stops polling and lets calls in flight finish
    for its ``graceful_shutdown_timeout``. A service that fails while running ends the others.

    Args:
        services: entered in order.
        ready_file: exists exactly while all of them run; gone before the drain begins.
        live_file: touched every few seconds for as long as ``is_well``.
        is_well: what liveness means here.
        until: a ``Stop`` of the caller's own instead of signals.
    """
    async with AsyncExitStack() as signals:
        stop = until
        if stop is None:
            stop = await signals.enter_async_context(stop_on_signals())
        async with AsyncExitStack() as running:
            if live_file is not None:
                # Outermost: a process that drains is alive until its last call has ended.
                await running.enter_async_context(_staying_live(live_file, is_well))
            for service in services:
                await running.enter_async_context(service)
            try:
                if ready_file is not None:
                    _touch(ready_file)
                await stop.wait()
            finally:
                if ready_file is not None:
                    _remove(ready_file)
            _log.info("stopping: waiting for calls in flight")


@asynccontextmanager
async def _staying_live(file: Path, is_well: Callable[[], bool]) -> AsyncIterator[None]:
    task = asyncio.create_task(_stay_live(file, is_well), name="liveness")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        _remove(file)


async def _stay_live(file: Path, is_well: Callable[[], bool]) -> None:
    while True:
        try:
            if is_well():
                _touch(file)
        except OSError as problem:
            # A full or read-only disk must not end a process that works; the check will notice the age.
            _log.warning("cannot touch the liveness file %s: %s", file, problem)
        await asyncio.sleep(LIVE_SECONDS)


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)


def _touch(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
