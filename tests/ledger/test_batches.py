"""Pieces and batches: claimed once, resumed where they stopped, never sent twice (rules 23, 29)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from canonical.batches import BatchPurpose, BatchState, LineResult, LineState
from canonical.failures import Defect
from canonical.items import CostState
from ledger.billing_rows import BatchClaimState
from ledger.items import Placed
from ledger.store import Ledger
from tests.ledger.billing import (
    ERP,
    HOLD,
    PSA,
    RUN,
    claim,
    get,
    key,
    line,
    place,
    placement,
    posted,
    rows,
    send,
)
from tests.ledger.subject import Clock

pytestmark = pytest.mark.anyio

POST = BatchPurpose.POST_COST


async def ready(ledger: Ledger, count: int) -> str:
    """A piece with so many placed entries."""
    numbers = range(1, count + 1)
    await ledger.take_in([line(number) for number in numbers])
    await place(ledger, *numbers)
    return await claim(ledger)


async def test_a_piece_is_what_it_was_when_it_is_claimed_again(ledger: Ledger) -> None:
    await ledger.take_in([line(number) for number in range(1, 11)])
    first = await claim(ledger, 1, limit=6)
    row = await ledger.piece(first)
    assert row is not None
    assert (row.claimed, row.more, row.to_post) == (6, True, 6)
    assert await claim(ledger, 1, limit=6) == first
    assert len(await rows(ledger, piece=first)) == 6
    second = await claim(ledger, 2, limit=6)
    row = await ledger.piece(second)
    assert row is not None
    assert (row.claimed, row.more) == (4, False)


async def test_forming_again_answers_the_same_batches(ledger: Ledger) -> None:
    piece = await ready(ledger, 25)
    batches = await ledger.form_batches(piece, POST, ERP, size=10)
    assert [batch.lines for batch in batches] == [10, 10, 5]
    assert [batch.number for batch in batches] == [1, 2, 3]
    assert await ledger.form_batches(piece, POST, ERP, size=10) == batches


async def test_only_so_many_lines_are_formed_as_are_asked_for(ledger: Ledger) -> None:
    piece = await ready(ledger, 25)
    assert [one.lines for one in await ledger.form_batches(piece, POST, ERP, size=10, limit=12)] == [10, 2]


async def test_a_batch_goes_to_its_end_and_stays_there(ledger: Ledger) -> None:
    piece = await ready(ledger, 3)
    (batch,) = await ledger.form_batches(piece, POST, ERP, size=10)
    until = ledger.now() + timedelta(seconds=60)
    answer = await ledger.submit_batch(batch.key, "a1", until)
    assert answer.state is BatchClaimState.SEND
    assert (await ledger.submit_batch(batch.key, "a2", until)).state is BatchClaimState.BUSY
    accepted = await ledger.accept_batch(batch.key, "job-9")
    assert (accepted.state, accepted.ticket) == (BatchState.ACCEPTED, "job-9")
    assert (await ledger.submit_batch(batch.key, "a2", until)).state is BatchClaimState.ACCEPTED
    results = [
        LineResult(item_key=key(1), state=LineState.LANDED, record_id="77"),
        LineResult(item_key=key(2), state=LineState.REFUSED, message="locked", hold=HOLD),
        LineResult(item_key=key(3), state=LineState.RETRY, message="busy"),
    ]
    done = await ledger.settle_batch(batch.key, results)
    assert (done.state, done.landed, done.refused, done.retry) == (BatchState.DONE, 1, 1, 1)
    assert await ledger.settle_batch(batch.key, []) == done, "a settled batch stays as it is"
    assert (await ledger.submit_batch(batch.key, "a2", until)).state is BatchClaimState.DONE
    one, two, three = [await get(ledger, key(number)) for number in (1, 2, 3)]
    assert (one.cost, one.posting_id) == (CostState.POSTED, "77")
    assert (two.cost, two.hold, two.piece) == (CostState.UNPOSTED, HOLD, None)
    assert (three.cost, three.piece) == (CostState.UNPOSTED, piece)
    (again,) = await ledger.form_batches(piece, POST, ERP, size=10)
    assert [one.item.key for one in await ledger.batch_lines(again.key)] == [key(3)]


async def test_an_attempt_whose_time_is_over_may_have_sent(ledger: Ledger, clock: Clock) -> None:
    piece = await ready(ledger, 1)
    (batch,) = await ledger.form_batches(piece, POST, ERP, size=10)
    await ledger.submit_batch(batch.key, "a1", ledger.now() + timedelta(seconds=60))
    clock.turn(61)
    answer = await ledger.submit_batch(batch.key, "a2", ledger.now() + timedelta(seconds=60))
    assert answer.state is BatchClaimState.AGAIN


async def test_what_never_left_us_is_intended_again(ledger: Ledger) -> None:
    piece = await ready(ledger, 1)
    (batch,) = await ledger.form_batches(piece, POST, ERP, size=10)
    until = ledger.now() + timedelta(seconds=60)
    await ledger.submit_batch(batch.key, "a1", until)
    released = await ledger.release_batch(batch.key, "a1", sent=False)
    assert released.state is BatchState.INTENDED
    await ledger.submit_batch(batch.key, "a2", until)
    released = await ledger.release_batch(batch.key, "a2", sent=True)
    assert released.state is BatchState.SUBMITTED
    answer = await ledger.submit_batch(batch.key, "a3", until)
    assert answer.state is BatchClaimState.AGAIN, "at once: the attempt said that it is over"
    released = await ledger.release_batch(batch.key, "a3", sent=False)
    assert released.state is BatchState.SUBMITTED, "an attempt before it may have landed"


async def test_dropped_lines_change_the_key_and_are_free(ledger: Ledger) -> None:
    piece = await ready(ledger, 3)
    (batch,) = await ledger.form_batches(piece, POST, ERP, size=10)
    smaller = await ledger.drop_lines(batch.key, [key(2)], "approval withdrawn")
    assert smaller.key != batch.key
    assert [one.item.key for one in await ledger.batch_lines(smaller.key)] == [key(1), key(3)]
    assert await ledger.drop_lines(smaller.key, [key(2)], "approval withdrawn") == smaller
    gone = await ledger.drop_lines(smaller.key, [key(1), key(3)], "approval withdrawn")
    assert gone.state is BatchState.ABANDONED
    assert len(await ledger.form_batches(piece, POST, ERP, size=10)) == 1


async def test_nothing_is_dropped_from_a_batch_that_may_have_been_sent(ledger: Ledger) -> None:
    piece = await ready(ledger, 1)
    (batch,) = await ledger.form_batches(piece, POST, ERP, size=10)
    await ledger.submit_batch(batch.key, "a1", ledger.now() + timedelta(seconds=60))
    with pytest.raises(Defect, match="may be with the vendor"):
        await ledger.drop_lines(batch.key, [key(1)], "approval withdrawn")
    with pytest.raises(Defect, match="may be with the vendor"):
        await ledger.abandon_batch(batch.key)


async def test_a_superseded_batch_leaves_lines_to_be_looked_for(ledger: Ledger, clock: Clock) -> None:
    piece = await ready(ledger, 2)
    (batch,) = await ledger.form_batches(piece, POST, ERP, size=10)
    await ledger.submit_batch(batch.key, "a1", ledger.now() + timedelta(seconds=60))
    for _ in range(2):
        with pytest.raises(Defect, match="may still be answered"):
            await ledger.supersede_batch(batch.key)
        # An attempt that lost its answer is over; its call may still arrive.
        await ledger.release_batch(batch.key, "a1", sent=True)
    clock.turn(61)
    assert (await ledger.supersede_batch(batch.key)).state is BatchState.SUPERSEDED
    assert (await ledger.submit_batch(batch.key, "a2", ledger.now())).state is BatchClaimState.CLOSED
    assert await ledger.form_batches(piece, POST, ERP, size=10) == [], "not before somebody has looked"
    assert len(await rows(ledger, look_first=True)) == 2
    assert await ledger.found_posted({key(1): "77", key(2): None}, posted_by=piece) == 1
    assert (await get(ledger, key(1))).posting_id == "77"
    (again,) = await ledger.form_batches(piece, POST, ERP, size=10)
    assert [one.item.key for one in await ledger.batch_lines(again.key)] == [key(2)]


async def test_a_piece_whose_run_is_gone_is_taken_over_with_its_batches(ledger: Ledger, clock: Clock) -> None:
    piece = await ready(ledger, 30)
    first, second, third = await ledger.form_batches(piece, POST, ERP, size=10)
    until = ledger.now() + timedelta(seconds=60)
    await ledger.submit_batch(first.key, "a1", until)
    await ledger.submit_batch(second.key, "a1", until)
    await ledger.accept_batch(second.key, "job-2")
    clock.turn(301)
    mine = await claim(ledger, 2)
    assert not await ledger.extend_piece(piece, ledger.now() + timedelta(seconds=60)), (
        "not its run's any more"
    )
    with pytest.raises(Defect, match="taken_over"):
        await claim(ledger, 1)
    batches = await ledger.form_batches(mine, POST, ERP, size=10)
    assert [batch.key for batch in batches[:2]] == [first.key, second.key]
    assert [batch.state for batch in batches] == [
        BatchState.SUBMITTED,
        BatchState.ACCEPTED,
        BatchState.INTENDED,
    ]
    assert batches[2].key != third.key, "what was only intended is formed anew"
    everything = [one.item.key for batch in batches for one in await ledger.batch_lines(batch.key)]
    assert len(everything) == len(set(everything)) == 30


async def test_a_piece_that_is_extended_is_not_taken_over(ledger: Ledger, clock: Clock) -> None:
    piece = await ready(ledger, 3)
    clock.turn(290)
    assert await ledger.extend_piece(piece, ledger.now() + timedelta(seconds=300))
    clock.turn(290)
    other = await claim(ledger, 2)
    assert await rows(ledger, piece=other) == ()
    assert len(await rows(ledger, piece=piece)) == 3


async def test_a_closed_piece_lets_go_of_what_is_not_on_its_way(ledger: Ledger) -> None:
    piece = await ready(ledger, 20)
    first, _ = await ledger.form_batches(piece, POST, ERP, size=10)
    await ledger.submit_batch(first.key, "a1", ledger.now() + timedelta(seconds=60))
    assert await ledger.close_piece(piece) == 10
    other = await claim(ledger, 2)
    assert len(await rows(ledger, piece=other)) == 20, "with the batch on its way, for who comes next"
    assert [one.key for one in await ledger.batches(piece=other)] == [first.key]


async def test_a_run_that_is_over_lets_go_of_all_its_pieces_and_of_no_others(ledger: Ledger) -> None:
    first = await ready(ledger, 20)
    sent, _ = await ledger.form_batches(first, POST, ERP, size=10)
    await ledger.submit_batch(sent.key, "a1", ledger.now() + timedelta(seconds=60))
    await ledger.take_in([line(21)])
    await ledger.claim_piece(
        "post:2|g1|p1",
        psa=PSA,
        erp=ERP,
        saga_id="post:2",
        limit=10,
        until=ledger.now() + timedelta(seconds=300),
    )
    run = first.partition("|")[0]
    assert await ledger.close_pieces(run) == 10
    assert await ledger.close_pieces(run) == 0
    other = await claim(ledger, 3)
    assert len(await rows(ledger, piece=other)) == 20, "also the batch that is on its way"
    assert len(await rows(ledger, piece="post:2|g1|p1")) == 1


async def test_a_line_without_an_outcome_is_our_defect(ledger: Ledger) -> None:
    piece = await ready(ledger, 2)
    (batch,) = await ledger.form_batches(piece, POST, ERP, size=10)
    await ledger.submit_batch(batch.key, "a1", ledger.now() + timedelta(seconds=60))
    with pytest.raises(Defect, match="outcomes and lines differ"):
        await ledger.settle_batch(
            batch.key, [LineResult(item_key=key(1), state=LineState.LANDED, record_id="1")]
        )
    assert (await get(ledger, key(1))).cost is CostState.UNPOSTED


async def test_an_item_that_changed_is_not_placed(ledger: Ledger) -> None:
    await ledger.take_in([line(1), line(2)])
    one, two = await rows(ledger)
    await ledger.take_in([line(1, minutes=30, revision="r2")])
    result = await ledger.place(
        [Placed(one.id, one.key, placement()), Placed(two.id, two.key, placement(hold=HOLD, price=None))]
    )
    assert (result.placed, result.held, result.stale) == (0, 1, (one.key,))
    assert (await get(ledger, two.key)).hold == HOLD


async def test_a_posted_item_is_marked_once_and_unmarked_when_it_is_taken_back(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    await send(ledger, "marks", BatchPurpose.MARK)
    assert [row.marked for row in await rows(ledger)] == ["doc-1", "doc-1"]
    assert await ledger.form_batches("marks", BatchPurpose.MARK, PSA, size=10) == []
    await ledger.take_out([f"{PSA}/time_entries/1"])
    piece = await claim(ledger, 2)
    await send(ledger, piece, BatchPurpose.REVERSE_COST)
    await send(ledger, "marks", BatchPurpose.UNMARK)
    assert [row.marked for row in await rows(ledger)] == [None, "doc-1"]


async def test_what_is_reversed_on_purpose_is_posted_again_as_its_next_turn(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    piece = "rev:1|g1|p1"
    until = ledger.now() + timedelta(seconds=300)
    row = await ledger.claim_piece(
        piece, psa=PSA, erp=ERP, saga_id="rev:1", limit=10, until=until, only=[key(1), key(2)]
    )
    assert row.claimed == 2
    ids = [one.id for one in await rows(ledger, piece=piece)]
    (batch,) = await ledger.form_batches(piece, BatchPurpose.REVERSE_COST, ERP, size=10, only=ids)
    await ledger.submit_batch(batch.key, "a1", until)
    results = [
        LineResult(item_key=key(1), state=LineState.LANDED, record_id="r1", hold=HOLD),
        LineResult(item_key=key(2), state=LineState.LANDED, record_id="r2"),
    ]
    await ledger.settle_batch(batch.key, results)
    one, two = await rows(ledger)
    assert (one.cost, one.hold, one.turn) == (CostState.REVERSED, HOLD, 1)
    assert (two.cost, two.hold, two.turn, two.posting_id) == (CostState.UNPOSTED, None, 2, None)
    await place(ledger, 1)
    one = await get(ledger, key(1))
    assert (one.cost, one.turn, one.hold) == (CostState.UNPOSTED, 2, None)
    again = await claim(ledger, 9)
    await send(ledger, again)
    assert [row.cost for row in await rows(ledger)] == [CostState.POSTED, CostState.POSTED]


async def test_numbers_go_on_across_pieces(ledger: Ledger) -> None:
    await posted(ledger, 1, piece=1)
    await ledger.take_in([line(2)])
    await place(ledger, 2)
    piece = await claim(ledger, 2)
    (batch,) = await ledger.form_batches(piece, POST, ERP, size=10)
    assert (batch.number, batch.piece) == (2, piece)
    assert batch.key.startswith(f"{ERP}|post_cost|2|")
    assert RUN in piece
