"""Revenue follow-up in the ledger: what is to be followed, what was done, what the ERP was told (rule 2)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from sqlalchemy import and_, func, or_
from sqlalchemy import select as columns
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.causes import Cause
from canonical.engagement import Contract
from canonical.failures import Finding, Transient
from canonical.invoicing import DocumentKind, DocumentState
from canonical.items import AllocationKind, CostState, ItemKind
from canonical.money import Money
from canonical.progress import (
    LineEffort,
    LineProgress,
    RevenueDifference,
    RevenueFigures,
    RevenueRow,
    SendState,
)
from ledger.contracts import Contracts
from ledger.core import unbroken
from ledger.rows import ContractVersionRow
from ledger.tables.allocation import Allocation
from ledger.tables.billable_item import BillableItem
from ledger.tables.contract_version import ContractVersion
from ledger.tables.invoice_state import InvoiceState
from ledger.tables.revenue import ContractRevenue, ProgressInput

BUSY = timedelta(minutes=15)
"""How long another run's unsettled inputs of a contract are waited for: longer than any step takes."""
PRICED = (
    ItemKind.TIME.value,
    ItemKind.EXPENSE.value,
    ItemKind.MILESTONE.value,
    ItemKind.PROGRESS_PERIOD.value,
    ItemKind.ADJUSTMENT.value,
)
"""Items whose price says what was delivered. Schedule dates and retainer periods say only what is due."""
_DAY = func.coalesce(col(BillableItem.posting_date), col(BillableItem.work_date))
"""The day on which the ERP has an item: work of a closed period counts where it was posted."""
BY_BILL = and_(
    col(BillableItem.cost) == CostState.NOT_APPLICABLE,
    col(BillableItem.withdrawn).is_(None),
    col(BillableItem.current),
    col(BillableItem.approved),
    col(BillableItem.placed),
    col(BillableItem.hold_cause).is_(None),
)
"""Approved work that is never posted, because its cost comes by vendor bill."""
_Taken = aliased(Allocation)


@dataclass
class Delivered:
    """What was delivered of a contract through a day."""

    minutes: int = 0
    priced: dict[str, int] = field(default_factory=dict)
    """Minor units by currency."""


