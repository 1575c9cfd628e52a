"""Salesforce simulator: outbound messages until acknowledged, Flow callouts once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest

from simulators.kit import Running, serve
from simulators.salesforce import build
from simulators.salesforce.simulator import defaults

OUT = "{http://soap.sforce.com/2005/09/outbound}"
OBJ = "{urn:sobject.enterprise.soap.sforce.com}"
ACK = (
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    '<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>{}</Ack></notificationsResponse>'
    "</soapenv:Body></soapenv:Envelope>"
)


class Receiver:
    """Takes POSTs and answers them in turn; the last answer repeats."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[tuple[int, str]] = [(200, ACK.format("true"))]
        self.before_answer: Callable[[], None] = lambda: None
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.headers.append({k.lower(): v for k, v in self.headers.items()})
                receiver.bodies.append(body)
                place = min(len(receiver.bodies), len(receiver.answers)) - 1
                status, answer = receiver.answers[place]
                receiver.before_answer()
                self.send_response(status)
                self.send_header("content-length", str(len(answer.encode())))
                self.end_headers()
                self.wfile.write(answer.encode())

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hooks/secret"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def notifications(self) -> list[list[tuple[str, dict[str, str]]]]:
        """Per message: (notification id, fields)."""
        result = []
        for body in self.bodies:
            root = ElementTree.fromstring(body)
            result.append(
                [
                    (
                        str(n.findtext(f"{OUT}Id")),
                        {e.tag.removeprefix(OBJ): e.text or "" for e in n.iterfind(f"{OUT}sObject/*")},
                    )
                    for n in root.iter(f"{OUT}Notification")
                ]
            )
        return result


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serve(build()) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def sim(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.base_url, trust_env=False) as client:
        client.post("/_sim/reset").raise_for_status()
        fast = {"outbound_retry_seconds": 0.05, "outbound_retry_max_seconds": 0.1}
        client.post("/_sim/settings", json={**defaults(), **fast}).raise_for_status()
        yield client
        client.post("/_sim/reset")


def seed(sim: httpx.Client, count: int = 1) -> list[str]:
    rows = [{"Name": f"D<{n}>", "StageName": "Closed Won", "CloseDate": "2026-11-01"} for n in range(count)]
    sim.post("/_sim/seed", json={"Opportunity": rows}).raise_for_status()
    return [r["Id"] for r in sim.get("/_sim/records?type=Opportunity").json()["Opportunity"]]


def state(sim: httpx.Client) -> list[dict[str, Any]]:
    return list(sim.get("/_sim/outbound").json()["messages"])


def send(sim: httpx.Client, url: str, ids: list[str]) -> None:
    answer = sim.post("/_sim/outbound", json={"url": url, "opportunity_ids": ids})
    assert answer.status_code == 202, answer.text


