"""The unbilled balance: what lies there and why, and the lines that the ERP should have too (rule 37)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from sqlalchemy import exists, or_
from sqlalchemy import select as columns
from sqlalchemy.orm import aliased
from sqlmodel import col, func, select

from canonical.causes import Cause
from canonical.invoicing import DocumentState
from canonical.items import AllocationKind, BillingState, CostState
from canonical.money import Money
from canonical.unbilled import UnbilledGroup
from ledger.billing_rows import ItemRow
from ledger.core import unbroken
from ledger.item_rows import chunks, item_rows
from ledger.rows import Page
from ledger.settling import Settling
from ledger.tables.allocation import Allocation
from ledger.tables.billable_item import BillableItem
from ledger.tables.invoice_state import InvoiceState

READY, NOT_POSTED, DRAFTED = "ready", "not posted", "on a draft"
"""Reasons that are no causes: nobody has to do anything about them but the next run."""

_Later = aliased(Allocation)


class Unbilled(Settling):
    """Why approved work is not billed."""

    @unbroken
    async def unbilled_groups(
        self,
        *,
        legal_entity: str | None = None,
        project_code: str | None = None,
        contract_key: str | None = None,
        first: date | None = None,
        through: date | None = None,
        unplaced: bool = False,
    ) -> list[UnbilledGroup]:
        """Everything that is to be billed or posted and is not, grouped by why and by project.

        Held items count with all their minutes, and without an amount where they could not be priced. A split
        item counts with each of its parts under that part's reason. ``unplaced``: only what belongs to no
        entity yet, by the delivery system's project.
        """
        narrow: list[Any] = [col(BillableItem.current), col(BillableItem.withdrawn).is_(None)]
        for column, value in (
            (BillableItem.legal_entity, legal_entity),
            (BillableItem.project_code, project_code),
            (BillableItem.contract_key, contract_key),
        ):
            if value is not None:
                narrow.append(col(column) == value)
        if unplaced:
            narrow.append(col(BillableItem.legal_entity).is_(None))
        if first is not None:
            narrow.append(col(BillableItem.work_date) >= first)
        if through is not None:
            narrow.append(col(BillableItem.work_date) <= through)
        free = [*narrow, col(BillableItem.hold_cause).is_(None)]
        open_minor, minutes = col(BillableItem.open_minor), col(BillableItem.minutes)
        queries = {
            None: _grouped(
                minutes, open_minor, col(BillableItem.hold_since), reason=col(BillableItem.hold_cause)
            ).where(*narrow, col(BillableItem.hold_cause).is_not(None), _unfinished()),
            "parts": _grouped(
                col(Allocation.left_minutes),
                col(Allocation.left_minor),
                col(Allocation.at),
                reason=col(Allocation.cause),
            )
            .join(Allocation, col(Allocation.item_id) == col(BillableItem.id))
            .where(*narrow, col(Allocation.kind) == AllocationKind.HELD, ~_given_back()),
            NOT_POSTED: _grouped(minutes, open_minor, col(BillableItem.created_at)).where(
                *free, col(BillableItem.cost) == CostState.UNPOSTED
            ),
            READY: _grouped(col(BillableItem.open_minutes), open_minor, col(BillableItem.updated_at)).where(
                *free,
                col(BillableItem.cost) != CostState.UNPOSTED,
                col(BillableItem.billing) == BillingState.UNBILLED,
            ),
            DRAFTED: _grouped(
                minutes - col(BillableItem.open_minutes),
                col(BillableItem.drafted_minor),
                col(BillableItem.updated_at),
            ).where(*narrow, col(BillableItem.drafted_minor) != 0),
        }
        groups = []
        async with self.reading() as session:
            connection = await session.connection()
            for reason, query in queries.items():
                if unplaced:
                    query = query.add_columns(col(BillableItem.project)).group_by(col(BillableItem.project))
                groups += [_group(row, reason) for row in await connection.execute(query)]
        return sorted(groups, key=lambda one: (one.reason, one.project_code or "", one.contract_key or ""))

    @unbroken
    async def billed_once(self, items: Iterable[int]) -> set[int]:
        """Those of which a part is on an issued invoice, or was until a credit: for an ERP, which bills a
        posted line whole, they are billed.
        """
        found: set[int] = set()
        # A part that a review took off the draft before it was issued was never billed.
        taken_off = aliased(Allocation)
        never = exists().where(
            col(taken_off.item_id) == col(Allocation.item_id),
            col(taken_off.part) == col(Allocation.part),
            col(taken_off.kind) == AllocationKind.RELEASED,
            col(taken_off.left_minor) == 0,
        )
        async with self.reading() as session:
            for part in chunks(items):
                query = (
                    select(Allocation.item_id)
                    .join(InvoiceState, col(InvoiceState.document) == col(Allocation.document))
                    .where(
                        ~never,
                        col(Allocation.item_id).in_(part),
                        col(Allocation.kind) == AllocationKind.BILLED,
                        col(InvoiceState.state) == DocumentState.ISSUED,
                    )
                )
                found |= set(await session.exec(query.distinct()))
        return found

    @unbroken
    async def open_in_erp(
        self, legal_entity: str, currency: str, through: date, *, after: int = 0, limit: int = 2_000
    ) -> Page[ItemRow]:
        """Posted items that the ERP should have unbilled: the lines behind the balance as it is now."""
        query = (
            select(BillableItem)
            .where(
                col(BillableItem.id) > after,
                *in_erp_balance(legal_entity),
                col(BillableItem.currency) == currency,
                col(BillableItem.work_date) <= through,
                or_(
                    col(BillableItem.open_minor) != 0,
                    col(BillableItem.held_minor) != 0,
                    col(BillableItem.drafted_minor) != 0,
                ),
            )
            .order_by(col(BillableItem.id))
            .limit(limit)
        )
        async with self.reading() as session:
            rows = list(await session.exec(query))
            return Page(rows=item_rows(rows), cursor=rows[-1].id if rows and len(rows) == limit else None)


def in_erp_balance(legal_entity: str) -> list[Any]:
    """What the ERP's own unbilled balance of an entity consists of now."""
    return [
        col(BillableItem.legal_entity) == legal_entity,
        col(BillableItem.cost) == CostState.POSTED,
        col(BillableItem.entered_erp),
    ]


