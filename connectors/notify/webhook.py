"""Webhooks: our own JSON, Slack, Microsoft Teams."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from canonical.causes import Cause
from canonical.failures import Refused, SystemFailure
from canonical.operations import HealthCheck, HealthState, Notice
from canonical.refs import RecordRef
from connectors.kit.http import HttpSession
from connectors.kit.secrets import Secret
from connectors.notify.errors import TABLE, read_errors
from connectors.notify.mapping import PAYLOADS
from connectors.notify.settings import HOSTS, WebhookSettings, is_loopback

_TIMEOUT = httpx.Timeout(connect=3, read=10, write=10, pool=10)
"""Seconds, as the fact sheet recommends: a message must not hold up a worker."""


class WebhookNotifier:
    """One receiver. At least once: a broken connection is tried again by the caller."""

    def __init__(self, system: str, settings: WebhookSettings) -> None:
        self._system = system
        self.settings = settings
        self._hidden = _HideAddresses()
        logging.getLogger("httpx").addFilter(self._hidden)
        self._session = HttpSession(
            system=system,
            base_url="",
            auth=_Authorization(settings.authorization),
            errors=TABLE,
            read_errors=read_errors,
            connections=2,  # receivers take about one message a second
            ca_file=settings.ca_file,
            timeout=_TIMEOUT,
        )

    @property
    def system(self) -> str:
        """Instance name."""
        return self._system

    @property
    def mapping_digest(self) -> str:
        """Digest of form and channels."""
        return self.settings.mapping_digest

    def link(self, record_type: str, record_id: str) -> str | None:
        """Webhooks give nothing back that could be opened."""
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
        logging.getLogger("httpx").removeFilter(self._hidden)

    async def notify(self, notice: Notice) -> RecordRef:
        """Send one message. The receivers give no id back, so the reference carries the notice's key.

        Raises:
            Refused: the channel, its address or the message is not acceptable.
            Transient: the receiver is away.
            RateLimited: it asks for patience.
        """
        url = self._address(notice.channel)
        try:
            body = PAYLOADS[self.settings.form](notice)
        except ValueError as error:
            raise Refused(f"Message {notice.key}: {error}.", cause=Cause.CONFIGURATION,
                          system=self._system, remedy="Send fewer or shorter facts.") from None  # fmt: skip
        await self._session.call(
            "POST",
            url,
            what=f"Message to channel {notice.channel!r}",
            write=False,  # repeating a message is allowed, so a lost answer is no unknown outcome
            body=body,
            key=notice.key,
        )
        return RecordRef(system=self._system, type="message", id=notice.key)

    async def check(self) -> list[HealthCheck]:
        """Whether each channel's address is there and acceptable. Sends nothing. Never raises."""
        names = sorted(self.settings.channels) or ["every channel"]
        return [self._checked(name) for name in names]

    def _checked(self, name: str) -> HealthCheck:
        try:
            host = urlsplit(self._address(name)).hostname
        except SystemFailure as failure:
            return HealthCheck(system=self._system, check=name, state=HealthState.BROKEN,
                               detail=str(failure), remedy=failure.failure.remedy)  # fmt: skip
        return HealthCheck(
            system=self._system, check=name, state=HealthState.OK, detail=f"goes to {host}; nothing was sent"
        )

    def _address(self, channel: str) -> str:
        secret = self.settings.channels.get(channel, self.settings.url)
        if secret is None:
            raise Refused(
                f"Channel {channel!r} has no address at {self._system}.",
                cause=Cause.CONFIGURATION,
                system=self._system,
                remedy=f"Set channels.{channel}, or url for all channels.",
            )
        url = secret.read()
        problem = self._problem(url)
        if problem:
            raise Refused(
                f"The address in {secret.describe()} {problem}.",
                cause=Cause.CONFIGURATION,
                system=self._system,
                remedy="Provide the receiver's https address, or list its host in hosts.",
            )
        self._hidden.add(url)
        return url

    def _problem(self, url: str) -> str | None:
        """What is wrong with an address, in words that do not repeat it."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            return "is not an address"
        if not host:
            return "is not an address"
        if is_loopback(host):
            return None if self.settings.allow_loopback else "is on this machine"
        if parts.scheme != "https":
            return "is not https"
        known = (*HOSTS[self.settings.form], *self.settings.hosts)
        if known and not any(_matches(host, one) for one in known):
            return f"is not at a host of {self.settings.form.value}"
        return None


def _matches(host: str, allowed: str) -> bool:
    return host.endswith(allowed) if allowed.startswith(".") else host == allowed


class _Authorization:
    """The configured header, read at every use."""

    def __init__(self, secret: Secret | None) -> None:
        self._secret = secret

    async def headers(self, request: httpx.Request) -> Mapping[str, str]:
        return {} if self._secret is None else {"Authorization": self._secret.read()}

    def forget(self) -> bool:
        return False


class _HideAddresses(logging.Filter):
    """httpx logs every request's address, which here is a credential."""

    def __init__(self) -> None:
        super().__init__()
        self._urls: set[str] = set()

    def add(self, url: str) -> None:
        self._urls.add(str(httpx.URL(url)))

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(self._mask(arg) for arg in record.args)
        return True

    def _mask(self, arg: object) -> object:
        if str(arg) not in self._urls:
            return arg
        return f"{httpx.URL(str(arg)).scheme}://{httpx.URL(str(arg)).host}/***"
