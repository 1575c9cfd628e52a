"""Pieces: a part of a route's open work, claimed by one run under a lease (rule 23).

Whoever works on a piece extends its lease with every batch. A piece whose lease has run out belongs to a run
that is gone: the next claim on its route takes over what it left, with batches that may have been sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import exists, text, update
from sqlmodel import col, func, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.batches import BatchState, LineState
from canonical.failures import Defect
from canonical.items import CostState
from ledger.billing_rows import PieceRow
from ledger.core import unbroken
from ledger.item_rows import chunks
from ledger.selection import Selection
from ledger.tables.batch import Batch, BatchLine, Piece
from ledger.tables.billable_item import TO_REVERSE, UNPOSTED, BillableItem


class PieceState(StrEnum):
    """Where a piece stands."""

    OPEN = "open"
    CLOSED = "closed"
    TAKEN_OVER = "taken_over"
    """Its run was gone; another piece has what it left."""


class Pieces(Selection):
    """Claiming work."""

    @unbroken
    async def claim_piece(
        self,
        key: str,
        *,
        psa: str,
        erp: str,
        saga_id: str,
        limit: int,
        until: datetime,
        through: date | None = None,
        reversals: bool = True,
        posting: bool = True,
        only: Sequence[str] | None = None,
    ) -> PieceRow:
        """Claim up to ``limit`` items of a route; the same piece again is what it was, with a longer lease.

        First what a run that is gone left behind, then postings to take back, then what is to be posted.
        Items whose ERP is not known yet belong to whichever route of the delivery system claims them first.

        Args:
            key: ``canonical.names.piece_key``.
            psa: delivery system instance.
            erp: ERP instance.
            saga_id: who claims.
            limit: most items.
            until: end of the lease. Aware.
            through: only work up to that day, included.
            reversals: whether withdrawn postings are claimed.
            posting: whether unposted work is claimed.
            only: keys of the items to claim, for example those of an explicit reversal; posted ones too.

        Raises:
            Defect: the piece was closed or taken over: its run is not alone.
        """
        async with self.transaction() as session:
            await self.lock(session, f"pieces:{psa}|{erp}")
            row = await self._piece(session, key)
            if row is not None:
                if row.state != PieceState.OPEN:
                    raise Defect(f"piece {key} is {row.state}", system="ledger", key=key)
                row.until = until
                session.add(row)
                return await self._piece_row(session, row)
            row = Piece(
                piece_key=key,
                psa=psa,
                erp=erp,
                saga_id=saga_id,
                state=PieceState.OPEN.value,
                claimed=0,
                more=False,
                until=until,
                created_at=self.now(),
            )
            session.add(row)
            await self._take_over_gone(session, row)
            left = limit - await self._count(session, key)
            scope = _of_route(psa, erp, through)
            queries = []
            if only is not None:
                queries.append([*scope, col(BillableItem.item_key).in_(list(only))])
            else:
                if reversals:
                    queries.append([*scope, *_TO_REVERSE, text(TO_REVERSE)])
                if posting:
                    queries.append([*scope, *_TO_POST, text(UNPOSTED)])
            for conditions in queries:
                if left >= 0:
                    ids = await self._free(session, conditions, left + 1)
                    row.more = row.more or len(ids) > left
                    left -= await self._attach(session, key, ids[: max(left, 0)])
            row.claimed = await self._count(session, key)
            session.add(row)
            await session.flush()
            return await self._piece_row(session, row)

    @unbroken
    async def unclaimed(self, psa: str, erp: str, through: date | None = None) -> bool:
        """Whether a route has items to post or to take back that are in nobody's piece.

        Args:
            psa: delivery system instance.
            erp: ERP instance.
            through: only work up to that day, included.
        """
        scope = _of_route(psa, erp, through)
        async with self.reading() as session:
            for conditions in ([*_TO_REVERSE, text(TO_REVERSE)], [*_TO_POST, text(UNPOSTED)]):
                if await self._free(session, [*scope, *conditions], 1):
                    return True
        return False

    @unbroken
    async def extend_piece(self, key: str, until: datetime) -> bool:
        """Lengthen the lease; False when the piece is not this run's any more: stop."""
        async with self.transaction() as session:
            row = await self._piece(session, key)
            if row is None or row.state != PieceState.OPEN:
                return False
            row.until = until
            session.add(row)
            return True

    @unbroken
    async def piece(self, key: str) -> PieceRow | None:
        """A piece with what is left to do in it."""
        async with self.reading() as session:
            row = (await session.exec(select(Piece).where(col(Piece.piece_key) == key))).first()
            return None if row is None else await self._piece_row(session, row)

    @unbroken
    async def pieces_of(self, saga_id: str) -> list[str]:
        """Keys of all pieces that a run (and earlier ones of its id) claimed, oldest first."""
        async with self.reading() as session:
            query = select(Piece.piece_key).where(col(Piece.saga_id) == saga_id).order_by(col(Piece.id))
            return list(await session.exec(query))

    @unbroken
    async def close_piece(self, key: str) -> int:
        """Let go of what is left in a piece: it is open for the next one. Answers how many items.

        Batches that may have been sent keep their items until they are settled.
        """
        async with self.transaction() as session:
            row = await self._piece(session, key)
            if row is None or row.state != PieceState.OPEN:
                return 0
            return await self._close(session, row)

    @unbroken
    async def close_pieces(self, saga_id: str) -> int:
        """A run is over: let go of all that it has claimed. Answers how many items."""
        async with self.transaction() as session:
            query = select(Piece).where(col(Piece.saga_id) == saga_id, col(Piece.state) == PieceState.OPEN)
            rows = list(await session.exec(query.order_by(col(Piece.id)).with_for_update()))
            return sum([await self._close(session, row) for row in rows])

    # --- parts --------------------------------------------------------------------------------------

    async def _close(self, session: AsyncSession, row: Piece) -> int:
        key = row.piece_key
        await self._abandon_intended(session, key)
        busy = exists().where(
            col(BatchLine.item_id) == col(BillableItem.id), col(BatchLine.state) == LineState.OPEN
        )
        result = await session.exec(
            update(BillableItem).where(col(BillableItem.piece) == key, ~busy).values(piece=None)
        )
        open_batches = await self._open_batches(session, key)
        row.state = PieceState.OPEN.value if open_batches else PieceState.CLOSED.value
        # With batches on the way it ends now for others, who then take them over.
        row.until = self.now() if open_batches else row.until
        row.closed_at = None if open_batches else self.now()
        session.add(row)
        return int(result.rowcount)

    async def _piece(self, session: AsyncSession, key: str) -> Piece | None:
        query = select(Piece).where(col(Piece.piece_key) == key).with_for_update()
        return (await session.exec(query.execution_options(populate_existing=True))).first()

    async def _take_over_gone(self, session: AsyncSession, mine: Piece) -> None:
        query = select(Piece).where(
            col(Piece.psa) == mine.psa,
            col(Piece.erp) == mine.erp,
            col(Piece.state) == PieceState.OPEN,
            col(Piece.until) <= self.now(),
            col(Piece.piece_key) != mine.piece_key,
        )
        for gone in list(await session.exec(query)):
            await self._abandon_intended(session, gone.piece_key)
            for batch in await self._open_batches(session, gone.piece_key):
                batch.piece = mine.piece_key
                session.add(batch)
            await session.exec(
                update(BillableItem)
                .where(col(BillableItem.piece) == gone.piece_key)
                .values(piece=mine.piece_key)
            )
            gone.state = PieceState.TAKEN_OVER.value
            gone.closed_at = self.now()
            session.add(gone)
        await session.flush()

    async def _open_batches(self, session: AsyncSession, piece: str) -> list[Batch]:
        states = [state.value for state in BatchState if state.is_open]
        query = select(Batch).where(col(Batch.piece) == piece, col(Batch.state).in_(states))
        return list(await session.exec(query))

    async def _abandon_intended(self, session: AsyncSession, piece: str) -> None:
        query = select(Batch).where(col(Batch.piece) == piece, col(Batch.state) == BatchState.INTENDED)
        for batch in list(await session.exec(query)):
            await self._abandon(session, batch)

    async def _abandon(self, session: AsyncSession, batch: Batch) -> None:
        """Nothing was sent: its lines are free."""
        await session.exec(
            update(BatchLine)
            .where(col(BatchLine.batch_id) == batch.id, col(BatchLine.state) == LineState.OPEN)
            .values(state=LineState.DROPPED.value)
        )
        batch.state = BatchState.ABANDONED.value
        batch.settled_at = self.now()
        session.add(batch)
        await session.flush()

    async def _free(self, session: AsyncSession, conditions: list[Any], limit: int) -> list[int]:
        query = select(BillableItem.id).where(*conditions).order_by(col(BillableItem.id)).limit(limit)
        return [one or 0 for one in await session.exec(query)]

    async def _attach(self, session: AsyncSession, key: str, ids: Sequence[int]) -> int:
        for part in chunks(ids):
            await session.exec(update(BillableItem).where(col(BillableItem.id).in_(part)).values(piece=key))
        return len(ids)

    async def _count(self, session: AsyncSession, key: str) -> int:
        query = select(func.count()).where(col(BillableItem.piece) == key)
        return int((await session.exec(query)).one())

    async def _piece_row(self, session: AsyncSession, row: Piece) -> PieceRow:
        async def count(conditions: list[Any]) -> int:
            query = select(func.count()).where(col(BillableItem.piece) == row.piece_key, *conditions)
            return int((await session.exec(query)).one())

        return PieceRow(
            key=row.piece_key,
            psa=row.psa,
            erp=row.erp,
            open=row.state == PieceState.OPEN,
            claimed=row.claimed,
            more=row.more,
            until=row.until,
            to_post=await count(_TO_POST),
            to_reverse=await count(_TO_REVERSE),
        )


def _of_route(psa: str, erp: str, through: date | None) -> list[Any]:
    """Items of a route that no piece has claimed."""
    scope: list[Any] = [
        col(BillableItem.psa) == psa,
        or_(col(BillableItem.erp) == erp, col(BillableItem.erp).is_(None)),
        col(BillableItem.piece).is_(None),
    ]
    return scope if through is None else [*scope, col(BillableItem.work_date) <= through]


_TO_POST: list[Any] = [
    col(BillableItem.cost) == CostState.UNPOSTED,
    col(BillableItem.hold_cause).is_(None),
    col(BillableItem.withdrawn).is_(None),
    col(BillableItem.approved),
    col(BillableItem.current),
]
_TO_REVERSE: list[Any] = [
    col(BillableItem.withdrawn).is_not(None),
    col(BillableItem.cost) == CostState.POSTED,
]
