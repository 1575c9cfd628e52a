"""Change orders under chaos: one change of an active contract, carried by its saga, which the contract's own
saga has started. Seen from the vendors' side only.

A cancel of the change order undoes it before the new terms are agreed. A cancel of the contract's saga stops
that one: what is under way goes on, and telling it again brings the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from canonical.change_orders import ChangeOrder, LineDelta, TermsDelta
from canonical.engagement import Contract
from canonical.names import contract_key
from cli.local import deals
from cli.local.deals import Deal, Line
from tests.chaos.cells import Cell
from tests.chaos.change_oracle import ChangeOracle, Footprint, footprint
from tests.chaos.deals import copy
from tests.chaos.desk_firm import DeskFirm, desk_firm
from tests.chaos.family import PAUSE
from tests.chaos.family_play import FamilyPlay
from tests.chaos.family_recording import Layout, ends_of, marks, plain, steps
from tests.chaos.firm import ChaosFirm, Zygote
from tests.chaos.plays import HUNG, NotProven, Subject
from tests.chaos.recording import FIRST_NUMBER, UNDO_STEP, Recording, Step
from tests.e2e.change_arrivals import ERP, SENDER, eur, held, more
from tests.e2e.firm import long_id
from wiring.start_changes import order_saga, submit

PATTERN = replace(deals.QUARRY, lines=(Line("ADV", "200", "150"), Line("IMPL", "1", "100000")))
"""A contract of 30,000 by the hour and 100,000 at fixed dates."""
ORDER = "CO-1"


def named(activity: str, payload: Mapping[str, Any]) -> str:
    """A step's name: every look is one step, every system is read back by one of its own."""
    if activity.endswith(".read_baseline"):
        return f"read-back {payload['system']}"
    return "look" if activity == "changes.take" else ends_of(activity, payload)


LAYOUT = Layout(
    runs={"ContractChanges": "contract", "ChangeOrder": "order"},
    kinds={
        "crm.show_scope": "compensatable",
        "erp.hold_contract": "compensatable",
        "erp.change_contract": "compensatable",
        "psa.change_project": "compensatable",
        "changes.agree": "pivot",
        "order.agreed-scope": "forward-only",
    },
    stopping=("ContractChanges",),
    name=named,
)


def change_of(seed: int, contract: Contract) -> tuple[TermsDelta, dict[str, Any]]:
    """What a seed changes, and what must be held then."""
    advice, rollout = contract.lines
    match seed % 3:
        case 1:
            lines = {"Advisory": 30_000, "Implementation": 100_000, "Extra": 5_000}
            return TermsDelta(add=(more(contract, "5000"),)), wanted(lines, 35_000, 100_000)
        case 2:
            lines = {"Advisory": 28_000, "Implementation": 120_000}
            assert rollout.schedule is not None
            last = rollout.schedule.dates[-1]
            later = last.model_copy(update={"amount": eur(str(last.amount.amount + 20_000))})
            delta = TermsDelta(
                change=(
                    LineDelta(key=advice.key, amount=eur("-2000")),
                    LineDelta(key=rollout.key, amount=eur("20000"), put_dates=(later,)),
                ),
                end=date(2027, 9, 30),
            )
            return delta, wanted(lines, 28_000, 120_000)
    lines = {"Advisory": 38_000, "Implementation": 100_000}
    delta = TermsDelta(change=(LineDelta(key=advice.key, amount=eur("8000")),))
    return delta, wanted(lines, 38_000, 100_000)


def wanted(lines: Mapping[str, int], *budgets: int) -> dict[str, Any]:
    """What the vendors hold of lines with these amounts, in the words of ``held``."""
    total = Decimal(sum(lines.values()))
    return {
        "value": total,
        "versions": "v2",
        "scope": "\n".join(f"{name}: EUR {amount:,}.00" for name, amount in lines.items()),
        "status": "Agreed",
        "lines": sorted((name, Decimal(amount)) for name, amount in lines.items()),
        "total": total,
        "change": "version 2",
        "revenue": [total],
        "budgets": sorted(budget * 100 for budget in budgets),
    }


