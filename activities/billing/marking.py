"""Marks in the delivery system on what the ERP has taken, and off what was taken back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime

from activities.billing.lines import line_context
from activities.billing.sending import BatchSending, Handing, patiently
from activities.contracts import Marked, MarkExported
from activities.ending import Ending, ending_well, in_window
from activities.failures import progress
from activities.systems import Systems
from activities.writing import attempt_under_way
from canonical.batches import BatchPurpose, BatchRef, BatchState, LineResult, LineState
from canonical.delivered import ExportMark, LineKind
from canonical.items import ItemKind
from canonical.operations import BatchTicket
from canonical.writes import VendorWrite
from connectors.ports.delivery import DeliveryFeed
from ledger.billing_rows import MarkLine
from ledger.store import Ledger

KINDS = {ItemKind.TIME: LineKind.TIME, ItemKind.EXPENSE: LineKind.EXPENSE}
AT_ONCE = 2
"""Batches of marks side by side: each is many calls already."""


class Marking:
    """Sets marks and takes them off. One per worker process."""

    def __init__(
        self,
        systems: Systems,
        ledger: Ledger,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.systems = systems
        self.ledger = ledger
        self.sending = BatchSending(ledger, clock=clock, sleep=sleep)
        self._sleep = sleep

    async def mark(self, command: MarkExported) -> Marked:
        """Mark what is posted and not marked, take marks off what was reversed, up to a limit."""
        feed = await self.systems.feed(command.system, command.saga.mapping.get(command.system, ""))
        counts = {LineState.LANDED: 0, LineState.REFUSED: 0, LineState.RETRY: 0}

        async def work(ending: Ending) -> Marked:
            attempt = attempt_under_way().id
            lines = 0
            for purpose in (BatchPurpose.MARK, BatchPurpose.UNMARK):

                async def carry(batch: BatchRef, purpose: BatchPurpose = purpose) -> None:
                    await self._carry(command, feed, batch, attempt, ending, counts)

                formed = await self.ledger.form_batches(
                    # Filed by route: what a run that was stopped has left, the next one carries on.
                    f"marks|{command.system}|{command.erp}",
                    purpose,
                    command.system,
                    size=feed.batch_limit,
                    limit=command.limit,
                )
                lines += sum(batch.lines for batch in formed)
                await in_window(AT_ONCE, _each(formed), carry, ending)
            return Marked(
                marked=counts[LineState.LANDED],
                refused=counts[LineState.REFUSED],
                more=lines >= command.limit and counts[LineState.LANDED] > 0,
                stopped=ending.stopped,
            )

        return await ending_well(work)

    async def _carry(
        self,
        command: MarkExported,
        feed: DeliveryFeed,
        batch: BatchRef,
        attempt: str,
        ending: Ending,
        counts: dict[LineState, int],
    ) -> None:
        async def work() -> None:
            current = await self.ledger.batch(batch.key) or batch
            if not current.state.is_open:
                return
            items = await self.ledger.batch_marks(current.key)
            writes, marked = await self._plan(command, feed, current, items)
            ticket: BatchTicket | None = None
            if writes:
                if current.state is BatchState.ACCEPTED:
                    # A mark may be set again at will; who took the batch may not have told its refusals.
                    ticket = await feed.submit_batch(current.key, writes)
                else:
                    handing = Handing(attempt, command.saga.call_seconds)
                    ticket = await self.sending.hand_over(feed, current, writes, handing)
                if ticket is None:
                    return
                outcomes = await self.sending.outcome(feed, ticket, writes, poll=0.0, ending=ending)
                told = {write.key: one for write, one in zip(writes, outcomes, strict=True)}
            results = []
            for item in items:
                key = marked.get(item.key)
                outcome = told[key] if key is not None else None
                if outcome is None or outcome.landed is not None:
                    state, words = LineState.LANDED, None
                else:
                    state, words = LineState.RETRY if outcome.retry else LineState.REFUSED, outcome.failure
                results.append(LineResult(item_key=item.key, state=state, message=words))
            settled = await self.ledger.settle_batch(current.key, results, document=command.erp)
            counts[LineState.LANDED] += settled.landed
            counts[LineState.REFUSED] += settled.refused
            counts[LineState.RETRY] += settled.retry
            progress({"marked": counts[LineState.LANDED]})

        await patiently(work, ending, self._sleep)

    async def _plan(
        self, command: MarkExported, feed: DeliveryFeed, batch: BatchRef, items: Sequence[MarkLine]
    ) -> tuple[list[VendorWrite], dict[str, str]]:
        """The writes, and by item the write that marks it. Items without a write need none."""
        context = line_context(command.saga.saga_id, command.saga.region, batch.key)
        if batch.purpose is BatchPurpose.MARK:
            sheets = self.systems.firm.policies.billing.mark_timesheets
            marks = {item.key: _mark(command, item, sheets) for item in items}
            wanted = {(mark.kind, mark.id): mark for mark in marks.values()}
            writes = feed.plan_marks(context, list(wanted.values()))
            by_mark = {key: write.key for key, write in zip(wanted, writes, strict=True)}
            return writes, {key: by_mark[mark.kind, mark.id] for key, mark in marks.items()}
        # An edited line has one mark, and its successor may have set it anew by now: that one stays.
        stale = {(KINDS[item.kind], item.source.id, _document(command, item)) for item in items}
        held = [
            mark
            for kind in KINDS.values()
            if (ids := [item.source.id for item in items if KINDS[item.kind] is kind])
            for mark in await feed.marks(kind, ids)
            if (mark.kind, mark.id, mark.document) in stale
        ]
        writes = feed.plan_unmarks(context, held)
        by_line = {(mark.kind, mark.id): write.key for mark, write in zip(held, writes, strict=True)}
        return writes, {
            item.key: by_line[KINDS[item.kind], item.source.id]
            for item in items
            if (KINDS[item.kind], item.source.id) in by_line
        }


def _mark(command: MarkExported, item: MarkLine, timesheets: bool) -> ExportMark:
    if timesheets and item.kind is ItemKind.TIME and item.submission:
        return ExportMark(kind=LineKind.TIMESHEET, id=item.submission, document=command.erp)
    return ExportMark(kind=KINDS[item.kind], id=item.source.id, document=_document(command, item))


def _document(command: MarkExported, item: MarkLine) -> str:
    """What a line's mark names: its posting."""
    return f"{command.erp}/{item.posting_id}"


async def _each(batches: Sequence[BatchRef]) -> AsyncIterator[BatchRef]:
    for batch in batches:
        yield batch
