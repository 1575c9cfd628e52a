"""What contracts make billable, as items; and what new rates make of unbilled items (rules 7, 33)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.causes import Cause
from canonical.failures import Conflict
from canonical.items import (
    AllocationKind,
    BillingState,
    CostState,
    FeeItem,
    ItemKind,
    PlannedAllocation,
    Price,
)
from canonical.money import Money
from canonical.names import item_key
from ledger.billing_rows import FeesTaken, RepricingRow
from ledger.core import unbroken
from ledger.item_rows import change_items, chunks, hold_columns, is_used, items_by_key
from ledger.rated import Rated
from ledger.releases import GiveBack, Moves
from ledger.tables.allocation import Allocation, Repricing
from ledger.tables.billable_item import BillableItem


@dataclass(frozen=True)
class NewPrice:
    """What the unbilled rest of an item is worth now."""

    item_key: str
    minutes: int
    """The minutes that were priced; must be what is not billed."""
    price: Price
    reason: str


HELD_BY_PEOPLE = frozenset(
    {
        Cause.UNDER_REVIEW,
        Cause.MOVED_TO_LATER_CYCLE,
        Cause.TRANSFER_PENDING,
        Cause.CREDITED_ON_HOLD,
    }
)
"""Causes of parts that a person decided to hold."""


@dataclass(frozen=True)
class _Kept:
    """A held part as it was before it was repriced."""

    taken: Allocation
    minutes: int
    minor: int


class Fees(Rated):
    """Fees in, prices anew."""

    @unbroken
    async def take_fees(self, fees: Sequence[FeeItem], *, erp: str | None = None) -> FeesTaken:
        """Take in what contracts make billable, with what it waits for. The same again is ``same``.

        A fee of which nothing was allocated follows the contract: amount, day, group. One that was, keeps its
        amount. A billed one that waits again, such as a milestone that was re-opened, is answered in
        ``reopened``: it is for a credit.

        Raises:
            Conflict: progress was worked out before another run billed some of it.
        """
        async with self.transaction() as session:
            keys = {item_key(fee.source, fee.revision): fee for fee in fees}
            known = await items_by_key(session, keys, lock=True)
            new: list[dict[str, Any]] = []
            changes: list[dict[str, Any]] = []
            traces: list[dict[str, Any]] = []
            reopened: list[str] = []
            same = 0
            for key, fee in keys.items():
                row = known.get(key)
                if row is None:
                    new.append(self._new_fee(key, fee, erp))
                    continue
                if fee.kind is ItemKind.PROGRESS_PERIOD and is_used(row):
                    raise Conflict(
                        f"{key} went on an invoice while progress was worked out.",
                        cause=Cause.VERSION_CONFLICT,
                        system="ledger",
                        remedy="work it out again",
                    )
                if row.billed_minor and fee.hold is not None:
                    reopened.append(key)
                values = self._fee_changes(row, fee)
                if values:
                    if values.get("priced_minor", row.priced_minor) != row.priced_minor:
                        traces.append(_trace(row, fee.amount.minor, "the contract's amount changed"))
                    changes.append({"row_id": row.id, **values, "updated_at": self.now()})
                else:
                    same += 1
            await self._keep_traces(session, traces)
            await change_items(session, changes)
            if new:
                await (await session.connection()).execute(insert(BillableItem), new)
            return FeesTaken(new=len(new), same=same, changed=len(changes), reopened=tuple(sorted(reopened)))

    def _new_fee(self, key: str, fee: FeeItem, erp: str | None) -> dict[str, Any]:
        now = self.now()
        minor = fee.amount.minor
        return {
            "item_key": key,
            "source": str(fee.source),
            "kind": fee.kind.value,
            "revision": fee.revision,
            "seen_revision": fee.revision,
            "substance": "",
            "region": fee.region,
            "erp": erp,
            "contract_key": fee.contract_key,
            "line_key": fee.line_key,
            "project_code": fee.project_code,
            "legal_entity": fee.legal_entity,
            "work_date": fee.day,
            "billable": True,
            "approved": True,
            "changed_at": now,
            "current": True,
            "cost": CostState.NOT_APPLICABLE.value,
            "billing": BillingState.UNBILLED.value,
            "placed": True,
            **hold_columns(fee.hold),
            "currency": fee.amount.currency,
            "priced_minor": minor,
            "open_minor": minor,
            "held_minor": 0,
            "drafted_minor": 0,
            "billed_minor": 0,
            "written_minor": 0,
            "covered_minor": 0,
            "withdrawn_minor": 0,
            "limit_minor": fee.limit.minor if fee.limit is not None else None,
            "price": Price(amount=fee.amount).model_dump(mode="json"),
            "purchase_order": fee.purchase_order,
            "group_key": fee.group_key,
            "billing_group": fee.group.model_dump(mode="json") if fee.group is not None else None,
            "line": fee.model_dump(mode="json"),
            "created_at": now,
            "updated_at": now,
        }

    def _fee_changes(self, row: BillableItem, fee: FeeItem) -> dict[str, Any]:
        """Columns that differ from what the fee says now, as far as they may still follow it."""
        wanted: dict[str, Any] = {
            "limit_minor": fee.limit.minor if fee.limit is not None else None,
        }
        if (row.hold_cause or None) != (fee.hold.cause.value if fee.hold else None):
            wanted |= hold_columns(fee.hold)
        if not is_used(row):
            # What could be billed already keeps its day, so that it stays in its cycle.
            billable = row.hold_cause is None and fee.hold is None
            wanted |= {
                "priced_minor": fee.amount.minor,
                "open_minor": fee.amount.minor,
                "currency": fee.amount.currency,
                "work_date": min(row.work_date, fee.day) if billable else fee.day,
                "purchase_order": fee.purchase_order,
                "group_key": fee.group_key,
                "billing_group": fee.group.model_dump(mode="json") if fee.group is not None else None,
            }
        changed = {name: value for name, value in wanted.items() if getattr(row, name) != value}
        if changed and not is_used(row):
            changed["line"] = fee.model_dump(mode="json")
        return changed

    @unbroken
    async def reprice(self, prices: Sequence[NewPrice]) -> int:
        """Give what is not billed of items a new worth, with a trace. Parts that are held or on a draft are
        given back first, to be decided anew; drafts that lose lines are no longer in step. What a person
        holds stays held, at its new worth.

        Returns:
            How many changed; a price that is the present one changes nothing.

        Raises:
            Conflict: more or less of an item is unbilled than was priced: price again.
        """
        async with self.transaction() as session:
            rows = await items_by_key(session, (one.item_key for one in prices), lock=True)
            drafts, kept = await self._loosen(session, [row.id or 0 for row in rows.values()])
            rows = await items_by_key(session, (one.item_key for one in prices), lock=True)
            moves = Moves()
            details: list[dict[str, Any]] = []
            traces: list[dict[str, Any]] = []
            for one in prices:
                row = rows[one.item_key]
                if row.currency is None or row.open_minutes != one.minutes:
                    raise Conflict(
                        f"{one.item_key} has {row.open_minutes} unbilled minutes, {one.minutes} were priced.",
                        cause=Cause.VERSION_CONFLICT,
                        system="ledger",
                        remedy="price again what is unbilled now",
                    )
                rate = one.price.rate
                details.append(
                    {
                        "row_id": row.id,
                        "price": one.price.model_dump(mode="json"),
                        "rate": rate.amount if rate is not None else None,
                        "rate_currency": rate.currency if rate is not None else None,
                        "rate_version": rate.version if rate is not None else None,
                    }
                )
                sheet = moves.sheet(row)
                before, after = sheet.reprice(one.price.amount.minor)
                for plan in _held_again(row, one, kept.get(row.id or 0, ())):
                    self._take_part(moves, sheet, plan)
                if before != after:
                    version = rate.version if rate is not None else None
                    traces.append({**_trace(row, after, one.reason), "rate_version_after": version})
            await self._keep_traces(session, traces)
            await self._apply(session, moves)
            await change_items(session, details)
            for key in drafts:
                await self._changed(session, key, None)
            return len(traces)

    async def _loosen(
        self, session: AsyncSession, ids: Sequence[int]
    ) -> tuple[list[str], dict[int, list[_Kept]]]:
        """Give back held parts and those on open drafts; answers the drafts, and what people hold."""
        moves = Moves()
        kept: dict[int, list[_Kept]] = defaultdict(list)
        parts = await self._parts(session, ids)
        open_drafts = await self._open_drafts(
            session, {part.taken.document for part in parts.values() if part.taken.document}
        )
        back, drafts = [], set()
        for part in parts.values():
            drafted = part.kind is AllocationKind.BILLED and part.taken.document in open_drafts
            if part.is_live and (drafted or part.kind is AllocationKind.HELD):
                back.append(GiveBack(part.taken.allocation_key))
                if part.taken.cause in HELD_BY_PEOPLE:
                    kept[part.taken.item_id].append(_Kept(part.taken, part.left_minutes, part.left_minor))
                if drafted and part.taken.document is not None:
                    drafts.add(part.taken.document)
        await self._give_back(session, moves, back, AllocationKind.RELEASED, reason="repriced")
        await self._apply(session, moves)
        return sorted(drafts), kept

    async def _keep_traces(self, session: AsyncSession, traces: Sequence[dict[str, Any]]) -> None:
        """Number the traces of each item and write them."""
        numbers: dict[int, int] = {}
        for ids in chunks(trace["item_id"] for trace in traces):
            query = (
                select(Repricing.item_id, func.max(Repricing.number))
                .where(col(Repricing.item_id).in_(ids))
                .group_by(col(Repricing.item_id))
            )
            numbers |= dict((await session.exec(query)).all())
        rows = [{**one, "number": numbers.get(one["item_id"], 0) + 1, "at": self.now()} for one in traces]
        if rows:
            await (await session.connection()).execute(insert(Repricing), rows)

    @unbroken
    async def repricings(self, item_key: str) -> list[RepricingRow]:
        """How often and why an item was given another worth, oldest first."""
        async with self.reading() as session:
            query = (
                select(Repricing)
                .join(BillableItem, col(BillableItem.id) == col(Repricing.item_id))
                .where(col(BillableItem.item_key) == item_key)
                .order_by(col(Repricing.number))
            )
            return [
                RepricingRow(
                    item_key=item_key,
                    before=Money.of_minor(row.before_minor, row.currency),
                    after=Money.of_minor(row.after_minor, row.currency),
                    version_before=row.rate_version_before,
                    version_after=row.rate_version_after,
                    reason=row.reason,
                    at=row.at,
                )
                for row in await session.exec(query)
            ]


def _held_again(row: BillableItem, price: NewPrice, kept: Sequence[_Kept]) -> list[PlannedAllocation]:
    """What people hold of an item, at its new worth: in proportion of minutes, or of amounts without any."""
    assert row.currency is not None
    minutes, minor = price.minutes, price.price.amount.minor
    whole = minutes or row.open_minor
    plans = []
    for one in kept:
        share = one.minutes if minutes else one.minor
        part = minor * share // whole if whole else 0
        if not part and not one.minutes:
            continue
        plans.append(
            PlannedAllocation(
                item_key=row.item_key,
                kind=AllocationKind.HELD,
                minutes=one.minutes,
                amount=Money.of_minor(part, row.currency),
                cause=Cause(one.taken.cause) if one.taken.cause else None,
                reason=one.taken.reason,
                until=one.taken.until,
            )
        )
    return plans


def _trace(row: BillableItem, after: int, reason: str) -> dict[str, Any]:
    return {
        "item_id": row.id or 0,
        "before_minor": row.priced_minor,
        "after_minor": after,
        "currency": row.currency,
        "rate_version_before": row.rate_version,
        "rate_version_after": row.rate_version,
        "reason": reason,
    }
