"""Collecting and posting as three lines of work side by side: read, post in pieces, mark.

Reading does not hold up posting, nor marking either. Pieces overlap, so that one's last calls run beside the
next one's first. All that a run knows of its progress is a small document: it can continue as new at any
boundary, whatever the volume.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import BaseModel, ConfigDict
from temporalio import workflow

from activities.contracts import (
    BeginRun,
    BillingActivities,
    Collected,
    CollectPart,
    CollectWork,
    FeedActivities,
    MarkExported,
    Piece,
    PostedPiece,
    PostingActivities,
    PreparedPiece,
    ReadStanding,
    StartCredit,
    StartPosting,
)
from activities.options import CallClass
from canonical.causes import Queue
from canonical.names import LEDGER_QUEUE, SagaName, saga_id, system_queue
from canonical.saga import HeldItems, SagaStatus, StepKind, Tally
from workflows.billing.credit_invoice import CreditInvoice
from workflows.figures import counted, held_together, held_words, of_state, summed
from workflows.kernel.children import handed_on
from workflows.kernel.nature import Nature, OnCancel
from workflows.saga import Saga

C = TypeVar("C", bound=BaseModel)
R = TypeVar("R")

POSTING = Nature(
    on_cancel=OnCancel.STOP,
    owner=Queue.BILLING,
    ends={
        SagaStatus.COMPLETE: "Complete.",
        SagaStatus.STOPPED: "Stopped at a batch: what is posted stays, the next run posts the rest.",
    },
)


class Progress(BaseModel):
    """How far a run is: all that a run which continues as new takes along."""

    model_config = ConfigDict(extra="ignore")

    part: CollectPart | None = CollectPart.TIME
    """What is read next; None when everything is read."""
    stretches: int = 0
    """Stretches of reading so far."""
    pieces: int = 0
    """Pieces begun so far."""
    under_way: list[int] = []
    """Pieces begun and not finished."""
    left_over: bool = False
    """Pieces have let go of lines: withdrawn ones, and replacements whose predecessor another piece takes
    back. They are claimed again once nothing else is under way.
    """
    open_work: bool = True
    """There may be lines that no piece has claimed. At the beginning: those that earlier runs left."""
    marks: int = 0
    unmarked: bool = True
    refused_marks: int = 0
    """Posted lines whose mark delivery refused when it was last tried: they stand in nobody's way."""
    begun_credits: list[str] = []


