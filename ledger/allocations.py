"""Allocating open slices of items, and ending it: one transaction with the accounts they use (rule 1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.causes import Cause
from canonical.failures import Conflict
from canonical.items import AllocationKind, PlannedAllocation
from canonical.money import AmountRole, Money
from canonical.names import movement_key
from canonical.retainers import Movement, MovementKind
from ledger.billing_rows import AllocationRow
from ledger.core import unbroken
from ledger.item_rows import items_by_key
from ledger.releases import COLUMNS, GiveBack, Moves, Releases
from ledger.sheets import Sheet
from ledger.tables.allocation import Allocation
from ledger.tables.billable_item import BillableItem

_Later = aliased(Allocation)


class Allocations(Releases):
    """Taking and giving back."""

    @unbroken
    async def allocate(self, plans: Sequence[PlannedAllocation]) -> int:
        """Allocate open slices that stand on no document: holds, covers, write-downs.

        What goes on an invoice is allocated by ``fill_document``.

        Returns:
            How many allocations were made.

        Raises:
            Conflict: something is not open any more, or an account would be overdrawn (cause
                ``VERSION_CONFLICT``): decide again.
        """
        async with self.transaction() as session:
            moves = Moves()
            await self._plan(session, moves, plans)
            await self._apply(session, moves)
            return len(moves.rows)

    @unbroken
    async def release_held(
        self,
        *,
        causes: Iterable[Cause] | None = None,
        items: Iterable[str] | None = None,
        group_key: str | None = None,
        project_code: str | None = None,
        due_by: date | None = None,
        limit: int = 5_000,
    ) -> int:
        """End holds of parts: they are open again and are decided anew. Conditions narrow one another.

        Args:
            causes: only holds of these causes.
            items: only of these items, by key.
            group_key: only of this billing group.
            project_code: only of this project.
            due_by: only holds that come back by themselves up to that day (moved to a later cycle).
            limit: at most so many parts.

        Returns:
            How many parts were released; call again until it is 0.
        """
        async with self.transaction() as session:
            query = (
                select(Allocation)
                .join(BillableItem, col(BillableItem.id) == col(Allocation.item_id))
                .where(col(Allocation.kind) == AllocationKind.HELD)
            )
            if causes is not None:
                query = query.where(col(Allocation.cause).in_([cause.value for cause in causes]))
            if items is not None:
                query = query.where(col(BillableItem.item_key).in_(list(items)))
            if group_key is not None:
                query = query.where(col(BillableItem.group_key) == group_key)
            if project_code is not None:
                query = query.where(col(BillableItem.project_code) == project_code)
            if due_by is not None:
                query = query.where(col(Allocation.until) <= due_by)
            given = ~(
                select(1)
                .where(
                    col(_Later.item_id) == col(Allocation.item_id),
                    col(_Later.part) == col(Allocation.part),
                    col(_Later.release_no) > 0,
                )
                .exists()
            )
            found = list(await session.exec(query.where(given).order_by(col(Allocation.id)).limit(limit)))
            moves = Moves()
            await self._give_back(
                session, moves, [GiveBack(row.allocation_key) for row in found], AllocationKind.RELEASED
            )
            await self._apply(session, moves)
            return len(moves.rows)

    @unbroken
    async def allocations(self, item_key: str) -> list[AllocationRow]:
        """All allocations of an item, in the order in which they were made."""
        async with self.reading() as session:
            query = (
                select(Allocation)
                .join(BillableItem, col(BillableItem.id) == col(Allocation.item_id))
                .where(col(BillableItem.item_key) == item_key)
                .order_by(col(Allocation.id))
            )
            return [allocation_row(row) for row in await session.exec(query)]

    # --- taking -------------------------------------------------------------------------------------

    async def _plan(self, session: AsyncSession, moves: Moves, plans: Sequence[PlannedAllocation]) -> None:
        rows = await items_by_key(session, (plan.item_key for plan in plans), lock=True)
        for plan in plans:
            row = rows.get(plan.item_key)
            if row is None or row.withdrawn is not None or row.hold_cause is not None:
                raise Conflict(
                    f"{plan.item_key} is gone, withdrawn or held.",
                    cause=Cause.VERSION_CONFLICT,
                    system="ledger",
                    remedy="decide again without it",
                )
            self._take_part(moves, moves.sheet(row), plan)

    def _take_part(self, moves: Moves, sheet: Sheet, plan: PlannedAllocation) -> str:
        now = self.now()
        taken = sheet.take(plan.kind, plan.minutes, plan.amount.minor, now)
        key: str = taken["allocation_key"]
        billed = plan.billed
        moves.rows.append(
            {
                **taken,
                **COLUMNS,
                "billed_minor": billed.minor if billed is not None else None,
                "billed_currency": billed.currency if billed is not None else None,
                "document": plan.document,
                "cause": plan.cause.value if plan.cause is not None else None,
                "reason": plan.reason,
                "until": plan.until,
            }
        )
        moves.uses += [(key, use) for use in plan.uses]
        moves.movements += [
            Movement(
                key=movement_key(one.account, MovementKind.DRAWN.value, f"{key}/{one.lot}"),
                account=one.account,
                kind=MovementKind.DRAWN,
                lot=one.lot,
                on=sheet.row.work_date,
                amount=-one.amount,
                document=key,
            )
            for one in plan.draws
        ]
        return key


def allocation_row(row: Allocation) -> AllocationRow:
    """The frozen row."""
    billed = None
    if row.billed_minor is not None and row.billed_currency is not None:
        billed = Money.of_minor(row.billed_minor, row.billed_currency, AmountRole.BILLING)
    return AllocationRow(
        key=row.allocation_key,
        item_id=row.item_id,
        part=row.part,
        release_no=row.release_no,
        kind=AllocationKind(row.kind),
        minutes=row.minutes,
        amount=Money.of_minor(row.amount_minor, row.currency),
        left=Money.of_minor(row.left_minor, row.currency),
        left_minutes=row.left_minutes,
        billed=billed,
        document=row.document,
        cause=Cause(row.cause) if row.cause else None,
        reason=row.reason,
        until=row.until,
        at=row.at,
    )
