"""Credits of issued invoices: proposed, decided, issued; one at a time per invoice (rule 39).

A credited part is free only when the credit memo is read back: until then it stays on its invoice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import text, union_all
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.causes import Cause
from canonical.failures import Defect
from canonical.invoicing import CreditProposal, DocumentKind, DocumentState, Freed
from canonical.items import AllocationKind, ItemKind, PlannedAllocation
from canonical.money import AmountRole, Money
from ledger.allocations import allocation_row
from ledger.billing_rows import DocumentLine, DocumentRow, ItemRow
from ledger.core import unbroken
from ledger.document_rows import OPEN_STATES, OURS, Told, conflict, document_row, tell
from ledger.documents import Documents
from ledger.item_rows import item_row, items_by_key
from ledger.releases import GiveBack, Moves
from ledger.sheets import Part
from ledger.tables.billable_item import TO_CREDIT, BillableItem
from ledger.tables.invoice_state import InvoiceState

_TAKEN_AS = {
    Freed.HELD: AllocationKind.HELD,
    Freed.WRITTEN_OFF: AllocationKind.WRITTEN_OFF,
    Freed.WITHDRAWN: AllocationKind.WITHDRAWN,
}
"""What becomes of a freed part; what is billed again stays open."""


class Credits(Documents):
    """Credits, and what replaces what was billed."""

    @unbroken
    async def billed_lines(
        self, item_keys: Iterable[str] | None = None, *, withdrawn: bool = False, limit: int = 5_000
    ) -> list[DocumentLine]:
        """What of items is on issued invoices and not credited, part by part.

        Args:
            item_keys: of these items.
            withdrawn: of all items whose source was withdrawn, and of milestones that were re-opened: what a
                credit must be proposed for. Those whose invoice has a credit under way are left out, and
                those for which somebody has decided that the invoice stands.
            limit: at most so many items, oldest first.
        """
        query = select(BillableItem).where(col(BillableItem.billed_minor) != 0)
        if item_keys is not None:
            query = query.where(col(BillableItem.item_key).in_(list(item_keys)))
        if withdrawn:
            gone = select(BillableItem.id).where(text(TO_CREDIT))
            reopened = select(BillableItem.id).where(
                col(BillableItem.kind) == ItemKind.MILESTONE,
                col(BillableItem.hold_cause).in_(
                    (Cause.MILESTONE_NOT_COMPLETE, Cause.MILESTONE_NOT_ACCEPTED)
                ),
            )
            # One after another, so that each finds its index: there are few of either among many items.
            query = query.where(col(BillableItem.id).in_(union_all(gone, reopened)))
        async with self.reading() as session:
            items = {
                row.id or 0: row
                for row in await session.exec(query.order_by(col(BillableItem.id)).limit(limit))
            }
            parts = await self._parts(session, items)
            issued = await self._issued(
                session, {part.taken.document for part in parts.values() if part.taken.document}
            )
            under_way, standing = await self._decided(session) if withdrawn else (set(), set())
            lines = []
            for part in parts.values():
                taken = part.taken
                if part.kind is not AllocationKind.BILLED or not part.is_live or taken.document not in issued:
                    continue
                if taken.document in under_way or taken.allocation_key in standing:
                    continue
                lines.append(billed_line(item_row(items[taken.item_id]), part))
            return sorted(lines, key=lambda line: (line.item.id, line.allocation.part))

    async def _decided(self, session: AsyncSession) -> tuple[set[str | None], set[str]]:
        """Invoices with a credit under way, and lines of which the invoice stands by decision."""
        query = select(InvoiceState).where(col(InvoiceState.kind) == DocumentKind.CREDIT)
        under_way: set[str | None] = set()
        standing: set[str] = set()
        for row in await session.exec(query.where(col(InvoiceState.state) != DocumentState.ISSUED)):
            if row.state in OPEN_STATES:
                under_way.add(row.corrects)
            else:
                proposal = CreditProposal.model_validate(row.proposal)
                standing |= {part.allocation_key for part in proposal.parts}
        return under_way, standing

    @unbroken
    async def propose_credit(self, proposal: CreditProposal, *, saga_id: str) -> DocumentRow:
        """Keep a credit to be decided. The same proposal again is the same document.

        Raises:
            Conflict: another credit of the invoice is under way.
        """
        async with self.transaction() as session:
            await self.lock(session, f"credit:{proposal.invoice_key}")
            invoice = await self._document(session, proposal.invoice_key, lock=True)
            if invoice.state != DocumentState.ISSUED:
                raise Defect(f"invoice {proposal.invoice_key} is not issued", system="ledger")
            query = select(InvoiceState).where(col(InvoiceState.corrects) == proposal.invoice_key)
            others = list(await session.exec(query))
            same = next((row for row in others if row.document == proposal.key), None)
            if same is not None:
                return document_row(same)
            if any(row.state in OPEN_STATES for row in others):
                raise conflict(f"a credit of invoice {proposal.invoice_key} is under way")
            row = InvoiceState(
                document=proposal.key,
                target=invoice.target,
                kind=DocumentKind.CREDIT.value,
                state=DocumentState.DRAFTING.value,
                group_key=invoice.group_key,
                billing_group=invoice.billing_group,
                cycle=invoice.cycle,
                sequence=len(others) + 1,
                corrects=proposal.invoice_key,
                region=invoice.region,
                legal_entity=invoice.legal_entity,
                saga_id=saga_id,
                lines=len(proposal.parts),
                net_minor=proposal.net.minor,
                currency=invoice.currency,
                on_day=self.now().date(),
                proposal=proposal.model_dump(mode="json"),
                reason=proposal.reason,
                created_at=self.now(),
                updated_at=self.now(),
            )
            session.add(row)
            await session.flush()
            return document_row(row)

    @unbroken
    async def approve_credit(self, proposal: CreditProposal) -> DocumentRow:
        """Approved, with the approver's choice in the proposal: to be issued."""
        async with self.transaction() as session:
            row = await self._document(session, proposal.key, lock=True)
            if row.state in (DocumentState.RELEASED, DocumentState.ISSUED):
                return document_row(row)
            self._require(row, *OURS)
            row.proposal = proposal.model_dump(mode="json")
            row.lines, row.net_minor = len(proposal.parts), proposal.net.minor
            row.state = DocumentState.RELEASED.value
            row.updated_at = self.now()
            session.add(row)
            return document_row(row)

    @unbroken
    async def issue_credit(self, key: str, told: Told) -> DocumentRow:
        """The credit memo is read back: its parts are credited and go where the approver said. What they used
        of caps is free again.

        Raises:
            Conflict: a part has less left on its invoice than is credited.
        """
        async with self.transaction() as session:
            row = await self._document(session, key, lock=True)
            if row.state == DocumentState.ISSUED:
                return document_row(row)
            self._require(row, DocumentState.RELEASED)
            proposal = CreditProposal.model_validate(row.proposal)
            moves = Moves()
            back = [
                GiveBack(
                    part.allocation_key,
                    minutes=part.minutes,
                    minor=part.amount.minor,
                    billed_minor=part.billed.minor,
                )
                for part in proposal.parts
            ]
            freed = await self._give_back(
                session, moves, back, AllocationKind.CREDITED, document=key, reason=proposal.reason
            )
            by_key = {part.taken.allocation_key: sheet for sheet, part, _ in freed}
            for credited in proposal.parts:
                sheet = by_key.get(credited.allocation_key)
                if sheet is None:
                    raise conflict(f"{credited.allocation_key} has nothing left on {proposal.invoice_key}")
                # A source that is gone leaves nothing to bill, whatever was chosen.
                gone = sheet.row.withdrawn is not None
                kind = _TAKEN_AS.get(Freed.WITHDRAWN if gone else credited.proposed)
                if kind is not None:
                    self._take_part(
                        moves,
                        sheet,
                        PlannedAllocation(
                            item_key=credited.item_key,
                            kind=kind,
                            minutes=credited.minutes,
                            amount=credited.amount,
                            document=key,
                            cause=Cause.CREDITED_ON_HOLD if kind is AllocationKind.HELD else None,
                            reason=proposal.reason,
                        ),
                    )
            await self._apply(session, moves)
            row = await self._document(session, key, lock=True)
            tell(row, told)
            row.state = DocumentState.ISSUED.value
            row.issued_on = told.issued_on
            row.issued_at = row.updated_at = self.now()
            session.add(row)
            await session.flush()
            return document_row(row)

    @unbroken
    async def keep_billed(self, replacements: Sequence[str], invoice_key: str, reason: str) -> int:
        """The approver lets an invoice stand although lines of it were replaced: the replacements are covered
        by what is billed, and are not billed themselves.

        Returns:
            How many were open.
        """
        async with self.transaction() as session:
            rows = await items_by_key(session, replacements, lock=True)
            moves = Moves()
            for row in rows.values():
                sheet = moves.sheet(row)
                if row.currency is None or not (sheet.amounts["open"] or sheet.open_minutes):
                    continue
                plan = PlannedAllocation(
                    item_key=row.item_key,
                    kind=AllocationKind.COVERED,
                    minutes=sheet.open_minutes,
                    amount=Money.of_minor(sheet.amounts["open"], row.currency),
                    document=invoice_key,
                    reason=reason,
                )
                self._take_part(moves, sheet, plan)
            await self._apply(session, moves)
            return len(moves.rows)


def billed_line(item: ItemRow, part: Part) -> DocumentLine:
    """What is left of a part on its invoice."""
    taken = part.taken
    return DocumentLine(
        allocation=allocation_row(taken).model_copy(
            update={
                "minutes": part.left_minutes,
                "amount": Money.of_minor(part.left_minor, taken.currency),
            }
        ),
        item=item,
        billed=Money.of_minor(part.left_billed, taken.billed_currency or taken.currency, AmountRole.BILLING),
    )
