"""What can be billed now: due groups, and the open items of one (rule 25)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from sqlalchemy import func, or_
from sqlalchemy import select as columns
from sqlmodel import col, select

from canonical.causes import Cause
from canonical.invoicing import BillingGroup
from canonical.items import BillingState, CostState, ItemKind
from canonical.names import retainer_account
from ledger.billing_rows import DueDay, DueGroupRow, ItemRow
from ledger.core import unbroken
from ledger.item_rows import item_rows, items_by_id, read_items
from ledger.items import Items
from ledger.tables.billable_item import BillableItem


class Selection(Items):
    """Selecting for invoices."""

    @unbroken
    async def due_groups(
        self, erp: str, through: date, *, after: str = "", limit: int = 200
    ) -> list[DueGroupRow]:
        """Billing groups with something that can be billed up to a day, by key, with the days of it."""
        async with self.reading() as session:
            keys_query = (
                select(BillableItem.group_key)
                .where(*_billable(through), col(BillableItem.erp) == erp, col(BillableItem.group_key) > after)
                .group_by(col(BillableItem.group_key))
                .order_by(col(BillableItem.group_key))
                .limit(limit)
            )
            keys = [key for key in await session.exec(keys_query) if key]
            if not keys:
                return []
            query = (
                columns(
                    col(BillableItem.group_key),
                    col(BillableItem.contract_key),
                    col(BillableItem.work_date),
                    col(BillableItem.kind),
                    func.count(),
                    func.min(BillableItem.id),
                )
                .where(*_billable(through), col(BillableItem.group_key).in_(keys))
                .group_by(
                    col(BillableItem.group_key),
                    col(BillableItem.contract_key),
                    col(BillableItem.work_date),
                    col(BillableItem.kind),
                )
                .order_by(col(BillableItem.group_key), col(BillableItem.work_date))
            )
            days: dict[str, list[DueDay]] = {}
            samples: dict[str, int] = {}
            found = await (await session.connection()).execute(query)
            for key, contract, day, kind, count, sample in found:
                days.setdefault(key or "", []).append(
                    DueDay(contract_key=contract or "", day=day, kind=ItemKind(kind), items=count)
                )
                samples[key or ""] = sample or 0
            rows = await items_by_id(session, samples.values())
            return [
                DueGroupRow(
                    group_key=key,
                    group=BillingGroup.model_validate(rows[samples[key]].billing_group),
                    days=tuple(own),
                )
                for key, own in sorted(days.items())
            ]

    @unbroken
    async def billable_items(
        self, group_key: str, through: date, *, days: Iterable[date] | None = None, limit: int = 50_000
    ) -> list[ItemRow]:
        """What can be billed of a group now, by work date and source: approved, posted (or without cost of
        its own), not held, not withdrawn, open.

        Replacements of something that is still on an issued invoice are left out: they wait for its credit.

        Args:
            group_key: the billing group.
            through: cutoff day, included.
            days: only these days: those that belong to the cycle.
            limit: most items of one invoice.
        """
        query = select(BillableItem).where(*_billable(through), col(BillableItem.group_key) == group_key)
        if days is not None:
            query = query.where(col(BillableItem.work_date).in_(sorted(set(days))))
        async with self.reading() as session:
            ordered = query.order_by(col(BillableItem.work_date), col(BillableItem.source)).limit(limit)
            return list(item_rows(await read_items(session, ordered)))

    @unbroken
    async def pending_advances(self, contracts: Iterable[str]) -> dict[str, date]:
        """By retainer account, the first period whose advance is not on an issued invoice yet: work from its
        first day on waits for it.
        """
        query = (
            columns(
                col(BillableItem.contract_key),
                col(BillableItem.line_key),
                func.min(BillableItem.work_date),
            )
            .where(
                col(BillableItem.contract_key).in_(sorted(set(contracts))),
                col(BillableItem.kind) == ItemKind.RETAINER_PERIOD,
                col(BillableItem.withdrawn).is_(None),
                col(BillableItem.open_minor) + col(BillableItem.held_minor) + col(BillableItem.drafted_minor)
                != 0,
            )
            .group_by(col(BillableItem.contract_key), col(BillableItem.line_key))
        )
        async with self.reading() as session:
            rows = await (await session.connection()).execute(query)
            return {retainer_account(contract or "", line or ""): day for contract, line, day in rows}

    @unbroken
    async def first_to_draw(self, contract_key: str, line_key: str) -> date | None:
        """The first day of work that may still draw on a retainer: not posted yet, held, or open.

        What its balance did not cover, and what lies before the opening position, draws nothing any more.
        """
        query = columns(func.min(BillableItem.work_date)).where(
            col(BillableItem.contract_key) == contract_key,
            col(BillableItem.line_key) == line_key,
            col(BillableItem.kind) == ItemKind.TIME,
            col(BillableItem.current),
            col(BillableItem.withdrawn).is_(None),
            col(BillableItem.billable),
            or_(
                col(BillableItem.hold_cause).is_not(None)
                & (col(BillableItem.hold_cause) != Cause.BEFORE_OPENING_POSITION.value),
                col(BillableItem.hold_cause).is_(None)
                & ((col(BillableItem.cost) == CostState.UNPOSTED) | (col(BillableItem.open_minor) != 0)),
            ),
        )
        async with self.reading() as session:
            found: date | None = (await (await session.connection()).execute(query)).scalar()
            return found


def _billable(through: date) -> list[Any]:
    replaced = BillableItem.__table__.alias("replaced")  # type: ignore[attr-defined]
    waits_for_credit = (
        select(1)
        .where(replaced.c.item_key == col(BillableItem.replaces), replaced.c.billed_minor != 0)
        .exists()
    )
    return [
        col(BillableItem.billing) == BillingState.UNBILLED,
        col(BillableItem.currency).is_not(None),
        col(BillableItem.placed),
        col(BillableItem.approved),
        col(BillableItem.hold_cause).is_(None),
        col(BillableItem.withdrawn).is_(None),
        col(BillableItem.cost).in_((CostState.POSTED, CostState.NOT_APPLICABLE)),
        col(BillableItem.work_date) <= through,
        ~waits_for_credit,
    ]
