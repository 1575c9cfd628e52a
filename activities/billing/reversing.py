"""Taking postings back: what was withdrawn at its source, or what a command names (rules 16, 23, 29).

Each line goes back in the form that the ERP allows on the day: removed while it is unbilled in an open
period, else by a line of the opposite sign in an open one. What is read back is recorded; only then may a
replacement be sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from activities.billing.lines import COST_KINDS, Figures, cost_line, hold_of, line_context
from activities.billing.posting import Run, note_batch, piece_is_over
from activities.billing.preparing import LEASE
from activities.billing.sending import BatchSending, Handing, patiently
from activities.contracts import Piece, PostedPiece, ReversalSelection, SelectReversals
from activities.ending import Ending, ending_well, in_window
from activities.failures import progress
from activities.systems import Systems
from activities.writing import attempt_under_way
from canonical.batches import BatchPurpose, BatchRef, BatchState, LineResult, LineState
from canonical.causes import Cause
from canonical.erp_billing import (
    AccountingPeriod,
    Book,
    CostKind,
    Posting,
    Reversal,
    ReversalOrder,
    posting_date,
)
from canonical.failures import Transient
from canonical.items import BillingState, CostState
from canonical.names import piece_key
from canonical.operations import BatchTicket, LineOutcome
from canonical.writes import VendorWrite
from connectors.ports.billing import BillingPort
from ledger.billing_rows import ItemRow
from ledger.store import Ledger
from rules.periods import of_entity

GONE = "gone"
"""Form of a batch whose lines the ERP does not have any more: nothing is sent."""
PAGE = 500


@dataclass(frozen=True)
class Way:
    """How one posting can be taken back today."""

    form: str
    """A ``Reversal``, or ``gone``."""
    on: date
    posting: Posting | None = None


@dataclass
class Sorted:
    """Postings by the way they can be taken back, and those that cannot."""

    ways: dict[int, Way] = field(default_factory=dict)
    """By row number."""
    stuck: dict[str, str] = field(default_factory=dict)
    """By item key: why not."""


class Reversing:
    """Takes postings back. One per worker process."""

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
        self._now = clock
        self._sleep = sleep

    async def reverse(self, piece: Piece) -> PostedPiece:
        """Take back what is to be taken back of a piece."""
        port = await self.systems.billing(piece.erp, piece.saga.mapping.get(piece.erp, ""))
        feed = await self.systems.feed(piece.psa, piece.saga.mapping.get(piece.psa, ""))

        async def work(ending: Ending) -> PostedPiece:
            run = Run(piece, port, feed, ending, attempt_under_way().id)
            if (over := await piece_is_over(self.ledger, piece)) is not None:
                return over
            if not await self.ledger.extend_piece(piece.key, self._now() + LEASE):
                raise Transient(f"Piece {piece.number} was taken over by another run.")
            await in_window(
                piece.pace.batches_at_once, self._batches(run), lambda batch: self._carry(run, batch), ending
            )
            now = await self.ledger.piece(piece.key)
            left = await self.ledger.close_piece(piece.key) if now is None or not now.to_post else 0
            done = run.figures.count("reversed")
            return PostedPiece(
                reversed=done,
                refused=sum(one.tally.items for one in run.figures.held()),
                left=left,
                held=run.figures.held(),
                tallies=run.figures.tallies("reversed"),
                rate=run.rate(done) if done else None,
                stopped=ending.stopped,
            )

        return await ending_well(work)

    # --- which way --------------------------------------------------------------------------------------

    async def _batches(self, run: Run) -> AsyncIterator[BatchRef]:
        """Batches of an earlier attempt first; then new ones, each of one form and day."""
        piece, size = run.piece, run.port.batch_limit
        for batch in await self.ledger.batches(
            piece=piece.key, system=piece.erp, states=[state for state in BatchState if state.is_open]
        ):
            if batch.purpose is BatchPurpose.REVERSE_COST:
                yield batch
        seen: set[int] = set()
        after = 0
        while not run.ending.wanted:
            page = await self.ledger.items(
                piece=piece.key,
                cost=[CostState.POSTED],
                withdrawn=None if piece.on_purpose else True,
                after=after,
                limit=PAGE,
            )
            found = await self.ways(run.port, piece.saga.saga_id, piece.saga.region, page.rows)
            for item in page.rows:
                if item.key in found.stuck:
                    hold = hold_of(Cause.UNDO_BLOCKED, found.stuck[item.key], self._now())
                    run.figures.hold(hold, item)
            for (form, on), ways in _by_way(found.ways).items():
                detail: dict[str, Any] = {
                    "form": form,
                    "on": on.isoformat(),
                    "postings": {
                        str(id_): way.posting.model_dump(mode="json")
                        for id_, way in ways.items()
                        if way.posting
                    },
                }
                formed = await self.ledger.form_batches(
                    piece.key,
                    BatchPurpose.REVERSE_COST,
                    piece.erp,
                    size=size,
                    only=list(ways),
                    detail=detail,
                )
                for batch in formed:
                    if batch.number not in seen and batch.state is BatchState.INTENDED:
                        seen.add(batch.number)
                        yield batch
            if page.cursor is None:
                return
            after = page.cursor

    async def ways(self, port: BillingPort, saga_id: str, region: str, items: Sequence[ItemRow]) -> Sorted:
        """How each posting can be taken back today, read from the ERP just now."""
        found = Sorted()
        if not items:
            return found
        context = line_context(saga_id, region, "")
        writes = port.plan_cost(context, [cost_line(item) for item in items])
        by_kind: dict[CostKind, list[str]] = {}
        for item, write in zip(items, writes, strict=True):
            by_kind.setdefault(COST_KINDS[item.kind], []).append(write.stamp)
        held: dict[str, Posting] = {}
        for kind, stamps in by_kind.items():
            held |= await port.postings(kind, stamps)
        periods = await port.accounting_periods()
        for item, write in zip(items, writes, strict=True):
            way = _way(port, periods, item, held.get(write.stamp), self._now().date())
            if isinstance(way, str):
                found.stuck[item.key] = way
            else:
                found.ways[item.id] = way
        return found

    # --- one batch --------------------------------------------------------------------------------------

    async def _carry(self, run: Run, batch: BatchRef) -> None:
        current = batch

        async def work() -> None:
            nonlocal current
            current = await self.ledger.batch(current.key) or current
            if not current.state.is_open:
                return
            items = [line.item for line in await self.ledger.batch_lines(current.key)]
            detail = await self.ledger.batch_detail(current.key)
            if detail["form"] == GONE:
                outcomes = [LineOutcome(key=item.key, landed="") for item in items]
                await self._settle(run, current, items, outcomes)
                return
            writes = self._plan(run, items, detail)
            ticket: BatchTicket | None
            if current.state is BatchState.ACCEPTED:
                ticket = BatchTicket(id=current.ticket or "", earlier=current.earlier)
            else:
                ticket = await self.sending.hand_over(
                    run.port, current, writes, Handing(run.attempt, run.call_seconds)
                )
            if ticket is not None:
                outcomes = await self.sending.outcome(
                    run.port, ticket, writes, poll=run.piece.pace.job_poll, ending=run.ending
                )
                await self._settle(run, current, items, outcomes)

        await patiently(work, run.ending, self._sleep)

    def _plan(self, run: Run, items: Sequence[ItemRow], detail: Mapping[str, Any]) -> list[VendorWrite]:
        context = line_context(run.piece.saga.saga_id, run.piece.saga.region, run.piece.key)
        on = date.fromisoformat(detail["on"])
        orders = [
            ReversalOrder(
                line=cost_line(item),
                posting=Posting.model_validate(detail["postings"][str(item.id)]),
                form=Reversal(detail["form"]),
                on=on,
                reason=run.piece.reason or item.withdrawn or "taken back",
            )
            for item in items
        ]
        return run.port.plan_reversals(context, orders)

    async def _settle(
        self, run: Run, batch: BatchRef, items: Sequence[ItemRow], outcomes: Sequence[LineOutcome]
    ) -> None:
        piece = run.piece
        hold = None
        if piece.on_purpose and piece.hold:
            hold = hold_of(Cause.UNDER_REVIEW, piece.reason or "taken back by command", self._now())
        results = []
        for item, outcome in zip(items, outcomes, strict=True):
            if outcome.landed is not None:
                results.append(
                    LineResult(
                        item_key=item.key,
                        state=LineState.LANDED,
                        record_id=outcome.landed or None,
                        hold=hold if item.withdrawn is None else None,
                    )
                )
                run.figures.add("reversed", item)
                continue
            words = outcome.failure or "The vendor gives no reason."
            state = LineState.RETRY if outcome.retry else LineState.REFUSED
            cause = outcome.cause or Cause.UNDO_BLOCKED
            results.append(
                LineResult(
                    item_key=item.key,
                    state=state,
                    cause=cause,
                    message=words,
                    vendor_code=outcome.vendor_code,
                )
            )
            if state is LineState.REFUSED:
                run.figures.hold(hold_of(cause, words, self._now()), item)
        settled = await self.ledger.settle_batch(batch.key, results)
        await note_batch(self.ledger, run, settled, results)
        progress({"reversed": run.figures.count("reversed"), "batch": batch.number})

    # --- explicit command -------------------------------------------------------------------------------

    async def select(self, command: SelectReversals) -> ReversalSelection:
        """What a scope covers, by what can become of it; claimed as a piece unless it is a plan."""
        port = await self.systems.billing(command.erp, command.saga.mapping.get(command.erp, ""))
        figures, more, after = Figures(), False, command.after
        chosen: list[ItemRow] = []
        async for place, item in self._in_scope(command):
            if len(chosen) >= command.limit:
                more = True
                break
            chosen.append(item)
            after = f"{place}:{item.id}"
        keys: list[str] = []
        for start in range(0, len(chosen), PAGE):
            part = chosen[start : start + PAGE]
            found = await self.ways(port, command.saga.saga_id, command.saga.region, part)
            for item in part:
                way = found.ways.get(item.id)
                if way is None:
                    figures.add("billed", item)
                elif way.form == GONE:
                    figures.add("absent", item)
                    keys.append(item.key)
                else:
                    figures.add(way.form, item)
                    keys.append(item.key)
        if keys and not command.saga.plan:
            await self.ledger.claim_piece(
                piece_key(command.saga.saga_id, command.saga.generation, command.number),
                psa=command.psa,
                erp=command.erp,
                saga_id=command.saga.saga_id,
                limit=len(keys),
                until=self._now() + LEASE,
                only=keys,
            )
        (billed,) = figures.tallies("billed") or (None,)
        (absent,) = figures.tallies("absent") or (None,)
        return ReversalSelection(
            reversals=len(keys),
            by_form=figures.tallies(*(form.value for form in Reversal)),
            billed=billed,
            absent=absent,
            more=more,
            after=after,
        )

    async def _in_scope(self, command: SelectReversals) -> AsyncIterator[tuple[int, ItemRow]]:
        """Posted lines of the scope behind the last page's end, each with its place: the number of the piece
        that posted it, where a run is meant.
        """
        scope = command.scope
        first, last = _position(command.after)
        if scope.items:
            for item in await self.ledger.items_of(scope.items):
                if item.id > last and item.cost is CostState.POSTED and _covers(command, item):
                    yield 0, item
            return
        mine = piece_key(command.saga.saga_id, command.saga.generation, command.number)
        pieces: list[str | None] = [None]
        if scope.run is not None:
            pieces = list(await self.ledger.pieces_of(scope.run))
        for place, piece in list(enumerate(pieces))[first:]:
            after = last if place == first else 0
            while True:
                page = await self.ledger.items(
                    psa=command.psa,
                    erp=command.erp,
                    project_code=scope.project_code,
                    posted_by=piece,
                    cost=[CostState.POSTED],
                    first=scope.first_day,
                    last=scope.last_day,
                    after=after,
                    limit=PAGE,
                )
                for item in page.rows:
                    # What waits in a piece is being taken back already, or is stuck; an earlier attempt of
                    # this very selection may have claimed it.
                    if item.piece in (None, mine) and item.line is not None:
                        yield place, item
                if page.cursor is None:
                    break
                after = page.cursor


def _position(after: str | None) -> tuple[int, int]:
    place, _, row = (after or "0:0").partition(":")
    return int(place), int(row)


def _covers(command: SelectReversals, item: ItemRow) -> bool:
    scope = command.scope
    return (
        item.erp == command.erp
        and scope.project_code in (None, item.project_code)
        and (scope.first_day is None or scope.first_day <= item.work_date)
        and (scope.last_day is None or item.work_date <= scope.last_day)
    )


def _way(
    port: BillingPort,
    periods: Sequence[AccountingPeriod],
    item: ItemRow,
    posting: Posting | None,
    today: date,
) -> Way | str:
    """How a posting can be taken back, or why it cannot."""
    if posting is None:
        return Way(GONE, today)
    if item.withdrawn is None and (posting.billed_on is not None or item.billing is BillingState.BILLED):
        return f"{posting.ref} is on an invoice: only a credit takes it back."
    own = of_entity(periods, item.legal_entity or "")
    in_open_period = posting_date(own, posting.posted_on, Book.GENERAL) == posting.posted_on
    forms = port.billing.reversals
    if posting.billed_on is None and in_open_period and Reversal.DELETE in forms:
        return Way(Reversal.DELETE.value, posting.posted_on, posting)
    on = posting_date(own, posting.posted_on if in_open_period else today, Book.GENERAL)
    if Reversal.NEGATIVE_LINE in forms and on is not None and posting.kind is CostKind.TIME:
        return Way(Reversal.NEGATIVE_LINE.value, on, posting)
    return (
        f"{posting.ref} is billed or in a closed period, and {port.system} has no other way to take it back."
    )


def _by_way(ways: Mapping[int, Way]) -> dict[tuple[str, date], dict[int, Way]]:
    """Postings of one form and day together."""
    found: dict[tuple[str, date], dict[int, Way]] = {}
    for id_, way in ways.items():
        # Removals need no day of their own; those of one form share a batch.
        on = way.on if way.form == Reversal.NEGATIVE_LINE.value else date.min
        found.setdefault((way.form, on), {})[id_] = way
    return found
