"""Reads of approved work: two cursors over time, expenses by their window, deletions, lines by id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from canonical.delivered import (
    DeletionPage,
    DeliveredExpense,
    DeliveredMilestone,
    DeliveredProject,
    DeliveredTime,
    HeldMark,
    LineKind,
    TimePage,
)
from canonical.failures import Defect, Transient
from canonical.operations import Change, ChangePage
from canonical.refs import RecordRef
from connectors.kantata.client import FILTER_LIMIT, PAGE_SIZE, REREADS, Envelope, KantataClient, Row
from connectors.kantata.events import (
    DELETIONS,
    Cursor,
    Window,
    advance,
    aware,
    events_were_lost,
    mark,
    to_deletions,
    unsettled,
)
from connectors.kantata.mapping import MILESTONE, our_reference
from connectors.kantata.records import name_fields
from connectors.kantata.schemas import Entry, Event, Submission, parse
from connectors.kantata.settings import KantataSettings
from connectors.kantata.time_mapping import (
    MARK_EXPORTED,
    to_expense,
    to_milestone,
    to_project,
    to_time,
)
from connectors.kit.together import parted, together

ENTRY_INCLUDES = "user,workspace,story,role,active_submission,recent_submission,external_references"
EXPENSE_INCLUDES = "user,workspace,story,active_submission,recent_submission,external_references"
_ARCHIVED = {"from_archived_workspaces": "true"}
"""Time of archived projects is hidden by default and is owed all the same (rule 28)."""
_STEP = timedelta(seconds=1)
"""How far a page starts before the last row of the one before: whether ``updated_after`` includes its own
second is not published."""
_RECORDS = {
    LineKind.TIME: "time_entries",
    LineKind.EXPENSE: "expenses",
    LineKind.TIMESHEET: "timesheet_submissions",
}
_BETWEEN = {LineKind.TIME: "date_performed_between", LineKind.EXPENSE: "date_expensed_between"}


class Feeds:
    """Polling reads on one account. Cursors are opaque; see ``events``."""

    def __init__(self, system: str, settings: KantataSettings, client: KantataClient) -> None:
        self._system = system
        self._settings = settings
        self._mapping = settings.mapping
        self._client = client
        self._overlap = timedelta(minutes=settings.overlap_minutes)

    # --- changes ------------------------------------------------------------------------------------

    async def time_changes(
        self, cursor: str | None, *, since: datetime | None = None, limit: int = 2_000
    ) -> TimePage:
        """First cursor: time entries by their own change. Rejections need ``approval_changes`` too."""
        position, began = self._position(cursor), datetime.now(UTC)
        versions: list[tuple[str, datetime]] = []
        held: dict[str, tuple[Row, Envelope]] = {}
        again: frozenset[str] = frozenset()
        start, number, more = position.start(self._overlap) or since, 1, True
        while more:
            page = await self._client.page(
                "time_entries",
                what="Polling time entries",
                query={
                    **_ARCHIVED,
                    **_after(start),
                    "order": "updated_at:asc",
                    "include": ENTRY_INCLUDES,
                },
                number=number,
            )
            rows = [parse(Entry, row, self._system) for row in page.rows]
            told = [(row.id, row.updated_at) for row in rows]
            versions += told
            again |= unsettled(told, began - self._overlap)
            held |= {str(row["id"]): (row, page) for row in page.rows}
            more = len(page.rows) >= PAGE_SIZE
            if not more:
                break
            # A row that changes meanwhile moves to the end and shifts all others by one: rather than
            # turning pages we start again behind the last row, and turn only within one second. A stretch
            # never ends within the second that it began with: the next one would begin there again.
            behind = aware(rows[-1].updated_at) - _STEP
            if start is not None and behind <= start:
                number += 1
            elif _unseen(versions, position) >= limit:
                break
            else:
                start, number = behind, 1
        resume = aware(versions[-1][1]) if more else None
        polled_at = None if more else began
        fresh, after = advance(position, versions, self._overlap, resume, polled_at, again)
        entries = tuple(to_time(*held[one], self._mapping, self._system) for one in fresh)
        return TimePage(entries=entries, cursor=after.encode(), more=resume is not None)

    async def approval_changes(
        self, cursor: str | None, *, since: datetime | None = None, limit: int = 2_000
    ) -> ChangePage:
        """Second cursor: approvals, rejections and cancellations, told as changes of their time entries.

        An approval changes the submission; nothing says that it touches the entry. Submissions cannot be
        ordered by change, so the window behind the last reading is read in parts, each beginning with the
        last row of the part before: if it does not, rows have shifted and the window is read again.
        """
        window = self._window(cursor, since)
        changes: dict[str, Change] = {}
        for _ in range(REREADS):
            while True:
                part, shifted = await self._submissions(window)
                if shifted:
                    window = window.again()
                    break
                for one in window.fresh((row.id, row.updated_at, row) for row in part):
                    at = aware(one.updated_at)
                    changes |= {
                        entry: self._change("time_entries", entry, at) for entry in one.time_entry_ids
                    }
                window = window.read([(row.id, row.updated_at) for row in part], PAGE_SIZE, self._overlap)
                if window.done or len(changes) >= limit:
                    return self._told(window, changes)
        raise Transient(
            "Polling timesheet submissions: they changed faster than they could be read.", system=self._system
        )

    async def _submissions(self, window: Window) -> tuple[list[Submission], bool]:
        """The next part of a window, and whether rows have shifted since the part before."""
        offset = max(window.offset - 1, 0)
        part = await self._client.slice(
            "timesheet_submissions",
            what="Polling timesheet submissions",
            query={
                "statuses": "approved,rejected,cancelled",
                "include": "time_entries",
                "order": "date:asc",
                **_after(window.since),
            },
            offset=offset,
            size=PAGE_SIZE,
        )
        rows = [parse(Submission, row, self._system) for row in part.rows]
        shifted = window.last is not None and (not rows or rows[0].id != window.last)
        return rows, shifted

    def _told(self, window: Window, changes: Mapping[str, Change]) -> ChangePage:
        closed = window.close(self._overlap) if window.done else window
        return ChangePage(changes=tuple(changes.values()), cursor=closed.encode(), more=not window.done)

    async def deletions(self, cursor: str | None) -> DeletionPage:
        """Hard deletes from subscribed events (paid add-on, administrators only, kept for nine days)."""
        position, began = self._position(cursor), datetime.now(UTC)
        if not self._settings.subscribed_events:
            return DeletionPage(changes=(), cursor=position.encode(), complete=False)
        # Before the first poll, and when events were dropped behind the cursor, only listings tell.
        complete = position.at is not None and not events_were_lost(position, began)
        since = position.start(self._overlap)
        query = {"event_types": ",".join(DELETIONS), "order": "created_at:asc"}
        if since is not None:
            query["created_after"] = _instant(since)
        envelope = await self._client.list("subscribed_events", what="Polling subscribed events", query=query)
        events = {one.id: one for one in (parse(Event, row, self._system) for row in envelope.rows)}
        versions = [(one.id, one.created_at) for one in events.values()]
        fresh, after = advance(position, versions, self._overlap, polled_at=began)
        changes = to_deletions([events[one] for one in fresh], self._system)
        return DeletionPage(changes=tuple(changes), cursor=after.encode(), complete=complete)

    # --- windows ------------------------------------------------------------------------------------

    async def expenses(self, first: date, last: date) -> list[DeliveredExpense]:
        """All expenses of an open window: they cannot be ordered by change (rule 28)."""
        window = {**_ARCHIVED, **_days(LineKind.EXPENSE, first, last)}
        envelope, approved = await together(
            (
                self._client.list(
                    "expenses",
                    what="Listing expenses",
                    query={**window, "order": "created_at:asc", "include": EXPENSE_INCLUDES},
                ),
                self._client.list(
                    "expenses",
                    what="Listing approved expenses",
                    query={**window, "order": "created_at:asc", "approved": "true"},
                ),
            )
        )
        return self._expenses(envelope, approved)

    async def present(self, kind: LineKind, first: date, last: date) -> frozenset[str]:
        """Ids of all lines of a period. Only ids are kept: a period may hold 100,000 entries."""
        query = {**_ARCHIVED, **_days(kind, first, last), "order": "created_at:asc"}
        what = f"Listing {_RECORDS[kind]} of {first.isoformat()} to {last.isoformat()}"
        for _ in range(REREADS):
            ids = await self._all_ids(_RECORDS[kind], query, what)
            if ids is not None:
                return ids
        raise Transient(f"{what}: the list changed faster than it could be read.", system=self._system)

    async def _all_ids(self, kind: str, query: Mapping[str, str], what: str) -> frozenset[str] | None:
        """Ids of a whole list, read in parts that overlap by one row; None when rows have shifted."""
        ids: dict[str, None] = {}
        offset, last = 0, None
        while True:
            part = await self._client.slice(kind, what=what, query=query, offset=offset, size=PAGE_SIZE)
            told = [str(row["id"]) for row in part.rows]
            if last is not None and told[:1] != [last]:
                return None
            ids |= dict.fromkeys(told)
            if len(told) < PAGE_SIZE:
                return frozenset(ids)
            offset, last = offset + PAGE_SIZE - 1, told[-1]

    # --- by id --------------------------------------------------------------------------------------

    async def read_time(self, ids: Sequence[str]) -> list[DeliveredTime]:
        """Entries as they are now; deleted ones are absent. Read right before anything is sent (rule 27)."""
        envelopes = await self._by_ids("time_entries", ids, ENTRY_INCLUDES)
        return [to_time(row, one, self._mapping, self._system) for one in envelopes for row in one.rows]

    async def read_expenses(self, ids: Sequence[str]) -> list[DeliveredExpense]:
        """Expenses as they are now; deleted ones are absent."""
        all_, approved = await together(
            (
                self._by_ids("expenses", ids, EXPENSE_INCLUDES),
                self._by_ids("expenses", ids, "", {"approved": "true"}),
            )
        )
        pairs = zip(all_, approved, strict=True)
        return [expense for one, good in pairs for expense in self._expenses(one, good)]

    def _expenses(self, envelope: Envelope, approved: Envelope) -> list[DeliveredExpense]:
        good = {str(row["id"]) for row in approved.rows}
        return [
            to_expense(row, envelope, str(row["id"]) in good, self._mapping, self._system)
            for row in envelope.rows
        ]

    async def time_of(self, project: str) -> list[DeliveredTime]:
        """All time of one project."""
        envelope = await self._client.list(
            "time_entries",
            what=f"Listing time of project {project}",
            query={
                **_ARCHIVED,
                "workspace_id": project,
                "order": "created_at:asc",
                "include": ENTRY_INCLUDES,
            },
        )
        found = [to_time(row, envelope, self._mapping, self._system) for row in envelope.rows]
        return [one for one in found if one.project.id == project]

    async def expenses_of(self, project: str) -> list[DeliveredExpense]:
        """All expenses of one project."""
        query = {**_ARCHIVED, "workspace_id": project, "order": "created_at:asc"}
        what = f"Listing expenses of project {project}"
        envelope, approved = await together(
            (
                self._client.list("expenses", what=what, query={**query, "include": EXPENSE_INCLUDES}),
                self._client.list("expenses", what=what, query={**query, "approved": "true"}),
            )
        )
        return [one for one in self._expenses(envelope, approved) if one.project.id == project]

    async def milestones(self, projects: Sequence[str]) -> list[DeliveredMilestone]:
        """All milestones of these projects, with their acceptance where the account tells it."""
        wanted = list(dict.fromkeys(projects))
        include = "workspace,custom_field_values" if self._mapping.acceptance else "workspace"
        query = {"story_type": MILESTONE, "include": include}
        envelopes = await together(
            self._client.list(
                "stories", what="Reading milestones", query={**query, "workspace_id": ",".join(part)}
            )
            for part in parted(wanted, FILTER_LIMIT)
        )
        for envelope in envelopes:
            await name_fields(self._client, envelope, what="Reading milestones")
        # A filter that a server ignores proves nothing.
        found = [
            to_milestone(row, envelope, self._mapping, self._system)
            for envelope in envelopes
            for row in envelope.rows
            if row.get("story_type") == MILESTONE
        ]
        return [one for one in found if one.project.id in set(wanted)]

    async def projects(self, ids: Sequence[str]) -> list[DeliveredProject]:
        """These projects, archived or not; deleted ones are absent."""
        envelopes = await self._by_ids("workspaces", ids, "custom_field_values", {"archived": "include"})
        for envelope in envelopes:
            await name_fields(self._client, envelope, what="Reading projects")
        return [to_project(row, one, self._mapping, self._system) for one in envelopes for row in one.rows]

    async def marks(self, kind: LineKind, ids: Sequence[str]) -> list[HeldMark]:
        """Of these lines the ones that carry our mark, with the document that it names."""
        hidden = {} if kind is LineKind.TIMESHEET else _ARCHIVED
        found = []
        for envelope in await self._by_ids(_RECORDS[kind], ids, "external_references", hidden):
            for row in envelope.rows:
                held = our_reference(row, envelope, self._mapping.service_name)
                if held is not None and held.service_model == MARK_EXPORTED:
                    found.append(
                        HeldMark(
                            kind=kind,
                            id=str(row["id"]),
                            document=held.service_model_ref,
                            reference=held.id,
                        )
                    )
        return found

    async def _by_ids(
        self, kind: str, ids: Sequence[str], include: str, more: Mapping[str, str] | None = None
    ) -> list[Envelope]:
        query = {**(_ARCHIVED if kind in ("time_entries", "expenses") else {}), **(more or {})}
        if include:
            query["include"] = include
        return await together(
            self._client.page(
                kind, what=f"Reading {len(part)} {kind}", query={**query, "only": ",".join(part)}
            )
            for part in parted(list(dict.fromkeys(ids)), FILTER_LIMIT)
        )

    # --- cursors ------------------------------------------------------------------------------------

    def _position(self, cursor: str | None) -> Cursor:
        try:
            return Cursor.decode(cursor)
        except (ValueError, KeyError, TypeError) as error:
            raise Defect(f"not a cursor of {self._system}: {error}", system=self._system) from None

    def _window(self, cursor: str | None, since: datetime | None) -> Window:
        try:
            return Window.decode(cursor, since, datetime.now(UTC))
        except (ValueError, KeyError, TypeError) as error:
            raise Defect(f"not a cursor of {self._system}: {error}", system=self._system) from None

    def _change(self, kind: str, record_id: str, at: datetime) -> Change:
        return Change(ref=RecordRef(system=self._system, type=kind, id=record_id), modified_at=at)


def _unseen(versions: Sequence[tuple[str, datetime]], position: Cursor) -> int:
    return sum(1 for one, at in set(versions) if mark(one, at) not in position.seen)


def _after(since: datetime | None) -> dict[str, str]:
    return {} if since is None else {"updated_after": _instant(since)}


def _days(kind: LineKind, first: date, last: date) -> dict[str, str]:
    return {_BETWEEN[kind]: f"{first.isoformat()}:{last.isoformat()}"}


def _instant(moment: datetime) -> str:
    return aware(moment).strftime("%Y-%m-%dT%H:%M:%SZ")
