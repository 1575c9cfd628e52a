"""The process API: who may, what it starts, once for every key, and what it tells."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from canonical.causes import Cause, Queue
from canonical.failures import Failure, FailureKind, Finding
from canonical.names import SagaName, contract_key, saga_id
from canonical.refs import RecordRef
from canonical.saga import SagaStatus, SagaView
from gateway.contracts import files
from gateway.problems import Kind
from tests.gateway import tokens
from tests.gateway.house import House, deal, stalled
from tests.gateway.test_hooks import problem

pytestmark = pytest.mark.anyio
DEAL = "006gK0000000001QAA"
SAGA = saga_id(SagaName.OPPORTUNITY_TO_PROJECT, "emea", "sf-main", DEAL)
PLAN = saga_id(SagaName.OPPORTUNITY_TO_PROJECT, "emea", "sf-main", DEAL, plan=True)
WANTED = {"system": "sf-main", "deal_id": DEAL}


async def post(home: House, path: str, body: Any = None, *, key: str | None = "k-1", client: str = "portal",
               **given: Any) -> httpx.Response:  # fmt: skip
    headers = {**tokens.bearer(home.clock(), client), **given.pop("headers", {})}
    if key is not None:
        headers["Idempotency-Key"] = key
    content = given.pop("content", None)
    if content is None:
        return await home.http.post(path, json=WANTED if body is None else body, headers=headers)
    return await home.http.post(
        path, content=content, headers={**headers, "content-type": "application/json"}
    )


async def get(home: House, path: str, client: str = "portal", **query: Any) -> httpx.Response:
    return await home.http.get(path, params=query, headers=tokens.bearer(home.clock(), client))


def view(**changes: Any) -> SagaView:
    return SagaView(
        saga_id=SAGA,
        saga="opportunity-to-project",
        status=SagaStatus.RUNNING,
        headline="Making the client",
        business_key=f"sf-main/{DEAL}",
        region="emea",
    ).model_copy(update=changes)


# --- who may ---------------------------------------------------------------------------------------------


async def test_no_valid_token_no_answer(home: House) -> None:
    now = home.clock()
    other = ec.generate_private_key(ec.SECP256R1())
    secret = "a-symmetric-key-of-at-least-32-bytes"
    bad: list[dict[str, str]] = [
        {},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer a.b.c"},
        {"Authorization": "Bearer " + "x" * 9_000},
        tokens.bearer(now, signer=other),
        tokens.bearer(now, kid="key-2"),
        tokens.bearer(now, iss="https://elsewhere.example"),
        tokens.bearer(now, aud="another"),
        tokens.bearer(now, aud=None),
        tokens.bearer(now, exp=None),
        tokens.bearer(now, exp=int((now - timedelta(minutes=5)).timestamp())),
        tokens.bearer(now, exp="later"),
        tokens.bearer(now, nbf=int((now + timedelta(minutes=5)).timestamp())),
        tokens.bearer(now, signer=secret, algorithm="HS256"),
    ]
    for headers in bad:
        answer = await home.http.get(f"/v1/sagas/{SAGA}", headers=headers)
        problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        problem(await home.http.post("/v1/projects", content=b"{", headers=headers), 401)
    assert home.temporal.started == []


async def test_scopes_and_clients(home: House) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    for changes in ({"scope": "trueup.projects.read"}, {"scope": None}, {"scope": ["trueup.sagas.read"]}):
        headers = {**tokens.bearer(home.clock(), **changes), "Idempotency-Key": "k"}
        answer = await home.http.post("/v1/projects", json=WANTED, headers=headers)
        problem(answer, 403)
        assert 'scope="trueup.projects.write"' in answer.headers["www-authenticate"]
    problem(await post(home, "/v1/projects", client="stranger"), 403)
    problem(await post(home, "/v1/projects", client="america"), 403)
    assert home.temporal.started == []
    listed = {**tokens.bearer(home.clock(), scope=["trueup.projects.write"]), "Idempotency-Key": "k"}
    assert (await home.http.post("/v1/projects", json=WANTED, headers=listed)).status_code == 202


async def test_the_issuers_keys_are_exchanged_without_a_restart(home: House, tmp_path: Path) -> None:
    assert (await get(home, "/v1/client-accounts")).status_code == 200
    (tmp_path / "keys.json").write_text(tokens.key_set("key-22"))
    problem(await get(home, "/v1/client-accounts"), 401)
    headers = tokens.bearer(home.clock(), kid="key-22")
    assert (await home.http.get("/v1/client-accounts", headers=headers)).status_code == 200
    # A broken file does not lock everybody out.
    (tmp_path / "keys.json").write_text("{")
    assert (await home.http.get("/v1/client-accounts", headers=headers)).status_code == 200


async def test_a_client_of_one_entity_neither_starts_nor_sees_others(home: House) -> None:
    home.crm.deals[DEAL] = deal(DEAL, entity="US01")
    problem(await post(home, "/v1/projects", client="germany"), 403)
    home.crm.deals[DEAL] = deal(DEAL, entity=None)
    problem(await post(home, "/v1/projects", client="germany"), 403)
    problem(await post(home, "/v1/validations", client="germany", key=None), 403)
    home.crm.deals[DEAL] = deal(DEAL, entity="US01")
    home.temporal.views[SAGA] = view()
    problem(await get(home, f"/v1/sagas/{SAGA}", "germany"), 404)
    problem(await get(home, "/v1/projects", "germany", **WANTED), 404)
    home.temporal.views[SAGA] = view(codes={contract_key(DEAL, "US01", "USD"): "PRJ-1"})
    problem(await get(home, f"/v1/sagas/{SAGA}", "germany"), 404)
    problem(await get(home, "/v1/approved-time", "germany", legal_entity="US01"), 403)
    assert home.temporal.started == []
    home.crm.deals[DEAL] = deal(DEAL)
    home.temporal.views[SAGA] = view()
    assert (await get(home, f"/v1/sagas/{SAGA}", "germany")).status_code == 200
    assert (await post(home, "/v1/projects", client="germany")).status_code == 202


# --- starting --------------------------------------------------------------------------------------------


async def test_a_deal_is_set_up(home: House) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = await post(
        home, "/v1/projects", {**WANTED, "reason": "won today"}, headers={"traceparent": trace}
    )
    assert answer.status_code == 202
    assert answer.json() == {"saga_id": SAGA, "status": "under way", "href": f"/v1/sagas/{SAGA}"}
    assert answer.headers["location"] == f"/v1/sagas/{SAGA}"
    (start,) = home.temporal.started
    assert (start.actor.name, start.actor.verified, start.reason) == ("portal", True, "won today")
    assert start.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    home.temporal.complete.add(SAGA)
    answer = await post(home, "/v1/projects", key="k-2")
    assert (answer.status_code, answer.json()["status"]) == (200, "complete")


async def test_what_cannot_be_started_is_said(home: House) -> None:
    problem(await post(home, "/v1/projects"), 404)
    problem(await post(home, "/v1/projects", {**WANTED, "system": "kantata-main"}), 404)
    home.crm.deals[DEAL] = deal(DEAL, won=False)
    assert problem(await post(home, "/v1/projects"), 409)["type"] == Kind.NOT_STARTABLE.uri
    home.crm.away = True
    problem(await post(home, "/v1/projects"), 503)
    home.crm.away = False
    # None of these used the key up.
    home.crm.deals[DEAL] = deal(DEAL)
    home.temporal.away = RPCError("away", RPCStatusCode.UNAVAILABLE, b"")
    problem(await post(home, "/v1/projects"), 503)
    home.temporal.away = RuntimeError("a fault nobody thought of")
    problem(await post(home, "/v1/projects"), 500)
    home.temporal.away = None
    assert (await post(home, "/v1/projects")).status_code == 202


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b'"x"', b"[" * 50_000, b"\xff", b"{}", b'{"system":"sf-main"}',
    json.dumps({**WANTED, "unknown": 1}).encode(), json.dumps({**WANTED, "deal_id": "a:b"}).encode(),
    json.dumps({**WANTED, "deal_id": 5}).encode(), json.dumps({**WANTED, "system": "SF MAIN"}).encode(),
    json.dumps({**WANTED, "reason": "x" * 300}).encode(),
    json.dumps({**WANTED, "reason": "a\x00b"}).encode(), json.dumps({**WANTED, "reason": "\ud800"}).encode(),
], ids=range(16))  # fmt: skip
async def test_bad_bodies_are_named_and_not_repeated(home: House, body: bytes) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    answer = await post(home, "/v1/projects", content=body)
    assert answer.status_code in (400, 422)
    document = problem(answer, answer.status_code)
    assert "sf-main" not in json.dumps(document)
    assert home.temporal.started == []


async def test_approved_time_is_posted_once_for_every_key(home: House) -> None:
    wanted = {"psa": "kantata-main", "erp": "netsuite-emea", "through": "2026-11-28"}
    first = await post(home, "/v1/approved-time", wanted)
    assert first.status_code == 202
    again = await post(home, "/v1/approved-time", wanted)
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    assert (await post(home, "/v1/approved-time", wanted, key="k-2")).json() != first.json()
    one, two = home.temporal.started
    assert one.saga_id == first.json()["saga_id"] != two.saga_id
    assert one.through == date(2026, 11, 28)  # type: ignore[attr-defined]
    problem(await post(home, "/v1/approved-time", {**wanted, "erp": "other"}, key="k-3"), 404)
    problem(await post(home, "/v1/approved-time", {**wanted, "through": "yesterday"}, key="k-3"), 422)


# --- Idempotency-Key --------------------------------------------------------------------------------------


async def test_a_key_is_needed_and_of_one_form(home: House) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    for key in (None, "", " ", "a b", "x" * 201, '"'):
        assert problem(await post(home, "/v1/projects", key=key), 400)["type"] == Kind.KEY_MISSING.uri
    assert (await post(home, "/v1/projects", key='"k-1"')).status_code == 202
    assert (await post(home, "/v1/projects", key="k-1")).headers["idempotency-replayed"] == "true"


async def test_the_same_key_with_another_body_is_refused(home: House) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    assert (await post(home, "/v1/projects")).status_code == 202
    answer = await post(home, "/v1/projects", {**WANTED, "reason": "other"})
    assert problem(answer, 422)["type"] == Kind.KEY_REUSED.uri
    # Another client's key is another key.
    assert (await post(home, "/v1/projects", {**WANTED, "reason": "x"}, client="germany")).status_code == 202


async def test_a_request_in_flight_is_not_done_twice(home: House) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    reached, held = stalled(home.temporal)
    first = asyncio.create_task(post(home, "/v1/projects"))
    await reached.wait()
    answer = await post(home, "/v1/projects")
    assert problem(answer, 409)["type"] == Kind.IN_FLIGHT.uri
    assert answer.headers["retry-after"]
    held.set()
    assert (await first).status_code == 202
    assert (await post(home, "/v1/projects")).json() == (await first).json()
    assert len(home.temporal.started) == 1


async def test_a_killed_request_frees_its_key_when_its_lease_is_over(home: House) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    body = json.dumps(WANTED).encode()
    digest = hashlib.sha256(body).hexdigest()
    await home.ledger.claim_request(
        "portal", "k-1", "POST /v1/projects", digest, attempt_id="gone", lease=timedelta(seconds=60)
    )
    problem(await post(home, "/v1/projects", content=body), 409)
    home.clock.turn(seconds=61)
    assert (await post(home, "/v1/projects", content=body)).status_code == 202


# --- pre-flight --------------------------------------------------------------------------------------------


async def test_the_pre_flight_tells_all_findings(home: House) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    finding = Finding(
        cause=Cause.TAX_REGISTRATION_MISSING, message="No tax number.", remedy="Enter it.",
        queue=Queue.MASTER_DATA, record=RecordRef(system="sf-main", type="Account", id="001"), field="tax",
    )  # fmt: skip
    failure = Failure(
        kind=FailureKind.REPAIR, cause=finding.cause, message="1 finding", queue=finding.queue,
        findings=(finding,),
    )  # fmt: skip
    error = ApplicationError("1 finding", {"failure": failure.model_dump(mode="json")})
    home.temporal.answers[PLAN] = WorkflowFailureError(cause=error)
    answer = await post(home, "/v1/validations", key=None)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["valid"], body["writes"]) == (False, 0)
    assert body["findings"][0]["remedy"] == "Enter it."
    home.temporal.answers[PLAN] = view(status=SagaStatus.PLANNED, writes=({"kind": "create"},) * 3)
    body = (await post(home, "/v1/validations", key=None)).json()
    assert (body["valid"], body["findings"], body["writes"]) == (True, [], 3)
    assert all(start.plan for start in home.temporal.started)


async def test_a_pre_flight_that_nobody_makes_ends_in_time(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.crm.deals[DEAL] = deal(DEAL)
    quick = home.front.settings.gateway.model_copy(update={"validation_seconds": 0.05})
    monkeypatch.setitem(home.front.settings.__dict__, "gateway", quick)
    problem(await post(home, "/v1/validations", key=None), 504)
    assert home.temporal.terminated == [PLAN]


# --- reading -----------------------------------------------------------------------------------------------


async def test_a_saga_is_told_live_or_from_the_ledger(home: House) -> None:
    problem(await get(home, f"/v1/sagas/{SAGA}"), 404)
    for bad in ("nonsense", "o2p:emea:sf-main", "%00", "o2p:emea:sf-main:%0a", "x" * 3_000):
        problem(await get(home, f"/v1/sagas/{bad}"), 404)
    home.temporal.views[SAGA] = view()
    body = (await get(home, f"/v1/sagas/{SAGA}")).json()
    assert (body["source"], body["status"], body["headline"]) == ("live", "running", "Making the client")
    problem(await get(home, f"/v1/sagas/{SAGA}", "america"), 404)


async def test_projects_and_clients_with_their_records(home: House) -> None:
    contract = contract_key(DEAL, "DE01", "EUR")
    home.temporal.views[SAGA] = view(codes={contract: "PRJ-7"})
    record = RecordRef(system="netsuite-emea", type="job", id="77", url="https://erp.example/77")
    await home.ledger.link("project", contract, record, created_by_us=True, saga_id=SAGA)
    client = RecordRef(system="netsuite-emea", type="customer", id="55")
    await home.ledger.link("client", "001A", client, created_by_us=True, saga_id=SAGA)
    body = (await get(home, "/v1/projects", **WANTED)).json()
    (project,) = body["items"]
    assert (project["code"], project["legal_entity"], project["currency"]) == ("PRJ-7", "DE01", "EUR")
    assert project["records"][0]["id"] == "77"
    for query in ({}, {"system": "netsuite-emea", "record_type": "customer", "record_id": "55"}):
        body = (await get(home, "/v1/client-accounts", **query)).json()
        assert [one["key"] for one in body["items"]] == ["001A"]
    problem(await get(home, "/v1/client-accounts", record_id="55"), 422)
    # Nobody knows yet whose client it is: only callers without a limit see it.
    assert (await get(home, "/v1/client-accounts", "germany")).json()["items"] == []


async def test_lists_that_are_empty(home: House) -> None:
    assert (await get(home, "/v1/invoice-status", invoice="INV-1")).json() == {"items": [], "next": None}
    assert (await get(home, "/v1/approved-time")).json() == {"items": []}


def test_the_checked_in_files_are_what_the_code_says() -> None:
    for path, text in files().items():
        assert path.read_text(encoding="utf-8") == text, "run: python -m gateway.contracts"


def test_every_operation_says_who_may() -> None:
    (path, text), *_ = [(p, t) for p, t in files().items() if p.name == "openapi.json"]
    document = json.loads(text)
    assert document["openapi"].startswith("3.1"), path
    for address, methods in document["paths"].items():
        for operation in methods.values():
            assert bool(operation["security"]) == address.startswith("/v1/"), address
