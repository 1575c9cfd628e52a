"""What each target shows: held by one writer at a time, written only when it would show something else.

A target is written from the ledger's present facts, never from what an event said, so whoever writes last
writes the newest. A writer holds the target as long as its call may take; one that vanished is waited out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.base import Canonical
from canonical.feedback import (
    Budget,
    Covered,
    Facts,
    Held,
    InvoiceStatus,
    Rates,
    Recognised,
    Share,
    Target,
    TargetKind,
)
from canonical.money import Money
from canonical.refs import RecordRef
from ledger.core import unbroken
from ledger.feedback import ErpInvoiceRow, Feedback, invoice_row, share_of, target_of
from ledger.tables.feedback import (
    ContractReach,
    ErpInvoice,
    FeedbackClock,
    FeedbackTarget,
    InvoiceApplication,
    InvoiceShare,
)


class HoldState(StrEnum):
    """What a would-be writer of a target may do."""

    HELD = "held"
    """Work the figures out and write them."""
    BUSY = "busy"
    """Somebody else may be writing: ask again."""
    DONE = "done"
    """It was worked out from everything that is known."""


class Hold(Canonical):
    """The answer to a writer."""

    state: HoldState
    target: Target | None = None
    wanted: int = 0
    shown: str | None = None
    until: datetime | None = None
    """Of ``BUSY``: when the other's time ends."""


class TargetRow(Canonical):
    """A target as the ledger knows it."""

    target: Target
    region: str
    wanted: int
    applied: int
    wanted_since: datetime | None
    revision: int
    writes: int
    shown: str | None
    figures: dict[str, Any] | None
    saga_id: str
    failure: str | None
    applied_at: datetime | None

    @property
    def stale(self) -> bool:
        """Whether it does not show what is known."""
        return self.applied < self.wanted


