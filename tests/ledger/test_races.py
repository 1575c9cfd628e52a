"""The same promises when many ask at once, in one process and in two."""

from __future__ import annotations

import asyncio
import random

import pytest

from canonical.saga import SYSTEM_ACTOR
from canonical.writes import Landed
from ledger.personal import AesGcmSealer
from ledger.rows import AuditEntry, Claim, ClaimState, EffectState
from ledger.store import Ledger
from tests.ledger.subject import (
    ANNA,
    CLIENT,
    DELETED,
    OTHER,
    SAGA,
    Clock,
    claim,
    client,
    land,
    may_send,
    project,
)

pytestmark = pytest.mark.anyio

WRITE = project()
ROUNDS = 12


@pytest.fixture
async def pair(ledger: Ledger, ledger_url: str, clock: Clock) -> tuple[Ledger, Ledger]:
    """Two ledgers on one database: they share no lock but the database's."""
    second = await Ledger.open(ledger_url, clock=clock, sealer=AesGcmSealer(b"k" * 32))
    return ledger, second


async def test_twenty_claims_of_one_key_give_one_first(pair: tuple[Ledger, Ledger]) -> None:
    answers = await asyncio.gather(*(claim(pair[n % 2], WRITE, f"a{n}") for n in range(20)))
    states = [answer.state for answer in answers]
    assert states.count(ClaimState.FIRST) == 1
    assert states.count(ClaimState.BUSY) == 19
    await pair[1].close()


async def test_twenty_claims_of_a_shared_key_by_twenty_sagas_give_one_first(
    pair: tuple[Ledger, Ledger],
) -> None:
    sagas = [f"o2p:emea:sf-main:deal{n}" for n in range(20)]
    answers = await asyncio.gather(
        *(claim(pair[n % 2], client(saga), f"a{n}", saga=saga) for n, saga in enumerate(sagas))
    )
    assert [answer.state for answer in answers].count(ClaimState.FIRST) == 1
    assert len(await pair[0].holders(CLIENT)) == 1
    await pair[1].close()


async def test_takeover_after_the_deadline_is_given_once(pair: tuple[Ledger, Ledger], clock: Clock) -> None:
    await claim(pair[0], WRITE, "dead")
    clock.turn(61)
    answers = await asyncio.gather(*(claim(pair[n % 2], WRITE, f"a{n}") for n in range(12)))
    states = [answer.state for answer in answers]
    assert states.count(ClaimState.LOOK) == 1
    assert states.count(ClaimState.BUSY) == 11
    await pair[1].close()


async def test_a_hold_and_the_last_release_never_both_win(pair: tuple[Ledger, Ledger]) -> None:
    generation = 1
    outcomes = set()
    for n in range(ROUNDS):
        mine, theirs = client(SAGA, generation=generation), client(OTHER, generation=generation)
        await land(pair[0], mine, f"r{n}")
        pause = random.Random(n).random() * 0.004

        async def latch(write=theirs, attempt: str = f"b{n}", pause: float = pause) -> Claim:  # type: ignore[no-untyped-def]
            await asyncio.sleep(pause)
            return await claim(pair[1], write, attempt, saga=OTHER)

        released, answer = await asyncio.gather(pair[0].release_hold(CLIENT, SAGA), latch())
        outcomes.add(answer.state)
        if answer.state is ClaimState.DONE:
            assert not released.last, "the record is in use and being deleted"
            released = await pair[1].release_hold(CLIENT, OTHER)
        else:
            assert answer.state is ClaimState.BUSY
        assert released.last
        for row in released.effects:
            await pair[0].undoing(row.key)
            await pair[0].undone(row.key, DELETED)
        generation = await pair[0].shared_generation(CLIENT)
        assert generation == n + 2
    assert outcomes <= {ClaimState.DONE, ClaimState.BUSY}
    await pair[1].close()


async def test_a_release_waits_for_a_hold_that_is_being_made(pair: tuple[Ledger, Ledger]) -> None:
    await land(pair[0], client(SAGA))
    async with pair[1].transaction():
        assert (await claim(pair[1], client(OTHER), "b", saga=OTHER)).state is ClaimState.DONE
        release = asyncio.create_task(pair[0].release_hold(CLIENT, SAGA))
        await asyncio.sleep(0.2)
        assert not release.done()
    assert not (await release).last
    await pair[1].close()


