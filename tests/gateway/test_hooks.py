"""Webhooks at the door: durable before the 2xx, problems for what is wrong, never a start for bad input."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from canonical.failures import Defect, Transient
from canonical.names import SagaName, saga_id
from canonical.saga import Actor, SagaStatus
from ledger.inbox import InboxState
from tests.connectors.senders import OUTBOUND
from tests.gateway.deliveries import jira, signed, won
from tests.gateway.house import SECRET, House, deal

pytestmark = pytest.mark.anyio
DEAL = "006gK0000000001QAA"
SAGA = saga_id(SagaName.OPPORTUNITY_TO_PROJECT, "emea", "sf-main", DEAL)


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["type"].startswith("urn:trueup:problem:")
    assert document["trace_id"] == answer.headers["traceparent"].split("-")[1]
    for leak in ("Traceback", SECRET, ".py", "sqlite"):
        assert leak not in answer.text
    return document


async def deliver(home: House, id_: str, body: Any, source: str = "deals", **changes: Any) -> httpx.Response:
    raw, headers = signed(id_, changes.pop("at", home.clock()), body)
    headers.update(changes.pop("headers", {}))
    return await home.http.post(f"/hooks/{source}", content=changes.pop("content", raw), headers=headers)


async def test_a_won_deal_is_durable_then_handed_over_by_its_event_id(home: House) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = await deliver(home, "e-1", won(DEAL), headers={"traceparent": trace})
    assert (answer.status_code, answer.content) == (200, b"{}")
    assert answer.headers["traceparent"].split("-")[1] == "4bf92f3577b34da6a3ce929d0e0e4736"
    (row,) = await home.rows()
    assert (row.state, row.record_id, row.deliveries) == (InboxState.RECEIVED, DEAL, 1)
    assert home.temporal.started == []

    await home.settle()
    (row,) = await home.rows()
    assert (row.state, row.saga_id) == (InboxState.HANDED, SAGA)
    (start,) = home.temporal.started
    assert (start.saga_id, start.trace_id) == (SAGA, "4bf92f3577b34da6a3ce929d0e0e4736")
    assert home.temporal.signals == [(SAGA, f"deals/{row.id}")]


async def test_repetitions_are_counted_and_change_nothing(home: House) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    for _ in range(5):
        assert (await deliver(home, "e-1", won(DEAL))).status_code == 200
    await home.settle()
    assert (await deliver(home, "e-1", won(DEAL))).status_code == 200
    await home.settle()
    (row,) = await home.rows()
    assert (row.state, row.deliveries) == (InboxState.HANDED, 6)
    assert len(home.temporal.started) == 1


async def test_copies_at_the_same_time_are_one_event(home: House) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    answers = await asyncio.gather(*(deliver(home, "e-1", won(DEAL)) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    await home.settle()
    assert [row.deliveries for row in await home.rows()] == [20]
    assert len(home.temporal.started) == 1


async def test_an_outbound_message_starts_only_what_its_rule_says(home: House) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    answer = await home.http.post(f"/hooks/sf-orders/{SECRET}", content=OUTBOUND)
    assert answer.status_code == 200
    assert b"<Ack>true</Ack>" in answer.content
    assert answer.headers["content-type"].startswith("text/xml")
    open_ = OUTBOUND.replace(b"Closed Won", b"Proposal").replace(b"04lgK0000000001AAA", b"04lgK0000000002AAA")
    assert (await home.http.post(f"/hooks/sf-orders/{SECRET}", content=open_)).status_code == 200
    await home.settle()
    assert [row.state for row in await home.rows()] == [InboxState.HANDED, InboxState.IGNORED]
    assert len(home.temporal.started) == 1
    problem(await home.http.post("/hooks/sf-orders/wrong-secret", content=OUTBOUND), 401)
    problem(await home.http.post("/hooks/sf-orders", content=OUTBOUND), 401)


async def test_the_inbox_keeps_no_more_of_a_delivery_than_rules_ask_for(home: House) -> None:
    await home.http.post(f"/hooks/sf-orders/{SECRET}", content=OUTBOUND)
    (row,) = await home.rows()
    assert row.fields == {"StageName": "Closed Won"}


async def test_events_nobody_can_take_yet_are_kept_parked_and_visible(home: House) -> None:
    assert (await deliver(home, "e-1", {"type": "scope.new", "data": {"id": "7"}})).status_code == 200
    assert (await deliver(home, "e-2", {"type": "no.such", "data": {"id": "7"}})).status_code == 200
    body, headers = jira({"webhookEvent": "jira:issue_updated", "issue": {"id": "1"}})
    assert (await home.http.post("/hooks/jira", content=body, headers=headers)).status_code == 200
    await home.settle()
    rows = await home.rows()
    assert {row.state for row in rows} == {InboxState.PARKED}
    assert "a change order needs its terms" in rows[0].reason
    assert "no rule of source" in rows[1].reason
    assert home.temporal.started == []
    # A later release, or another rule: a person lets them be tried again.
    assert await home.ledger.reopen_events([rows[0].id]) == 1
    assert await home.front.dispatcher.sweep() == 1


async def test_a_deal_that_is_not_there_yet_waits_and_then_parks(home: House) -> None:
    assert (await deliver(home, "e-1", won(DEAL))).status_code == 200
    await home.settle()
    (row,) = await home.rows()
    assert row.state is InboxState.WAITING
    for _ in range(200):
        home.clock.turn(minutes=16)
        await home.front.dispatcher.sweep()
    (row,) = await home.rows()
    assert (row.state, row.reason) == (InboxState.PARKED, "sf-main has no such record")
    assert home.temporal.started == []
    # It came after all.
    home.crm.deals[DEAL] = deal(DEAL)
    await home.ledger.reopen_events([row.id])
    await home.front.dispatcher.sweep()
    assert len(home.temporal.started) == 1


async def test_a_deal_that_is_not_won_starts_nothing(home: House) -> None:
    home.crm.deals[DEAL] = deal(DEAL, won=False)
    await deliver(home, "e-1", won(DEAL))
    await home.settle()
    (row,) = await home.rows()
    assert row.state is InboxState.IGNORED
    assert home.temporal.started == []


@pytest.mark.parametrize("status", [SagaStatus.COMPLETE, SagaStatus.UNDONE, SagaStatus.FAILED])
async def test_a_deal_that_has_ended_is_not_started_again_by_an_event(
    home: House, status: SagaStatus
) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    begun = await home.ledger.begin_saga(
        SAGA, saga="opportunity-to-project", region="emea", business_key=f"sf-main/{DEAL}",
        actor=Actor(name="ada"), reason="", start_id="1",
    )  # fmt: skip
    await home.ledger.finish_saga(SAGA, begun.generation, status)
    await deliver(home, "e-1", won(DEAL))
    await home.settle()
    (row,) = await home.rows()
    assert row.state is (InboxState.HANDED if status is SagaStatus.COMPLETE else InboxState.PARKED)
    assert home.temporal.started == []


async def test_what_temporal_calls_complete_is_handed_over(home: House) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    home.temporal.complete.add(SAGA)
    await deliver(home, "e-1", won(DEAL))
    await home.settle()
    assert [row.state for row in await home.rows()] == [InboxState.HANDED]


async def test_events_outlive_an_outage_of_crm_and_temporal(home: House) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    home.crm.away = True
    await deliver(home, "e-1", won(DEAL))
    await home.settle()
    assert [row.state for row in await home.rows()] == [InboxState.WAITING]
    home.crm.away = False
    home.temporal.away = RuntimeError("a fault nobody thought of")
    home.clock.turn(minutes=1)
    await home.front.dispatcher.sweep()
    assert [row.state for row in await home.rows()] == [InboxState.WAITING]
    home.temporal.away = None
    home.clock.turn(minutes=2)
    await home.front.dispatcher.sweep()
    assert [row.state for row in await home.rows()] == [InboxState.HANDED]


async def test_what_a_crash_left_is_found_by_the_sweeper_of_another_process(home: House) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    await deliver(home, "e-1", won(DEAL))
    # The process is gone here: nothing was handed over. Its lease protects nothing for long.
    assert await home.front.dispatcher.sweep() == 0
    home.clock.turn(seconds=61)
    assert await home.front.dispatcher.sweep() == 1
    assert len(home.temporal.started) == 1


@pytest.fixture
async def live(home: House) -> AsyncIterator[House]:
    async with home.front.dispatcher:
        yield home


async def test_the_running_dispatcher_hands_over_by_itself(live: House) -> None:
    live.crm.deals[DEAL] = deal(DEAL)
    await deliver(live, "e-1", won(DEAL))
    for _ in range(200):
        if live.temporal.started:
            break
        await asyncio.sleep(0.01)
    assert len(live.temporal.started) == 1


# --- bad input: 4xx with a problem, nothing kept, nothing started ----------------------------------------


async def test_what_is_not_authentic_leaves_no_trace(home: House) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    good, headers = signed("e-1", home.clock(), won(DEAL))

    async def post(name: str = "", value: str | None = None, content: bytes = good) -> httpx.Response:
        sent = {k: v for k, v in {**headers, name: value}.items() if k and v is not None}
        return await home.http.post("/hooks/deals", content=content, headers=sent)

    bad = [
        await home.http.post("/hooks/deals", content=good),
        await post("webhook-signature", None),
        await post("webhook-signature", "v1,AAAA"),
        await post("webhook-signature", "\x00"),
        await post("webhook-id", "other"),
        await post("webhook-timestamp", "0"),
        await post("webhook-timestamp", "now"),
        await post(content=good + b" "),
        await deliver(home, "e-1", won(DEAL), at=home.clock() - timedelta(minutes=6)),
        await deliver(home, "e-1", won(DEAL), at=home.clock() + timedelta(minutes=6)),
    ]
    for answer in bad:
        problem(answer, 401)
        assert "www-authenticate" in answer.headers
    await home.settle()
    assert await home.rows() == []
    assert home.temporal.started == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 50_000,
        b'{"type":"deal.won"}',
        b'{"type":"deal.won","data":{"id":"a:b"}}',
        b'{"type":"deal.won","data":{"id":"../x y"}}',
        b'{"type":"","data":{"id":"1"}}',
    ],
    ids=lambda body: repr(body[:30]),
)
async def test_authentic_rubbish_is_malformed(home: House, body: bytes) -> None:
    problem(await deliver(home, "e-1", body), 400)
    assert await home.rows() == []


async def test_ten_megabytes_are_refused_unread(home: House) -> None:
    answer = await deliver(home, "e-1", won(DEAL), content=b"x" * 10_000_000)
    assert problem(answer, 413)["detail"].startswith("At most 100000 bytes")

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1_000):
            yield b"x" * 10_000

    answer = await home.http.post("/hooks/deals", content=endless())
    problem(answer, 413)
    assert await home.rows() == []


async def test_addresses_and_methods_that_are_none(home: House) -> None:
    problem(await home.http.post("/hooks/nobody", content=b"{}"), 404)
    problem(await home.http.post("/hooks/deals/key", content=b"{}"), 404)
    problem(await home.http.post("/hooks/", content=b"{}"), 404)
    problem(await home.http.post("/hooks/..%2f..%2fetc", content=b"{}"), 404)
    problem(await home.http.post("/hooks/%00", content=b"{}"), 404)
    answer = await home.http.get("/hooks/deals")
    problem(answer, 405)
    assert answer.headers["allow"] == "POST"


async def test_a_source_whose_secret_is_missing_asks_for_a_repetition(home: House) -> None:
    body, headers = jira({"webhookEvent": "x"})
    answer = await home.http.post("/hooks/unset", content=body, headers=headers)
    problem(answer, 503)
    assert answer.headers["retry-after"]
    assert "TRUEUP_TEST_NOT_SET" not in answer.text


@pytest.mark.parametrize("error", [Transient("locked"), Defect("broken"), RuntimeError("sqlite is gone")])
async def test_no_2xx_when_nothing_could_be_made_durable(
    home: House, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(home.front.desk.ledger, "receive_events", fails)
    answer = await deliver(home, "e-1", won(DEAL))
    problem(answer, 503 if isinstance(error, Transient) else 500)


async def test_a_handshake_brings_its_secret_back_and_leaves_nothing(home: House) -> None:
    answer = await home.http.post("/hooks/asana", headers={"X-Hook-Secret": "abc123"})
    assert (answer.status_code, answer.headers["x-hook-secret"]) == (200, "abc123")
    assert await home.rows() == []


async def test_health(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await home.http.get("/healthz")).json() == {"status": "ok"}
    assert (await home.http.get("/readyz")).json() == {"status": "ok"}

    async def away() -> Any:
        raise Transient("away")

    monkeypatch.setattr(home.front.desk.ledger, "inbox_counts", away)
    problem(await home.http.get("/readyz"), 503)
    assert (await home.http.get("/healthz")).status_code == 200
