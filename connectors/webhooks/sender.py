"""Sending our own events: signed by Standard Webhooks, over https, to public addresses, without redirects."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx

from canonical.failures import Unauthorised
from canonical.outgoing import DeliveryOutcome
from connectors.kit.http import USER_AGENT, retry_after
from connectors.kit.secrets import Secret
from connectors.kit.webhooks import absent
from connectors.webhooks.standard import signature, signing_key

TIMEOUT = httpx.Timeout(connect=5, read=15, write=15, pool=15)
"""Seconds; Standard Webhooks recommends 15 to 30 in all."""
SECONDS = 30
"""One attempt in all: name, connection, answer. A receiver that answers a byte at a time holds up nobody."""
PATIENCE = 86_400.0
"""Seconds that a receiver may ask for at most."""
GONE = 410
"""By Standard Webhooks: the receiver wants no more of this."""


def public(address: str) -> bool:
    """Whether an IP address is one of the public internet: nothing of our own network is called."""
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    if mapped is not None:
        return public(str(mapped))
    if isinstance(found, ipaddress.IPv6Address) and (found.sixtofour or found.teredo):
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved


async def resolved(host: str, port: int) -> list[str]:
    """The addresses of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class Sender:
    """Sends to one subscriber."""

    def __init__(
        self,
        url: str,
        secrets: Sequence[Secret],
        *,
        trusted: ssl.SSLContext | None = None,
        allowed: Callable[[str], bool] = public,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Make a sender.

        Args:
            url: of the receiver.
            secrets: to sign with; while they are exchanged, two, and every message bears both signatures.
            trusted: authorities to believe; the system's when empty.
            allowed: which addresses may be called.
            clock: gives the time of signing.
        """
        self._url = urlsplit(url)
        self._secrets = tuple(secrets)
        self._trusted = trusted
        self._allowed = allowed
        self._clock = clock

    def missing(self) -> list[str]:
        """Where secrets were looked for and not found."""
        return absent(self._secrets)

    async def send(self, event_id: str, body: bytes) -> DeliveryOutcome:
        """One attempt. What the receiver does is an outcome, never an error."""
        host, port = self._url.hostname, self._url.port or 443
        if self._url.scheme != "https" or not host or self._url.username:
            return DeliveryOutcome(taken=False, detail="the address is not a plain https one")
        try:
            headers = self._signed(event_id, body)
        except Unauthorised as missing:
            return DeliveryOutcome(taken=False, detail=str(missing))
        try:
            async with asyncio.timeout(SECONDS):
                return await self._sent(host, port, headers, body)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            return DeliveryOutcome(taken=False, detail=f"{host} did not answer ({type(error).__name__})")

    async def _sent(self, host: str, port: int, headers: dict[str, str], body: bytes) -> DeliveryOutcome:
        try:
            addresses = await resolved(host, port)
        except (OSError, UnicodeError):
            return DeliveryOutcome(taken=False, detail=f"{host} has no address")
        # Every address must be public, and the ones that were checked are the ones that are called: a name
        # may answer differently the next time it is asked.
        if not addresses or not all(self._allowed(one) for one in addresses):
            return DeliveryOutcome(taken=False, detail=f"{host} is not a public address")
        for address in addresses[:-1]:
            with suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await self._post(host, port, address, headers, body)
            # Nothing was sent there: the next address, for example IPv4 where IPv6 leads nowhere.
        return await self._post(host, port, addresses[-1], headers, body)

    def _signed(self, event_id: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(self._clock().timestamp()))
        signatures = []
        for secret in self._secrets:
            key = signing_key(secret.read().encode())
            signatures.append("v1," + base64.b64encode(signature(key, event_id, timestamp, body)).decode())
        return {
            "webhook-id": event_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(signatures),
        }

    async def _post(
        self, host: str, port: int, address: str, headers: dict[str, str], body: bytes
    ) -> DeliveryOutcome:
        shown, named = (f"[{one}]" if ":" in one else one for one in (address, host))
        path = self._url.path or "/"
        target = f"https://{shown}:{port}{path}" + (f"?{self._url.query}" if self._url.query else "")
        async with (
            httpx.AsyncClient(
                verify=self._trusted or True, timeout=TIMEOUT, follow_redirects=False, trust_env=False
            ) as client,
            client.stream(
                "POST",
                target,
                content=body,
                headers={
                    "Host": named if port == 443 else f"{named}:{port}",
                    "Content-Type": "application/cloudevents+json",
                    "User-Agent": USER_AGENT,
                    **headers,
                },
                # The certificate must be the name's, not the number's.
                extensions={"sni_hostname": host},
            ) as answer,
        ):
            # The body is nobody's business: only the status is read.
            return _outcome(host, answer)


def _outcome(host: str, answer: httpx.Response) -> DeliveryOutcome:
    status = answer.status_code
    if answer.is_success:
        return DeliveryOutcome(taken=True, detail=f"{host} took it ({status})")
    if status == GONE:
        return DeliveryOutcome(taken=False, over=True, detail=f"{host} wants no more of this (410)")
    if answer.is_redirect:
        return DeliveryOutcome(
            taken=False, detail=f"{host} answers with a redirect ({status}), which is not followed"
        )
    asked = retry_after(answer)
    return DeliveryOutcome(
        taken=False,
        detail=f"{host} answered {status}",
        retry_after_seconds=None if asked is None else min(asked, PATIENCE),
    )
