"""Forming batches of what is ready, and reading them back (rules 23, 29)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import JSON, Row, exists, insert, text, type_coerce
from sqlalchemy import select as columns
from sqlalchemy.orm import aliased
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.batches import BatchPurpose, BatchRef, BatchState, LineState
from canonical.failures import Defect
from canonical.items import CostState, ItemKind
from canonical.names import batch_key
from canonical.refs import RecordRef
from ledger.billing_rows import BatchLineRow, MarkLine
from ledger.core import unbroken
from ledger.item_rows import chunks, columns_by_id, item_row, read_items
from ledger.pieces import Pieces
from ledger.tables.batch import Batch, BatchLine
from ledger.tables.billable_item import TO_MARK, TO_UNMARK, BillableItem

_Replaced = aliased(BillableItem)
_MARKED = (
    BillableItem.item_key,
    BillableItem.kind,
    BillableItem.source,
    BillableItem.posting_id,
)
_SUBMISSION = type_coerce(col(BillableItem.line), JSON)["submission"].as_string().label("submission")
_NAMED = (BillableItem.item_key, BillableItem.kind, BillableItem.turn)
"""What a batch is made of: its lines are read whole when it is sent."""


class Forming(Pieces):
    """Lines into batches."""

    @unbroken
    async def form_batches(
        self,
        piece: str,
        purpose: BatchPurpose,
        system: str,
        *,
        size: int,
        limit: int | None = None,
        only: Sequence[int] | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> list[BatchRef]:
        """Open batches of a piece and purpose: those there are, and new ones for lines that are ready.

        The same call again answers the same batches. One batch holds items of one kind, in the order in which
        they came in. Ready means, by purpose: placed, approved, not held, and its predecessor taken back
        (post); withdrawn or named in ``only`` (reverse); posted and not marked (mark).

        Args:
            piece: whose items; for marks, which need no claim, what the batches are filed under.
            purpose: what is done to them.
            system: instance that is written to.
            size: most lines of one batch.
            limit: most lines of all new batches together; lines that are ready beyond it wait.
            only: row numbers of the items to take, of those that are ready.
            detail: what the sender needs to make the same lines again.
        """
        async with self.transaction() as session:
            await self.lock(session, f"batches:{system}|{purpose.value}")
            ids = await self._ready(session, piece, purpose, system, limit, only)
            rows = await columns_by_id(session, ids, *_NAMED, lock=True)
            ordered = sorted(rows.values(), key=lambda row: (row.kind, row.id))
            number = await self._last_number(session, system, purpose)
            batches: list[dict[str, Any]] = []
            members: list[list[Row[Any]]] = []
            for _, of_kind in groupby(ordered, key=lambda row: row.kind):
                for part in chunks(of_kind, size):
                    number += 1
                    batches.append(self._new_batch(system, purpose, number, piece, part, detail or {}))
                    members.append(part)
            if batches:
                await (await session.connection()).execute(insert(Batch), batches)
                await self._add_lines(session, [one["batch_key"] for one in batches], members, purpose)
            return await self._open(session, piece, purpose, system)

    def _new_batch(
        self,
        system: str,
        purpose: BatchPurpose,
        number: int,
        piece: str,
        rows: Sequence[Row[Any]],
        detail: Mapping[str, Any],
    ) -> dict[str, Any]:
        return {
            "batch_key": batch_key(system, purpose.value, number, (line_name(row) for row in rows)),
            "system": system,
            "purpose": purpose.value,
            "number": number,
            "piece": piece,
            "state": BatchState.INTENDED.value,
            "lines": len(rows),
            "detail": dict(detail),
            "created_at": self.now(),
        }

    async def _add_lines(
        self,
        session: AsyncSession,
        keys: Sequence[str],
        members: Sequence[Sequence[Row[Any]]],
        purpose: BatchPurpose,
    ) -> None:
        ids: dict[str, int] = {}
        for part in chunks(keys):
            query = select(Batch).where(col(Batch.batch_key).in_(part))
            ids |= {row.batch_key: row.id or 0 for row in await session.exec(query)}
        lines = [
            {
                "batch_id": ids[key],
                "line": number,
                "item_id": row.id,
                "purpose": purpose.value,
                "turn": row.turn,
                "state": LineState.OPEN.value,
            }
            for key, rows in zip(keys, members, strict=True)
            for number, row in enumerate(rows, 1)
        ]
        await (await session.connection()).execute(insert(BatchLine), lines)

    async def _ready(
        self,
        session: AsyncSession,
        piece: str,
        purpose: BatchPurpose,
        system: str,
        limit: int | None,
        only: Sequence[int] | None,
    ) -> list[int]:
        in_batch = exists().where(
            col(BatchLine.item_id) == col(BillableItem.id),
            col(BatchLine.purpose) == purpose.value,
            col(BatchLine.turn) == col(BillableItem.turn),
            col(BatchLine.state).in_((LineState.OPEN, LineState.LANDED)),
        )
        query = select(BillableItem.id).where(
            *_conditions(piece, purpose, system, only is not None), ~in_batch
        )
        found: list[int] = []
        if only is None:
            ordered = query.order_by(col(BillableItem.id))
            return [one or 0 for one in await session.exec(ordered.limit(limit) if limit else ordered)]
        for part in chunks(sorted(set(only))):
            found += [one or 0 for one in await session.exec(query.where(col(BillableItem.id).in_(part)))]
        return found[:limit] if limit else found

    async def _last_number(self, session: AsyncSession, system: str, purpose: BatchPurpose) -> int:
        query = select(func.max(Batch.number)).where(
            col(Batch.system) == system, col(Batch.purpose) == purpose.value
        )
        return int((await session.exec(query)).one() or 0)

    async def _open(
        self, session: AsyncSession, piece: str, purpose: BatchPurpose, system: str
    ) -> list[BatchRef]:
        query = select(Batch).where(
            col(Batch.system) == system,
            col(Batch.purpose) == purpose.value,
            col(Batch.state).in_([state.value for state in BatchState if state.is_open]),
        )
        if purpose not in _WITHOUT_PIECE:
            query = query.where(col(Batch.piece) == piece)
        return [batch_ref(row) for row in await session.exec(query.order_by(col(Batch.number)))]

    # --- reading ------------------------------------------------------------------------------------

    @unbroken
    async def batch(self, key: str) -> BatchRef | None:
        """A batch by key."""
        async with self.reading() as session:
            row = (await session.exec(select(Batch).where(col(Batch.batch_key) == key))).first()
            return None if row is None else batch_ref(row)

    @unbroken
    async def batches(
        self, *, piece: str | None = None, system: str | None = None, states: Iterable[BatchState] = ()
    ) -> list[BatchRef]:
        """Batches that meet all conditions, by number."""
        query = select(Batch)
        if piece is not None:
            query = query.where(col(Batch.piece) == piece)
        if system is not None:
            query = query.where(col(Batch.system) == system)
        wanted = [state.value for state in states]
        if wanted:
            query = query.where(col(Batch.state).in_(wanted))
        async with self.reading() as session:
            return [batch_ref(row) for row in await session.exec(query.order_by(col(Batch.id)))]

    @unbroken
    async def batch_lines(self, key: str) -> list[BatchLineRow]:
        """The lines of a batch with their items, in its order. Dropped lines are left out."""
        async with self.reading() as session:
            lines = await self._told(session, await self._batch(session, key))
            items: dict[int, Row[Any]] = {}
            for part in chunks(line.item_id for line in lines):
                query = select(BillableItem).where(col(BillableItem.id).in_(part))
                items |= {row.id: row for row in await read_items(session, query)}
            return [
                BatchLineRow(
                    line=line.line,
                    item=item_row(items[line.item_id]),
                    state=LineState(line.state),
                    record_id=line.record_id,
                    message=line.message,
                )
                for line in lines
            ]

    @unbroken
    async def batch_marks(self, key: str) -> list[MarkLine]:
        """The lines of a batch of marks, in its order. Dropped lines are left out."""
        async with self.reading() as session:
            lines = await self._told(session, await self._batch(session, key))
            ids = (line.item_id for line in lines)
            items = await columns_by_id(session, ids, *_MARKED, _SUBMISSION)
            return [
                MarkLine(
                    key=row.item_key,
                    kind=ItemKind(row.kind),
                    source=RecordRef.parse(row.source),
                    submission=row.submission,
                    posting_id=row.posting_id,
                )
                for row in (items[line.item_id] for line in lines)
            ]

    @unbroken
    async def batch_detail(self, key: str) -> dict[str, Any]:
        """What its sender kept with it."""
        async with self.reading() as session:
            return dict((await self._batch(session, key)).detail)

    # --- parts --------------------------------------------------------------------------------------

    async def _batch(self, session: AsyncSession, key: str, *, lock: bool = False) -> Batch:
        query = select(Batch).where(col(Batch.batch_key) == key)
        if lock:
            query = query.with_for_update().execution_options(populate_existing=True)
        row = (await session.exec(query)).first()
        if row is None:
            raise Defect(f"batch {key} is not known", system="ledger", key=key)
        return row

    async def _lines(self, session: AsyncSession, batch: Batch) -> list[BatchLine]:
        query = select(BatchLine).where(
            col(BatchLine.batch_id) == batch.id, col(BatchLine.state) != LineState.DROPPED
        )
        return list(await session.exec(query.order_by(col(BatchLine.line))))

    async def _told(self, session: AsyncSession, batch: Batch) -> Sequence[Row[Any]]:
        """The same as plain rows, which nothing keeps track of."""
        query = columns(*(col(one) for one in _LINE)).where(
            col(BatchLine.batch_id) == batch.id, col(BatchLine.state) != LineState.DROPPED
        )
        await session.flush()
        found: Sequence[Any] = (
            await (await session.connection()).execute(query.order_by(col(BatchLine.line)))
        ).all()
        return found


_LINE = (
    BatchLine.id,
    BatchLine.line,
    BatchLine.item_id,
    BatchLine.state,
    BatchLine.record_id,
    BatchLine.message,
)
_WITHOUT_PIECE = (BatchPurpose.MARK, BatchPurpose.UNMARK)
"""What is open of these is open for whoever comes next: setting a mark twice is harmless."""


def _conditions(piece: str, purpose: BatchPurpose, system: str, named: bool) -> list[Any]:
    match purpose:
        case BatchPurpose.POST_COST:
            waits = exists().where(
                col(_Replaced.item_key) == col(BillableItem.replaces),
                col(_Replaced.cost) == CostState.POSTED,
                col(_Replaced.withdrawn).is_not(None),
            )
            return [
                col(BillableItem.piece) == piece,
                col(BillableItem.cost) == CostState.UNPOSTED,
                col(BillableItem.placed),
                col(BillableItem.hold_cause).is_(None),
                col(BillableItem.withdrawn).is_(None),
                col(BillableItem.approved),
                col(BillableItem.current),
                ~col(BillableItem.look_first),
                ~waits,
            ]
        case BatchPurpose.REVERSE_COST:
            withdrawn = [] if named else [col(BillableItem.withdrawn).is_not(None)]
            return [
                col(BillableItem.piece) == piece,
                col(BillableItem.cost) == CostState.POSTED,
                *withdrawn,
            ]
        case BatchPurpose.NOT_BILLABLE:
            return [col(BillableItem.cost) == CostState.POSTED, col(BillableItem.unbilled_in_erp)]
        case BatchPurpose.MARK:
            return [
                col(BillableItem.psa) == system,
                text(TO_MARK),
                col(BillableItem.withdrawn).is_(None),
            ]
        case BatchPurpose.UNMARK:
            return [
                col(BillableItem.psa) == system,
                text(TO_UNMARK),
            ]


def line_name(row: BillableItem | Row[Any]) -> str:
    """What a batch's key names of a line: the item and its turn."""
    return f"{row.item_key}~{row.turn}"


def batch_ref(row: Batch) -> BatchRef:
    """The frozen reference."""
    return BatchRef(
        key=row.batch_key,
        purpose=BatchPurpose(row.purpose),
        system=row.system,
        piece=row.piece,
        number=row.number,
        state=BatchState(row.state),
        lines=row.lines,
        ticket=row.ticket,
        earlier=row.earlier,
        landed=row.landed,
        refused=row.refused,
        retry=row.retry,
    )
