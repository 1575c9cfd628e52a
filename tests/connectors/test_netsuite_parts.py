"""NetSuite's error table, sign-in and bulk results. No network but mocked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import httpx
import jwt
import pytest
import respx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from canonical.causes import Cause, Queue
from canonical.failures import (
    Conflict,
    OutcomeUnknown,
    RateLimited,
    Refused,
    SystemFailure,
    Transient,
    Unauthorised,
)
from canonical.writes import VendorWrite
from connectors.netsuite import errors
from connectors.netsuite.auth import TOKEN_PATH, TbaAuth
from connectors.netsuite.bulk_results import read_results, refused, told
from connectors.netsuite.client import NetSuiteClient
from connectors.netsuite.connector import NetSuiteConnector
from connectors.netsuite.plans import Planner
from connectors.netsuite.settings import Tba
from tests.connectors import netsuite_samples as samples

pytestmark = pytest.mark.anyio
BASE = "https://1.suitetalk.api.netsuite.com"
CUSTOMER = f"{BASE}/services/rest/record/v1/customer/55"


# --- errors -----------------------------------------------------------------------------------------------


def body(status: int, code: str | None, detail: str, path: str | None = None) -> dict[str, Any]:
    entry: dict[str, Any] = {"detail": detail}
    if code:
        entry["o:errorCode"] = code
    if path:
        entry["o:errorPath"] = path
    return {"title": "Bad Request", "status": status, "o:errorDetails": [entry]}


@pytest.mark.parametrize(
    ("status", "code", "detail", "path", "kind", "cause"),
    [
        (
            400,
            "USER_ERROR",
            "Invalid subsidiary reference.",
            "subsidiary",
            Refused,
            Cause.LEGAL_ENTITY_UNKNOWN,
        ),
        (400, "USER_ERROR", "Invalid currency.", "currency", Refused, Cause.CURRENCY_NOT_HELD_BY_CLIENT),
        (400, "USER_ERROR", "Invalid terms.", "terms", Refused, Cause.PAYMENT_TERMS_UNKNOWN),
        (400, "USER_ERROR", "Invalid item.", "item.items[0].item", Refused, Cause.SERVICE_ITEM_MISSING),
        (400, "USER_ERROR", "The posting period Nov 2026 is closed.", None, Refused, Cause.PERIOD_CLOSED),
        (
            400,
            "USER_ERROR",
            "A customer with this external id already exists.",
            None,
            Conflict,
            Cause.VERSION_CONFLICT,
        ),
        (400, "DUP_RCRD", "This record already exists.", None, Conflict, Cause.VERSION_CONFLICT),
        (400, "USER_ERROR", "Value exceeds maximum length.", "companyName", Refused, Cause.NAME_TOO_LONG),
        (
            400,
            "INVALID_CONTENT",
            "Unknown reference or field 'compName'.",
            None,
            Refused,
            Cause.CONFIGURATION,
        ),
        (400, "USER_ERROR", "Something nobody has seen.", None, Refused, Cause.VENDOR_REFUSED),
        (404, "NONEXISTENT_ID", "The record does not exist.", None, Refused, Cause.RECORD_VANISHED),
        (403, "INSUFFICIENT_PERMISSION", "You need permission.", None, Refused, Cause.CREDENTIALS_REJECTED),
        (401, "INVALID_LOGIN", "Invalid login attempt.", None, Unauthorised, Cause.CREDENTIALS_REJECTED),
        (429, None, "Too many requests.", None, RateLimited, Cause.RATE_LIMITED),
        (400, "SSS_REQUEST_LIMIT_EXCEEDED", "Request Limit Exceeded", None, RateLimited, Cause.RATE_LIMITED),
        (
            500,
            "UNEXPECTED_ERROR",
            "An unexpected error occurred.",
            None,
            OutcomeUnknown,
            Cause.OUTCOME_UNKNOWN,
        ),
        (422, None, "No.", None, Refused, Cause.VENDOR_REFUSED),
    ],
)
def test_who_acts_next(
    status: int, code: str | None, detail: str, path: str | None, kind: type[SystemFailure], cause: Cause
) -> None:
    found = errors.errors_of(body(status, code, detail, path), status)
    failure = errors.TABLE.failure(found, system="ns", write=True, what="Create customer")
    assert isinstance(failure, kind)
    assert failure.failure.cause is cause
    assert detail in str(failure)


def test_an_unexpected_error_on_a_read_is_tried_again() -> None:
    found = errors.errors_of(body(500, "UNEXPECTED_ERROR", "Oops"), 500)
    assert isinstance(errors.TABLE.failure(found, system="ns", write=False, what="Read"), Transient)


def test_the_first_known_detail_of_several_decides() -> None:
    both = body(400, "USER_ERROR", "Something odd.")
    both["o:errorDetails"].append({"detail": "Period is locked", "o:errorCode": "USER_ERROR"})
    failure = errors.TABLE.failure(errors.errors_of(both, 400), system="ns", write=True, what="Post").failure
    assert (failure.cause, failure.queue) == (Cause.PERIOD_CLOSED, Queue.BILLING)
    assert "Something odd.; Period is locked" in failure.message


# --- sign-in ----------------------------------------------------------------------------------------------


def pem(key: Any) -> str:
    return str(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
    )


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 3072)


@pytest.fixture
def m2m(rsa_key: rsa.RSAPrivateKey, tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "key.pem"
    path.write_text(pem(rsa_key))
    return {
        "kind": "oauth_m2m",
        "client_id": "client-1",
        "certificate_id": "cert-1",
        "private_key": {"file": str(path)},
    }


@pytest.fixture
def http() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router


async def test_the_assertion_is_signed_for_the_token_url(
    m2m: dict[str, Any], http: respx.MockRouter, rsa_key: rsa.RSAPrivateKey
) -> None:
    token = http.post(BASE + TOKEN_PATH).respond(
        200, json={"access_token": "t-1", "expires_in": "3600", "token_type": "bearer"}
    )
    call = http.get(CUSTOMER).respond(200, json={"id": "55"})
    client = NetSuiteClient("ns", samples.settings(BASE, auth=m2m))
    await client.get("customer", "55")
    await client.get("customer", "55")
    await client.close()
    assert token.call_count == 1
    form = parse_qs(token.calls[0].request.content.decode())
    assert form["grant_type"] == ["client_credentials"]
    assert form["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
    signed = form["client_assertion"][0]
    header = jwt.get_unverified_header(signed)
    assert (header["kid"], header["alg"], header["typ"]) == ("cert-1", "PS256", "JWT")
    claims = jwt.decode(signed, rsa_key.public_key(), algorithms=["PS256"], audience=BASE + TOKEN_PATH)
    assert (claims["iss"], claims["scope"]) == ("client-1", "rest_webservices")
    assert 0 < claims["exp"] - claims["iat"] <= 3600
    assert call.calls[0].request.headers["Authorization"] == "Bearer t-1"
    assert call.calls[0].request.headers["X-NetSuite-PropertyNameValidation"] == "Error"


async def test_an_elliptic_key_signs_too(http: respx.MockRouter, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "ec.pem"
    path.write_text(pem(key))
    auth = {
        "kind": "oauth_m2m",
        "client_id": "c",
        "certificate_id": "k",
        "algorithm": "ES256",
        "private_key": {"file": str(path)},
    }
    token = http.post(BASE + TOKEN_PATH).respond(200, json={"access_token": "t", "expires_in": 3600})
    http.get(CUSTOMER).respond(200, json={"id": "55"})
    client = NetSuiteClient("ns", samples.settings(BASE, auth=auth))
    await client.get("customer", "55")
    await client.close()
    signed = parse_qs(token.calls[0].request.content.decode())["client_assertion"][0]
    assert (
        jwt.decode(signed, key.public_key(), algorithms=["ES256"], audience=BASE + TOKEN_PATH)["iss"] == "c"
    )


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(400, json={"error": "invalid_grant"}), Unauthorised),
        (httpx.Response(200, text="<html>"), Unauthorised),
        (httpx.Response(503), Transient),
        (httpx.Response(429, headers={"Retry-After": "7"}), RateLimited),
        (httpx.ConnectError("no"), Transient),
    ],
)
async def test_a_failing_sign_in_says_who_acts_and_no_secret(
    m2m: dict[str, Any], http: respx.MockRouter, answer: Any, kind: type[SystemFailure]
) -> None:
    route = http.post(BASE + TOKEN_PATH)
    route.mock(side_effect=answer) if isinstance(answer, Exception) else route.mock(return_value=answer)
    client = NetSuiteClient("ns", samples.settings(BASE, auth=m2m))
    with pytest.raises(kind) as caught:
        await client.get("customer", "55")
    await client.close()
    assertion = parse_qs(route.calls[0].request.content.decode())["client_assertion"][0]
    told = str(caught.value) + caught.value.failure.model_dump_json() + repr(caught.value.__cause__)
    assert assertion not in told


async def test_an_unusable_key_is_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("-----BEGIN PRIVATE KEY-----\nSECRETBYTES\n-----END PRIVATE KEY-----")
    auth = {"kind": "oauth_m2m", "client_id": "c", "certificate_id": "k", "private_key": {"file": str(path)}}
    client = NetSuiteClient("ns", samples.settings(BASE, auth=auth))
    with pytest.raises(Unauthorised) as caught:
        await client.get("customer", "55")
    await client.close()
    assert "SECRETBYTES" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert str(path) in str(caught.value)


async def test_an_expired_token_is_renewed_once(m2m: dict[str, Any], http: respx.MockRouter) -> None:
    token = http.post(BASE + TOKEN_PATH).mock(
        side_effect=[httpx.Response(200, json={"access_token": f"t-{n}", "expires_in": 3600}) for n in (1, 2)]
    )
    http.get(CUSTOMER).mock(
        side_effect=[
            httpx.Response(401, json=body(401, "INVALID_LOGIN", "Invalid login attempt.")),
            httpx.Response(200, json={"id": "55"}),
        ]
    )
    client = NetSuiteClient("ns", samples.settings(BASE, auth=m2m))
    assert await client.get("customer", "55") == {"id": "55"}
    await client.close()
    assert token.call_count == 2


@pytest.mark.parametrize(("window", "kind"), [(60, RateLimited), (0, Unauthorised)])
async def test_a_401_on_a_fresh_token_while_others_succeed_is_overload(
    m2m: dict[str, Any], http: respx.MockRouter, window: float, kind: type[SystemFailure]
) -> None:
    http.post(BASE + TOKEN_PATH).respond(200, json={"access_token": "t", "expires_in": 3600})
    http.get(CUSTOMER).respond(200, json={"id": "55"})
    other = http.get(CUSTOMER.replace("55", "56"))
    other.respond(401, json=body(401, "INVALID_LOGIN", "Invalid login attempt."))
    client = NetSuiteClient("ns", samples.settings(BASE, auth=m2m, overload_401_seconds=window))
    with pytest.raises(Unauthorised):  # nothing succeeded yet: a credentials fault
        await client.get("customer", "56")
    await client.get("customer", "55")
    with pytest.raises(kind) as caught:
        await client.get("customer", "56")
    await client.close()
    assert other.call_count == 4  # each time re-authenticated once, never more
    assert caught.value.failure.status == 401


def test_tba_signs_method_address_and_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NS_CONSUMER_SECRET", "cs")
    monkeypatch.setenv("NS_TOKEN_SECRET", "ts")
    auth = samples.settings().auth
    assert isinstance(auth, Tba)
    header = TbaAuth(auth).sign("GET", BASE + "/services/rest/x?limit=1&q=a%20b", "n", "1")
    assert header.startswith('OAuth realm="1234567_SB1", ')
    # The base string written out by hand from the OAuth 1.0 specification.
    parameters = (
        "limit=1&oauth_consumer_key=ck&oauth_nonce=n&oauth_signature_method=HMAC-SHA256&oauth_timestamp=1"
        "&oauth_token=tk&oauth_version=1.0&q=a%20b"
    )
    base = f"GET&{quote(BASE + '/services/rest/x', safe='')}&{quote(parameters, safe='')}"
    digest = base64.b64encode(hmac.new(b"cs&ts", base.encode(), hashlib.sha256).digest()).decode()
    assert f'oauth_signature="{quote(digest, safe="")}"' in header
    assert "cs" not in header.replace("oauth_consumer", "")
    assert TbaAuth(auth).forget() is False


# --- bulk results -----------------------------------------------------------------------------------------


def two_writes() -> list[VendorWrite]:
    planner = Planner(samples.SYSTEM, samples.settings())
    setups = [samples.setup_of(samples.client(key)) for key in ("001A", "001B")]
    return planner.clients(samples.context(), setups)


def test_results_are_matched_by_external_id_never_by_position() -> None:
    first, second = two_writes()
    address = f"{BASE}/services/rest/record/v1/customer"
    items = [
        {"status": 204, "location": f"{address}/eid:{second.stamp}", "links": [{"href": f"{address}/7"}]},
        {"externalId": first.stamp, **body(400, "USER_ERROR", "Invalid terms.", "terms")},
    ]
    known = told(read_results(httpx.Response(200, json={"items": items})), [first, second])
    assert known[second.key].landed == "7"
    assert (known[first.key].failure, known[first.key].vendor_code) == ("Invalid terms.", "USER_ERROR")


def test_a_result_that_names_no_line_counts_only_for_a_single_one() -> None:
    first, second = two_writes()
    answer = httpx.Response(204, headers={"Location": f"{BASE}/services/rest/record/v1/customer/647"})
    assert told(read_results(answer), [first])[first.key].landed == "647"
    assert told(read_results(answer), [first, second]) == {}
    no = httpx.Response(400, json=body(400, "USER_ERROR", "No."))
    assert told(read_results(no), [first])[first.key].failure == "No."


def test_a_nameless_refusal_is_laid_at_the_line_that_it_quotes() -> None:
    first, second = two_writes()
    first = first.model_copy(update={"body": {**first.body, "terms": {"id": "9"}}})
    terms = body(400, "INVALID_CONTENT", "Invalid reference value 9 for field 'terms'.", "terms")
    other = body(400, "USER_ERROR", "Something else.")
    results = [r for b in (terms, other) for r in read_results(httpx.Response(400, json=b))]
    known = refused(results, [first, second])
    assert known[first.key].failure == "Invalid reference value 9 for field 'terms'."
    words = str(known[second.key].failure)
    assert words.startswith("refused, one of: ")
    assert "Something else." in words
    assert refused(results[1:], [first, second])[second.key].failure == "Something else."
    silent = refused([], [first])[first.key]
    assert "no reason" in str(silent.failure)
    assert silent.retry, "nothing refused it"


@pytest.mark.parametrize(
    ("answer", "cause", "retry"),
    [
        (
            body(400, "USER_ERROR", "You cannot post: accounting period Nov 2026 is closed."),
            "PERIOD_CLOSED",
            False,
        ),
        (body(400, "INVALID_CONTENT", "Invalid reference value 9.", "item"), "SERVICE_ITEM_MISSING", False),
        (body(400, "USER_ERROR", "Something else."), "VENDOR_REFUSED", False),
        (body(429, "SSS_REQUEST_LIMIT_EXCEEDED", "Too many."), "RATE_LIMITED", True),
        (body(500, "UNEXPECTED_ERROR", "Oops."), "OUTCOME_UNKNOWN", True),
    ],
)
def test_a_line_s_refusal_has_a_cause_and_says_whether_to_send_again(
    answer: dict[str, Any], cause: str, retry: bool
) -> None:
    first, _ = two_writes()
    results = read_results(httpx.Response(answer["status"], json=answer))
    known = told(results, [first])[first.key]
    assert (known.cause, known.retry) == (cause, retry)


async def test_check_never_raises(http: respx.MockRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NS_CONSUMER_SECRET", raising=False)
    connector = NetSuiteConnector("ns", samples.settings(BASE))
    (result,) = await connector.check()
    await connector.close()
    assert result.state == "broken"
    assert "NS_CONSUMER_SECRET" in (result.detail + str(result.remedy))
    assert json.loads(result.model_dump_json())["remedy"]
