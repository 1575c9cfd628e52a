"""What a close has to know besides the balance: what is on its way, and how far a feed was read (rule 37)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select as columns
from sqlmodel import col, func

from canonical.batches import LineState
from canonical.money import Money
from canonical.unbilled import InFlight
from ledger.core import unbroken
from ledger.rolling import Rolling
from ledger.tables.batch import Batch, BatchLine
from ledger.tables.billable_item import BillableItem
from ledger.tables.cursor import Cursor


class Closing(Rolling):
    """Facts of a close."""

    @unbroken
    async def in_flight(
        self, legal_entity: str | None = None, *, contract_key: str | None = None
    ) -> list[InFlight]:
        """Lines that stand in batches without an outcome, by system and purpose.

        Args:
            legal_entity: only its lines.
            contract_key: only that contract's.
        """
        keys = (col(Batch.system), col(Batch.purpose), col(BillableItem.currency))
        figures = (
            func.count(),
            func.sum(col(BillableItem.minutes)),
            func.sum(col(BillableItem.priced_minor)),
            func.min(col(Batch.created_at)),
        )
        query = (
            columns(*keys, *figures)
            .join(BatchLine, col(BatchLine.batch_id) == col(Batch.id))
            .join(BillableItem, col(BillableItem.id) == col(BatchLine.item_id))
            .where(col(BatchLine.state) == LineState.OPEN.value)
            .group_by(*keys)
            .order_by(*keys)
        )
        if legal_entity is not None:
            query = query.where(col(BillableItem.legal_entity) == legal_entity)
        if contract_key is not None:
            query = query.where(col(BillableItem.contract_key) == contract_key)
        async with self.reading() as session:
            rows = list(await (await session.connection()).execute(query))
        return [
            InFlight(
                system=system,
                purpose=purpose,
                items=items,
                minutes=int(minutes or 0),
                amount=Money.of_minor(int(minor or 0), currency) if currency else None,
                since=since,
            )
            for system, purpose, currency, items, minutes, minor, since in rows
        ]

    @unbroken
    async def read_at(self, names: Iterable[str]) -> dict[str, datetime]:
        """When feeds were last read, by cursor name; those that never were are missing."""
        query = columns(col(Cursor.name), col(Cursor.at)).where(col(Cursor.name).in_(list(names)))
        async with self.reading() as session:
            rows = await (await session.connection()).execute(query)
            return {row[0]: row[1] for row in rows}
