"""Kantata: what the later sagas read and write, over HTTP against the simulated account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from canonical.authority import Phase
from canonical.billing import ApprovalState
from canonical.causes import Cause
from canonical.failures import Conflict, Refused
from canonical.money import Money
from canonical.refs import Dimensions
from canonical.writes import Landed, UndoResult, VendorWrite
from connectors.kantata import billing_plans
from connectors.kantata.settings import KantataSettings
from connectors.kantata.time_mapping import ProjectFacts, WorkerFacts
from tests.acceptance.kantata import SYSTEM, Subject
from tests.support.moves import reading_of

pytestmark = pytest.mark.anyio

FACTS = ProjectFacts(
    project_code="PRJ-1", project_entity="DE01", dimensions=Dimensions(region="emea", legal_entity="DE01")
)
WORKER = WorkerFacts(worker_id="W77", employing_entity="PL01")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Site:
    """A project with people's time."""

    def __init__(self) -> None:
        self.subject = Subject()
        self.project = ""

    async def open(self) -> None:
        setup = self.subject.setup()
        values, _ = await self.subject.project(setup)
        self.project = self.subject.project_id(values, setup)
        self.subject.vendor(
            "POST", "participations",
            {"participation": {"workspace_id": int(self.project), "user_id": 77, "role": "maven"}},
        )  # fmt: skip

    @property
    def settings(self) -> KantataSettings:
        return self.subject.connector._settings

    def time(self, day: int = 15, minutes: int = 30, **more: Any) -> str:
        body = {
            "workspace_id": int(self.project),
            "user_id": 77,
            "date_performed": f"2026-01-{day:02d}",
            "time_in_minutes": minutes,
            "role_id": 5,
            "billable": True,
            **more,
        }
        return one(self.subject.vendor("POST", "time_entries", {"time_entry": body}))

    def submit(self, *entries: str) -> str:
        body = {
            "line_item_ids": [int(entry) for entry in entries],
            "title": "Week",
            "workspace_id": int(self.project),
            "user_id": 77,
        }
        return one(self.subject.vendor("POST", "timesheet_submissions", {"timesheet_submission": body}))

    def resolve(self, submission: str, word: str) -> None:
        body = {"resolution": {"description": "ok"}}
        self.subject.vendor("PUT", f"timesheet_submissions/{submission}/{word}", body)

    def later(self, seconds: int) -> None:
        self.subject.control.post("/_sim/clock", json={"offset_seconds": seconds})

    async def make(self, write: VendorWrite) -> Landed:
        kantata = self.subject.connector
        assert await kantata.find(write) is None
        landed = await kantata.send(write)
        shown = await reading_of(kantata, write, landed)
        assert shown == write.expect
        found = await kantata.find(write)
        assert found is not None
        assert found.id == landed.id
        return landed


def one(answer: dict[str, Any]) -> str:
    return str(answer["results"][0]["id"])


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    place = Site()
    await place.open()
    yield place
    await place.subject.close()


def after(site: Site) -> Any:
    return site.subject.context(phase=Phase.AFTER_APPROVAL)


async def test_approved_time_is_told_once_however_often_it_is_polled(site: Site) -> None:
    feeds, first, second = site.subject.connector.feeds, site.time(), site.time(16)
    site.time(17)
    site.resolve(site.submit(first, second), "approve")
    page = await feeds.time_changes(None)
    assert {change.ref.id for change in page.changes} == {first, second}
    assert not page.more
    again = await feeds.time_changes(page.cursor)
    assert again.changes == ()
    everything = await feeds.time_changes(None, approved_only=False)
    assert len(everything.changes) == 3
    site.later(120)
    site.subject.vendor("PUT", f"time_entries/{first}", {"time_entry": {"notes": "changed"}})
    page = await feeds.time_changes(again.cursor)
    assert [change.ref.id for change in page.changes] == [first]


