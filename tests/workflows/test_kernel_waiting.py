"""Waiting for systems: growing jittered pauses, the vendor's own delay, cases that close by themselves."""

from __future__ import annotations

import pytest
from temporalio.api.enums.v1 import EventType

from activities.options import Timings
from canonical.failures import FailureKind
from canonical.saga import SagaStatus
from tests.workflows.driver import Kernel, Run, step
from tests.workflows.stubs import Desk, away, repair
from workflows.kernel.core import growing_pause

pytestmark = pytest.mark.anyio

TIMINGS = Timings(attempts=1, wait_first=5, wait_ceiling=40)


async def pauses(run: Run) -> list[float]:
    """Durations of all timers, in seconds."""
    return [
        event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta().total_seconds()
        for event in await run.events(EventType.EVENT_TYPE_TIMER_STARTED)
    ]


async def test_pauses_grow_with_jitter_up_to_the_ceiling(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do a", *(away() for _ in range(6)))
    run = await kernel.start(step("a"), timings=TIMINGS, desk=desk)
    await run.result()
    found = await pauses(run)
    full = [5, 10, 20, 40, 40, 40]
    assert len(found) == len(full)
    assert all(longest / 2 <= pause <= longest for pause, longest in zip(found, full, strict=True))
    assert len({pause / longest for pause, longest in zip(found, full, strict=True)}) > 1


def test_the_pause_stays_at_its_ceiling_however_long_the_outage() -> None:
    """Three days at five minutes are some thousand rounds: two to that power is no float any more."""
    assert [growing_pause(TIMINGS, rounds) for rounds in (0, 2, 5, 1_100, 10_000)] == [5, 20, 40, 40, 40]


async def test_the_vendors_own_delay_is_obeyed(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do a", away(kind=FailureKind.WAIT, retry_after_seconds=90))
    run = await kernel.start(step("a"), timings=TIMINGS, desk=desk)
    await run.result()
    assert await pauses(run) == [90]


async def test_a_case_opens_once_and_closes_by_itself(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do a", away(), away(), away())
    run = await kernel.start(step("a"), timings=TIMINGS, desk=desk)
    view = await run.status(SagaStatus.WAITING)
    assert view.cause is not None
    assert view.parked_since is None
    await run.result()
    assert run.desk.books == ["open a", "close a", "finish complete"]
    assert run.desk.entries[0].transient


@pytest.mark.own_server
async def test_a_wait_that_turns_into_a_refusal_parks(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do a", away(), repair("now it says no"))
    run = await kernel.start(step("a"), timings=TIMINGS, desk=desk)
    await run.status(SagaStatus.WAITING)
    await run.booked("open a")
    await run.skip(seconds=10)
    view = await run.parked("a")
    assert view.parked_since is not None
    await run.booked("open a")
    await run.repair("a")
    await run.result()
    assert [entry.transient for entry in run.desk.entries if hasattr(entry, "transient")] == [True, False]


async def test_refused_credentials_wait_too(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do a", away(kind=FailureKind.REAUTHORISE))
    run = await kernel.start(step("a"), timings=TIMINGS, desk=desk)
    await run.status(SagaStatus.WAITING)
    assert (await run.result()).status is SagaStatus.COMPLETE


async def test_a_ledger_outage_delays_the_case_and_never_the_repair(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do a", repair())
    desk.fail("open", away("ledger is away"), away("ledger is away"))
    run = await kernel.start(step("a"), timings=TIMINGS, desk=desk)
    view = await run.parked("a")
    assert view.status is SagaStatus.PARKED
    await run.repair("a")
    await run.result()
    assert run.desk.books == [
        "open a failed", "open a failed", "open a", "decide a", "close a", "finish complete",
    ]  # fmt: skip


async def test_a_write_without_a_word_from_its_worker_waits_and_is_tried_again(kernel: Kernel) -> None:
    """A start-to-close time-out says nothing about the vendor: the next attempt looks before it sends."""
    desk = Desk()
    lost = desk.block("do a")
    run = await kernel.start(
        step("a"), timings=Timings(attempts=1, write=1, heartbeat=60, wait_first=0.1), desk=desk
    )
    view = await run.status(SagaStatus.WAITING)
    failure = view.steps[0].failure
    assert failure is not None
    assert failure.maybe_landed
    assert failure.remedy == "Check that workers of this system's queue are running."
    lost.set()
    assert (await run.result()).status is SagaStatus.COMPLETE
    assert run.desk.calls == ["do a", "do a"]
