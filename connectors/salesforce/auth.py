"""Tokens for the two server-to-server grants. Neither answers with a lifetime or a refresh token, so a
token is kept until the vendor refuses it; the session then gets one new token and repeats the call."""

from __future__ import annotations

from collections.abc import Mapping
from time import time

import httpx
import jwt

from canonical.failures import RateLimited, Transient, Unauthorised
from connectors.kit.http import USER_AGENT, decode, new_client, retry_after
from connectors.kit.secrets import Secret
from connectors.kit.tokens import BearerAuth, Token
from connectors.salesforce.settings import JwtBearer, SalesforceSettings

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class TokenSource:
    """Fetches tokens from the organisation's token endpoint."""

    def __init__(self, system: str, settings: SalesforceSettings) -> None:
        self._system = system
        self._settings = settings
        self.url = settings.token_url or f"{settings.base_url}/services/oauth2/token"
        # One connection: BearerAuth renews one at a time.
        self._client = new_client(self.url, 1, settings.ca_file)
        self.auth = BearerAuth(self.fetch)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def fetch(self) -> Token:
        """One new token.

        Raises:
            Unauthorised: the organisation does not accept us, or a secret is not there.
            Transient: the endpoint is away.
            RateLimited: it asks for patience.
        """
        form, hidden = self._form()
        try:
            response = await self._client.post(
                self.url, data=form, headers={"Accept": "application/json", "User-Agent": USER_AGENT}
            )
        except httpx.HTTPError as error:
            # A token request changes no business record: repeating it is harmless even if it was answered.
            raise Transient(
                f"Login: {self._system} cannot be reached ({type(error).__name__}).", system=self._system
            ) from None
        if response.status_code == 429:
            raise RateLimited(
                f"Login: {self._system} asks for patience.",
                system=self._system,
                status=429,
                retry_after_seconds=round(retry_after(response) or 60),
            )
        if response.status_code >= 500:
            raise Transient(
                f"Login: {self._system} answered {response.status_code}.",
                system=self._system,
                status=response.status_code,
            )
        body = self._body(response)
        if not response.is_success or "access_token" not in body:
            raise self._refusal(response.status_code, body, hidden)
        instance = body.get("instance_url")
        return Token(str(body["access_token"]), base_url=None if instance is None else str(instance))

    def _form(self) -> tuple[dict[str, str], tuple[str, ...]]:
        auth = self._settings.auth
        client_id = auth.client_id.read()
        if isinstance(auth, JwtBearer):
            assertion = self._assertion(auth, client_id, auth.private_key)
            return {"grant_type": JWT_GRANT, "assertion": assertion}, (assertion, client_id)
        secret = auth.client_secret.read()
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        return form, (secret, client_id)

    def _assertion(self, auth: JwtBearer, client_id: str, key: Secret) -> str:
        claims = {
            "iss": client_id,
            "sub": auth.username,
            "aud": auth.audience,
            "exp": int(time()) + auth.lifetime_seconds,
        }
        try:
            return jwt.encode(claims, key.read(), algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError):
            # The original exception may quote the key.
            raise Unauthorised(
                f"The private key in {key.describe()} is not an RSA key in PEM form.",
                system=self._system,
                remedy="Provide the key whose certificate is registered on the External Client App.",
            ) from None

    @staticmethod
    def _body(response: httpx.Response) -> Mapping[str, object]:
        try:
            body = decode(response)
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}

    def _refusal(self, status: int, body: Mapping[str, object], hidden: tuple[str, ...]) -> Unauthorised:
        code = str(body.get("error") or "no token in the answer")
        words = str(body.get("error_description") or "")
        for secret in hidden:
            words = words.replace(secret, "***")
        return Unauthorised(
            f"Login to {self._system} was refused: {code}" + (f" ({words})" if words else "") + ".",
            system=self._system,
            status=status,
            vendor_code=code,
            remedy="Check the External Client App: its grant is enabled, its secret or certificate current, "
            "the run-as user active and pre-authorised, and base_url the organisation's own My Domain.",
        )
