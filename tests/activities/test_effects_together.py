"""A step's writes together: looked for at once, sent as soon as they can be, proven beside what follows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from canonical.failures import OutcomeUnknown, Refused, Transient
from canonical.writes import Landed, Shown, VendorWrite, symbol
from ledger.rows import EffectState
from ledger.store import Ledger
from tests.activities.fakes import Bench, FakeVendor, Record, create, update

pytestmark = pytest.mark.anyio


def child(identity: str, of: str, **more: Any) -> VendorWrite:
    """A create that needs the id of another one."""
    return create(
        identity,
        ordinal=9,
        body={"companyName": identity, "parent": symbol(f"project:{of}")},
        sets={"companyName": "project.title", "parent": "project.client"},
        **more,
    )


async def test_all_creates_of_a_step_are_looked_for_before_the_first_is_sent(bench: Bench) -> None:
    await bench.perform(create("a"), create("b", ordinal=2), child("c", "a"))
    assert bench.vendor.calls == ["find"] * 3 + ["send"] * 3


async def test_what_the_ledger_knows_is_looked_for_only_after_its_claim(bench: Bench) -> None:
    bench.vendor.faults["send"].append(bench.vendor.loses_the_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.perform(create("a"))
    bench.vendor.calls.clear()
    await bench.perform(create("a"), create("b", ordinal=2))
    # First the one look for what is new, then the one that an unknown outcome asks for.
    assert bench.vendor.calls == ["find", "find", "send"]
    assert len(bench.vendor.live) == 2


async def test_what_was_looked_for_ahead_is_not_looked_for_again(bench: Bench) -> None:
    writes = [create("a"), create("b", ordinal=2)]
    bench.vendor.records["7"] = Record("7", writes[1].stamp, {"companyName": "Northwind"})
    absent = await bench.effects.look_ahead(bench.vendor, writes)
    assert absent == (writes[0].key,)
    bench.vendor.calls.clear()
    await bench.perform(*writes, absent=absent)
    assert bench.vendor.calls == ["find", "send"]
    row = await bench.ledger.effect(writes[1].key)
    assert row is not None
    assert not row.created_by_us


async def test_a_look_ahead_does_not_count_once_something_may_have_been_sent(bench: Bench) -> None:
    write = create("a")
    absent = await bench.effects.look_ahead(bench.vendor, [write])
    bench.vendor.faults["send"].append(bench.vendor.loses_the_answer)
    with pytest.raises(OutcomeUnknown):
        await bench.perform(write, absent=absent)
    await bench.perform(write, absent=absent)
    assert bench.vendor.count("send") == 1
    assert len(bench.vendor.live) == 1


async def test_after_a_restore_of_the_ledger_a_look_ahead_does_not_count(bench: Bench) -> None:
    write = create("a")
    bench.ledger.look_always = True
    absent = await bench.effects.look_ahead(bench.vendor, [write])
    assert absent == ()
    bench.vendor.commit(write)
    await bench.perform(write, absent=(write.key,))
    assert len(bench.vendor.live) == 1


async def test_a_failed_first_look_claims_nothing(bench: Bench) -> None:
    bench.vendor.faults["find"].append(Transient("away"))
    with pytest.raises(Transient) as away:
        await bench.perform(create("a"), create("b", ordinal=2))
    assert not away.value.failure.maybe_landed
    assert await bench.ledger.known_keys([create("a").key]) == frozenset()


async def test_every_field_is_authorised_before_anything_is_looked_for_or_sent(bench: Bench) -> None:
    ours = create("a")
    theirs = create("b", ordinal=2, body={"amount": 1}, sets={"amount": "opportunity.amount"})
    with pytest.raises(Refused):
        await bench.perform(ours, theirs)
    assert bench.vendor.calls == []


async def test_a_write_waits_for_what_it_needs_and_for_nothing_else(bench: Bench) -> None:
    """The slow neighbour does not hold up the pair beside it."""
    slow = asyncio.Event()

    async def until_the_child_is_there(write: VendorWrite) -> None:
        async with asyncio.timeout(5):
            await slow.wait()

    async def tell(write: VendorWrite) -> None:
        slow.set()

    # In the order in which they are sent: the slow one, the parent, then the child.
    bench.vendor.faults["send"] += [until_the_child_is_there, _nothing, tell]
    slow_one, parent = create("slow", independent=True), create("a", ordinal=2, independent=True)
    await bench.perform(slow_one, parent, child("c", "a", independent=True))
    assert len(bench.vendor.live) == 3


async def test_what_builds_on_a_refused_write_is_not_sent(bench: Bench) -> None:
    bench.vendor.faults["send"].append(Refused("no"))
    parent = create("a", independent=True)
    with pytest.raises(Refused, match="no"):
        await bench.perform(parent, child("c", "a", independent=True))
    assert bench.vendor.count("send") == 1
    assert await bench.ledger.known_keys([child("c", "a").key]) == frozenset()


class TellsLater(FakeVendor):
    """Answers a create without what only it can make; a read-back brings that."""

    async def send(self, write: VendorWrite) -> Landed:
        return Landed(id=(await super().send(write)).id)

    async def _shown(self, write: VendorWrite, landed: Landed) -> Shown:
        shown = await super()._shown(write, landed)
        return shown.model_copy(
            update={"landed": landed.model_copy(update={"values": {"code": f"P{landed.id}"}})}
        )


@pytest.fixture
def late(ledger: Ledger, bench: Bench) -> Bench:
    bench.vendor = TellsLater(bench.clock)
    return bench


async def test_a_read_back_brings_what_only_the_vendor_makes(late: Bench) -> None:
    done = await late.perform(create("a"))
    assert done.values["project:a.code"] == "P101"
    row = await late.ledger.effect(create("a").key)
    assert row is not None
    assert row.landed is not None
    assert row.landed.values == {"code": "P101"}
    again = await late.perform(create("a"))
    assert again.values["project:a.code"] == "P101"


async def test_a_write_that_needs_such_a_value_waits_for_the_reading(late: Bench) -> None:
    needs_code = create(
        "b",
        ordinal=2,
        body={"companyName": symbol("project:a", "code")},
    )
    await late.perform(create("a"), needs_code)
    assert late.vendor.records["102"].fields == {"companyName": "P101"}


async def test_a_proof_goes_on_beside_the_next_write(bench: Bench) -> None:
    sent = asyncio.Event()

    async def until_the_next_is_sent(write: VendorWrite) -> None:
        async with asyncio.timeout(5):
            await sent.wait()

    async def tell(write: VendorWrite) -> None:
        sent.set()

    bench.vendor.faults["read_back"].append(until_the_next_is_sent)
    bench.vendor.faults["send"] += [_nothing, tell]
    first = create("a", expect={"companyName": "Northwind"})
    await bench.perform(first, create("b", ordinal=2))
    row = await bench.ledger.effect(first.key)
    assert row is not None
    assert row.state is EffectState.DONE


async def test_a_failed_proof_names_everything_that_is_there(bench: Bench) -> None:
    sent = asyncio.Event()

    async def tell(write: VendorWrite) -> None:
        sent.set()

    async def until_the_next_is_sent(write: VendorWrite) -> None:
        async with asyncio.timeout(5):
            await sent.wait()

    bench.vendor.faults["send"] += [_nothing, tell]
    bench.vendor.faults["read_back"].append(until_the_next_is_sent)
    wrong = create("a", expect={"companyName": "Somebody else"})
    with pytest.raises(Refused, match="shows something else") as refused:
        await bench.perform(wrong, create("b", ordinal=2))
    failure = refused.value.failure
    assert failure.maybe_landed
    assert failure.key == wrong.key
    assert [record.id for record in failure.survivors] == ["101", "102"]
    row = await bench.ledger.effect(create("b", ordinal=2).key)
    assert row is not None
    assert row.state is EffectState.DONE, "what was proven is kept"


async def test_a_reading_that_fails_leaves_its_records_to_be_looked_for(bench: Bench) -> None:
    bench.vendor.faults["read_back"].append(Transient("away"))
    write = create("a", expect={"companyName": "Northwind"})
    with pytest.raises(Transient) as away:
        await bench.perform(write)
    assert away.value.failure.maybe_landed
    bench.vendor.calls.clear()
    await bench.perform(write)
    assert bench.vendor.calls == ["find", "read_back"]
    assert len(bench.vendor.live) == 1


async def test_an_interrupted_proof_need_not_be_waited_out(bench: Bench) -> None:
    """The worker stops while the record is read back: the next attempt looks at once."""
    reading = asyncio.Event()

    async def hang(write: VendorWrite) -> None:
        reading.set()
        await asyncio.sleep(3600)

    bench.vendor.faults["read_back"].append(hang)
    write = create("a", expect={"companyName": "Northwind"})
    attempt = asyncio.create_task(bench.perform(write))
    await reading.wait()
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    bench.slept.clear()
    await bench.perform(write)
    assert bench.slept == []
    assert len(bench.vendor.live) == 1


async def test_what_is_never_unwound_needs_no_before_image(bench: Bench) -> None:
    bench.vendor.records["7"] = Record("7", "", {"status": "pending"})
    await bench.perform(update("7", forward_only=True))
    assert bench.vendor.calls == ["send"]


async def test_undoing_a_change_that_is_not_put_back_asks_nobody(bench: Bench) -> None:
    bench.vendor.records["7"] = Record("7", "", {"status": "pending"})
    await bench.perform(update("7", restore=()))
    bench.vendor.calls.clear()
    assert await bench.undo() == ("Create 006A.approve: released",)
    assert bench.vendor.calls == []


async def _nothing(write: VendorWrite) -> None:
    return None
