"""Reading what was approved, changed, withdrawn and deleted into the ledger (rules 27, 28, 33).

A page and the cursor behind it go into the ledger in one transaction: a stretch that is read twice changes
nothing. Nothing is decided here but who counts as approved, which the rules say.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from activities.billing.deciding import Deciding
from activities.billing.gathering import ADDRESS, Gathering
from activities.billing.milestones import Milestones
from activities.contracts import Collected, CollectPart, CollectWork, SagaRef
from activities.ending import Ending, ending_well
from activities.failures import progress
from activities.systems import Systems
from canonical.delivered import DeletionSource, DeliveredExpense, DeliveredTime, LineKind
from canonical.failures import Conflict
from canonical.items import ItemKind
from canonical.names import cursor_name, worker_address_key
from canonical.refs import RecordRef
from connectors.ports.delivery import DeliveryFeed
from ledger.billing_rows import TakenIn
from ledger.links import NewLink
from ledger.store import Ledger
from rules.approval import source_line

PAGE = 2_000
"""Entries of one page: what one transaction of the ledger takes in."""
LISTING_PAUSE = timedelta(hours=20)
"""A run without a cutoff lists open periods for deletions at most that often: it reads all that there is."""
SETTLED = timedelta(minutes=10)
"""An entry that was read so long after its submission changed shows that change: more than any lag of the
delivery system's answers and any difference between its clock and ours.
"""
AHEAD = timedelta(days=31)
"""How far work may lie in the future and still be listed."""
PARTS = tuple(CollectPart)


@dataclass
class _Stretch:
    """One stretch of reading under way."""

    command: CollectWork
    feed: DeliveryFeed
    ending: Ending
    today: date
    seen: int = 0
    taken: TakenIn = field(default_factory=TakenIn)

    @property
    def full(self) -> bool:
        """Whether to answer, so that posting begins while the rest is read."""
        return self.seen >= self.command.limit or self.ending.wanted

    def add(self, seen: int, taken: TakenIn) -> None:
        self.seen += seen
        self.taken = self.taken + taken
        progress({"read": self.seen, "part": self.command.part.value})

    def answer(self, part: CollectPart | None, unclaimed: bool) -> Collected:
        taken = self.taken
        return Collected(
            seen=self.seen,
            new=taken.new + taken.renewed + taken.replaced + taken.withdrawn + taken.restored,
            open=unclaimed,
            next=part,
            stopped=self.ending.stopped,
        )


class Collecting(Deciding):
    """Collects from delivery systems. One per worker process."""

    def __init__(
        self,
        systems: Systems,
        ledger: Ledger,
        gathering: Gathering,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(systems, ledger, gathering, clock=clock)
        self.milestones = Milestones(systems, ledger, gathering, clock=clock)
        self._addresses: set[tuple[str, str]] = set()

    async def collect(self, command: CollectWork) -> Collected:
        """One stretch: from where the cursors stand until enough was read."""
        feed = await self.systems.feed(command.system, command.saga.mapping.get(command.system, ""))

        async def stretch(ending: Ending) -> Collected:
            run = _Stretch(command, feed, ending, self._now().date())
            read = {
                CollectPart.TIME: self._time,
                CollectPart.APPROVALS: self._approvals,
                CollectPart.EXPENSES: self._expenses,
                CollectPart.DELETIONS: self._deletions,
                CollectPart.MILESTONES: self._milestones,
            }
            left: CollectPart | None = None
            for part in PARTS[PARTS.index(command.part) :]:
                if run.full or not await read[part](run):
                    left = part
                    break
            return run.answer(left, await self.ledger.unclaimed(command.system, command.erp, command.through))

        return await ending_well(stretch)

    # --- the parts: each says whether it is read to its end ---------------------------------------------

    async def _time(self, run: _Stretch) -> bool:
        name = cursor_name(run.command.system, "time")
        while not run.full:
            page = await run.feed.time_changes(
                await self.ledger.cursor(name), since=self._since(), limit=PAGE
            )
            await self._take_in(run, page.entries, (name, page.cursor))
            if not page.more:
                return True
        return False

    async def _approvals(self, run: _Stretch) -> bool:
        """Submissions that changed are hints: their entries are read as they are now, unless that was done
        since. So the first poll, and a month's end, do not read everything twice.
        """
        name = cursor_name(run.command.system, "approvals")
        while not run.full:
            page = await run.feed.approval_changes(
                await self.ledger.cursor(name), since=self._since(), limit=PAGE
            )
            fresh = await self.ledger.taken_in_since(
                {str(change.ref): change.modified_at + SETTLED for change in page.changes}
            )
            hinted = {change.ref.id: change.ref for change in page.changes if str(change.ref) not in fresh}
            entries = await run.feed.read_time(list(hinted)) if hinted else []
            for entry in entries:
                hinted.pop(entry.ref.id, None)
            await self._take_out(run, hinted.values())
            await self._take_in(run, entries, (name, page.cursor))
            if not page.more:
                return True
        return False

    async def _expenses(self, run: _Stretch) -> bool:
        """They cannot be ordered by change: the whole open window, each time; what is missing is gone."""
        first, last = self._window(run)
        found = await run.feed.expenses(first, last)
        for start in range(0, len(found), PAGE):
            await self._take_in(run, found[start : start + PAGE], None)
        known = await self.ledger.known_sources(run.command.system, ItemKind.EXPENSE, first, last)
        await self._vanished(run, LineKind.EXPENSE, known, frozenset(one.ref.id for one in found))
        return True

    async def _deletions(self, run: _Stretch) -> bool:
        name = cursor_name(run.command.system, "deletions")
        if run.feed.feed.deletions is DeletionSource.EVENTS:
            page = await run.feed.deletions(await self.ledger.cursor(name))
            await self._take_out(run, (change.ref for change in page.changes), (name, page.cursor))
            if page.complete:
                return True
        if not await self._listing_due(run):
            return True
        first, last = self._window(run)
        present = await run.feed.present(LineKind.TIME, first, last)
        known = await self.ledger.known_sources(run.command.system, ItemKind.TIME, first, last)
        await self._vanished(run, LineKind.TIME, known, present)
        await self.ledger.put_cursor(_listed(run), self._now().isoformat())
        return True

    async def _milestones(self, run: _Stretch) -> bool:
        looked, taken = await self.milestones.take_in(
            run.command.saga, run.feed, run.command.system, run.command.erp, run.command.through or run.today
        )
        run.add(looked, taken)
        return True

    # --- taking in --------------------------------------------------------------------------------------

    async def _take_in(
        self,
        run: _Stretch,
        entries: Sequence[DeliveredTime | DeliveredExpense],
        cursor: tuple[str, str] | None,
    ) -> None:
        command, policy = run.command, self.systems.firm.policies.billing
        codes = await self._codes(run, entries) if policy.approval_not_needed else {}
        await self._remember_addresses(command.saga, entries)
        lines = [
            source_line(entry, policy, command.saga.region, codes.get(entry.project.id)) for entry in entries
        ]
        erps = await self.gathering.erp_by_project({line.project for line in lines})
        if not lines and cursor is None:
            return
        taken = await self.ledger.take_in(lines, erp_by_project=erps, cursor=cursor, limit_erp=command.erp)
        run.add(len(entries), taken)

    async def _take_out(
        self, run: _Stretch, gone: Iterable[RecordRef], cursor: tuple[str, str] | None = None
    ) -> None:
        run.add(0, await self.ledger.take_out([str(ref) for ref in gone], cursor=cursor))

    async def _vanished(
        self, run: _Stretch, kind: LineKind, known: Iterable[RecordRef], present: frozenset[str]
    ) -> None:
        """What the ledger knows and a complete listing does not name is gone. It is asked for once more by
        id: it may only have moved out of the window.
        """
        missing = {ref.id: ref for ref in known if ref.id not in present}
        if not missing:
            return
        read = run.feed.read_time if kind is LineKind.TIME else run.feed.read_expenses
        moved = await read(list(missing))
        for one in moved:
            missing.pop(one.ref.id, None)
        await self._take_in(run, moved, None)
        await self._take_out(run, missing.values())

    async def _codes(
        self, run: _Stretch, entries: Sequence[DeliveredTime | DeliveredExpense]
    ) -> dict[str, str | None]:
        """Project codes, for the policy that names projects without approval (rule 27)."""
        projects = await self.gathering.delivered(
            run.feed, run.command.system, {entry.project.id for entry in entries}
        )
        return {id_: project.code for id_, project in projects.items()}

    async def _remember_addresses(
        self, saga: SagaRef, entries: Sequence[DeliveredTime | DeliveredExpense]
    ) -> None:
        """Who a worker is shows in their e-mail address; the ledger keeps its digest only."""
        new = {
            (entry.worker.id, key): entry.worker
            for entry in entries
            if entry.worker_email
            and (entry.worker.id, key := worker_address_key(entry.worker_email)) not in self._addresses
        }
        links = [
            NewLink(
                kind=ADDRESS,
                key=key,
                record=worker,
                evidence={"by": "e-mail address"},
                created_by_us=False,
                saga_id=saga.saga_id,
            )
            for (_, key), worker in new.items()
        ]
        try:
            await self.ledger.link_many(links)
        except Conflict:
            for link in links:
                # Two accounts with one address: neither is guessed, the second one's time is held.
                with contextlib.suppress(Conflict):
                    await self.ledger.link_many([link])
        self._addresses |= new.keys()

    # --- windows ----------------------------------------------------------------------------------------

    def _since(self) -> datetime | None:
        first = self.systems.firm.policies.billing.collect_from
        return None if first is None else datetime.combine(first, time(), UTC)

    def _window(self, run: _Stretch) -> tuple[date, date]:
        days = self.systems.firm.policies.billing.window_days
        first = min(run.today, run.command.through or run.today) - timedelta(days=days)
        since = self.systems.firm.policies.billing.collect_from
        return max(first, since) if since else first, run.today + AHEAD

    async def _listing_due(self, run: _Stretch) -> bool:
        """Before a cutoff always; else when the last listing is long enough ago."""
        if run.command.through is not None:
            return True
        last = await self.ledger.cursor(_listed(run))
        return last is None or self._now() - datetime.fromisoformat(last) >= LISTING_PAUSE


def _listed(run: _Stretch) -> str:
    return cursor_name(run.command.system, "listed")