async def test_a_hold_waits_for_a_release_that_is_being_made(pair: tuple[Ledger, Ledger]) -> None:
    await land(pair[0], client(SAGA))
    async with pair[1].transaction():
        assert (await pair[1].release_hold(CLIENT, SAGA)).last
        latch = asyncio.create_task(claim(pair[0], client(OTHER), "b", saga=OTHER))
        holding = asyncio.create_task(pair[0].hold(CLIENT, OTHER, "s|g1|x"))
        await asyncio.sleep(0.2)
        assert not latch.done()
        assert not holding.done()
    assert (await latch).state is ClaimState.BUSY
    assert not await holding
    await pair[1].close()


async def test_a_claim_and_a_tombstone_never_miss_each_other(pair: tuple[Ledger, Ledger]) -> None:
    for n in range(ROUNDS):
        write = project(f"deal{n}.UK.GBP", step_key=f"{SAGA}|g1|step{n}")
        answer, rows = await asyncio.gather(
            claim(pair[n % 2], write), pair[1 - n % 2].tombstone(write.step_key, saga_id=SAGA, actor=ANNA)
        )
        if answer.state is ClaimState.FIRST:
            assert [row.key for row in rows] == [write.key], "the undo would not know of the write"
        else:
            assert answer.state is ClaimState.CLOSED
            assert rows == []
        assert not await may_send(pair[0], write.key, "a1")
    await pair[1].close()


async def test_writers_of_one_chain_take_turns(pair: tuple[Ledger, Ledger]) -> None:
    async def write(n: int) -> None:
        await pair[n % 2].audit(AuditEntry(chain="ns-emea", action=f"n{n}", actor=ANNA, personal={"n": n}))

    await asyncio.gather(*(write(n) for n in range(30)))
    rows = (await pair[0].audit_rows(chain="ns-emea")).rows
    assert [row.seq for row in rows] == list(range(1, 31))
    assert {row.action for row in rows} == {f"n{n}" for n in range(30)}
    assert await pair[1].verify() == []
    await pair[1].close()


async def test_many_sagas_at_once_over_shared_and_own_records(pair: tuple[Ledger, Ledger]) -> None:
    """A day in short: claims, results, undos of forty sagas at once; no deadlock, nothing lost."""

    async def saga(n: int) -> None:
        ledger, saga_id = pair[n % 2], f"o2p:emea:sf-main:deal{n}"
        write = client(saga_id)
        assert (await claim(ledger, write, f"a{n}", saga=saga_id)).state is ClaimState.DONE
        own = project(f"deal{n}.UK.GBP", saga=saga_id)
        await land(ledger, own, str(n), f"a{n}", saga=saga_id)
        if n % 3 == 0:
            await ledger.tombstone(own.step_key, saga_id=saga_id, actor=SYSTEM_ACTOR)
            await ledger.undoing(own.key)
            await ledger.undone(own.key, DELETED)
            assert not (await ledger.release_hold(CLIENT, saga_id)).effects

    await claim(pair[0], client("o2p:emea:sf-main:keeper"), "k", saga="o2p:emea:sf-main:keeper")
    await pair[0].done(client().key, "k", Landed(id="client"), created=True)
    await asyncio.gather(*(saga(n) for n in range(40)))
    assert len(await pair[0].holders(CLIENT)) == 1 + 40 - 14
    done = await pair[0].effects(states=[EffectState.DONE], limit=100)
    assert len(done.rows) == 1 + 40 - 14
    assert await pair[0].verify() == []
    await pair[1].close()


async def test_cancelled_callers_leave_a_working_ledger(ledger: Ledger) -> None:
    """Activities are cancelled at any point; no connection, lock or half transaction may stay behind."""
    for n in range(30):
        write = project(f"deal{n}.UK.GBP")
        task = asyncio.create_task(claim(ledger, write))
        await asyncio.sleep(random.Random(n).random() * 0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    states = set()
    for n in range(30):
        write = project(f"deal{n}.UK.GBP")
        states.add((await claim(ledger, write, "a2")).state)
    assert states <= {ClaimState.FIRST, ClaimState.BUSY}
    await asyncio.gather(*(ledger.effect(WRITE.key) for _ in range(40)))
    assert await ledger.verify() == []
