"""What a delivery system tells becomes items: new, known, harmless, changed, gone (rules 1, 27, 28)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from canonical.batches import BatchPurpose
from canonical.causes import Cause
from canonical.items import BillingState, CostState
from ledger.store import Ledger
from tests.ledger.billing import ERP, PSA, claim, get, key, line, place, posted, rows, send
from tests.ledger.subject import Clock

pytestmark = pytest.mark.anyio

LATER = datetime(2026, 2, 20, tzinfo=UTC)


async def test_a_page_read_twice_changes_nothing(ledger: Ledger) -> None:
    page = [line(1), line(2), line(3, approved=False)]
    first = await ledger.take_in(page, cursor=("kantata|time", "c1"))
    assert (first.new, first.same) == (3, 0)
    again = await ledger.take_in(page, cursor=("kantata|time", "c2"))
    assert (again.new, again.same) == (0, 3)
    assert await ledger.cursor("kantata|time") == "c2"
    assert [row.key for row in await rows(ledger)] == [key(1), key(2), key(3)]


async def test_of_several_readings_in_one_page_the_last_counts(ledger: Ledger) -> None:
    taken = await ledger.take_in([line(1, minutes=60), line(1, minutes=90, revision="r2")])
    assert taken.new == 1
    assert [(row.key, row.minutes) for row in await rows(ledger)] == [(key(1, "r2"), 90)]


async def test_what_is_not_approved_is_held_and_never_claimed(ledger: Ledger) -> None:
    await ledger.take_in([line(1, approved=False)])
    row = await get(ledger, key(1))
    assert row.hold is not None
    assert row.hold.cause is Cause.NOT_APPROVED
    piece = await claim(ledger)
    assert await rows(ledger, piece=piece) == ()
    taken = await ledger.take_in([line(1, revision="r2")])
    assert taken.renewed == 1
    row = await get(ledger, key(1, "r2"))
    assert row.hold is None
    assert row.approved


async def test_an_unposted_line_is_read_anew_in_place(ledger: Ledger) -> None:
    await ledger.take_in([line(1)])
    await place(ledger, 1)
    taken = await ledger.take_in([line(1, minutes=30, revision="r2")])
    assert taken.renewed == 1
    (row,) = await rows(ledger)
    assert (row.key, row.minutes, row.placed, row.priced) == (key(1, "r2"), 30, False, None)


async def test_an_older_reading_does_not_win(ledger: Ledger) -> None:
    await ledger.take_in([line(1, revision="r2", changed_at=LATER, minutes=30)])
    taken = await ledger.take_in([line(1, revision="r1")])
    assert taken.same == 1
    assert (await get(ledger, key(1, "r2"))).minutes == 30


async def test_a_harmless_revision_of_something_posted_is_no_new_item(ledger: Ledger) -> None:
    await posted(ledger, 1)
    taken = await ledger.take_in([line(1, revision="r2", note="corrected")])
    assert taken.confirmed == 1
    (row,) = await rows(ledger)
    assert (row.key, row.cost) == (key(1, "r1"), CostState.POSTED)
    assert (await ledger.take_in([line(1, revision="r2", note="corrected")])).same == 1


async def test_an_edit_after_posting_withdraws_the_old_and_waits_with_the_new(ledger: Ledger) -> None:
    await posted(ledger, 1)
    taken = await ledger.take_in([line(1, minutes=90, revision="r2")])
    assert taken.replaced == 1
    old, new = await rows(ledger)
    assert (old.withdrawn, old.current, new.replaces) == ("edited", False, old.key)
    await place(ledger, 1)
    piece = await claim(ledger, 2)
    assert await ledger.form_batches(piece, BatchPurpose.POST_COST, ERP, size=100) == []
    await send(ledger, piece, BatchPurpose.REVERSE_COST)
    old = await get(ledger, old.key)
    assert old.cost is CostState.REVERSED
    assert old.open is not None
    assert old.open.minor == 0
    assert old.billing is BillingState.NOT_BILLABLE
    await send(ledger, piece)
    new = await get(ledger, new.key)
    assert (new.cost, new.priced.minor if new.priced else None) == (CostState.POSTED, 15_000)


async def test_a_rejection_after_posting_is_taken_back_and_nothing_is_posted(ledger: Ledger) -> None:
    await posted(ledger, 1)
    taken = await ledger.take_in([line(1, revision="r2", approved=False)])
    assert taken.withdrawn == 1
    piece = await claim(ledger, 2)
    await send(ledger, piece, BatchPurpose.REVERSE_COST)
    await send(ledger, piece)
    old, new = await rows(ledger)
    assert (old.cost, new.cost) == (CostState.REVERSED, CostState.UNPOSTED)
    assert new.hold is not None


async def test_approved_again_before_it_was_taken_back_changes_nothing(ledger: Ledger) -> None:
    await posted(ledger, 1)
    await ledger.take_in([line(1, revision="r2", approved=False)])
    taken = await ledger.take_in([line(1, revision="r3")])
    assert taken.restored == 1
    (row,) = await rows(ledger)
    assert (row.key, row.cost, row.withdrawn, row.current) == (key(1), CostState.POSTED, None, True)
    assert (await ledger.take_in([line(1, revision="r3")])).same == 1


async def test_approved_again_after_it_was_taken_back_is_posted_anew(ledger: Ledger) -> None:
    await posted(ledger, 1)
    await ledger.take_in([line(1, revision="r2", approved=False)])
    piece = await claim(ledger, 2)
    await send(ledger, piece, BatchPurpose.REVERSE_COST)
    await ledger.close_piece(piece)
    await ledger.take_in([line(1, revision="r3")])
    await place(ledger, 1)
    piece = await claim(ledger, 3)
    await send(ledger, piece)
    states = {row.key: row.cost for row in await rows(ledger)}
    assert states == {key(1): CostState.REVERSED, key(1, "r3"): CostState.POSTED}


async def test_a_change_during_a_batch_waits_for_its_outcome(ledger: Ledger) -> None:
    await ledger.take_in([line(1), line(2)])
    await place(ledger, 1, 2)
    piece = await claim(ledger)
    await ledger.form_batches(piece, BatchPurpose.POST_COST, ERP, size=100)
    taken = await ledger.take_in([line(1, minutes=30, revision="r2")])
    assert taken.deferred == 1
    assert (await ledger.take_out([f"{PSA}/time_entries/2"])).deferred == 1
    assert (await get(ledger, key(1))).minutes == 60, "what is on the wire stays what it is"
    await send(ledger, piece)
    old, new = await get(ledger, key(1)), await get(ledger, key(1, "r2"))
    assert (old.cost, old.withdrawn, new.replaces) == (CostState.POSTED, "edited", old.key)
    assert (await get(ledger, key(2))).withdrawn == "deleted"


async def test_what_is_deleted_before_it_was_posted_is_gone_and_after_is_taken_back(ledger: Ledger) -> None:
    await posted(ledger, 1)
    await ledger.take_in([line(2)])
    sources = [f"{PSA}/time_entries/{number}" for number in (1, 2, 3)]
    assert (await ledger.take_out(sources)).withdrawn == 2
    assert (await ledger.take_out(sources)).withdrawn == 0, "a second time there is nothing"
    one, two = await rows(ledger)
    assert (one.cost, one.withdrawn) == (CostState.POSTED, "deleted")
    assert (two.cost, two.billing) == (CostState.NOT_APPLICABLE, BillingState.NOT_BILLABLE)
    piece = await claim(ledger, 2)
    assert [row.key for row in await rows(ledger, piece=piece)] == [one.key]


async def test_minutes_of_a_day_are_added_over_current_entries(ledger: Ledger, clock: Clock) -> None:
    await ledger.take_in([line(1, minutes=600), line(2, minutes=900), line(3, minutes=60, approved=False)])
    day = line(1).work_date
    assert await ledger.day_minutes([("7", day)]) == {("7", day): 1_560}
    assert await ledger.day_minutes([("8", day), ("7", day + timedelta(days=1))]) == {}


# --- deleted, and there again ------------------------------------------------------------------------


async def test_what_vanished_before_it_was_posted_and_is_there_again_is_read_anew(ledger: Ledger) -> None:
    await ledger.take_in([line(1)])
    await ledger.take_out([f"{PSA}/time_entries/1"])
    assert (await ledger.take_in([line(1)])).renewed == 1
    await place(ledger, 1)
    await send(ledger, await claim(ledger))
    (row,) = await rows(ledger)
    assert (row.key, row.cost, row.current, row.withdrawn) == (key(1), CostState.POSTED, True, None)


async def test_what_vanished_after_it_was_posted_and_is_there_again_in_time_stays(ledger: Ledger) -> None:
    await posted(ledger, 1)
    await ledger.take_out([f"{PSA}/time_entries/1"])
    assert (await ledger.take_in([line(1)])).restored == 1
    piece = await claim(ledger, 2)
    assert await ledger.form_batches(piece, BatchPurpose.REVERSE_COST, ERP, size=100) == []
    (row,) = await rows(ledger)
    assert (row.cost, row.current, row.withdrawn) == (CostState.POSTED, True, None)


async def test_what_came_back_after_it_was_taken_back_is_posted_under_a_key_of_its_own(
    ledger: Ledger,
) -> None:
    await posted(ledger, 1)
    await ledger.take_out([f"{PSA}/time_entries/1"])
    piece = await claim(ledger, 2)
    await send(ledger, piece, BatchPurpose.REVERSE_COST)
    await ledger.close_piece(piece)
    assert (await ledger.take_in([line(1)])).replaced == 1
    assert (await ledger.take_in([line(1)])).same == 1
    await place(ledger, 1)
    await send(ledger, await claim(ledger, 3))
    old, new = await rows(ledger)
    assert (old.key, old.cost, old.current) == (key(1), CostState.REVERSED, False)
    assert (new.cost, new.current, new.replaces) == (CostState.POSTED, True, old.key)
    assert new.key != old.key


# --- seen already ------------------------------------------------------------------------------------


async def test_an_approval_is_seen_by_an_approved_item_that_was_made_after_it(
    ledger: Ledger, clock: Clock
) -> None:
    await ledger.take_in([line(1), line(2, approved=False)])
    now, sources = ledger.now(), [f"{PSA}/time_entries/{number}" for number in (1, 2, 3)]
    assert await ledger.taken_in_since(dict.fromkeys(sources, now)) == {sources[0]}, "not unapproved, unknown"
    assert await ledger.taken_in_since({sources[0]: now + timedelta(seconds=1)}) == set(), "changed since"
    await ledger.take_out(sources)
    assert await ledger.taken_in_since(dict.fromkeys(sources, now)) == set(), "gone"
