"""A play of a saga and of the sagas that it starts; their calls name the activity that makes them
(``tests.chaos.noting``).
"""

from __future__ import annotations

import re
from typing import Any

from temporalio.client import WorkflowHandle

from tests.chaos.family import STUCK, Family
from tests.chaos.family_recording import Layout
from tests.chaos.firm import ChaosFirm
from tests.chaos.noting import read
from tests.chaos.plays import NotProven, Play
from tests.chaos.recording import Call


class FamilyPlay(Play):
    """Watches all runs as one, and finds what was hit in the vendors' logs of calls."""

    def __init__(self, firm: ChaosFirm, layout: Layout) -> None:
        super().__init__(firm)
        self.layout = layout
        self.calls: dict[str, int] = {}
        """How many calls every vendor had seen when the case began."""
        self.family = self.new_family()
        self.owner: WorkflowHandle[Any, Any] | None = None
        """The run that the moment belongs to: what is cancelled or renewed next."""

    def new_family(self) -> Family:
        """What begins from now on."""
        return Family(self.firm, self.layout.runs)

    # --- what happens ---------------------------------------------------------------------------------

    async def settle(self, seconds: float) -> str:
        """Wait until all runs have ended, or wait for somebody."""
        end = await self.family.settle(seconds)
        if end in STUCK:
            self.owner = (await self.family.stuck())[0].handle
        return end

    async def status(self) -> str:
        """Where the run stands that waits for somebody; else whether any is under way."""
        running = await self.family.running()
        for wanted in (*STUCK, "gated"):
            for one in running:
                if one.status == wanted:
                    self.owner = one.handle
                    return wanted
        return "running" if running else "closed"

    async def approve(self) -> None:
        """Decide at every gate as it is proposed."""
        await self.family.approve()

    async def repair(self, action: str) -> None:
        """What an operator decides about everything that is parked."""
        for one in await self.family.stuck():
            await self.firm.repair_parked(one.handle, action)

    async def renew(self) -> None:
        """Let the parked run continue as new."""
        assert self.owner is not None
        await self.firm.renew(self.owner)

    async def end(self) -> bool:
        """Terminate what has not ended."""
        running = await self.family.running() if self.family.root is not None else []
        for one in running:
            await one.handle.terminate("the case is judged")
        return bool(running)

    # --- moments --------------------------------------------------------------------------------------

    async def handed_over(self, activity: str, role: str) -> bool:
        """Whether the role's worker has the activity; whose it is is noted."""
        for one in await self.family.running():
            pending = (await one.handle.describe()).raw_description.pending_activities
            if any(self.has(each, activity, role) for each in pending):
                self.owner = one.handle
                return True
        return False

    async def holds(self, call: Call) -> bool:
        """Whether the delay has begun; whose call it holds is noted."""
        if not await super().holds(call):
            return False
        for row in await self._rows(call):
            note = read(row["note"])
            if row["status"] is None and note is not None:
                self.owner = self.firm.client.get_workflow_handle(note.workflow)
        return True

    async def check_hit(self, call: Call) -> None:
        """Its activity must have made the call."""
        rows = await self._rows(call)
        if len(rows) <= call.skip:
            raise NotProven(f"{call.activity} called {call.method} {call.pattern} {len(rows)} times only")

    async def _rows(self, call: Call) -> list[dict[str, Any]]:
        """The activity's calls of this kind."""
        rows = (await self.firm.control(call.vendor, "GET", "calls"))["calls"][self.calls[call.vendor] :]
        return [
            row
            for row in rows
            if row["method"] == call.method
            and re.search(call.pattern, row["path"])
            and (note := read(row["note"])) is not None
            and note.activity == call.activity
        ]
