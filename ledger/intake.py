"""Taking in what a delivery system tells: new lines, revisions, changes, deletions (rules 1, 27, 28).

What was never posted is read anew in place. What was posted keeps its row: it is marked as withdrawn, taken
back by a later batch, and its new revision is a row of its own. What is in a batch right now waits until the
batch is settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, insert, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.batches import LineState
from canonical.causes import Cause, Queue
from canonical.invoicing import AdjustmentCause
from canonical.items import BillingState, CostState, Hold, ItemKind, SourceLine
from canonical.names import item_key
from ledger.billing_rows import TakenIn
from ledger.core import unbroken
from ledger.credits import Credits
from ledger.item_rows import change_items, chunks, hold_columns, is_used, items_by_id, items_by_key
from ledger.tables.batch import BatchLine
from ledger.tables.billable_item import BillableItem
from ledger.types import JsonText

_ROWS = 500
"""New items of one statement."""
_NOT_APPROVED = "Its work is not approved in the delivery system."
_APPROVE = "Have it approved in the delivery system; it is picked up by itself."


@dataclass
class _Changes:
    """What a page does, gathered so that it is written in few statements."""

    taken: TakenIn = field(default_factory=TakenIn)
    new: list[dict[str, Any]] = field(default_factory=list)
    first: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By source, items of records that nobody has taken in yet, as far as this transaction can see."""
    changed: list[dict[str, Any]] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    """Items of which nothing is to be billed any more, and nothing needs to be taken back first."""
    remove: list[int] = field(default_factory=list)
    adjusted: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    """By item of which something was allocated: its contract, and why it was withdrawn; no reason where it
    is right after all. What adjusts it goes with it.
    """

    def count(self, name: str) -> None:
        self.taken = self.taken.model_copy(update={name: getattr(self.taken, name) + 1})

    def change(self, row: BillableItem, **values: Any) -> None:
        """Change columns of a row."""
        self.changed.append({"row_id": row.id, **values})


