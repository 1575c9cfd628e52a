"""The section ``[gateway]`` of ``trueup.toml``: the HTTP front door, its sources and callers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from canonical.names import SagaName
from canonical.outgoing import OutgoingType
from runtime.sections import NAME_PATTERN, Section


class EventRule(Section):
    """``[[gateway.sources.SOURCE.events]]``: which event of a source is for which saga."""

    type: str = Field(min_length=1)
    """The event's type as the source's kind gives it; `*` is any."""
    saga: SagaName
    """The saga it is for. Events of a saga that this release does not have are kept, parked."""
    where: dict[str, str] = {}
    """Values that the event's fields must have; an event with others is kept and ignored."""


def _unread_kept(cls: type[Section], value: Any) -> Any:
    """Put the keys that a section does not know into its ``options``."""
    if not isinstance(value, dict):
        return value
    ours = cls.model_fields.keys() - {"options"}
    return {key: item for key, item in value.items() if key in ours} | {
        "options": {key: item for key, item in value.items() if key not in ours}
    }


class SourceSection(Section):
    """``[gateway.sources.SOURCE]``: one sender of webhooks. The name is the last part of its address.

    Keys that are not listed here belong to the kind and are kept, unread, in ``options``.
    """

    kind: str = Field(pattern=NAME_PATTERN)
    """Whose webhooks: see the kinds below."""
    system: str
    """The connected system that its records are in. One that is not connected yet may be named too:
    its events are kept, parked."""
    events: tuple[EventRule, ...] = ()
    """What is done with its events, the first rule that fits; an event without a rule is kept, parked."""
    options: dict[str, Any] = Field(default={}, repr=False)

    _keep = model_validator(mode="before")(_unread_kept)


class TokenSection(Section):
    """``[gateway.tokens]``: whose OAuth 2 access tokens the process API accepts: signed JWTs (RFC 9068)."""

    issuer: str = Field(min_length=1)
    """What a token's `iss` must be."""
    audience: str = Field(min_length=1)
    """What a token's `aud` must be or contain."""
    algorithm: Literal["RS256", "PS256", "ES256", "EdDSA"] = "RS256"
    """The one signature algorithm that is accepted."""
    keys_file: Path
    """The issuer's public keys, a JSON Web Key Set. Read again when it changes, so keys can be exchanged
    without a restart."""
    client_claim: str = "client_id"
    """The claim that names the calling client."""
    scope_claim: str = "scope"
    """The claim with the scopes: text with blanks between, or a list."""


class ClientSection(Section):
    """``[gateway.clients.CLIENT]``: a caller of the process API, and what it may see and start."""

    regions: tuple[str, ...] = Field(min_length=1)
    """Regions it may use."""
    entities: tuple[str, ...] = ()
    """Legal entities it may see and start work for; every one when empty."""


class SubscriptionSection(Section):
    """``[gateway.subscriptions.NAME]``: a receiver of our events (CloudEvents, Standard Webhooks).

    Its key ``secrets`` is like that of a source.
    """

    url: str = Field(pattern=r"^https://[^\s@/?#]+([/?][^\s#]*)?$", repr=False)
    """Where they are sent: https and a public address; redirects are not followed."""
    types: tuple[OutgoingType, ...] = ()
    """Types of events to send; all when empty."""
    entities: tuple[str, ...] = ()
    """Only events about these legal entities, as far as an event's contracts show them; all when empty."""
    options: dict[str, Any] = Field(default={}, repr=False)

    _keep = model_validator(mode="before")(_unread_kept)

    @field_validator("url")
    @classmethod
    def _has_a_real_port(cls, value: str) -> str:
        if urlsplit(value).port == 0:  # Raises for what is no port at all.
            raise ValueError("port 0 is none")
        return value


class GatewaySection(Section):
    """``[gateway]``: the HTTP front door (`trueup gateway`)."""

    host: str = "127.0.0.1"
    """Address to listen on; TLS ends before it, at the proxy or ingress."""
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: str = Field(default="http://127.0.0.1:8080", pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")
    """How the world calls it; signatures over addresses are checked against it."""
    body_limit: int = Field(default=1_000_000, ge=1_000, le=20_000_000)
    """Bytes of a request; more is refused before anything is looked at."""
    body_seconds: float = Field(default=10, gt=0)
    """How long a request's body may take to arrive."""
    at_once: int = Field(default=8, ge=1, le=64)
    """Events handed over at a time."""
    sweep_seconds: float = Field(default=5, gt=0)
    """How often the inbox is searched for events that were not handed over."""
    lease_seconds: float = Field(default=60, gt=0)
    """How long one process has for handing over an event before another may."""
    patience_hours: float = Field(default=24, gt=0)
    """How long an event waits for a record that is not there yet before it is parked."""
    validation_seconds: float = Field(default=25, gt=0)
    """How long a caller of the pre-flight waits at most."""
    sources: dict[str, SourceSection] = {}
    subscriptions: dict[str, SubscriptionSection] = {}
    tokens: TokenSection | None = None
    """Without it the process API refuses every caller."""
    clients: dict[str, ClientSection] = {}

    @property
    def patience(self) -> timedelta:
        """``patience_hours`` as a duration."""
        return timedelta(hours=self.patience_hours)
