"""Invoices and credits that are known here: made by time-to-billing, read back by feedback, or both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, exists, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.base import Canonical
from canonical.invoicing import DocumentKind
from ledger.billing_rows import DocumentRow
from ledger.core import Core, unbroken
from ledger.document_rows import document_row
from ledger.feedback import ErpInvoiceRow, invoice_row
from ledger.feedback_targets import TargetRow, target_row
from ledger.rows import Page
from ledger.tables.feedback import ErpInvoice, FeedbackTarget, InvoiceShare
from ledger.tables.invoice_state import InvoiceState


class InvoiceOverview(Canonical):
    """One invoice or credit with whatever is known of it."""

    document: DocumentRow | None = None
    """As time-to-billing made it; None when the ERP's own people did."""
    read: ErpInvoiceRow | None = None
    """As feedback read it last; None while it never did, and of credits."""
    targets: tuple[TargetRow, ...] = ()
    """Records whose figures it is part of."""


class Sight(Canonical):
    """Whose invoices somebody may see."""

    regions: tuple[str, ...]
    entities: tuple[str, ...] = ()
    """Legal entities; empty: every one."""

    def covers(self, table: type[InvoiceState | ErpInvoice]) -> list[Any]:
        """The conditions on a table's rows. A row without a legal entity is for those who see every one."""
        conditions = [col(table.region).in_(self.regions)]
        if self.entities:
            conditions.append(col(table.legal_entity).in_(self.entities))
        return conditions


_SAME = and_(
    col(InvoiceState.kind) == DocumentKind.INVOICE.value,
    col(InvoiceState.target) == col(ErpInvoice.system),
    col(InvoiceState.record_id) == col(ErpInvoice.record_id),
)
"""A document of ours and a reading are of one record. Credits are records of another type."""
_Found = tuple[int, InvoiceState | None, ErpInvoice | None]
"""Cursor, document, reading."""


class InvoiceOverviews(Core):
    """The list of them."""

    @unbroken
    async def invoice_overview(
        self,
        sight: Sight,
        *,
        named: str | None = None,
        legal_entity: str | None = None,
        after: int = 0,
        limit: int = 50,
    ) -> Page[InvoiceOverview]:
        """What time-to-billing made, then what the ERP's own people made; each oldest first.

        Args:
            sight: whose.
            named: only of this key, number or record id.
            legal_entity: only of this one.
            after: the cursor of the page before.
            limit: how many at most.
        """
        last, others = divmod(after, 2)
        found: list[_Found] = []
        async with self.reading() as session:
            if not others:
                found = await _ours(session, sight, named, legal_entity, last, limit + 1)
                last = 0
            if (room := limit + 1 - len(found)) > 0:
                found += await _others(session, sight, named, legal_entity, last, room)
            page = found[:limit]
            shown = await _targets(session, [row.id or 0 for _, _, row in page if row is not None])
        rows = tuple(
            InvoiceOverview(
                document=None if document is None else document_row(document),
                read=None if row is None else invoice_row(row),
                targets=() if row is None else shown.get(row.id or 0, ()),
            )
            for _, document, row in page
        )
        return Page(rows=rows, cursor=page[-1][0] if len(found) > limit else None)


async def _ours(
    session: AsyncSession, sight: Sight, named: str | None, entity: str | None, after: int, limit: int
) -> list[_Found]:
    """Documents with their readings, behind even cursors."""
    query = (
        select(InvoiceState, ErpInvoice)
        .join(ErpInvoice, and_(_SAME, *sight.covers(ErpInvoice)), isouter=True)
        .where(col(InvoiceState.id) > after, *sight.covers(InvoiceState))
        .order_by(col(InvoiceState.id))
        .limit(limit)
    )
    if named is not None:
        names = (InvoiceState.document, InvoiceState.number, InvoiceState.record_id, ErpInvoice.number)
        query = query.where(or_(*(col(name) == named for name in names)))
    if entity is not None:
        query = query.where(col(InvoiceState.legal_entity) == entity)
    return [(2 * (one.id or 0), one, row) for one, row in await session.exec(query)]


async def _others(
    session: AsyncSession, sight: Sight, named: str | None, entity: str | None, after: int, limit: int
) -> list[_Found]:
    """Readings without a document, behind odd cursors."""
    query = (
        select(ErpInvoice)
        .where(
            col(ErpInvoice.id) > after,
            *sight.covers(ErpInvoice),
            ~exists().where(_SAME, *sight.covers(InvoiceState)),
        )
        .order_by(col(ErpInvoice.id))
        .limit(limit)
    )
    if named is not None:
        query = query.where(or_(col(ErpInvoice.number) == named, col(ErpInvoice.record_id) == named))
    if entity is not None:
        query = query.where(col(ErpInvoice.legal_entity) == entity)
    return [(2 * (row.id or 0) + 1, None, row) for row in await session.exec(query)]


async def _targets(session: AsyncSession, invoices: Sequence[int]) -> dict[int, tuple[TargetRow, ...]]:
    """The records that show invoices, by the invoice's row."""
    query = select(InvoiceShare).where(col(InvoiceShare.invoice_id).in_(invoices))
    subjects: dict[int, set[str]] = defaultdict(set)
    for share in await session.exec(query):
        subjects[share.invoice_id] |= {
            name for name in (share.contract_key, share.deal, share.account) if name
        }
    wanted = sorted(set().union(*subjects.values()))
    rows = select(FeedbackTarget).where(col(FeedbackTarget.subject).in_(wanted))
    targets = [target_row(row) for row in await session.exec(rows.order_by(col(FeedbackTarget.id)))]
    return {
        invoice: tuple(one for one in targets if one.target.subject in names)
        for invoice, names in subjects.items()
    }
