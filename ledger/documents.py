"""Invoices from draft to issue, proven by reading back (rules 15, 16, 26, 38)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from canonical.invoicing import DocumentKind, DocumentState
from canonical.items import AllocationKind
from canonical.retainers import Movement
from ledger.billing_rows import DocumentRow
from ledger.core import unbroken
from ledger.document_rows import OPEN_STATES, Told, conflict, document_row, tell
from ledger.drafts import Drafts
from ledger.item_rows import items_by_id
from ledger.releases import GiveBack, Moves


class Documents(Drafts):
    """From draft to issue."""

    @unbroken
    async def record_draft(self, key: str, version: int, told: Told | None) -> DocumentRow:
        """The draft was read back (``told``), or needs none in this ERP: it may be reviewed.

        A draft whose lines changed meanwhile stays *drafting*: ask the ERP again.
        """
        async with self.transaction() as session:
            row = await self._document(session, key, lock=True)
            if row.state in (DocumentState.RELEASED, DocumentState.ISSUED, DocumentState.ABANDONED):
                return document_row(row)
            if told is not None:
                tell(row, told)
            row.applied = version
            if row.version == version:
                row.state = DocumentState.DRAFTED.value
            row.updated_at = self.now()
            session.add(row)
            return document_row(row)

    @unbroken
    async def release_document(self, key: str, version: int) -> DocumentRow:
        """Approved as it was shown: to be issued. From here on only issue and credit change it.

        Raises:
            Conflict: its lines changed since, or one was withdrawn (``drop_withdrawn``, draft again).
        """
        async with self.transaction() as session:
            row = await self._document(session, key, lock=True)
            if row.state in (DocumentState.RELEASED, DocumentState.ISSUED):
                return document_row(row)
            self._require(row, DocumentState.DRAFTED)
            parts = await self._document_parts(session, key)
            items = await items_by_id(session, (part.taken.item_id for part in parts), lock=True)
            gone = sorted(item.item_key for item in items.values() if item.withdrawn is not None)
            if row.version != version or gone:
                what = f"lines were withdrawn: {', '.join(gone[:3])}" if gone else "its lines changed"
                raise conflict(f"draft {key} cannot be released: {what}")
            row.state = DocumentState.RELEASED.value
            row.updated_at = self.now()
            session.add(row)
            return document_row(row)

    @unbroken
    async def hold_release(self, key: str) -> DocumentRow:
        """Back from *released* to *drafted*: the ERP refused to issue it and shows it as a draft."""
        async with self.transaction() as session:
            row = await self._document(session, key, lock=True)
            if row.state == DocumentState.RELEASED:
                row.state = DocumentState.DRAFTED.value
                row.updated_at = self.now()
                session.add(row)
            return document_row(row)

    @unbroken
    async def issue_document(
        self, key: str, told: Told, *, movements: Sequence[Movement] = ()
    ) -> DocumentRow:
        """The ERP reports it posted, read back: its lines are billed (rule 15).

        Args:
            key: the invoice.
            told: what the ERP shows.
            movements: advances of retainers that this invoice bills (rule 32).
        """
        async with self.transaction() as session:
            row = await self._document(session, key, lock=True)
            if row.state == DocumentState.ISSUED:
                return document_row(row)
            if row.state == DocumentState.ABANDONED:
                raise conflict(f"invoice {key} was abandoned and is posted in {row.target} all the same")
            parts = await self._document_parts(session, key)
            items = await items_by_id(session, (part.taken.item_id for part in parts), lock=True)
            moves = Moves()
            by_item: dict[int, int] = defaultdict(int)
            for part in parts:
                by_item[part.taken.item_id] += part.left_minor
            for item_id, minor in by_item.items():
                moves.sheet(items[item_id]).move("drafted", "billed", minor)
            moves.movements += list(movements)
            await self._apply(session, moves)
            row = await self._document(session, key, lock=True)
            tell(row, told)
            row.state = DocumentState.ISSUED.value
            row.applied = row.version
            row.issued_on = told.issued_on
            row.issued_at = row.updated_at = self.now()
            session.add(row)
            await session.flush()
            return document_row(row)

    @unbroken
    async def abandon_document(self, key: str, reason: str) -> DocumentRow:
        """Give all parts of a draft back: they are open again. Its number, if it had one, is a gap.

        Raises:
            Conflict: it is issued; only a credit takes it back.
        """
        async with self.transaction() as session:
            row = await self._document(session, key, lock=True)
            if row.state == DocumentState.ABANDONED:
                return document_row(row)
            self._require(row, *OPEN_STATES)
            if row.kind == DocumentKind.INVOICE:
                parts = await self._document_parts(session, key)
                moves = Moves()
                back = [GiveBack(part.taken.allocation_key) for part in parts]
                await self._give_back(session, moves, back, AllocationKind.RELEASED, reason=reason)
                await self._apply(session, moves)
                row = await self._document(session, key, lock=True)
            row.state = DocumentState.ABANDONED.value
            row.lines, row.net_minor = 0, 0
            row.reason = reason
            row.updated_at = self.now()
            session.add(row)
            await session.flush()
            return document_row(row)
