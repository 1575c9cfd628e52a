"""NetSuite: what every connector must survive, over real sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import date

import pytest

from canonical.failures import (
    Conflict,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Transient,
    Unauthorised,
)
from canonical.writes import Landed, UndoResult, VendorWrite, resolve_write
from tests.acceptance.netsuite import Subject, key_pair
from tests.connectors import netsuite_samples as samples
from tests.support.moves import reading_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def subject() -> AsyncIterator[Subject]:
    subject = Subject()
    yield subject
    await subject.close()


async def ensure(subject: Subject, write: VendorWrite) -> Landed:
    return await subject.connector.find(write) or await subject.connector.send(write)


async def test_create_is_idempotent_by_looking_first(subject: Subject) -> None:
    write = subject.create()
    first, second = await ensure(subject, write), await ensure(subject, write)
    assert first.id == second.id
    (record,) = subject.records("customer")
    assert record["companyName"] == "Ünïcödé 🚀 株式会社"
    assert record["externalId"] == write.stamp


@pytest.mark.parametrize("kind", ["drop_after", "reset_mid_body", "error_after"])
async def test_a_lost_answer_is_unknown_and_the_record_is_found(subject: Subject, kind: str) -> None:
    write = subject.create()
    subject.fault(kind, method="PUT", path="customer")
    with pytest.raises(OutcomeUnknown) as caught:
        await subject.connector.send(write)
    assert caught.value.failure.key == write.key
    assert subject.fired() == 1
    found = await subject.connector.find(write)
    assert found is not None
    assert [found.id] == [str(row["id"]) for row in subject.records("customer")]


async def test_a_create_whose_code_cannot_be_read_is_found_with_it_later(subject: Subject) -> None:
    values, _ = await subject.perform([subject.create("Acme GmbH")])
    setup = samples.contract_setup()
    write = resolve_write(subject.connector.plan_contract_and_project(subject.context(), setup)[0], values)
    subject.fault("error_before", method="GET", path=r"job/\d+", status=503)
    landed = await subject.connector.send(write)
    with pytest.raises(Transient):
        await subject.connector.read_back([(write, landed)])
    found = await subject.connector.find(write)
    assert found is not None
    assert found.values == {"code": "PRJ-00001"}
    [shown] = await subject.connector.read_back([(write, landed)])
    assert shown.landed.values == found.values
    assert len(subject.records("job")) == 1


async def test_stamped_and_natural_keys_resolve_lost_answers(subject: Subject) -> None:
    billed = samples.schedule((date(2027, 1, 31), "500.00"), (date(2027, 2, 28), "500.00"))
    setup = samples.contract_setup(samples.contract(samples.line(schedule=billed)))
    write = subject.connector.plan_contract_and_project(subject.context(), setup)[1]
    assert await subject.connector.find(write) is None
    subject.fault("drop_after", method="POST", path="billingSchedule")
    with pytest.raises(OutcomeUnknown):
        await subject.connector.send(write)
    landed = await ensure(subject, write)
    assert await reading_of(subject.connector, write, landed) == write.expect
    assert len(subject.records("billingSchedule")) == 1


async def test_a_stamp_found_twice_is_a_conflict(subject: Subject) -> None:
    billed = samples.schedule((date(2027, 1, 31), "500.00"))
    setup = samples.contract_setup(samples.contract(samples.line(schedule=billed)))
    write = subject.connector.plan_contract_and_project(subject.context(), setup)[1]
    for _ in (1, 2):
        await subject.connector.send(write)
    with pytest.raises(Conflict, match="has 2 of them"):
        await subject.connector.find(write)


async def test_a_lost_answer_of_an_update_is_found_by_its_values(subject: Subject) -> None:
    write = await subject.update()
    assert await subject.connector.find(write) is None
    subject.fault("drop_after", method="PATCH", path="salesOrder")
    with pytest.raises(OutcomeUnknown):
        await subject.connector.send(write)
    assert await subject.connector.find(write) is not None


@pytest.mark.parametrize(
    ("kind", "status"), [("error_before", 503), ("error_before", 500), ("drop_before", None)]
)
async def test_server_errors_retry_reads_and_leave_writes_unknown(
    subject: Subject, kind: str, status: int | None
) -> None:
    write, more = subject.create(), {"status": status} if status else {}
    subject.fault(kind, method="GET", path="customer", **more)
    with pytest.raises(Transient):
        await subject.connector.find(write)
    subject.fault(kind, method="PUT", path="customer", **more)
    with pytest.raises(OutcomeUnknown):
        await subject.connector.send(write)
    assert subject.fired() == 2
    assert await subject.connector.find(write) is None


async def test_a_read_that_breaks_off_is_tried_again(subject: Subject) -> None:
    await ensure(subject, subject.create())
    subject.fault("reset_mid_body", method="GET", path="customer")
    with pytest.raises(Transient):
        await subject.connector.find(subject.create())
    subject.fault("reset_mid_body", method="POST", path="suiteql")
    with pytest.raises(Transient):
        await subject.connector.search_clients(samples.client())


async def test_a_system_that_cannot_be_reached_did_nothing(subject: Subject) -> None:
    write = subject.create()
    assert await subject.connector.find(write) is None  # signed in
    subject.running.stop()
    with pytest.raises(Transient) as caught:
        await subject.connector.send(write)
    assert caught.value.failure.system == samples.SYSTEM


@pytest.mark.parametrize(("named", "waits"), [(None, 5), (7, 7)])
async def test_rate_limits_with_and_without_retry_after(
    subject: Subject, named: int | None, waits: int
) -> None:
    subject.fault("rate_limit", path="customer", **({"retry_after": named} if named else {}))
    with pytest.raises(RateLimited) as caught:
        await subject.connector.send(subject.create())
    assert caught.value.failure.retry_after_seconds == waits
    assert subject.records("customer") == []


async def test_business_refusals_and_taken_keys(subject: Subject) -> None:
    subject.fault("business", path="customer", message="Credit hold by finance")
    with pytest.raises(Refused, match="Credit hold by finance") as caught:
        await subject.connector.send(subject.create())
    assert caught.value.failure.remedy
    # NetSuite's conflict: a POST with an external id that is taken.
    write = subject.create()
    await subject.connector.send(write)
    taken = write.model_copy(
        update={
            "method": "POST",
            "path": "/services/rest/record/v1/customer",
            "body": {**write.body, "externalId": write.stamp},
        }
    )
    with pytest.raises(Conflict):
        await subject.connector.send(taken)
    assert len(subject.records("customer")) == 1


async def test_a_misspelt_field_is_refused_not_dropped(subject: Subject) -> None:
    write = subject.create()
    wrong = write.model_copy(update={"body": {**write.body, "compnyName": "x"}})
    with pytest.raises(Refused) as caught:
        await subject.connector.send(wrong)
    assert caught.value.failure.cause == "CONFIGURATION"
    assert subject.records("customer") == []


async def test_an_expired_token_is_renewed_once(subject: Subject) -> None:
    await subject.connector.find(subject.create())
    subject.fault("expired_token", method="PUT", path="customer")
    await subject.connector.send(subject.create())
    assert len(subject.records("customer")) == 1
    tokens = [call for call in subject.calls() if "/token" in call["path"]]
    assert len(tokens) == 2


async def test_a_wrong_key_is_a_credentials_fault(subject: Subject) -> None:
    wrong = subject.build(auth={**subject.settings().auth.model_dump(), "certificate_id": "cert-2"})
    with pytest.raises(Unauthorised):
        await wrong.find(subject.create())
    (check,) = await wrong.check()
    assert check.state == "broken"
    await wrong.close()


async def test_overload_that_looks_like_a_login_failure_waits(subject: Subject) -> None:
    await subject.connector.find(subject.create())
    subject.configure(over_limit_answer="401", concurrency_limit=0)
    with pytest.raises(RateLimited):
        await subject.connector.find(subject.create())
    subject.configure(concurrency_limit=15)
    assert await subject.connector.find(subject.create()) is None


async def test_our_own_share_of_the_concurrency_is_kept(subject: Subject) -> None:
    await subject.connector.close()
    subject.connector = subject.build(concurrency=3)
    subject.configure(latency_ms=20, concurrency_limit=3)
    writes = [subject.create(f"Client {n}", f"K{n}") for n in range(12)]
    await asyncio.gather(*(subject.connector.send(write) for write in writes))
    assert len(subject.records("customer")) == 12


async def test_undo_of_nothing_and_undo_twice(subject: Subject) -> None:
    write = subject.create()
    nothing = await subject.connector.undo(write, Landed(id="999999"), None)
    assert nothing.result is UndoResult.NOTHING_THERE
    landed = await subject.connector.send(write)
    results = [(await subject.connector.undo(write, landed, None)).result for _ in (1, 2)]
    assert results == [UndoResult.DELETED, UndoResult.NOTHING_THERE]
    assert await subject.connector.find(write) is None


async def test_an_undo_whose_answer_is_lost_ends_as_nothing_there(subject: Subject) -> None:
    write = subject.create()
    landed = await subject.connector.send(write)
    subject.fault("drop_after", method="DELETE", path="customer")
    with pytest.raises(OutcomeUnknown):
        await subject.connector.undo(write, landed, None)
    assert (await subject.connector.undo(write, landed, None)).result is UndoResult.NOTHING_THERE


async def test_a_missing_permission_does_not_end_in_a_half_undo(subject: Subject) -> None:
    write = subject.create()
    landed = await subject.connector.send(write)
    denied = {"title": "Forbidden", "status": 403, "o:errorDetails": [{"detail": "No permission to delete."}]}
    subject.fault("error_before", method="DELETE", path="customer", status=403, body=denied)
    with pytest.raises(Refused, match="No permission"):
        await subject.connector.undo(write, landed, None)
    assert subject.record("customer", landed.id)["isInactive"] is False


async def test_queries_may_lag_records_do_not(subject: Subject) -> None:
    subject.configure(suiteql_lag_seconds=3600)
    write = subject.create("Acme GmbH")
    landed = await subject.connector.send(write)
    found = await subject.connector.find(write)
    assert found is not None
    assert found.id == landed.id
    assert await reading_of(subject.connector, write, landed) == write.expect


async def test_no_secret_in_failures_or_logs(subject: Subject, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = []
    for kind, more in (("error_before", {"status": 500}), ("drop_after", {}), ("rate_limit", {})):
        subject.fault(kind, method="PUT", path="customer", **more)
        with pytest.raises((OutcomeUnknown, RateLimited)) as caught:
            await subject.connector.send(subject.create())
        told += [str(caught.value), repr(caught.value), caught.value.failure.model_dump_json()]
    token = await subject.connector._client.session.auth.headers(None)  # type: ignore[arg-type]
    secrets = [token["Authorization"].removeprefix("Bearer "), key_pair()[0].splitlines()[1]]
    told += [caplog.text, repr(subject.settings()), subject.settings().model_dump_json()]
    assert len(secrets[0]) > 8
    for secret in secrets:
        assert all(secret not in text for text in told)


async def test_token_based_signatures_are_accepted(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NS_CONSUMER_SECRET", "c&s/1")
    monkeypatch.setenv("NS_TOKEN_SECRET", "t s+2")
    secrets = {"consumer_secret": "c&s/1", "token_secret": "t s+2"}
    subject.configure(auth=["tba"], tba={"consumer_key": "ck", "token": "tk", **secrets})
    signed = subject.build(auth=samples.settings().auth.model_dump())
    landed = await signed.send(subject.create("Größe & Co"))
    found = await signed.search_clients(samples.client(name="Größe"))
    assert [row.ref.id for row in found] == [landed.id]
    states = {check.check: check.state for check in await signed.check()}
    assert states["authentication"] == "warning"
    monkeypatch.setenv("NS_TOKEN_SECRET", "wrong")
    with pytest.raises(RateLimited):  # signed anew a moment after successes: taken for overload first
        await signed.find(subject.create())
    await signed.close()