class Posting:
    """The business of ``PostApprovedTime``."""

    def __init__(self, saga: Saga, start: StartPosting) -> None:
        self.saga = saga
        self.start = start
        self.progress = Progress.model_validate(saga.state.progress)
        self._pieces_before = self.progress.pieces
        self._turning = False
        self._moved = True
        """Something was posted or taken back since the rest was last looked at."""

    async def run(self) -> None:
        """Read, post and mark until nothing is left to do."""
        begun = await self.saga.step(
            "begin",
            "Register the run",
            BillingActivities.begin_run,
            BeginRun(saga=self.saga.ref, name=SagaName.POST_APPROVED_TIME.value, reason=self.start.reason),
            kind=StepKind.READ,
            queue=LEDGER_QUEUE,
        )
        self.progress.pieces = max(self.progress.pieces, begun.pieces)
        self._pieces_before = max(self._pieces_before, begun.pieces)
        self._name_stages()
        while True:
            try:
                await self.saga.together(self._read(), self._post(), self._mark())
            finally:
                self._say(self.saga.state.held)
            if not self._turning:
                break
            await self.saga.boundary()
        await self._conclude()

    def _name_stages(self) -> None:
        psa, erp = self.start.system, self.start.erp
        for id_, title, system in (
            ("collect", f"Read {psa}", psa),
            ("prepare", "Check and enrich", erp),
            ("reverse", f"Take back in {erp}", erp),
            ("post", f"Post to {erp}", erp),
            ("mark", f"Mark in {psa}", psa),
        ):
            self.saga.stage(id_, title, system)

    # --- reading -------------------------------------------------------------------------------------

    async def _read(self) -> None:
        progress = self.progress
        while progress.part is not None and not self._turn():
            number = progress.stretches + 1
            found: Collected = await self._part(
                f"collect.{number}",
                "collect",
                f"Read what was approved in {self.start.system}",
                FeedActivities.collect,
                CollectWork(
                    saga=self.saga.ref,
                    system=self.start.system,
                    erp=self.start.erp,
                    part=progress.part,
                    limit=self.start.pace.piece_lines,
                    through=self.start.through,
                ),
                system=self.start.system,
            )
            self._show_collected(found)
            progress.stretches = number
            if not found.stopped:
                progress.part = found.next
            if found.new or found.vanished or found.open:
                progress.open_work = True
            self._fold(f"collect.{number}", "collect", "read")

    def _show_collected(self, found: Collected) -> None:
        seen = [("read", found.seen), ("new or changed", found.new), ("gone in delivery", found.vanished)]
        self._add({name: count for name, count in seen if count})

    # --- pieces --------------------------------------------------------------------------------------

    async def _post(self) -> None:
        progress = self.progress
        tasks = {number: self._begin_piece(number) for number in progress.under_way}
        try:
            while True:
                await workflow.wait_condition(lambda: self._may_begin(tasks) or self._idle(tasks))
                self._look_at_the_rest(tasks)
                if self._idle(tasks):
                    break
                progress.pieces += 1
                progress.open_work = False  # until a piece or the reading says that there is more
                progress.under_way.append(progress.pieces)
                tasks[progress.pieces] = self._begin_piece(progress.pieces)
        finally:
            outcomes = await asyncio.gather(*tasks.values(), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    def _begin_piece(self, number: int) -> asyncio.Task[None]:
        return asyncio.create_task(self._piece(number))

    def _under_way(self, tasks: dict[int, asyncio.Task[None]]) -> int:
        return sum(not task.done() for task in tasks.values())

    def _may_begin(self, tasks: dict[int, asyncio.Task[None]]) -> bool:
        return (
            self.progress.open_work
            and not self._turn()
            and not self.saga.stopping
            and self._under_way(tasks) < self.start.pace.pieces_at_once
        )

    def _idle(self, tasks: dict[int, asyncio.Task[None]]) -> bool:
        """Whether there is nothing to do for this line of work any more, in this run."""
        if self._under_way(tasks):
            return False
        if self._turn() or self.saga.stopping:
            return True
        return self.progress.part is None and not self.progress.open_work

    def _look_at_the_rest(self, tasks: dict[int, asyncio.Task[None]]) -> None:
        """What pieces let go of is claimed again, as long as that brings anything forward."""
        if self.progress.left_over and self._moved and not self._under_way(tasks):
            self.progress.left_over = self._moved = False
            self.progress.open_work = True

    async def _piece(self, number: int) -> None:
        """One piece: check, take back, post. Its lines are held or posted one by one; none holds others."""
        piece = self.piece(number)
        prepared: PreparedPiece = await self._part(
            f"prepare.{number}",
            "prepare",
            f"Check and enrich piece {number}",
            PostingActivities.prepare,
            piece,
            system=self.start.erp,
        )
        self._add({"checked": prepared.claimed} if prepared.claimed else {})
        self.saga.show(held=held_together(self.saga.state.held, prepared.held))
        if prepared.more:
            self.progress.open_work = True
        await self._propose_credits(prepared)
        if prepared.reversals:
            self._posted(
                await self._part(
                    f"reverse.{number}",
                    "reverse",
                    f"Take back {prepared.reversals:,} postings of piece {number}",
                    PostingActivities.reverse,
                    piece,
                    system=self.start.erp,
                )
            )
        if prepared.ready:
            self._posted(
                await self._part(
                    f"post.{number}",
                    "post",
                    f"Post {prepared.ready:,} lines of piece {number}",
                    PostingActivities.post,
                    piece,
                    system=self.start.erp,
                )
            )
        self.progress.under_way.remove(number)
        for stage, state in (("prepare", "checked"), ("reverse", "reversed"), ("post", "posted")):
            self._fold(f"{stage}.{number}", stage, state)

    def piece(self, number: int) -> Piece:
        """The reference of a piece."""
        return Piece(
            saga=self.saga.ref,
            psa=self.start.system,
            erp=self.start.erp,
            number=number,
            limit=self.start.pace.piece_lines,
            through=self.start.through,
            pace=self.start.pace,
        )

    def _posted(self, done: PostedPiece) -> None:
        if done.posted or done.reversed:
            self.progress.unmarked = True
            self._moved = True
        if done.withdrawn or done.left:
            self.progress.left_over = True
        state = self.saga.state
        self.saga.show(
            tallies=summed(state.tallies, done.tallies),
            held=held_together(state.held, done.held),
            rate=done.rate,
        )

    async def _propose_credits(self, prepared: PreparedPiece) -> None:
        """A line changed after its invoice: one proposal per invoice, decided at a gate of its own."""
        for invoice in prepared.credits:
            if invoice in self.progress.begun_credits:
                continue
            self.progress.begun_credits.append(invoice)
            await self.saga.launch(CreditInvoice.run, self._credit(invoice))

    def _credit(self, invoice: str) -> StartCredit:
        base = self.start
        record = invoice.replace("/", ".")
        return StartCredit(
            **handed_on(base),
            saga_id=saga_id(SagaName.CREDIT_INVOICE, base.region, base.erp, record),
            system=base.erp,
            record_id=record,
            psa=base.system,
            invoice=invoice,
        )

    # --- marks ---------------------------------------------------------------------------------------

    async def _mark(self) -> None:
        progress = self.progress
        while True:
            await workflow.wait_condition(lambda: progress.unmarked or self._all_posted())
            if self.saga.stopping:
                self.saga.checkpoint()
            if self._turning or not progress.unmarked:
                return
            number = progress.marks + 1
            progress.unmarked = False
            done = await self._part(
                f"mark.{number}",
                "mark",
                f"Mark posted lines in {self.start.system}",
                FeedActivities.mark,
                MarkExported(
                    saga=self.saga.ref,
                    system=self.start.system,
                    erp=self.start.erp,
                    limit=self.start.pace.piece_lines,
                    pace=self.start.pace,
                ),
                system=self.start.system,
            )
            progress.marks = number
            if done.more or done.stopped:
                progress.unmarked = True
            progress.refused_marks = done.refused
            self._add({"marked": done.marked} if done.marked else {})
            self._fold(f"mark.{number}", "mark", "marked")

    def _all_posted(self) -> bool:
        progress = self.progress
        done = progress.part is None and not progress.open_work and not progress.under_way
        return done or self.saga.stopping or (self._turn() and not progress.under_way)

    # --- all -----------------------------------------------------------------------------------------

    async def _part(
        self,
        id_: str,
        stage: str,
        title: str,
        method: Callable[..., Awaitable[R]],
        command: BaseModel,
        *,
        system: str,
    ) -> R:
        """One part of a stage, as a step: it waits and parks by itself, the other parts go on."""
        return await self.saga.step(
            id_,
            title,
            method,
            command,
            kind=StepKind.READ if stage in ("collect", "prepare") else StepKind.FORWARD_ONLY,
            queue=system_queue(system),
            call=CallClass.LONG,
            system=system,
            interruptible=True,
        )

    def _fold(self, id_: str, stage: str, state: str) -> None:
        tally = of_state(self.saga.state.tallies, state)
        self._keep()
        self.saga.fold(id_, stage, f"{tally.items:,} {state}" if tally.items else "nothing to do")

    def _add(self, counts: dict[str, int]) -> None:
        if counts:
            more = tuple(Tally(state=name, items=count) for name, count in counts.items())
            self.saga.show(tallies=summed(self.saga.state.tallies, more))

    def _turn(self) -> bool:
        """Whether this run comes to a boundary: nothing new is begun, and it continues as new."""
        if not self._turning:
            many = self.progress.pieces - self._pieces_before >= self.start.pace.pieces_per_run
            self._turning = many or self.saga.renewal_due()
        return self._turning

    def _keep(self) -> None:
        self.saga.state.progress = self.progress.model_dump(mode="json")

    async def _conclude(self) -> None:
        self._keep()
        self.saga.nothing_to_do("collect", "prepare", "reverse", "post", "mark")
        standing = await self.saga.step(
            "standing",
            "Sum up",
            BillingActivities.standing,
            ReadStanding(
                saga=self.saga.ref, psa=self.start.system, erp=self.start.erp, through=self.start.through
            ),
            kind=StepKind.READ,
            queue=LEDGER_QUEUE,
        )
        self.saga.show(held=standing.held)
        self._say(standing.held)

    def _say(self, held: tuple[HeldItems, ...]) -> None:
        posted = of_state(self.saga.state.tallies, "posted")
        words = f"Posted {counted(posted)}." if posted.items else "Nothing was posted."
        if refused := self.progress.refused_marks:
            lines = f"{refused:,} {'line' if refused == 1 else 'lines'}"
            words += f" {self.start.system} refused to mark {lines}: the next run tries again."
        self.saga.state.conclusion = f"{words} {held_words(held)}".strip()
