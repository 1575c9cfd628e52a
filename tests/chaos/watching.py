"""Many sagas watched at once, from the server alone: where they stand, how and when they ended."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from tests.chaos.firm import ChaosFirm

Handles = Sequence[WorkflowHandle[Any, Any]]
STUCK = ("parked", "undo-blocked", "gated")
"""A saga in one of these goes on only when a person acts."""
BUSY = (RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.UNAVAILABLE)
AT_ONCE, PAUSE, PATIENCE = 10, 0.5, 60.0


async def each(work: Callable[[Any], Awaitable[Any]], things: Sequence[Any]) -> list[Any]:
    """``work`` for all, some at a time: the machine is busy enough."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(thing: Any) -> Any:
        async with limit:
            return await work(thing)

    return list(await asyncio.gather(*map(one, things)))


async def patiently(ask: Callable[[Any], Awaitable[Any]], thing: Any) -> Any:
    """Ask the server; a busy machine, or a server that has just come back, may need to be asked again."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            return await ask(thing)
        except RPCError as refused:
            if refused.status not in BUSY or time.monotonic() > give_up:
                raise
        await asyncio.sleep(PAUSE)


async def statuses(firm: ChaosFirm, handles: Handles) -> list[str]:
    """Where the sagas stand; ``closed`` for those that have ended."""
    return await each(lambda handle: patiently(firm.status, handle), handles)


async def until(
    firm: ChaosFirm, handles: Handles, wanted: Sequence[str], seconds: float, *, pause: float = PAUSE
) -> bool:
    """Wait until every saga is in one of the ``wanted`` states; False when some never came there."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if all(status in wanted for status in await statuses(firm, handles)):
            return True
        await asyncio.sleep(pause)
    return False


@dataclass
class Ends:
    """How sagas ended."""

    by_status: Counter[str]
    stuck: list[str]
    """Those that wait for a person, or never ended: where, and what they say."""
    last: datetime | None
    """When the last one ended."""


async def ends(firm: ChaosFirm, handles: Handles, seconds: float) -> Ends:
    """Wait until every saga has ended or waits for a person, and say how."""
    await until(firm, handles, ("closed", *STUCK), seconds)
    found = Ends(Counter(), [], None)
    for handle, status in zip(handles, await statuses(firm, handles), strict=True):
        view = await firm.view(handle)
        found.by_status[str(view["status"])] += 1
        if status != "closed":
            found.stuck.append(f"{handle.id} is {status}: {view['headline']}")
            continue
        closed = (await patiently(lambda one: one.describe(), handle)).close_time
        if closed is not None and (found.last is None or closed > found.last):
            found.last = closed
    return found


async def runs_of(firm: ChaosFirm, handles: Handles) -> int:
    """How many workflow executions there are of these sagas, finished ones too."""
    ids = {handle.id for handle in handles}
    return len([one async for one in firm.client.list_workflows() if one.id in ids])
