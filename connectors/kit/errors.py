"""Error policy as data: what a vendor's answer means for who acts next.

A connector lists ``ErrorRule``s, most specific first. What no rule knows is never retried for ever:
an unknown 4xx is ``REPAIR``, an unknown 5xx or a broken answer to a *write* is ``UNKNOWN_OUTCOME``,
to a read ``RETRY``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from canonical.causes import Cause, Queue
from canonical.failures import FAILURES_BY_KIND, FailureKind, SystemFailure
from canonical.refs import RecordRef


@dataclass(frozen=True)
class VendorError:
    """One error as the vendor tells it."""

    status: int
    code: str | None = None
    message: str = ""
    field: str | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class ErrorRule:
    """One row: conditions (empty ones match everything), then who acts and what they should do."""

    kind: FailureKind
    cause: Cause
    status: int | None = None
    code: str | None = None
    """Regular expression on the vendor's code."""
    text: str | None = None
    """Regular expression searched in the vendor's message, ignoring case."""
    field: str | None = None
    writes_only: bool = False
    queue: Queue = Queue.INFRASTRUCTURE
    remedy: str | None = None
    retry_after: int | None = None
    """Seconds, where the vendor names none."""

    def matches(self, error: VendorError, *, write: bool) -> bool:
        """Whether this row is about ``error``."""
        return (
            (self.status is None or self.status == error.status)
            and (self.code is None or re.fullmatch(self.code, error.code or "") is not None)
            and (self.text is None or re.search(self.text, error.message, re.IGNORECASE) is not None)
            and (self.field is None or re.fullmatch(self.field, error.field or "") is not None)
            and (write or not self.writes_only)
        )


@dataclass(frozen=True)
class ErrorTable:
    """A vendor's rows with the common ones behind them."""

    rules: Sequence[ErrorRule]
    vendor: str = ""
    common: Sequence[ErrorRule] = field(
        default=(
            ErrorRule(
                FailureKind.REAUTHORISE,
                Cause.CREDENTIALS_REJECTED,
                status=401,
                remedy="Renew the credentials; `trueup doctor` checks them.",
            ),
            ErrorRule(FailureKind.WAIT, Cause.RATE_LIMITED, status=429),
            ErrorRule(FailureKind.RETRY, Cause.VENDOR_UNAVAILABLE, status=408),
            ErrorRule(
                FailureKind.REPAIR,
                Cause.CREDENTIALS_REJECTED,
                status=403,
                remedy="Give the integration user this permission, then retry.",
            ),
            ErrorRule(FailureKind.REPAIR, Cause.RECORD_VANISHED, status=404, queue=Queue.MASTER_DATA),
            ErrorRule(FailureKind.CONFLICT, Cause.VERSION_CONFLICT, status=409),
            ErrorRule(FailureKind.CONFLICT, Cause.VERSION_CONFLICT, status=412),
        )
    )

    def failure(
        self,
        errors: Sequence[VendorError],
        *,
        system: str,
        write: bool,
        what: str,
        record: RecordRef | None = None,
        key: str | None = None,
        retry_after: float | None = None,
    ) -> SystemFailure:
        """The failure for an answer; with several errors the first that a vendor row knows decides.

        Args:
            errors: at least one.
            system: instance name.
            write: whether the call could have changed something.
            what: for people, what was being done.
            record: the record concerned.
            key: effect key of the write.
            retry_after: the vendor's own delay in seconds.
        """
        rule, error = self._decide(errors, write=write)
        words = "; ".join(dict.fromkeys(e.message for e in errors if e.message)) or f"HTTP {error.status}"
        code = f" [{error.code}]" if error.code else ""
        delay = retry_after if retry_after is not None else rule.retry_after
        return FAILURES_BY_KIND[rule.kind](
            f"{what}: {self.vendor or system} answered {error.status}{code}: {words}",
            cause=rule.cause,
            queue=rule.queue,
            system=system,
            record=record,
            field=error.field,
            remedy=rule.remedy,
            status=error.status,
            vendor_code=error.code,
            vendor_request_id=error.request_id,
            retry_after_seconds=None if delay is None else max(1, round(delay)),
            key=key,
        )

    def _decide(self, errors: Sequence[VendorError], *, write: bool) -> tuple[ErrorRule, VendorError]:
        for rules in (self.rules, self.common):
            for error in errors:
                for rule in rules:
                    if rule.matches(error, write=write):
                        return rule, error
        error = errors[0]
        if error.status >= 500:
            kind = FailureKind.UNKNOWN_OUTCOME if write else FailureKind.RETRY
            cause = Cause.OUTCOME_UNKNOWN if write else Cause.VENDOR_UNAVAILABLE
            return ErrorRule(kind, cause), error
        remedy = "Correct the record named in the vendor's message, then retry the step."
        return ErrorRule(
            FailureKind.REPAIR, Cause.VENDOR_REFUSED, queue=Queue.MASTER_DATA, remedy=remedy
        ), error
