"""A record shared by several steps of one saga: the last of them undoes it, also after a crash in between."""

from __future__ import annotations

import pytest

from canonical.saga import SYSTEM_ACTOR
from ledger.rows import ClaimState
from ledger.store import Ledger
from tests.ledger.subject import CLIENT, DELETED, OTHER, SAGA, claim, client, land

pytestmark = pytest.mark.anyio

MINE = client(SAGA)
SECOND = MINE.model_copy(update={"step_key": f"{MINE.step_key}.second"})
"""The same group, held by the step of another delivery project."""


async def test_a_record_goes_with_the_last_step_that_relies_on_it(ledger: Ledger) -> None:
    await land(ledger, MINE)
    assert (await claim(ledger, SECOND, "a2")).state is ClaimState.DONE
    assert not (await ledger.release_hold(CLIENT, SAGA, SECOND.step_key)).last
    assert await ledger.holders(CLIENT) == (SAGA,)
    released = await ledger.release_hold(CLIENT, SAGA, MINE.step_key)
    assert [row.key for row in released.effects] == [MINE.key]


async def test_a_step_that_did_not_make_it_finds_it_again_after_a_crash(ledger: Ledger) -> None:
    await land(ledger, MINE)
    await claim(ledger, SECOND, "a2")
    await ledger.release_hold(CLIENT, SAGA, MINE.step_key)
    first = await ledger.release_hold(CLIENT, SAGA, SECOND.step_key)
    assert len(first.effects) == 1
    # The worker dies here; the next attempt starts from the tombstone.
    (row,) = await ledger.tombstone(SECOND.step_key, saga_id=SAGA, actor=SYSTEM_ACTOR)
    again = await ledger.release_hold(CLIENT, SAGA, SECOND.step_key)
    assert [one.key for one in again.effects] == [row.key] == [MINE.key]
    await ledger.undoing(row.key)
    await ledger.undone(row.key, DELETED)
    assert await ledger.holders(CLIENT) == ()


async def test_no_hold_is_left_for_the_next_generation(ledger: Ledger) -> None:
    await land(ledger, MINE)
    (row,) = (await ledger.release_hold(CLIENT, SAGA, MINE.step_key)).effects
    await ledger.undoing(row.key)
    await ledger.undone(row.key, DELETED)
    second = client(OTHER, generation=2)
    await land(ledger, second, "2", "b1", saga=OTHER)
    assert await ledger.holders(CLIENT) == (OTHER,)
    assert (await ledger.release_hold(CLIENT, OTHER, second.step_key)).last
