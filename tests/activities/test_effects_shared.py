"""Records that several sagas rely on: one create, the last holder undoes (rule 12)."""

from __future__ import annotations

import asyncio

import pytest

from canonical.failures import Refused, Transient
from tests.activities.fakes import CLIENT, OTHER, SAGA, Bench, Record, client

pytestmark = pytest.mark.anyio


async def test_two_sagas_one_create(bench: Bench) -> None:
    first = await bench.perform(client(SAGA))
    second = await bench.perform(client(OTHER), saga=OTHER)
    assert bench.vendor.count("send") == 1
    assert first.values == second.values == {"client:001X.id": "101", "client:001X.code": "P101"}
    assert await bench.ledger.holders(CLIENT) == (SAGA, OTHER)


async def test_two_sagas_at_the_same_moment_make_one_client(bench: Bench) -> None:
    done = await asyncio.gather(
        bench.perform(client(SAGA)), bench.perform(client(OTHER), saga=OTHER), return_exceptions=True
    )
    assert [one for one in done if isinstance(one, BaseException)] == []
    assert len(bench.vendor.live) == 1
    assert bench.vendor.count("send") == 1


async def test_the_first_to_let_go_deletes_nothing_the_last_one_does(bench: Bench) -> None:
    await bench.perform(client(SAGA))
    await bench.perform(client(OTHER), saga=OTHER)
    assert await bench.undo("clients", SAGA) == ("Create 006A.NL01.EUR: let go, another saga relies on it",)
    assert len(bench.vendor.live) == 1
    assert await bench.undo("clients", OTHER) == ("Create 006A.NL01.EUR: deleted",)
    assert bench.vendor.live == []


async def test_the_holder_that_did_not_make_it_may_be_the_last(bench: Bench) -> None:
    await bench.perform(client(SAGA))
    await bench.perform(client(OTHER), saga=OTHER)
    await bench.undo("clients", OTHER)
    assert len(bench.vendor.live) == 1
    await bench.undo("clients", SAGA)
    assert bench.vendor.live == []


async def test_a_shared_record_that_was_there_before_is_let_go(bench: Bench) -> None:
    bench.vendor.records["7"] = Record("7", client().stamp, {"companyName": "Northwind"})
    await bench.perform(client())
    assert await bench.undo("clients") == ("Create 006A.NL01.EUR: let go, it was there before us",)
    assert list(bench.vendor.records) == ["7"]


async def test_all_parts_of_a_shared_record_go_together(bench: Bench) -> None:
    await bench.perform(client(), client(ordinal=2))
    assert len(await bench.undo("clients")) == 2
    assert bench.vendor.live == []


async def test_one_sagas_tombstone_does_not_close_the_record_for_others(bench: Bench) -> None:
    await bench.perform(client(SAGA))
    await bench.perform(client(OTHER), saga=OTHER)
    await bench.undo("clients", SAGA)
    done = await bench.perform(client(OTHER), saga=OTHER)
    assert done.values["client:001X.id"] == "101"


async def test_after_its_undo_a_shared_record_is_made_again_under_the_next_generation(bench: Bench) -> None:
    await bench.perform(client(SAGA))
    await bench.undo("clients", SAGA)
    with pytest.raises(Transient, match="planning again"):
        await bench.perform(client(OTHER), saga=OTHER)
    assert await bench.ledger.shared_generation(CLIENT) == 2
    await bench.perform(client(OTHER, generation=2), saga=OTHER)
    assert len(bench.vendor.live) == 1


async def test_a_saga_that_comes_while_the_last_holder_undoes_does_not_latch_on(bench: Bench) -> None:
    await bench.perform(client(SAGA))
    bench.vendor.faults["undo"].append(Refused("it has transactions"))
    with pytest.raises(Refused):
        await bench.undo("clients", SAGA)
    with pytest.raises(Transient, match="another saga's undo of it is blocked: it has transactions"):
        await bench.perform(client(OTHER), saga=OTHER)
    await bench.undo("clients", SAGA)
    await bench.perform(client(OTHER, generation=2), saga=OTHER)
    assert len(bench.vendor.live) == 1
    assert await bench.ledger.holders(CLIENT) == (OTHER,)


async def test_a_failed_create_of_one_saga_is_made_by_the_other(bench: Bench) -> None:
    bench.vendor.faults["send"].append(Refused("no such terms"))
    with pytest.raises(Refused):
        await bench.perform(client(SAGA))
    await bench.perform(client(OTHER), saga=OTHER)
    await bench.undo("clients", SAGA)
    assert len(bench.vendor.live) == 1
    await bench.undo("clients", OTHER)
    assert bench.vendor.live == []
