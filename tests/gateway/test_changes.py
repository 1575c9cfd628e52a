"""Change orders by the process API: who may send them, each started once, and what is told of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.service import RPCError, RPCStatusCode

from activities.contracts import StartContractChanges
from canonical.causes import Cause
from canonical.change_orders import ChangeOrder, ChangeOrderState
from canonical.failures import Finding
from canonical.names import contract_key, event_id
from canonical.saga import Actor
from cli.changes import read_orders
from gateway.problems import Kind
from rules.causes import CATALOGUE
from tests.gateway import tokens
from tests.gateway.house import House, stalled
from tests.gateway.test_api import DEAL, get, post
from tests.gateway.test_hooks import problem

pytestmark = pytest.mark.anyio
PATH = "/v1/change-orders"
CONTRACT = contract_key(DEAL, "DE01", "EUR")
AMERICAN = contract_key(DEAL, "US01", "EUR")
CARRIER = f"co:emea:netsuite-emea:{CONTRACT}.CO-1"
MORE = {"key": "00k1", "amount": {"amount": "5000.50", "currency": "EUR"}}


def order(contract: str = CONTRACT, **changes: Any) -> dict[str, Any]:
    body = {
        "key": "CO-1",
        "contract_key": contract,
        "base": 1,
        "effective_on": "2027-02-01",
        "delta": {"change": [MORE]},
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


async def untouched(home: House, contract: str = CONTRACT) -> bool:
    return not home.temporal.started and not await home.ledger.change_orders(contract)


# --- sending ---------------------------------------------------------------------------------------------


async def test_an_order_is_kept_and_its_contract_is_told(home: House) -> None:
    await home.agreed(CONTRACT, "DE01")
    traced = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = await post(home, PATH, order(reason="more scope"), headers={"traceparent": traced})
    assert answer.status_code == 202
    assert answer.json() == {
        "saga_id": CARRIER,
        "status": "under way",
        "href": f"/v1/sagas/{CARRIER}",
        "state": "received",
        "version": 2,
        "orders_href": f"{PATH}?contract={CONTRACT}",
    }
    assert answer.headers["location"] == f"{PATH}?contract={CONTRACT}"
    (start,) = home.temporal.started
    assert isinstance(start, StartContractChanges)
    assert (start.saga_id, start.contract) == (f"coc:emea:netsuite-emea:{CONTRACT}", CONTRACT)
    assert (start.actor, start.reason) == (Actor(name="portal", verified=True), "more scope")
    assert start.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    (row,) = await home.ledger.change_orders(CONTRACT)
    assert home.temporal.signals == [(start.saga_id, event_id("change-order", row.id))]
    assert (row.actor.verified, row.sent_because) == (True, "more scope")
    # The reason is no part of what is kept as the order: by the command it is the same one.
    assert row.order == ChangeOrder.model_validate(order())


async def test_a_file_of_the_command_line_is_a_body(home: House, tmp_path: Path) -> None:
    terms = await home.agreed(CONTRACT, "DE01")
    changed = terms.model_dump(mode="json")
    changed["name"] = "Northwind, second phase"
    text = json.dumps(order(delta=None, terms=changed)).replace('"30000"', "30000.00")
    assert "30000.00" in text
    (tmp_path / "change.json").write_text(text)
    answer = await post(home, PATH, content=text.encode())
    assert (answer.status_code, answer.json()["state"]) == (202, "received")
    (row,) = await home.ledger.change_orders(CONTRACT)
    assert [row.order] == read_orders([str(tmp_path / "change.json")])


async def test_the_same_order_counts_once(home: House) -> None:
    await home.agreed(CONTRACT, "DE01")
    first = await post(home, PATH, order())
    again = await post(home, PATH, order())
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    assert again.headers["location"] == first.headers["location"]
    # Another request, another client: still the same order.
    other = await post(home, PATH, order(), key="k-2")
    third = await post(home, PATH, order(reason="again"), client="germany")
    assert [(one.status_code, one.json()) for one in (other, third)] == [(202, first.json())] * 2
    assert len(await home.ledger.change_orders(CONTRACT)) == 1
    assert len(home.temporal.started) == 1
    await home.ledger.settle_change_order(
        CONTRACT, "CO-1", ChangeOrderState.REFUSED, cause=Cause.CHANGE_BELOW_BILLED, reason="billed",
        actor=Actor(name="x"),
    )  # fmt: skip
    told = len(home.temporal.signals)
    answer = await post(home, PATH, order(), key="k-3")
    assert (answer.status_code, answer.json()["state"], answer.json()["status"]) == (
        200,
        "refused",
        "complete",
    )
    assert len(home.temporal.signals) == told


async def test_other_content_is_refused(home: House) -> None:
    await home.agreed(CONTRACT, "DE01")
    assert (await post(home, PATH, order())).status_code == 202
    other = order(effective_on="2027-03-01")
    assert problem(await post(home, PATH, other), 422)["type"] == Kind.KEY_REUSED.uri
    document = problem(await post(home, PATH, other, key="k-2"), 409)
    assert (document["type"], document["cause"]) == (Kind.REPEATED.uri, "CHANGE_ORDER_REPEATED")
    assert "order of its own" in document["remedy"]
    (row,) = await home.ledger.change_orders(CONTRACT)
    assert row.order == ChangeOrder.model_validate(order())
    assert len(home.temporal.signals) == 1


async def test_a_request_in_flight_is_not_done_twice(home: House) -> None:
    await home.agreed(CONTRACT, "DE01")
    reached, held = stalled(home.temporal)
    first = asyncio.create_task(post(home, PATH, order()))
    await reached.wait()
    assert problem(await post(home, PATH, order()), 409)["type"] == Kind.IN_FLIGHT.uri
    held.set()
    assert (await first).status_code == 202
    assert len(home.temporal.started) == 1


async def test_what_was_kept_is_told_by_the_repetition(home: House) -> None:
    await home.agreed(CONTRACT, "DE01")
    home.temporal.away = RPCError("away", RPCStatusCode.UNAVAILABLE, b"")
    problem(await post(home, PATH, order()), 503)
    home.temporal.away = None
    assert (await post(home, PATH, order())).status_code == 202
    assert len(await home.ledger.change_orders(CONTRACT)) == len(home.temporal.started) == 1


# --- who may ---------------------------------------------------------------------------------------------


async def test_scope_region_and_key_come_first(home: House) -> None:
    await home.agreed(CONTRACT, "DE01")
    for scope in ("trueup.changes.read", "trueup.projects.write"):
        headers = {**tokens.bearer(home.clock(), scope=scope), "Idempotency-Key": "k"}
        answer = await home.http.post(PATH, json=order(), headers=headers)
        problem(answer, 403)
        assert 'scope="trueup.changes.write"' in answer.headers["www-authenticate"]
    headers = tokens.bearer(home.clock(), scope="trueup.changes.write")
    problem(await home.http.get(PATH, params={"contract": CONTRACT}, headers=headers), 403)
    problem(await home.http.post(PATH, json=order()), 401)
    problem(await post(home, PATH, order(), client="america"), 403)
    problem(await get(home, PATH, "america", contract=CONTRACT), 403)
    assert problem(await post(home, PATH, order(), key=None), 400)["type"] == Kind.KEY_MISSING.uri
    assert await untouched(home)


async def test_a_contract_of_another_entity_is_told_as_unknown(home: House) -> None:
    await home.agreed(AMERICAN, "US01")
    entry = CATALOGUE[Cause.CONTRACT_UNKNOWN]

    def said(answer: httpx.Response) -> dict[str, Any]:
        document = problem(answer, 404)
        assert (document["cause"], document["remedy"]) == ("CONTRACT_UNKNOWN", entry.remedy)
        return {**document, "trace_id": ""}

    unseen = said(await post(home, PATH, order(AMERICAN), client="germany"))
    unknown = said(await post(home, PATH, order("006nowhere.US01.EUR"), client="germany"))
    assert unseen == unknown
    unseen = said(await get(home, PATH, "germany", contract=AMERICAN))
    assert unseen == said(await get(home, PATH, "germany", contract="006nowhere.US01.EUR"))
    assert await untouched(home, AMERICAN)
    # Whoever has no limit sees it; the refused key is free.
    assert (await post(home, PATH, order(AMERICAN))).status_code == 202


# --- what is malformed -----------------------------------------------------------------------------------


def bad(**changes: Any) -> bytes:
    return json.dumps(order(**changes)).encode()


def line(**changes: Any) -> bytes:
    return bad(delta={"change": [{**MORE, **changes}]})


def amount(value: str, currency: str = "EUR") -> bytes:
    return line(amount={"amount": value, "currency": currency})


@pytest.mark.parametrize(("body", "pointer"), [
    (bad(key="an odd key"), "/key"),
    (bad(key=None), "/key"),
    (bad(base=0), "/base"),
    (bad(base=10**30), "/base"),
    (bad(base="one"), "/base"),
    (bad(contract_key="a:b"), "/contract_key"),
    (bad(contract_key="a\x00b"), "/contract_key"),
    (bad(effective_on="tomorrow"), "/effective_on"),
    (bad(effective_on="0001-01-01"), "/effective_on"),
    (bad(effective_on="9999-12-31"), "/effective_on"),
    (bad(title="a\x00b"), "/title"),
    (bad(title="\ud800"), "/title"),
    (bad(reason="a\x00b"), "/reason"),
    (bad(unknown=1), "/unknown"),
    (bad(delta=None), ""),
    (bad(terms={}), "/terms/key"),
    (bad(delta={"chnage": []}), "/delta/chnage"),
    (line(amuont=1), "/delta/change/0/amuont"),
    (line(start="soon"), "/delta/change/0/start"),
    (line(quantity="1E+999999999"), "/delta/change/0/quantity"),
    (line(quantity="1E-999999999"), "/delta/change/0/quantity"),
    (amount("NaN"), "/delta/change/0/amount/amount"),
    (amount("1E+999999999"), "/delta/change/0/amount/amount"),
    (amount("4711.005"), "/delta/change/0/amount"),
    (amount("1", "QQQ"), "/delta/change/0/amount/currency"),
    (amount("1").replace(b'"1"', b"NaN"), "/delta/change/0/amount/amount"),
])  # fmt: skip
async def test_what_is_malformed_is_named_and_not_repeated(home: House, body: bytes, pointer: str) -> None:
    await home.agreed(CONTRACT, "DE01")
    document = problem(await post(home, PATH, content=body), 422)
    assert pointer in [one["pointer"] for one in document["errors"]]
    told = json.dumps(document)
    assert not [sent for sent in ("QQQ", "4711", "odd key", "tomorrow", "999999999") if sent in told]
    assert await untouched(home)


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b"[" * 50_000, b"\xff", b'{"\\ud800": 1}', b'{"base": ' + b"9" * 5_000 + b"}",
    json.dumps([order()]).encode(), json.dumps({**order(), "\ud800": 1}).encode(),
    bad(delta={"\ud800": 1}), bad(terms={"parties": {"\ud800": "x"}}),
], ids=range(12))  # fmt: skip
async def test_what_is_no_change_order_starts_nothing(home: House, body: bytes) -> None:
    await home.agreed(CONTRACT, "DE01")
    answer = await post(home, PATH, content=body)
    assert answer.status_code in (400, 422)
    problem(answer, answer.status_code)
    assert await untouched(home)


# --- looking ---------------------------------------------------------------------------------------------


async def test_orders_of_a_contract_and_what_came_of_them(home: House) -> None:
    await home.agreed(CONTRACT, "DE01")
    assert (await get(home, PATH, contract=CONTRACT)).json() == {"items": [], "next": None}
    for number in (1, 2, 3):
        sent = order(key=f"CO-{number}", base=number, title=f"Phase {number}")
        assert (await post(home, PATH, sent, key=f"k-{number}")).status_code == 202
    await home.ledger.carry_change_order(CONTRACT, "CO-1", saga_id=CARRIER)
    finding = Finding(
        cause=Cause.CHANGE_BELOW_BILLED, message="Too low.", remedy="Credit first.",
        queue=CATALOGUE[Cause.CHANGE_BELOW_BILLED].queue, field="lines",
    )  # fmt: skip
    await home.ledger.settle_change_order(
        CONTRACT, "CO-1", ChangeOrderState.REFUSED, cause=Cause.CHANGE_BELOW_BILLED, reason="Too low.",
        findings=[finding], actor=Actor(name="x"),
    )  # fmt: skip
    page = (await get(home, PATH, "germany", contract=CONTRACT, limit=2)).json()
    first, second = page["items"]
    assert (first["key"], first["state"], first["cause"]) == ("CO-1", "refused", "CHANGE_BELOW_BILLED")
    assert (first["saga_id"], first["href"]) == (CARRIER, f"/v1/sagas/{CARRIER}")
    assert first["findings"][0]["remedy"] == "Credit first."
    assert (second["key"], second["state"], second["version"]) == ("CO-2", "received", 3)
    assert (second["saga_id"], second["href"], second["title"]) == (None, None, "Phase 2")
    rest = (await get(home, PATH, contract=CONTRACT, limit=2, after=page["next"])).json()
    assert ([one["key"] for one in rest["items"]], rest["next"]) == (["CO-3"], None)
    problem(await get(home, PATH), 422)
    problem(await get(home, PATH, contract=CONTRACT, limit=0), 422)
    problem(await get(home, PATH, contract="\x00"), 422)