class FeedbackTargets(Feedback):
    """Targets and lists."""

    @unbroken
    async def targets_behind(self, targets: Iterable[str]) -> list[Target]:
        """Those of these targets that do not show everything yet."""
        query = select(FeedbackTarget).where(
            col(FeedbackTarget.target).in_(sorted(set(targets))),
            col(FeedbackTarget.applied) < col(FeedbackTarget.wanted),
        )
        async with self.reading() as session:
            return [target_of(row) for row in await session.exec(query.order_by(col(FeedbackTarget.id)))]

    @unbroken
    async def targets_of(self, subjects: Iterable[str]) -> list[TargetRow]:
        """All targets that show figures of deals, accounts or contracts."""
        query = select(FeedbackTarget).where(col(FeedbackTarget.subject).in_(sorted(set(subjects))))
        async with self.reading() as session:
            return [target_row(row) for row in await session.exec(query.order_by(col(FeedbackTarget.id)))]

    @unbroken
    async def hold_target(self, target: str, attempt: str, lease: timedelta, *, again: bool = False) -> Hold:
        """Become the one writer of a target, unless somebody else is, or nothing is to be done.

        Args:
            target: its key.
            attempt: names the activity attempt.
            lease: how long its calls may take.
            again: also when nothing changed: the clock may have.
        """
        async with self.transaction() as session:
            row = await self._target(session, target, lock=True)
            if row is None or (not again and row.applied >= row.wanted):
                return Hold(state=HoldState.DONE)
            now = self.now()
            held = row.holder not in (None, attempt) and row.held_until is not None
            if held and row.held_until is not None and row.held_until > now:
                return Hold(state=HoldState.BUSY, until=row.held_until)
            row.holder, row.held_until = attempt, now + lease
            session.add(row)
            return Hold(state=HoldState.HELD, target=target_of(row), wanted=row.wanted, shown=row.shown)

    @unbroken
    async def intend_figures(self, target: str, attempt: str, digest: str, lease: timedelta) -> int | None:
        """The revision under which these figures are written; None when the target was lost to another.

        The same figures again, after an attempt that did not end, are the same revision: the write's key
        finds what that attempt did.

        Args:
            target: its key.
            attempt: the writer.
            digest: of the figures.
            lease: how long the write may still arrive at the vendor from now on.
        """
        async with self.transaction() as session:
            row = await self._target(session, target, lock=True)
            if row is None or row.holder != attempt:
                return None
            if row.intended != digest or row.shown == digest:
                row.revision += 1
                row.intended = digest
            row.held_until = self.now() + lease
            session.add(row)
            return row.revision

    @unbroken
    async def settle_target(
        self,
        target: str,
        attempt: str,
        *,
        wanted: int,
        digest: str,
        figures: Mapping[str, Any],
        wrote: bool,
    ) -> None:
        """It shows these figures, read back; they were worked out when ``wanted`` was current."""
        async with self.transaction() as session:
            row = await self._target(session, target, lock=True)
            if row is None or row.holder != attempt:
                return
            row.applied = max(row.applied, wanted)
            row.shown, row.figures = digest, dict(figures)
            row.writes += wrote
            row.applied_at = self.now()
            row.holder, row.held_until, row.failure = None, None, None
            if row.applied >= row.wanted:
                if row.wanted_since is not None:
                    session.add(_clock(row, row.wanted_since, row.applied_at))
                row.wanted_since, row.source_since = None, None
            session.add(row)

    @unbroken
    async def let_target_go(self, target: str, attempt: str, failure: str, *, doubtful: bool) -> None:
        """The figures could not be written. What may still arrive at the vendor is waited out."""
        async with self.transaction() as session:
            row = await self._target(session, target, lock=True)
            if row is None or row.holder != attempt:
                return
            row.failure = failure
            if not doubtful:
                row.holder, row.held_until = None, None
            session.add(row)

    @unbroken
    async def facts_of(self, target: Target) -> Facts:
        """Everything that a target's figures are made of, as of now."""
        async with self.reading() as session:
            where = {
                TargetKind.OPPORTUNITY: (col(InvoiceShare.deal), col(ContractReach.deal)),
                TargetKind.ACCOUNT: (col(InvoiceShare.account), col(ContractReach.account)),
                TargetKind.PROJECT: (col(InvoiceShare.contract_key), col(ContractReach.contract_key)),
            }
            of_share, of_reach = where[target.kind]
            shares = (
                select(InvoiceShare, ErpInvoice)
                .join(ErpInvoice, col(ErpInvoice.id) == col(InvoiceShare.invoice_id))
                .where(of_share == target.subject)
                .order_by(col(InvoiceShare.id))
            )
            held = [_held(share, invoice) for share, invoice in await session.exec(shares)]
            query = select(ContractReach).where(of_reach == target.subject)
            reaches = list(await session.exec(query.order_by(col(ContractReach.id))))
        known = tuple(one for one in held if one is not None)
        return Facts(
            kind=target.kind,
            held=known,
            revenue=tuple(_recognised(row) for row in reaches if row.digest is not None),
            budgets=tuple(_agreed(row) for row in reaches if row.budget_minor is not None),
            contracts=_covered(known, reaches),
        )

    # --- lists --------------------------------------------------------------------------------------

    @unbroken
    async def stale_targets(self, *, limit: int = 500) -> list[TargetRow]:
        """Targets that do not show what is known, the longest behind first."""
        query = (
            select(FeedbackTarget)
            .where(col(FeedbackTarget.applied) < col(FeedbackTarget.wanted))
            .order_by(col(FeedbackTarget.wanted_since), col(FeedbackTarget.id))
            .limit(limit)
        )
        async with self.reading() as session:
            return [target_row(row) for row in await session.exec(query)]

    @unbroken
    async def find_erp_invoices(self, text: str, *, limit: int = 50) -> list[ErpInvoiceRow]:
        """Invoices by number, record id, or by a payment or credit that reduced them."""
        by_document = select(InvoiceApplication.invoice_id).where(
            or_(
                col(InvoiceApplication.document) == text,
                col(InvoiceApplication.number) == text,
                col(InvoiceApplication.document).endswith(f"/{text}", autoescape=True),
            )
        )
        query = (
            select(ErpInvoice)
            .where(
                or_(
                    col(ErpInvoice.number) == text,
                    col(ErpInvoice.record_id) == text,
                    col(ErpInvoice.system) + "/invoice/" + col(ErpInvoice.record_id) == text,
                    col(ErpInvoice.id).in_(by_document),
                )
            )
            .order_by(col(ErpInvoice.id))
            .limit(limit)
        )
        async with self.reading() as session:
            return [invoice_row(row) for row in await session.exec(query)]

    @unbroken
    async def erp_invoices(
        self, *, contract_key: str | None = None, deal: str | None = None, limit: int = 500
    ) -> list[ErpInvoiceRow]:
        """Invoices with a share of a contract or a deal (``system/id``); the last changed first."""
        query = select(ErpInvoice).order_by(col(ErpInvoice.changed_at).desc()).limit(limit)
        if contract_key is not None or deal is not None:
            wanted = select(InvoiceShare.invoice_id)
            if contract_key is not None:
                wanted = wanted.where(col(InvoiceShare.contract_key) == contract_key)
            if deal is not None:
                system, _, id_ = deal.partition("/")
                named = col(InvoiceShare.deal)
                wanted = wanted.where(
                    named.startswith(f"{system}/", autoescape=True),
                    named.endswith(f"/{id_}", autoescape=True),
                )
            query = query.where(col(ErpInvoice.id).in_(wanted))
        async with self.reading() as session:
            return [invoice_row(row) for row in await session.exec(query)]

    @unbroken
    async def shares_of(self, invoice: RecordRef) -> list[tuple[Share, str | None, str | None]]:
        """An invoice's shares with the deal and the account whose figures they are part of."""
        async with self.reading() as session:
            row = await self._erp_invoice(session, invoice.system, invoice.id)
            if row is None:
                return []
            query = select(InvoiceShare).where(col(InvoiceShare.invoice_id) == row.id)
            found = await session.exec(query.order_by(col(InvoiceShare.contract_key)))
            return [(share_of(one), one.deal, one.account) for one in found]

    async def _target(
        self, session: AsyncSession, target: str, *, lock: bool = False
    ) -> FeedbackTarget | None:
        query = select(FeedbackTarget).where(col(FeedbackTarget.target) == target)
        return (await session.exec(query.with_for_update() if lock else query)).first()


