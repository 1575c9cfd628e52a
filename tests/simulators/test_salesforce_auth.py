"""Salesforce simulator: both grants, token life, revoke, introspect, userinfo, two hosts."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from simulators.kit import Running, serve
from simulators.salesforce import build
from simulators.salesforce.simulator import defaults

TOKEN = "/services/oauth2/token"
LIMITS = "/services/data/v64.0/limits"
CREDENTIALS = {
    "grant_type": "client_credentials",
    "client_id": "sim-salesforce-client",
    "client_secret": "sim-salesforce-secret",
}
BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serve(build()) as running:
        yield running


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.base_url, trust_env=False) as client:
        client.post("/_sim/reset").raise_for_status()
        client.post("/_sim/settings", json=defaults()).raise_for_status()
        client.delete("/_sim/tokens").raise_for_status()
        yield client


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "integration")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def public_key(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def claims(**changes: Any) -> dict[str, Any]:
    base = {
        "iss": "sim-salesforce-client",
        "sub": "integration@acme.example",
        "aud": "https://login.salesforce.com",
        "exp": int(time.time()) + 180,
    }
    return {**base, **changes}


def assert_works(client: httpx.Client, token: str) -> None:
    answer = client.get(LIMITS, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text


class TestClientCredentials:
    def test_token(self, client: httpx.Client) -> None:
        answer = client.post(TOKEN, data=CREDENTIALS)
        assert answer.status_code == 200
        body = answer.json()
        assert set(body) == {
            "access_token", "instance_url", "id", "token_type", "issued_at", "signature", "scope",
        }  # fmt: skip
        assert body["access_token"].startswith("00D")
        assert body["instance_url"] == str(client.base_url).rstrip("/")
        assert body["token_type"] == "Bearer"
        assert_works(client, body["access_token"])

    def test_basic(self, client: httpx.Client) -> None:
        pair = base64.b64encode(b"sim-salesforce-client:sim-salesforce-secret").decode()
        headers = {"Authorization": f"Basic {pair}"}
        answer = client.post(TOKEN, data={"grant_type": "client_credentials"}, headers=headers)
        assert answer.status_code == 200

    @pytest.mark.parametrize(
        ("form", "error"),
        [
            ({**CREDENTIALS, "client_id": "other"}, "invalid_client_id"),
            ({**CREDENTIALS, "client_secret": "wrong"}, "invalid_client"),
            ({"grant_type": "client_credentials"}, "invalid_client_id"),
            ({**CREDENTIALS, "grant_type": "password"}, "unsupported_grant_type"),
            ({}, "unsupported_grant_type"),
        ],
    )
    def test_refusals_are_objects(self, client: httpx.Client, form: dict[str, str], error: str) -> None:
        answer = client.post(TOKEN, data=form)
        assert (answer.status_code, answer.json()["error"]) == (400, error)
        assert set(answer.json()) == {"error", "error_description"}

    def test_json_body_is_not_a_form(self, client: httpx.Client) -> None:
        assert client.post(TOKEN, json=CREDENTIALS).json()["error"] == "unsupported_grant_type"

    def test_generic_host_is_refused(self, client: httpx.Client) -> None:
        answer = client.post(TOKEN, data=CREDENTIALS, headers={"Host": "login.salesforce.com"})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


class TestJwtBearer:
    def ask(self, client: httpx.Client, assertion: str) -> httpx.Response:
        return client.post(TOKEN, data={"grant_type": BEARER, "assertion": assertion})

    @pytest.mark.parametrize("form", ["certificate", "public key"])
    def test_token(self, client: httpx.Client, key: rsa.RSAPrivateKey, form: str) -> None:
        pem = certificate(key) if form == "certificate" else public_key(key)
        client.post("/_sim/settings", json={"jwt_certificate": pem}).raise_for_status()
        answer = self.ask(client, jwt.encode(claims(), key, "RS256"))
        assert answer.status_code == 200, answer.text
        assert_works(client, answer.json()["access_token"])

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"iss": "other"}, "invalid_client_id"),
            ({"sub": "somebody@acme.example"}, "invalid_grant"),
            ({"aud": "https://example.org"}, "invalid_grant"),
            ({"exp": 1_000_000_000}, "invalid_grant"),
            ({"exp": int(time.time()) + 86_400}, "invalid_grant"),
            ({"exp": None}, "invalid_grant"),
        ],
    )
    def test_claims(
        self, client: httpx.Client, key: rsa.RSAPrivateKey, changes: dict[str, Any], error: str
    ) -> None:
        client.post("/_sim/settings", json={"jwt_certificate": certificate(key)})
        answer = self.ask(client, jwt.encode(claims(**changes), key, "RS256"))
        assert (answer.status_code, answer.json()["error"]) == (400, error)

    def test_signature(self, client: httpx.Client, key: rsa.RSAPrivateKey) -> None:
        client.post("/_sim/settings", json={"jwt_certificate": certificate(key)})
        stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        forged = (
            jwt.encode(claims(), stranger, "RS256"),
            jwt.encode(claims(), "x" * 32, "HS256"),
            jwt.encode(claims(), "", "none"),
            "not a token",
        )
        for assertion in forged:
            assert self.ask(client, assertion).json()["error"] == "invalid_grant"

    def test_without_a_registered_certificate(self, client: httpx.Client, key: rsa.RSAPrivateKey) -> None:
        assert self.ask(client, jwt.encode(claims(), key, "RS256")).json()["error"] == "invalid_grant"


class TestTokens:
    def test_no_token_or_a_wrong_one(self, client: httpx.Client) -> None:
        expected = [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic eDp5"}):
            answer = client.get(LIMITS, headers=headers)
            assert (answer.status_code, answer.json()) == (401, expected)

    def test_expired_on_demand_then_a_fresh_one_works(self, client: httpx.Client) -> None:
        token = client.post(TOKEN, data=CREDENTIALS).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        client.post("/_sim/faults", json={"kind": "expired_token"}).raise_for_status()
        first = client.get(LIMITS, headers=headers)
        assert (first.status_code, first.json()[0]["errorCode"]) == (401, "INVALID_SESSION_ID")
        assert client.get(LIMITS, headers=headers).status_code == 401
        assert_works(client, client.post(TOKEN, data=CREDENTIALS).json()["access_token"])

    def test_lifetime(self, client: httpx.Client) -> None:
        client.post("/_sim/settings", json={"token_lifetime_seconds": 0})
        token = client.post(TOKEN, data=CREDENTIALS).json()["access_token"]
        assert client.get(LIMITS, headers={"Authorization": f"Bearer {token}"}).status_code == 401

    def test_reset_keeps_sessions(self, client: httpx.Client) -> None:
        token = client.post(TOKEN, data=CREDENTIALS).json()["access_token"]
        client.post("/_sim/reset")
        assert_works(client, token)

    def test_revoke_and_introspect(self, client: httpx.Client) -> None:
        token = client.post(TOKEN, data=CREDENTIALS).json()["access_token"]
        form = {**CREDENTIALS, "token": token, "token_type_hint": "access_token"}
        held = client.post("/services/oauth2/introspect", data=form).json()
        assert (held["active"], held["username"]) == (True, "integration@acme.example")
        assert client.post("/services/oauth2/revoke", data={"token": token}).status_code == 200
        assert client.post("/services/oauth2/introspect", data=form).json() == {"active": False}
        assert client.get(LIMITS, headers={"Authorization": f"Bearer {token}"}).status_code == 401
        assert client.post("/services/oauth2/revoke", data={"token": token}).status_code == 400

    def test_userinfo(self, client: httpx.Client) -> None:
        issued = client.post(TOKEN, data=CREDENTIALS).json()
        headers = {"Authorization": f"Bearer {issued['access_token']}"}
        body = client.get("/services/oauth2/userinfo", headers=headers).json()
        assert body["preferred_username"] == "integration@acme.example"
        assert issued["id"] == body["sub"]
        assert body["organization_id"][:3] == "00D"
        assert client.get("/services/oauth2/userinfo").status_code == 403


class TestHosts:
    def test_versions_need_no_token(self, client: httpx.Client) -> None:
        versions = [v["version"] for v in client.get("/services/data").json()]
        assert {"46.0", "64.0", "68.0"} <= set(versions)

    def test_token_host_and_data_host_apart(self) -> None:
        simulator = build()
        with serve(simulator) as login, serve(simulator) as data:
            hosts = {
                "token_host": f"127.0.0.1:{login.port}",
                "data_host": f"127.0.0.1:{data.port}",
                "instance_url": data.base_url,
            }
            with httpx.Client(trust_env=False) as client:
                client.post(f"{login.base_url}/_sim/settings", json=hosts).raise_for_status()
                issued = client.post(login.base_url + TOKEN, data=CREDENTIALS).json()
                headers = {"Authorization": f"Bearer {issued['access_token']}"}
                assert issued["instance_url"] == data.base_url
                assert client.get(data.base_url + LIMITS, headers=headers).status_code == 200
                assert client.get(login.base_url + LIMITS, headers=headers).status_code == 404
                assert client.post(data.base_url + TOKEN, data=CREDENTIALS).status_code == 404
