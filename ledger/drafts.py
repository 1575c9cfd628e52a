"""Draft invoices: reserved lines, and what review and withdrawals make of them (rules 24, 25)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.failures import Defect
from canonical.invoicing import BillingGroup, DocumentKind, DocumentState
from canonical.items import AllocationKind, PlannedAllocation
from canonical.money import AmountRole, Money
from canonical.names import invoice_key
from ledger.allocations import Allocations, allocation_row
from ledger.billing_rows import DocumentLine, DocumentRow
from ledger.core import unbroken
from ledger.document_rows import OPEN_STATES, OURS, conflict, document_row
from ledger.item_rows import chunks, item_row, items_by_id
from ledger.releases import GiveBack, Moves
from ledger.sheets import Part, parts_of
from ledger.tables.allocation import Allocation
from ledger.tables.billable_item import BillableItem
from ledger.tables.invoice_state import InvoiceState


@dataclass(frozen=True)
class PartChange:
    """What a review makes of a line: it leaves the draft, and these slices take its place."""

    allocation_key: str
    slices: tuple[PlannedAllocation, ...]


class Drafts(Allocations):
    """Invoices while their lines may change."""

    @unbroken
    async def open_document(
        self,
        group: BillingGroup,
        group_key: str,
        cycle: str,
        *,
        target: str,
        region: str,
        saga_id: str,
        on: date,
    ) -> DocumentRow:
        """The open invoice of a group and cycle; a new one, with the next sequence, where there is none.

        Args:
            group: what it collects.
            group_key: ``canonical.names.billing_group_key`` of it.
            cycle: key of the cycle.
            target: ERP instance.
            region: the partition.
            saga_id: who drafts it.
            on: invoice date.
        """
        async with self.transaction() as session:
            await self.lock(session, f"group:{group_key}|{cycle}")
            query = select(InvoiceState).where(
                col(InvoiceState.group_key) == group_key,
                col(InvoiceState.cycle) == cycle,
                col(InvoiceState.kind) == DocumentKind.INVOICE,
            )
            rows = list(await session.exec(query))
            existing = next((row for row in rows if row.state in OPEN_STATES), None)
            if existing is not None:
                return document_row(existing)
            sequence = 1 + max((row.sequence for row in rows), default=0)
            row = InvoiceState(
                document=invoice_key(group_key, cycle, sequence),
                target=target,
                kind=DocumentKind.INVOICE.value,
                state=DocumentState.DRAFTING.value,
                group_key=group_key,
                billing_group=group.model_dump(mode="json"),
                cycle=cycle,
                sequence=sequence,
                region=region,
                legal_entity=group.seller,
                saga_id=saga_id,
                currency=group.currency,
                on_day=on,
                created_at=self.now(),
                updated_at=self.now(),
            )
            session.add(row)
            await session.flush()
            return document_row(row)

    @unbroken
    async def document(self, key: str) -> DocumentRow | None:
        """A document by key."""
        async with self.reading() as session:
            row = (await session.exec(select(InvoiceState).where(col(InvoiceState.document) == key))).first()
            return None if row is None else document_row(row)

    @unbroken
    async def documents(
        self,
        *,
        group_key: str | None = None,
        corrects: str | None = None,
        states: Sequence[DocumentState] = (),
        kind: DocumentKind | None = None,
        saga_id: str | None = None,
    ) -> list[DocumentRow]:
        """Documents that meet all conditions, oldest first."""
        query = select(InvoiceState)
        for column, value in (
            (InvoiceState.group_key, group_key),
            (InvoiceState.corrects, corrects),
            (InvoiceState.kind, kind),
            (InvoiceState.saga_id, saga_id),
        ):
            if value is not None:
                query = query.where(col(column) == value)
        if states:
            query = query.where(col(InvoiceState.state).in_([state.value for state in states]))
        async with self.reading() as session:
            return [document_row(row) for row in await session.exec(query.order_by(col(InvoiceState.id)))]

    @unbroken
    async def invoiced_cycles(self, group_key: str) -> frozenset[str]:
        """Cycles of a group that have an issued invoice: what arrives for them now is late (rule 25)."""
        query = select(InvoiceState.cycle).where(
            col(InvoiceState.group_key) == group_key,
            col(InvoiceState.kind) == DocumentKind.INVOICE,
            col(InvoiceState.state) == DocumentState.ISSUED,
        )
        async with self.reading() as session:
            return frozenset(await session.exec(query.distinct()))

    @unbroken
    async def document_lines(self, key: str) -> list[DocumentLine]:
        """The live lines of an invoice with their items, by work date and source."""
        async with self.reading() as session:
            parts = await self._document_parts(session, key)
            items = await items_by_id(session, (part.taken.item_id for part in parts))
            row = await self._document(session, key)
            later, again = await self._billed_before(session, parts)
            lines = [
                DocumentLine(
                    allocation=allocation_row(part.taken).model_copy(
                        update={
                            "minutes": part.left_minutes,
                            "amount": Money.of_minor(part.left_minor, part.taken.currency),
                        }
                    ),
                    item=item_row(items[part.taken.item_id]),
                    billed=Money.of_minor(part.left_billed, row.currency, AmountRole.BILLING),
                    first=part.taken.allocation_key not in later,
                    again=part.taken.allocation_key in again,
                )
                for part in parts
            ]
            return sorted(
                lines, key=lambda line: (line.item.work_date, line.item.source, line.allocation.part)
            )

    # --- filling and changing -----------------------------------------------------------------------

    @unbroken
    async def fill_document(
        self, key: str, plans: Sequence[PlannedAllocation], *, command_id: str
    ) -> DocumentRow:
        """Put what the rules decided on a draft, and the holds and covers decided with it.

        The same ``command_id`` again changes nothing: what was decided then stands. A draft that ends without
        a line is abandoned.

        Raises:
            Conflict: decide again (cause ``VERSION_CONFLICT``).
        """
        async with self.transaction() as session:
            row = await self._document(session, key, lock=True)
            if row.last_command == command_id:
                return document_row(row)
            self._require(row, *OURS)
            moves = Moves()
            await self._plan(session, moves, plans)
            await self._apply(session, moves)
            return await self._changed(session, key, command_id)

    @unbroken
    async def change_document(
        self, key: str, changes: Sequence[PartChange], *, command_id: str, expected_version: int | None = None
    ) -> DocumentRow:
        """Carry out a review (rule 24): lines leave the draft and are held, written down or kept in part.

        Args:
            key: the draft.
            changes: lines and what takes their place; their slices add up to the line.
            command_id: the same again changes nothing.
            expected_version: the version the reviewer looked at; a newer one refuses.

        Raises:
            Conflict: the draft was changed or is released already.
        """
        async with self.transaction() as session:
            row = await self._document(session, key, lock=True)
            if row.last_command == command_id:
                return document_row(row)
            self._require(row, *OURS)
            if expected_version is not None and row.version != expected_version:
                raise conflict(f"draft {key} is at version {row.version}, not {expected_version}")
            moves = Moves()
            freed = await self._give_back(
                session,
                moves,
                [GiveBack(change.allocation_key) for change in changes],
                AllocationKind.RELEASED,
                reason="review",
            )
            by_key = {part.taken.allocation_key: (sheet, columns) for sheet, part, columns in freed}
            for change in changes:
                if change.allocation_key not in by_key:
                    raise conflict(f"{change.allocation_key} is not on draft {key} any more")
                sheet, columns = by_key[change.allocation_key]
                if sum(one.amount.minor for one in change.slices) != -columns["amount_minor"]:
                    raise Defect(
                        f"{change.allocation_key}: the parts do not add up to the line", system="ledger"
                    )
                for plan in change.slices:
                    self._take_part(moves, sheet, plan)
            await self._apply(session, moves)
            return await self._changed(session, key, command_id)

    @unbroken
    async def drop_withdrawn(self, key: str) -> int:
        """Take lines whose source was withdrawn off a draft; answers how many. Called before release."""
        async with self.transaction() as session:
            row = await self._document(session, key, lock=True)
            if row.state not in OURS:
                return 0
            parts = await self._document_parts(session, key)
            items = await items_by_id(session, (part.taken.item_id for part in parts))
            gone = [
                GiveBack(part.taken.allocation_key)
                for part in parts
                if items[part.taken.item_id].withdrawn is not None
            ]
            if not gone:
                return 0
            moves = Moves()
            await self._give_back(session, moves, gone, AllocationKind.RELEASED, reason="withdrawn")
            await self._apply(session, moves)
            await self._changed(session, key, None)
            return len(gone)

    async def _changed(self, session: AsyncSession, key: str, command_id: str | None) -> DocumentRow:
        """Count a draft's lines anew and raise its version."""
        parts = await self._document_parts(session, key)
        row = await self._document(session, key, lock=True)
        row.version += 1
        row.lines = len(parts)
        row.net_minor = sum(part.left_billed for part in parts)
        row.last_command = command_id or row.last_command
        row.updated_at = self.now()
        if not parts:
            row.state = DocumentState.ABANDONED.value
        elif row.state == DocumentState.DRAFTED:
            row.state = DocumentState.DRAFTING.value
        session.add(row)
        await session.flush()
        return document_row(row)

    # --- withdrawing ---------------------------------------------------------------------------------

    async def _withdraw_amounts(
        self, session: AsyncSession, rows: Sequence[BillableItem], reason: str
    ) -> None:
        """Nothing of these items is to be billed any more: end holds, give back draws, leave open drafts, and
        withdraw all that is open then. What is on issued or released invoices stays, to be credited.
        """
        moves = Moves()
        parts = await self._parts(session, [row.id or 0 for row in rows])
        open_drafts = await self._open_drafts(
            session, {part.taken.document for part in parts.values() if part.taken.document}
        )
        back, drafts = [], set()
        for part in parts.values():
            document = part.taken.document
            loose = part.kind in (AllocationKind.HELD, AllocationKind.COVERED)
            drafted = part.kind is AllocationKind.BILLED and document in open_drafts
            if part.is_live and (loose or drafted):
                back.append(GiveBack(part.taken.allocation_key))
                if drafted and document is not None:
                    drafts.add(document)
        if back:
            await self._give_back(session, moves, back, AllocationKind.RELEASED, reason=reason)
        for row in rows:
            sheet = moves.sheet(row)
            if row.currency is None or not (sheet.amounts["open"] or sheet.open_minutes):
                continue
            plan = PlannedAllocation(
                item_key=row.item_key,
                kind=AllocationKind.WITHDRAWN,
                minutes=sheet.open_minutes,
                amount=Money.of_minor(sheet.amounts["open"], row.currency),
                reason=reason,
            )
            self._take_part(moves, sheet, plan)
        await self._apply(session, moves)
        for key in sorted(drafts):
            await self._changed(session, key, None)

    # --- reading ------------------------------------------------------------------------------------

    async def _document(self, session: AsyncSession, key: str, *, lock: bool = False) -> InvoiceState:
        query = select(InvoiceState).where(col(InvoiceState.document) == key)
        if lock:
            query = query.with_for_update().execution_options(populate_existing=True)
        row = (await session.exec(query)).first()
        if row is None:
            raise Defect(f"document {key} is not known", system="ledger", key=key)
        return row

    async def _document_parts(self, session: AsyncSession, key: str) -> list[Part]:
        """What is left on a document, part by part."""
        of_document = select(Allocation.item_id).where(col(Allocation.document) == key)
        query = select(Allocation).where(col(Allocation.item_id).in_(of_document))
        rows = list(await session.exec(query.order_by(col(Allocation.id))))
        return [
            part
            for part in parts_of(rows).values()
            if part.taken.document == key and part.kind is AllocationKind.BILLED and part.is_live
        ]

    async def _billed_before(self, session: AsyncSession, parts: Sequence[Part]) -> tuple[set[str], set[str]]:
        """Keys of those parts of whose item an earlier part is on an invoice, or was until it was credited;
        and of those with a credited one. What a review took off a draft again never was.
        """
        several = [part.taken for part in parts if part.taken.part > 1]
        if not several:
            return set(), set()
        earlier: dict[int, int] = {}
        credited: dict[int, int] = {}
        others = await self._parts(session, {row.item_id for row in several})
        abandoned = await self._abandoned(session, {part.taken.document or "" for part in others.values()})
        for (item_id, number), part in others.items():
            if part.kind is not AllocationKind.BILLED or part.taken.document in abandoned:
                continue
            if part.is_live or part.credited:
                earlier[item_id] = min(number, earlier.get(item_id, number))
            if part.credited:
                credited[item_id] = min(number, credited.get(item_id, number))
        before, again = (
            {row.allocation_key for row in several if found.get(row.item_id, row.part) < row.part}
            for found in (earlier, credited)
        )
        return before, again

    async def _abandoned(self, session: AsyncSession, documents: Iterable[str]) -> set[str]:
        found: set[str] = set()
        for keys in chunks(sorted(set(documents))):
            query = select(InvoiceState.document).where(
                col(InvoiceState.document).in_(keys), col(InvoiceState.state) == DocumentState.ABANDONED
            )
            found |= set(await session.exec(query))
        return found

    def _require(self, row: InvoiceState, *states: DocumentState) -> None:
        if row.state not in states:
            raise conflict(f"document {row.document} is {row.state}")
