"""Between the item table and its frozen rows, and what an item's state follows from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.engagement import BillingMethod
from canonical.items import (
    BillingState,
    CostState,
    FeeItem,
    Hold,
    ItemKind,
    Placement,
    Price,
    SourceLine,
)
from canonical.money import Money
from ledger.billing_rows import ItemRow
from ledger.tables.billable_item import BillableItem

IN_LIST = 5_000
"""Values of one IN list: both databases allow some 32,000."""


def chunks(values: Iterable[Any], size: int = IN_LIST) -> Iterable[list[Any]]:
    """Values in lists of at most ``size``."""
    every = list(values)
    return [every[start : start + size] for start in range(0, len(every), size)]


async def items_by_id(
    session: AsyncSession, ids: Iterable[int], *, lock: bool = False
) -> dict[int, BillableItem]:
    """Items by id; locked until the transaction ends, in the order of their ids, with ``lock``."""
    return await _by(session, BillableItem.id, ids, lock)


async def items_by_key(
    session: AsyncSession, keys: Iterable[str], *, lock: bool = False
) -> dict[str, BillableItem]:
    """As ``items_by_id``, by item key."""
    found = await _by(session, BillableItem.item_key, keys, lock)
    return {row.item_key: row for row in found.values()}


async def _by(
    session: AsyncSession, column: Any, values: Iterable[Any], lock: bool
) -> dict[int, BillableItem]:
    found: dict[int, BillableItem] = {}
    for part in chunks(sorted(set(values))):
        query = select(BillableItem).where(col(column).in_(part)).order_by(col(BillableItem.id))
        if lock:
            query = query.with_for_update().execution_options(populate_existing=True)
        found |= {row.id or 0: row for row in await session.exec(query)}
    return found


async def change_items(session: AsyncSession, changes: Iterable[Mapping[str, Any]]) -> None:
    """Change columns of many items; every change names its ``row_id``. One statement per set of columns.

    Rows that the session holds already are let go: they show what was.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for change in changes:
        groups.setdefault(tuple(sorted(change)), []).append(change)
    await session.flush()
    connection = await session.connection()
    table = BillableItem.__table__  # type: ignore[attr-defined]
    for names, rows in groups.items():
        values: dict[str, Any] = {name: bindparam(name) for name in names if name != "row_id"}
        statement = update(table).where(table.c.id == bindparam("row_id")).values(values)
        await connection.execute(statement, [dict(row) for row in rows])
    session.expunge_all()


def is_used(row: BillableItem) -> bool:
    """Whether anything of it was ever allocated and not all given back."""
    return row.priced_minor != row.open_minor or (row.parts > 0 and row.open_minutes != row.minutes)


def item_row(row: BillableItem) -> ItemRow:
    """The frozen row."""
    kind = ItemKind(row.kind)
    return ItemRow(
        id=row.id or 0,
        key=row.item_key,
        kind=kind,
        source=row.source,
        revision=row.revision,
        region=row.region,
        psa=row.psa,
        erp=row.erp,
        contract_key=row.contract_key,
        line_key=row.line_key,
        project_code=row.project_code,
        legal_entity=row.legal_entity,
        employing_entity=row.employing_entity,
        work_date=row.work_date,
        posting_date=row.posting_date,
        minutes=row.minutes,
        approved=row.approved,
        current=row.current,
        replaces=row.replaces,
        cost=CostState(row.cost),
        billing=BillingState(row.billing),
        method=BillingMethod(row.method) if row.method else None,
        placed=row.placed,
        unbilled_in_erp=row.unbilled_in_erp,
        hold=Hold.model_validate(row.hold) if row.hold else None,
        withdrawn=row.withdrawn,
        priced=_money(row, row.priced_minor),
        open=_money(row, row.open_minor),
        held=_money(row, row.held_minor),
        drafted=_money(row, row.drafted_minor),
        billed=_money(row, row.billed_minor),
        open_minutes=row.open_minutes,
        limit=_money(row, row.limit_minor) if row.limit_minor is not None else None,
        rate=Price.model_validate(row.price).rate if row.price else None,
        price=Price.model_validate(row.price) if row.price else None,
        purchase_order=row.purchase_order,
        group_key=row.group_key,
        turn=row.turn,
        posting_id=row.posting_id,
        posted_at=row.posted_at,
        look_first=row.look_first,
        marked=row.marked,
        piece=row.piece,
        line=SourceLine.model_validate(row.line) if kind.has_cost else None,
        fee=FeeItem.model_validate(row.line) if kind.is_fee else None,
        placement=Placement.model_validate(row.placement) if row.placement else None,
    )


def item_rows(rows: Sequence[BillableItem]) -> tuple[ItemRow, ...]:
    """The frozen rows."""
    return tuple(item_row(row) for row in rows)


def _money(row: BillableItem, minor: int | None) -> Money | None:
    if row.currency is None or minor is None:
        return None
    return Money.of_minor(minor, row.currency)


def hold_columns(hold: Hold | None) -> dict[str, Any]:
    """A hold as columns."""
    return {
        "hold_cause": hold.cause.value if hold else None,
        "hold_queue": hold.queue.value if hold else None,
        "hold_since": hold.since if hold else None,
        "hold": hold.model_dump(mode="json") if hold else None,
    }
