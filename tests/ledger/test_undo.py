"""Undo: tombstones forbid late sends; late landings are noticed; what is undone stays closed."""

from __future__ import annotations

import pytest

from canonical.causes import Cause
from canonical.failures import Conflict, Failure, FailureKind, Refused
from canonical.saga import SYSTEM_ACTOR
from canonical.writes import Landed, UndoOutcome, UndoResult
from ledger.rows import ClaimState, EffectState
from ledger.store import Ledger
from tests.ledger.subject import ANNA, DELETED, NOTHING, SAGA, Clock, claim, land, may_send, project

pytestmark = pytest.mark.anyio

WRITE = project()
BLOCKED = Failure(kind=FailureKind.REPAIR, cause=Cause.UNDO_BLOCKED, message="has transactions")


async def bury(ledger: Ledger, step_key: str = WRITE.step_key) -> list[str]:
    return [row.key for row in await ledger.tombstone(step_key, saga_id=SAGA, actor=SYSTEM_ACTOR)]


async def test_a_tombstone_forbids_a_claim_that_comes_late(ledger: Ledger) -> None:
    assert await bury(ledger) == []
    answer = await claim(ledger, WRITE)
    assert (answer.state, answer.next_generation) == (ClaimState.CLOSED, None)
    assert await ledger.effect(WRITE.key) is None


async def test_a_tombstone_forbids_a_send_that_was_claimed(ledger: Ledger, clock: Clock) -> None:
    await claim(ledger, WRITE)
    (row,) = await ledger.tombstone(WRITE.step_key, saga_id=SAGA, actor=ANNA)
    assert row.in_flight_until == row.deadline
    assert row.maybe_landed
    assert not await may_send(ledger, WRITE.key, "a1")
    assert (await claim(ledger, WRITE, "a2")).state is ClaimState.CLOSED
    clock.turn(61)
    assert (await claim(ledger, WRITE, "a3")).state is ClaimState.CLOSED


async def test_a_step_is_returned_newest_first_and_alone(ledger: Ledger) -> None:
    keys = []
    for number in range(3):
        write = project(f"deal{number}.UK.GBP")
        await land(ledger, write, record=str(number))
        keys.append(write.key)
    other = project("else.UK.GBP", step_key="o2p:emea:sf-main:006A|g1|other")
    await land(ledger, other)
    assert await bury(ledger) == keys[::-1]
    assert await bury(ledger) == keys[::-1]
    assert (await claim(ledger, other)).state is ClaimState.DONE


async def test_what_landed_under_a_tombstone_is_seen_by_the_undo(ledger: Ledger) -> None:
    await claim(ledger, WRITE)
    await bury(ledger)
    recorded = await ledger.done(WRITE.key, "a1", Landed(id="77"), created=True)
    assert (recorded.closed, recorded.effect.state) == (False, EffectState.DONE)
    row = await ledger.undoing(WRITE.key)
    assert row.landed == Landed(id="77")
    done = await ledger.undone(WRITE.key, DELETED, actor=ANNA)
    assert (done.state, done.undo_outcome) == (EffectState.UNDONE, DELETED)
    trail = (await ledger.audit_rows(effect_key=WRITE.key)).rows
    assert [(row.action, row.actor.name) for row in trail] == [("written", ANNA.name), ("undone", ANNA.name)]


async def test_landing_between_look_and_undone_is_refused_as_nothing_there(ledger: Ledger) -> None:
    await claim(ledger, WRITE)
    await bury(ledger)
    await ledger.undoing(WRITE.key)
    recorded = await ledger.done(WRITE.key, "a1", Landed(id="77"), created=True)
    assert (recorded.closed, recorded.effect.state) == (True, EffectState.UNDOING)
    with pytest.raises(Conflict):
        await ledger.undone(WRITE.key, NOTHING)
    assert (await ledger.undoing(WRITE.key)).landed == Landed(id="77")
    assert (await ledger.undone(WRITE.key, DELETED)).state is EffectState.UNDONE


