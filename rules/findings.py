"""Findings in one line: the cause decides the queue."""

from __future__ import annotations

from canonical.causes import Cause
from canonical.failures import Finding, Severity
from canonical.money import Money
from canonical.refs import RecordRef
from rules.causes import CATALOGUE


def finding(
    cause: Cause,
    message: str,
    *,
    record: RecordRef | None = None,
    field: str | None = None,
    remedy: str | None = None,
    at_stake: Money | None = None,
    warning: bool = False,
) -> Finding:
    """A finding; queue and standard remedy come from the catalogue of causes."""
    entry = CATALOGUE[cause]
    return Finding(
        cause=cause,
        message=message,
        remedy=remedy or entry.remedy,
        queue=entry.queue,
        record=record,
        field=field,
        at_stake=at_stake,
        severity=Severity.WARNING if warning else Severity.BLOCKING,
    )
