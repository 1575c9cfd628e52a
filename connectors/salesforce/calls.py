"""What goes into and comes out of the client's calls, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.kit.errors import VendorError
from connectors.salesforce.errors import errors_of


@dataclass(frozen=True)
class Upserted:
    """What an upsert did."""

    id: str
    created: bool


@dataclass(frozen=True)
class SubRequest:
    """One part of a composite call. ``path`` is relative to the data API, for example ``/sobjects/Account``.

    Path and body may refer to an earlier part's answer as ``@{reference.id}``.
    """

    method: str
    path: str
    reference: str
    body: Any = None


@dataclass(frozen=True)
class SubAnswer:
    """The answer to one part. ``halted``: nothing of it happened because another part failed."""

    reference: str
    status: int
    body: Any
    errors: tuple[VendorError, ...] = ()
    halted: bool = False


@dataclass(frozen=True)
class RowOutcome:
    """What became of one record of a collections call."""

    id: str
    success: bool
    errors: tuple[VendorError, ...] = ()


@dataclass(frozen=True)
class Usage:
    """The organisation's calls of the last 24 hours, as last told by ``Sforce-Limit-Info``."""

    used: int
    limit: int
    at: float
    """Monotonic seconds."""

    @property
    def percent(self) -> float:
        """Share of the limit used."""
        return 100 * self.used / self.limit if self.limit else 0.0


def sub_answer(part: Mapping[str, Any]) -> SubAnswer:
    """One part of a composite answer."""
    status = int(part["httpStatusCode"])
    errors = tuple(errors_of(status, part.get("body"))) if status >= 300 else ()
    return SubAnswer(
        reference=str(part["referenceId"]),
        status=status,
        body=part.get("body"),
        errors=errors,
        halted=any(error.code == "PROCESSING_HALTED" for error in errors),
    )
