"""The first saga under chaos: a deal becomes an engagement."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle

from cli.local.deals import Deal
from tests.chaos import vendors
from tests.chaos.cells import Cell
from tests.chaos.deals import SEEDS, copy
from tests.chaos.firm import ChaosFirm, Zygote, firm
from tests.chaos.invariants import refs
from tests.chaos.oracle import Oracle
from tests.chaos.plays import Play, Subject
from tests.chaos.recording import Recording, record


class DealPlay(Play):
    """One deal's saga."""

    handle: WorkflowHandle[Any, Any]
    before: vendors.Records
    oracle: Oracle

    def __init__(self, firm: ChaosFirm, deal: Deal) -> None:
        super().__init__(firm)
        self.deal = deal
        self.saga_id = ""
        self.marks: dict[str, int] = {}

    async def prepare(self) -> None:
        """Win the deal in the CRM."""
        await self.firm.seed(self.deal)
        self.before = await self.firm.records()
        for vendor in self.firm.urls:
            self.marks[vendor] = len(await self.firm.control(vendor, "GET", "writes"))
        self.oracle = Oracle(self.firm.stack.config, self.before, self.deal.seed())

    async def start(self) -> None:
        """Start the deal's saga."""
        self.handle = await self.firm.start(self.deal)
        self.saga_id = self.handle.id

    async def settle(self, seconds: float) -> str:
        """Wait for its end or for its being parked."""
        return await self.firm.settle(self.handle, seconds)

    async def status(self) -> str:
        """Where it stands."""
        return await self.firm.status(self.handle)

    async def approve(self) -> None:
        """Approve whatever a gate asks."""
        await self.firm.approve(self.handle)

    async def cancel(self) -> None:
        """Cancel it."""
        await self.handle.cancel()

    async def repair(self, action: str) -> None:
        """One decision about every parked step."""
        await self.firm.repair_parked(self.handle, action)

    async def renew(self) -> None:
        """Let it continue as new."""
        await self.firm.renew(self.handle)

    async def end(self) -> bool:
        """Terminate it."""
        return bool(self.saga_id) and await self.firm.end(self.handle)

    async def handed_over(self, activity: str, role: str) -> bool:
        """Whether the role's worker has the activity."""
        pending = (await self.handle.describe()).raw_description.pending_activities
        return any(self.has(one, activity, role) for one in pending)

    async def judge_stuck(self, status: str) -> None:
        """Every record that is there is named."""
        seen = await self._seen()
        self.found.take(self.oracle.judge_partly(seen), status)
        cases = self.firm.cases(self.saga_id)
        if not cases:
            self.found.say(f"{status} without an open case")
        named = {pair for case in cases for pair in refs(case)}
        if status == "parked":
            # The case is about one step; the saga that it links names the records of the others.
            named |= set(refs(await self.firm.view(self.handle)))
        for vendor, types in vendors.live(seen).items():
            made = await self._created(vendor)
            for kind, rows in types.items():
                for id_ in rows:
                    if (kind, id_) in made and (kind, id_) not in named:
                        self.found.say(f"{status}: {vendor} {kind} {id_} survives and nobody is told")

    async def judge_end(self, end: str) -> str:
        """Everything, or nothing."""
        seen = await self._seen()
        judge = self.oracle.judge_complete if end == "complete" else self.oracle.judge_undone
        self.found.take(judge(seen), end)
        if left := self.firm.cases(self.saga_id):
            self.found.say(f"{end} with {len(left)} case(s) still open")
        return ""

    async def judge_wrong_end(self, end: str) -> None:
        """What it says, and what is there twice."""
        if end not in ("complete", "undone"):
            self.found.say(str((await self.firm.view(self.handle))["headline"]))
            self.found.take(self.oracle.judge_partly(await self._seen()), end)
        else:
            await self.judge_end(end)

    async def _seen(self) -> vendors.Change:
        return vendors.change(self.before, await self.firm.records())

    async def _created(self, vendor: str) -> set[tuple[str, str]]:
        rows = await self.firm.control(vendor, "GET", f"writes?since={self.marks[vendor]}")
        return {(row["type"], str(row["id"])) for row in rows if row["operation"] == "create"}


class Deals(Subject):
    """Opportunity-to-project, with a deal for every seed."""

    name = "opportunity-to-project"
    must = (
        "read-deal",
        "route",
        "gather.",
        "shape",
        "look-ahead.",
        "clients.",
        "contract.",
        "delivery.",
        "structure.",
        "read-deal-again",
        "read-back.",
        "compare",
        "activate.",
        "open.",
        "write-back.",
        "notify",
    )

    def __init__(self, patterns: Sequence[Deal] = SEEDS) -> None:
        self.patterns = patterns

    def firm(self, folder: Path, zygote: Zygote, **options: Any) -> AbstractAsyncContextManager[ChaosFirm]:
        """A firm as it is."""
        return firm(folder, zygote, **options)

    async def record(self, firm: ChaosFirm, seed: int) -> Recording:
        """A deal to its end, and one that is undone."""
        return await record(firm, self._pattern(seed))

    def play(self, firm: ChaosFirm, recording: Recording, cell: Cell, number: int) -> DealPlay:
        """A deal like the seed's, with another client."""
        return DealPlay(firm, copy(self._pattern(cell.seed), number))

    def _pattern(self, seed: int) -> Deal:
        return self.patterns[seed % len(self.patterns)]
