"""Sending our own events over real TLS: signatures, refusals, and addresses that are never called."""

from __future__ import annotations

import io
import json
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import sleep
from typing import Any

import jsonschema_rs
import pytest
import structlog
from standardwebhooks import Webhook, WebhookVerificationError
from temporalio.service import RPCError
from temporalio.testing import ActivityEnvironment

import runtime.logging
from activities.contracts.outgoing import Delivery as Wanted
from activities.contracts.outgoing import GiveUp
from activities.outgoing import OutgoingActivitiesOver, cloud_event
from canonical.causes import Cause, Queue
from canonical.failures import Failure, FailureKind
from canonical.outgoing import OutgoingType
from canonical.saga import Actor, CaseState, ExceptionCase, SagaStatus
from connectors.kit.secrets import Secret
from connectors.kit.webhooks import Delivery
from connectors.webhooks import sender as module
from connectors.webhooks.sender import Sender, public
from gateway.contracts import FOLDER
from runtime.gateway_sections import SubscriptionSection
from runtime.logging import configure
from runtime.sections import LoggingSection
from simulators.kit.serve import throwaway_tls
from tests.gateway.house import House
from wiring.webhooks import receiver_class

pytestmark = pytest.mark.anyio
ONE, TWO = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
SAGA = "o2p:emea:sf-main:" + "006gK0000000001QAA"


@dataclass
class Receiver:
    """A subscriber: keeps what it gets, answers what it is told to."""

    port: int = 0
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0
    """How long it takes to answer."""
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[Path, Path], ssl.SSLContext]:
    files, ca = throwaway_tls(tmp_path_factory.mktemp("tls"))
    return files, ssl.create_default_context(cafile=str(ca))


