"""Finding items and documents by whatever people know of them, and what became of an item in batches."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import or_
from sqlalchemy import select as columns
from sqlmodel import col, select

from canonical.base import Canonical
from canonical.batches import BatchPurpose, BatchState, LineState
from canonical.causes import Cause
from ledger.billing_rows import DocumentRow, ItemRow
from ledger.closing import Closing
from ledger.core import unbroken
from ledger.document_rows import document_row
from ledger.item_rows import item_rows, read_items
from ledger.tables.batch import Batch, BatchLine
from ledger.tables.billable_item import BillableItem
from ledger.tables.invoice_state import InvoiceState


class ItemBatch(Canonical):
    """A batch that an item was in, and what became of its line."""

    key: str
    system: str
    purpose: BatchPurpose
    state: BatchState
    line: LineState
    record_id: str | None
    cause: Cause | None
    message: str | None
    created_at: datetime
    settled_at: datetime | None


class Lookups(Closing):
    """Lookups."""

    @unbroken
    async def find_documents(self, text: str, *, limit: int = 50) -> list[DocumentRow]:
        """Invoices and credits by key, by the ERP's number or by its record id, oldest first."""
        query = select(InvoiceState).where(
            or_(
                col(InvoiceState.document) == text,
                col(InvoiceState.number) == text,
                col(InvoiceState.record_id) == text,
            )
        )
        async with self.reading() as session:
            rows = await session.exec(query.order_by(col(InvoiceState.id)).limit(limit))
            return [document_row(row) for row in rows]

    @unbroken
    async def find_items(self, text: str, *, limit: int = 50) -> list[ItemRow]:
        """Items by key, source record, source id or the ERP's id of their posting, oldest first."""
        names = [
            col(BillableItem.item_key) == text,
            col(BillableItem.source) == text,
            col(BillableItem.posting_id) == text,
        ]
        if "/" not in text:
            names.append(col(BillableItem.source).endswith(f"/{text}", autoescape=True))
        async with self.reading() as session:
            query = select(BillableItem).where(or_(*names)).order_by(col(BillableItem.id)).limit(limit)
            return list(item_rows(await read_items(session, query)))

    @unbroken
    async def item_batches(self, item_key: str) -> list[ItemBatch]:
        """Every batch that an item was in, oldest first."""
        names = (
            col(Batch.batch_key),
            col(Batch.system),
            col(Batch.purpose),
            col(Batch.state),
            col(BatchLine.state),
            col(BatchLine.record_id),
            col(BatchLine.cause),
            col(BatchLine.message),
            col(Batch.created_at),
            col(Batch.settled_at),
        )
        query = (
            columns(*names)
            .join(BatchLine, col(BatchLine.batch_id) == col(Batch.id))
            .join(BillableItem, col(BillableItem.id) == col(BatchLine.item_id))
            .where(col(BillableItem.item_key) == item_key)
            .order_by(col(Batch.id))
        )
        async with self.reading() as session:
            rows = list(await (await session.connection()).execute(query))
        return [
            ItemBatch(
                key=row[0],
                system=row[1],
                purpose=BatchPurpose(row[2]),
                state=BatchState(row[3]),
                line=LineState(row[4]),
                record_id=row[5],
                cause=Cause(row[6]) if row[6] else None,
                message=row[7],
                created_at=row[8],
                settled_at=row[9],
            )
            for row in rows
        ]
