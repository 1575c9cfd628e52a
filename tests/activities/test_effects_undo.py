"""Undo: tombstone, wait out, look, undo, look again; nothing there is done; survivors are named."""

from __future__ import annotations

from datetime import timedelta

import pytest

from canonical.causes import Cause
from canonical.failures import Conflict, OutcomeUnknown, Refused, SystemFailure, Transient
from canonical.writes import UndoResult, VendorWrite
from ledger.rows import EffectState
from tests.activities.fakes import SAGA, Bench, Record, create, ref, update

pytestmark = pytest.mark.anyio


async def state(bench: Bench, write: VendorWrite) -> EffectState:
    row = await bench.ledger.effect(write.key)
    assert row is not None
    return row.state


async def test_undo_of_nothing_is_done_without_a_call(bench: Bench) -> None:
    assert await bench.undo() == ()
    assert bench.vendor.calls == []


async def test_undo_of_a_refused_write_is_done_without_a_call(bench: Bench) -> None:
    bench.vendor.faults["send"].append(Refused("no"))
    with pytest.raises(Refused):
        await bench.perform(create())
    calls = len(bench.vendor.calls)
    assert await bench.undo() == ("Create 006A.NL01.EUR: nothing there",)
    assert len(bench.vendor.calls) == calls


async def test_what_was_made_is_deleted_newest_first(bench: Bench) -> None:
    await bench.perform(create("a"), create("b", ordinal=2))
    assert await bench.undo() == ("Create b: deleted", "Create a: deleted")
    assert bench.vendor.records == {}
    assert await bench.ledger.links_of("project", "a", system="erp") == []


async def test_undo_twice_acts_once(bench: Bench) -> None:
    await bench.perform(create())
    await bench.undo()
    assert await bench.undo() == ()
    assert bench.vendor.count("undo") == 1


async def test_what_cannot_be_deleted_is_inactivated_and_its_number_is_a_gap(bench: Bench) -> None:
    bench.vendor.undo_leaves = UndoResult.INACTIVATED
    await bench.perform(create(body={"companyName": "x", "number": "SO-17"}, sets={
        "companyName": "project.title", "number": "project.external_key",
    }))  # fmt: skip
    result = await bench.effects.undo_step(bench.vendor, create().step_key, saga=ref())
    assert result.done == ("Create 006A.NL01.EUR: inactivated",)
    assert result.gaps == ("SO-17",)


async def test_a_linked_record_is_never_deleted(bench: Bench) -> None:
    bench.vendor.records["7"] = Record("7", create().stamp, {"companyName": "older"})
    await bench.perform(create())
    assert await bench.undo() == ("Create 006A.NL01.EUR: released",)
    assert list(bench.vendor.records) == ["7"]
    assert bench.vendor.count("undo") == 0


async def test_a_change_is_put_back(bench: Bench) -> None:
    bench.vendor.records["7"] = Record("7", "", {"status": "pending"})
    await bench.perform(update("7"))
    assert bench.vendor.records["7"].fields["status"] == "approved"
    assert await bench.undo() == ("Create 006A.approve: restored",)
    assert bench.vendor.records["7"].fields["status"] == "pending"


async def test_a_change_that_somebody_changed_since_is_not_put_back(bench: Bench) -> None:
    bench.vendor.records["7"] = Record("7", "", {"status": "pending"})
    await bench.perform(update("7"))
    bench.vendor.records["7"].fields["status"] = "closed by finance"
    with pytest.raises(Conflict) as blocked:
        await bench.undo()
    assert blocked.value.failure.cause is Cause.CHANGED_BY_SOMEBODY
    assert bench.vendor.records["7"].fields["status"] == "closed by finance"


async def test_past_the_pivot_nothing_of_the_saga_is_undone(bench: Bench) -> None:
    """Whatever the run knows: one that was reset to before its pivot believes that it may undo."""
    await bench.perform(create("006A.UK01.GBP", step="project"))
    await bench.perform(create(forward_only=True))
    for step in ("project", "contract"):
        with pytest.raises(Refused) as refused:
            await bench.undo(step)
        assert refused.value.failure.cause is Cause.PIVOT_PASSED
    assert len(bench.vendor.live) == 2


async def test_a_pivot_that_was_refused_bars_no_undo(bench: Bench) -> None:
    await bench.perform(create("006A.UK01.GBP", step="project"))
    bench.vendor.faults["send"].append(Refused("no"))
    with pytest.raises(Refused):
        await bench.perform(create(forward_only=True))
    await bench.undo("project")
    assert bench.vendor.live == []


