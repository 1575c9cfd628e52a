"""Time-to-billing under chaos: a month that is closed, and a closed month that is corrected.

A posting run that a cancel has stopped is right as far as it went: the next run must bring the undisturbed
result. A billing group that is cancelled before its invoice is issued leaves no draft, and the next run bills
it. Both are seen from the vendors' side only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from temporalio.service import RPCError, RPCStatusCode

from tests.chaos import vendors
from tests.chaos.billing_firm import ERP, PSA, BillingFirm, billing_firm
from tests.chaos.billing_months import THROUGH, month
from tests.chaos.billing_oracle import MonthOracle
from tests.chaos.cells import Cell, End, cells_of
from tests.chaos.family import PAUSE, STUCK, Member
from tests.chaos.family_play import FamilyPlay
from tests.chaos.family_recording import Layout, ends_of, marks, plain, steps
from tests.chaos.firm import ChaosFirm, Zygote
from tests.chaos.invariants import refs
from tests.chaos.nodes import Node
from tests.chaos.plays import HUNG, NotProven, Subject
from tests.chaos.recording import FIRST_NUMBER, UNDO_STEP, Recording, Step
from wiring.start_billing import start_run

CLOSE, CORRECT = 0, 1
"""What is played: a month is closed; or a closed one is corrected, with a credit and what replaces it."""
LEAVING = 3
"""How often what is parked is retried when its case is given up."""
CORRECTING = ("posting.begin", "posting.reverse", "credit.")
"""Steps that are tried on a correction: only it has them, or its posting run is the one at the top."""


def named(activity: str, payload: Mapping[str, Any]) -> str:
    """A step's name; what is collected in parts has a step each."""
    return f"collect {payload['part']}" if activity == "feed.collect" else ends_of(activity, payload)


LAYOUT = Layout(
    runs={
        "TimeToBilling": "cutoff",
        "PostApprovedTime": "posting",
        "BillContract": "bill",
        "CreditInvoice": "credit",
    },
    kinds={
        "posting.reverse": "forward-only",
        "posting.post": "forward-only",
        "feed.mark": "forward-only",
        "billing.select": "compensatable",
        "billing.shape_credit": "compensatable",
        "invoicing.draft": "compensatable",
        "invoicing.issue": "pivot",
        "invoicing.credit": "pivot",
        "invoicing.prove": "forward-only",
        "invoicing.prove_credit": "forward-only",
    },
    stopping=("TimeToBilling", "PostApprovedTime"),
    passing_over=("feed.mark",),
    name=named,
)