class Revenue(Contracts):
    """Reads work, keeps inputs and standings."""

    # --- what is to be followed ---------------------------------------------------------------------

    @unbroken
    async def contracts_to_follow(
        self, legal_entity: str, erp: str, first: date, last: date, *, after: str = "", limit: int = 50
    ) -> tuple[list[ContractVersionRow], str | None]:
        """Contracts of an entity in an ERP that have work in a period or revenue that is open, by key.

        Args:
            legal_entity: the seller.
            erp: where they are.
            first: of the period.
            last: of the period: what is agreed later is not there yet.
            after: key of the last contract of the page before.
            limit: most contracts looked at.

        Returns:
            Their terms in force at ``last``, and where to go on; None at the end.
        """
        key, effective = col(ContractVersion.contract_key), col(ContractVersion.effective_on)
        query = (
            select(ContractVersion.contract_key)
            .where(
                key > after,
                key.contains(f".{legal_entity}.", autoescape=True),
                or_(effective.is_(None), effective <= last),
            )
            .distinct()
            .order_by(key)
            .limit(limit)
        )
        async with self.reading() as session:
            keys = list(await session.exec(query))
            open_ = await self._progress_open(session, keys, first)
            found = []
            for one in keys:
                row = await self.contract_version(one, on=last) if one in open_ else None
                if row is not None and (row.terms.get("legal_entity"), row.terms.get("erp")) == (
                    legal_entity,
                    erp,
                ):
                    found.append(row)
        return found, keys[-1] if len(keys) == limit else None

    async def _progress_open(self, session: AsyncSession, keys: Sequence[str], first: date) -> set[str]:
        """Those that an earlier period did not leave settled, or that have work since."""
        period = f"{first:%Y-%m}"
        key = col(ContractRevenue.contract_key)
        last = (
            select(key.label("key"), func.max(ContractRevenue.period).label("period"))
            .where(key.in_(keys), col(ContractRevenue.period) < period)
            .group_by(key)
            .subquery()
        )
        settled = set(
            await session.exec(
                select(ContractRevenue.contract_key)
                .join(last, (key == last.c.key) & (col(ContractRevenue.period) == last.c.period))
                .where(col(ContractRevenue.settled))
            )
        )
        active = set(
            await session.exec(
                select(BillableItem.contract_key)
                .where(col(BillableItem.contract_key).in_(settled), first <= _DAY)
                .distinct()
            )
        )
        return (set(keys) - settled) | {one for one in active if one is not None}

    # --- what was done ------------------------------------------------------------------------------

    @unbroken
    async def efforts(self, contract_key: str, first: date, last: date) -> dict[str, LineEffort]:
        """Work on a contract's lines through a day: what is posted and was not taken back.

        The effort of those whose cost comes by vendor bill is never posted; it counts once it is approved.
        """
        posted = col(BillableItem.cost) == CostState.POSTED
        line: Any = col(BillableItem.line_key)
        counted = [col(BillableItem.contract_key) == contract_key, line.is_not(None), last >= _DAY]
        minutes = func.sum(col(BillableItem.minutes))
        time = [*counted, col(BillableItem.kind) == ItemKind.TIME.value, or_(posted, BY_BILL)]
        cost = [*counted, col(BillableItem.kind) == ItemKind.EXPENSE.value, posted]
        spent = columns(
            line, col(BillableItem.source_currency), func.sum(col(BillableItem.source_minor))
        ).where(*cost)
        async with self.reading() as session:
            connection = await session.connection()
            everything = await connection.execute(columns(line, minutes).where(*time).group_by(line))
            to_date = {key: int(sum_ or 0) for key, sum_ in everything}
            of_period = await connection.execute(
                columns(line, minutes).where(*time, first <= _DAY).group_by(line)
            )
            within = {key: int(sum_ or 0) for key, sum_ in of_period}
            costs: dict[str, list[Money]] = defaultdict(list)
            grouped = spent.group_by(line, col(BillableItem.source_currency))
            for key, currency, minor in await connection.execute(grouped):
                if currency is not None:
                    costs[key].append(Money.of_minor(int(minor or 0), currency))
        return {
            key: LineEffort(
                line_key=key,
                minutes_to_date=to_date.get(key, 0),
                minutes_in_period=within.get(key, 0),
                costs_to_date=tuple(sorted(costs[key], key=lambda one: one.currency)),
            )
            for key in sorted({*to_date, *costs})
        }

    @unbroken
    async def delivered(self, contract_key: str, last: date) -> Delivered:
        """Approved work through a day as it is priced, and milestones that nothing holds."""
        query = (
            columns(
                col(BillableItem.kind),
                col(BillableItem.currency),
                func.sum(col(BillableItem.minutes)),
                func.sum(col(BillableItem.priced_minor)),
            )
            .where(
                col(BillableItem.contract_key) == contract_key,
                col(BillableItem.kind).in_(PRICED),
                col(BillableItem.current),
                col(BillableItem.withdrawn).is_(None),
                col(BillableItem.approved),
                or_(
                    col(BillableItem.hold_cause).is_(None),
                    col(BillableItem.kind).in_((ItemKind.TIME.value, ItemKind.EXPENSE.value)),
                ),
                col(BillableItem.work_date) <= last,
            )
            .group_by(col(BillableItem.kind), col(BillableItem.currency))
        )
        found = Delivered()
        async with self.reading() as session:
            for kind, currency, minutes, minor in await (await session.connection()).execute(query):
                found.minutes += int(minutes or 0) if kind == ItemKind.TIME.value else 0
                if currency is not None:
                    found.priced[currency] = found.priced.get(currency, 0) + int(minor or 0)
        return found

    @unbroken
    async def billed_through(self, contract_key: str, last: date) -> dict[str, int]:
        """What issued invoices bill of a contract, less issued credits, through a day; by currency."""
        sums: dict[str, int] = defaultdict(int)
        async with self.reading() as session:
            connection = await session.connection()
            for query in (
                _of_documents(contract_key, last, DocumentKind.INVOICE),
                _of_documents(contract_key, last, DocumentKind.CREDIT),
            ):
                for currency, minor in await connection.execute(query):
                    sums[currency] += int(minor or 0)
        return dict(sums)

    # --- what the ERP was told ----------------------------------------------------------------------

    @unbroken
    async def progress_before(self, contract_key: str, period: str) -> dict[str, LineProgress]:
        """The inputs that were sent last for a period before this one, by line."""
        query = (
            select(ProgressInput)
            .where(
                col(ProgressInput.contract_key) == contract_key,
                col(ProgressInput.period) < period,
                col(ProgressInput.sent_at).is_not(None),
            )
            .order_by(col(ProgressInput.period), col(ProgressInput.revision))
        )
        async with self.reading() as session:
            rows = list(await session.exec(query))
        return {row.line_key: LineProgress.model_validate(row.inputs) for row in rows}

    @unbroken
    async def later_period(self, contract_key: str, period: str) -> str | None:
        """The last period after this one for which inputs were sent or are being sent."""
        query = select(func.max(ProgressInput.period)).where(
            col(ProgressInput.contract_key) == contract_key, col(ProgressInput.period) > period
        )
        async with self.reading() as session:
            return (await session.exec(query)).one()

    @unbroken
    async def progress_sent(self, contract_key: str, period: str) -> tuple[int, dict[str, str]]:
        """(revision, digest by line) of what the ERP shows for a period; (0, nothing): nothing was sent."""
        async with self.reading() as session:
            rows = await self._latest(session, contract_key, period)
        sent = [row for row in rows if row.sent_at is not None]
        return (sent[0].revision, {row.line_key: row.digest for row in sent}) if sent else (0, {})

    @unbroken
    async def intend_progress(
        self, contract_key: str, period: str, lines: Sequence[LineProgress], *, saga_id: str
    ) -> int | None:
        """Note what is about to be sent; answers its revision, or None when the ERP shows just that.

        Raises:
            Transient: another run is about to send inputs of the contract (``RUN_UNDER_WAY``).
        """
        digests = {line.line_key: line.digest for line in lines}
        async with self.transaction() as session:
            await self.lock(session, f"progress:{contract_key}")
            await self._nobody_else(session, contract_key, saga_id)
            rows = await self._latest(session, contract_key, period)
            if rows and {row.line_key: row.digest for row in rows} == digests:
                return None if all(row.sent_at is not None for row in rows) else rows[0].revision
            revision = rows[0].revision + 1 if rows else 1
            for line in lines:
                session.add(
                    ProgressInput(
                        contract_key=contract_key,
                        line_key=line.line_key,
                        period=period,
                        revision=revision,
                        digest=line.digest,
                        inputs=line.model_dump(mode="json"),
                        saga_id=saga_id,
                        at=self.now(),
                    )
                )
            return revision

    @unbroken
    async def settle_progress(self, contract_key: str, period: str, revision: int) -> None:
        """The ERP shows a revision. Idempotent."""
        async with self.transaction() as session:
            for row in await self._latest(session, contract_key, period):
                if row.revision == revision and row.sent_at is None:
                    row.sent_at = self.now()
                    session.add(row)

    async def _latest(self, session: AsyncSession, contract_key: str, period: str) -> list[ProgressInput]:
        """The rows of the highest revision."""
        of_period = (col(ProgressInput.contract_key) == contract_key, col(ProgressInput.period) == period)
        highest = select(func.max(ProgressInput.revision)).where(*of_period).scalar_subquery()
        query = select(ProgressInput).where(*of_period, col(ProgressInput.revision) == highest)
        return list(await session.exec(query.order_by(col(ProgressInput.line_key))))

    async def _nobody_else(self, session: AsyncSession, contract_key: str, saga_id: str) -> None:
        query = select(ProgressInput).where(
            col(ProgressInput.contract_key) == contract_key,
            col(ProgressInput.sent_at).is_(None),
            col(ProgressInput.saga_id) != saga_id,
            col(ProgressInput.at) > self.now() - BUSY,
        )
        other = (await session.exec(query.limit(1))).first()
        if other is not None:
            raise Transient(
                f"{other.saga_id} is sending the progress of {contract_key} for {other.period}.",
                cause=Cause.RUN_UNDER_WAY,
                system="ledger",
            )

    # --- how contracts stand ------------------------------------------------------------------------

    @unbroken
    async def put_revenue(self, row: RevenueRow) -> None:
        """Keep how a contract stands at the end of a period: what was known before is replaced."""
        figures = row.figures
        values: dict[str, Any] = {
            "name": row.name,
            "legal_entity": row.legal_entity,
            "erp": row.erp,
            "currency": figures.booked.currency,
            "booked_minor": figures.booked.minor,
            "delivered_minutes": figures.delivered_minutes,
            "delivered_minor": _minor(figures.delivered),
            "billed_minor": figures.billed.minor,
            "recognised_minor": _minor(figures.recognised),
            "deferred_minor": _minor(figures.deferred),
            "state": row.state.value,
            "revision": row.revision,
            "findings": [one.model_dump(mode="json") for one in row.findings],
            "differences": [one.model_dump(mode="json") for one in row.differences],
            "settled": settled(row),
            "saga_id": row.saga_id,
            "at": self.now(),
        }
        async with self.transaction() as session:
            key = {"contract_key": row.contract_key, "period": row.period}
            await self.insert_ignore(session, ContractRevenue, {**key, **values})
            held = (
                await session.exec(
                    select(ContractRevenue).where(
                        col(ContractRevenue.contract_key) == row.contract_key,
                        col(ContractRevenue.period) == row.period,
                    )
                )
            ).one()
            for name, value in values.items():
                setattr(held, name, value)
            session.add(held)

    @unbroken
    async def revenue_rows(
        self, period: str, *, legal_entity: str | None = None, contracts: Iterable[str] | None = None
    ) -> list[RevenueRow]:
        """How contracts stood at the end of a period, by contract."""
        query = select(ContractRevenue).where(col(ContractRevenue.period) == period)
        if legal_entity is not None:
            query = query.where(col(ContractRevenue.legal_entity) == legal_entity)
        if contracts is not None:
            query = query.where(col(ContractRevenue.contract_key).in_(list(contracts)))
        async with self.reading() as session:
            rows = list(await session.exec(query.order_by(col(ContractRevenue.contract_key))))
        return [_row(row) for row in rows]


