"""The inbox and the requests of the API on both databases."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from ledger.api_requests import RequestState, StoredAnswer
from ledger.inbox import InboxState, NewEvent
from ledger.store import Ledger
from tests.ledger.subject import Clock

pytestmark = pytest.mark.anyio
LEASE = timedelta(seconds=60)


def event(number: int) -> NewEvent:
    return NewEvent(event_id=f"e-{number}", type="deal.won", record_id=str(number), fields={"stage": "won"})


async def test_an_event_is_kept_once_however_often_it_comes(ledger: Ledger) -> None:
    rows = await asyncio.gather(
        *(
            ledger.receive_events("crm", "sf", [event(1), event(2)], trace_id="t", lease=LEASE)
            for _ in range(8)
        )
    )
    assert {row.id for one in rows for row in one} == {row.id for row in rows[0]}
    page = await ledger.inbox()
    assert [row.deliveries for row in page.rows] == [8, 8]
    assert page.rows[0].fields == {"stage": "won"}
    # Another source's event of the same id is another event.
    await ledger.receive_events("psa", "kt", [event(1)], trace_id="t", lease=LEASE)
    assert await ledger.inbox_counts() == {InboxState.RECEIVED: 3}


async def test_no_two_sweepers_get_the_same_event(ledger: Ledger, clock: Clock) -> None:
    await ledger.receive_events("crm", "sf", [event(n) for n in range(50)], trace_id="t", lease=LEASE)
    assert await ledger.claim_events(lease=LEASE, limit=10) == [], "whoever received them goes first"
    clock.turn(seconds=61)
    claimed = await asyncio.gather(*(ledger.claim_events(lease=LEASE, limit=10) for _ in range(5)))
    ids = [row.id for rows in claimed for row in rows]
    assert len(ids) == len(set(ids))
    clock.turn(seconds=61)
    assert len(await ledger.claim_events(lease=LEASE, limit=100)) == 50, "a lease ends with its holder"


async def test_what_is_handed_over_stays_so(ledger: Ledger, clock: Clock) -> None:
    (row,) = await ledger.receive_events("crm", "sf", [event(1)], trace_id="t", lease=LEASE)
    await ledger.postpone_event(row.id, clock() + timedelta(minutes=1), "not there yet")
    await ledger.settle_event(row.id, InboxState.HANDED, saga_id="s")
    await ledger.settle_event(row.id, InboxState.PARKED, reason="late")
    (again,) = await ledger.receive_events("crm", "sf", [event(1)], trace_id="u", lease=LEASE)
    assert (again.state, again.saga_id, again.trace_id) == (InboxState.HANDED, "s", "t")
    assert await ledger.reopen_events([row.id]) == 0
    assert (await ledger.inbox(states=[InboxState.HANDED], source="crm")).rows[0].settled_at == clock()


async def test_parked_events_are_tried_again_on_demand(ledger: Ledger) -> None:
    (row,) = await ledger.receive_events("crm", "sf", [event(1)], trace_id="t", lease=LEASE)
    await ledger.settle_event(row.id, InboxState.PARKED, reason="x\x00\ud800\n" * 300)
    assert len((await ledger.inbox(event_id="e-1")).rows[0].reason) == 500
    assert await ledger.claim_events(lease=LEASE, limit=10) == []
    assert await ledger.reopen_events([row.id, 999]) == 1
    assert [one.id for one in await ledger.claim_events(lease=LEASE, limit=10)] == [row.id]


async def test_a_key_means_one_request(ledger: Ledger, clock: Clock) -> None:
    async def claim(attempt: str, body: str = "h", key: str = "k", client: str = "c") -> RequestState:
        found = await ledger.claim_request(client, key, "POST /x", body, attempt_id=attempt, lease=LEASE)
        return found.state

    states = await asyncio.gather(*(claim(f"a{n}") for n in range(6)))
    assert sorted(states) == [RequestState.FIRST] + [RequestState.IN_FLIGHT] * 5
    assert await claim("b", body="other") is RequestState.OTHER
    assert await claim("b", client="somebody else") is RequestState.FIRST
    # The process died: the lease ends, and the request may be taken again.
    clock.turn(seconds=61)
    assert await claim("c") is RequestState.FIRST
    await ledger.answer_request(
        "c", "k", f"a{states.index(RequestState.FIRST)}", StoredAnswer(status=500, body="")
    )
    assert await claim("d") is RequestState.IN_FLIGHT, "the late answer of a lost attempt is dropped"
    await ledger.answer_request("c", "k", "c", StoredAnswer(status=202, body="{}", location="/v1/sagas/1"))
    found = await ledger.claim_request("c", "k", "POST /x", "h", attempt_id="e", lease=LEASE)
    assert found.state is RequestState.ANSWERED
    assert found.answer == StoredAnswer(status=202, body="{}", location="/v1/sagas/1")


async def test_a_request_that_did_nothing_frees_its_key(ledger: Ledger) -> None:
    await ledger.claim_request("c", "k", "POST /x", "h", attempt_id="a", lease=LEASE)
    await ledger.forget_request("c", "k", "other")
    await ledger.forget_request("c", "k", "a")
    found = await ledger.claim_request("c", "k", "POST /x", "changed", attempt_id="b", lease=LEASE)
    assert found.state is RequestState.FIRST
