"""Where messages go. A webhook's address is its credential and therefore a ``Secret`` as a whole."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from connectors.kit.secrets import Secret


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _mail_address(value: str) -> str:
    local, at, domain = value.rpartition("@")
    if not (local and at and domain) or any(char.isspace() or char in "<>,;" for char in value):
        raise ValueError(f"{value!r} is not a mail address")
    return value


MailAddress = Annotated[str, AfterValidator(_mail_address)]
"""An address without a display name."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WebhookForm(StrEnum):
    """What the receiver understands."""

    GENERIC = "generic"
    """Our own plain JSON."""
    SLACK = "slack"
    """Incoming webhook, Block Kit."""
    TEAMS = "teams"
    """Workflows webhook, Adaptive Card (the retired connector webhooks are not supported)."""


HOSTS: dict[WebhookForm, tuple[str, ...]] = {
    WebhookForm.GENERIC: (),
    WebhookForm.SLACK: ("hooks.slack.com", "hooks.slack-gov.com"),
    WebhookForm.TEAMS: (".logic.azure.com", ".environment.api.powerplatform.com"),
}
"""Hosts of each receiver; with a leading dot: anything below it. Any host for our own JSON."""


class WebhookSettings(_Settings):
    """One receiver of webhooks. ``channels`` are ours; each has an address of its own, or the common one."""

    form: WebhookForm = WebhookForm.GENERIC
    url: Secret | None = None
    """The address for every channel that has none of its own."""
    channels: dict[str, Secret] = {}
    hosts: tuple[str, ...] = ()
    """Hosts allowed besides the receiver's own; a leading dot allows what is below."""
    allow_loopback: bool = False
    """For simulators: plain HTTP to this machine."""
    authorization: Secret | None = None
    """Sent as the Authorization header, for receivers of our own JSON that ask for one."""
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _some_address(self) -> WebhookSettings:
        if self.url is None and not self.channels:
            raise ValueError("say url, or an address for each of channels")
        return self

    @property
    def mapping_digest(self) -> str:
        """SHA-256 of what decides how a message looks and where it goes."""
        return hashlib.sha256(self.model_dump_json(include={"form", "channels", "url"}).encode()).hexdigest()


class SmtpTls(StrEnum):
    """How the connection to the mail server is protected."""

    STARTTLS = "starttls"
    """Port 587, upgraded before login."""
    IMPLICIT = "implicit"
    """Port 465."""
    NONE = "none"
    """Only to this machine."""


class SmtpSettings(_Settings):
    """One mail server. ``channels`` are ours; each has recipients of its own, or the common ones."""

    host: str
    port: int = Field(default=587, ge=1, le=65535)
    tls: SmtpTls = SmtpTls.STARTTLS
    username: str | None = None
    password: Secret | None = None
    sender: MailAddress
    recipients: tuple[MailAddress, ...] = ()
    """For every channel that has none of its own."""
    channels: dict[str, tuple[MailAddress, ...]] = {}
    timeout_seconds: float = Field(default=10, gt=0, le=60)
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _usable(self) -> SmtpSettings:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together")
        if self.tls is SmtpTls.NONE and not is_loopback(self.host):
            raise ValueError("tls = none is only for a mail server on this machine")
        if not self.recipients and not self.channels:
            raise ValueError("say recipients, or some for each of channels")
        if any(not addresses for addresses in self.channels.values()):
            raise ValueError("a channel without recipients reaches nobody")
        return self

    @property
    def domain(self) -> str:
        """The sender's domain, for message ids."""
        return self.sender.rpartition("@")[2]

    @property
    def mapping_digest(self) -> str:
        """SHA-256 of what decides where a message goes."""
        shown = self.model_dump_json(include={"sender", "recipients", "channels"})
        return hashlib.sha256(shown.encode()).hexdigest()