async def test_a_backlog_comes_in_portions_without_gap_or_repetition(site: Site) -> None:
    start = datetime(2026, 1, 5, tzinfo=UTC)
    site.subject.seed(
        time_entries=[
            {
                "id": 90000 + n,
                "workspace_id": site.project,
                "user_id": 77,
                "date_performed": "2026-01-05",
                "time_in_minutes": 5,
                "updated_at": (start + timedelta(seconds=n // 3)).isoformat(),
            }
            for n in range(700)
        ]
    )
    told: list[str] = []
    cursor: str | None = None
    for _ in range(20):
        page = await site.subject.connector.feeds.time_changes(cursor, limit=150, approved_only=False)
        told += [change.ref.id for change in page.changes]
        cursor = page.cursor
        if not page.more:
            break
    assert sorted(told) == sorted(str(90000 + n) for n in range(700))


async def test_approval_and_rejection_come_by_the_second_cursor(site: Site) -> None:
    feeds, entry = site.subject.connector.feeds, site.time()
    submission = site.submit(entry)
    first = await feeds.time_changes(None)
    assert (await feeds.approvals_of([entry])) == {entry: ApprovalState.SUBMITTED}
    site.later(60)
    site.resolve(submission, "approve")
    page = await feeds.submission_changes(None)
    assert [change.ref.id for change in page.changes] == [entry]
    assert (await feeds.approvals_of([entry, "424242"])) == {entry: ApprovalState.APPROVED}
    site.later(120)
    site.resolve(submission, "reject")
    # The rejection need not touch the entry: the first cursor is silent about it.
    assert (await feeds.time_changes(first.cursor)).changes == ()
    page = await feeds.submission_changes(page.cursor)
    assert [change.ref.id for change in page.changes] == [entry]
    assert (await feeds.approvals_of([entry])) == {entry: ApprovalState.REJECTED}
    assert (await feeds.submission_changes(page.cursor)).changes == ()


async def test_time_in_canonical_words_also_of_archived_projects(site: Site) -> None:
    entry = site.time(31, 20)
    site.resolve(site.submit(entry), "approve")
    site.subject.vendor("PUT", f"workspaces/{site.project}", {"workspace": {"archived": True}})
    (read,) = await site.subject.connector.feeds.time_entries(
        [entry, entry], {site.project: FACTS}, {"77": WORKER}
    )
    assert (read.work_date, read.minutes, read.role) == (date(2026, 1, 31), 20, "architect")
    assert (read.approval, read.employing_entity) == (ApprovalState.APPROVED, "PL01")


async def test_expenses_of_an_open_window_are_listed_whole(site: Site) -> None:
    for day, amount in ((5, 980), (20, 1200)):
        expense = {
            "workspace_id": int(site.project),
            "user_id": 77,
            "date": f"2026-01-{day:02d}",
            "category": "Travel",
            "amount_in_cents": amount,
        }
        site.subject.vendor("POST", "expenses", {"expense": expense})
    site.subject.vendor(
        "PUT", f"workspaces/{site.project}", {"workspace": {"require_expense_approvals": False}}
    )
    feeds, facts = site.subject.connector.feeds, ({site.project: FACTS}, {"77": WORKER})
    read = await feeds.expenses(date(2026, 1, 1), date(2026, 1, 10), *facts)
    assert [(one.incurred_on, one.amount.amount) for one in read] == [(date(2026, 1, 5), Decimal("9.8"))]
    assert len(await feeds.expenses(date(2026, 1, 1), date(2026, 1, 31), *facts)) == 2


async def test_deletions_are_only_in_the_event_feed(site: Site) -> None:
    feeds, entry, kept = site.subject.connector.feeds, site.time(), site.time(16)
    page = await feeds.deletions(None)
    assert page.changes == ()
    site.later(60)
    site.subject.vendor("DELETE", f"time_entries/{entry}")
    page = await feeds.deletions(page.cursor)
    assert [(one.ref.type, one.ref.id, one.deleted) for one in page.changes] == [
        ("time_entries", entry, True)
    ]
    assert (await feeds.deletions(page.cursor)).changes == ()
    assert kept in await feeds.approvals_of([entry, kept])


async def test_exported_marks_are_set_found_repeated_and_taken_back(site: Site) -> None:
    kantata, entries = site.subject.connector, [site.time(), site.time(16)]
    lines = [
        billing_plans.ExportedLine(subject_type="TimeEntry", subject_id=entry, document="INV-1")
        for entry in entries
    ]
    writes = billing_plans.plan_exported(SYSTEM, site.settings, after(site), lines)
    landed = [await site.make(write) for write in writes]
    assert (await kantata.send(writes[0])).id == landed[0].id
    assert await kantata.feeds.exported(entries) == dict.fromkeys(entries, "INV-1")
    moved = billing_plans.plan_exported(
        SYSTEM, site.settings, after(site), [lines[0].model_copy(update={"document": "INV-2"})]
    )[0]
    assert await kantata.find(moved) is None
    assert (await kantata.amend(moved, landed[0])).id == landed[0].id
    assert await kantata.feeds.exported(entries) == {entries[0]: "INV-2", entries[1]: "INV-1"}
    assert (await kantata.undo(writes[1], landed[1], None)).result is UndoResult.DELETED
    assert (await kantata.undo(writes[1], landed[1], None)).result is UndoResult.NOTHING_THERE
    assert list(await kantata.feeds.exported(entries)) == [entries[0]]


def invoice(site: Site, *entries: str) -> VendorWrite:
    copy = billing_plans.InvoiceCopy(
        key="INV-2026-045",
        number="INV-2026-045",
        project=site.project,
        time_entry_ids=entries,
        issued_on=date(2026, 2, 1),
        payment_days=30,
        purchase_order="PO 1",
        project_code="PRJ-1",
    )
    return billing_plans.plan_invoice(SYSTEM, site.settings, after(site), copy)


async def test_an_invoice_locks_its_lines_and_is_cancelled_by_the_undo(site: Site) -> None:
    entry = site.time(rate_in_cents=21050)
    site.resolve(site.submit(entry), "approve")
    write = invoice(site, entry)
    landed = await site.make(write)
    assert (await site.subject.connector.undo(write, landed, None)).result is UndoResult.INACTIVATED
    assert site.subject.record("invoices", landed.id)["status"] == "cancelled"
    assert (await site.subject.connector.undo(write, landed, None)).result is UndoResult.INACTIVATED
    with pytest.raises(Refused, match="not changed"):
        await site.subject.connector.amend(write, landed)


async def test_a_full_payment_is_forward_only(site: Site) -> None:
    entry = site.time(rate_in_cents=21050)
    site.resolve(site.submit(entry), "approve")
    write = invoice(site, entry)
    landed = await site.make(write)
    paid = billing_plans.plan_payment(
        SYSTEM,
        site.settings,
        after(site),
        billing_plans.FullPayment(
            key="R88", project=site.project, invoice=landed.id, receipt="ERP receipt 88"
        ),
    )
    payment = await site.make(paid)
    with pytest.raises(Refused) as refusal:
        await site.subject.connector.undo(paid, payment, None)
    assert refusal.value.failure.cause is Cause.UNDO_BLOCKED
    with pytest.raises(Conflict, match="status"):
        await site.subject.connector.undo(write, landed, None)


async def test_recognised_revenue_is_recorded_and_taken_back(site: Site) -> None:
    amount = Money(amount=Decimal("1234.50"), currency="EUR")
    revenue = billing_plans.Recognition(
        key="DE01.2026-01",
        project=site.project,
        first=date(2026, 1, 1),
        last=date(2026, 1, 31),
        amount=amount,
        to_date=amount,
    )
    write = billing_plans.plan_revenue(SYSTEM, site.settings, after(site), revenue)
    landed = await site.make(write)
    more = revenue.model_copy(update={"amount": Money(amount=Decimal("2000"), currency="EUR")})
    changed = billing_plans.plan_revenue(SYSTEM, site.settings, after(site), more)
    await site.subject.connector.amend(changed, landed)
    assert await reading_of(site.subject.connector, changed, landed) == changed.expect
    assert (await site.subject.connector.undo(write, landed, None)).result is UndoResult.DELETED
    assert (await site.subject.connector.undo(write, landed, None)).result is UndoResult.NOTHING_THERE