def _grouped(minutes: Any, minor: Any, since: Any, *, reason: Any = None) -> Any:
    """Sums per place; ``reason`` is a column where it differs by row."""
    keys = [
        col(BillableItem.legal_entity),
        col(BillableItem.project_code),
        col(BillableItem.contract_key),
        col(BillableItem.currency),
        *([reason] if reason is not None else []),
    ]
    figures = (func.count(), func.sum(minutes), func.sum(minor), func.min(since))
    return columns(*keys, *figures).group_by(*keys)


def _unfinished() -> Any:
    return or_(
        col(BillableItem.cost) == CostState.UNPOSTED,
        col(BillableItem.cost) == CostState.REVERSED,
        col(BillableItem.billing).in_((BillingState.UNBILLED, BillingState.HELD)),
    )


def _given_back() -> Any:
    return (
        select(1)
        .where(
            col(_Later.item_id) == col(Allocation.item_id),
            col(_Later.part) == col(Allocation.part),
            col(_Later.release_no) > 0,
        )
        .exists()
    )


def _group(row: Any, named: str | None) -> UnbilledGroup:
    entity, project, contract, currency, *rest = row
    reason = named if named in (READY, NOT_POSTED, DRAFTED) else rest.pop(0)
    items, minutes, minor, since, *delivery = rest
    return UnbilledGroup(
        reason=str(reason),
        cause=Cause(reason) if reason in Cause.__members__ else None,
        legal_entity=entity,
        project_code=project,
        contract_key=contract,
        project=delivery[0] if delivery else None,
        items=items,
        minutes=int(minutes or 0),
        amount=Money.of_minor(int(minor or 0), currency) if currency else None,
        since=since,
    )
