"""OAuth: client credentials and JWT bearer, tokens that expire, revoke, introspect, userinfo.

Source: vendor documentation, "OAuth 2.0 Client Credentials Flow", "OAuth 2.0 JWT Bearer Flow", "Token
Introspection", "UserInfo Endpoint". Neither grant answers ``expires_in`` or a refresh token; a token lives as
long as the organisation's session policy says (``token_lifetime_seconds``).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from simulators.kit import Answer, Call, Clock, VendorError
from simulators.salesforce.errors import JSON, oauth, refusal

CLIENT_CREDENTIALS = "client_credentials"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GENERIC_HOSTS = frozenset({"login.salesforce.com", "test.salesforce.com"})


@dataclass
class _Token:
    issued: datetime
    used: datetime


class Auth:
    """Issues and checks access tokens."""

    def __init__(self, clock: Clock, settings: dict[str, Any]) -> None:
        self.clock = clock
        self.settings = settings
        self.tokens: dict[str, _Token] = {}

    def handle(self, call: Call, origin: str) -> Answer:
        """Serve ``/services/oauth2/...``; ``origin`` is this server's own scheme and host.

        Raises:
            VendorError: refused, with the OAuth object body.
        """
        match call.path.removeprefix("/services/oauth2/").rstrip("/"):
            case "token":
                self._method(call, "POST")
                return self._token(call, origin)
            case "revoke":
                self._method(call, "POST", "GET")
                return self._revoke(call)
            case "introspect":
                self._method(call, "POST")
                return self._introspect(call)
            case "userinfo":
                self._method(call, "GET", "POST")
                return self._userinfo(call, origin)
        raise refusal(404, "NOT_FOUND", "The requested resource does not exist")

    def check(self, call: Call) -> None:
        """Let a data call through only with a live token.

        Raises:
            VendorError: 401 INVALID_SESSION_ID.
        """
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if call.expired:
            self.tokens.pop(token, None)
        if scheme not in ("Bearer", "OAuth") or not self._live(token):
            raise refusal(401, "INVALID_SESSION_ID", "Session expired or invalid")
        self.tokens[token].used = self.clock.now()

    def _live(self, token: str) -> bool:
        held = self.tokens.get(token)
        if held is None:
            return False
        since = held.used if self.settings["token_sliding"] else held.issued
        if self.clock.now() - since > timedelta(seconds=self.settings["token_lifetime_seconds"]):
            del self.tokens[token]
            return False
        return True

    @staticmethod
    def _method(call: Call, *allowed: str) -> None:
        if call.method not in allowed:
            message = f"HTTP Method '{call.method}' not allowed. Allowed are {','.join(allowed)}"
            raise refusal(405, "METHOD_NOT_ALLOWED", message)

    @staticmethod
    def _form(call: Call) -> dict[str, str]:
        if call.headers.get("content-type", "").split(";")[0].strip() != "application/x-www-form-urlencoded":
            return {}
        return call.form()

    # --- token ------------------------------------------------------------------------------------

    def _token(self, call: Call, origin: str) -> Answer:
        form = self._form(call)
        grant = form.get("grant_type")
        if grant == CLIENT_CREDENTIALS:
            if call.headers.get("host", "").split(":")[0] in GENERIC_HOSTS:
                raise oauth("invalid_grant", "request not supported on this domain")
            self._client(call, form)
            if not self.settings["client_credentials_enabled"]:
                raise oauth("invalid_grant", "no client credentials user enabled")
        elif grant == JWT_BEARER:
            self._assertion(form.get("assertion", ""))
        else:
            raise oauth("unsupported_grant_type", "grant type not supported")
        return self._issue(origin)

    def _client(self, call: Call, form: Mapping[str, str]) -> None:
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        scheme, _, encoded = call.headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            try:
                client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
            except ValueError:
                raise oauth("invalid_client", "invalid client credentials") from None
        if client_id != self.settings["client_id"]:
            raise oauth("invalid_client_id", "client identifier invalid")
        if not hmac.compare_digest(secret.encode(), str(self.settings["client_secret"]).encode()):
            raise oauth("invalid_client", "invalid client credentials")

    def _assertion(self, assertion: str) -> None:
        try:
            key = self._public_key()
            unchecked = {"verify_exp": False, "verify_aud": False, "verify_iat": False, "verify_nbf": False}
            claims = jwt.decode(assertion, key, algorithms=["RS256"], options=unchecked)  # type: ignore[arg-type]
        except (jwt.PyJWTError, ValueError):
            raise oauth("invalid_grant", "invalid assertion") from None
        if claims.get("iss") != self.settings["client_id"]:
            raise oauth("invalid_client_id", "client identifier invalid")
        if claims.get("aud") not in self.settings["jwt_audiences"]:
            raise oauth("invalid_grant", "audience is invalid")
        expires, now = claims.get("exp"), self.clock.now().timestamp()
        ceiling = self.settings["jwt_max_ahead_seconds"]
        if not isinstance(expires, int | float) or expires <= now or (ceiling and expires > now + ceiling):
            raise oauth("invalid_grant", "invalid assertion")
        if claims.get("sub") not in self.settings["approved_users"]:
            raise oauth("invalid_grant", "user hasn't approved this consumer")

    def _public_key(self) -> RSAPublicKey:
        pem = str(self.settings["jwt_certificate"] or "").encode()
        key = (
            x509.load_pem_x509_certificate(pem).public_key()
            if b"BEGIN CERTIFICATE" in pem
            else load_pem_public_key(pem)
        )
        if not isinstance(key, RSAPublicKey):
            raise ValueError("the registered certificate has no RSA key")
        return key

    def _issue(self, origin: str) -> Answer:
        now = self.clock.now()
        token = f"{self.settings['organization_id'][:15]}!{secrets.token_urlsafe(48)}"
        self.tokens[token] = _Token(now, now)
        identity = self._identity()
        issued_at = str(int(now.timestamp() * 1000))
        secret = str(self.settings["client_secret"]).encode()
        signature = base64.b64encode(
            hmac.digest(secret, (identity + issued_at).encode(), hashlib.sha256)
        ).decode()
        body = {
            "access_token": token,
            "signature": signature,
            "scope": "api",
            "instance_url": self.settings["instance_url"] or origin,
            "id": identity,
            "token_type": "Bearer",
            "issued_at": issued_at,
        }
        return Answer(200, body, content_type=JSON)

    def _identity(self) -> str:
        host = "test" if self.settings["sandbox"] else "login"
        run_as = self.settings["run_as"]
        return f"https://{host}.salesforce.com/id/{self.settings['organization_id']}/{run_as['Id']}"

    # --- the rest ---------------------------------------------------------------------------------

    def _revoke(self, call: Call) -> Answer:
        token = self._form(call).get("token") or call.param("token") or ""
        if self.tokens.pop(token, None) is None:
            raise oauth("invalid_token", "invalid token")
        return Answer(200)

    def _introspect(self, call: Call) -> Answer:
        form = self._form(call)
        self._client(call, form)
        token = form.get("token", "")
        if not self._live(token):
            return Answer(200, {"active": False}, content_type=JSON)
        issued = self.tokens[token].issued
        body = {
            "active": True,
            "scope": "api",
            "client_id": self.settings["client_id"],
            "username": self.settings["run_as"]["Username"],
            "sub": self._identity(),
            "token_type": "access_token",
            "iat": int(issued.timestamp()),
            "nbf": int(issued.timestamp()),
            "exp": int(issued.timestamp()) + int(self.settings["token_lifetime_seconds"]),
        }
        return Answer(200, body, content_type=JSON)

    def _userinfo(self, call: Call, origin: str) -> Answer:
        try:
            self.check(call)
        except VendorError:
            raise VendorError(
                Answer(403, "Bad_OAuth_Token", content_type="text/html;charset=UTF-8")
            ) from None
        run_as = self.settings["run_as"]
        base = self.settings["instance_url"] or origin
        name = " ".join(str(run_as[k]) for k in ("FirstName", "LastName") if run_as.get(k))
        body = {
            "sub": self._identity(),
            "user_id": run_as["Id"],
            "organization_id": self.settings["organization_id"],
            "preferred_username": run_as["Username"],
            "email": run_as["Email"],
            "name": name,
            "active": True,
            "user_type": "STANDARD",
            "urls": {
                "rest": f"{base}/services/data/v{{version}}/",
                "sobjects": f"{base}/services/data/v{{version}}/sobjects/",
                "query": f"{base}/services/data/v{{version}}/query/",
                "custom_domain": base,
            },
        }
        return Answer(200, body, content_type=JSON)
