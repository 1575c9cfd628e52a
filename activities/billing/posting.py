"""Posting a piece: its lines go to the ERP in batches side by side, each approved until right before it.

The window is wider than the ERP's concurrency: while some batches wait for a call slot, others read approvals
or commit, so that no slot is ever idle. Nothing is remembered between attempts but what the ledger holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from activities.billing.gathering import Gathering
from activities.billing.lines import COST_KINDS, Figures, cost_line, hold_of, line_context, result_of
from activities.billing.preparing import LEASE, Preparing
from activities.billing.sending import BatchSending, Handing, Stale, patiently
from activities.contracts import Piece, PostedPiece
from activities.ending import Ending, ending_well, in_window
from activities.failures import progress
from activities.systems import Systems
from activities.writing import attempt_under_way
from canonical.batches import BatchPurpose, BatchRef, BatchState, LineResult, LineState
from canonical.causes import Cause
from canonical.delivered import DeliveredExpense, DeliveredTime
from canonical.erp_billing import CostKind
from canonical.failures import Defect, Transient
from canonical.items import ItemKind
from canonical.operations import BatchTicket, LineOutcome
from canonical.saga import Throughput
from canonical.writes import VendorWrite
from connectors.ports.billing import BillingPort
from connectors.ports.delivery import DeliveryFeed
from ledger.billing_rows import ItemRow
from ledger.rows import AuditEntry
from ledger.store import Ledger
from rules.approval import counts_as_approved, source_line

PORTIONS = 2
"""Batches are formed for so many windows ahead: enough that no slot waits for it, few enough that a large
piece does not stand in memory."""
TIRED = 3
"""Batches with lines refused for passing reasons after which this attempt stops and the saga waits."""
EXTEND_EVERY = 60.0
"""Seconds between extensions of the piece's lease."""


@dataclass(frozen=True)
class Gone:
    """A line that must not be sent as it stands: why, and as the delivery system has it now."""

    reason: str
    now: DeliveredTime | DeliveredExpense | None


@dataclass
class Run:
    """One attempt at a piece."""

    piece: Piece
    port: BillingPort
    feed: DeliveryFeed
    ending: Ending
    attempt: str
    figures: Figures = field(default_factory=Figures)
    earlier: int = 0
    withdrawn: int = 0
    tired: int = 0
    began: float = field(default_factory=time.monotonic)
    extended: float = field(default_factory=time.monotonic)
    busy: float = 0.0
    """Seconds of calls to the ERP before it began."""

    def __post_init__(self) -> None:
        self.busy = self.port.traffic.seconds

    @property
    def call_seconds(self) -> float:
        """What one vendor call may take."""
        return self.piece.saga.call_seconds

    def rate(self, lines: int) -> Throughput:
        """How fast lines went, and how many calls were in flight on average, of all pieces together."""
        seconds, traffic = max(time.monotonic() - self.began, 0.001), self.port.traffic
        return Throughput(
            system=self.piece.erp,
            lines_per_second=lines / seconds,
            calls_in_flight=(traffic.seconds - self.busy) / seconds,
            limit=traffic.limit,
        )


