"""``TimeToBilling``: everything approved up to a cutoff is posted, then every due group is billed."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError
from temporalio import workflow

from activities.contracts import (
    BeginRun,
    BillingActivities,
    DueGroup,
    EndRetainers,
    GroupEnded,
    ListDue,
    RetainersEnded,
    StartBilling,
    StartCredit,
    StartPosting,
    StartTimeToBilling,
)
from activities.options import CallClass
from canonical.causes import Queue
from canonical.names import LEDGER_QUEUE, LEDGER_SYSTEM, SagaName, billing_name, run_name, saga_id, saga_parts
from canonical.saga import SagaStatus, SagaView, StepKind, Tally
from workflows.billing.bill_contract import BillContract
from workflows.billing.credit_invoice import CreditInvoice
from workflows.billing.post_approved_time import PostApprovedTime
from workflows.figures import held_words, money, summed
from workflows.kernel.children import handed_on
from workflows.kernel.handlers import SagaHandlers
from workflows.kernel.nature import Nature, OnCancel
from workflows.saga import Saga

CUTOFF = Nature(
    on_cancel=OnCancel.STOP,
    owner=Queue.BILLING,
    ends={
        SagaStatus.COMPLETE: "Complete.",
        SagaStatus.STOPPED: "Stopped: what is posted and issued stays, the next run does the rest.",
    },
)
NOTHING = "with nothing to bill"


@workflow.defn(name="TimeToBilling", failure_exception_types=[ValidationError])
class TimeToBilling(SagaHandlers):
    """One run per route and cutoff."""

    @workflow.init
    def __init__(self, start: StartTimeToBilling | None = None) -> None:
        start = StartTimeToBilling.model_validate(start)
        self.start = start
        self.cutoff = start
        title = f"Posting and billing up to {start.through.isoformat()}"
        self.saga = Saga(SagaName.TIME_TO_BILLING.value, start, title, CUTOFF)
        self.open: set[str] = set(self.saga.state.progress.get("open", []))
        self.early: dict[str, GroupEnded] = {}
        """Groups that ended before this run had noted that they began."""

    @workflow.run
    async def run(self, start: StartTimeToBilling | None = None) -> SagaView:
        """Post, then bill; groups wait for their reviews each by itself."""
        return await self.saga.conduct(self.close)

    @workflow.signal(name="group_ended", description="A billing group's run ended; sent by the run itself.")
    def group_ended(self, ended: GroupEnded) -> None:
        """Note how a group's run ended."""
        if ended.saga_id in self.open:
            self._count(ended)
        else:
            self.early[ended.saga_id] = ended

    async def close(self) -> None:
        """The business process."""
        await self.saga.step(
            "begin",
            "Register the run",
            BillingActivities.begin_run,
            BeginRun(saga=self.saga.ref, name=SagaName.TIME_TO_BILLING.value, reason=self.start.reason),
            kind=StepKind.READ,
            queue=LEDGER_QUEUE,
        )
        posted = await self.saga.child("post", "Post what is approved", PostApprovedTime.run, self._posting())
        self.saga.show(tallies=posted.tallies, held=posted.held, rate=posted.rate)
        await self.begin_groups()
        await self.groups_end()
        if workflow.patched("retainers-end-with-the-cutoff"):
            await self.end_retainers()
        self.saga.state.conclusion = self._words()

    async def begin_groups(self) -> None:
        """Start the run of every group that is due. They go on by themselves and report when they end."""
        progress = self.saga.state.progress
        self.saga.stage("due", "Find the groups that are due")
        while not progress.get("all_begun"):
            number = progress.get("pages", 0) + 1
            step = f"due.{number}"
            page = await self.saga.step(
                step,
                "Find the groups that are due",
                BillingActivities.list_due,
                ListDue(
                    saga=self.saga.ref,
                    psa=self.start.system,
                    erp=self.cutoff.erp,
                    through=self.cutoff.through,
                    after=progress.get("after"),
                ),
                kind=StepKind.READ,
                queue=LEDGER_QUEUE,
            )
            for due in page.groups:
                await self._begin(due)
            progress.update(pages=number, after=page.after, all_begun=page.after is None)
            self._keep()
            self.saga.fold(step, "due", f"{progress.get('begun', 0):,} due")
            self._say_how_far()
            if self.saga.renewal_due():
                await self.saga.boundary()

    async def _begin(self, due: DueGroup) -> None:
        """Start a group's cycle, or note that it waits: a group's cycles are billed one after another, in
        their order, since they draw on the same limits and balances (rules 31, 32).
        """
        progress = self.saga.state.progress
        start = self._billing(due)
        if start.saga_id in self.open:
            return
        if due.group in progress.get("blocked", []):
            progress["later"] = progress.get("later", 0) + 1
            return
        if self._waits(due.group):
            progress.setdefault("waiting", []).append(due.model_dump(mode="json"))
            return
        if await self.saga.launch(BillContract.run, start):
            self.open.add(start.saga_id)
            progress["begun"] = progress.get("begun", 0) + 1
            progress.setdefault("groups_open", {})[due.group] = start.saga_id
        else:
            # Another run bills it, and tells that one when it ends: what comes after it is for the next run.
            progress["elsewhere"] = progress.get("elsewhere", 0) + 1
            progress.setdefault("blocked", []).append(due.group)
        if start.saga_id in self.early:
            self._count(self.early.pop(start.saga_id))

    async def groups_end(self) -> None:
        """Wait for the groups under way. When this run is stopped, so are those that have not issued yet."""
        while True:
            await workflow.wait_condition(
                lambda: not self.open or self.saga.stopping or self.saga.renewal_due() or bool(self._ready())
            )
            ready = [] if self.saga.stopping else self._ready()
            for due in ready:
                self.saga.state.progress["waiting"].remove(due.model_dump(mode="json"))
                await self._begin(due)
            if ready:
                self._keep()
                continue
            if self.open and not self.saga.stopping:
                await self.saga.boundary()
                continue
            break
        if self.saga.stopping:
            for name in sorted(self.open):
                # One may have told of its end while the one before it was called off.
                if name in self.open or not workflow.patched("call-off-only-what-is-open"):
                    await self.saga.call_off(name)
            await workflow.wait_condition(lambda: not self.open)
        self.saga.checkpoint()

    async def end_retainers(self) -> None:
        """When all of the cutoff's work has drawn: what retainers have left rolls over, expires, or is given
        back by a credit that is decided at its own gate.
        """
        step = "retainers"
        ended: RetainersEnded = await self.saga.step(
            step,
            "End the periods of retainers",
            BillingActivities.end_retainers,
            EndRetainers(saga=self.saga.ref, step=step, erp=self.cutoff.erp, through=self.cutoff.through),
            kind=StepKind.FORWARD_ONLY,
            queue=LEDGER_QUEUE,
            call=CallClass.LONG,
            system=LEDGER_SYSTEM,
        )
        progress = self.saga.state.progress
        progress["retainers"] = [one.model_dump(mode="json") for one in ended.tallies]
        progress["by_hand"] = list(ended.by_hand)
        for invoice in ended.refunds:
            if invoice not in progress.setdefault("refunds", []):
                progress["refunds"].append(invoice)
                await self.saga.launch(CreditInvoice.run, self._refund(invoice))

    def _waits(self, group: str) -> bool:
        """Whether an earlier cycle of the group is under way."""
        return self.saga.state.progress.get("groups_open", {}).get(group) in self.open

    def _ready(self) -> list[DueGroup]:
        """Of each group whose earlier cycle has ended, the next one that waits."""
        waiting = [DueGroup.model_validate(one) for one in self.saga.state.progress.get("waiting", [])]
        first = {due.group: due for due in reversed(waiting)}
        return [due for due in waiting if first[due.group] is due and not self._waits(due.group)]

    def _count(self, ended: GroupEnded) -> None:
        self.open.discard(ended.saga_id)
        group = saga_parts(ended.saga_id)[3].rpartition(".")[0]
        self.saga.state.progress.get("groups_open", {}).pop(group, None)
        nothing = ended.status == SagaStatus.COMPLETE.value and ended.invoice is None
        tally = Tally(
            state=NOTHING if nothing else _GROUP_WORDS.get(ended.status, ended.status),
            items=1,
            amounts=(ended.net,) if ended.net is not None else (),
        )
        progress = self.saga.state.progress
        known = tuple(Tally.model_validate(one) for one in progress.get("groups", []))
        progress["groups"] = [one.model_dump(mode="json") for one in summed(known, (tally,))]
        self._keep()
        self._say_how_far()

    def _keep(self) -> None:
        self.saga.state.progress["open"] = sorted(self.open)

    def _say_how_far(self) -> None:
        """The headline while groups are under way: how many, and what is billed so far."""
        begun = self.saga.state.progress.get("begun", 0)
        ended = [Tally.model_validate(one) for one in self.saga.state.progress.get("groups", [])]
        words = [f"{_groups(begun)} due"]
        words += [f"{one.items:,} {one.state}{_worth(one)}" for one in ended]
        words += [f"{len(self.open):,} under way"] if self.open else []
        self.saga.state.headline = f"Billing up to {self.cutoff.through.isoformat()}: {'; '.join(words)}"
        self.saga.show()

    def _words(self) -> str:
        groups = [Tally.model_validate(one) for one in self.saga.state.progress.get("groups", [])]
        begun = self.saga.state.progress.get("begun", 0)
        was = "was" if begun == 1 else "were"
        words = [f"{_groups(begun)} {was} due." if begun else "No group was due."]
        words += [f"{one.items:,} {one.state}{_worth(one)}." for one in groups]
        progress = self.saga.state.progress
        if elsewhere := progress.get("elsewhere", 0):
            words.append(f"{elsewhere:,} more {'is' if elsewhere == 1 else 'are'} under way by another run.")
        if later := progress.get("later", 0):
            words.append(f"{later:,} later {'cycle' if later == 1 else 'cycles'} left for the next run.")
        for one in [Tally.model_validate(one) for one in progress.get("retainers", [])]:
            words.append(f"{one.items:,} {one.state}{_worth(one)}.")
        if refunds := progress.get("refunds"):
            words.append(f"{len(refunds):,} {'refund is' if len(refunds) == 1 else 'refunds are'} proposed.")
        if by_hand := progress.get("by_hand"):
            words.append(f"To be given back by hand, no invoice of ours billed it: {', '.join(by_hand)}.")
        return " ".join([*words, held_words(self.saga.state.held)]).strip()

    def _posting(self) -> StartPosting:
        cutoff = self.cutoff
        record = run_name(cutoff.erp, cutoff.through.isoformat())
        return StartPosting(
            **handed_on(cutoff),
            saga_id=saga_id(SagaName.POST_APPROVED_TIME, cutoff.region, cutoff.system, record),
            system=cutoff.system,
            record_id=record,
            erp=cutoff.erp,
            through=cutoff.through,
            pace=cutoff.pace,
        )

    def _refund(self, invoice: str) -> StartCredit:
        cutoff, record = self.cutoff, invoice.replace("/", ".")
        return StartCredit(
            **handed_on(cutoff),
            saga_id=saga_id(SagaName.CREDIT_INVOICE, cutoff.region, cutoff.erp, record),
            system=cutoff.erp,
            record_id=record,
            psa=cutoff.system,
            invoice=invoice,
            refund=True,
        )

    def _billing(self, due: DueGroup) -> StartBilling:
        cutoff = self.cutoff
        record = billing_name(due.group, due.cycle)
        return StartBilling(
            **handed_on(cutoff),
            saga_id=saga_id(SagaName.BILL_CONTRACT, cutoff.region, cutoff.erp, record),
            system=cutoff.erp,
            record_id=record,
            psa=cutoff.system,
            group=due.group,
            cycle=due.cycle,
            through=cutoff.through,
            pace=cutoff.pace,
            report_to=self.start.saga_id,
        )


def _groups(number: int) -> str:
    return f"{number:,} {'group' if number == 1 else 'groups'}"


def _worth(tally: Tally) -> str:
    return f": {money(tally)}" if tally.amounts else ""


_GROUP_WORDS: Mapping[str, str] = {
    SagaStatus.COMPLETE.value: "billed",
    SagaStatus.UNDONE.value: "not billed, unbilled again",
    SagaStatus.FAILED.value: "not begun",
}
