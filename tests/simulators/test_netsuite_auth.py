"""NetSuite simulator: machine-to-machine tokens, TBA signatures, expiry, the concurrency limit."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from simulators.netsuite.auth import base_string
from tests.simulators.test_netsuite_account import RECORD, TOKEN, Account, account, assertion


@pytest.fixture(scope="module")
def site() -> Iterator[Account]:
    with account() as found:
        yield found


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 3072)


def pem(key: Any) -> str:
    shape = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(serialization.Encoding.PEM, shape).decode())


def certificate(key: ec.EllipticCurvePrivateKey, days: int) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trueup")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM).decode()


def test_a_token_is_issued_for_an_es256_assertion_and_carries_no_refresh_token(site: Account) -> None:
    answer = site.ask_token().json()
    assert set(answer) == {"access_token", "expires_in", "token_type"}
    assert (answer["expires_in"], answer["token_type"]) == ("3600", "bearer")
    site.settings(expires_in_as="number")
    assert site.ask_token().json()["expires_in"] == 3600
    site.settings(expires_in_as="string")


def test_ps256_with_rsa_3072_passes_and_rs256_is_refused(site: Account, rsa_key: rsa.RSAPrivateKey) -> None:
    known = site.control("settings", method="GET")["certificates"]
    site.settings(certificates={**known, "rsa": pem(rsa_key)})

    def ask(alg: str) -> httpx.Response:
        signed = assertion(site.base, key=rsa_key, alg=alg, headers={"kid": "rsa"})
        return site.ask_token(client_assertion=signed)

    assert ask("PS256").status_code == 200
    refused = ask("RS256")
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    assert "RS256" in refused.json()["error_description"]


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"iss": "someone"}, "iss"),
        ({"scope": "restlets"}, "scope"),
        ({"aud": "https://elsewhere.test/token"}, "aud"),
        ({"aud": None}, "aud"),
        ({"exp": int(time.time()) + 7200}, "60 minutes"),
        ({"exp": int(time.time()) - 5, "iat": int(time.time()) - 300}, "not valid now"),
        ({"iat": int(time.time()) + 3600, "exp": int(time.time()) + 3900}, "not valid now"),
        ({"iat": None}, "iat"),
    ],
)
def test_an_assertion_with_a_wrong_claim_is_refused(site: Account, claims: dict[str, Any], said: str) -> None:
    answer = site.ask_token(client_assertion=assertion(site.base, **claims))
    assert answer.status_code == 401
    assert said in answer.json()["error_description"]


def test_signature_key_id_and_form_are_checked(site: Account) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    assert site.ask_token(client_assertion=assertion(site.base, key=other)).status_code == 401
    unknown = assertion(site.base, headers={"kid": "nobody"})
    assert site.ask_token(client_assertion=unknown).status_code == 401
    untyped = assertion(site.base, headers={"typ": "at+jwt"})
    assert site.ask_token(client_assertion=untyped).status_code == 401
    assert site.ask_token(grant_type="password").json()["error"] == "unsupported_grant_type"
    assert site.ask_token(client_assertion_type="x").json()["error"] == "invalid_request"
    assert site.http.post(TOKEN, json={"grant_type": "client_credentials"}).status_code == 400


def test_certificates_are_taken_for_two_years_at_most_and_weak_keys_not_at_all(site: Account) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    weak = rsa.generate_private_key(65537, 2048)
    known = site.control("settings", method="GET")["certificates"]
    site.settings(
        certificates={
            **known,
            "short": certificate(key, 700),
            "long": certificate(key, 800),
            "weak": pem(weak),
        }
    )
    good = assertion(site.base, key=key, alg="ES384", headers={"kid": "short"})
    assert site.ask_token(client_assertion=good).status_code == 200
    long = site.ask_token(
        client_assertion=assertion(site.base, key=key, alg="ES384", headers={"kid": "long"})
    )
    assert (long.status_code, "two years" in long.text) == (401, True)
    thin = site.ask_token(
        client_assertion=assertion(site.base, key=weak, alg="PS256", headers={"kid": "weak"})
    )
    assert (thin.status_code, "3072" in thin.text) == (401, True)


def test_the_audience_can_be_pinned_to_the_accounts_own_url() -> None:
    url = "https://1234567-sb1.suitetalk.api.netsuite.com/services/rest/auth/oauth2/v1/token"
    with account() as one:
        one.settings(token_url=url)
        assert one.ask_token().status_code == 401
        assert one.ask_token(client_assertion=assertion(one.base, aud=url)).status_code == 200


def test_missing_wrong_and_expired_tokens_get_the_same_401() -> None:
    with account() as one:
        assert one.call("GET", "/customer/55").status_code == 200
        one.control("clock", {"offset_seconds": 3599})
        assert one.call("GET", "/customer/55").status_code == 200
        one.control("clock", {"offset_seconds": 3601})
        assert one.refused("GET", "/customer/55", status=401)["o:errorCode"] == "INVALID_LOGIN"
        one.login()
        assert one.call("GET", "/customer/55").status_code == 200
        assert (
            one.refused("GET", "/customer/55", status=401, Authorization="")["o:errorCode"] == "INVALID_LOGIN"
        )
        one.refused("GET", "/customer/55", status=401, Authorization="Bearer nonsense")


def test_an_expired_token_fault_forgets_the_token_for_good() -> None:
    with account() as one:
        one.control("faults", {"kind": "expired_token", "path": "/customer"})
        one.refused("GET", "/customer/55", status=401)
        one.refused("GET", "/customer/55", status=401)
        one.login()
        assert one.call("GET", "/customer/55").status_code == 200


def test_the_signature_base_string_is_that_of_rfc_5849() -> None:
    """The example of RFC 5849, section 3.4.1.1."""
    pairs = [
        ("b5", "=%3D"),
        ("a3", "a"),
        ("c@", ""),
        ("a2", "r b"),
        ("c2", ""),
        ("a3", "2 q"),
        ("oauth_consumer_key", "9djdj82h48djs9d2"),
        ("oauth_token", "kkk9d7dh3k39sjv7"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131201"),
        ("oauth_nonce", "7d8f3e4a"),
    ]
    assert base_string("post", "http://example.com/request", pairs) == (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D"
        "%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1"
        "%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    )


TBA = {"consumer_key": "ck", "consumer_secret": "cs", "token": "tk", "token_secret": "ts"}


def tba_header(
    url: str, nonce: str, *, realm: str = "1234567_SB1", secret: str = "cs&ts", at: int | None = None
) -> str:
    """An OAuth 1.0 header for GET ``url`` with the query ``limit=5``, written out by hand."""
    fields = {
        "oauth_consumer_key": "ck",
        "oauth_nonce": nonce,
        "oauth_signature_method": "HMAC-SHA256",
        "oauth_timestamp": str(at or int(time.time())),
        "oauth_token": "tk",
        "oauth_version": "1.0",
    }
    joined = "&".join(f"{k}={v}" for k, v in sorted({**fields, "limit": "5"}.items()))
    text = "&".join(("GET", quote(url, safe=""), quote(joined, safe="")))
    signature = base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()
    parts = {"realm": realm, **fields, "oauth_signature": signature}
    return "OAuth " + ", ".join(f'{k}="{quote(v, safe="")}"' for k, v in parts.items())


def test_tba_signatures_are_verified_when_the_account_takes_them() -> None:
    with account() as one:
        url = f"{one.base}{RECORD}/customer"

        def status(header: str) -> int:
            return one.http.get(url, params={"limit": "5"}, headers={"Authorization": header}).status_code

        assert status(tba_header(url, "n1")) == 401
        one.settings(auth=["oauth2", "tba"], tba=TBA)
        assert status(tba_header(url, "n1")) == 200
        assert status(tba_header(url, "n2", secret="cs&wrong")) == 401
        assert status(tba_header(url, "n3", realm="1234567-sb1")) == 401
        assert status(tba_header(url, "n4", at=int(time.time()) - 3600)) == 401
        replayed = tba_header(url, "n5")
        assert [status(replayed), status(replayed)] == [200, 401]
        assert status(tba_header(url + "x", "n6")) == 401


@pytest.mark.parametrize(
    ("setting", "status", "code"), [("429", 429, "SSS_REQUEST_LIMIT_EXCEEDED"), ("401", 401, "INVALID_LOGIN")]
)
def test_calls_above_the_concurrency_limit_are_refused(setting: str, status: int, code: str) -> None:
    with account() as one:
        one.settings(concurrency_limit=3, over_limit_answer=setting, latency_ms=300)

        def ask(_: int) -> httpx.Response:
            return httpx.get(
                f"{one.base}{RECORD}/customer/55",
                headers={"Authorization": one.http.headers["Authorization"]},
                timeout=20,
            )

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(8)))
        refused = [a for a in answers if a.status_code == status]
        assert 1 <= len(refused) < 8
        assert {a.status_code for a in answers} == {200, status}
        assert refused[0].json()["o:errorDetails"][0]["o:errorCode"] == code
        assert "retry-after" not in refused[0].headers
        assert ask(0).status_code == 200


def test_governance_limits_are_shown(site: Account) -> None:
    answer = site.http.get("/services/rest/system/v1/governanceLimits")
    assert answer.json()["accountConcurrencyLimit"] == 15
