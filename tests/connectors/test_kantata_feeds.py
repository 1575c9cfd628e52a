"""Kantata: the feed of approved work over HTTP, also while it changes under the reader."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from canonical.billing import ApprovalState
from canonical.delivered import ApprovalBasis, DeletionSource, LineKind
from canonical.failures import Defect, Transient
from connectors.kantata.settings import AcceptanceFields
from tests.acceptance.kantata import CODE
from tests.connectors.kantata_time import START, Site, anyio_backend, one, one_sheet, site

__all__ = ["anyio_backend", "site"]

pytestmark = pytest.mark.anyio


async def test_time_is_told_once_however_often_it_is_polled(site: Site) -> None:
    kantata, first, second = site.subject.connector, site.time(), site.time(16)
    site.resolve(site.submit(first, second), "approve")
    open_ = site.time(17)
    page = await kantata.time_changes(None)
    assert {entry.ref.id: entry.approved for entry in page.entries} == {
        first: True,
        second: True,
        open_: False,
    }
    assert not page.more
    again = await kantata.time_changes(page.cursor)
    told = {entry.ref.id: entry.revision for entry in page.entries}
    assert all(told[entry.ref.id] == entry.revision for entry in again.entries), "as before"
    # Only what may have changed within the second in which it was read is told again.
    assert {entry.changed_at for entry in again.entries} == {page.entries[-1].changed_at}
    site.later(120)
    site.subject.vendor("PUT", f"time_entries/{first}", {"time_entry": {"time_in_minutes": 45}})
    page = await kantata.time_changes(again.cursor)
    new = [entry for entry in page.entries if entry.revision not in told.values()]
    assert [(entry.ref.id, entry.minutes) for entry in new] == [(first, 45)]
    with pytest.raises(Defect, match="not a cursor"):
        await kantata.time_changes("{}")


async def test_a_poll_may_begin_at_an_instant(site: Site) -> None:
    site.many(3)
    page = await site.subject.connector.time_changes(None, since=START + timedelta(seconds=1))
    assert {entry.ref.id for entry in page.entries} <= {"90001", "90002"}
    assert "90002" in {entry.ref.id for entry in page.entries}


async def test_a_backlog_comes_in_portions_without_gap_or_repetition(site: Site) -> None:
    site.many(700, per_second=3)
    told: list[str] = []
    cursor: str | None = None
    for _ in range(20):
        page = await site.subject.connector.time_changes(cursor, limit=150)
        told += [entry.ref.id for entry in page.entries]
        cursor = page.cursor
        if not page.more:
            break
    assert sorted(told) == sorted(str(90000 + n) for n in range(700))
    assert len(str(cursor)) < 40_000


async def test_an_entry_that_moves_while_pages_are_read_pushes_none_out(site: Site) -> None:
    """The first entry changes between two pages: it goes to the end, and all others move up by one."""
    site.many(500)
    kantata = site.subject.connector
    told: dict[str, int] = {}

    def moved() -> None:
        site.subject.vendor("PUT", "time_entries/90000", {"time_entry": {"time_in_minutes": 99}})

    site.before("page", 2, moved)
    page = await kantata.time_changes(None, limit=10_000)
    told |= {entry.ref.id: entry.minutes for entry in page.entries}
    assert len(told) == 500
    assert told["90000"] == 99


async def test_approval_and_rejection_come_by_the_second_cursor(site: Site) -> None:
    kantata, entry = site.subject.connector, site.time()
    submission = site.submit(entry)
    first = await kantata.time_changes(None)
    assert await site.approval(entry) == ApprovalState.SUBMITTED
    site.later(60)
    site.resolve(submission, "approve")
    page = await kantata.approval_changes(None)
    assert [change.ref.id for change in page.changes] == [entry]
    assert await site.approval(entry) == ApprovalState.APPROVED
    site.later(1200)
    site.resolve(submission, "reject")
    # The rejection need not touch the entry: the first cursor knows nothing newer of it.
    later = await kantata.time_changes(first.cursor)
    assert {one.changed_at for one in later.entries} <= {one.changed_at for one in first.entries}
    page = await kantata.approval_changes(page.cursor)
    assert [change.ref.id for change in page.changes] == [entry]
    assert await site.approval(entry) == ApprovalState.REJECTED


async def test_what_changes_again_in_the_second_in_which_it_was_read_is_told(site: Site) -> None:
    """Nothing in the times of change says so: a sheet approved, read, rejected; an entry read and edited."""
    kantata, tries = site.subject.connector, 10
    for day in range(1, tries + 1):
        entry = site.time(day)
        submission = site.submit(entry)
        await asyncio.sleep(1 - time.time() % 1)
        site.resolve(submission, "approve")
        site.subject.vendor("PUT", f"time_entries/{entry}", {"time_entry": {"time_in_minutes": 40}})
        page, told = await kantata.approval_changes(None), await kantata.time_changes(None)
        site.resolve(submission, "reject")
        site.subject.vendor("PUT", f"time_entries/{entry}", {"time_entry": {"time_in_minutes": 45}})
        changes = {one.ref.id: one for one in (await kantata.approval_changes(page.cursor)).changes}
        edited = {one.ref.id: one for one in (await kantata.time_changes(told.cursor)).entries}
        before = {one.ref.id: one for one in told.entries}[entry]
        assert entry in changes
        assert edited[entry].minutes == 45
        assert edited[entry].revision != before.revision
        assert await site.approval(entry) == ApprovalState.REJECTED
        approved_at = {one.ref.id: one for one in page.changes}[entry].modified_at
        if (approved_at, before.changed_at) == (changes[entry].modified_at, edited[entry].changed_at):
            return
    pytest.fail(f"in none of {tries} tries did both changes fall into one second")


async def test_no_cursor_of_another_kind_is_taken(site: Site) -> None:
    kantata = site.subject.connector
    with pytest.raises(Defect, match="not a cursor"):
        await kantata.approval_changes("[]")


async def test_many_approvals_come_in_portions_even_when_they_shift(site: Site) -> None:
    """One submission is cancelled and another resolved between two parts: nothing is left out."""
    site.many(450, sheets=True)
    kantata = site.subject.connector
    shifts = iter(["reject", "cancel"])

    def shift() -> None:
        if (word := next(shifts, None)) is not None:
            late = site.time(20)
            site.resolve(site.submit(late), word)

    site.before("slice", 2, shift)
    told: dict[str, int] = {}
    cursor, more, rounds = None, True, 0
    while more:
        page = await kantata.approval_changes(cursor, limit=100)
        for change in page.changes:
            told[change.ref.id] = told.get(change.ref.id, 0) + 1
        cursor, more, rounds = page.cursor, page.more, rounds + 1
        assert rounds < 20
    assert {str(90000 + n) for n in range(450)} <= set(told)
    assert rounds > 2
    assert len(str(cursor)) < 40_000


async def test_a_list_that_never_stands_still_is_a_passing_failure(site: Site) -> None:
    site.many(450, sheets=True)
    count = iter(range(1000))

    def shift() -> None:
        n = next(count)
        site.subject.seed(**one_sheet(site.project, 80000 + n, "2025-12-01"))
        site.subject.vendor("DELETE", f"time_entries/{90000 + n}")

    site.before("slice", 2, shift, always=True)
    with pytest.raises(Transient, match="faster"):
        await site.subject.connector.approval_changes(None, limit=10_000)
    with pytest.raises(Transient, match="faster"):
        await site.subject.connector.present(LineKind.TIME, date(2025, 1, 1), date(2027, 1, 1))


async def test_an_approval_that_is_withdrawn_is_seen_right_before_sending(site: Site) -> None:
    kantata, kept, withdrawn, gone = site.subject.connector, site.time(), site.time(16), site.time(17)
    sheets = [site.submit(entry) for entry in (kept, withdrawn, gone)]
    for sheet in sheets:
        site.resolve(sheet, "approve")
    page = await kantata.time_changes(None)
    assert all(entry.approved for entry in page.entries)
    site.resolve(sheets[1], "reject")
    site.resolve(sheets[2], "cancel")
    site.subject.vendor("DELETE", f"time_entries/{gone}")
    site.subject.vendor("PUT", f"time_entries/{kept}", {"time_entry": {"time_in_minutes": 31}})
    now = {entry.ref.id: entry for entry in await kantata.read_time([kept, withdrawn, gone, kept])}
    then = {entry.ref.id: entry for entry in page.entries}
    assert {one: entry.approved for one, entry in now.items()} == {kept: True, withdrawn: False}
    assert now[kept].substance != then[kept].substance, "an approved entry was edited"


async def test_any_number_of_entries_is_read_by_id(site: Site) -> None:
    site.many(450)
    ids = [str(90000 + n) for n in range(450)]
    assert {entry.ref.id for entry in await site.subject.connector.read_time([*ids, "424242"])} == set(ids)


async def test_time_of_archived_projects_is_told_and_needs_no_approval_where_none_is_asked(
    site: Site,
) -> None:
    entry = site.time(31, 20, rate_in_cents=21050)
    site.subject.vendor(
        "PUT",
        f"workspaces/{site.project}",
        {"workspace": {"archived": True, "require_time_approvals": False}},
    )
    (told,) = (await site.subject.connector.time_changes(None)).entries
    (read,) = await site.subject.connector.read_time([entry])
    assert told == read
    assert (read.work_date, read.minutes, read.role) == (date(2026, 1, 31), 20, "architect")
    assert (read.approval_basis, read.project.id) == (ApprovalBasis.NOT_REQUIRED, site.project)
    assert (read.rate, read.worker.id) == (Decimal("210.5"), "77")


async def test_expenses_of_an_open_window_are_listed_whole(site: Site) -> None:
    kantata = site.subject.connector
    early, late = site.expense(5, 980), site.expense(20, 1200)
    read = await kantata.expenses(date(2026, 1, 1), date(2026, 1, 10))
    assert [(one.ref.id, one.amount.amount, one.approved) for one in read] == [(early, Decimal("9.8"), False)]
    body = {"line_item_ids": [int(late)], "title": "Trip", "workspace_id": int(site.project), "user_id": 77}
    report = one(
        site.subject.vendor("POST", "expense_report_submissions", {"expense_report_submission": body})
    )
    site.subject.vendor("PUT", f"expense_report_submissions/{report}/approve", {"resolution": {}})
    both = {one.ref.id: one for one in await kantata.expenses(date(2026, 1, 1), date(2026, 1, 31))}
    assert {id_: one.approval_basis for id_, one in both.items()} == {
        early: None,
        late: ApprovalBasis.SUBMISSION,
    }
    site.subject.vendor(
        "PUT", f"workspaces/{site.project}", {"workspace": {"require_expense_approvals": False}}
    )
    (again,) = await kantata.read_expenses([early, "424242"])
    assert (again.approved, again.approval_basis) == (True, ApprovalBasis.NOT_REQUIRED)
    assert again.revision != both[early].revision


async def test_deletions_come_from_the_feed_where_it_is_bought(site: Site) -> None:
    kantata, entry, kept = site.subject.build(subscribed_events=True), site.time(), site.time(16)
    assert kantata.feed.deletions is DeletionSource.EVENTS
    page = await kantata.deletions(None)
    assert (page.changes, page.complete) == ((), False), "what was before the first poll, only a list tells"
    site.later(60)
    site.subject.vendor("DELETE", f"time_entries/{entry}")
    page = await kantata.deletions(page.cursor)
    assert [(one.ref.type, one.ref.id, one.deleted) for one in page.changes] == [
        ("time_entries", entry, True)
    ]
    assert page.complete
    assert (await kantata.deletions(page.cursor)).changes == ()
    old = json.loads(page.cursor)
    old["at"] = (datetime.now(UTC) - timedelta(days=10)).isoformat()
    assert not (await kantata.deletions(json.dumps(old))).complete, "the feed has dropped events since"
    assert [one.ref.id for one in await kantata.read_time([entry, kept])] == [kept]
    await kantata.close()


async def test_without_the_feed_a_complete_listing_shows_what_vanished(site: Site) -> None:
    kantata, entry, kept = site.subject.connector, site.time(5), site.time(31)
    site.time(date="2026-02-01")
    assert kantata.feed.deletions is DeletionSource.LISTING
    assert not (await kantata.deletions(None)).complete
    month = (LineKind.TIME, date(2026, 1, 1), date(2026, 1, 31))
    assert await kantata.present(*month) == {entry, kept}
    site.subject.vendor("DELETE", f"time_entries/{entry}")
    site.subject.vendor("PUT", f"workspaces/{site.project}", {"workspace": {"archived": True}})
    assert await kantata.present(*month) == {kept}
    expense = site.expense(5, 100)
    assert await kantata.present(LineKind.EXPENSE, date(2026, 1, 5), date(2026, 1, 5)) == {expense}


async def test_a_listing_that_shifts_is_read_again_and_misses_nothing(site: Site) -> None:
    site.many(450)
    site.before("slice", 2, lambda: site.subject.vendor("DELETE", "time_entries/90000"))
    listed = await site.subject.connector.present(LineKind.TIME, date(2026, 1, 1), date(2026, 1, 31))
    assert listed == {str(90000 + n) for n in range(1, 450)}


async def test_milestones_tell_completion_and_acceptance(site: Site) -> None:
    fields = [
        {"id": 21, "name": "Accepted on", "type": "date"},
        {"id": 22, "name": "Accepted by", "type": "string"},
    ]
    assert site.subject.control.post("/_sim/schema", json={"stories": fields}).status_code == 200
    mapping = site.subject.mapping(acceptance=AcceptanceFields(date=21, by=22))
    kantata = site.subject.build(mapping=mapping)
    assert kantata.feed.acceptance
    assert not site.subject.connector.feed.acceptance
    first, *_ = before = await kantata.milestones([site.project])
    assert not any(one.complete or one.accepted_on for one in before)
    site.subject.vendor("PUT", f"stories/{first.ref.id}", {"story": {"state": "completed"}})
    for field, value in ((21, "2026-07-01"), (22, "J. Doe")):
        body = {"subject_type": "Story", "subject_id": int(first.ref.id), "custom_field_id": field}
        site.subject.vendor("POST", "custom_field_values", {"custom_field_value": {**body, "value": value}})
    after_ = {one.ref.id: one for one in await kantata.milestones([site.project])}
    done = after_[first.ref.id]
    assert (done.complete, done.accepted_on, done.accepted_by) == (True, date(2026, 7, 1), "J. Doe")
    assert sum(one.complete for one in after_.values()) == 1
    await kantata.close()


async def test_projects_tell_their_code_and_what_they_ask_for(site: Site) -> None:
    site.subject.vendor("PUT", f"workspaces/{site.project}", {"workspace": {"archived": True}})
    (project,) = await site.subject.connector.projects([site.project, "424242"])
    assert (project.code, project.archived, project.currency) == (CODE, True, "EUR")
    assert project.time_approval_required
