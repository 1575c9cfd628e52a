"""Our own events on both databases: written with what they tell of, given up once, settled by people."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from canonical.causes import Cause
from canonical.saga import Actor, CaseState, SagaStatus
from ledger.store import Ledger
from ledger.undelivered import UndeliveredState
from tests.ledger.subject import Clock

pytestmark = pytest.mark.anyio
ADA = Actor(name="ada")


async def ended(ledger: Ledger, *names: str) -> list[str]:
    """Sagas that came to their end; the ids of the events of it, oldest first."""
    for name in names:
        saga = f"o2p:emea:sf-main:{name}"
        begun = await ledger.begin_saga(
            saga, saga="opportunity-to-project", region="emea", business_key=f"sf-main/{name}", actor=ADA,
            reason="", start_id=name, trace_id="",
        )  # fmt: skip
        await ledger.finish_saga(saga, begun.generation, SagaStatus.COMPLETE)
    return [row.event_id for row in await ledger.untold_events()]


async def test_an_end_is_one_event_and_leaves_once_handed_over(ledger: Ledger, clock: Clock) -> None:
    events = await ended(ledger, "001", "002", "003")
    assert len(set(events)) == 3
    counts = await ledger.untold_counts()
    assert (counts.events, counts.oldest) == (3, clock())
    first, *rest = await ledger.untold_events(limit=2)
    assert [row.event_id for row in rest] == events[1:2]
    assert [row.event_id for row in await ledger.untold_events(after=first.id)] == events[1:]
    clock.turn(seconds=5)
    await ledger.told(events[0])
    clock.turn(seconds=5)
    await ledger.told(events[0])
    row = await ledger.outgoing_event(events[0])
    assert row is not None
    assert row.relayed_at == clock() - timedelta(seconds=5)
    for event in events[1:]:
        await ledger.told(event)
    assert await ledger.untold_counts() == counts.model_copy(update={"events": 0, "oldest": None})


async def test_a_subscriber_that_is_away_is_one_case_whatever_it_misses(ledger: Ledger, clock: Clock) -> None:
    events = await ended(ledger, "001", "002")
    await asyncio.gather(
        *(
            ledger.give_up(event, name, run_id=f"{event}{name}", detail="answered 503", owner="ops")
            for event in events
            for name in ("portal", "portal", "lake")
        )
    )
    assert await ledger.undelivered_counts() == {"lake": 2, "portal": 2}
    cases = (await ledger.cases(cause=Cause.EVENT_NOT_TAKEN)).rows
    assert sorted(row.case.business_key for row in cases) == ["subscription/lake", "subscription/portal"]
    assert {row.times_opened for row in cases} == {1}
    page = await ledger.undelivered(limit=3)
    assert len(page.rows) == 3
    assert len((await ledger.undelivered(after=page.cursor or 0)).rows) == 1
    assert {row.times for row in page.rows} == {1}
    assert len(await ledger.untold_events()) == 2, "its case is no event: it could never be told"


async def test_the_case_closes_with_the_last_event_that_is_settled(ledger: Ledger) -> None:
    first, second = await ended(ledger, "001", "002")
    for event in (first, second):
        await ledger.give_up(event, "portal", run_id=event, detail="answered 503", owner=None)
    rows = (await ledger.undelivered(subscription="portal")).rows
    settle = ledger.settle_undelivered
    again, dropped = UndeliveredState.AGAIN, UndeliveredState.DROPPED
    assert await settle(rows[:1], again, command_id="c-1", actor=ADA, reason="") == 1
    assert len((await ledger.cases()).rows) == 1
    assert await settle(rows, dropped, command_id="c-2", actor=ADA, reason="an old receiver") == 1
    assert (await ledger.cases()).rows == ()
    assert await settle(rows, dropped, command_id="c-3", actor=ADA, reason="") == 0
    decisions = (await ledger.decisions(saga_id="tell.emea.portal")).rows
    assert [(one.outcome, one.after, one.reason) for one in decisions] == [
        ("again", {"events": [first]}, ""),
        ("dropped", {"events": [second]}, "an old receiver"),
    ]


async def test_what_fails_once_more_opens_the_case_once_more(ledger: Ledger) -> None:
    (event,) = await ended(ledger, "001")
    await ledger.give_up(event, "portal", run_id="r-1", detail="answered 503", owner=None)
    rows = (await ledger.undelivered()).rows
    await ledger.settle_undelivered(
        rows, UndeliveredState.AGAIN, command_id="c-1", actor=ADA, reason="mended"
    )
    # A late repetition of the first run changes nothing; the second run's end does.
    await ledger.give_up(event, "portal", run_id="r-1", detail="answered 503", owner=None)
    assert (await ledger.undelivered()).rows == ()
    await ledger.give_up(event, "portal", run_id="r-2", detail="answered 500", owner=None)
    (row,) = (await ledger.undelivered()).rows
    assert (row.times, row.detail) == (2, "answered 500")
    (case,) = (await ledger.cases(state=CaseState.OPEN)).rows
    assert case.times_opened == 2


async def test_an_event_that_is_not_there_is_nobodys_case(ledger: Ledger) -> None:
    await ledger.give_up("evt_0", "portal", run_id="r", detail="", owner=None)
    assert (await ledger.cases()).rows == ()