class ChangePlay(FamilyPlay):
    """One change order of a contract of its own."""

    firm: DeskFirm
    oracle: ChangeOracle
    order: ChangeOrder
    contract: Contract

    def __init__(
        self,
        firm: DeskFirm,
        seed: int,
        number: int,
        *,
        usual: Footprint | None = None,
        cell: Cell | None = None,
    ) -> None:
        super().__init__(firm, LAYOUT)
        self.seed, self.usual, self.cell = seed, usual, cell
        self.deal: Deal = copy(PATTERN, number)

    # --- what happens ---------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Carry a deal to an active contract.

        Raises:
            RuntimeError: it did not become one.
        """
        await self.firm.seed(self.deal)
        handle = await self.firm.start(self.deal)
        if (end := await self.firm.settle(handle, HUNG)) != "complete":
            raise RuntimeError(f"the contract to be changed is {end}")
        key = contract_key(long_id(self.deal.id), "NL01", "EUR")
        row = await self.firm.books.contract_version(key)
        assert row is not None
        self.contract = Contract.model_validate(row.terms)
        delta, terms = change_of(self.seed, self.contract)
        self.order = ChangeOrder(
            key=ORDER, base=1, contract_key=key, effective_on=date(2027, 1, 1), delta=delta
        )
        self.oracle = ChangeOracle(await self.firm.records(), terms, self.usual)
        self.calls = await marks(self.firm)
        self.family = self.new_family()

    async def start(self) -> None:
        """Send the change order; one that is decided already starts nothing."""
        firm = self.firm
        row = await submit(
            firm.settings, firm.mapping, firm.books, firm.client, self.order, actor=SENDER, reason="agreed"
        )
        changes = order_saga(firm.settings, ERP, self.contract.key, ORDER)
        self.carrier = firm.client.get_workflow_handle(changes)
        if self.family.root is None and row.state.is_open:
            self.family.root = await self._contracts_own()

    async def _contracts_own(self) -> WorkflowHandle[Any, Any]:
        give_up = time.monotonic() + HUNG
        while time.monotonic() < give_up:
            for one in await self.family.members():
                if one.type == "ContractChanges":
                    return one.handle
            await asyncio.sleep(PAUSE)
        raise NotProven("the contract's own saga is not listed")

    async def cancel(self) -> None:
        """Cancel the run that the moment belongs to, or the contract's own where the case says so."""
        root = self.family.root
        assert root is not None
        target = self.owner or self.carrier
        if self.cell is not None and (self.cell.top or (self.owner is None and self._of_contract(self.cell))):
            target = root
        give_up = time.monotonic() + HUNG
        while True:
            try:
                return await target.cancel()
            except RPCError as refused:
                if refused.status is not RPCStatusCode.NOT_FOUND:
                    raise
                if target is root or await self._began(target) or time.monotonic() > give_up:
                    raise
                await asyncio.sleep(PAUSE)

    @staticmethod
    def _of_contract(cell: Cell) -> bool:
        """Whether the step that is hit is one of the contract's own run."""
        return cell.step.startswith("contract.")

    async def _began(self, target: WorkflowHandle[Any, Any]) -> bool:
        """Whether a run was there at all: one that is refused as unknown may begin in a moment."""
        try:
            await target.describe()
        except RPCError as unknown:
            if unknown.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return True

    # --- judging --------------------------------------------------------------------------------------

    async def judge_stuck(self, status: str) -> None:
        """Nothing is touched that need not be; every run that waits has a case."""
        self.found.take(self.oracle.judge_partly(await self.firm.records()), status)
        for one in await self.family.stuck():
            if not self.firm.cases(one.id):
                self.found.say(f"{one.id} is {one.status} without an open case")

    async def judge_end(self, end: str) -> str:
        """The new terms everywhere, or everything as it was; after a stop, telling again brings the rest."""
        after = ""
        if end == "stopped":
            self.found.take(self.oracle.judge_partly(await self.firm.records()), end)
            await self.firm.no_faults()
            stopped, self.family = self.family, self.new_family()
            await self.start()
            if self.family.root is not None and (after := await self.family.settle(HUNG)) != "complete":
                self.found.problems += await self.family.headlines()
            self.family.since = stopped.since
        if end == "undone":
            self.found.take(self.oracle.judge_undone(await self.firm.records()), end)
        else:
            shown = await asyncio.to_thread(held, self.firm.hand, self.deal, self.contract)
            self.found.take(self.oracle.judge(await self.firm.records(), shown), after or end)
        for one in await self.family.members():
            if left := self.firm.cases(one.id):
                self.found.say(f"{one.id} has {len(left)} case(s) still open")
        return after and f"told again {after}"

    async def judge_wrong_end(self, end: str) -> None:
        """What the runs say, and what is touched that need not be."""
        self.found.problems += await self.family.headlines()
        self.found.take(self.oracle.judge_partly(await self.firm.records()), end)


