"""Reads of the later sagas: two cursors over approved time, expenses, deletions, approval read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from canonical.billing import ApprovalState, ExpenseItem, TimeEntry
from canonical.operations import Change, ChangePage
from canonical.refs import RecordRef
from connectors.kantata.client import FILTER_LIMIT, PAGE_SIZE, Envelope, KantataClient, Row
from connectors.kantata.events import DELETIONS, Cursor, advance, aware, mark, to_deletions
from connectors.kantata.mapping import our_reference
from connectors.kantata.schemas import Entry, Event, Submission, parse
from connectors.kantata.settings import KantataSettings
from connectors.kantata.time_mapping import (
    ProjectFacts,
    WorkerFacts,
    approval_of,
    to_expense,
    to_time_entry,
)

ENTRY_INCLUDES = "user,workspace,story,role,active_submission,recent_submission,invoice,external_references"
_ARCHIVED = {"from_archived_workspaces": "true"}
"""Time of archived projects is hidden by default and is owed all the same."""
_STEP = timedelta(seconds=1)
"""How far a page starts before the last row of the one before: whether ``updated_after`` includes its own
second is not published."""


class Feeds:
    """Polling reads on one account. Cursors are opaque; see ``events``."""

    def __init__(self, system: str, settings: KantataSettings, client: KantataClient) -> None:
        self._system = system
        self._mapping = settings.mapping
        self._client = client
        self._overlap = timedelta(minutes=settings.overlap_minutes)

    async def time_changes(
        self, cursor: str | None, *, limit: int = 500, approved_only: bool = True
    ) -> ChangePage:
        """First cursor: time entries by their own change. Rejections need ``submission_changes`` too."""
        position = Cursor.decode(cursor)
        # ``approved`` is a presence flag: naming it at all filters.
        flags = {"approved": "true"} if approved_only else {}
        versions: list[tuple[str, datetime]] = []
        since, number, more = position.start(self._overlap), 1, True
        while more:
            page = await self._client.page(
                "time_entries",
                what="Polling time entries",
                query={**_ARCHIVED, **flags, **_after(since), "order": "updated_at:asc"},
                number=number,
            )
            rows = [parse(Entry, row, self._system) for row in page.rows]
            versions += [(row.id, row.updated_at) for row in rows]
            more = len(page.rows) >= PAGE_SIZE
            if not more or _unseen(versions, position) >= limit:
                break
            # A row that changes meanwhile moves to the end and shifts all others by one: rather than
            # turning pages we start again behind the last row, and turn only within one second.
            behind = aware(rows[-1].updated_at) - _STEP
            since, number = (behind, 1) if since is None or behind > since else (since, number + 1)
        resume = aware(versions[-1][1]) if more else None
        return self._page(position, versions, "time_entries", resume)

    async def submission_changes(self, cursor: str | None) -> ChangePage:
        """Second cursor: approvals, rejections and cancellations, told as changes of their time entries.

        An approval changes the submission; nothing says that it touches the entry. Submissions cannot be
        ordered by change, so the whole window is read.
        """
        position = Cursor.decode(cursor)
        query = {"statuses": "approved,rejected,cancelled", "include": "time_entries", "order": "date:asc"}
        envelope = await self._client.list(
            "timesheet_submissions",
            what="Polling timesheet submissions",
            query={**query, **_after(position.start(self._overlap))},
        )
        held = {one.id: one for one in (parse(Submission, row, self._system) for row in envelope.rows)}
        fresh, after = advance(position, [(one.id, one.updated_at) for one in held.values()], self._overlap)
        changes = [
            self._change("time_entries", entry, held[one].updated_at)
            for one in fresh
            for entry in held[one].time_entry_ids
        ]
        return ChangePage(changes=tuple(changes), cursor=after.encode(), more=False)

    async def deletions(self, cursor: str | None) -> ChangePage:
        """Hard deletes from subscribed events (paid add-on, administrators only, kept for nine days).

        A cursor older than that has lost events: ``events.events_were_lost`` says so.
        """
        position = Cursor.decode(cursor)
        since = position.start(self._overlap)
        query = {"event_types": ",".join(DELETIONS), "order": "created_at:asc"}
        if since is not None:
            query["created_after"] = _instant(since)
        envelope = await self._client.list("subscribed_events", what="Polling subscribed events", query=query)
        events = {one.id: one for one in (parse(Event, row, self._system) for row in envelope.rows)}
        fresh, after = advance(position, [(one.id, one.created_at) for one in events.values()], self._overlap)
        changes = to_deletions([events[one] for one in fresh], self._system)
        return ChangePage(changes=tuple(changes), cursor=after.encode(), more=False)

    async def approvals_of(self, entry_ids: Sequence[str]) -> dict[str, ApprovalState]:
        """Approval as it is now; a deleted entry is absent. Read right before anything is billed."""
        states: dict[str, ApprovalState] = {}
        for row, envelope in await self._entries(entry_ids):
            states[str(row["id"])] = approval_of(row, envelope, self._system)[0]
        return states

    async def time_entries(
        self,
        entry_ids: Sequence[str],
        projects: Mapping[str, ProjectFacts],
        workers: Mapping[str, WorkerFacts],
    ) -> list[TimeEntry]:
        """Entries by id, read again: a change is only a hint. Facts are by Kantata's ids."""
        return [
            to_time_entry(row, envelope, projects, workers, self._mapping, self._system)
            for row, envelope in await self._entries(entry_ids)
        ]

    async def exported(self, entry_ids: Sequence[str]) -> dict[str, str]:
        """Of these entries the ones that carry our mark, with the document that it names."""
        marks: dict[str, str] = {}
        for row, envelope in await self._entries(entry_ids):
            reference = our_reference(row, envelope, self._mapping.service_name)
            if reference is not None:
                marks[str(row["id"])] = reference.service_model_ref
        return marks

    async def expenses(
        self,
        first: date,
        last: date,
        projects: Mapping[str, ProjectFacts],
        workers: Mapping[str, WorkerFacts],
    ) -> list[ExpenseItem]:
        """Approved expenses incurred in an open window (both days included), the whole window each time:
        expenses cannot be ordered by change, and the ledger knows which revisions it has.
        """
        envelope = await self._client.list(
            "expenses",
            what="Listing expenses",
            query={
                **_ARCHIVED,
                "approved": "true",
                "date_expensed_between": f"{first.isoformat()}:{last.isoformat()}",
                "order": "created_at:asc",
                "include": "user,workspace",
            },
        )
        return [to_expense(row, True, projects, workers, self._system) for row in envelope.rows]

    async def _entries(self, entry_ids: Sequence[str]) -> list[tuple[Row, Envelope]]:
        found: list[tuple[Row, Envelope]] = []
        wanted = list(dict.fromkeys(entry_ids))
        for start in range(0, len(wanted), FILTER_LIMIT):
            envelope = await self._client.list(
                "time_entries",
                what="Reading time entries",
                query={
                    **_ARCHIVED,
                    "only": ",".join(wanted[start : start + FILTER_LIMIT]),
                    "include": ENTRY_INCLUDES,
                },
            )
            found += [(row, envelope) for row in envelope.rows]
        return found

    def _page(
        self,
        position: Cursor,
        versions: list[tuple[str, datetime]],
        kind: str,
        resume: datetime | None,
    ) -> ChangePage:
        fresh, after = advance(position, versions, self._overlap, resume)
        latest = dict(sorted(versions, key=lambda pair: aware(pair[1])))
        changes = tuple(self._change(kind, one, latest[one]) for one in fresh)
        return ChangePage(changes=changes, cursor=after.encode(), more=resume is not None)

    def _change(self, kind: str, record_id: str, at: datetime) -> Change:
        return Change(ref=RecordRef(system=self._system, type=kind, id=record_id), modified_at=aware(at))


def _unseen(versions: Sequence[tuple[str, datetime]], position: Cursor) -> int:
    return sum(1 for one, at in set(versions) if mark(one, at) not in position.seen)


def _after(since: datetime | None) -> dict[str, str]:
    return {} if since is None else {"updated_after": _instant(since)}


def _instant(moment: datetime) -> str:
    return aware(moment).strftime("%Y-%m-%dT%H:%M:%SZ")
