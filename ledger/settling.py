"""Outcomes of batches: every line's, in one transaction with what becomes of its item (rules 1, 29)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, and_, case, insert, literal, update
from sqlalchemy import select as columns
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.batches import BatchPurpose, BatchRef, BatchState, LineResult, LineState
from canonical.failures import Defect
from canonical.items import CostState
from ledger.batches import Batches
from ledger.core import unbroken
from ledger.forming import batch_ref
from ledger.item_rows import change_items, change_rows, columns_by_id, hold_columns, items_by_id
from ledger.tables.batch import Batch, BatchLine
from ledger.tables.billable_item import BillableItem
from ledger.tables.posting import Posting
from ledger.types import Utc

POSTED, REVERSED = "posted", "reversed"
_SETTLED = (
    BillableItem.item_key,
    BillableItem.turn,
    BillableItem.withdrawn,
    BillableItem.unbilled_in_erp,
    BillableItem.legal_entity,
    BillableItem.currency,
    BillableItem.open_minor,
    BillableItem.held_minor,
    BillableItem.drafted_minor,
)
"""What an outcome has to know of an item."""


class Settling(Batches):
    """What comes back from a vendor."""

    @unbroken
    async def settle_batch(
        self, key: str, results: Sequence[LineResult], *, document: str | None = None
    ) -> BatchRef:
        """Record every line's outcome. A settled batch stays as it is.

        Landed: posted, reversed, marked, by the batch's purpose. Refused: the item is held with the result's
        hold and leaves its piece. Retry: the item may be claimed by another batch. Revisions that arrived
        while the batch was under way are taken in now.

        A reversed item whose source was withdrawn has nothing left to bill. One that was reversed on purpose
        is held with the result's hold, or open to be posted anew.

        Args:
            key: the batch.
            results: one for every line.
            document: of marks: what the mark names.

        Raises:
            Defect: a line has no result, or a result no line.
        """
        async with self.transaction() as session:
            batch = await self._batch(session, key, lock=True)
            if batch.state == BatchState.DONE:
                return batch_ref(batch)
            if not BatchState(batch.state).is_open:
                raise Defect(f"batch {key} is {batch.state}", system="ledger", key=key)
            lines = await self._told(session, batch)
            items = await columns_by_id(session, (line.item_id for line in lines), *_SETTLED, lock=True)
            told = {result.item_key: result for result in results}
            named = {items[line.item_id].item_key for line in lines}
            if named != told.keys():
                odd = sorted(named ^ told.keys())[:3]
                raise Defect(f"batch {key}: outcomes and lines differ, e.g. {', '.join(odd)}", key=key)
            await self._write_lines(session, lines, items, told)
            changes: list[dict[str, Any]] = []
            postings: list[dict[str, Any]] = []
            gone: list[int] = []
            for line in lines:
                row, result = items[line.item_id], told[items[line.item_id].item_key]
                values = self._outcome(BatchPurpose(batch.purpose), batch, row, result, document)
                if values:
                    changes.append({"row_id": row.id, **values, "updated_at": self.now()})
                if batch.purpose == BatchPurpose.REVERSE_COST and result.state is LineState.LANDED:
                    postings.append(self._posting(row, REVERSED, result.record_id))
                    gone += [row.id or 0] if row.withdrawn is not None else []
            count = {state: sum(one.state is state for one in told.values()) for state in LineState}
            batch.state = BatchState.DONE.value
            batch.landed = count[LineState.LANDED]
            batch.refused = count[LineState.REFUSED]
            batch.retry = count[LineState.RETRY]
            batch.settled_at = self.now()
            session.add(batch)
            await session.flush()
            ref, ids = batch_ref(batch), list(items)
            purpose, piece, id_ = batch.purpose, batch.piece, batch.id
            await change_items(session, changes)
            await self._keep_postings(session, postings)
            if purpose == BatchPurpose.POST_COST and ref.landed:
                await self._post_landed(session, id_ or 0, piece)
            if gone:
                rows = await items_by_id(session, gone, lock=True)
                await self._withdraw_amounts(session, list(rows.values()), "its posting was taken back")
            await self._take_next(session, ids)
            return ref

    async def _write_lines(
        self,
        session: AsyncSession,
        lines: Sequence[Row[Any]],
        items: Mapping[int, Row[Any]],
        told: Mapping[str, LineResult],
    ) -> None:
        rows = []
        for line in lines:
            result = told[items[line.item_id].item_key]
            outcome = {
                "row_id": line.id,
                "state": result.state.value,
                "record_id": result.record_id,
                "cause": result.cause.value if result.cause is not None else None,
                "message": result.message,
                "vendor_code": result.vendor_code,
            }
            # An open line has none of these yet: only what there is to tell is written.
            rows.append({name: value for name, value in outcome.items() if value is not None})
        await session.flush()
        await change_rows(await session.connection(), BatchLine, rows)

    async def _post_landed(self, session: AsyncSession, batch_id: int, piece: str) -> None:
        """The items of all lines of a batch that landed are posted, each with its movement of the balance."""
        items, lines = BillableItem.__table__, BatchLine.__table__  # type: ignore[attr-defined]
        theirs = and_(
            lines.c.batch_id == batch_id,
            lines.c.state == LineState.LANDED.value,
            lines.c.item_id == items.c.id,
        )
        now, connection = self.now(), await session.connection()
        await connection.execute(
            update(items)
            .where(theirs)
            .values(
                cost=CostState.POSTED.value,
                posting_id=lines.c.record_id,
                posted_at=now,
                posted_by=piece,
                entered_erp=items.c.unbilled_in_erp,
                look_first=False,
                piece=None,
                updated_at=now,
            )
        )
        unbilled = items.c.open_minor + items.c.held_minor + items.c.drafted_minor
        values = {
            "item_id": items.c.id,
            "turn": items.c.turn,
            "kind": literal(POSTED),
            "record_id": lines.c.record_id,
            "legal_entity": items.c.legal_entity,
            "currency": items.c.currency,
            "amount_minor": case((items.c.unbilled_in_erp, unbilled), else_=0),
            "at": literal(now, Utc()),
        }
        movements = columns(*values.values()).where(theirs).order_by(lines.c.line)
        await connection.execute(insert(Posting).from_select(list(values), movements))

    def _posting(self, row: BillableItem | Row[Any], kind: str, record_id: str | None) -> dict[str, Any]:
        # What a withdrawn item still had open leaves the balance by its allocation, not by this.
        counts = row.unbilled_in_erp if kind == POSTED else row.unbilled_in_erp and row.withdrawn is None
        unbilled = row.open_minor + row.held_minor + row.drafted_minor
        return {
            "item_id": row.id,
            "turn": row.turn,
            "kind": kind,
            "record_id": record_id,
            "legal_entity": row.legal_entity,
            "currency": row.currency,
            "amount_minor": unbilled if counts else 0,
            "at": self.now(),
        }

    async def _keep_postings(self, session: AsyncSession, postings: Sequence[dict[str, Any]]) -> None:
        if postings:
            await (await session.connection()).execute(insert(Posting), list(postings))

    def _outcome(
        self,
        purpose: BatchPurpose,
        batch: Batch,
        row: Row[Any],
        result: LineResult,
        document: str | None,
    ) -> dict[str, Any]:
        """Columns of the item that the outcome changes."""
        if result.state is LineState.REFUSED and purpose is BatchPurpose.POST_COST:
            if result.hold is None:
                raise Defect(f"{row.item_key} was refused without a hold", system="ledger")
            return {**hold_columns(result.hold), "piece": None}
        if result.state is not LineState.LANDED:
            # A reversal or mark that was refused is for the next run, and for whoever reads the batch.
            return {}
        match purpose:
            case BatchPurpose.POST_COST:
                return {}  # all at once: ``_post_landed``
            case BatchPurpose.REVERSE_COST:
                return self._reversed(row, result)
            case BatchPurpose.NOT_BILLABLE:
                return {"unbilled_in_erp": False}
            case BatchPurpose.MARK:
                return {"marked": document or batch.batch_key}
            case BatchPurpose.UNMARK:
                return {"marked": None}

    def _reversed(self, row: Row[Any], result: LineResult) -> dict[str, Any]:
        values: dict[str, Any] = {
            "reversal_id": result.record_id,
            "reversed_at": self.now(),
            "piece": None,
            "unbilled_in_erp": row.unbilled_in_erp if row.withdrawn is None else False,
        }
        if row.withdrawn is not None or result.hold is not None:
            return {**values, "cost": CostState.REVERSED.value, **hold_columns(result.hold)}
        # Its mark names a posting that is gone: once it is posted anew it is marked anew.
        again = {"turn": row.turn + 1, "posting_id": None, "marked": None}
        return {**values, "cost": CostState.UNPOSTED.value, **again}

    @unbroken
    async def found_posted(self, found: Mapping[str, str | None], *, posted_by: str) -> int:
        """What a look found of items (by key) that a batch without an answer left behind: the ERP's id of the
        posting, or None where nothing is there. Either way they need not be looked for any more.

        Also for held items that turn out to be in the ERP already: they are recorded, not sent again.

        Returns:
            How many are posted now.
        """
        async with self.transaction() as session:
            query = select(BillableItem).where(col(BillableItem.item_key).in_(list(found)))
            rows = list(await session.exec(query.with_for_update()))
            changes: list[dict[str, Any]] = []
            postings: list[dict[str, Any]] = []
            for row in rows:
                posting = found[row.item_key]
                values: dict[str, Any] = {"row_id": row.id, "look_first": False, "updated_at": self.now()}
                if posting is not None and row.cost == CostState.UNPOSTED:
                    postings.append(self._posting(row, POSTED, posting))
                    values |= {
                        "cost": CostState.POSTED.value,
                        "posting_id": posting,
                        "posted_at": self.now(),
                        "posted_by": posted_by,
                        "entered_erp": row.unbilled_in_erp,
                        "piece": None,
                        **hold_columns(None),
                    }
                changes.append(values)
            await change_items(session, changes)
            await self._keep_postings(session, postings)
            return len(postings)
