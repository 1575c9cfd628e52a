"""The simulators' call logs: who called what, from when until when, for which step of which saga."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

SIGN_IN = ("/oauth2/",)
"""Calls that a worker makes once an hour, whatever the number of deals."""
READING_POSTS = ("/suiteql",)
"""POSTs that read: NetSuite's queries."""


@dataclass(frozen=True)
class VendorCall:
    """One call as the vendor's simulator saw it. Times are seconds since 1970."""

    vendor: str
    method: str
    path: str
    began: float
    ended: float | None
    """None: not answered yet."""
    status: str
    saga: str
    """Workflow id; empty for a caller that is no worker of ours."""
    activity: str
    """Activity id within the workflow: the same for every attempt."""
    attempt: int

    @property
    def seconds(self) -> float:
        """How long the vendor took."""
        return (self.ended or self.began) - self.began

    @property
    def signs_in(self) -> bool:
        """Whether it only asks for a token."""
        return any(part in self.path for part in SIGN_IN)

    @property
    def writes(self) -> bool:
        """Whether it changes something at the vendor."""
        reads = self.method == "GET" or any(part in self.path for part in READING_POSTS)
        return not reads and not self.signs_in


def parse(vendor: str, rows: Iterable[Mapping[str, Any]]) -> list[VendorCall]:
    """Calls from the rows of a simulator's ``/_sim/calls``."""
    found = []
    for row in rows:
        saga, activity, attempt = (*(row["note"] or "").split(" "), "", "")[:3]
        found.append(
            VendorCall(
                vendor=vendor,
                method=row["method"],
                path=row["path"],
                began=_seconds(row["at"]),
                ended=_seconds(row["until"]) if row["until"] else None,
                status=str(row["status"]),
                saga=saga,
                activity=activity,
                attempt=int(attempt or 0),
            )
        )
    return found


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def count(calls: Iterable[VendorCall]) -> dict[str, dict[str, int]]:
    """vendor -> {"read": n, "write": n}, without signing in."""
    found: dict[str, dict[str, int]] = {}
    for call in calls:
        if not call.signs_in:
            of_vendor = found.setdefault(call.vendor, {"read": 0, "write": 0})
            of_vendor["write" if call.writes else "read"] += 1
    return dict(sorted(found.items()))