async def test_landing_after_undone_is_unfinished_again_and_the_key_stays_closed(ledger: Ledger) -> None:
    await claim(ledger, WRITE)
    await bury(ledger)
    await ledger.undoing(WRITE.key)
    await ledger.undone(WRITE.key, NOTHING)
    assert (await ledger.unfinished()).rows == ()
    assert (await ledger.done(WRITE.key, "a1", Landed(id="77"), created=True)).closed
    assert [row.key for row in (await ledger.unfinished()).rows] == [WRITE.key]
    assert (await claim(ledger, WRITE, "a2")).state is ClaimState.CLOSED
    await ledger.undoing(WRITE.key)
    await ledger.undone(WRITE.key, DELETED)
    assert (await ledger.unfinished()).rows == ()


async def test_undone_twice_is_one_audit_row(ledger: Ledger) -> None:
    await land(ledger, WRITE)
    await bury(ledger)
    for _ in range(2):
        await ledger.undoing(WRITE.key)
        await ledger.undone(WRITE.key, DELETED)
    row = await ledger.effect(WRITE.key)
    assert row is not None
    assert row.state is EffectState.UNDONE
    assert await ledger.audit_count("ns-emea") == 2


async def test_undone_needs_undoing(ledger: Ledger) -> None:
    await land(ledger, WRITE)
    with pytest.raises(Conflict):
        await ledger.undone(WRITE.key, DELETED)


async def test_a_blocked_undo_stays_visible_until_it_is_tried_again(ledger: Ledger) -> None:
    await land(ledger, WRITE)
    await bury(ledger)
    await ledger.undoing(WRITE.key)
    row = await ledger.undo_failed(WRITE.key, BLOCKED)
    assert (row.state, row.undo_failure) == (EffectState.UNDOING, BLOCKED)
    assert [row.undo_failure for row in (await ledger.unfinished()).rows] == [BLOCKED]
    assert (await ledger.undoing(WRITE.key)).undo_failure is None


async def test_an_undone_key_is_closed_without_a_tombstone(ledger: Ledger) -> None:
    await land(ledger, WRITE)
    await ledger.undoing(WRITE.key)
    assert (await claim(ledger, WRITE, "a2")).state is ClaimState.CLOSED
    await ledger.undone(WRITE.key, DELETED)
    assert (await claim(ledger, WRITE, "a2")).state is ClaimState.CLOSED
    assert (await claim(ledger, project(generation=2), "a2")).state is ClaimState.FIRST


async def test_what_a_saga_left_is_known_by_step_until_it_is_undone(ledger: Ledger) -> None:
    """For a run that was reset and does not know what the run before it did."""
    prefix = f"{SAGA}|g1|"
    first, second = project("a.UK.GBP", step_key=prefix + "a"), project("b.UK.GBP", step_key=prefix + "b")
    refused = project("c.UK.GBP", step_key=prefix + "c")
    pivot = project("d.UK.GBP", step_key=prefix + "d", forward_only=True)
    await land(ledger, first, record="1")
    await claim(ledger, second)
    await claim(ledger, refused)
    await ledger.release(refused.key, "a1", outcome="not_sent")
    left = await ledger.left_behind(SAGA, 1)
    assert list(left) == [prefix + "a", prefix + "b"], "sent or perhaps sent; not what was refused"
    assert left[prefix + "a"].system == first.system
    assert await ledger.left_behind(SAGA, 2) == {}
    assert await ledger.left_behind(f"{SAGA}X", 1) == {}
    await ledger.undoing(first.key)
    await ledger.undone(first.key, UndoOutcome(result=UndoResult.DELETED), actor=ANNA)
    assert list(await ledger.left_behind(SAGA, 1)) == [prefix + "b"]
    await land(ledger, pivot, record="4")
    assert list(await ledger.left_behind(SAGA, 1)) == [prefix + "b"]
    with pytest.raises(Refused) as passed:
        await ledger.tombstone(prefix + "b", saga_id=SAGA, actor=ANNA)
    assert passed.value.failure.cause is Cause.PIVOT_PASSED
    assert (await claim(ledger, second, "a2", seconds=120)).state is not ClaimState.CLOSED, "no tombstone"