def settled(row: RevenueRow) -> bool:
    """Whether nothing more is to be expected: all of it is billed and recognised, and nothing is held."""
    figures = row.figures
    return (
        row.state is not SendState.HELD
        and figures.recognised is not None
        and figures.recognised.minor == figures.booked.minor == figures.billed.minor
        and not (figures.deferred is not None and figures.deferred.minor)
    )


def _of_documents(contract_key: str, last: date, kind: DocumentKind) -> Any:
    """What issued invoices billed, or issued credits took back, of a contract's items through a day."""
    rows: Mapping[DocumentKind, tuple[AllocationKind, ...]] = {
        DocumentKind.INVOICE: (AllocationKind.BILLED, AllocationKind.RELEASED),
        DocumentKind.CREDIT: (AllocationKind.CREDITED,),
    }
    document = col(_Taken.document) if kind is DocumentKind.INVOICE else col(Allocation.document)
    return (
        columns(col(Allocation.currency), func.sum(col(Allocation.amount_minor)))
        .join(BillableItem, col(BillableItem.id) == col(Allocation.item_id))
        .join(
            _Taken,
            (col(_Taken.item_id) == col(Allocation.item_id))
            & (col(_Taken.part) == col(Allocation.part))
            & (col(_Taken.release_no) == 0),
        )
        .join(InvoiceState, col(InvoiceState.document) == document)
        .where(
            col(BillableItem.contract_key) == contract_key,
            col(_Taken.kind) == AllocationKind.BILLED,
            col(Allocation.kind).in_(rows[kind]),
            col(InvoiceState.kind) == kind,
            col(InvoiceState.state) == DocumentState.ISSUED,
            func.coalesce(col(InvoiceState.issued_on), col(InvoiceState.on_day)) <= last,
        )
        .group_by(col(Allocation.currency))
    )


def terms_of(row: ContractVersionRow) -> Contract:
    """A version's terms."""
    return Contract.model_validate(row.terms)


def _minor(money: Money | None) -> int | None:
    return None if money is None else money.minor


def _row(row: ContractRevenue) -> RevenueRow:
    def money(minor: int | None) -> Money | None:
        return None if minor is None else Money.of_minor(minor, row.currency)

    return RevenueRow(
        contract_key=row.contract_key,
        name=row.name,
        period=row.period,
        legal_entity=row.legal_entity,
        erp=row.erp,
        figures=RevenueFigures(
            booked=Money.of_minor(row.booked_minor, row.currency),
            delivered_minutes=row.delivered_minutes,
            delivered=money(row.delivered_minor),
            billed=Money.of_minor(row.billed_minor, row.currency),
            recognised=money(row.recognised_minor),
            deferred=money(row.deferred_minor),
        ),
        state=SendState(row.state),
        revision=row.revision,
        findings=tuple(Finding.model_validate(one) for one in row.findings),
        differences=tuple(RevenueDifference.model_validate(one) for one in row.differences),
        saga_id=row.saga_id,
        at=row.at,
    )
