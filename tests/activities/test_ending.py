"""Coming to an end in good order: windows, cancels, stopping workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.testing import ActivityEnvironment

from activities.ending import Ending, ending_well, in_window
from canonical.failures import Transient

pytestmark = pytest.mark.anyio


async def numbers(last: int, taken: list[int]) -> AsyncIterator[int]:
    for number in range(last):
        taken.append(number)
        yield number


async def test_a_window_is_kept_full_and_never_overfull() -> None:
    now, most, done = 0, 0, []

    async def work(number: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001 * (number % 3))
        now -= 1
        done.append(number)

    await in_window(4, numbers(20, []), work, Ending())
    assert sorted(done) == list(range(20))
    assert most == 4


async def test_after_a_failure_nothing_new_is_taken_and_the_rest_ends() -> None:
    taken: list[int] = []
    done: list[int] = []

    async def work(number: int) -> None:
        if number == 1:
            raise ValueError("second")
        await asyncio.sleep(0.02)
        done.append(number)

    with pytest.raises(ValueError, match="second"):
        await in_window(3, numbers(50, taken), work, Ending())
    assert len(taken) <= 5
    assert sorted(done) == [number for number in taken if number != 1]


async def test_the_first_failure_is_the_one_that_is_told() -> None:
    async def work(number: int) -> None:
        await asyncio.sleep(0.01 * (3 - number))
        raise ValueError(str(number))

    with pytest.raises(ValueError, match="2"):
        await in_window(3, numbers(3, []), work, Ending())


async def test_a_wish_to_end_lets_what_is_under_way_end() -> None:
    ending = Ending()
    taken: list[int] = []
    done: list[int] = []

    async def work(number: int) -> None:
        if number == 2:
            ending.ask(stopped=True)
        await asyncio.sleep(0.01)
        done.append(number)

    await in_window(2, numbers(50, taken), work, ending)
    assert sorted(done) == taken
    assert len(taken) <= 5


async def ends_when_asked(ending: Ending) -> str:
    while not ending.wanted:
        await ending.pause(0.01)
    await asyncio.sleep(0.01)
    return "committed"


async def test_a_cancelled_activity_answers_how_far_it_came() -> None:
    environment = ActivityEnvironment()
    asyncio.get_running_loop().call_later(
        0.05, lambda: environment.cancel(ActivityCancellationDetails(cancel_requested=True))
    )
    assert await environment.run(ending_well, ends_when_asked) == "committed"


async def test_a_paused_activity_is_for_another_attempt() -> None:
    environment = ActivityEnvironment()
    asyncio.get_running_loop().call_later(
        0.05, lambda: environment.cancel(ActivityCancellationDetails(paused=True))
    )
    with pytest.raises(Transient):
        await environment.run(ending_well, ends_when_asked)


async def test_a_stopping_worker_leaves_the_rest_to_another() -> None:
    environment = ActivityEnvironment()
    asyncio.get_running_loop().call_later(0.05, environment.worker_shutdown)
    with pytest.raises(Transient, match="another one goes on"):
        await environment.run(ending_well, ends_when_asked)


async def test_failures_come_through() -> None:
    async def fails(_: Ending) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await ActivityEnvironment().run(ending_well, fails)