async def test_a_lost_answer_is_looked_for_and_undone(bench: Bench) -> None:
    bench.vendor.faults["send"].append(bench.vendor.loses_the_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.perform(create(settle_seconds=4))
    assert await bench.undo() == ("Create 006A.NL01.EUR: deleted",)
    assert bench.vendor.live == []


async def test_a_commit_that_comes_after_the_undo_is_undone_again(bench: Bench) -> None:
    bench.vendor.faults["send"].append(bench.vendor.commits_late)
    with pytest.raises(OutcomeUnknown):
        await bench.perform(create(settle_seconds=4))
    looks = iter(range(100))

    def commit_during_the_second_wait() -> None:
        if next(looks) == 1:
            bench.vendor.deliver()

    bench.on_sleep = commit_during_the_second_wait
    assert await bench.undo() == ("Create 006A.NL01.EUR: deleted",)
    assert bench.vendor.live == []
    assert bench.vendor.count("undo") == 1


async def test_what_keeps_coming_back_needs_a_person(bench: Bench) -> None:
    bench.vendor.faults["send"].append(bench.vendor.loses_the_answer)
    write = create(settle_seconds=4)
    with pytest.raises(OutcomeUnknown):
        await bench.perform(write)
    bench.on_sleep = lambda: None if bench.vendor.live else (bench.vendor.commit(write), None)[1]
    with pytest.raises(OutcomeUnknown) as blocked:
        await bench.undo()
    assert blocked.value.failure.cause is Cause.UNDO_BLOCKED
    assert await state(bench, write) is EffectState.UNDOING


async def test_undo_waits_until_nobody_can_be_sending_any_more(bench: Bench) -> None:
    """The worker died while sending: its call may still be under way."""
    write = create()
    await bench.ledger.claim(
        write,
        saga_id=SAGA,
        actor=ref().actor,
        attempt_id="dead",
        deadline=bench.clock() + timedelta(minutes=1),
        asked_at=bench.clock(),
        body_hash="h",
        business_key="crm/006A",
        region="emea",
    )
    bench.vendor.commit(write)
    assert await bench.undo() == ("Create 006A.NL01.EUR: deleted",)
    assert bench.slept[0] == 60
    assert bench.vendor.live == []


async def test_a_tombstone_forbids_a_send_that_is_about_to_happen(bench: Bench) -> None:
    async def undone_meanwhile(write: VendorWrite) -> None:
        await bench.ledger.tombstone(write.step_key, saga_id=SAGA, actor=ref().actor)

    bench.vendor.faults["connect"].append(undone_meanwhile)
    with pytest.raises(Transient):
        await bench.perform(create())
    assert bench.vendor.count("send") == 0
    with pytest.raises(Conflict) as closed:
        await bench.perform(create())
    assert closed.value.failure.cause is Cause.KEY_CLOSED
    assert bench.vendor.live == []


async def test_a_send_that_lands_during_its_undo_says_so_and_is_undone(bench: Bench) -> None:
    """The undo's tombstone comes while the call is under way: recorded, reported, then undone."""

    async def tombstone_while_sending(write: VendorWrite) -> None:
        await bench.ledger.tombstone(write.step_key, saga_id=SAGA, actor=ref().actor)
        await bench.ledger.undoing(write.key)

    bench.vendor.faults["send"].append(tombstone_while_sending)
    with pytest.raises(Conflict) as late:
        await bench.perform(create())
    assert late.value.failure.cause is Cause.KEY_CLOSED
    assert late.value.failure.maybe_landed
    await bench.undo()
    assert bench.vendor.live == []
    assert await state(bench, create()) is EffectState.UNDONE


@pytest.mark.parametrize("failure", [Transient("away"), Refused("it has transactions")])
async def test_a_failing_undo_names_what_survives_and_can_be_tried_again(
    bench: Bench, failure: SystemFailure
) -> None:
    await bench.perform(create())
    bench.vendor.faults["undo"].append(failure)
    with pytest.raises(type(failure)) as blocked:
        await bench.undo()
    assert [str(record) for record in blocked.value.failure.survivors] == ["erp/job/101"]
    row = await bench.ledger.effect(create().key)
    assert row is not None
    assert row.state is EffectState.UNDOING
    assert row.undo_failure is not None
    assert await bench.undo() == ("Create 006A.NL01.EUR: deleted",)


async def test_a_record_that_is_gone_already_is_fine(bench: Bench) -> None:
    await bench.perform(create())
    bench.vendor.records.clear()
    assert await bench.undo() == ("Create 006A.NL01.EUR: nothing there",)


async def test_every_write_and_undo_is_in_an_audit_trail_that_verifies(bench: Bench) -> None:
    await bench.perform(create())
    await bench.perform(create(title="amended"))
    await bench.undo()
    assert await bench.ledger.verify() == []


async def test_an_undo_that_is_interrupted_goes_on_where_it_stood(bench: Bench) -> None:
    await bench.perform(create("a"), create("b", ordinal=2))
    bench.vendor.faults["undo"] += [_nothing, Transient("away")]
    with pytest.raises(Transient):
        await bench.undo()
    assert await bench.undo() == ("Create a: deleted",)
    assert bench.vendor.live == []


async def _nothing(write: VendorWrite) -> None:
    return None
