"""Closings of contracts' projects: agreed once, re-opened explicitly, what stands in their way (rule 45)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import or_
from sqlalchemy import select as columns
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.causes import Cause
from canonical.change_orders import ChangeOrderState
from canonical.failures import Conflict, Defect
from canonical.invoicing import DocumentKind, DocumentState
from canonical.items import CostState
from canonical.money import Money
from canonical.outgoing import OutgoingType, ProjectChanged
from canonical.project_closing import ClosingFact, ClosingState, Former, OpenDocument, RetainerLeft
from canonical.refs import RecordRef
from canonical.saga import Actor, SagaStatus
from ledger.audit import DECISIONS_CHAIN, AuditTrail
from ledger.billing_rows import DocumentRow
from ledger.core import unbroken
from ledger.document_rows import document_row
from ledger.item_rows import chunks
from ledger.outgoing import Outgoing
from ledger.people import actor_facts, actor_of
from ledger.rows import AuditEntry, ProjectClosingRow
from ledger.tables.accounts import RetainerMovement
from ledger.tables.allocation import Allocation
from ledger.tables.billable_item import BillableItem
from ledger.tables.change_order import ChangeOrderTable
from ledger.tables.invoice_state import InvoiceState
from ledger.tables.project_closing import ProjectClosing
from ledger.tables.saga import Saga

Row = ProjectClosing
_OPEN_ORDERS = [state.value for state in ChangeOrderState if state.is_open]
_OPEN_DOCUMENTS = [state.value for state in DocumentState if state.is_open]
_ENDED = [status.value for status in SagaStatus if status.is_final]


class ProjectClosings(AuditTrail, Outgoing):
    """Closings, and the facts that only the ledger knows."""

    # --- closings ---------------------------------------------------------------------------------------

    @unbroken
    async def project_closing(
        self, contract_key: str, *, number: int | None = None
    ) -> ProjectClosingRow | None:
        """The latest closing of a contract that was agreed, or the one named."""
        query = select(Row).where(col(Row.contract_key) == contract_key)
        if number is not None:
            query = query.where(col(Row.number) == number)
        async with self.reading() as session:
            row = (await session.exec(query.order_by(col(Row.number).desc()).limit(1))).first()
            return None if row is None else await self._shown_closing(session, row)

    @unbroken
    async def closings_of_deal(self, deal: str) -> list[ProjectClosingRow]:
        """Closings of a deal's contracts that are in force, oldest first."""
        query = select(Row).where(col(Row.deal) == deal, col(Row.state) == ClosingState.CLOSED.value)
        async with self.reading() as session:
            rows = list(await session.exec(query.order_by(col(Row.id))))
            return [await self._shown_closing(session, row) for row in rows]

    @unbroken
    async def closed_contracts(self, contract_keys: Iterable[str]) -> frozenset[str]:
        """Those whose projects are closed."""
        found: set[str] = set()
        async with self.reading() as session:
            for part in chunks(sorted(set(contract_keys))):
                query = select(Row.contract_key).where(
                    col(Row.state) == ClosingState.CLOSED.value, col(Row.contract_key).in_(part)
                )
                found |= set(await session.exec(query))
        return frozenset(found)

    @unbroken
    async def contract_of_code(self, project_code: str) -> str | None:
        """The contract of a project code, as far as work or a closing names it."""
        async with self.reading() as session:
            for column, code in (
                (BillableItem.contract_key, BillableItem.project_code),
                (Row.contract_key, Row.project_code),
            ):
                query = select(column).where(col(code) == project_code, col(column).is_not(None)).limit(1)
                if (found := (await session.exec(query)).first()) is not None:
                    return str(found)
        return None

    @unbroken
    async def agree_closing(
        self,
        contract_key: str,
        number: int,
        *,
        project_code: str,
        region: str,
        saga_id: str,
        former: Sequence[Former],
        deal: RecordRef | None,
        waived: Sequence[ClosingFact],
        decider: Actor | None,
        reason: str,
        actor: Actor,
        trace: str,
    ) -> ProjectClosingRow:
        """The contract's projects count as closed from here on. Idempotent.

        Args:
            contract_key: the contract.
            number: which closing of it.
            project_code: of its project.
            region: the partition.
            saga_id: the saga that carried it.
            former: what was changed in delivery and ERP, with the former values.
            deal: whom to tell.
            waived: facts that an approver let pass.
            decider: the approver.
            reason: theirs, else the starter's.
            actor: who started it.
            trace: for correlation.

        Raises:
            Conflict: another saga closed it, or a change order has come in meanwhile.
        """
        async with self.transaction() as session:
            await self.lock(session, f"changes:{contract_key}")
            row = await self._closing(session, contract_key, number)
            if row is not None and row.saga_id != saga_id:
                raise Conflict(
                    f"Contract {contract_key} was closed by {row.saga_id}.",
                    cause=Cause.VERSION_CONFLICT,
                    system="ledger",
                )
            if row is not None:
                return await self._shown_closing(session, row)
            await self._without_change_orders(session, contract_key)
            row = Row(
                contract_key=contract_key,
                number=number,
                state=ClosingState.CLOSED.value,
                project_code=project_code,
                region=region,
                saga_id=saga_id,
                waived=[one.model_dump(mode="json") for one in waived],
                reason=reason,
                former=[one.model_dump(mode="json") for one in former],
                deal=None if deal is None else str(deal),
                closed_at=self.now(),
            )
            if decider is not None:
                row.decided_by = await self._put_person(session, decider.name)
                row.decided_as = actor_facts(decider)
            session.add(row)
            await session.flush()
            causes = sorted({one.cause.value for one in waived})
            await self._note_closing(session, row, "project_closed", actor, saga_id, {"waived": causes})
            await self._tell_closing(session, row, OutgoingType.PROJECT_CLOSED, saga_id, trace)
            return await self._shown_closing(session, row)

    @unbroken
    async def agree_reopening(
        self, contract_key: str, number: int, *, saga_id: str, reason: str, actor: Actor, trace: str
    ) -> ProjectClosingRow:
        """The contract's projects count as open again. Idempotent.

        Raises:
            Conflict: another saga re-opened it.
            Defect: there is no such closing.
        """
        async with self.transaction() as session:
            await self.lock(session, f"changes:{contract_key}")
            row = await self._closing(session, contract_key, number)
            if row is None:
                raise Defect(f"closing {number} of {contract_key} was never agreed", system="ledger")
            if row.state == ClosingState.REOPENED.value and row.reopen_saga_id != saga_id:
                raise Conflict(
                    f"Contract {contract_key} was re-opened by {row.reopen_saga_id}.",
                    cause=Cause.VERSION_CONFLICT,
                    system="ledger",
                )
            if row.state == ClosingState.CLOSED.value:
                row.state, row.reopen_saga_id = ClosingState.REOPENED.value, saga_id
                row.reopened_because, row.reopened_at = reason, self.now()
                session.add(row)
                await self._note_closing(session, row, "project_reopened", actor, saga_id, {"reason": reason})
                await self._tell_closing(session, row, OutgoingType.PROJECT_REOPENED, saga_id, trace)
            return await self._shown_closing(session, row)

    @unbroken
    async def keep_deal_former(
        self, contract_key: str, number: int, values: Mapping[str, Any]
    ) -> ProjectClosingRow:
        """What the deal showed before it was told of a closing; the first answer stays.

        Raises:
            Defect: there is no such closing.
        """
        async with self.transaction() as session:
            row = await self._closing(session, contract_key, number)
            if row is None:
                raise Defect(f"closing {number} of {contract_key} was never agreed", system="ledger")
            if row.deal_former is None:
                row.deal_former = dict(values)
                session.add(row)
            return await self._shown_closing(session, row)

    # --- what stands in the way -------------------------------------------------------------------------

    @unbroken
    async def contract_corrections(self, contract_key: str) -> int:
        """Items of a contract whose source is gone and whose posting or billing still stands."""
        query = (
            select(func.count())
            .select_from(BillableItem)
            .where(
                col(BillableItem.contract_key) == contract_key,
                col(BillableItem.withdrawn).is_not(None),
                or_(
                    col(BillableItem.cost) == CostState.POSTED.value,
                    col(BillableItem.billed_minor) != 0,
                    col(BillableItem.next_line).is_not(None),
                ),
            )
        )
        async with self.reading() as session:
            return int((await session.exec(query)).one())

    @unbroken
    async def contract_documents(self, contract_key: str) -> list[DocumentRow]:
        """Invoices with a line of a contract, and their credits, oldest first; abandoned ones left out."""
        mine = (
            select(Allocation.document)
            .join(BillableItem, col(BillableItem.id) == col(Allocation.item_id))
            .where(col(BillableItem.contract_key) == contract_key, col(Allocation.document).is_not(None))
        )
        query = (
            select(InvoiceState)
            .where(
                or_(col(InvoiceState.document).in_(mine), col(InvoiceState.corrects).in_(mine)),
                col(InvoiceState.state) != DocumentState.ABANDONED.value,
            )
            .order_by(col(InvoiceState.id))
        )
        async with self.reading() as session:
            return [document_row(row) for row in await session.exec(query)]

    @unbroken
    async def contract_retainers(self, contract_key: str) -> list[RetainerLeft]:
        """Retainers of a contract that have a balance left."""
        prefix = f"retainer/{contract_key}/"
        last = (
            select(RetainerMovement.account, func.max(RetainerMovement.number).label("number"))
            .where(col(RetainerMovement.account).startswith(prefix, autoescape=True))
            .group_by(col(RetainerMovement.account))
            .subquery()
        )
        query = (
            select(RetainerMovement)
            .join(
                last,
                (col(RetainerMovement.account) == last.c.account)
                & (col(RetainerMovement.number) == last.c.number),
            )
            .where(col(RetainerMovement.balance_minor) > 0)
            .order_by(col(RetainerMovement.account))
        )
        async with self.reading() as session:
            return [
                RetainerLeft(account=row.account, balance=Money.of_minor(row.balance_minor, row.currency))
                for row in await session.exec(query)
            ]

    @unbroken
    async def known_substances(self, projects: Iterable[str]) -> dict[str, str]:
        """Digest of what matters of every line of delivery projects that the ledger has now, by source."""
        found: dict[str, str] = {}
        async with self.reading() as session:
            for part in chunks(sorted(set(projects))):
                query = columns(col(BillableItem.source), col(BillableItem.substance)).where(
                    col(BillableItem.current), col(BillableItem.project).in_(part)
                )
                found |= {row[0]: row[1] for row in await (await session.connection()).execute(query)}
        return found

    @unbroken
    async def sagas_under_way(
        self, business_keys: Iterable[str], beginning: Iterable[str], *, but: str
    ) -> list[str]:
        """Ids of sagas that have not ended, by business key or how it begins; without ``but`` itself."""
        key = col(Saga.business_key)
        named = [key.startswith(one, autoescape=True) for one in beginning]
        query = select(Saga.saga_id).where(
            col(Saga.status).not_in(_ENDED),
            or_(key.in_(sorted(set(business_keys))), *named),
            col(Saga.saga_id) != but,
        )
        async with self.reading() as session:
            return sorted(set(await session.exec(query)))

    # --- machinery --------------------------------------------------------------------------------------

    async def _closing(self, session: AsyncSession, contract_key: str, number: int) -> Row | None:
        query = select(Row).where(col(Row.contract_key) == contract_key, col(Row.number) == number)
        return (await session.exec(query.with_for_update())).first()

    async def _without_change_orders(self, session: AsyncSession, contract_key: str) -> None:
        query = select(ChangeOrderTable.order_key).where(
            col(ChangeOrderTable.contract_key) == contract_key, col(ChangeOrderTable.state).in_(_OPEN_ORDERS)
        )
        open_ = list(await session.exec(query))
        if open_:
            raise Conflict(
                f"Contract {contract_key} has change orders that are not decided: {', '.join(open_)}.",
                cause=Cause.CLOSE_BLOCKED,
                system="ledger",
                remedy="Decide or withdraw them and retry, or give the closing up.",
            )

    async def _tell_closing(
        self, session: AsyncSession, row: Row, type_: OutgoingType, saga_id: str, trace: str
    ) -> None:
        data = ProjectChanged(
            saga_id=saga_id,
            contract=row.contract_key,
            project_code=row.project_code,
            number=row.number,
            region=row.region,
        )
        await self._tell(session, type_, data, nth=f"{row.contract_key}|{row.number}", trace=trace)

    async def _note_closing(
        self,
        session: AsyncSession,
        row: Row,
        action: str,
        actor: Actor,
        saga_id: str,
        more: Mapping[str, Any],
    ) -> None:
        entry = AuditEntry(
            chain=DECISIONS_CHAIN,
            action=action,
            actor=actor,
            saga_id=saga_id,
            content={"contract": row.contract_key, "number": row.number, **more},
        )
        await self._append(session, entry, await self._put_person(session, actor.name))

    async def _shown_closing(self, session: AsyncSession, row: Row) -> ProjectClosingRow:
        names = await self._names(session, [row.decided_by] if row.decided_by else [])
        decider = None
        if row.decided_by is not None:
            decider = actor_of(names[row.decided_by], row.decided_as or {})
        return ProjectClosingRow(
            contract_key=row.contract_key,
            number=row.number,
            state=ClosingState(row.state),
            project_code=row.project_code,
            region=row.region,
            saga_id=row.saga_id,
            waived=tuple(ClosingFact.model_validate(one) for one in row.waived),
            reason=row.reason,
            decider=decider,
            former=tuple(Former.model_validate(one) for one in row.former),
            deal=None if row.deal is None else RecordRef.parse(row.deal),
            deal_former=row.deal_former,
            closed_at=row.closed_at,
            reopen_saga_id=row.reopen_saga_id,
            reopened_because=row.reopened_because,
            reopened_at=row.reopened_at,
        )


def open_documents(rows: Iterable[DocumentRow]) -> tuple[OpenDocument, ...]:
    """Those that are begun and not issued."""
    return tuple(
        OpenDocument(
            key=row.key, kind=row.kind.value, state=row.state.value, net=row.net, saga_id=row.saga_id
        )
        for row in rows
        if row.state.value in _OPEN_DOCUMENTS
    )


def issued_invoices(rows: Iterable[DocumentRow]) -> list[DocumentRow]:
    """Invoices that the ERP has issued."""
    return [
        row
        for row in rows
        if (row.state, row.kind) == (DocumentState.ISSUED, DocumentKind.INVOICE) and row.record_id is not None
    ]
