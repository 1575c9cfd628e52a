"""Claims: who may send, who must look first, who must wait, who never may."""

from __future__ import annotations

from datetime import timedelta

import pytest

from canonical.causes import Cause
from canonical.failures import Defect, Failure, FailureKind, Transient
from canonical.writes import Landed, WriteKind
from ledger.rows import ClaimState, EffectState, LinkHint
from ledger.store import Ledger
from tests.ledger.subject import ANNA, DELETED, SAGA, Clock, claim, land, may_send, project

pytestmark = pytest.mark.anyio

WRITE = project()
TROUBLE = Failure(kind=FailureKind.RETRY, cause=Cause.VENDOR_UNAVAILABLE, message="no connection")


async def test_first_claim_may_send(ledger: Ledger) -> None:
    answer = await claim(ledger, WRITE)
    assert (answer.state, answer.attempts) == (ClaimState.FIRST, 1)
    row = await ledger.effect(WRITE.key)
    assert row is not None
    assert row.state is EffectState.INTENDED
    assert row.write == WRITE
    assert row.in_flight_until == ledger.now() + timedelta(seconds=60)
    assert await may_send(ledger, WRITE.key, "a1")


async def test_second_attempt_waits_for_the_deadline_then_looks(ledger: Ledger, clock: Clock) -> None:
    await claim(ledger, WRITE)
    clock.turn(59)
    busy = await claim(ledger, WRITE, "a2")
    assert busy.state is ClaimState.BUSY
    assert busy.until == ledger.now() + timedelta(seconds=1)
    assert await may_send(ledger, WRITE.key, "a1")
    clock.turn(1)
    assert not await may_send(ledger, WRITE.key, "a1")
    taken = await claim(ledger, WRITE, "a2")
    assert (taken.state, taken.attempts) == (ClaimState.LOOK, 2)
    assert await may_send(ledger, WRITE.key, "a2")
    assert not await may_send(ledger, WRITE.key, "a1")


async def test_not_sent_leaves_nothing_to_look_for(ledger: Ledger) -> None:
    await claim(ledger, WRITE)
    assert await ledger.release(WRITE.key, "a1", outcome="not_sent", failure=TROUBLE)
    row = await ledger.effect(WRITE.key)
    assert row is not None
    assert not row.maybe_landed
    assert row.in_flight_until is None
    assert not await may_send(ledger, WRITE.key, "a1")
    again = await claim(ledger, WRITE, "a2")
    assert (again.state, again.attempts, again.failure) == (ClaimState.FIRST, 2, TROUBLE)


async def test_unknown_is_looked_for_ever_after(ledger: Ledger) -> None:
    await claim(ledger, WRITE)
    await ledger.release(WRITE.key, "a1", outcome="unknown", failure=TROUBLE)
    assert [row.state for row in (await ledger.unfinished()).rows] == [EffectState.UNKNOWN]
    for attempt in ("a2", "a3", "a4"):
        assert (await claim(ledger, WRITE, attempt)).state is ClaimState.LOOK
        assert await ledger.release(WRITE.key, attempt, outcome="not_sent")


async def test_an_attempt_that_died_is_looked_for_ever_after(ledger: Ledger, clock: Clock) -> None:
    await claim(ledger, WRITE)
    clock.turn(61)
    assert (await claim(ledger, WRITE, "a2")).state is ClaimState.LOOK
    await ledger.release(WRITE.key, "a2", outcome="not_sent")
    assert (await claim(ledger, WRITE, "a3")).state is ClaimState.LOOK


async def test_release_by_an_overtaken_attempt_changes_nothing(ledger: Ledger, clock: Clock) -> None:
    await claim(ledger, WRITE)
    clock.turn(61)
    await claim(ledger, WRITE, "a2")
    assert not await ledger.release(WRITE.key, "a1", outcome="not_sent")
    assert await may_send(ledger, WRITE.key, "a2")


async def test_repeating_a_claim_whose_answer_got_lost_looks(ledger: Ledger) -> None:
    await claim(ledger, WRITE)
    assert (await claim(ledger, WRITE)).state is ClaimState.LOOK
    assert await may_send(ledger, WRITE.key, "a1")


async def test_done_answers_without_a_call(ledger: Ledger) -> None:
    await claim(ledger, WRITE)
    landed = Landed(id="77", values={"code": "P-77"}, version="3", url="https://erp/77")
    recorded = await ledger.done(WRITE.key, "a1", landed, created=True)
    assert not recorded.closed
    assert not await may_send(ledger, WRITE.key, "a1")
    answer = await claim(ledger, WRITE, "a2")
    assert (answer.state, answer.landed, answer.created_by_us) == (ClaimState.DONE, landed, True)
    assert answer.body_hash_matches
    assert not (await claim(ledger, WRITE, "a3", body_hash="h2")).body_hash_matches
    assert not await ledger.release(WRITE.key, "a1", outcome="unknown")


async def test_an_amended_body_is_noticed_when_looking(ledger: Ledger) -> None:
    await claim(ledger, WRITE, body_hash="old")
    await ledger.release(WRITE.key, "a1", outcome="unknown")
    first = await claim(ledger, WRITE, "a2", body_hash="new")
    assert (first.state, first.body_hash_matches) == (ClaimState.LOOK, False)
    # The second attempt ends without sending: what may be there still has the old body.
    await ledger.release(WRITE.key, "a2", outcome="not_sent")
    second = await claim(ledger, WRITE, "a3", body_hash="new")
    assert (second.state, second.body_hash_matches) == (ClaimState.LOOK, False)


