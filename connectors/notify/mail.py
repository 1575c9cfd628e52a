"""Mail over SMTP submission."""

from __future__ import annotations

import logging
import ssl
from email.message import EmailMessage

import aiosmtplib
from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from canonical.causes import Cause
from canonical.failures import Refused, SystemFailure, Transient, Unauthorised
from canonical.operations import HealthCheck, HealthState, Notice
from canonical.refs import RecordRef
from connectors.notify.mapping import mail
from connectors.notify.settings import SmtpSettings, SmtpTls

_LOG = logging.getLogger(__name__)
_ACCOUNT = "Check user name, password and what the mail server lets this account send."


class SmtpNotifier:
    """One mail server. One connection per message: messages are few, idle connections get cut."""

    def __init__(self, system: str, settings: SmtpSettings) -> None:
        self._system = system
        self.settings = settings

    @property
    def system(self) -> str:
        """Instance name."""
        return self._system

    @property
    def mapping_digest(self) -> str:
        """Digest of sender and recipients."""
        return self.settings.mapping_digest

    def link(self, record_type: str, record_id: str) -> str | None:
        """Mail has no page."""
        return None

    async def close(self) -> None:
        """Nothing stays open."""

    async def notify(self, notice: Notice) -> RecordRef:
        """Send one mail; the reference is its Message-ID, the same for every repetition.

        Recipients that are refused while others are accepted are logged by number, not tried again: the
        others would get the mail twice.

        Raises:
            Refused: no recipients, or the server will never take this mail.
            Unauthorised: the login is not accepted.
            Transient: the server is away or asks for patience.
        """
        recipients = self.settings.channels.get(notice.channel, self.settings.recipients)
        if not recipients:
            raise Refused(
                f"Channel {notice.channel!r} has no recipients at {self._system}.",
                cause=Cause.CONFIGURATION,
                system=self._system,
                remedy=f"Set channels.{notice.channel}, or recipients for all channels.",
            )
        message = mail(notice, self.settings.sender, recipients, self.settings.domain)
        try:
            refused = await self._send(message)
        except (SMTPException, OSError) as error:
            raise self._failure(error, f"Mail to channel {notice.channel!r}", notice.key) from None
        if refused:
            _LOG.warning(
                "%s: %d of %d recipients of channel %r were refused", self._system, refused, len(recipients),
                notice.channel,
            )  # fmt: skip
        return RecordRef(system=self._system, type="mail", id=str(message["Message-ID"]))

    async def check(self) -> list[HealthCheck]:
        """Connect, secure and log in; sends nothing. Never raises."""
        try:
            async with self._server():
                pass
        except (SMTPException, OSError) as error:
            return [self._broken(self._failure(error, "Connecting", None))]
        except SystemFailure as failure:
            return [self._broken(failure)]
        detail = f"{self.settings.host}:{self.settings.port} takes our mail"
        return [
            HealthCheck(
                system=self._system,
                check="mail server",
                state=HealthState.OK,
                detail=detail,
            )
        ]

    async def _send(self, message: EmailMessage) -> int:
        async with self._server() as server:
            refused, _ = await server.send_message(message)
            return len(refused)

    def _server(self) -> SMTP:
        settings = self.settings
        context = ssl.create_default_context(cafile=str(settings.ca_file)) if settings.ca_file else None
        return aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.username,
            password=settings.password.read() if settings.password else None,
            use_tls=settings.tls is SmtpTls.IMPLICIT,
            # Never opportunistic: without STARTTLS the password would travel in the clear.
            start_tls=settings.tls is SmtpTls.STARTTLS,
            timeout=settings.timeout_seconds,
            tls_context=context,
        )

    def _failure(self, error: Exception, what: str, key: str | None) -> SystemFailure:
        """By the reply code: 4xx later, 5xx never; everything without one is a broken connection."""
        if isinstance(error, SMTPRecipientsRefused):
            codes = [one.code for one in error.recipients]
            code, words = max(codes, default=550), "all recipients refused"
            # One that may be accepted later is worth another attempt.
            if any(400 <= one < 500 for one in codes):
                code = 450
        elif isinstance(error, SMTPResponseException):
            code, words = error.code, error.message[:200]
        elif isinstance(error, SMTPNotSupported) or type(error) is SMTPException:
            # The bare exception is how the library reports a missing STARTTLS.
            code, words = 530, "the server does not offer the protection or login that the settings ask for"
        else:
            return Transient(
                f"{what}: {self._system} cannot be reached ({type(error).__name__}).",
                system=self._system,
                key=key,
            )
        text = f"{what}: {self._system} answered {code}: {words}"
        if isinstance(error, SMTPAuthenticationError) and code >= 500:
            return Unauthorised(text, system=self._system, key=key, remedy=_ACCOUNT, vendor_code=str(code))
        if 400 <= code < 500:
            return Transient(text, system=self._system, key=key, vendor_code=str(code))
        return Refused(
            text,
            cause=Cause.CONFIGURATION,
            system=self._system,
            key=key,
            remedy="Correct sender and recipients, or the mail server's settings.",
            vendor_code=str(code),
        )

    def _broken(self, failure: SystemFailure) -> HealthCheck:
        return HealthCheck(
            system=self._system,
            check="mail server",
            state=HealthState.BROKEN,
            detail=str(failure),
            remedy=failure.failure.remedy or "Check host, port and tls, and the way there.",
        )
