"""Who calls: a signed access token becomes a caller with scopes, regions and legal entities."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import jwt

from canonical.saga import Actor
from gateway.problems import Kind, Problem
from runtime.gateway_sections import GatewaySection, TokenSection
from runtime.logging import logger

_log = logger("trueup.gateway")
LEEWAY_SECONDS = 30
"""How far the issuer's clock may be from ours."""


class Scope(StrEnum):
    """What a token may be used for."""

    CLIENTS_READ = "trueup.clients.read"
    PROJECTS_READ = "trueup.projects.read"
    PROJECTS_WRITE = "trueup.projects.write"
    TIME_READ = "trueup.time.read"
    TIME_WRITE = "trueup.time.write"
    INVOICES_READ = "trueup.invoices.read"
    VALIDATIONS_RUN = "trueup.validations.run"
    CHANGES_READ = "trueup.changes.read"
    CHANGES_WRITE = "trueup.changes.write"
    SAGAS_READ = "trueup.sagas.read"


SCOPES: dict[Scope, str] = {
    Scope.CLIENTS_READ: "See client accounts and their records.",
    Scope.PROJECTS_READ: "See the projects of a deal.",
    Scope.PROJECTS_WRITE: "Have a won deal set up.",
    Scope.TIME_READ: "See approved time that is not billed.",
    Scope.TIME_WRITE: "Have approved time posted.",
    Scope.INVOICES_READ: "See invoices.",
    Scope.VALIDATIONS_RUN: "Check a deal before it is set up.",
    Scope.CHANGES_READ: "See the change orders of a contract.",
    Scope.CHANGES_WRITE: "Send change orders.",
    Scope.SAGAS_READ: "See sagas.",
}


@dataclass(frozen=True)
class Caller:
    """An authenticated client and what it may use."""

    name: str
    scopes: frozenset[str]
    regions: tuple[str, ...]
    entities: tuple[str, ...]
    """Empty: every one."""

    @property
    def actor(self) -> Actor:
        """As whom its starts are recorded: its token was verified."""
        return Actor(name=self.name, verified=True)

    def may_use(self, region: str, entities: Iterable[str | None] | None = ()) -> bool:
        """Whether an object of a region and legal entities is this caller's to use.

        Args:
            region: the object's.
            entities: the object's; None when they cannot be known, which only callers without a limit pass.
        """
        if region not in self.regions:
            return False
        if not self.entities:
            return True
        return entities is not None and all(entity in self.entities for entity in entities)

    def require(self, region: str, entities: Iterable[str | None] | None = ()) -> None:
        """Refuse what is not this caller's to use.

        Raises:
            Problem: it is not.
        """
        if not self.may_use(region, entities):
            raise Problem(Kind.FORBIDDEN, "It belongs to a region or legal entity that is not this client's.")


class Tokens:
    """Checks access tokens against the configured issuer; its keys are read again when the file changes."""

    def __init__(self, section: TokenSection) -> None:
        self._section = section
        self._read: tuple[int, int] | None = None
        self._keys: dict[str, Any] = {}

    def claims(self, token: str, now: datetime) -> dict[str, Any]:
        """The claims of a valid token.

        Raises:
            Problem: it is not valid now, or not for us.
        """
        section = self._section
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") != section.algorithm:
                raise jwt.InvalidAlgorithmError
            found: dict[str, Any] = jwt.decode(
                token,
                self._key(header.get("kid")),
                algorithms=[section.algorithm],
                issuer=section.issuer,
                audience=section.audience,
                options={
                    "require": ["exp", "iss", "aud"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.PyJWTError, ValueError):
            raise unauthenticated("The access token is not valid here.") from None
        at = now.timestamp()
        for name, late in (("exp", True), ("nbf", False)):
            moment = found.get(name)
            if moment is None:
                continue
            if isinstance(moment, bool) or not isinstance(moment, int | float):
                raise unauthenticated("The access token is not valid here.")
            if (at >= moment + LEEWAY_SECONDS) if late else (at < moment - LEEWAY_SECONDS):
                raise unauthenticated("The access token is not valid now; get a new one.")
        return found

    def _key(self, kid: Any) -> Any:
        keys = self._current()
        if isinstance(kid, str) and kid in keys:
            return keys[kid]
        if kid is None and len(keys) == 1:
            return next(iter(keys.values()))
        raise jwt.InvalidKeyError

    def _current(self) -> dict[str, Any]:
        file: Path = self._section.keys_file
        try:
            found = file.stat()
            stamp = (found.st_mtime_ns, found.st_size)
            if stamp != self._read:
                listed = jwt.PyJWKSet.from_dict(json.loads(file.read_text())).keys
                self._keys = {one.key_id or "": one.key for one in listed}
                self._read = stamp
        except (OSError, ValueError, jwt.PyJWTError) as wrong:
            _log.error("the issuer's keys cannot be read", file=str(file), failure=type(wrong).__name__)
            if not self._keys:
                raise Problem(Kind.UNAVAILABLE, "Access tokens cannot be checked now.") from None
        return self._keys


class Callers:
    """Makes callers of requests."""

    def __init__(self, section: GatewaySection) -> None:
        self._section = section
        self._tokens = Tokens(section.tokens) if section.tokens else None

    def caller(self, authorization: str | None, scopes: Iterable[str], now: datetime) -> Caller:
        """The caller of a request that needs ``scopes``.

        Raises:
            Problem: no valid token, no configured client, or not its scope.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise unauthenticated("Send an access token: Authorization: Bearer ...", error=None)
        if self._tokens is None or self._section.tokens is None:
            raise unauthenticated("No issuer of access tokens is configured.")
        claims = self._tokens.claims(token.strip(), now)
        name = claims.get(self._section.tokens.client_claim)
        client = self._section.clients.get(name) if isinstance(name, str) else None
        if client is None or not isinstance(name, str):
            raise Problem(Kind.FORBIDDEN, "This client is not configured here.")
        granted = _scopes(claims.get(self._section.tokens.scope_claim))
        missing = sorted(set(scopes) - granted)
        if missing:
            raise Problem(
                Kind.FORBIDDEN,
                f"The token lacks the scope {' '.join(missing)}.",
                {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{" ".join(missing)}"'},
            )
        return Caller(name, granted, client.regions, client.entities)


def _scopes(value: Any) -> frozenset[str]:
    if isinstance(value, str):
        return frozenset(value.split())
    return frozenset(one for one in value if isinstance(one, str)) if isinstance(value, list) else frozenset()


def unauthenticated(detail: str, *, error: str | None = "invalid_token") -> Problem:
    """The refusal of a request without a valid token."""
    words = f'Bearer error="{error}"' if error else "Bearer"
    return Problem(Kind.UNAUTHENTICATED, detail, {"WWW-Authenticate": words})
