"""The HTTP session: waiting for a free connection is ours, not the vendor's; the permit is asked last."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

import httpx
import pytest

from canonical.failures import TIMED_OUT, OutcomeUnknown, Transient
from connectors.kit.errors import ErrorTable, VendorError
from connectors.kit.http import HttpSession, new_client
from connectors.kit.silence import LOST_AFTER, PAUSE, SILENT_CALLS, Silence
from connectors.kit.tokens import BearerAuth, Token
from connectors.ports import PERMIT, Permit
from simulators.kit import Answer, Call, Running, Simulator, serve

pytestmark = pytest.mark.anyio


class Vendor(Simulator):
    def handle(self, call: Call) -> Answer:
        return Answer(200, {"ok": True})


class NoAuth:
    async def headers(self, request: httpx.Request) -> Mapping[str, str]:
        return {}

    def forget(self) -> bool:
        return False


@pytest.fixture
def vendor() -> Iterator[Running]:
    with serve(Vendor()) as running:
        yield running


def session(running: Running, connections: int = 1) -> HttpSession:
    return HttpSession(
        "vendor",
        running.base_url,
        NoAuth(),
        ErrorTable(()),
        lambda response: [VendorError(response.status_code)],
        connections=connections,
    )


async def post(http: HttpSession, permit: Permit) -> httpx.Response:
    token = PERMIT.set(permit)
    try:
        return await http.call("POST", "/x", what="write", write=True, body={})
    finally:
        PERMIT.reset(token)


def permit(events: list[str], name: str, seconds: float, *, refuse: bool = False) -> Permit:
    async def confirm() -> None:
        events.append(f"confirm {name}")
        if refuse:
            raise Transient("this attempt's time is over")

    return Permit(confirm, lambda: events.append(f"accepted {name}"), seconds)


async def test_a_wait_for_a_connection_is_not_time_at_the_vendor(vendor: Running) -> None:
    vendor.simulator.faults.add({"kind": "delay", "method": "POST", "delay_ms": 600, "times": 3})
    http, events = session(vendor), list[str]()
    answers = await asyncio.gather(
        *(asyncio.create_task(post(http, permit(events, str(number), seconds=1.0))) for number in range(3))
    )
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    # One connection: each is confirmed only after the one before was accepted.
    assert events == [f"{what} {number}" for number in range(3) for what in ("confirm", "accepted")]
    await http.close()


async def test_a_call_longer_than_permitted_may_still_be_at_the_vendor(vendor: Running) -> None:
    vendor.simulator.faults.add({"kind": "delay", "method": "POST", "delay_ms": 1500})
    http, events = session(vendor), list[str]()
    with pytest.raises(OutcomeUnknown) as lost:
        await post(http, permit(events, "a", seconds=0.3))
    assert lost.value.failure.vendor_code == TIMED_OUT
    assert events == ["confirm a"]
    await http.close()


async def test_a_dropped_connection_is_no_time_out(vendor: Running) -> None:
    vendor.simulator.faults.add({"kind": "drop_after", "method": "POST"})
    http = session(vendor)
    with pytest.raises(OutcomeUnknown) as lost:
        await post(http, permit([], "a", seconds=5))
    assert lost.value.failure.vendor_code is None
    await http.close()


async def test_nothing_goes_out_without_the_permit(vendor: Running) -> None:
    http = session(vendor)
    with pytest.raises(Transient, match="time is over"):
        await post(http, permit([], "a", seconds=5, refuse=True))
    assert vendor.simulator.calls == []
    await http.close()


async def test_a_pool_that_has_lost_its_connections_is_replaced(vendor: Running) -> None:
    """Whoever may call has a place in the pool; one taken for good would block every later call."""
    http = session(vendor)
    http.client = new_client(vendor.base_url, 1, None, httpx.Timeout(5, pool=0.2))
    async with http.client.stream("GET", "/taken"):  # a connection that nobody gives back
        with pytest.raises(Transient, match="cannot be reached") as lost:
            await post(http, permit([], "a", seconds=5))
        assert not lost.value.failure.maybe_landed
        assert (await post(http, permit([], "a", seconds=5))).status_code == 200
        both = [post(http, permit([], "a", seconds=5)) for _ in range(3)]
        assert {answer.status_code for answer in await asyncio.gather(*both)} == {200}
    await http.close()


async def test_a_system_that_answers_nothing_is_left_alone_and_tried_again(vendor: Running) -> None:
    vendor.simulator.faults.add({"kind": "delay", "method": "POST", "delay_ms": 1600, "times": SILENT_CALLS})
    http, events = session(vendor, connections=SILENT_CALLS), list[str]()
    now = 1_000.0
    http._silence.clock = lambda: now
    lost = await asyncio.gather(
        *(post(http, permit(events, "lost", seconds=1.1)) for _ in range(SILENT_CALLS)),
        return_exceptions=True,
    )
    assert [type(one) for one in lost] == [OutcomeUnknown] * SILENT_CALLS
    with pytest.raises(Transient, match=r"not sent, vendor left the last 3 calls without any answer"):
        await post(http, permit(events, "unsent", seconds=1.1))
    assert "confirm unsent" not in events, "it is refused before it is said to be on its way"
    now += PAUSE
    await post(http, permit(events, "tried", seconds=1.1))
    await post(http, permit(events, "after", seconds=1.1))
    assert events[-4:] == ["confirm tried", "accepted tried", "confirm after", "accepted after"]
    await http.close()


def test_one_call_for_each_pause_tries_a_silent_system() -> None:
    now = 0.0
    silence = Silence(clock=lambda: now)
    for _ in range(SILENT_CALLS - 1):
        silence.no_answer(30)
    assert silence.may_call()
    silence.no_answer(LOST_AFTER / 2)
    assert silence.may_call(), "given up before anybody could have answered"
    silence.no_answer(30)
    assert not silence.may_call()
    now = PAUSE
    assert [silence.may_call() for _ in range(3)] == [True, False, False]
    now = 2 * PAUSE
    assert silence.may_call()
    silence.answered()
    assert all(silence.may_call() for _ in range(3))


async def test_who_waits_for_a_token_fails_with_its_renewal_and_the_next_asks_again() -> None:
    asked: list[int] = []

    async def fetch() -> Token:
        asked.append(1)
        await asyncio.sleep(0.05)
        if len(asked) == 1:
            raise Transient("the token endpoint is away")
        return Token("good")

    auth = BearerAuth(fetch)
    found = await asyncio.gather(*(auth.token() for _ in range(5)), return_exceptions=True)
    assert [type(one) for one in found] == [Transient] * 5
    assert len(asked) == 1
    assert (await auth.token()).value == "good"
