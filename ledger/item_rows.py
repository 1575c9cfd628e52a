"""Between the item table and its frozen rows, and what an item's state follows from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import Row, Text, bindparam, cast, update
from sqlalchemy import select as select_columns
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.base import Canonical
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
from ledger.tables.base import Table
from ledger.tables.billable_item import BillableItem
from ledger.types import JsonText

M = TypeVar("M", bound=Canonical)
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


_DOCUMENTS = ("line", "price", "placement", "hold")
_UNREAD = ("next_line", "billing_group")
_WHOLE = [
    cast(column, Text).label(column.name) if column.name in _DOCUMENTS else column
    for column in BillableItem.__table__.c  # type: ignore[attr-defined]
    if column.name not in _UNREAD
]
"""All that ``item_row`` looks at. Documents are read as the text they are: models take that in one go."""


async def read_items(session: AsyncSession, query: Any) -> Sequence[Row[Any]]:
    """What a query for whole items finds, as plain rows: fit for ``item_row``, and a fraction of the time of
    objects that the session keeps track of.
    """
    await session.flush()
    return (await (await session.connection()).execute(query.with_only_columns(*_WHOLE))).all()


async def columns_by_id(
    session: AsyncSession, ids: Iterable[int], *columns: Any, lock: bool = False
) -> dict[int, Row[Any]]:
    """Some columns of items by id, as plain rows. Whole items carry documents that take ten times as long to
    read; ``lock`` as of ``items_by_id``.
    """
    found: dict[int, Row[Any]] = {}
    connection = await session.connection()
    for part in chunks(sorted(set(ids))):
        query = select_columns(col(BillableItem.id), *columns)
        query = query.where(col(BillableItem.id).in_(part))
        query = query.order_by(col(BillableItem.id))
        if lock:
            query = query.with_for_update()
        found |= {row[0]: row for row in await connection.execute(query)}
    return found


async def change_items(session: AsyncSession, changes: Iterable[Mapping[str, Any]]) -> None:
    """Change columns of many items; every change names its ``row_id``. One statement per set of columns, and
    what is the same for all of them is sent once.

    Rows that the session holds already are let go: they show what was.
    """
    await session.flush()
    await change_rows(await session.connection(), BillableItem, changes)
    session.expunge_all()


async def change_rows(
    connection: AsyncConnection, model: type[Table], changes: Iterable[Mapping[str, Any]]
) -> None:
    """The same for any table, for rows that no session holds."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for change in changes:
        groups.setdefault(tuple(sorted(change)), []).append(change)
    table = model.__table__  # type: ignore[attr-defined]
    for names, rows in groups.items():
        first = {name: value for name, value in rows[0].items() if name != "row_id"}
        if all(row[name] == value for row in rows for name, value in first.items()):
            for ids in chunks(row["row_id"] for row in rows):
                await connection.execute(update(table).where(table.c.id.in_(ids)).values(first))
            continue
        values: dict[str, Any] = {name: bindparam(name) for name in names if name != "row_id"}
        statement = update(table).where(table.c.id == bindparam("row_id")).values(values)
        await connection.execute(statement, [dict(row) for row in rows])


def is_used(row: BillableItem | Row[Any]) -> bool:
    """Whether anything of it was ever allocated and not all given back."""
    return bool(row.priced_minor != row.open_minor or (row.parts > 0 and row.open_minutes != row.minutes))


def item_row(row: BillableItem | Row[Any]) -> ItemRow:
    """The frozen row."""
    kind = ItemKind(row.kind)
    price = _price(row.price)
    hold = _model(Hold, row.hold)
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
        hold=hold,
        withdrawn=row.withdrawn,
        priced=_money(row, row.priced_minor),
        open=_money(row, row.open_minor),
        held=_money(row, row.held_minor),
        drafted=_money(row, row.drafted_minor),
        billed=_money(row, row.billed_minor),
        open_minutes=row.open_minutes,
        limit=_money(row, row.limit_minor) if row.limit_minor is not None else None,
        rate=price.rate if price is not None else None,
        price=price,
        purchase_order=row.purchase_order,
        group_key=row.group_key,
        turn=row.turn,
        posting_id=row.posting_id,
        posted_at=row.posted_at,
        look_first=row.look_first,
        marked=row.marked,
        piece=row.piece,
        line=_model(SourceLine, row.line) if kind.has_cost else None,
        fee=_model(FeeItem, row.line) if kind.is_fee else None,
        placement=_placement(row, price, hold),
    )


def item_rows(rows: Iterable[BillableItem | Row[Any]]) -> tuple[ItemRow, ...]:
    """The frozen rows."""
    return tuple(item_row(row) for row in rows)


def _placement(row: BillableItem | Row[Any], price: Price | None, hold: Hold | None) -> Placement | None:
    """The placement, with price and hold as they are in the columns of their own."""
    if not row.placement:
        return None
    kept = row.placement
    alone = _kept_placement(kept) if isinstance(kept, str) else Placement.model_validate(kept)
    return alone.model_copy(update={"price": price, "hold": hold})


def _price(kept: str | Mapping[str, Any] | None) -> Price | None:
    return _kept_price(kept) if isinstance(kept, str) else _model(Price, kept)


@lru_cache(maxsize=2_048)
def _kept_price(kept: str) -> Price | None:
    return _model(Price, kept)


@lru_cache(maxsize=2_048)
def _kept_placement(kept: str) -> Placement:
    """Lines of one worker, project and day share one, and many cost the same: models never change."""
    return Placement.model_validate_json(kept)


def _model(model: type[M], kept: str | Mapping[str, Any] | None) -> M | None:
    """A document of a row, as text or taken apart already."""
    if not kept or kept == "null":
        return None
    return model.model_validate_json(kept) if isinstance(kept, str) else model.model_validate(kept)


def placement_column(placement: Placement) -> JsonText:
    """A placement as it is kept: price and hold have columns of their own."""
    return JsonText(placement.model_dump_json(exclude={"price", "hold"}))


def _money(row: BillableItem | Row[Any], minor: int | None) -> Money | None:
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
