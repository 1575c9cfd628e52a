"""The HTTP session: waiting for a free connection is ours, not the vendor's; the permit is asked last."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

import httpx
import pytest

from canonical.failures import TIMED_OUT, OutcomeUnknown, Transient
from connectors.kit.errors import ErrorTable, VendorError
from connectors.kit.http import HttpSession
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
