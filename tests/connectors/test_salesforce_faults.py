"""The acceptance rows for Salesforce: what goes wrong between us and the organisation, over real sockets."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import anyio
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from canonical.causes import Cause
from canonical.failures import (
    Conflict,
    OutcomeUnknown,
    RateLimited,
    Refused,
    SystemFailure,
    Transient,
    Unauthorised,
)
from canonical.writes import UndoResult, VendorWrite
from connectors.kit.secrets import Secret
from connectors.salesforce.settings import JwtBearer
from tests.acceptance.salesforce import DATA, SECRET, Subject
from tests.support.moves import reading_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def subject() -> AsyncIterator[Subject]:
    one = Subject()
    yield one
    await one.close()


def made(subject: Subject, write: VendorWrite) -> int:
    return sum(record.get("Saga_Key__c") == write.stamp for record in subject.records("Account"))


async def test_a_create_sent_twice_makes_one_record(subject: Subject) -> None:
    write = subject.create()
    assert await subject.connector.find(write) is None
    first = await subject.connector.send(write)
    found = await subject.connector.find(write)
    assert found is not None
    assert found.id == first.id
    assert (await subject.connector.send(write)).id == first.id, "even a blind repetition finds it"
    assert made(subject, write) == 1


async def test_a_name_of_300_characters_is_refused_not_cut(subject: Subject) -> None:
    with pytest.raises(Refused) as caught:
        await subject.connector.send(subject.create("株" * 300))
    failure = caught.value.failure
    assert (failure.vendor_code, failure.field) == ("STRING_TOO_LONG", "Name")
    assert failure.remedy


async def test_unicode_comes_back_as_it_went(subject: Subject) -> None:
    name = "Ünï \U0001f680 株 ' \" \\ & <b> ًعربي"
    write = subject.create(name)
    landed = await subject.connector.send(write)
    assert (await reading_of(subject.connector, write, landed))["Name"] == name


@pytest.mark.parametrize("kind", ["drop_after", "reset_mid_body", "error_after", "slow_commit"])
@pytest.mark.parametrize("operation", ["create", "update"])
async def test_a_lost_answer_is_unknown_and_then_found(subject: Subject, kind: str, operation: str) -> None:
    write = subject.create() if operation == "create" else subject.update()
    await subject.connector.read_deal(subject.deal)  # the token is there, the fault meets the write
    subject.fault(kind, method="PATCH", delay_ms=300 if kind == "slow_commit" else 0)
    with pytest.raises(OutcomeUnknown) as caught:
        await subject.connector.send(write)
    assert subject.fired() == 1
    assert caught.value.failure.key == write.key
    found = None
    for _ in range(20):
        found = await subject.connector.find(write)
        if found is not None:
            break
        subject.control.get("/_sim/health")
        await _moment()
    assert found is not None
    assert await reading_of(subject.connector, write, found) == write.expect
    if operation == "create":
        assert made(subject, write) == 1


async def _moment() -> None:
    await anyio.sleep(0.1)


async def test_a_write_that_never_arrived_is_not_found(subject: Subject) -> None:
    write = subject.create()
    await subject.connector.read_deal(subject.deal)
    subject.fault("drop_before", method="PATCH")
    with pytest.raises(OutcomeUnknown):
        await subject.connector.send(write)
    assert await subject.connector.find(write) is None


async def test_no_connection_means_not_sent(subject: Subject) -> None:
    connector = subject.build(base_url="http://127.0.0.1:9", token_url=None)
    with pytest.raises(Transient) as caught:
        await connector.send(subject.create())
    assert "cannot be reached" in str(caught.value)
    await connector.close()


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_server_errors(subject: Subject, status: int) -> None:
    await subject.connector.read_deal(subject.deal)
    subject.fault("error_before", method="GET", path=f"{DATA}/query", status=status)
    with pytest.raises(Transient):
        await subject.connector.read_deal(subject.deal)
    subject.fault("error_before", method="PATCH", status=status)
    with pytest.raises(OutcomeUnknown):
        await subject.connector.send(subject.update())


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "reset_mid_body"])
async def test_a_broken_read_is_read_again(subject: Subject, kind: str) -> None:
    await subject.connector.read_deal(subject.deal)
    subject.fault(kind, method="GET")
    with pytest.raises(Transient):
        await subject.connector.read_deal(subject.deal)
    assert await subject.connector.read_deal(subject.deal) is not None


async def test_429_with_and_without_retry_after(subject: Subject) -> None:
    refusal = [{"message": "slow down", "errorCode": "TOO_MANY_REQUESTS"}]
    await subject.connector.read_deal(subject.deal)
    subject.fault("error_before", status=429, body=refusal)
    with pytest.raises(RateLimited) as caught:
        await subject.connector.send(subject.update())
    assert caught.value.failure.retry_after_seconds is None
    subject.fault("rate_limit", retry_after=7)
    with pytest.raises(RateLimited) as caught:
        await subject.connector.send(subject.update())
    assert caught.value.failure.retry_after_seconds == 7


async def test_the_daily_limit_waits_long(subject: Subject) -> None:
    await subject.connector.read_deal(subject.deal)
    subject.configure(api_limit=10, api_used=10)
    with pytest.raises(RateLimited) as caught:
        await subject.connector.send(subject.update())
    assert caught.value.failure.vendor_code == "REQUEST_LIMIT_EXCEEDED"
    assert caught.value.failure.retry_after_seconds == 900


async def test_a_locked_row_is_tried_again(subject: Subject) -> None:
    subject.configure(locked_rows={subject.deal: 1})
    with pytest.raises(Transient) as caught:
        await subject.connector.send(subject.update())
    assert caught.value.failure.vendor_code == "UNABLE_TO_LOCK_ROW"
    await subject.connector.send(subject.update())


async def test_a_validation_rule_goes_to_sales(subject: Subject) -> None:
    subject.fault(
        "error_before", method="PATCH", status=400,
        body=[{"message": "Stage is frozen", "errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "fields": []}],
    )  # fmt: skip
    with pytest.raises(Refused) as caught:
        await subject.connector.send(subject.update())
    failure = caught.value.failure
    assert failure.queue == "sales"
    assert "Stage is frozen" in failure.message
    assert failure.record is not None
    assert failure.record.id == subject.deal


async def test_an_unknown_refusal_is_for_a_person(subject: Subject) -> None:
    subject.fault(
        "error_before", method="PATCH", status=422, body=[{"message": "?", "errorCode": "BRAND_NEW"}]
    )
    with pytest.raises(Refused) as caught:
        await subject.connector.send(subject.update())
    assert caught.value.failure.cause is Cause.VENDOR_REFUSED


@pytest.mark.parametrize(("status", "code"), [(400, "DUPLICATE_VALUE"), (409, None), (412, None)])
async def test_conflicts(subject: Subject, status: int, code: str | None) -> None:
    body = [{"message": "duplicate value found: id 001", **({"errorCode": code} if code else {})}]
    subject.fault("error_before", method="PATCH", status=status, body=body)
    with pytest.raises(Conflict):
        await subject.connector.send(subject.create())


async def test_two_records_with_our_stamp_are_a_conflict(subject: Subject) -> None:
    write = subject.create()
    subject.fault(
        "error_before", method="GET", path="query", status=200,
        body={"totalSize": 2, "done": True, "records": [{"Id": "a"}, {"Id": "b"}]},
    )  # fmt: skip
    with pytest.raises(Conflict) as caught:
        await subject.connector.find(write)
    assert "Unique" in (caught.value.failure.remedy or "")


@pytest.mark.parametrize("page", [b"<html>proxy</html>", b"[]", b"{"])
async def test_an_answer_that_is_not_salesforces(subject: Subject, page: bytes) -> None:
    await subject.connector.read_deal(subject.deal)
    subject.fault("error_before", method="PATCH", status=200, body=page.decode())
    with pytest.raises(OutcomeUnknown):
        await subject.connector.send(subject.create())
    subject.fault("error_before", method="GET", status=200, body=page.decode())
    with pytest.raises(SystemFailure):
        await subject.connector.read_deal(subject.deal)


async def test_undo_survives_a_lost_answer(subject: Subject) -> None:
    write = subject.create()
    landed = await subject.connector.send(write)
    subject.fault("drop_after", method="DELETE")
    with pytest.raises(OutcomeUnknown):
        await subject.connector.undo(write, landed, None)
    assert (await subject.connector.undo(write, landed, None)).result is UndoResult.NOTHING_THERE
    assert made(subject, write) == 0


async def test_a_refused_delete_retires_instead(subject: Subject) -> None:
    write = subject.create(retire=True)
    landed = await subject.connector.send(write)
    subject.fault("business", method="DELETE", message="it has closed-won deals")
    assert (await subject.connector.undo(write, landed, None)).result is UndoResult.INACTIVATED
    assert subject.record("Account", landed.id)["Lifecycle__c"] == "Retired"


# --- tokens --------------------------------------------------------------------------------------------


def logins(subject: Subject) -> int:
    return sum(call["path"].startswith("/services/oauth2/token") for call in subject.calls())


@pytest.mark.parametrize("reading", [True, False])
async def test_an_expired_token_is_renewed_once(subject: Subject, reading: bool) -> None:
    await subject.connector.read_deal(subject.deal)
    subject.fault("expired_token")
    if reading:
        assert await subject.connector.read_deal(subject.deal) is not None
    else:
        await subject.connector.send(subject.update())
        assert len(subject.writes()) == 1
    assert logins(subject) == 2


async def test_a_token_that_is_never_accepted_does_not_loop(subject: Subject) -> None:
    await subject.connector.read_deal(subject.deal)
    subject.fault("expired_token", times=5)
    with pytest.raises(Unauthorised) as caught:
        await subject.connector.send(subject.update())
    assert caught.value.failure.vendor_code == "INVALID_SESSION_ID"
    assert logins(subject) == 2
    assert subject.writes() == []


async def test_one_login_serves_many_calls(subject: Subject) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(subject.connector.read_deal, subject.deal)
    assert logins(subject) == 1


@pytest.mark.parametrize(("status", "kind"), [(500, Transient), (503, Transient), (429, RateLimited)])
async def test_a_token_endpoint_that_is_away(
    subject: Subject, status: int, kind: type[SystemFailure]
) -> None:
    subject.fault("error_before", path="oauth2/token", status=status)
    with pytest.raises(kind):
        await subject.connector.read_deal(subject.deal)
    subject.fault("drop_before", path="oauth2/token")
    with pytest.raises(Transient):
        await subject.connector.send(subject.create())


async def test_a_secret_that_is_not_there(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SALESFORCE_TEST_SECRET")
    with pytest.raises(Unauthorised) as caught:
        await subject.connector.read_deal(subject.deal)
    assert "SALESFORCE_TEST_SECRET" in str(caught.value)


async def test_secrets_and_tokens_never_show(
    subject: Subject, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    await subject.connector.send(subject.update())
    token = (await subject.connector.client.tokens.auth.token()).value
    shown = [repr(subject.connector.settings), subject.connector.settings.model_dump_json()]
    shown.append(repr(await subject.connector.client.tokens.auth.token()))
    for kind, more in (
        ("drop_after", {}),
        ("error_before", {"status": 400}),
        ("expired_token", {"times": 2}),
    ):
        subject.fault(kind, method="PATCH", **more)
        with pytest.raises(SystemFailure) as caught:
            await subject.connector.send(subject.update())
        shown += [str(caught.value), repr(caught.value), caught.value.failure.model_dump_json()]
    monkeypatch.setenv("SALESFORCE_TEST_SECRET", "wrong-secret-value")
    fresh = subject.build()
    echo = {"error": "invalid_client", "error_description": "no: wrong-secret-value"}
    subject.fault("error_before", path="oauth2/token", status=400, body=echo)
    with pytest.raises(Unauthorised) as refused:
        await fresh.read_deal(subject.deal)
    shown += [str(refused.value), refused.value.failure.model_dump_json()]
    await fresh.close()
    everything = "\n".join([*shown, caplog.text])
    assert "invalid_client" in everything
    for secret in (token, SECRET, "wrong-secret-value", os.environ["SALESFORCE_TEST_ID"]):
        assert secret not in everything


# --- JWT bearer ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key_pair() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


async def test_jwt_bearer(subject: Subject, key_pair: tuple[str, str], tmp_path: Path) -> None:
    private, public = key_pair
    path = tmp_path / "key.pem"
    path.write_text(private)
    subject.configure(jwt_certificate=public)
    auth = JwtBearer(
        kind="jwt_bearer",
        client_id=Secret(env="SALESFORCE_TEST_ID"),
        private_key=Secret(file=path),
        username="integration@acme.example",
    )
    connector = subject.build(auth=auth)
    assert await connector.read_deal(subject.deal) is not None
    form, _ = connector.client.tokens._form()
    claims = jwt.decode(
        form["assertion"], public, algorithms=["RS256"], audience="https://login.salesforce.com"
    )
    assert claims["sub"] == "integration@acme.example"
    assert 0 < claims["exp"] - datetime.now().astimezone().timestamp() <= 180
    await connector.close()

    path.write_text("-----BEGIN PRIVATE KEY-----\nnot a key\n-----END PRIVATE KEY-----")
    broken = subject.build(auth=auth)
    with pytest.raises(Unauthorised) as caught:
        await broken.read_deal(subject.deal)
    assert "not a key" not in str(caught.value)
    await broken.close()

    path.write_text(private)
    stranger = subject.build(auth=auth.model_copy(update={"username": "nobody@acme.example"}))
    with pytest.raises(Unauthorised) as caught:
        await stranger.read_deal(subject.deal)
    assert caught.value.failure.vendor_code
    await stranger.close()