def _clock(row: FeedbackTarget, noted: datetime, shown: datetime) -> FeedbackClock:
    return FeedbackClock(
        target=row.target,
        kind=row.kind,
        region=row.region,
        source_at=row.source_since,
        noted_at=noted,
        shown_at=shown,
        saga_id=row.saga_id,
    )


def _held(share: InvoiceShare, invoice: ErpInvoice) -> Held | None:
    if invoice.issued_on is None:
        return None
    return Held(
        invoice=str(RecordRef(system=invoice.system, type="invoice", id=invoice.record_id)),
        number=invoice.number or invoice.record_id,
        status=InvoiceStatus(invoice.status),
        disputed=invoice.disputed,
        issued_on=invoice.issued_on,
        due_on=invoice.due_on,
        seller=invoice.legal_entity or "",
        share=share_of(share),
        rates=Rates.model_validate(share.rates),
    )


def _covered(held: Iterable[Held], reaches: Iterable[ContractReach]) -> tuple[Covered, ...]:
    shares = {one.share.contract_key: one.share.net.currency for one in held if one.share.contract_key}
    found = {key: Covered(contract_key=key, currency=currency) for key, currency in shares.items()}
    for row in reaches:
        found[row.contract_key] = Covered(
            contract_key=row.contract_key,
            currency=row.currency or shares.get(row.contract_key, ""),
            rates=Rates.model_validate(row.rates),
        )
    return tuple(found[key] for key in sorted(found))


def _recognised(row: ContractReach) -> Recognised:
    return Recognised(
        contract_key=row.contract_key,
        recognised=Money.of_minor(row.recognised_minor, row.currency),
        deferred=Money.of_minor(row.deferred_minor, row.currency),
        rates=Rates.model_validate(row.rates),
    )


def _agreed(row: ContractReach) -> Budget:
    assert row.budget_minor is not None
    return Budget(
        amount=Money.of_minor(row.budget_minor, row.currency), rates=Rates.model_validate(row.rates)
    )


def target_row(row: FeedbackTarget) -> TargetRow:
    """The frozen row."""
    return TargetRow(
        target=target_of(row),
        region=row.region,
        wanted=row.wanted,
        applied=row.applied,
        wanted_since=row.wanted_since,
        revision=row.revision,
        writes=row.writes,
        shown=row.shown,
        figures=row.figures,
        saga_id=row.saga_id,
        failure=row.failure,
        applied_at=row.applied_at,
    )
