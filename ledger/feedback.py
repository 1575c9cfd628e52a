"""Invoices as they were read back from the ERP: applied in one transaction with their split and what it
moves. A late or doubled application changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.base import Canonical
from canonical.feedback import (
    InvoiceStanding,
    InvoiceStatus,
    Reach,
    RevenueStanding,
    Share,
    Target,
    TargetKind,
)
from canonical.money import AmountRole, Money
from canonical.refs import RecordRef
from ledger.core import Core, unbroken
from ledger.tables.feedback import (
    ContractReach,
    ErpInvoice,
    FeedbackTarget,
    InvoiceApplication,
    InvoiceShare,
)

AMOUNTS = ("net", "gross", "paid", "credited", "withheld", "written_off", "balance", "refunded")
"""Amounts of a share; each has a column in minor units."""


class NewStanding(Canonical):
    """A reading that counts, with everything that follows from it."""

    standing: InvoiceStanding
    status: InvoiceStatus
    region: str
    saga_id: str
    shares: tuple[Share, ...]
    reaches: tuple[Reach, ...]
    """Of the shares' contracts."""
    targets: tuple[Target, ...]
    """Of those: every record that shows some of it."""
    source_at: datetime | None = None
    """When it happened in the ERP, where an event or a poll told it."""
    judged_against: str | None = None
    """Digest of what was there when this reading was judged: it does not count once that has changed."""


class ErpInvoiceRow(Canonical):
    """An invoice as it was last read."""

    ref: RecordRef
    number: str | None
    legal_entity: str | None
    status: InvoiceStatus
    version: int
    modified_at: datetime | None
    digest: str
    standing: InvoiceStanding
    disputed: bool
    settled: bool
    saga_id: str
    read_at: datetime
    changed_at: datetime


