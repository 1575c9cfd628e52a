"""What is not billed and why; how the balance rolls forward against a count of the items (rule 37)."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import update

from canonical.batches import BatchPurpose
from canonical.causes import Cause, Queue
from canonical.invoicing import Freed
from canonical.items import AllocationKind, Hold, Price
from canonical.unbilled import RollForward
from ledger.fees import NewPrice
from ledger.items import Placed
from ledger.store import Ledger
from ledger.tables import BillableItem
from tests.ledger.billing import (
    ERP,
    HOLD,
    PSA,
    billed,
    claim,
    draft,
    eur,
    get,
    issue,
    key,
    line,
    milestone,
    place,
    placement,
    plan,
    posted,
    rows,
    send,
    told,
)
from tests.ledger.subject import Clock
from tests.ledger.test_documents import proposal

pytestmark = pytest.mark.anyio


async def roll(ledger: Ledger, first: datetime, last: datetime | None = None) -> RollForward:
    (found,) = await ledger.roll_forward("NL01", first, last or ledger.now() + timedelta(seconds=1))
    return found


async def test_reasons_with_hours_and_money(ledger: Ledger) -> None:
    await posted(ledger, 1, 2, 3)
    await ledger.take_in([line(4), line(5, approved=False), line(6, minutes=30)])
    await place(ledger, 4)
    (six,) = await ledger.items_of([f"{PSA}/time_entries/6"])
    unpriced = placement(hold=HOLD, price=None)
    await ledger.place([Placed(six.id, six.key, unpriced)])
    held = plan(key(2), "30", 18, kind=AllocationKind.HELD, cause=Cause.OVER_CAP)
    await draft(ledger, plan(key(1), "100"), plan(key(2), "50", 30), held)
    waiting = Hold(cause=Cause.MILESTONE_NOT_COMPLETE, message="m", remedy="r", queue=Queue.DELIVERY)
    await ledger.take_fees([milestone(hold=waiting)], erp=ERP)
    groups = {group.reason: group for group in await ledger.unbilled_groups()}
    figures = {
        reason: (group.items, group.minutes, group.amount.minor if group.amount else None)
        for reason, group in groups.items()
    }
    assert figures == {
        "ready": (2, 72, 12_000),
        "not posted": (1, 60, 10_000),
        "on a draft": (2, 108, 15_000),
        "OVER_CAP": (1, 18, 3_000),
        "RATE_MISSING": (1, 30, None),
        "NOT_APPROVED": (1, 60, None),
        "MILESTONE_NOT_COMPLETE": (1, 0, 500_000),
    }
    assert groups["OVER_CAP"].cause is Cause.OVER_CAP
    assert groups["ready"].cause is None
    assert await ledger.unbilled_groups(project_code="PRJ-9") == []
    assert await ledger.unbilled_groups(through=date(2026, 1, 1)) == []


async def test_what_is_done_is_no_reason_any_more(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    await issue(ledger, await draft(ledger, plan(key(1), "100")))
    await ledger.take_out([f"{PSA}/time_entries/2"])
    await send(ledger, await claim(ledger, 2), BatchPurpose.REVERSE_COST)
    assert await ledger.unbilled_groups() == []


async def test_every_movement_shows_and_leads_to_what_the_items_hold(ledger: Ledger, clock: Clock) -> None:
    start = ledger.now()
    await posted(ledger, *range(1, 9))
    clock.turn(86_400)
    middle = ledger.now()
    first = await issue(ledger, await draft(ledger, plan(key(1), "100"), plan(key(2), "60", 36)))
    await ledger.allocate([plan(key(2), "40", 24, kind=AllocationKind.WRITTEN_DOWN)])
    await ledger.allocate([plan(key(3), "100", kind=AllocationKind.COVERED, document="agreed")])
    await ledger.take_out([f"{PSA}/time_entries/4"])
    await send(ledger, await claim(ledger, 2), BatchPurpose.REVERSE_COST)
    old = placement().price
    assert old is not None
    await ledger.reprice([NewPrice(key(5), 60, Price(amount=eur("125.50"), rate=old.rate), "backdated")])
    wanted = await proposal(ledger, first, key(1), "100", 60, Freed.UNBILLED)
    await ledger.propose_credit(wanted, saga_id="cr:1")
    await ledger.approve_credit(wanted)
    await ledger.issue_credit(wanted.key, told(billed("100"), "CM-1"))
    await draft(ledger, plan(key(6), "100"), cycle="2026-03")
    await ledger.allocate([plan(key(7), "100", kind=AllocationKind.HELD, cause=Cause.OVER_CAP)])
    clock.turn(86_400)
    end = ledger.now()
    before = await roll(ledger, start, middle)
    assert (before.opening, before.posted, before.closing) == (eur(0), eur("800"), eur("800"))
    found = await roll(ledger, middle, end)
    assert (found.opening, found.posted) == (eur("800"), eur(0))
    assert (found.billed, found.credited, found.written) == (eur("160"), eur("100"), eur("40"))
    assert (found.covered, found.reversed, found.repriced) == (eur("100"), eur("100"), eur("25.50"))
    assert found.closing == found.computed == eur("525.50")
    whole = await roll(ledger, start, end)
    assert whole.closing == whole.computed == found.closing
    assert (whole.opening, whole.posted) == (eur(0), eur("800"))


async def test_replaced_work_leaves_and_enters_the_balance(ledger: Ledger, clock: Clock) -> None:
    start = ledger.now()
    await posted(ledger, 1)
    clock.turn(10)
    await ledger.take_in([line(1, minutes=90, revision="r2")])
    await place(ledger, 1)
    piece = await claim(ledger, 2)
    await send(ledger, piece, BatchPurpose.REVERSE_COST)
    await send(ledger, piece)
    found = await roll(ledger, start)
    assert (found.posted, found.reversed, found.closing) == (eur("250"), eur("100"), eur("150"))
    assert found.computed == found.closing


async def test_reversed_on_purpose_and_posted_again(ledger: Ledger, clock: Clock) -> None:
    start = ledger.now()
    await posted(ledger, 1)
    clock.turn(10)
    until = ledger.now() + timedelta(seconds=60)
    piece = "rev:1|g1|p1"
    await ledger.claim_piece(piece, psa=PSA, erp=ERP, saga_id="rev:1", limit=9, until=until, only=[key(1)])
    ids = [row.id for row in await rows(ledger, piece=piece)]
    await send(ledger, piece, BatchPurpose.REVERSE_COST, only=ids)
    found = await roll(ledger, start)
    assert (found.posted, found.reversed, found.closing, found.computed) == (
        eur("100"),
        eur("100"),
        eur(0),
        eur(0),
    )
    clock.turn(10)
    await send(ledger, await claim(ledger, 7))
    found = await roll(ledger, start)
    assert (found.posted, found.reversed, found.closing, found.computed) == (
        eur("200"),
        eur("100"),
        eur("100"),
        eur("100"),
    )


async def test_an_amount_that_changed_without_a_movement_shows(ledger: Ledger) -> None:
    """The check can fail: the closing balance is not made of the movements."""
    start = ledger.now()
    await posted(ledger, 1)
    async with ledger.transaction() as session:
        statement = update(BillableItem).values(open_minor=9_000, priced_minor=9_000)
        await (await session.connection()).execute(statement)
    found = await roll(ledger, start)
    assert (found.computed, found.closing) == (eur("100"), eur("90"))


async def test_cost_that_is_not_billed_there_moves_nothing(ledger: Ledger) -> None:
    await ledger.take_in([line(1), line(2)])
    await place(ledger, 1, 2, unbilled_in_erp=False)
    await send(ledger, await claim(ledger))
    (found,) = await ledger.roll_forward("NL01", ledger.now(), ledger.now() + timedelta(seconds=1))
    assert (found.posted, found.closing) == (eur(0), eur(0))


async def test_the_lines_behind_the_balance(ledger: Ledger) -> None:
    await posted(ledger, 1, 2, 3)
    await issue(ledger, await draft(ledger, plan(key(1), "100"), plan(key(2), "30", 18)))
    page = await ledger.open_in_erp("NL01", "EUR", date(2026, 2, 28))
    assert [row.key for row in page.rows] == [key(2), key(3)]
    assert (await get(ledger, key(2))).open == eur("70")
    page = await ledger.open_in_erp("NL01", "EUR", date(2026, 2, 28), limit=1)
    assert page.cursor is not None
    rest = await ledger.open_in_erp("NL01", "EUR", date(2026, 2, 28), after=page.cursor)
    assert [row.key for row in rest.rows] == [key(3)]


async def test_lines_in_batches_without_an_outcome_are_on_their_way(ledger: Ledger) -> None:
    await ledger.take_in([line(1), line(2)])
    await place(ledger, 1, 2)
    assert await ledger.in_flight("NL01") == []
    piece = await claim(ledger)
    (batch,) = await ledger.form_batches(piece, BatchPurpose.POST_COST, ERP, size=100)
    (found,) = await ledger.in_flight("NL01")
    assert (found.system, found.purpose, found.items, found.minutes) == (ERP, "post_cost", 2, 120)
    assert found.amount == eur("200")
    assert await ledger.in_flight("UK01") == []
    await send(ledger, piece)
    assert batch.number == 1
    assert await ledger.in_flight("NL01") == []


async def test_when_a_feed_was_read_is_known(ledger: Ledger, clock: Clock) -> None:
    assert await ledger.read_at(["a|time"]) == {}
    await ledger.put_cursor("a|time", "1")
    clock.turn(60)
    await ledger.put_cursor("a|time", "1")
    assert await ledger.read_at(["a|time", "b|time"]) == {"a|time": ledger.now()}


async def test_only_work_from_a_day_on(ledger: Ledger) -> None:
    await posted(ledger, 1)
    assert await ledger.unbilled_groups(first=date(2026, 3, 1)) == []
    (group,) = await ledger.unbilled_groups(first=date(2026, 2, 10))
    assert group.items == 1