class Intake(Credits):
    """Source lines into items."""

    @unbroken
    async def take_in(
        self,
        lines: Sequence[SourceLine],
        *,
        erp_by_project: Mapping[str, str] | None = None,
        cursor: tuple[str, str] | None = None,
        limit_erp: str | None = None,
    ) -> TakenIn:
        """Take in a page of lines and move the cursor behind it, in one transaction.

        Args:
            lines: as they are now. Of several readings of one record the last counts.
            erp_by_project: ERP instance by the delivery system's project id, as far as it is known.
            cursor: name and new value of the position that the page came from.
            limit_erp: ERP of all lines whose project names none.

        Returns:
            What the lines were to the ledger. The same page again is ``same``.
        """
        latest = {line.source_key: line for line in lines}
        async with self.transaction() as session:
            taken = await self._take(session, list(latest.values()), erp_by_project or {}, limit_erp)
            if cursor is not None:
                await self._put_cursor(session, *cursor)
            return taken

    @unbroken
    async def take_out(self, sources: Iterable[str], *, cursor: tuple[str, str] | None = None) -> TakenIn:
        """Records that the delivery system no longer has, as ``system/type/id``."""
        async with self.transaction() as session:
            changes = _Changes()
            current = await self._current(session, sources)
            busy = await self._busy(session, current.values())
            for row in current.values():
                if row.id in busy:
                    changes.change(row, next_line={"deleted": True})
                    changes.count("deferred")
                elif self._was_posted(row):
                    self._withdraw(changes, row, AdjustmentCause.DELETED)
                    changes.count("withdrawn")
                elif row.withdrawn is None:
                    self._drop(changes, row)
                    changes.count("withdrawn")
            await self._write(session, changes)
            if cursor is not None:
                await self._put_cursor(session, *cursor)
            return changes.taken

    async def _take(
        self,
        session: AsyncSession,
        lines: Sequence[SourceLine],
        erp_by_project: Mapping[str, str],
        limit_erp: str | None,
    ) -> TakenIn:
        changes = _Changes()
        current = await self._current(session, [line.source_key for line in lines])
        gone = await self._gone(
            session, [line.source_key for line in lines if line.source_key not in current]
        )
        busy = await self._busy(session, [*current.values(), *gone.values()])
        earlier = await self._replaced(session, current.values())
        for line in lines:
            erp = erp_by_project.get(line.project.id, limit_erp)
            row = current.get(line.source_key)
            if row is None and (past := gone.get(line.source_key)) is not None:
                self._come_back(changes, past, line, erp, being_reversed=past.id in busy)
            elif row is None:
                changes.first[line.source_key] = self._new(line, erp)
            elif row.id in busy:
                self._defer(changes, row, line)
            else:
                self._revise(changes, row, line, erp, earlier.get(row.replaces or ""))
        await self._write(session, changes)
        taken, theirs = changes.taken, await self._begin(session, changes.first.values())
        taken = taken.model_copy(update={"new": taken.new + len(changes.first) - len(theirs)})
        if not theirs:
            return taken
        # Another page has just brought them, perhaps in another revision: they are known by now.
        known = [line for line in lines if line.source_key in theirs]
        return taken + await self._take(session, known, erp_by_project, limit_erp)

    # --- reading ------------------------------------------------------------------------------------

    async def _current(self, session: AsyncSession, sources: Iterable[str]) -> dict[str, BillableItem]:
        found: dict[str, BillableItem] = {}
        for part in chunks(sorted(set(sources))):
            query = (
                select(BillableItem)
                .where(col(BillableItem.source).in_(part), col(BillableItem.current))
                .order_by(col(BillableItem.id))
                .with_for_update()
                .execution_options(populate_existing=True)
            )
            found |= {row.source: row for row in await session.exec(query)}
        return found

    async def _gone(self, session: AsyncSession, sources: Iterable[str]) -> dict[str, BillableItem]:
        """The latest items of records that were deleted, by source: what is told of them now came back."""
        found: dict[str, BillableItem] = {}
        for part in chunks(sorted(set(sources))):
            query = select(BillableItem).where(col(BillableItem.source).in_(part))
            query = query.order_by(col(BillableItem.id)).with_for_update()
            found |= {row.source: row for row in await session.exec(query)}
        return found

    async def _busy(self, session: AsyncSession, rows: Iterable[BillableItem]) -> set[int]:
        """Ids of items that are in a batch whose outcome is not known."""
        found: set[int] = set()
        for part in chunks(row.id for row in rows):
            query = select(BatchLine.item_id).where(
                col(BatchLine.item_id).in_(part), col(BatchLine.state) == LineState.OPEN
            )
            found |= set(await session.exec(query))
        return found

    async def _replaced(self, session: AsyncSession, rows: Iterable[BillableItem]) -> dict[str, BillableItem]:
        """The posted items that unposted ones would replace, as long as taking them back has not begun."""
        keys = [row.replaces for row in rows if row.replaces and row.cost == CostState.UNPOSTED]
        found = await items_by_key(session, keys, lock=True)
        begun = await self._busy(session, found.values())
        return {
            key: row
            for key, row in found.items()
            if row.cost == CostState.POSTED and row.withdrawn is not None and row.id not in begun
        }

    # --- deciding -----------------------------------------------------------------------------------

    def _defer(self, changes: _Changes, row: BillableItem, line: SourceLine) -> None:
        if line.revision == row.seen_revision and row.next_line is None:
            changes.count("same")
            return
        changes.change(row, next_line=line.model_dump(mode="json"))
        changes.count("deferred")

    def _revise(
        self,
        changes: _Changes,
        row: BillableItem,
        line: SourceLine,
        erp: str | None,
        earlier: BillableItem | None,
    ) -> None:
        if line.revision == row.seen_revision and line.approved == row.approved:
            changes.count("same")
        elif line.changed_at < row.changed_at:
            # An older reading that was under way when a newer one was taken in.
            changes.count("same")
        elif not self._was_posted(row):
            if earlier is not None and line.approved and earlier.substance == line.substance:
                self._restore(changes, row, earlier, line)
                changes.count("restored")
            else:
                self._renew(changes, row, line, erp)
                changes.count("renewed")
        elif line.approved and line.substance == row.substance:
            changes.change(row, seen_revision=line.revision, changed_at=line.changed_at)
            changes.count("confirmed")
        else:
            cause = AdjustmentCause.EDITED if line.approved else AdjustmentCause.REJECTED
            self._withdraw(changes, row, cause)
            changes.new.append({**self._new(line, erp or row.erp), "replaces": row.item_key})
            changes.count("replaced" if line.approved else "withdrawn")

    def _come_back(
        self,
        changes: _Changes,
        row: BillableItem,
        line: SourceLine,
        erp: str | None,
        *,
        being_reversed: bool,
    ) -> None:
        """A record that was deleted is there again, perhaps in the very same revision."""
        if not self._was_posted(row):
            self._renew(changes, row, line, erp)
            changes.count("renewed")
            return
        same = line.approved and line.substance == row.substance
        if row.cost == CostState.POSTED and same and not being_reversed:
            self._keep(changes, row, line)
            changes.count("restored")
            return
        again = self._new(line, erp or row.erp)
        if again["item_key"] == row.item_key:
            # The same revision is posted a second time, so it needs a key of its own.
            again["revision"] = f"{line.revision}~back{row.id}"
            again["item_key"] = item_key(line.source, again["revision"])
        changes.new.append({**again, "replaces": row.item_key})
        changes.count("replaced" if line.approved else "withdrawn")

    def _was_posted(self, row: BillableItem) -> bool:
        return row.cost in (CostState.POSTED, CostState.REVERSED) or is_used(row)

    # --- writing ------------------------------------------------------------------------------------

    def _new(self, line: SourceLine, erp: str | None) -> dict[str, Any]:
        now = self.now()
        unapproved = None if line.approved else _hold(now)
        incurred = line.incurred
        return {
            "item_key": item_key(line.source, line.revision),
            "source": line.source_key,
            "kind": line.kind.value,
            "revision": line.revision,
            "seen_revision": line.revision,
            "substance": line.substance,
            "region": line.region,
            "psa": line.source.system,
            "erp": erp,
            "project": line.project.id,
            "worker": line.worker.id,
            "work_date": line.work_date,
            "minutes": line.minutes,
            "source_minor": incurred.minor if incurred is not None else None,
            "source_currency": incurred.currency if incurred is not None else None,
            "billable": line.billable,
            "approved": line.approved,
            "approved_at": line.approved_at,
            "changed_at": line.changed_at,
            "current": True,
            "replaces": None,
            "cost": CostState.UNPOSTED.value,
            "billing": BillingState.UNBILLED.value if line.billable else BillingState.NOT_BILLABLE.value,
            "placed": False,
            "unbilled_in_erp": False,
            **hold_columns(unapproved),
            "priced_minor": 0,
            "open_minor": 0,
            "held_minor": 0,
            "drafted_minor": 0,
            "billed_minor": 0,
            "written_minor": 0,
            "covered_minor": 0,
            "withdrawn_minor": 0,
            "open_minutes": 0,
            "parts": 0,
            "turn": 1,
            "look_first": False,
            "line": JsonText(line.model_dump_json()),
            "created_at": now,
            "updated_at": now,
        }

    def _renew(self, changes: _Changes, row: BillableItem, line: SourceLine, erp: str | None) -> None:
        """Read anew in place: nothing outside knows of the row."""
        values = self._new(line, erp or row.erp)
        for kept in ("replaces", "created_at", "turn", "look_first", "parts"):
            values.pop(kept)
        changes.change(
            row,
            **values,
            currency=None,
            price=None,
            placement=None,
            group_key=None,
            billing_group=None,
            purchase_order=None,
            contract_key=None,
            line_key=None,
            project_code=None,
            legal_entity=None,
            method=None,
            withdrawn=None,
            withdrawn_at=None,
        )

    def _restore(self, changes: _Changes, row: BillableItem, earlier: BillableItem, line: SourceLine) -> None:
        changes.remove.append(row.id or 0)
        self._keep(changes, earlier, line)

    def _keep(self, changes: _Changes, row: BillableItem, line: SourceLine) -> None:
        """What is posted is right after all."""
        changes.change(
            row,
            current=True,
            withdrawn=None,
            withdrawn_at=None,
            seen_revision=line.revision,
            changed_at=line.changed_at,
        )
        if row.parts and row.contract_key is not None:
            changes.adjusted[row.item_key] = (row.contract_key, None)

    def _withdraw(self, changes: _Changes, row: BillableItem, cause: AdjustmentCause) -> None:
        changes.change(row, current=False, withdrawn=cause.value, withdrawn_at=self.now(), piece=None)
        if row.cost != CostState.POSTED:
            changes.ended.append(row.id or 0)
        if row.parts and row.contract_key is not None:
            changes.adjusted[row.item_key] = (row.contract_key, cause.value)

    def _drop(self, changes: _Changes, row: BillableItem) -> None:
        """Deleted before it was posted: nothing to take back."""
        changes.change(
            row,
            current=False,
            withdrawn=AdjustmentCause.DELETED.value,
            withdrawn_at=self.now(),
            piece=None,
            cost=CostState.NOT_APPLICABLE.value,
            billing=BillingState.NOT_BILLABLE.value,
            priced_minor=0,
            open_minor=0,
            open_minutes=0,
            **hold_columns(None),
        )

    async def _write(self, session: AsyncSession, changes: _Changes) -> None:
        now = self.now()
        await session.flush()
        if changes.adjusted:
            await self._follow(session, changes)
        if changes.remove:
            await session.exec(delete(BillableItem).where(col(BillableItem.id).in_(changes.remove)))
        await change_items(session, [{**row, "updated_at": now} for row in changes.changed])
        if changes.new:
            await (await session.connection()).execute(insert(BillableItem), changes.new)
        if changes.ended:
            rows = await items_by_id(session, changes.ended, lock=True)
            await self._withdraw_amounts(session, list(rows.values()), "its source changed")

    async def _follow(self, session: AsyncSession, changes: _Changes) -> None:
        """Adjustments of work go with it: without the work there is no difference to bill."""
        contracts = {contract for contract, _ in changes.adjusted.values()}
        for part in chunks(sorted(contracts)):
            query = select(BillableItem).where(
                col(BillableItem.contract_key).in_(part), col(BillableItem.kind) == ItemKind.ADJUSTMENT
            )
            for row in await session.exec(query.order_by(col(BillableItem.id)).with_for_update()):
                adjusts = str((row.line or {}).get("adjusts"))
                if adjusts not in changes.adjusted:
                    continue
                cause = changes.adjusted[adjusts][1]
                if cause is not None:
                    changes.change(row, withdrawn=cause, withdrawn_at=self.now(), **hold_columns(None))
                    changes.ended.append(row.id or 0)
                else:
                    changes.change(row, withdrawn=None, withdrawn_at=None)

    async def _begin(self, session: AsyncSession, rows: Iterable[dict[str, Any]]) -> set[str]:
        """Make the first items of records; answers the sources that somebody else was quicker with.

        In the order of their sources, so that two pages never wait for each other.
        """
        wanted = sorted(rows, key=lambda row: str(row["source"]))
        if not wanted:
            return set()
        dialect = sqlite if self._sqlite else postgresql
        statement = dialect.insert(BillableItem).on_conflict_do_nothing().returning(col(BillableItem.source))
        made: set[str] = set()
        for part in chunks(wanted, _ROWS):
            made |= set((await (await session.connection()).execute(statement, part)).scalars())
        return {str(row["source"]) for row in wanted} - made

    async def _take_next(self, session: AsyncSession, item_ids: Sequence[int]) -> None:
        """Take in the revisions that arrived while a batch was under way."""
        waiting: list[BillableItem] = []
        for part in chunks(item_ids):
            query = select(BillableItem).where(
                col(BillableItem.id).in_(part), col(BillableItem.next_line).is_not(None)
            )
            waiting += list(await session.exec(query.execution_options(populate_existing=True)))
        if not waiting:
            return
        lines = [
            SourceLine.model_validate(row.next_line)
            for row in waiting
            if row.next_line and "deleted" not in row.next_line
        ]
        gone = [row.source for row in waiting if row.next_line and "deleted" in row.next_line]
        ids = [row.id for row in waiting]
        await session.exec(update(BillableItem).where(col(BillableItem.id).in_(ids)).values(next_line=None))
        session.expunge_all()
        if lines:
            await self._take(session, lines, {}, None)
        if gone:
            await self.take_out(gone)


def _hold(since: Any) -> Hold:
    return Hold(
        cause=Cause.NOT_APPROVED,
        message=_NOT_APPROVED,
        remedy=_APPROVE,
        queue=Queue.DELIVERY,
        since=since,
    )
