"""``ReleaseHeld``: all items held for a cause are checked again; those in order go on."""

from __future__ import annotations

from pydantic import ValidationError
from temporalio import workflow

from activities.contracts import PostingActivities, ReleaseHeld, ReleasePage, StartPosting, StartRelease
from activities.options import CallClass
from canonical.causes import Queue
from canonical.names import SagaName, run_name, saga_id, system_queue
from canonical.saga import SagaStatus, SagaView, StepKind
from workflows.billing.post_approved_time import PostApprovedTime
from workflows.figures import counted, held_together, held_words, of_state, summed
from workflows.kernel.children import handed_on
from workflows.kernel.handlers import SagaHandlers
from workflows.kernel.nature import Nature, OnCancel
from workflows.saga import Saga

RELEASING = Nature(
    on_cancel=OnCancel.STOP,
    owner=Queue.BILLING,
    ends={
        SagaStatus.COMPLETE: "Complete.",
        SagaStatus.PLANNED: "Preview: nothing was let go.",
        SagaStatus.STOPPED: "Stopped: what was let go is posted by the next run.",
    },
)


@workflow.defn(name="ReleaseHeld", failure_exception_types=[ValidationError])
class ReleaseHeldItems(SagaHandlers):
    """One run per command; the plan says how many would post and how many the ERP has already."""

    @workflow.init
    def __init__(self, start: StartRelease | None = None) -> None:
        start = StartRelease.model_validate(start)
        self.start = start
        self.release = start
        causes = ", ".join(cause.value for cause in start.causes)
        self.saga = Saga(
            SagaName.RELEASE_HELD.value, start, f"Letting go what is held for {causes}", RELEASING
        )

    @workflow.run
    async def run(self, start: StartRelease | None = None) -> SagaView:
        """Check the held items with today's data, let go what is in order, have it posted."""
        return await self.saga.conduct(self.let_go)

    async def let_go(self) -> None:
        """The business process."""
        progress = self.saga.state.progress
        self.saga.stage("check", "Check held items again", self.release.erp)
        while not progress.get("all_checked"):
            number = progress.get("pages", 0) + 1
            page = await self._page(number, progress.get("after"))
            progress.update(pages=number, after=page.after, all_checked=page.after is None)
            state = self.saga.state
            self.saga.show(
                tallies=summed(state.tallies, (page.would_post, page.in_erp)),
                held=held_together(state.held, page.still_held),
            )
            let_go = of_state(state.tallies, page.would_post.state)
            self.saga.fold(f"check.{number}", "check", counted(let_go))
            if self.saga.renewal_due():
                await self.saga.boundary()
        self._say()
        if not self.start.plan and any(tally.items for tally in self.saga.state.tallies):
            await self.saga.launch(PostApprovedTime.run, self._posting())

    async def _page(self, number: int, after: str | None) -> ReleasePage:
        page: ReleasePage = await self.saga.step(
            f"check.{number}",
            "Check held items again",
            PostingActivities.release_held,
            ReleaseHeld(
                saga=self.saga.ref,
                psa=self.start.system,
                erp=self.release.erp,
                causes=self.release.causes,
                project_code=self.release.project_code,
                after=after,
                limit=self.release.pace.piece_lines,
            ),
            kind=StepKind.READ,
            queue=system_queue(self.release.erp),
            call=CallClass.LONG,
            system=self.release.erp,
        )
        return page

    def _posting(self) -> StartPosting:
        start = self.release
        record = run_name(start.erp, start.record_id)
        return StartPosting(
            **handed_on(start),
            saga_id=saga_id(SagaName.POST_APPROVED_TIME, start.region, start.system, record),
            system=start.system,
            record_id=record,
            erp=start.erp,
            pace=start.pace,
        )

    def _say(self) -> None:
        state = self.saga.state
        words = [
            f"{one.state[:1].upper()}{one.state[1:]}: {counted(one)}." for one in state.tallies if one.items
        ]
        state.conclusion = " ".join([*words, held_words(state.held)]).strip() or "Nothing is held for that."
