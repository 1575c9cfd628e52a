"""The lease at the last moment: it begins again when the call does, or nothing may be sent."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ledger.rows import ClaimState
from ledger.store import Ledger
from tests.ledger.subject import ANNA, SAGA, Clock, claim, project

pytestmark = pytest.mark.anyio
WRITE = project()


async def test_the_lease_covers_the_call_that_is_about_to_go_out(ledger: Ledger, clock: Clock) -> None:
    await claim(ledger, WRITE, "a1")
    clock.turn(50)
    assert await ledger.extend(WRITE.key, "a1", ledger.now() + timedelta(seconds=36))
    clock.turn(20)
    assert (await claim(ledger, WRITE, "a2")).state is ClaimState.BUSY


async def test_an_ended_lease_is_not_extended(ledger: Ledger, clock: Clock) -> None:
    await claim(ledger, WRITE, "a1")
    clock.turn(61)
    assert not await ledger.extend(WRITE.key, "a1", ledger.now() + timedelta(seconds=36))


async def test_an_overtaken_attempt_is_refused(ledger: Ledger, clock: Clock) -> None:
    await claim(ledger, WRITE, "a1")
    clock.turn(61)
    await claim(ledger, WRITE, "a2")
    assert not await ledger.extend(WRITE.key, "a1", ledger.now() + timedelta(seconds=36))
    assert await ledger.extend(WRITE.key, "a2", ledger.now() + timedelta(seconds=36))


async def test_a_step_that_is_being_undone_sends_nothing(ledger: Ledger, clock: Clock) -> None:
    await claim(ledger, WRITE, "a1")
    await ledger.tombstone(WRITE.step_key, saga_id=SAGA, actor=ANNA)
    assert not await ledger.extend(WRITE.key, "a1", ledger.now() + timedelta(seconds=36))
