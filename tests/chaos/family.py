"""A run and all runs that it starts, watched as one: where they stand, who waits, how they ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from temporalio.client import (
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.service import RPCError

from runtime.search_attributes import SAGA_STATUS
from tests.chaos.firm import ChaosFirm

STUCK = ("parked", "undo-blocked")
PAUSE = 0.1
GATES = 0.2
"""Seconds between two looks for open gates: a list costs the server more than the runs under test do."""
QUIET = 4
"""Looks without any run under way until the family counts as ended: a list may lag behind the server."""
LOOKS = 4


@dataclass
class Member:
    """One run of the family, as the server shows it."""

    id: str
    type: str
    status: str
    """``closed``, or where it says that it stands."""
    handle: WorkflowHandle[Any, Any]
    run: str
    began: datetime


class Family:
    """All runs of some types that began after an instant: a firm runs one family at a time."""

    def __init__(self, firm: ChaosFirm, types: Iterable[str]) -> None:
        self.firm = firm
        self.types = ", ".join(f"'{one}'" for one in types)
        self.since = datetime.now(UTC)
        self.root: WorkflowHandle[Any, Any] | None = None
        self._looked = 0.0

    async def members(self) -> list[Member]:
        """All runs, oldest first; of one that continued as new the latest."""
        query = f"StartTime >= '{self.since.isoformat()}' AND WorkflowType IN ({self.types})"
        found: dict[str, WorkflowExecution] = {}
        async for one in self.firm.client.list_workflows(query):
            if one.id not in found or found[one.id].start_time < one.start_time:
                found[one.id] = one
        if self.root is not None and self.root.id not in found:
            found[self.root.id] = await self.root.describe()
        members = []
        for one in sorted(found.values(), key=lambda one: one.start_time):
            handle, status, seen = self.firm.client.get_workflow_handle(one.id), "closed", one
            if one.status in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.CONTINUED_AS_NEW):
                # The list lags a little behind the server.
                seen = await handle.describe()
                if seen.status is WorkflowExecutionStatus.RUNNING:
                    status = str(seen.typed_search_attributes.get(SAGA_STATUS) or "running")
            members.append(Member(one.id, one.workflow_type, status, handle, seen.run_id, one.start_time))
        return members

    async def running(self) -> list[Member]:
        """Those that have not ended."""
        return [one for one in await self.members() if one.status != "closed"]

    async def stuck(self) -> list[Member]:
        """Those that wait for a repair."""
        return [one for one in await self.running() if one.status in STUCK]

    async def approve(self) -> None:
        """Decide at every open gate: as it is proposed. Asked often, it looks now and then."""
        if time.monotonic() - self._looked < GATES:
            return
        self._looked = time.monotonic()
        await self._decide(await self.running())

    async def _decide(self, running: list[Member]) -> None:
        for one in running:
            if one.status == "gated":
                # It may have been cancelled since it was looked at.
                with contextlib.suppress(RPCError, WorkflowUpdateFailedError):
                    await self.firm.approve(one.handle)

    async def settle(self, seconds: float) -> str:
        """Wait until all have ended, or until some wait for a repair and nothing else goes on."""
        give_up, quiet = time.monotonic() + seconds, 0
        members: list[Member] = []
        while time.monotonic() < give_up:
            members = await self.members()
            running = [one for one in members if one.status != "closed"]
            quiet = 0 if running else quiet + 1
            if quiet >= QUIET:
                return await self.outcome(members)
            await self._decide(running)
            stuck = [one for one in running if one.status in STUCK]
            if stuck and await self._still(running):
                return "undo-blocked" if any(one.status == "undo-blocked" for one in stuck) else "parked"
            await asyncio.sleep(PAUSE)
        return "hung: " + ", ".join(f"{one.id} {one.status}" for one in members if one.status != "closed")

    async def outcome(self, members: list[Member]) -> str:
        """One word for how all of them ended: that of the run at the top, or of one that came to less."""
        ends = {one.id: str((await self.firm.view(one.handle))["status"]) for one in members}
        for word in ("failed", "stopped", "undone"):
            if word in ends.values():
                return word
        odd = {f"{id_} {end}" for id_, end in ends.items() if end != "complete"}
        return "complete" if ends and not odd else f"odd: {sorted(odd)}"

    async def _still(self, running: list[Member]) -> bool:
        """Whether nothing goes on but waiting for people."""
        lengths: dict[str, int] = {}
        for _ in range(LOOKS):
            for one in running:
                seen = await one.handle.describe()
                raw = seen.raw_description
                busy = raw.pending_activities or raw.HasField("pending_workflow_task")
                if busy or lengths.setdefault(one.id, seen.history_length) != seen.history_length:
                    return False
            await asyncio.sleep(0.08)
        for one in running:
            moving = {"waiting", "undoing", *(("running",) if one.status in STUCK else ())}
            if moving & {step["state"] for step in (await self.firm.view(one.handle))["steps"]}:
                return False
        now = await self.running()
        return [(one.id, one.status) for one in now] == [(one.id, one.status) for one in running]

    async def headlines(self) -> list[str]:
        """What every run says of itself."""
        words = []
        for one in await self.members():
            try:
                words.append(f"{one.id}: {(await self.firm.view(one.handle))['headline']}")
            except (RPCError, RuntimeError) as silent:
                words.append(f"{one.id}: {silent}")
        return words
