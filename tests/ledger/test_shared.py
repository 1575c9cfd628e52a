"""Records that several sagas rely on: only the last holder undoes, nobody latches on meanwhile."""

from __future__ import annotations

import pytest

from canonical.saga import SYSTEM_ACTOR
from canonical.writes import Landed, UndoOutcome, UndoResult, WriteKind
from ledger.rows import ClaimState, EffectState, HoldReleased
from ledger.store import Ledger
from tests.ledger.subject import CLIENT, DELETED, NOTHING, OTHER, SAGA, Clock, claim, client, land, may_send

pytestmark = pytest.mark.anyio

MINE, THEIRS = client(SAGA), client(OTHER)


async def undo(ledger: Ledger, released: HoldReleased) -> None:
    for row in released.effects:
        await ledger.undoing(row.key)
        await ledger.undone(row.key, DELETED)


async def test_a_claim_makes_its_saga_a_holder(ledger: Ledger) -> None:
    await land(ledger, MINE)
    assert (await claim(ledger, THEIRS, "b1", saga=OTHER)).state is ClaimState.DONE
    assert await ledger.holders(CLIENT) == (SAGA, OTHER)


async def test_only_the_last_holder_undoes(ledger: Ledger) -> None:
    await land(ledger, MINE)
    await claim(ledger, THEIRS, "b1", saga=OTHER)
    assert await ledger.release_hold(CLIENT, SAGA) == HoldReleased(last=False, created_by_us=False)
    assert (await claim(ledger, client("o2p:emea:sf-main:006C"), "c1")).state is ClaimState.DONE
    assert not (await ledger.release_hold(CLIENT, SAGA)).last
    released = await ledger.release_hold(CLIENT, OTHER)
    assert (released.last, released.created_by_us) == (True, True)
    assert [row.key for row in released.effects] == [MINE.key]


async def test_a_tombstone_of_one_saga_does_not_close_the_key_for_others(ledger: Ledger) -> None:
    await land(ledger, MINE)
    rows = await ledger.tombstone(MINE.step_key, saga_id=SAGA, actor=SYSTEM_ACTOR)
    assert [row.shared for row in rows] == [CLIENT]
    assert (await claim(ledger, MINE, "a2")).state is ClaimState.CLOSED
    assert (await claim(ledger, THEIRS, "b1", saga=OTHER)).state is ClaimState.DONE


async def test_a_step_that_only_holds_is_told_what_it_holds(ledger: Ledger) -> None:
    await land(ledger, MINE)
    await claim(ledger, THEIRS, "b1", saga=OTHER)
    rows = await ledger.tombstone(THEIRS.step_key, saga_id=OTHER, actor=SYSTEM_ACTOR)
    assert [row.key for row in rows] == [MINE.key]


async def test_an_attempt_of_a_buried_step_does_not_send_but_the_next_saga_takes_over(
    ledger: Ledger, clock: Clock
) -> None:
    await claim(ledger, MINE)
    assert (await claim(ledger, THEIRS, "b1", saga=OTHER)).state is ClaimState.BUSY
    assert await ledger.holders(CLIENT) == (SAGA,)
    await ledger.tombstone(MINE.step_key, saga_id=SAGA, actor=SYSTEM_ACTOR)
    assert not await may_send(ledger, MINE.key, "a1")
    clock.turn(61)
    assert (await claim(ledger, THEIRS, "b1", saga=OTHER)).state is ClaimState.LOOK
    assert await may_send(ledger, THEIRS.key, "b1"), "the tombstone is the other saga's"
    assert not (await ledger.release_hold(CLIENT, SAGA)).last


async def test_nobody_latches_on_while_it_is_undone_and_the_next_generation_opens(ledger: Ledger) -> None:
    await land(ledger, MINE)
    released = await ledger.release_hold(CLIENT, SAGA)
    assert [row.state for row in released.effects] == [EffectState.UNDOING]
    busy = await claim(ledger, THEIRS, "b1", saga=OTHER)
    assert busy.state is ClaimState.BUSY
    assert busy.until is not None
    assert busy.until > ledger.now()
    assert not await ledger.hold(CLIENT, OTHER, THEIRS.step_key)
    assert await ledger.holders(CLIENT) == ()
    assert await ledger.shared_generation(CLIENT) == 1
    await undo(ledger, released)
    closed = await claim(ledger, THEIRS, "b1", saga=OTHER)
    assert (closed.state, closed.next_generation) == (ClaimState.CLOSED, 2)
    assert await ledger.shared_generation(CLIENT) == 2
    second = client(OTHER, generation=2)
    assert (await claim(ledger, second, "b2", saga=OTHER)).state is ClaimState.FIRST
    # A write of the undone generation that was never claimed is closed as well.
    late = await claim(ledger, client(OTHER, ordinal=9), "b3", saga=OTHER)
    assert (late.state, late.next_generation) == (ClaimState.CLOSED, 2)