class ChangeSubject(Subject):
    """Change orders."""

    name = "change-order"
    must = (
        "contract.look",
        "order.shape",
        "order.scope",
        "order.gate",
        "order.check",
        "order.hold",
        "order.delivery",
        "order.contract",
        "order.read-back netsuite-emea",
        "order.read-back kantata-main",
        "order.compare",
        "order.agree",
        "order.agreed-scope",
    )

    def __init__(self) -> None:
        self.usual: dict[int, Footprint] = {}

    def firm(self, folder: Path, zygote: Zygote, **options: Any) -> AbstractAsyncContextManager[ChaosFirm]:
        """A firm with contracts."""
        return desk_firm(folder, zygote, **options)

    async def record(self, firm: ChaosFirm, seed: int) -> Recording:
        """An undisturbed run, what it touches, and one that is cancelled right before the pivot.

        Raises:
            RuntimeError: the undisturbed run is not what the judge expects.
        """
        assert isinstance(firm, DeskFirm)
        await self._undisturbed(ChangePlay(firm, seed, FIRST_NUMBER))  # fills caches and tokens
        play = ChangePlay(firm, seed, FIRST_NUMBER + 1)
        found = await self._undisturbed(play)
        self.usual[seed] = footprint(play.oracle.seen(await firm.records()))
        found.undo = await self._undo(firm, seed, found)
        return found

    async def _undisturbed(self, play: ChangePlay) -> Recording:
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

    async def _undo(self, firm: DeskFirm, seed: int, found: Recording) -> dict[str, Step]:
        """A run that is cancelled at the last moment before the pivot; taken apart."""
        play = ChangePlay(firm, seed, FIRST_NUMBER + 2, usual=self.usual[seed])
        await play.prepare()
        hold = found.last_before_pivot
        await firm.control(hold.vendor, "POST", "faults", hold.fault("delay_after", delay_ms=900))
        await play.start()
        async with asyncio.timeout(HUNG):
            while not await play.holds(hold):
                await play.approve()
                await asyncio.sleep(PAUSE / 2)
        await play.cancel()
        end = await play.settle(HUNG)
        taken = await steps(firm, play.family, LAYOUT, play.calls, 0, mine=play.carrier.id)
        await play.judge_end(end)
        if end != "undone" or play.found.problems:
            raise RuntimeError(f"the cancelled recording is {end}: {play.found.problems[:5]}")
        await firm.no_faults()
        return {step.id: step for step in map(plain, taken) if step.activity == UNDO_STEP}

    def play(self, firm: ChaosFirm, recording: Recording, cell: Cell, number: int) -> ChangePlay:
        """A contract of its own."""
        assert isinstance(firm, DeskFirm)
        return ChangePlay(firm, cell.seed, number, usual=self.usual[cell.seed], cell=cell)