class Posting:
    """Posts pieces to ERPs. One per worker process."""

    def __init__(
        self,
        systems: Systems,
        ledger: Ledger,
        gathering: Gathering,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.systems = systems
        self.ledger = ledger
        self.preparing = Preparing(systems, ledger, gathering, clock=clock)
        self.sending = BatchSending(ledger, clock=clock, sleep=sleep)
        self._now = clock
        self._sleep = sleep

    async def post(self, piece: Piece) -> PostedPiece:
        """Post what is ready of a piece; a cancel stops it at the next batch."""
        port = await self.systems.billing(piece.erp, piece.saga.mapping.get(piece.erp, ""))
        feed = await self.systems.feed(piece.psa, piece.saga.mapping.get(piece.psa, ""))

        async def work(ending: Ending) -> PostedPiece:
            run = Run(piece, port, feed, ending, attempt_under_way().id)
            if (over := await piece_is_over(self.ledger, piece)) is not None:
                return over
            await self._extend(run, at_once=True)
            await self.look_first(run)
            await in_window(
                piece.pace.batches_at_once, self._batches(run), lambda batch: self._carry(run, batch), ending
            )
            if run.tired >= TIRED:
                raise Transient(
                    f"{piece.erp} refuses lines for passing reasons, again and again.", system=piece.erp
                )
            return await self._answer(run)

        return await ending_well(work)

    async def _answer(self, run: Run) -> PostedPiece:
        left = await self.ledger.close_piece(run.piece.key)
        figures = run.figures
        posted = figures.count("posted")
        return PostedPiece(
            posted=posted,
            earlier=run.earlier,
            refused=sum(one.tally.items for one in figures.held()),
            withdrawn=run.withdrawn,
            left=left,
            held=figures.held(),
            tallies=figures.tallies("posted"),
            rate=run.rate(posted) if posted else None,
            stopped=run.ending.stopped,
        )

    async def _batches(self, run: Run) -> AsyncIterator[BatchRef]:
        """The piece's batches: those of an earlier attempt first, then new ones, in portions."""
        size = run.port.batch_limit
        portion = size * run.piece.pace.batches_at_once * PORTIONS
        seen: set[int] = set()
        while run.tired < TIRED:
            formed = await self.ledger.form_batches(
                run.piece.key, BatchPurpose.POST_COST, run.piece.erp, size=size, limit=portion
            )
            new = [batch for batch in formed if batch.number not in seen]
            if not new:
                return
            for batch in new:
                seen.add(batch.number)
                yield batch
                await self._extend(run)

    async def _extend(self, run: Run, *, at_once: bool = False) -> None:
        """Keep the piece ours.

        Raises:
            Transient: it was taken over: this attempt was away for too long.
        """
        if not at_once and time.monotonic() - run.extended < EXTEND_EVERY:
            return
        run.extended = time.monotonic()
        if not await self.ledger.extend_piece(run.piece.key, self._now() + LEASE):
            raise Transient(f"Piece {run.piece.number} was taken over by another run.")

    # --- one batch --------------------------------------------------------------------------------------

    async def _carry(self, run: Run, batch: BatchRef) -> None:
        """Bring one batch to its end, whatever state it was found in."""
        current = batch

        async def work() -> None:
            nonlocal current
            # Another attempt may have moved it on since it was listed.
            current = await self.ledger.batch(current.key) or current
            while current.state.is_open:
                items = [line.item for line in await self.ledger.batch_lines(current.key)]
                if current.state is BatchState.ACCEPTED:
                    ticket = BatchTicket(id=current.ticket or "", earlier=current.earlier)
                    await self._settle(run, current, ticket, items, self.plan(run, items))
                    return
                read_at = time.monotonic()
                gone = await self._gone(run, items)
                if gone:
                    current = await self._without(run, current, items, gone)
                    continue
                handing = Handing(run.attempt, run.call_seconds, read_at + run.piece.pace.approval_seconds)
                writes = self.plan(run, items)
                with contextlib.suppress(Stale):
                    ticket_ = await self.sending.hand_over(run.port, current, writes, handing)
                    if ticket_ is not None:
                        await self._settle(run, current, ticket_, items, writes)
                    return

        await patiently(work, run.ending, self._sleep)

    def plan(self, run: Run, items: Sequence[ItemRow]) -> list[VendorWrite]:
        """The same writes for the same lines, whoever asks."""
        context = line_context(run.piece.saga.saga_id, run.piece.saga.region, run.piece.key)
        return run.port.plan_cost(context, [cost_line(item) for item in items])

    async def _settle(
        self,
        run: Run,
        batch: BatchRef,
        ticket: BatchTicket,
        items: Sequence[ItemRow],
        writes: Sequence[VendorWrite],
    ) -> None:
        outcomes = await self.sending.outcome(
            run.port, ticket, writes, poll=run.piece.pace.job_poll, ending=run.ending
        )
        at = self._now()
        pairs = list(zip(items, outcomes, strict=True))
        results = [self._result(item, outcome, at) for item, outcome in pairs]

        async def record() -> BatchRef:
            settled = await self.ledger.settle_batch(batch.key, results)
            await note_batch(self.ledger, run, settled, results)
            return settled

        settled = await self.ledger.together(record)
        await self._after(run, pairs)
        run.tired += bool(settled.retry)
        if ticket.earlier:
            run.earlier += settled.landed
        for item, result in zip(items, results, strict=True):
            if result.state is LineState.LANDED:
                run.figures.add("posted", item)
            elif result.hold is not None:
                run.figures.hold(result.hold, item)
        progress({"posted": run.figures.count("posted"), "batch": batch.number})

    @staticmethod
    def _result(item: ItemRow, outcome: LineOutcome, at: datetime) -> LineResult:
        if outcome.cause is Cause.PERIOD_CLOSED:
            # It closed half way: the line is free again and placed anew, by the entity's policy.
            return LineResult(item_key=item.key, state=LineState.RETRY, message=outcome.failure)
        return result_of(item, outcome, at)

    async def _after(self, run: Run, pairs: Sequence[tuple[ItemRow, LineOutcome]]) -> None:
        """What the outcomes mean beyond the batch: lines to be placed anew, postings somebody changed."""
        closed = [item for item, outcome in pairs if outcome.cause is Cause.PERIOD_CLOSED]
        if closed:
            await self.preparing.moved_out_of_period(run.piece, closed)
        odd = {
            item.key: hold_of(
                Cause.READ_BACK_DIFFERS,
                f"{item.key}: posted as {outcome.landed}, which shows {outcome.differs}.",
                self._now(),
            )
            for item, outcome in pairs
            if outcome.landed is not None and outcome.differs
        }
        if odd:
            await self.ledger.hold_items(odd)

    # --- approvals --------------------------------------------------------------------------------------

    async def _gone(self, run: Run, items: Sequence[ItemRow]) -> dict[str, Gone]:
        """Lines that must not be sent as they stand: read right before the batch (rule 27)."""
        read: dict[str, DeliveredTime | DeliveredExpense] = {}
        times, expenses = (
            [item.line.source.id for item in items if item.line is not None and item.kind is kind]
            for kind in (ItemKind.TIME, ItemKind.EXPENSE)
        )
        if times:
            read |= {one.ref.id: one for one in await run.feed.read_time(times)}
        if expenses:
            read |= {one.ref.id: one for one in await run.feed.read_expenses(expenses)}
        policy = self.systems.firm.policies.billing
        gone: dict[str, Gone] = {}
        for item in items:
            assert item.line is not None
            now = read.get(item.line.source.id)
            if now is None:
                gone[item.key] = Gone("it vanished in the delivery system", None)
            elif not counts_as_approved(now, policy, item.project_code):
                gone[item.key] = Gone("its approval is gone", now)
            elif now.substance != item.line.substance:
                gone[item.key] = Gone("it was changed meanwhile", now)
        return gone

    async def _without(
        self, run: Run, batch: BatchRef, items: Sequence[ItemRow], gone: dict[str, Gone]
    ) -> BatchRef:
        """The batch without lines that must not be sent. One that may have been sent already is given up as
        it is: its lines are looked for, and what is there is taken back by the next run.
        """
        if batch.state is BatchState.INTENDED:
            reasons = "; ".join(sorted({one.reason for one in gone.values()}))
            batch = await self.ledger.drop_lines(batch.key, gone, reasons)
        else:
            batch = await self._given_up(run, batch, items)
            if batch.state.is_open:
                return batch  # its job is known after all: that tells what became of it
        run.withdrawn += len(gone)
        policy = self.systems.firm.policies.billing
        found = [(item, gone[item.key].now) for item in items if item.key in gone]
        lines = [source_line(now, policy, item.region, item.project_code) for item, now in found if now]
        await self.ledger.take_in(lines, limit_erp=run.piece.erp)
        await self.ledger.take_out([item.source for item, now in found if now is None])
        return batch

    async def _given_up(self, run: Run, batch: BatchRef, items: Sequence[ItemRow]) -> BatchRef:
        """Wait until nobody may be sending it any more, then look for its lines."""
        while (now := await self.ledger.batch(batch.key)) is not None:
            if now.state is not BatchState.SUBMITTED:
                return now
            with contextlib.suppress(Defect):
                given = await self.ledger.supersede_batch(batch.key)
                await self._look_for(run, items)
                return given
            await self._sleep(1.0)
        return batch

    # --- looking ----------------------------------------------------------------------------------------

    async def look_first(self, run: Run) -> None:
        """Lines of batches that nobody answered: what the ERP has of them is recorded, the rest is free."""
        after = 0
        while True:
            page = await self.ledger.items(piece=run.piece.key, look_first=True, after=after, limit=500)
            await self._look_for(run, page.rows)
            if page.cursor is None:
                return
            after = page.cursor

    async def _look_for(self, run: Run, items: Sequence[ItemRow]) -> None:
        if not items:
            return
        writes = self.plan(run, items)
        by_kind: dict[CostKind, list[str]] = {}
        for item, write in zip(items, writes, strict=True):
            by_kind.setdefault(COST_KINDS[item.kind], []).append(write.stamp)
        there: dict[str, str] = {}
        for kind, stamps in by_kind.items():
            there |= {key: one.ref.id for key, one in (await run.port.postings(kind, stamps)).items()}
        found = {item.key: there.get(write.stamp) for item, write in zip(items, writes, strict=True)}
        await self.ledger.found_posted(found, posted_by=run.piece.key)
        for item in items:
            if found[item.key] is not None:
                run.earlier += 1
                run.figures.add("posted", item)


async def piece_is_over(ledger: Ledger, piece: Piece) -> PostedPiece | None:
    """What an attempt answers that finds its piece closed, or in another run's hands; None when it is open.

    An attempt before it has brought it to its end and nobody heard its answer, or it was away for so long
    that another run went on with it. Whatever it let go of is looked at again.
    """
    now = await ledger.piece(piece.key)
    return None if now is None or now.open else PostedPiece(left=now.claimed)


async def note_batch(ledger: Ledger, run: Run, batch: BatchRef, results: Sequence[LineResult]) -> None:
    """One entry of the audit trail per batch, with a digest over its lines and their records."""
    told = "\n".join(f"{one.item_key}={one.state.value}:{one.record_id or ''}" for one in results)
    await ledger.audit(
        AuditEntry(
            chain=batch.system,
            action="batch_settled",
            actor=run.piece.saga.actor,
            saga_id=run.piece.saga.saga_id,
            content={
                "batch": batch.key,
                "job": batch.ticket,
                "purpose": batch.purpose.value,
                "landed": batch.landed,
                "refused": batch.refused,
                "retry": batch.retry,
                "digest": hashlib.sha256(told.encode()).hexdigest(),
            },
        )
    )