class TestOutboundMessage:
    def test_envelope(self, sim: httpx.Client, receiver: Receiver) -> None:
        ids = seed(sim, 2)
        send(sim, receiver.url, ids)
        wait_for(lambda: [m["acked"] for m in state(sim)] == [True])
        assert len(receiver.bodies) == 1
        assert receiver.headers[0]["content-type"].startswith("text/xml")
        root = ElementTree.fromstring(receiver.bodies[0])
        body = root.find("{http://schemas.xmlsoap.org/soap/envelope/}Body")
        assert body is not None
        message = body[0]
        assert message.tag == f"{OUT}notifications"
        assert str(message.findtext(f"{OUT}OrganizationId"))[:3] == "00D"
        assert not message.findtext(f"{OUT}SessionId")
        first, second = receiver.notifications()[0]
        assert (first[1]["Id"], second[1]["Id"]) == (ids[0], ids[1])
        assert first[0] != second[0]
        assert (first[1]["Name"], first[1]["IsWon"]) == ("D<0>", "true")
        assert "Amount" not in first[1]

    @pytest.mark.parametrize(
        "refusal", [(500, ""), (200, ACK.format("false")), (200, "not xml"), (302, ACK.format("true"))]
    )
    def test_again_until_acknowledged(
        self, sim: httpx.Client, receiver: Receiver, refusal: tuple[int, str]
    ) -> None:
        ids = seed(sim)
        receiver.answers = [refusal, refusal, (200, ACK.format("true"))]
        send(sim, receiver.url, ids)
        wait_for(lambda: [m["acked"] for m in state(sim)] == [True])
        assert len(receiver.bodies) == 3
        assert len({n[0][0] for n in receiver.notifications()}) == 1

    def test_repetition_carries_the_latest_values(self, sim: httpx.Client, receiver: Receiver) -> None:
        ids = seed(sim)
        receiver.answers = [(503, ""), (200, ACK.format("true"))]
        changed = threading.Event()

        def rename() -> None:
            if not changed.is_set():
                changed.set()
                order = {"type": "Opportunity", "id": ids[0], "fields": {"Name": "later"}}
                httpx.post(f"{sim.base_url}/_sim/change", json=order, trust_env=False).raise_for_status()

        receiver.before_answer = rename
        send(sim, receiver.url, ids)
        wait_for(lambda: [m["acked"] for m in state(sim)] == [True])
        assert [n[0][1]["Name"] for n in receiver.notifications()] == ["D<0>", "later"]

    def test_a_hundred_a_message(self, sim: httpx.Client, receiver: Receiver) -> None:
        send(sim, receiver.url, seed(sim, 101))
        wait_for(lambda: [m["acked"] for m in state(sim)] == [True, True])
        assert sorted(len(n) for n in receiver.notifications()) == [1, 100]

    def test_gives_up(self, sim: httpx.Client, receiver: Receiver) -> None:
        sim.post("/_sim/settings", json={"outbound_give_up_seconds": 0.2})
        receiver.answers = [(500, "")]
        send(sim, receiver.url, seed(sim))
        wait_for(lambda: [m["given_up"] for m in state(sim)] == [True])
        assert state(sim)[0]["attempts"] == len(receiver.bodies) > 1

    def test_duplicate_event(self, sim: httpx.Client, receiver: Receiver) -> None:
        sim.post("/_sim/faults", json={"kind": "duplicate_event"})
        send(sim, receiver.url, seed(sim))
        wait_for(lambda: len(receiver.bodies) == 2)
        assert len({n[0][0] for n in receiver.notifications()}) == 1

    def test_reordered_event(self, sim: httpx.Client, receiver: Receiver) -> None:
        ids = seed(sim, 2)
        sim.post("/_sim/faults", json={"kind": "reorder_event"})
        send(sim, receiver.url, ids[:1])
        send(sim, receiver.url, ids[1:])
        wait_for(lambda: [m["acked"] for m in state(sim)] == [True, True])
        assert [n[0][1]["Id"] for n in receiver.notifications()] == [ids[1], ids[0]]

    def test_only_loopback_and_known_records(self, sim: httpx.Client, receiver: Receiver) -> None:
        ids = seed(sim)
        for order in (
            {"url": "http://192.0.2.1/x", "opportunity_ids": ids},
            {"url": "file:///etc/passwd", "opportunity_ids": ids},
            {"url": receiver.url, "opportunity_ids": []},
            {"url": receiver.url, "opportunity_ids": ["006gK000000zzzzQAA"]},
        ):
            assert sim.post("/_sim/outbound", json=order).status_code == 400
        assert receiver.bodies == []


class TestCallout:
    def test_once_with_the_secret(self, sim: httpx.Client, receiver: Receiver) -> None:
        ids = seed(sim)
        receiver.answers = [(500, "")]
        order = {"url": receiver.url, "opportunity_ids": ids, "headers": {"X-Secret": "s3"}}
        assert sim.post("/_sim/callout", json=order).status_code == 202
        wait_for(lambda: all(c["done"] for c in sim.get("/_sim/outbound").json()["callouts"]))
        assert len(receiver.bodies) == 1
        event = httpx.Response(200, content=receiver.bodies[0]).json()
        assert set(event) == {"opportunityId", "orgId", "eventId"}
        assert event["opportunityId"] == ids[0]
        assert receiver.headers[0]["x-secret"] == "s3"
        assert sim.get("/_sim/outbound").json()["callouts"][0]["status"] == 500