async def test_an_amendment_after_done_is_recorded(ledger: Ledger) -> None:
    await land(ledger, WRITE)
    await ledger.done(WRITE.key, "a2", Landed(id="77", version="4"), created=True, body_hash="h2")
    answer = await claim(ledger, WRITE, "a3", body_hash="h2")
    assert answer.body_hash_matches
    assert answer.landed is not None
    assert answer.landed.version == "4"
    trail = (await ledger.audit_rows(effect_key=WRITE.key)).rows
    assert [row.action for row in trail] == ["written", "amended"]


async def test_done_twice_is_one_audit_row(ledger: Ledger) -> None:
    await claim(ledger, WRITE)
    for _ in range(3):
        await ledger.done(WRITE.key, "a1", Landed(id="77"), created=True)
    assert await ledger.audit_count("ns-emea") == 1


async def test_a_duplicate_is_named_and_kept_in_the_trail(ledger: Ledger, clock: Clock) -> None:
    await claim(ledger, WRITE)
    clock.turn(61)
    await claim(ledger, WRITE, "a2")
    await ledger.done(WRITE.key, "a2", Landed(id="78"), created=True)
    with pytest.raises(Defect) as caught:
        await ledger.done(WRITE.key, "a1", Landed(id="77"), created=True)
    assert [str(ref) for ref in caught.value.failure.survivors] == ["ns-emea/job/78", "ns-emea/job/77"]
    trail = (await ledger.audit_rows(effect_key=WRITE.key)).rows
    assert [row.action for row in trail] == ["written", "duplicate"]
    assert trail[1].content["other"] == "77"


async def test_an_overtaken_attempt_still_records_what_landed(ledger: Ledger, clock: Clock) -> None:
    await claim(ledger, WRITE)
    clock.turn(61)
    await claim(ledger, WRITE, "a2")
    await ledger.done(WRITE.key, "a1", Landed(id="77"), created=True)
    assert not await may_send(ledger, WRITE.key, "a2")
    row = await ledger.effect(WRITE.key)
    assert row is not None
    assert row.in_flight_until is not None, "the overtaking attempt may be sending all the same"
    await ledger.done(WRITE.key, "a2", Landed(id="77"), created=False)
    row = await ledger.effect(WRITE.key)
    assert row is not None
    assert row.created_by_us, "finding our own record does not make it somebody else's"


async def test_before_image_of_a_possibly_sent_update_is_kept(ledger: Ledger, clock: Clock) -> None:
    write = project(kind=WriteKind.UPDATE, target="77", restore=("status",))
    await claim(ledger, write)
    assert await ledger.set_before(write.key, "a1", {"status": "open"}) == {"status": "open"}
    await ledger.release(write.key, "a1", outcome="not_sent")
    await claim(ledger, write, "a2")
    assert await ledger.set_before(write.key, "a2", {"status": "held"}) == {"status": "held"}
    clock.turn(61)
    taken = await claim(ledger, write, "a3")
    assert taken.before == {"status": "held"}
    assert await ledger.set_before(write.key, "a3", {"status": "ours"}) == {"status": "held"}
    with pytest.raises(Transient):
        await ledger.set_before(write.key, "a2", {"status": "late"})
    await ledger.done(write.key, "a3", Landed(id="77"), created=False)
    row = await ledger.effect(write.key)
    assert row is not None
    assert row.before == {"status": "held"}


async def test_done_without_intent_is_our_mistake(ledger: Ledger) -> None:
    with pytest.raises(Defect):
        await ledger.done("ns-emea|x|y|g1|1", "a1", Landed(id="1"), created=True)
    assert await ledger.effect("ns-emea|x|y|g1|1") is None


async def test_restored_ledger_always_looks(ledger: Ledger) -> None:
    ledger.look_always = True
    assert (await claim(ledger, WRITE)).state is ClaimState.LOOK


async def test_links_are_made_when_done_and_removed_when_undone(ledger: Ledger) -> None:
    await claim(ledger, WRITE, links=[LinkHint(kind="project", key="006A.UK.GBP", evidence={"by": "key"})])
    assert await ledger.links_of("project", "006A.UK.GBP") == []
    await ledger.done(WRITE.key, "a1", Landed(id="77", url="https://erp/77"), created=True)
    (link,) = await ledger.links_of("project", "006A.UK.GBP", system="ns-emea")
    assert str(link.record) == "ns-emea/job/77"
    assert (link.created_by_us, link.evidence, link.saga_id) == (True, {"by": "key"}, SAGA)
    assert await ledger.links_to(link.record) == [link]
    await ledger.tombstone(WRITE.step_key, saga_id=SAGA, actor=ANNA)
    await ledger.undoing(WRITE.key)
    await ledger.undone(WRITE.key, DELETED)
    assert await ledger.links_of("project", "006A.UK.GBP") == []


async def test_lists_by_saga_record_and_page(ledger: Ledger) -> None:
    for number in range(5):
        await land(ledger, project(f"deal{number}.UK.GBP"), record=str(number))
    seen: list[str] = []
    cursor: int | None = 0
    while cursor is not None:
        page = await ledger.effects(saga_id=SAGA, after=cursor, limit=2)
        seen += [row.landed.id for row in page.rows if row.landed]
        cursor = page.cursor
    assert seen == ["0", "1", "2", "3", "4"]
    record = (await ledger.effects(saga_id=SAGA, limit=1)).rows[0].record
    assert record is not None
    assert [row.record for row in (await ledger.effects(record=record)).rows] == [record]
    assert (await ledger.effects(saga_id="o2p:emea:sf-main:nobody")).rows == ()
