"""``ChangeRates``: new rates of a contract, also for days that are past (rules 7, 39).

What is not billed gets its new worth at once. What is billed stays as it is until somebody decides: what it
is worth more at this run's gate, what it is worth less as a credit of its invoice at a gate of its own.
"""

from __future__ import annotations

from pydantic import ValidationError
from temporalio import workflow

from activities.contracts import (
    ProposedDifference,
    ProposeDifference,
    RateActivities,
    RepricedWork,
    RepriceWork,
    SetRates,
    SettledDifference,
    SettleDifference,
    StartCredit,
    StartRateChange,
)
from activities.options import CallClass
from canonical.causes import Queue
from canonical.names import LEDGER_QUEUE, LEDGER_SYSTEM, SagaName, saga_id
from canonical.saga import SagaStatus, SagaView, StepKind
from workflows.billing.credit_invoice import CreditInvoice
from workflows.figures import money, summed
from workflows.kernel.children import handed_on
from workflows.kernel.handlers import SagaHandlers
from workflows.kernel.nature import Nature, OnCancel
from workflows.saga import Saga

CHANGING = Nature(
    on_cancel=OnCancel.STOP,
    owner=Queue.BILLING,
    ends={
        SagaStatus.COMPLETE: "Complete.",
        SagaStatus.STOPPED: "Stopped: what is done stays; import the same rates again for the rest.",
    },
)
GIVE_UP = "give-up"
"""The choice at the gate by which the difference is not billed."""


@workflow.defn(name="ChangeRates", failure_exception_types=[ValidationError])
class ChangeRates(SagaHandlers):
    """One run per contract."""

    @workflow.init
    def __init__(self, start: StartRateChange | None = None) -> None:
        start = StartRateChange.model_validate(start)
        self.start = start
        self.change = start
        self.saga = Saga(SagaName.CHANGE_RATES.value, start, f"New rates of {start.contract}", CHANGING)

    @workflow.run
    async def run(self, start: StartRateChange | None = None) -> SagaView:
        """Put the rates in force, reprice what is not billed, have the rest decided."""
        return await self.saga.conduct(self.carry)

    async def carry(self) -> None:
        """The business process."""
        await self.set_rates()
        await self.reprice()
        await self.propose_credits()
        settled = await self.settle(await self.propose())
        self._say(settled)

    async def set_rates(self) -> None:
        """The rates in force from now on."""
        step = "rates"
        done = await self.saga.step(
            step,
            "Put the rates in force",
            RateActivities.set_rates,
            SetRates(
                saga=self.saga.ref,
                step=step,
                contract=self.change.contract,
                card=self.change.card,
                reason=self.start.reason,
            ),
            kind=StepKind.FORWARD_ONLY,
            queue=LEDGER_QUEUE,
            system=LEDGER_SYSTEM,
        )
        self.saga.state.generation = done.generation

    async def reprice(self) -> None:
        """All work of the contract, page by page."""
        progress = self.saga.state.progress
        self.saga.stage("reprice", "Price the work anew", LEDGER_SYSTEM)
        while not progress.get("all_priced"):
            number = progress.get("pages", 0) + 1
            page = await self._page(number, progress.get("after", 0))
            self.saga.show(tallies=summed(self.saga.state.tallies, (page.repriced, page.further)))
            progress["credits"] = sorted({*progress.get("credits", []), *page.credits})
            for name, found in (("busy", page.busy), ("unpriced", page.unpriced)):
                progress[name] = progress.get(name, 0) + found
            progress.update(pages=number, after=page.after or 0, all_priced=page.after is None)
            self.saga.fold(f"reprice.{number}", "reprice", f"{number:,} pages")
            if self.saga.renewal_due():
                await self.saga.boundary()

    async def _page(self, number: int, after: int) -> RepricedWork:
        step = f"reprice.{number}"
        page: RepricedWork = await self.saga.step(
            step,
            "Price the work anew",
            RateActivities.reprice,
            RepriceWork(
                saga=self.saga.ref,
                step=step,
                erp=self.start.system,
                contract=self.change.contract,
                reason=self.start.reason,
                after=after,
            ),
            kind=StepKind.FORWARD_ONLY,
            queue=LEDGER_QUEUE,
            call=CallClass.LONG,
            system=LEDGER_SYSTEM,
        )
        return page

    async def propose_credits(self) -> None:
        """One proposal per invoice that billed too much, each decided at its own gate."""
        progress = self.saga.state.progress
        for invoice in progress.get("credits", []):
            if invoice in progress.get("begun", []) or invoice in progress.get("elsewhere", []):
                continue
            word = (
                "begun" if await self.saga.launch(CreditInvoice.run, self._credit(invoice)) else "elsewhere"
            )
            progress[word] = [*progress.get(word, []), invoice]

    async def propose(self) -> ProposedDifference:
        """What billed work is worth more, as a question."""
        step = "propose"
        found: ProposedDifference = await self.saga.step(
            step,
            "Sum up what billed work is worth more",
            RateActivities.propose_difference,
            ProposeDifference(
                saga=self.saga.ref, step=step, contract=self.change.contract, reason=self.start.reason
            ),
            kind=StepKind.READ,
            queue=LEDGER_QUEUE,
        )
        self.saga.state.at_stake = found.net
        return found

    async def settle(self, proposed: ProposedDifference) -> SettledDifference | None:
        """Ask, and do as is decided."""
        if proposed.review is None:
            return None
        decision = await self.saga.gate(proposed.review)
        step = "settle"
        settled: SettledDifference = await self.saga.step(
            step,
            "Do as was decided about the difference",
            RateActivities.settle_difference,
            SettleDifference(
                saga=self.saga.ref,
                step=step,
                contract=self.change.contract,
                bill=decision is not None and decision.choice != GIVE_UP,
                reason=decision.reason if decision is not None else "",
            ),
            kind=StepKind.FORWARD_ONLY,
            queue=LEDGER_QUEUE,
            system=LEDGER_SYSTEM,
        )
        return settled

    def _credit(self, invoice: str) -> StartCredit:
        base = self.start
        record = invoice.replace("/", ".")
        return StartCredit(
            **handed_on(base),
            saga_id=saga_id(SagaName.CREDIT_INVOICE, base.region, base.system, record),
            system=base.system,
            record_id=record,
            psa=self.change.psa,
            invoice=invoice,
            rates=True,
        )

    def _say(self, settled: SettledDifference | None) -> None:
        progress, words = self.saga.state.progress, []
        for one in self.saga.state.tallies:
            if one.items and one.state == "repriced":
                words.append(f"{_lines(one.items)} repriced by {money(one)}.")
        if settled is not None and settled.tally.items:
            words.append(f"{_lines(settled.tally.items)} {settled.tally.state}, {money(settled.tally)}.")
        if begun := progress.get("begun"):
            words.append(f"{len(begun):,} {'credit is' if len(begun) == 1 else 'credits are'} proposed.")
        if elsewhere := progress.get("elsewhere"):
            words.append(
                f"Of {', '.join(elsewhere)} another credit is being decided: import the rates again after it."
            )
        if busy := progress.get("busy"):
            words.append(
                f"{_lines(busy)} on invoices that are being issued: import the rates again after that."
            )
        if unpriced := progress.get("unpriced"):
            words.append(f"{_lines(unpriced)} without a rate of their day keep their price.")
        self.saga.state.conclusion = " ".join(words) or "The rates are in force; they change nothing so far."


def _lines(number: int) -> str:
    return f"{number:,} {'line' if number == 1 else 'lines'}"
