r"""Failures, grouped by who acts next.

::

    TrueupError
     +-- ConfigurationError          the installation is wrong: stop at start, name file and key
     +-- SystemFailure               a connected system (or our own code) could not do it
          +-- Transient     RETRY        nobody: try again soon
          +-- RateLimited   WAIT         nobody: try again after the vendor's delay
          +-- Unauthorised  REAUTHORISE  infrastructure: credentials
          +-- Refused       REPAIR       a person with the named queue must fix data
          +-- Conflict      CONFLICT     somebody else changed the record: look, then decide
          +-- OutcomeUnknown UNKNOWN     sent, no answer: read back, never guess
          +-- Defect        DEFECT       us

A failure says what happened, to which record, what it is worth, who acts and what to type next.
Only a connection that never came to be is *not sent* (``Transient``); everything later is unknown.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar

from canonical.base import Canonical
from canonical.causes import Cause, Queue
from canonical.money import Money
from canonical.refs import RecordRef

TIMED_OUT = "TIMED_OUT"
"""``vendor_code`` of an unknown outcome whose call the vendor may still be working on. A dropped
connection has none: there the vendor is done, one way or the other."""

MESSAGE_LIMIT = 2_000
"""Characters of a vendor's text that we keep: failures travel in workflow histories (2 MiB a payload)."""


class FailureKind(StrEnum):
    """Who acts next."""

    RETRY = "retry"
    WAIT = "wait"
    REAUTHORISE = "reauthorise"
    REPAIR = "repair"
    CONFLICT = "conflict"
    UNKNOWN_OUTCOME = "unknown_outcome"
    DEFECT = "defect"

    @property
    def passes_by_itself(self) -> bool:
        """Whether the saga waits and tries again without anybody pressing anything."""
        return self in (FailureKind.RETRY, FailureKind.WAIT, FailureKind.REAUTHORISE)


class Severity(StrEnum):
    """Whether a finding stops the saga."""

    BLOCKING = "blocking"
    WARNING = "warning"


class Finding(Canonical):
    """One thing a validation found: the record, the field and the remedy."""

    cause: Cause
    message: str
    remedy: str
    queue: Queue
    record: RecordRef | None = None
    field: str | None = None
    severity: Severity = Severity.BLOCKING
    at_stake: Money | None = None


class Failure(Canonical):
    """A failure as data: what the ledger stores, Temporal carries and an operator reads."""

    kind: FailureKind
    cause: Cause
    message: str
    queue: Queue = Queue.INFRASTRUCTURE
    system: str | None = None
    record: RecordRef | None = None
    field: str | None = None
    remedy: str | None = None
    status: int | None = None
    """HTTP status of the vendor's answer."""
    vendor_code: str | None = None
    vendor_request_id: str | None = None
    retry_after_seconds: int | None = None
    at_stake: Money | None = None
    key: str | None = None
    """Effect key of the write concerned."""
    maybe_landed: bool = False
    """Something of the step concerned exists, or may exist: it must be resolved, not forgotten."""
    findings: tuple[Finding, ...] = ()
    survivors: tuple[RecordRef, ...] = ()
    """Records of ours that still exist after an undo that could not be finished."""


class TrueupError(Exception):
    """Root of all errors raised on purpose."""


class ConfigurationError(TrueupError):
    """The installation is wrong. Carries every problem found, each with where and remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class SystemFailure(TrueupError):
    """Root of failures with a ``Failure``; subclasses fix the kind."""

    kind: ClassVar[FailureKind]
    default_cause: ClassVar[Cause]

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        details.setdefault("cause", self.default_cause)
        self.failure = Failure(kind=self.kind, message=message[:MESSAGE_LIMIT], **details)

    def __str__(self) -> str:
        return self.failure.message


class Transient(SystemFailure):
    """Nothing was done, or doing it again is harmless: try again soon."""

    kind = FailureKind.RETRY
    default_cause = Cause.VENDOR_UNAVAILABLE


class RateLimited(SystemFailure):
    """The vendor asks us to slow down."""

    kind = FailureKind.WAIT
    default_cause = Cause.RATE_LIMITED


class Unauthorised(SystemFailure):
    """Credentials were refused even with a fresh token."""

    kind = FailureKind.REAUTHORISE
    default_cause = Cause.CREDENTIALS_REJECTED


class Refused(SystemFailure):
    """The vendor's or our own business rule says no: a person must change data."""

    kind = FailureKind.REPAIR
    default_cause = Cause.VENDOR_REFUSED


class Conflict(SystemFailure):
    """The record is not in the state we know."""

    kind = FailureKind.CONFLICT
    default_cause = Cause.VERSION_CONFLICT


class OutcomeUnknown(SystemFailure):
    """A write was sent and nobody knows whether it landed."""

    kind = FailureKind.UNKNOWN_OUTCOME
    default_cause = Cause.OUTCOME_UNKNOWN


class Defect(SystemFailure):
    """Our own mistake: an assumption about a vendor or ourselves does not hold."""

    kind = FailureKind.DEFECT
    default_cause = Cause.DEFECT


FAILURES_BY_KIND: dict[FailureKind, type[SystemFailure]] = {
    cls.kind: cls for cls in (Transient, RateLimited, Unauthorised, Refused, Conflict, OutcomeUnknown, Defect)
}
