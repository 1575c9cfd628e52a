"""From our failures to Temporal's, and a sign of life while an activity works."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from canonical.failures import Defect, Failure, FailureKind, SystemFailure

_PROGRESS: ContextVar[list[Any] | None] = ContextVar("progress", default=None)
"""What the running activity last said of its progress; travels with every heartbeat."""

A = TypeVar("A", bound=Callable[..., Awaitable[Any]])

SERVER_RETRIES = frozenset({FailureKind.RETRY, FailureKind.WAIT, FailureKind.UNKNOWN_OUTCOME})
"""Kinds that the server tries again by itself, a bounded number of times. An unknown outcome is one of
them because every later attempt looks before it sends."""
PATIENCE = 30
"""Seconds of a vendor's Retry-After up to which the server retries; longer ones the saga waits out."""
BEATS = 3
"""Heartbeats per heartbeat time-out: two may get lost."""

log = logging.getLogger("trueup.activities")


def guarded(method: A) -> A:
    """Wrap an activity's implementation: failures become Temporal's with their data, heartbeats go out."""

    @functools.wraps(method)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        _PROGRESS.set([])
        beat = asyncio.create_task(_beat())
        try:
            return await method(*args, **kwargs)
        except SystemFailure as error:
            raise application_error(error.failure) from error
        except Exception as error:
            log.exception("defect in activity %s", activity.info().activity_type)
            message = f"{activity.info().activity_type}: {type(error).__name__}: {error}"
            raise application_error(Defect(message, maybe_landed=True).failure) from error
        finally:
            beat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beat

    return wrapper  # type: ignore[return-value]


def application_error(failure: Failure) -> ApplicationError:
    """What the workflow sees: the failure as data, retried by the server only where that helps."""
    delay = failure.retry_after_seconds
    retried = failure.kind in SERVER_RETRIES and (delay is None or delay <= PATIENCE)
    passing = failure.kind.passes_by_itself
    return ApplicationError(
        failure.message,
        failure.model_dump(mode="json"),
        type=failure.cause.value,
        non_retryable=not retried,
        next_retry_delay=timedelta(seconds=delay) if delay is not None and retried else None,
        category=ApplicationErrorCategory.BENIGN if passing else ApplicationErrorCategory.UNSPECIFIED,
    )


def progress(*details: Any) -> None:
    """Say how far the activity is, and ask whether it is to go on: an operator sees it, a cancel is heard."""
    kept = _PROGRESS.get()
    if kept is not None:
        kept[:] = details
    activity.heartbeat(*details)


async def _beat() -> None:
    """Tell the server that this worker lives: a dead one is replaced a heartbeat time-out later."""
    info = activity.info()
    if info.heartbeat_timeout is None:
        return
    pause = info.heartbeat_timeout.total_seconds() / BEATS
    while True:
        await asyncio.sleep(pause)
        activity.heartbeat(*(_PROGRESS.get() or ()))