@pytest.fixture
def receiver(authority: tuple[tuple[Path, Path], ssl.SSLContext]) -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            made.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            sleep(made.seconds)
            self.send_response(made.status)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority[0])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def trusted(authority: tuple[tuple[Path, Path], ssl.SSLContext]) -> ssl.SSLContext:
    return authority[1]


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUEUP_TEST_ONE", ONE)
    monkeypatch.setenv("TRUEUP_TEST_TWO", TWO)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What a process logs at its most talkative."""
    names = (None, "httpx", "httpcore", "asyncio", "temporalio")
    before = {name: logging.getLogger(name).level for name in names}
    stream = io.StringIO()
    configure(LoggingSection(level="DEBUG"), stream)
    yield stream
    while runtime.logging._installed:
        logging.getLogger().removeHandler(runtime.logging._installed.pop())
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


def sender(url: str, trusted: ssl.SSLContext, *names: str, **given: Any) -> Sender:
    secrets = [Secret(env=name) for name in names or ("TRUEUP_TEST_ONE",)]
    return Sender(url, secrets, trusted=trusted, **{"allowed": lambda _: True, **given})


def url_of(receiver: Receiver, path: str = "/hook?x=1") -> str:
    return f"https://localhost:{receiver.port}{path}"


async def test_what_is_sent_verifies_by_somebody_elses_library(
    receiver: Receiver, trusted: ssl.SSLContext
) -> None:
    body = b'{"specversion":"1.0","data":{"name":"R&D \xe2\x80\x93 \xe6\x9d\xb1\xe4\xba\xac"}}'
    outcome = await sender(url_of(receiver), trusted).send("evt_1", body)
    assert outcome.taken
    ((path, headers, got),) = receiver.got
    assert (path, got, headers["content-type"]) == ("/hook?x=1", body, "application/cloudevents+json")
    assert headers["host"] == f"localhost:{receiver.port}"
    assert Webhook(ONE).verify(got, headers) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        Webhook(TWO).verify(got, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(ONE).verify(got + b" ", headers)


async def test_while_secrets_are_exchanged_both_verify(receiver: Receiver, trusted: ssl.SSLContext) -> None:
    await sender(url_of(receiver), trusted, "TRUEUP_TEST_ONE", "TRUEUP_TEST_TWO").send("evt_1", b"{}")
    ((_, headers, got),) = receiver.got
    for secret in (ONE, TWO):
        Webhook(secret).verify(got, headers)


@pytest.mark.parametrize(("status", "headers", "over", "wait"), [
    (500, {}, False, None), (400, {}, False, None), (503, {"Retry-After": "120"}, False, 120),
    (429, {"Retry-After": "7"}, False, 7), (410, {}, True, None), (503, {"Retry-After": "nan"}, False, None),
    (503, {"Retry-After": "inf"}, False, None), (503, {"Retry-After": "1e300"}, False, 86_400),
    (503, {"Retry-After": "-5"}, False, 0), (503, {"Retry-After": "soon"}, False, None),
    (302, {"Location": "https://localhost/other"}, False, None),
    (307, {"Location": "http://169.254.169.254/"}, False, None),
])  # fmt: skip
async def test_what_a_receiver_answers_is_an_outcome(
    receiver: Receiver,
    trusted: ssl.SSLContext,
    status: int,
    headers: dict[str, str],
    over: bool,
    wait: float | None,
) -> None:
    receiver.status, receiver.headers = status, headers
    outcome = await sender(url_of(receiver), trusted).send("evt_1", b"{}")
    assert (outcome.taken, outcome.over, outcome.retry_after_seconds) == (False, over, wait)
    assert len(receiver.got) == 1, "one attempt is one request, and no redirect is followed"


async def test_a_certificate_of_another_name_is_refused(receiver: Receiver, trusted: ssl.SSLContext,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr(module, "resolved", here)
    other = await sender(f"https://receiver.example:{receiver.port}/", trusted).send("evt_1", b"{}")
    unknown = await Sender(url_of(receiver), [Secret(env="TRUEUP_TEST_ONE")], allowed=lambda _: True).send(
        "evt_1", b"{}"
    )
    assert (other.taken, unknown.taken, receiver.got) == (False, False, [])


@pytest.mark.parametrize("url", [
    "https://localhost:{port}/", "https://127.0.0.1:{port}/", "https://[::1]:{port}/", "https://2130706433:{port}/",
    "https://0x7f.1:{port}/", "http://localhost:{port}/", "https://user@localhost:{port}/",
    "https://no-such-host.invalid/", "https:///nothing", "https://a..b/",
    "https://" + "a" * 300 + ".example/",
])  # fmt: skip
async def test_our_own_network_is_never_called(receiver: Receiver, trusted: ssl.SSLContext, url: str) -> None:
    made = Sender(url.format(port=receiver.port), [Secret(env="TRUEUP_TEST_ONE")], trusted=trusted)
    outcome = await made.send("evt_1", b"{}")
    assert not outcome.taken
    assert receiver.got == []


async def test_one_private_address_among_public_ones_is_enough(
    receiver: Receiver, trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def both(host: str, port: int) -> list[str]:
        return ["93.184.215.14", "127.0.0.1"]

    monkeypatch.setattr(module, "resolved", both)
    made = Sender(url_of(receiver), [Secret(env="TRUEUP_TEST_ONE")], trusted=trusted)
    assert "not a public address" in (await made.send("evt_1", b"{}")).detail


async def test_the_address_that_was_checked_is_the_one_that_is_called(
    receiver: Receiver, trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that answers differently the second time (DNS rebinding) is not asked a second time."""
    asked = []
    looked_up = socket.getaddrinfo

    def rebinding(host: Any, *given: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if not name.replace(".", "").isdigit():
            asked.append(name)
            host = "127.0.0.1" if len(asked) == 1 else "127.0.0.66"
        return looked_up(host, *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    made = sender(url_of(receiver), trusted, allowed=lambda one: one == "127.0.0.1")
    assert (await made.send("evt_1", b"{}")).taken
    assert asked == ["localhost"]


async def test_where_one_address_leads_nowhere_the_next_is_called(
    receiver: Receiver, trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def both(host: str, port: int) -> list[str]:
        return ["127.0.0.66", "127.0.0.1"]

    monkeypatch.setattr(module, "resolved", both)
    assert (await sender(url_of(receiver), trusted).send("evt_1", b"{}")).taken
    assert len(receiver.got) == 1


async def test_a_receiver_that_dawdles_holds_up_nobody(
    receiver: Receiver, trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.5)
    receiver.seconds = 3
    outcome = await sender(url_of(receiver), trusted).send("evt_1", b"{}")
    assert (outcome.taken, outcome.detail) == (False, "localhost did not answer (TimeoutError)")


async def test_neither_secrets_nor_addresses_are_logged(
    receiver: Receiver, trusted: ssl.SSLContext, logged: io.StringIO
) -> None:
    url = url_of(receiver, "/hook?token=s3cr3t-of-the-receiver")
    made = sender(url, trusted, "TRUEUP_TEST_ONE", "TRUEUP_TEST_TWO")
    outcomes = [await made.send("evt_1", b"{}")]
    receiver.status = 500
    outcomes.append(await made.send("evt_1", b"{}"))
    logging.getLogger("trueup").warning("%s %s", outcomes, made)
    section = SubscriptionSection.model_validate({"url": url, "secrets": [{"env": "TRUEUP_TEST_ONE"}]})
    everything = logged.getvalue() + repr(section)
    assert "localhost answered 500" in everything
    for hidden in (ONE[6:], TWO[6:], "s3cr3t-of-the-receiver", "TRUEUP_TEST_ONE"):
        assert hidden not in everything


@pytest.mark.parametrize(("address", "good"), [
    ("93.184.215.14", True), ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True), ("127.0.0.1", False),
    ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.1.1", False), ("169.254.169.254", False),
    ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False), ("240.0.0.1", False), ("::1", False),
    ("fe80::1", False), ("fd00::1", False), ("::ffff:127.0.0.1", False), ("::ffff:10.0.0.1", False),
    ("2002:7f00:1::", False), ("ff02::1", False), ("::", False), ("64:ff9b::7f00:1", False),
])  # fmt: skip
def test_which_addresses_are_public(address: str, good: bool) -> None:
    assert public(address) is good


async def test_a_secret_that_is_not_there_sends_nothing(receiver: Receiver, trusted: ssl.SSLContext) -> None:
    outcome = await sender(url_of(receiver), trusted, "TRUEUP_TEST_NOT_SET").send("evt_1", b"{}")
    assert (outcome.taken, receiver.got) == (False, [])
    assert "TRUEUP_TEST_NOT_SET" in outcome.detail


# --- from the ledger to the receiver -------------------------------------------------------------------


async def _ended(home: House, status: SagaStatus = SagaStatus.COMPLETE) -> None:
    begun = await home.ledger.begin_saga(
        SAGA, saga="opportunity-to-project", region="emea", business_key="sf-main/006",
        actor=Actor(name="ada"), reason="", start_id="1", trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    )  # fmt: skip
    await home.ledger.finish_saga(SAGA, begun.generation, status)


async def test_an_end_is_told_once_and_our_own_receiver_takes_it(
    home: House, receiver: Receiver, trusted: ssl.SSLContext
) -> None:
    await _ended(home)
    await home.ledger.finish_saga(SAGA, 1, SagaStatus.COMPLETE)
    (row,) = await home.ledger.untold_events()
    activity = OutgoingActivitiesOver(home.ledger, {"portal": sender(url_of(receiver), trusted)}, {})
    run = ActivityEnvironment().run
    outcome = await run(activity.deliver, Wanted(event_id=row.event_id, subscription="portal"))
    assert outcome.taken
    ((_, headers, body),) = receiver.got
    event = json.loads(body)
    assert (event["type"], event["subject"], event["id"]) == ("trueup.saga.ended.v1", SAGA, row.event_id)
    assert event["traceparent"].split("-")[1] == "4bf92f3577b34da6a3ce929d0e0e4736"
    taker = receiver_class("cloudevents").model_validate({"secrets": [{"env": "TRUEUP_TEST_ONE"}]})
    sent = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    # Its subject is no record of ours; everything before that is checked.
    with pytest.raises(ValueError, match="subject"):
        taker.receive(Delivery("POST", "https://x", headers, body, sent))
    description = json.loads((FOLDER / "asyncapi.json").read_text())
    message = description["components"]["messages"]["SagaEnded"]
    assert message["name"] == event["type"]
    shape = {**message["payload"], "components": description["components"]}
    jsonschema_rs.validator_for(shape).validate(event)
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validator_for(shape).validate({**event, "data": {}})
    for gone in (
        Wanted(event_id="evt_x", subscription="portal"),
        Wanted(event_id=row.event_id, subscription="x"),
    ):
        assert (await run(activity.deliver, gone)).over


async def test_a_parked_saga_is_told_as_often_as_it_parks(home: House) -> None:
    case = ExceptionCase(
        id="c-1", saga_id=SAGA, step="validate", business_key="sf-main/006", region="emea",
        state=CaseState.OPEN,
        failure=Failure(kind=FailureKind.REPAIR, cause=Cause.TAX_REGISTRATION_MISSING,
                        message="A person's name", queue=Queue.MASTER_DATA),
        opened_at=home.clock(),
    )  # fmt: skip
    await home.ledger.open_case(case)
    await home.ledger.open_case(case)
    await home.ledger.close_case("c-1", "mended")
    await home.ledger.open_case(case)
    await home.ledger.open_case(case.model_copy(update={"id": "c-2", "transient": True}))
    rows = await home.ledger.untold_events()
    assert [row.data["times"] for row in rows] == [1, 2]
    assert "A person's name" not in json.dumps([cloud_event(row).model_dump(mode="json") for row in rows])


async def test_a_plan_is_nobodys_news(home: House) -> None:
    await _ended(home, SagaStatus.PLANNED)
    assert await home.ledger.untold_events() == []


async def test_the_relay_starts_one_delivery_for_each_who_wants_it(home: House) -> None:
    await _ended(home)
    assert await home.front.relay.sweep() == 1
    assert await home.front.relay.sweep() == 0
    (row,) = [await home.ledger.outgoing_event(one.event_id) for one in home.temporal.deliveries[:1]]
    assert row is not None
    assert row.relayed_at is not None
    assert [one.subscription for one in home.temporal.deliveries] == ["all", "ends"]
    assert row.type is OutgoingType.SAGA_ENDED


async def test_what_temporal_did_not_take_is_told_later(home: House) -> None:
    await _ended(home)
    home.temporal.away = RuntimeError("away")
    with pytest.raises(RuntimeError):
        await home.front.relay.sweep()
    home.temporal.away = None
    assert await home.front.relay.sweep() == 1


async def test_one_event_that_temporal_refuses_keeps_no_other_waiting(home: House) -> None:
    await _ended(home)
    begun = await home.ledger.begin_saga(
        SAGA + "2", saga="opportunity-to-project", region="emea", business_key="sf-main/007",
        actor=Actor(name="ada"), reason="", start_id="1", trace_id="",
    )  # fmt: skip
    await home.ledger.finish_saga(SAGA + "2", begun.generation, SagaStatus.COMPLETE)
    first, second = await home.ledger.untold_events()
    home.temporal.refused = {first.event_id}
    with pytest.raises(RPCError):
        await home.front.relay.sweep()
    assert {one.event_id for one in home.temporal.deliveries} == {second.event_id}
    assert [row.event_id for row in await home.ledger.untold_events()] == [first.event_id]
    home.temporal.refused = set()
    assert await home.front.relay.sweep() == 1


async def test_what_was_never_taken_is_one_case_and_no_further_event(home: House) -> None:
    await _ended(home)
    (row,) = await home.ledger.untold_events()
    activity = OutgoingActivitiesOver(home.ledger, {}, {"infrastructure": "Integration team"})
    run = ActivityEnvironment().run
    wanted = Wanted(event_id=row.event_id, subscription="all")
    for run_id in ("r-1", "r-1", "r-2"):
        await run(activity.give_up, GiveUp(delivery=wanted, run_id=run_id, detail="it answered 503"))
    (case,) = (await home.ledger.cases()).rows
    assert (case.case.failure.cause, case.case.owner) == (Cause.EVENT_NOT_TAKEN, "Integration team")
    assert "trueup outbox --subscription all --retry" in (case.case.failure.remedy or "")
    (kept,) = (await home.ledger.undelivered()).rows
    assert (kept.times, kept.detail, kept.subject) == (2, "it answered 503", SAGA)
    assert len(await home.ledger.untold_events()) == 1, "the case itself is told to nobody"


async def test_old_news_is_told_to_nobody(home: House) -> None:
    await _ended(home)
    home.clock.turn(days=8)
    assert await home.front.relay.sweep() == 1
    assert home.temporal.deliveries == []
    assert await home.ledger.untold_events() == []
