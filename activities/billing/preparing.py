"""Claiming a piece and checking its lines: each gets its place, or is held with its cause."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from activities.billing.deciding import Deciding
from activities.billing.lines import Figures, hold_of
from activities.contracts import Piece, PreparedPiece
from activities.ending import Ending, ending_well
from activities.failures import progress
from canonical.causes import Cause
from canonical.erp_billing import AccountingPeriod
from canonical.failures import Transient
from canonical.items import CostState
from ledger.billing_rows import ItemRow
from ledger.items import Placed
from rules.enrichment import enrich

LEASE = timedelta(minutes=10)
"""How long a piece is its run's without a sign of life. Longer than any pause between its activities."""
PAGE = 500
"""Lines that are checked together: their facts are gathered once, and one transaction keeps the result."""
BREATH = 50
"""Lines checked without a pause: the same process keeps calls to vendors going meanwhile."""


class Preparing(Deciding):
    """Prepares pieces. One per worker process."""

    async def prepare(self, piece: Piece) -> PreparedPiece:
        """Claim a piece and check every line of it."""
        known = await self.ledger.piece(piece.key)
        if known is not None and not known.open:
            # An attempt whose answer was lost has found nothing left to do, or it was away for so long that
            # another run has taken the piece over.
            return PreparedPiece(claimed=known.claimed, credits=await self._credits(piece), more=known.more)
        claimed = await self.ledger.claim_piece(
            piece.key,
            psa=piece.psa,
            erp=piece.erp,
            saga_id=piece.saga.saga_id,
            limit=piece.limit,
            until=self._now() + LEASE,
            through=piece.through,
        )

        async def work(ending: Ending) -> PreparedPiece:
            figures = Figures()
            if claimed.claimed:
                await self._check_all(piece, figures, ending)
            now = await self.ledger.piece(piece.key) or claimed
            if not now.to_post and not now.to_reverse:
                await self.ledger.close_piece(piece.key)
            return PreparedPiece(
                claimed=claimed.claimed,
                ready=now.to_post,
                reversals=now.to_reverse,
                held=figures.held(),
                credits=await self._credits(piece),
                more=claimed.more,
                stopped=ending.stopped,
            )

        return await ending_well(work)

    async def _check_all(self, piece: Piece, figures: Figures, ending: Ending) -> None:
        port = await self.systems.billing(piece.erp, piece.saga.mapping.get(piece.erp, ""))
        periods = await port.accounting_periods()
        after = done = 0
        while not ending.wanted:
            page = await self.ledger.items(
                piece=piece.key, cost=[CostState.UNPOSTED], after=after, limit=PAGE
            )
            await self.check(piece, page.rows, periods, figures)
            done += len(page.rows)
            progress({"checked": done})
            if page.cursor is None:
                return
            after = page.cursor
            if not await self.ledger.extend_piece(piece.key, self._now() + LEASE):
                raise Transient(f"Piece {piece.number} was taken over by another run.")

    async def check(
        self,
        piece: Piece,
        items: Sequence[ItemRow],
        periods: Sequence[AccountingPeriod],
        figures: Figures | None = None,
    ) -> None:
        """Check lines with today's data and keep what was found."""
        placed: list[Placed] = []
        lines = [item.line for item in items if item.line is not None]
        now = self._now()
        facts = await self.gathering.facts(
            piece.saga, piece.psa, piece.erp, lines, now.date(), periods=periods
        )
        for number, item in enumerate(items):
            if item.line is None:
                continue
            if number % BREATH == BREATH - 1:
                await asyncio.sleep(0)
            found = enrich(item.line, facts, now)
            placed.append(Placed(item.id, item.key, found.placement))
            hold = found.placement.hold
            if hold is not None and figures is not None:
                price = found.placement.price
                figures.hold(hold, item, price.amount if price is not None else None)
        await self.ledger.place(placed)

    async def moved_out_of_period(self, piece: Piece, items: Sequence[ItemRow]) -> None:
        """Lines that the ERP refused because their period is closed: placed anew by the entity's policy.
        Where the ERP still tells the same day, its lock is one that it does not tell: those are held.
        """
        port = await self.systems.billing(piece.erp, piece.saga.mapping.get(piece.erp, ""))
        before = {item.key: item.posting_date for item in items}
        await self.check(piece, items, await port.accounting_periods())
        again = {item.key: item for item in await self.ledger.items_of([item.source for item in items])}
        stuck = {
            key: hold_of(
                Cause.PERIOD_CLOSED,
                f"{piece.erp} refuses {again[key].posting_date}: its period is closed there.",
                self._now(),
            )
            for key, day in before.items()
            if key in again and again[key].hold is None and again[key].posting_date == day
        }
        if stuck:
            await self.ledger.hold_items(stuck)

    async def _credits(self, piece: Piece) -> tuple[str, ...]:
        """Issued invoices that bill what was withdrawn since (rule 39)."""
        lines = await self.ledger.billed_lines(withdrawn=True)
        found = {line.allocation.document for line in lines if line.item.erp == piece.erp}
        return tuple(sorted(document for document in found if document is not None))
