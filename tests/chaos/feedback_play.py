"""Invoice-feedback under chaos: an invoice that was issued and settled before anybody told of it.

A cancel stops the saga; the next event must bring the undisturbed result. Seen from the vendors' side only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle

from tests.chaos import vendors
from tests.chaos.cells import Cell
from tests.chaos.desk_firm import DeskFirm, desk_firm
from tests.chaos.family_play import FamilyPlay
from tests.chaos.family_recording import Layout, ends_of, marks, steps
from tests.chaos.feedback_oracle import FeedbackOracle, Wanted, share
from tests.chaos.firm import ChaosFirm, Zygote
from tests.chaos.plays import HUNG, Subject
from tests.chaos.recording import FIRST_NUMBER, Recording
from tests.e2e.feedback_firm import WITHHELD, Client

PLAIN, CONSOLIDATED, CREDITED = 0, 1, 2
"""What the seeds have: an invoice that is paid but for a tax that the client withheld; one over three deals;
one of which a part is credited."""


def named(activity: str, payload: Mapping[str, Any]) -> str:
    """A step's name: what is shown on several records of one kind is one step."""
    if activity == "feedback.show":
        return f"show {payload['target']['kind']}"
    return "read" if activity == "feedback.read" else ends_of(activity, payload)


LAYOUT = Layout(
    runs={"InvoiceFeedback": "follow"},
    kinds={"feedback.show": "forward-only"},
    stopping=("InvoiceFeedback",),
    name=named,
)


class FeedbackPlay(FamilyPlay):
    """One invoice, told of once."""

    firm: DeskFirm
    before: vendors.Records
    oracle: FeedbackOracle
    invoice: str

    def __init__(self, firm: DeskFirm, seed: int, number: int, words: Sequence[Any] | None = None) -> None:
        super().__init__(firm, LAYOUT)
        self.seed, self.number, self.words = seed, number, words
        self.told = 0

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        """The saga."""
        assert self.family.root is not None
        return self.family.root

    # --- what happens ---------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """A client of its own, its invoice, and what settles it."""
        client = await self.firm.desk.client(3 if self.seed % 3 == CONSOLIDATED else 1)
        wanted = await asyncio.to_thread(self._settle_invoice, client)
        self.oracle = FeedbackOracle(wanted, self.words)
        self.before = await self.firm.records()
        self.calls = await marks(self.firm)

    def _settle_invoice(self, client: Client) -> Wanted:
        desk, deals = self.firm.desk, [sold.deal for sold in client.sold]
        match self.seed % 3:
            case 1:
                amounts = [500.0, 300.5, 200.25]
                self.invoice = desk.issue(client, *amounts)
                desk.pay(client, self.invoice, 1000.75)
                shares = [share(Decimal(str(one))) for one in amounts]
            case 2:
                self.invoice = desk.issue(client, 800)
                desk.credit(client, self.invoice, 200)
                desk.pay(client, self.invoice, 600)
                shares = [share(Decimal(800), credited=Decimal(200))]
            case _:
                self.invoice = desk.issue(client, 1200)
                desk.credit(client, self.invoice, 120, item=WITHHELD)
                desk.pay(client, self.invoice, 500)
                desk.pay(client, self.invoice, 580)
                shares = [share(Decimal(1200), withheld=Decimal(120))]
        return Wanted(
            client.account,
            dict(zip(deals, shares, strict=True)),
            {sold.workspace: sold.deal for sold in client.sold},
        )

    async def start(self) -> None:
        """An event tells of the invoice."""
        self.told += 1
        self.family.root = await self.firm.desk.tell(self.invoice, f"chaos {self.number} {self.told}")

    async def cancel(self) -> None:
        """Cancel it."""
        await self.handle.cancel()

    # --- judging --------------------------------------------------------------------------------------

    async def seen(self) -> vendors.Change:
        """What has happened at the vendors."""
        return vendors.change(self.before, await self.firm.records())

    async def judge_stuck(self, status: str) -> None:
        """Nothing twice, nothing that never was; and somebody is told."""
        self.found.take(self.oracle.judge_partly(await self.seen()), status)
        if not self.firm.cases(self.handle.id):
            self.found.say(f"{status} without an open case")

    async def judge_end(self, end: str) -> str:
        """Everything is shown; after a stop the next event must bring it."""
        after = ""
        if end != "complete":
            self.found.take(self.oracle.judge_partly(await self.seen()), end)
            await self.firm.no_faults()
            await self.start()
            after = await self.settle(HUNG)
            if after != "complete":
                self.found.problems += await self.family.headlines()
        self.found.take(self.oracle.judge(await self.seen()), "in the end")
        if left := self.firm.cases(self.handle.id):
            self.found.say(f"{len(left)} case(s) are still open")
        return after and f"next event {after}"

    async def judge_wrong_end(self, end: str) -> None:
        """What it says, and what is there twice."""
        self.found.problems += await self.family.headlines()
        self.found.take(self.oracle.judge_partly(await self.seen()), end)


class FeedbackSubject(Subject):
    """Invoice-feedback."""

    name = "invoice-feedback"
    must = ("follow.read", "follow.show account", "follow.show opportunity", "follow.show project")

    def __init__(self) -> None:
        self.words: dict[int, list[Any]] = {}

    def firm(self, folder: Path, zygote: Zygote, **options: Any) -> AbstractAsyncContextManager[ChaosFirm]:
        """A firm with invoices."""
        return desk_firm(folder, zygote, **options)

    async def record(self, firm: ChaosFirm, seed: int) -> Recording:
        """An undisturbed run, and what it says in words.

        Raises:
            RuntimeError: it is not what the judge expects.
        """
        assert isinstance(firm, DeskFirm)
        await self._undisturbed(FeedbackPlay(firm, seed, FIRST_NUMBER))  # fills caches and tokens
        play = FeedbackPlay(firm, seed, FIRST_NUMBER + 1)
        found = await self._undisturbed(play)
        self.words[seed] = play.oracle.shown(await play.seen())
        return found

    async def _undisturbed(self, play: FeedbackPlay) -> Recording:
        await play.prepare()
        await play.start()
        end = await play.settle(HUNG)
        if end != "complete":
            raise RuntimeError(f"the undisturbed run is {end}: {await play.family.headlines()}")
        found = Recording(await steps(play.firm, play.family, LAYOUT, play.calls, 0))
        await play.judge_end(end)
        if play.found.problems:
            raise RuntimeError(f"the undisturbed run is wrong: {play.found.problems[:8]}")
        return found

    def play(self, firm: ChaosFirm, recording: Recording, cell: Cell, number: int) -> FeedbackPlay:
        """A client and an invoice of its own."""
        assert isinstance(firm, DeskFirm)
        return FeedbackPlay(firm, cell.seed, number, self.words[cell.seed])