class Feedback(Core):
    """Readings and their split."""

    @unbroken
    async def erp_invoice(self, system: str, record_id: str) -> ErpInvoiceRow | None:
        """An invoice as it was last read; None when it never was."""
        async with self.reading() as session:
            row = await self._erp_invoice(session, system, record_id)
            return None if row is None else invoice_row(row)

    @unbroken
    async def apply_standing(self, new: NewStanding) -> ErpInvoiceRow:
        """Take a reading over: the invoice, its split, and that its targets have something new to show.

        A reading that is older than the one that is there, or was judged against another one, changes
        nothing: the answer is what is there. One that says the same only moves the stamps.
        """
        standing, ref = new.standing, new.standing.ref
        async with self.transaction() as session:
            await self.lock(session, f"erp_invoice:{ref}")
            row = await self._erp_invoice(session, ref.system, ref.id)
            now = self.now()
            if row is not None and _overtaken(row.modified_at, standing.modified_at):
                return invoice_row(row)
            if row is not None and row.digest not in (standing.digest, new.judged_against):
                return invoice_row(row)
            if row is not None and await self._shows(session, row, new):
                row.modified_at, row.read_at, row.saga_id = standing.modified_at, now, new.saga_id
                session.add(row)
                return invoice_row(row)
            before = set() if row is None else await self._subjects_of(session, row.id or 0)
            if row is None:
                row = ErpInvoice(
                    system=ref.system,
                    record_id=ref.id,
                    region=new.region,
                    state=standing.state.value,
                    status=new.status.value,
                    version=0,
                    digest="",
                    standing={},
                    saga_id=new.saga_id,
                    read_at=now,
                    changed_at=now,
                )
            _write(row, new, now)
            session.add(row)
            await session.flush()
            await self._put_parts(session, row.id or 0, new)
            for reach in new.reaches:
                await self._put_reach(session, reach)
            await self._want(session, before, new.targets, new.region, new.saga_id, new.source_at)
            return invoice_row(row)

    @unbroken
    async def apply_revenue(
        self,
        reach: Reach,
        standing: RevenueStanding,
        targets: Sequence[Target],
        *,
        region: str,
        saga_id: str,
        source_at: datetime | None = None,
    ) -> bool:
        """Take over what was recognised on a contract. False when it was known."""
        async with self.transaction() as session:
            await self.lock(session, f"reach:{reach.contract_key}")
            row = await self._put_reach(session, reach, currency=standing.recognised.currency)
            if row.digest == standing.digest or _overtaken(row.modified_at, standing.modified_at):
                return False
            row.recognised_minor = standing.recognised.minor
            row.deferred_minor = standing.deferred.minor
            row.currency = standing.recognised.currency
            row.modified_at, row.digest = standing.modified_at, standing.digest
            session.add(row)
            await self._want(session, set(), targets, region, saga_id, source_at)
            return True

    @unbroken
    async def revenue_digest(self, contract_key: str) -> tuple[str | None, datetime | None]:
        """Digest and stamp of the revenue that was read last; nothing when none was."""
        async with self.reading() as session:
            row = await self._reach(session, contract_key)
            return (None, None) if row is None else (row.digest, row.modified_at)

    @unbroken
    async def invoices_reduced_by(self, documents: Iterable[RecordRef]) -> list[RecordRef]:
        """Invoices that these payments and credits reduced when they were last read."""
        names = sorted({str(one) for one in documents})
        query = (
            select(ErpInvoice)
            .join(InvoiceApplication, col(InvoiceApplication.invoice_id) == col(ErpInvoice.id))
            .where(col(InvoiceApplication.document).in_(names))
            .order_by(col(ErpInvoice.id))
        )
        async with self.reading() as session:
            found = {invoice_row(row).ref for row in await session.exec(query)}
        return sorted(found, key=str)

    @unbroken
    async def known_balances(
        self, system: str, *, after: str = "", limit: int = 500
    ) -> list[tuple[str, int, str | None]]:
        """Invoices of an ERP with what they owed when they were last read, by record id: for the scan."""
        query = (
            select(ErpInvoice)
            .where(col(ErpInvoice.system) == system, col(ErpInvoice.record_id) > after)
            .order_by(col(ErpInvoice.record_id))
            .limit(limit)
        )
        async with self.reading() as session:
            return [(row.record_id, row.balance_minor, row.currency) for row in await session.exec(query)]

    # --- machinery ----------------------------------------------------------------------------------

    async def _erp_invoice(self, session: AsyncSession, system: str, record_id: str) -> ErpInvoice | None:
        query = select(ErpInvoice).where(
            col(ErpInvoice.system) == system, col(ErpInvoice.record_id) == record_id
        )
        return (await session.exec(query)).first()

    async def _reach(self, session: AsyncSession, contract_key: str) -> ContractReach | None:
        query = select(ContractReach).where(col(ContractReach.contract_key) == contract_key)
        return (await session.exec(query)).first()

    async def _shows(self, session: AsyncSession, row: ErpInvoice, new: NewStanding) -> bool:
        """Whether a reading says nothing new, also about whose its lines are, which may be linked late."""
        if row.digest != new.standing.digest:
            return False
        query = select(InvoiceShare).where(col(InvoiceShare.invoice_id) == row.id)
        held = {(one.contract_key, one.deal, one.account) for one in await session.exec(query)}
        reaches = {reach.contract_key: reach for reach in new.reaches}
        return held == {
            (key, _text(reach.deal) if reach else None, _text(reach.account) if reach else None)
            for key, reach in ((share.contract_key, reaches.get(share.contract_key)) for share in new.shares)
        }

    async def _subjects_of(self, session: AsyncSession, invoice_id: int) -> set[str]:
        """Whose figures an invoice was part of so far."""
        query = select(InvoiceShare).where(col(InvoiceShare.invoice_id) == invoice_id)
        rows = list(await session.exec(query))
        return {name for row in rows for name in (row.contract_key, row.deal, row.account) if name}

    async def _put_parts(self, session: AsyncSession, invoice_id: int, new: NewStanding) -> None:
        for table in (InvoiceShare, InvoiceApplication):
            await session.exec(delete(table).where(col(table.invoice_id) == invoice_id))
        reaches = {reach.contract_key: reach for reach in new.reaches}
        for share in new.shares:
            reach = reaches.get(share.contract_key)
            session.add(
                InvoiceShare(
                    invoice_id=invoice_id,
                    contract_key=share.contract_key,
                    deal=_text(reach.deal) if reach else None,
                    account=_text(reach.account) if reach else None,
                    currency=share.gross.currency,
                    rates=reach.rates.model_dump(mode="json") if reach else {},
                    **{f"{name}_minor": getattr(share, name).minor for name in AMOUNTS},
                )
            )
        for one in new.standing.applications:
            session.add(
                InvoiceApplication(
                    invoice_id=invoice_id,
                    document=str(one.document),
                    kind=one.kind.value,
                    number=one.number,
                    amount_minor=one.amount.minor,
                    on_day=one.on,
                )
            )
        await session.flush()

    async def _put_reach(
        self, session: AsyncSession, reach: Reach, *, currency: str | None = None
    ) -> ContractReach:
        own = currency or (reach.budget.currency if reach.budget is not None else "")
        values = {
            "deal": _text(reach.deal),
            "account": _text(reach.account),
            "legal_entity": reach.legal_entity,
            "budget_minor": None if reach.budget is None else reach.budget.minor,
            "rates": reach.rates.model_dump(mode="json"),
        }
        fresh = {
            "contract_key": reach.contract_key,
            "currency": own,
            "recognised_minor": 0,
            "deferred_minor": 0,
        }
        await self.insert_ignore(session, ContractReach, {**fresh, **values})
        row = await self._reach(session, reach.contract_key)
        assert row is not None
        for name, value in values.items():
            setattr(row, name, value)
        session.add(row)
        return row

    async def _want(
        self,
        session: AsyncSession,
        before: Iterable[str],
        targets: Sequence[Target],
        region: str,
        saga_id: str,
        source_at: datetime | None,
    ) -> None:
        """Note that these targets, and those of ``before``, have something new to show."""
        now = self.now()
        for target in targets:
            values = {
                "target": target.key,
                "kind": target.kind.value,
                "subject": target.subject,
                "region": region,
                "wanted": 0,
                "applied": 0,
                "revision": 0,
                "writes": 0,
                "saga_id": saga_id,
            }
            await self.insert_ignore(session, FeedbackTarget, values)
        subjects = {*before, *(target.subject for target in targets)}
        if not subjects:
            return
        concerned = col(FeedbackTarget.subject).in_(sorted(subjects))
        await session.exec(
            update(FeedbackTarget)
            .where(concerned, col(FeedbackTarget.wanted_since).is_(None))
            .values(wanted_since=now, source_since=source_at)
        )
        await session.exec(
            update(FeedbackTarget)
            .where(concerned)
            .values(wanted=col(FeedbackTarget.wanted) + 1, saga_id=saga_id)
        )