class MonthPlay(FamilyPlay):
    """One copy of a month, carried to its end."""

    firm: BillingFirm
    before: vendors.Records

    def __init__(
        self,
        firm: BillingFirm,
        seed: int,
        number: int,
        *,
        wanted: list[Node] | None = None,
        cell: Cell | None = None,
    ) -> None:
        super().__init__(firm, LAYOUT)
        self.number, self.cell = number, cell
        self.variant = seed % MonthSubject.variants
        self.cases = month(seed // MonthSubject.variants, number)
        self.oracle = MonthOracle(self.cases, wanted)

    # --- what happens ---------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """The month's contracts and work; for a correction it is closed, and what was billed changes."""
        await self.firm.agree(self.cases)
        self.before = await self.firm.records()
        if self.variant == CORRECT:
            await self.close_month()
            self.oracle.bill(await self.firm.records())
            for case in self.cases:
                for event in case.events:
                    await self.firm.happen(case, event)
        self.calls = await marks(self.firm)

    async def close_month(self) -> str:
        """Time-to-billing up to the cutoff, undisturbed."""
        self.family = self.new_family()
        await self._cutoff()
        return await self._calm()

    async def _calm(self) -> str:
        end = await self.family.settle(HUNG)
        if end != "complete":
            self.found.say(f"the undisturbed run is {end}: {'; '.join(await self.family.headlines())}")
        return end

    async def start(self) -> None:
        """Close the month; or post what was corrected, with the credits that it proposes."""
        self.family = self.new_family()
        await (self._cutoff() if self.variant == CLOSE else self._posting())

    async def _posting(self) -> None:
        command = self.firm.starts.posting(PSA, ERP, f"corrected-{self.number}")
        self.family.root = await start_run(self.firm.client, command)

    async def _cutoff(self) -> None:
        command = self.firm.starts.cutoff(PSA, ERP, THROUGH)
        self.family.root = await start_run(self.firm.client, command)

    async def gated(self) -> None:
        """Wait until a run waits for a decision; nobody decides.

        Raises:
            RuntimeError: none ever does.
        """
        for _ in range(round(HUNG / PAUSE)):
            if await self.status() == "gated":
                return
            await asyncio.sleep(PAUSE)
        raise RuntimeError("no run came to a gate")

    async def cancel(self) -> None:
        """Cancel the run that the moment belongs to, or the one at the top where the case says so."""
        root = self.family.root
        assert root is not None
        target = root if self.owner is None or (self.cell is not None and self.cell.top) else self.owner
        for one in await self.family.members():
            if one.id == target.id and one.type in LAYOUT.stopping:
                target = root
        try:
            await target.cancel()
        except RPCError as refused:
            if refused.status is not RPCStatusCode.NOT_FOUND or self.owner is None:
                raise
            raise NotProven(f"{target.id} had ended before it was cancelled") from None

    async def leave(self) -> None:
        """Post and bill all of it: the next copy shares the route."""
        for _ in range(LEAVING):
            if await self.settle(HUNG) not in STUCK:
                break
            await self.repair("retry")
        await self.close_month()

    # --- moments --------------------------------------------------------------------------------------

    # --- judging --------------------------------------------------------------------------------------

    async def seen(self) -> vendors.Change:
        """What has happened at the vendors."""
        return vendors.change(self.before, await self.firm.records())

    async def judge_stuck(self, status: str) -> None:
        """Nothing twice; every run that waits has a case; a draft that is there is named."""
        seen = await self.seen()
        self.found.take(self.oracle.judge_partly(seen), status)
        named: set[tuple[str, str]] = set()
        for one in await self.family.stuck():
            cases = self.firm.cases(one.id)
            if not cases:
                self.found.say(f"{one.id} is {one.status} without an open case")
            named |= {pair for case in cases for pair in refs(case)}
            named |= set(refs(await self.firm.view(one.handle)))
        stuck = {one.type for one in await self.family.stuck()}
        if "BillContract" in stuck:
            groups = [one for one in await self.family.stuck() if one.type == "BillContract"]
            drafts = self.oracle.drafts(seen)
            # Other groups' drafts may wait for nobody: only what nobody names is counted.
            unnamed = [id_ for id_ in drafts if ("invoice", id_) not in named]
            if len(groups) and unnamed:
                self.found.say(f"{status}: drafts {unnamed} survive and nobody is told")

    async def judge_end(self, end: str) -> str:
        """The undisturbed result; after a stop, an undo or a refused line the next run must bring it."""
        await self._cases(end)
        stood, left = False, self.cell is not None and self.cell.end is End.LEFT
        if end != "complete" or left:
            seen = await self.seen()
            self.found.take(self.oracle.judge_partly(seen), end)
            self.found.problems += [f"{end}: draft {id_} is left" for id_ in self.oracle.drafts(seen)]
            stood = end == "undone" and self.variant == CORRECT
        if end == "complete" and self.variant == CLOSE and not left:
            now = await self.firm.records()
            self.oracle.bill(now)
            self.found.take(self.oracle.judge(vendors.change(self.before, now)), end)
            return ""
        await self.firm.no_faults()
        return f"next run {await self.next_run(end, stood=stood)}"

    async def next_run(self, after: str, *, stood: bool) -> str:
        """The run after it, undisturbed, and the judgement of what there is then.

        Args:
            after: how the run before it ended.
            stood: the credit was called off: the invoices stand as they are.
        """
        now = await self.firm.records()
        if self.variant == CORRECT and after == "stopped":
            # Lines are billed again once they are credited, so all of the correction comes first.
            await self.start()
            await self._calm()
        if self.variant == CORRECT:
            (self.oracle.stand if stood else self.oracle.credit)(now)
        end = await self.close_month()
        self.oracle.bill(now)
        if stood:
            self.oracle.wanted = None
        if end == "complete":
            self.found.take(self.oracle.judge(await self.seen()), "after the next run")
        await self._cases("the next run")
        return end

    async def _cases(self, when: str) -> None:
        for one in await self.family.members():
            if left := self.firm.cases(one.id):
                self.found.say(f"{when}: {one.id} has {len(left)} case(s) still open")

    async def judge_wrong_end(self, end: str) -> None:
        """What the runs say, and what is there twice."""
        self.found.problems += await self.family.headlines()
        self.found.take(self.oracle.judge_partly(await self.seen()), end)


class MonthSubject(Subject):
    """Time-to-billing with its posting, billing and credit runs."""

    name = "time-to-billing"
    variants = 2
    must = (
        "cutoff.begin",
        "posting.begin",
        "posting.collect",
        "posting.prepare",
        "posting.reverse",
        "posting.post",
        "posting.mark",
        "posting.standing",
        "cutoff.list due",
        "bill.select",
        "bill.draft",
        "bill.gate",
        "bill.issue",
        "bill.prove",
        "cutoff.retainers",
        "credit.shape",
        "credit.gate",
        "credit.credit",
        "credit.prove",
    )

    def __init__(self) -> None:
        self.wanted: dict[int, list[Node]] = {}

    def firm(self, folder: Path, zygote: Zygote, **options: Any) -> AbstractAsyncContextManager[ChaosFirm]:
        """A firm that bills."""
        return billing_firm(folder, zygote, **options)

    async def record(self, firm: ChaosFirm, seed: int) -> Recording:
        """An undisturbed run, what it leaves at the vendors, and one that is cancelled before the pivot.

        Raises:
            RuntimeError: the undisturbed run is not what the judge expects.
        """
        assert isinstance(firm, BillingFirm)
        await self._undisturbed(MonthPlay(firm, seed, FIRST_NUMBER))  # fills caches and tokens
        play = MonthPlay(firm, seed, FIRST_NUMBER + 1)
        focus = seed // self.variants
        found = await self._undisturbed(play, focus)
        self.wanted[seed] = play.oracle.nodes(await play.seen())
        found.undo = await self._undo(firm, seed)
        return found

    async def _undo(self, firm: BillingFirm, seed: int) -> dict[str, Step]:
        """A run that is cancelled at its gate, the last moment before the pivot; taken apart."""
        play = MonthPlay(firm, seed, FIRST_NUMBER + 2, wanted=self.wanted[seed])
        await play.prepare()
        await play.start()
        await play.gated()
        await play.cancel()
        end = await play.settle(HUNG)
        assert play.owner is not None
        undone = [
            plain(one) for one in await steps(firm, play.family, LAYOUT, play.calls, 0, mine=play.owner.id)
        ]
        await play.judge_end(end)
        if end != "undone" or play.found.problems:
            raise RuntimeError(f"the cancelled recording is {end}: {play.found.problems[:5]}")
        await firm.no_faults()
        return {step.id: step for step in undone if step.activity == UNDO_STEP}

    async def _undisturbed(self, play: MonthPlay, focus: int = 0) -> Recording:
        await play.prepare()
        await play.start()
        end = await play.settle(HUNG)
        if end != "complete":
            raise RuntimeError(f"the undisturbed run is {end}: {await play.family.headlines()}")
        found = Recording(await steps(play.firm, play.family, LAYOUT, play.calls, focus))
        await play.judge_end(end)
        if play.found.problems:
            raise RuntimeError(f"the undisturbed run is wrong: {play.found.problems[:8]}")
        return found

    def play(self, firm: ChaosFirm, recording: Recording, cell: Cell, number: int) -> MonthPlay:
        """A copy with contracts of its own."""
        assert isinstance(firm, BillingFirm)
        return MonthPlay(firm, cell.seed, number, wanted=self.wanted[cell.seed], cell=cell)

    def cells(self, seed: int, recording: Recording) -> Iterator[Cell]:
        """All steps of a month that is closed; of a correction those that only it has."""
        for one in cells_of(seed, recording, every_write=True, turn=seed // self.variants):
            if (seed % self.variants == CORRECT) is one.step.startswith(CORRECTING):
                yield one


__all__ = ["End", "Member", "MonthPlay", "MonthSubject"]
