"""Items: reading them, placing them after enrichment, holding and letting go (rules 1, 37)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, func
from sqlalchemy import select as columns
from sqlmodel import col, select

from canonical.batches import LineState
from canonical.causes import Cause
from canonical.invoicing import BillingGroup
from canonical.items import BillingState, CostState, Hold, ItemKind, Placement
from canonical.refs import RecordRef
from ledger.billing_rows import ItemRow, PlacedResult
from ledger.core import unbroken
from ledger.fees import Fees
from ledger.item_rows import (
    change_items,
    chunks,
    columns_by_id,
    hold_columns,
    is_used,
    item_row,
    item_rows,
    placement_column,
    read_items,
)
from ledger.rows import Page
from ledger.tables.batch import BatchLine
from ledger.tables.billable_item import BillableItem
from ledger.types import JsonText

_LOOKED_AT = (
    BillableItem.item_key,
    BillableItem.erp,
    BillableItem.cost,
    BillableItem.current,
    BillableItem.withdrawn,
    BillableItem.piece,
    BillableItem.turn,
    BillableItem.posting_id,
    BillableItem.minutes,
    BillableItem.open_minutes,
    BillableItem.priced_minor,
    BillableItem.open_minor,
    BillableItem.parts,
)
"""What decides whether and how an item is placed."""


@dataclass(frozen=True)
class Placed:
    """A placement for an item as it was looked at: with another key it is another item by now."""

    item_id: int
    item_key: str
    placement: Placement


class Items(Fees):
    """Items between intake and batch."""

    @unbroken
    async def item(self, key: str) -> ItemRow | None:
        """One item by key."""
        async with self.reading() as session:
            row = (await session.exec(select(BillableItem).where(col(BillableItem.item_key) == key))).first()
            return None if row is None else item_row(row)

    @unbroken
    async def items_of(self, sources: Iterable[str]) -> list[ItemRow]:
        """All revisions of source records (``system/type/id``), oldest first."""
        found: list[BillableItem] = []
        async with self.reading() as session:
            for part in chunks(sorted(set(sources))):
                query = select(BillableItem).where(col(BillableItem.source).in_(part))
                found += list(await session.exec(query.order_by(col(BillableItem.id))))
            return list(item_rows(found))

    @unbroken
    async def items(
        self,
        *,
        psa: str | None = None,
        erp: str | None = None,
        contract_key: str | None = None,
        project_code: str | None = None,
        legal_entity: str | None = None,
        group_key: str | None = None,
        piece: str | None = None,
        posted_by: str | None = None,
        kinds: Sequence[ItemKind] = (),
        cost: Sequence[CostState] = (),
        billing: Sequence[BillingState] = (),
        causes: Sequence[Cause] = (),
        first: date | None = None,
        last: date | None = None,
        withdrawn: bool | None = None,
        look_first: bool | None = None,
        unmarked: bool | None = None,
        after: int = 0,
        limit: int = 1_000,
    ) -> Page[ItemRow]:
        """Items that meet all conditions, in the order in which they came in. ``after`` is a page's cursor.

        Args:
            psa: delivery system instance.
            erp: ERP instance.
            contract_key: contract.
            project_code: project code.
            legal_entity: of the project.
            group_key: billing group.
            piece: claimed by that piece.
            posted_by: posted by that piece.
            kinds: any of these kinds.
            cost: any of these cost states.
            billing: any of these billing states.
            causes: held by any of these causes (holds of the whole item).
            first: work date from.
            last: work date to, included.
            withdrawn: whether its source was withdrawn.
            look_first: whether a batch with it was never answered.
            unmarked: whether its mark in delivery is missing.
            after: row number after which the page begins.
            limit: rows of a page.
        """
        query = select(BillableItem).where(col(BillableItem.id) > after)
        for column, value in (
            (BillableItem.psa, psa),
            (BillableItem.erp, erp),
            (BillableItem.contract_key, contract_key),
            (BillableItem.project_code, project_code),
            (BillableItem.legal_entity, legal_entity),
            (BillableItem.group_key, group_key),
            (BillableItem.piece, piece),
            (BillableItem.posted_by, posted_by),
            (BillableItem.look_first, look_first),
        ):
            if value is not None:
                query = query.where(col(column) == value)
        for column, values in (
            (BillableItem.kind, kinds),
            (BillableItem.cost, cost),
            (BillableItem.billing, billing),
            (BillableItem.hold_cause, causes),
        ):
            if values:
                query = query.where(col(column).in_([value.value for value in values]))
        if first is not None:
            query = query.where(col(BillableItem.work_date) >= first)
        if last is not None:
            query = query.where(col(BillableItem.work_date) <= last)
        for flag, missing in ((withdrawn, BillableItem.withdrawn), (_not(unmarked), BillableItem.marked)):
            if flag is not None:
                query = query.where(col(missing).is_not(None) if flag else col(missing).is_(None))
        async with self.reading() as session:
            rows = await read_items(session, query.order_by(col(BillableItem.id)).limit(limit))
            return Page(rows=item_rows(rows), cursor=rows[-1].id if rows and len(rows) == limit else None)

    @unbroken
    async def known_sources(self, psa: str, kind: ItemKind, first: date, last: date) -> list[RecordRef]:
        """Source records of a period that are believed to be there: what a complete listing is held against.

        Args:
            psa: delivery system instance.
            kind: time or expenses.
            first: first work date.
            last: last work date, included.
        """
        query = select(BillableItem.source).where(
            col(BillableItem.psa) == psa,
            col(BillableItem.kind) == kind,
            col(BillableItem.current),
            col(BillableItem.work_date) >= first,
            col(BillableItem.work_date) <= last,
        )
        async with self.reading() as session:
            return [RecordRef.parse(source) for source in await session.exec(query)]

    @unbroken
    async def taken_in_since(self, moments: Mapping[str, datetime]) -> set[str]:
        """Source records (``system/type/id``) of which the ledger's current item was made, approved, at or
        after a moment given for each: what changed before then, that item has seen. Should it not have (its
        reading was held up for long), the reading right before it is sent tells; an item that is not
        approved has no such second look and is never named here.
        """
        found: set[str] = set()
        async with self.reading() as session:
            for part in chunks(sorted(moments)):
                query = select(BillableItem.source, BillableItem.created_at).where(
                    col(BillableItem.source).in_(part),
                    col(BillableItem.current),
                    col(BillableItem.approved),
                )
                found |= {source for source, made in await session.exec(query) if made >= moments[source]}
        return found

    @unbroken
    async def day_minutes(self, days: Iterable[tuple[str, date]]) -> dict[tuple[str, date], int]:
        """All minutes of workers (delivery ids) on days, over their current entries: for days of 25 hours."""
        wanted = set(days)
        found: dict[tuple[str, date], int] = {}
        if not wanted:
            return found
        first, last = min(day for _, day in wanted), max(day for _, day in wanted)
        async with self.reading() as session:
            for workers in chunks(sorted({worker for worker, _ in wanted})):
                query = (
                    columns(
                        col(BillableItem.worker),
                        col(BillableItem.work_date),
                        func.sum(col(BillableItem.minutes)),
                    )
                    .where(
                        col(BillableItem.worker).in_(workers),
                        col(BillableItem.work_date) >= first,
                        col(BillableItem.work_date) <= last,
                        col(BillableItem.current),
                        col(BillableItem.kind) == ItemKind.TIME,
                    )
                    .group_by(col(BillableItem.worker), col(BillableItem.work_date))
                )
                for worker, day, minutes in await (await session.connection()).execute(query):
                    if (worker or "", day) in wanted:
                        found[worker or "", day] = int(minutes)
        return found

    # --- placing ------------------------------------------------------------------------------------

    @unbroken
    async def place(self, placements: Sequence[Placed]) -> PlacedResult:
        """Keep what enrichment found. An item that changed meanwhile, or is in a batch, is not touched.

        An item with a hold leaves its piece; one whose hold ended can be claimed again. One that was taken
        back on purpose and is in order again is to be posted anew, as its next turn.
        """
        async with self.transaction() as session:
            rows = await columns_by_id(session, (one.item_id for one in placements), *_LOOKED_AT, lock=True)
            busy = set()
            for part in chunks(rows):
                query = select(BatchLine.item_id).where(
                    col(BatchLine.item_id).in_(part), col(BatchLine.state) == LineState.OPEN
                )
                busy |= set(await session.exec(query))
            changes, stale, held = [], [], 0
            for one in placements:
                row = rows.get(one.item_id)
                if row is None or row.item_key != one.item_key or row.id in busy or not _placeable(row):
                    stale.append(one.item_key)
                    continue
                held += one.placement.hold is not None
                changes.append({"row_id": row.id, **self._placement(row, one.placement)})
            await change_items(session, changes)
            return PlacedResult(placed=len(changes) - held, held=held, stale=tuple(stale))

    def _placement(self, row: Row[Any], placement: Placement) -> dict[str, Any]:
        price, hold = placement.price, placement.hold
        minor = price.amount.minor if price is not None else 0
        again = row.cost == CostState.REVERSED and hold is None
        cost = CostState.UNPOSTED if again else CostState(row.cost)
        if not placement.posts_cost:
            cost = CostState.NOT_APPLICABLE
        rate = price.rate if price is not None else None
        return {
            "placed": True,
            "erp": placement.erp_system or row.erp,
            "contract_key": placement.contract_key,
            "line_key": placement.line_key,
            "contract_version": placement.contract_version,
            "project_code": placement.project_code,
            "legal_entity": placement.legal_entity,
            "employing_entity": placement.employing_entity,
            "posting_date": placement.posting_date,
            "method": placement.method.value if placement.method is not None else None,
            "billing": placement.billing.value,
            "cost": cost.value,
            "turn": row.turn + again,
            "posting_id": None if again else row.posting_id,
            # A mark names the posting that is gone: once it is posted anew it is marked anew.
            **({"marked": None} if again else {}),
            "unbilled_in_erp": placement.unbilled_in_erp,
            "purchase_order": placement.purchase_order,
            "group_key": placement.group_key,
            "billing_group": JsonText(placement.group.model_dump_json()) if placement.group else None,
            "currency": price.amount.currency if price is not None else None,
            "priced_minor": minor,
            "open_minor": minor,
            "open_minutes": row.minutes if price is not None else 0,
            "rate": rate.amount if rate is not None else None,
            "rate_currency": rate.currency if rate is not None else None,
            "rate_version": rate.version if rate is not None else None,
            "price": JsonText(price.model_dump_json()) if price is not None else None,
            "placement": placement_column(placement),
            "piece": None if hold is not None else row.piece,
            **hold_columns(hold),
            "updated_at": self.now(),
        }

    @unbroken
    async def hold_items(self, holds: Mapping[str, Hold]) -> int:
        """Hold items by key, whole, for a cause that shows only later, such as a period that was closed."""
        async with self.transaction() as session:
            query = select(BillableItem.id, BillableItem.item_key).where(
                col(BillableItem.item_key).in_(list(holds))
            )
            found = list(await session.exec(query))
            await change_items(
                session,
                [
                    {
                        "row_id": item_id,
                        "piece": None,
                        **hold_columns(holds[key].model_copy(update={"since": self.now()})),
                        "updated_at": self.now(),
                    }
                    for item_id, key in found
                ],
            )
            return len(found)

    @unbroken
    async def regroup(self, groups: Mapping[str, tuple[str | None, BillingGroup, str]]) -> int:
        """Put items (by key) under another purchase order: its number, the group, and the group's key."""
        async with self.transaction() as session:
            query = select(BillableItem.id, BillableItem.item_key).where(
                col(BillableItem.item_key).in_(list(groups))
            )
            found = list(await session.exec(query))
            await change_items(
                session,
                [
                    {
                        "row_id": item_id,
                        "purchase_order": groups[key][0],
                        "billing_group": groups[key][1].model_dump(mode="json"),
                        "group_key": groups[key][2],
                        "updated_at": self.now(),
                    }
                    for item_id, key in found
                ],
            )
            return len(found)


def _placeable(row: Row[Any]) -> bool:
    return row.current and row.withdrawn is None and row.cost != CostState.POSTED and not is_used(row)


def _not(flag: bool | None) -> bool | None:
    return None if flag is None else not flag
