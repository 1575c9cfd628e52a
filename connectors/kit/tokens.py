"""Bearer tokens: cached, renewed once at a time, never printed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic

import httpx

EARLY = 60.0
"""Seconds before its expiry at which a token is renewed: longer than any one call takes to start."""


@dataclass(frozen=True)
class Token:
    """A token and how long it holds (seconds; None when the vendor does not say)."""

    value: str
    lifetime: float | None = None
    base_url: str | None = None
    """Where the vendor says this token is to be used."""

    def __repr__(self) -> str:
        return f"Token(lifetime={self.lifetime})"


class BearerAuth:
    """Caches the token that ``fetch`` gets; concurrent callers share one renewal."""

    def __init__(self, fetch: Callable[[], Awaitable[Token]], *, renewable: bool = True) -> None:
        self._fetch = fetch
        self._renewable = renewable
        self._token: Token | None = None
        self._until = 0.0
        self._failed: tuple[float, Exception] | None = None
        self._lock = asyncio.Lock()

    async def headers(self, request: httpx.Request) -> Mapping[str, str]:
        """The Authorization header."""
        return {"Authorization": f"Bearer {(await self.token()).value}"}

    async def token(self) -> Token:
        """The cached token, or a fresh one. Who waited while a renewal failed fails with it: an endpoint that
        hangs is not asked by each caller in turn.
        """
        asked = monotonic()
        async with self._lock:
            if self._token is None or monotonic() >= self._until:
                if self._failed is not None and asked < self._failed[0]:
                    raise self._failed[1]
                try:
                    self._token = await self._fetch()
                except Exception as error:
                    self._failed = (monotonic(), error)
                    raise
                self._failed = None
                lifetime = self._token.lifetime
                self._until = float("inf") if lifetime is None else monotonic() + max(lifetime - EARLY, 1)
            return self._token

    def forget(self) -> bool:
        """Drop the token; see ``connectors.kit.http.Auth``."""
        self._token = None
        return self._renewable
