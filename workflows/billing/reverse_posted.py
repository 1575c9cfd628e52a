"""``ReversePosted``: posted lines are taken back, by explicit command and after a preview (rule 23)."""

from __future__ import annotations

from pydantic import ValidationError
from temporalio import workflow

from activities.contracts import (
    BeginRun,
    BillingActivities,
    FeedActivities,
    MarkExported,
    Piece,
    PostedPiece,
    PostingActivities,
    ReversalSelection,
    SelectReversals,
    StartReversal,
)
from activities.options import CallClass
from canonical.causes import Queue
from canonical.names import LEDGER_QUEUE, SagaName, system_queue
from canonical.saga import SagaStatus, SagaView, StepKind
from workflows.figures import counted, held_together, of_state, summed
from workflows.kernel.handlers import SagaHandlers
from workflows.kernel.nature import Nature, OnCancel
from workflows.saga import Saga

REVERSING = Nature(
    on_cancel=OnCancel.STOP,
    owner=Queue.BILLING,
    ends={
        SagaStatus.COMPLETE: "Complete.",
        SagaStatus.PLANNED: "Preview: nothing was taken back.",
        SagaStatus.STOPPED: "Stopped at a batch: what was taken back stays so.",
    },
)


@workflow.defn(name="ReversePosted", failure_exception_types=[ValidationError])
class ReversePosted(SagaHandlers):
    """One run per command; the plan is the preview."""

    @workflow.init
    def __init__(self, start: StartReversal | None = None) -> None:
        start = StartReversal.model_validate(start)
        self.start = start
        self.reversal = start
        title = f"Taking posted lines back in {start.system}"
        self.saga = Saga(SagaName.REVERSE_POSTED.value, start, title, REVERSING)

    @workflow.run
    async def run(self, start: StartReversal | None = None) -> SagaView:
        """Take back what the scope covers and the ERP still lets go; say what it does not."""
        return await self.saga.conduct(self.take_back)

    async def take_back(self) -> None:
        """The business process."""
        if not self.start.plan:
            await self.saga.step(
                "begin",
                "Register the run",
                BillingActivities.begin_run,
                BeginRun(saga=self.saga.ref, name=SagaName.REVERSE_POSTED.value, reason=self.start.reason),
                kind=StepKind.READ,
                queue=LEDGER_QUEUE,
            )
        progress = self.saga.state.progress
        self.saga.stage("select", "Find what can be taken back", self.start.system)
        self.saga.stage("reverse", f"Take back in {self.start.system}", self.start.system)
        while not progress.get("all_selected"):
            number = progress.get("pieces", 0) + 1
            selection = await self._select(number)
            if selection.reversals and not self.start.plan:
                await self._reverse(number)
            progress.update(pieces=number, all_selected=not selection.more, after=selection.after)
            for stage in ("select", "reverse"):
                done = of_state(self.saga.state.tallies, "reversed")
                self.saga.fold(f"{stage}.{number}", stage, counted(done))
            if self.saga.renewal_due():
                await self.saga.boundary()
        if not self.start.plan:
            await self._unmark()
        self._say()

    async def _select(self, number: int) -> ReversalSelection:
        selection: ReversalSelection = await self.saga.step(
            f"select.{number}",
            "Find what can be taken back",
            PostingActivities.select_reversals,
            SelectReversals(
                saga=self.saga.ref,
                psa=self.reversal.psa,
                erp=self.start.system,
                scope=self.reversal.scope,
                number=number,
                limit=self.reversal.pace.piece_lines,
                hold=self.reversal.hold,
                pace=self.reversal.pace,
                after=self.saga.state.progress.get("after"),
            ),
            kind=StepKind.READ,
            queue=system_queue(self.start.system),
            call=CallClass.LONG,
            system=self.start.system,
        )
        cannot = [tally for tally in (selection.billed, selection.absent) if tally is not None]
        state = self.saga.state
        self.saga.show(tallies=summed(state.tallies, (*selection.by_form, *cannot)))
        return selection

    async def _reverse(self, number: int) -> None:
        done: PostedPiece = await self.saga.step(
            f"reverse.{number}",
            "Take back",
            PostingActivities.reverse,
            Piece(
                saga=self.saga.ref,
                psa=self.reversal.psa,
                erp=self.start.system,
                number=number,
                limit=self.reversal.pace.piece_lines,
                pace=self.reversal.pace,
                on_purpose=True,
                hold=self.reversal.hold,
                reason=self.start.reason,
            ),
            kind=StepKind.FORWARD_ONLY,
            queue=system_queue(self.start.system),
            call=CallClass.LONG,
            system=self.start.system,
            interruptible=True,
        )
        state = self.saga.state
        self.saga.show(
            tallies=summed(state.tallies, done.tallies),
            held=held_together(state.held, done.held),
            rate=done.rate,
        )

    async def _unmark(self) -> None:
        """The delivery system no longer shows the lines as taken by the ERP."""
        more, number = True, 0
        self.saga.stage("unmark", f"Take marks off in {self.reversal.psa}", self.reversal.psa)
        while more:
            number += 1
            done = await self.saga.step(
                f"unmark.{number}",
                f"Take marks off in {self.reversal.psa}",
                FeedActivities.mark,
                MarkExported(
                    saga=self.saga.ref,
                    system=self.reversal.psa,
                    erp=self.start.system,
                    limit=self.reversal.pace.piece_lines,
                    pace=self.reversal.pace,
                ),
                kind=StepKind.FORWARD_ONLY,
                queue=system_queue(self.reversal.psa),
                call=CallClass.LONG,
                system=self.reversal.psa,
                interruptible=True,
            )
            more = done.more
            self.saga.fold(f"unmark.{number}", "unmark", "done")

    def _say(self) -> None:
        tallies = self.saga.state.tallies
        words = [f"{one.state}: {counted(one)}." for one in tallies if one.items]
        self.saga.state.conclusion = " ".join(words) or "Nothing is posted there."