async def test_release_repeated_after_a_crash_gives_what_is_left(ledger: Ledger) -> None:
    await land(ledger, MINE, "1")
    await land(ledger, client(ordinal=2), "2")
    first = await ledger.release_hold(CLIENT, SAGA)
    assert [row.landed for row in first.effects] == [Landed(id="2"), Landed(id="1")]
    await ledger.undoing(first.effects[0].key)
    await ledger.undone(first.effects[0].key, DELETED)
    assert (await claim(ledger, THEIRS, "b1", saga=OTHER)).state is ClaimState.BUSY, "half undone"
    again = await ledger.release_hold(CLIENT, SAGA)
    assert again.last
    assert [row.landed for row in again.effects] == [Landed(id="1")]
    await undo(ledger, again)
    assert (await ledger.release_hold(CLIENT, SAGA)).effects == ()


async def test_a_record_that_was_there_before_us_is_only_released(ledger: Ledger) -> None:
    await claim(ledger, MINE)
    await ledger.done(MINE.key, "a1", Landed(id="5"), created=False)
    await land(ledger, client(ordinal=2, kind=WriteKind.UPDATE, target="5"), "5")
    released = await ledger.release_hold(CLIENT, SAGA)
    assert released == HoldReleased(last=True, created_by_us=False)
    assert (await claim(ledger, THEIRS, "b1", saga=OTHER)).state is ClaimState.DONE


async def test_what_we_added_to_a_record_that_was_there_before_us_is_undone_alone(ledger: Ledger) -> None:
    await claim(ledger, MINE)
    await ledger.done(MINE.key, "a1", Landed(id="5"), created=False)
    added = client(ordinal=2)
    await land(ledger, added, "6")
    released = await ledger.release_hold(CLIENT, SAGA, MINE.step_key)
    assert [row.key for row in released.effects] == [added.key]
    await undo(ledger, released)
    assert await ledger.holders(CLIENT) == ()
    assert await ledger.shared_generation(CLIENT) == 2
    (kept,) = (await ledger.effects(shared=CLIENT, states=[EffectState.DONE])).rows
    assert kept.key == MINE.key


async def test_an_undo_that_broke_off_goes_on_also_where_only_an_update_is_left(ledger: Ledger) -> None:
    changed = client(ordinal=1, kind=WriteKind.UPDATE, target="5")
    added = client(ordinal=2)
    await land(ledger, changed, "5")
    await land(ledger, added, "6")
    first = await ledger.release_hold(CLIENT, SAGA, MINE.step_key)
    assert [row.key for row in first.effects] == [added.key, changed.key]
    await ledger.undoing(added.key)
    await ledger.undone(added.key, DELETED)
    again = await ledger.release_hold(CLIENT, SAGA, MINE.step_key)
    assert [row.key for row in again.effects] == [changed.key]
    await undo(ledger, again)
    assert await ledger.holders(CLIENT) == ()
    assert (await claim(ledger, client(OTHER, generation=2), "b1", saga=OTHER)).state is ClaimState.FIRST


async def test_holding_a_record_that_nobody_of_us_made(ledger: Ledger) -> None:
    for _ in range(2):
        assert await ledger.hold("ns-emea|client|old", SAGA, "s|g1|client")
    assert await ledger.holders("ns-emea|client|old") == (SAGA,)
    assert await ledger.release_hold("ns-emea|client|old", SAGA) == HoldReleased(
        last=True, created_by_us=False
    )


async def test_an_unresolved_create_of_the_last_holder_is_undone(ledger: Ledger) -> None:
    await claim(ledger, MINE)
    await ledger.release(MINE.key, "a1", outcome="unknown")
    released = await ledger.release_hold(CLIENT, SAGA)
    assert (released.last, released.created_by_us, len(released.effects)) == (True, True, 1)


async def test_a_late_landing_of_an_undone_generation_disturbs_nobody(ledger: Ledger) -> None:
    await claim(ledger, MINE)
    released = await ledger.release_hold(CLIENT, SAGA)
    await ledger.undoing(released.effects[0].key)
    await ledger.undone(released.effects[0].key, NOTHING)
    second = client(OTHER, generation=2)
    await land(ledger, second, "2", "b1", saga=OTHER)
    recorded = await ledger.done(MINE.key, "a1", Landed(id="1"), created=True)
    assert recorded.closed
    assert await ledger.shared_generation(CLIENT) == 2
    assert (await claim(ledger, second, "b2", saga=OTHER)).state is ClaimState.DONE
    assert (await claim(ledger, MINE, "a2")).state is ClaimState.CLOSED
    await ledger.undoing(MINE.key)
    await ledger.undone(MINE.key, UndoOutcome(result=UndoResult.DELETED))
    assert await ledger.shared_generation(CLIENT) == 2
    last = await ledger.release_hold(CLIENT, OTHER)
    assert [row.landed for row in last.effects] == [Landed(id="2")]