def _overtaken(known: datetime | None, seen: datetime | None) -> bool:
    return known is not None and seen is not None and seen < known


def _write(row: ErpInvoice, new: NewStanding, now: datetime) -> None:
    standing, invoice = new.standing, new.standing.invoice
    row.state, row.status = standing.state.value, new.status.value
    row.version += 1
    row.modified_at, row.digest = standing.modified_at or row.modified_at, standing.digest
    row.standing = standing.model_dump(mode="json")
    row.disputed, row.settled = standing.disputed, standing.settled
    row.saga_id, row.read_at, row.changed_at = new.saga_id, now, now
    row.balance_minor = 0
    if invoice is not None:
        row.number, row.legal_entity = invoice.number, invoice.seller
        row.currency, row.balance_minor = invoice.gross.currency, invoice.balance.minor
        row.issued_on, row.due_on = invoice.issued_on, invoice.due_on


def _text(ref: RecordRef | None) -> str | None:
    return None if ref is None else str(ref)


def invoice_row(row: ErpInvoice) -> ErpInvoiceRow:
    """The frozen row."""
    standing = InvoiceStanding.model_validate(row.standing)
    return ErpInvoiceRow(
        ref=standing.ref,
        number=row.number,
        legal_entity=row.legal_entity,
        status=InvoiceStatus(row.status),
        version=row.version,
        modified_at=row.modified_at,
        digest=row.digest,
        standing=standing,
        disputed=row.disputed,
        settled=row.settled,
        saga_id=row.saga_id,
        read_at=row.read_at,
        changed_at=row.changed_at,
    )


def share_of(row: InvoiceShare) -> Share:
    """The frozen share."""
    amounts: dict[str, Any] = {
        name: Money.of_minor(getattr(row, f"{name}_minor"), row.currency, AmountRole.BILLING)
        for name in AMOUNTS
    }
    return Share(contract_key=row.contract_key, **amounts)


def target_of(row: FeedbackTarget) -> Target:
    """The frozen target."""
    return Target(kind=TargetKind(row.kind), ref=RecordRef.parse(row.target), subject=row.subject)
