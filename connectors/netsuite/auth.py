"""Signing in to NetSuite: OAuth 2.0 machine to machine (a signed assertion), or token-based (OAuth 1.0)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from time import time
from typing import Any
from urllib.parse import parse_qsl, quote

import httpx
import jwt

from canonical.failures import RateLimited, Transient, Unauthorised
from connectors.kit.http import Auth, decode, retry_after
from connectors.kit.tokens import BearerAuth, Token
from connectors.netsuite.settings import NetSuiteSettings, OAuthM2M, Tba

TOKEN_PATH = "/services/rest/auth/oauth2/v1/token"
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def make_auth(system: str, settings: NetSuiteSettings, client: Callable[[], httpx.AsyncClient]) -> Auth:
    """The configured way of signing in.

    Args:
        system: instance name, for failures.
        settings: the account.
        client: gives the HTTP client for the token call.
    """
    if isinstance(settings.auth, Tba):
        return TbaAuth(settings.auth)
    fetcher = _Fetcher(system, settings.base_url, settings.auth, client)
    return BearerAuth(fetcher.fetch)


def assertion(config: OAuthM2M, token_url: str, now: int) -> str:
    """The signed client assertion.

    Raises:
        Unauthorised: the key is missing or does not fit the algorithm. The key is never named.
    """
    claims = {
        "iss": config.client_id,
        "scope": list(config.scope) if len(config.scope) > 1 else config.scope[0],
        "aud": token_url,
        "iat": now,
        "exp": now + config.assertion_seconds,
    }
    headers = {"typ": "JWT", "kid": config.certificate_id}
    try:
        return jwt.encode(claims, config.private_key.read(), algorithm=config.algorithm, headers=headers)
    except (jwt.PyJWTError, ValueError, TypeError):
        # The library's message may quote the key: it must not travel further.
        raise Unauthorised(
            f"The private key in {config.private_key.describe()} cannot sign with {config.algorithm}.",
            remedy="Provide the PEM private key of the certificate uploaded in the M2M setup.",
        ) from None


class _Fetcher:
    def __init__(
        self, system: str, base_url: str, config: OAuthM2M, client: Callable[[], httpx.AsyncClient]
    ) -> None:
        self.system = system
        self.config = config
        self.url = config.token_url or base_url + TOKEN_PATH
        self.client = client

    async def fetch(self) -> Token:
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": assertion(self.config, self.url, int(time())),
        }
        try:
            response = await self.client().post(self.url, data=form, headers=_FORM)
        except httpx.HTTPError as error:
            raise Transient(
                f"Sign-in: {self.system} cannot be reached ({type(error).__name__}).", system=self.system
            ) from None  # the request in the chained error holds the assertion
        if response.status_code == 429:
            raise RateLimited(
                f"Sign-in: {self.system} asks for patience.",
                system=self.system,
                status=429,
                retry_after_seconds=round(retry_after(response) or 5),
            )
        if response.status_code >= 500 or response.status_code == 408:
            raise Transient(
                f"Sign-in: {self.system} answered {response.status_code}.",
                system=self.system,
                status=response.status_code,
            )
        return self._token(response)

    def _token(self, response: httpx.Response) -> Token:
        body: Any = None
        try:
            body = decode(response)
        except ValueError:
            body = None
        body = body if isinstance(body, dict) else {}
        if not response.is_success or not isinstance(body.get("access_token"), str):
            reason = body.get("error") if isinstance(body.get("error"), str) else None
            raise Unauthorised(
                f"Sign-in: {self.system} refused the client assertion ({response.status_code}"
                f"{', ' + reason if reason else ''}).",
                system=self.system,
                status=response.status_code,
                vendor_code=reason,
                remedy="Check client id, certificate id and validity (at most two years), and the role's "
                "permissions 'REST Web Services' and 'Log in using OAuth 2.0 Access Tokens'; "
                "a sandbox refresh drops the mapping.",
            )
        # Samples differ in whether expires_in is a number or a string.
        lifetime = body.get("expires_in")
        try:
            seconds = None if lifetime is None else float(str(lifetime))
        except ValueError:
            seconds = None
        return Token(body["access_token"], seconds if seconds is not None else 3600.0)


class TbaAuth:
    """Signs every request by itself (OAuth 1.0, HMAC-SHA256). There is nothing to renew."""

    def __init__(self, config: Tba) -> None:
        self._config = config

    async def headers(self, request: httpx.Request) -> Mapping[str, str]:
        """The Authorization header for exactly this request."""
        nonce, timestamp = secrets.token_hex(16), str(int(time()))
        return {"Authorization": self.sign(request.method, str(request.url), nonce, timestamp)}

    def sign(self, method: str, url: str, nonce: str, timestamp: str) -> str:
        """The header's value. Query parameters are part of the signature, a JSON body is not."""
        config = self._config
        oauth = {
            "oauth_consumer_key": config.consumer_key,
            "oauth_nonce": nonce,
            "oauth_signature_method": "HMAC-SHA256",
            "oauth_timestamp": timestamp,
            "oauth_token": config.token_id,
            "oauth_version": "1.0",
        }
        address, _, query = url.partition("?")
        pairs = [*oauth.items(), *parse_qsl(query, keep_blank_values=True)]
        ordered = "&".join(f"{k}={v}" for k, v in sorted((_percent(k), _percent(v)) for k, v in pairs))
        base = "&".join((method.upper(), _percent(address), _percent(ordered)))
        key = f"{_percent(config.consumer_secret.read())}&{_percent(config.token_secret.read())}"
        digest = hmac.new(key.encode(), base.encode(), hashlib.sha256).digest()
        signed = {**oauth, "oauth_signature": base64.b64encode(digest).decode()}
        # The realm keeps underscore and capitals and is not part of the signature.
        parts = [f'realm="{config.realm}"', *(f'{k}="{_percent(v)}"' for k, v in signed.items())]
        return "OAuth " + ", ".join(parts)

    def forget(self) -> bool:
        """Nothing to renew: a refusal stands."""
        return False


def _percent(text: str) -> str:
    return quote(text, safe="~")
