"""``TimeToBilling``: everything approved up to a cutoff is posted, then every due group is billed."""

from __future__ import annotations

from pydantic import ValidationError
from temporalio import workflow

from activities.contracts import (
    BeginRun,
    BillingActivities,
    DueGroup,
    GroupEnded,
    ListDue,
    StartBilling,
    StartPosting,
    StartTimeToBilling,
)
from canonical.causes import Queue
from canonical.names import LEDGER_QUEUE, SagaName, billing_name, run_name, saga_id
from canonical.saga import SagaStatus, SagaView, StepKind, Tally
from workflows.billing.bill_contract import BillContract
from workflows.billing.post_approved_time import PostApprovedTime
from workflows.figures import held_words, summed
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
GROUPS = "bill"


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
            if self.saga.renewal_due():
                await self.saga.boundary()

    async def _begin(self, due: DueGroup) -> None:
        progress = self.saga.state.progress
        start = self._billing(due)
        if start.saga_id in self.open:
            return
        if await self.saga.launch(BillContract.run, start):
            self.open.add(start.saga_id)
            progress["begun"] = progress.get("begun", 0) + 1
        else:
            progress["elsewhere"] = progress.get("elsewhere", 0) + 1
        if start.saga_id in self.early:
            self._count(self.early.pop(start.saga_id))

    async def groups_end(self) -> None:
        """Wait for the groups under way. When this run is stopped, so are those that have not issued yet."""
        await workflow.wait_condition(lambda: not self.open or self.saga.stopping or self.saga.renewal_due())
        if self.open and not self.saga.stopping:
            await self.saga.boundary()
        if self.saga.stopping:
            for name in sorted(self.open):
                await self.saga.call_off(name)
            await workflow.wait_condition(lambda: not self.open)
        self.saga.checkpoint()

    def _count(self, ended: GroupEnded) -> None:
        self.open.discard(ended.saga_id)
        tally = Tally(
            state=_GROUP_WORDS.get(ended.status, ended.status),
            items=1,
            amounts=(ended.net,) if ended.net is not None else (),
        )
        progress = self.saga.state.progress
        known = tuple(Tally.model_validate(one) for one in progress.get("groups", []))
        progress["groups"] = [one.model_dump(mode="json") for one in summed(known, (tally,))]
        self._keep()
        self.saga.show()

    def _keep(self) -> None:
        self.saga.state.progress["open"] = sorted(self.open)

    def _words(self) -> str:
        groups = [Tally.model_validate(one) for one in self.saga.state.progress.get("groups", [])]
        begun = self.saga.state.progress.get("begun", 0)
        words = [f"{begun:,} groups were due." if begun else "No group was due."]
        words += [
            f"{one.items:,} {one.state}{': ' + ', '.join(map(str, one.amounts)) if one.amounts else ''}."
            for one in groups
        ]
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


_GROUP_WORDS = {
    SagaStatus.COMPLETE.value: "billed",
    SagaStatus.UNDONE.value: "not billed, unbilled again",
    SagaStatus.FAILED.value: "not begun",
}
