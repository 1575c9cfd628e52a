"""The daily request allowance: a rolling 24 hours, shown on every answer, refused when used up.

Source: vendor documentation, "Limit Info Header", "API Request Limits and Allocations", "Limits" resource.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Any

from simulators.kit import Answer, Clock
from simulators.salesforce.errors import refusal

WINDOW = timedelta(hours=24)


class Limits:
    """Counts data-API requests."""

    def __init__(self, clock: Clock, settings: dict[str, Any]) -> None:
        self.clock = clock
        self.settings = settings
        self._taken: deque[datetime] = deque()

    def clear(self) -> None:
        """Forget the requests counted so far."""
        self._taken.clear()

    @property
    def used(self) -> int:
        """Requests in the last 24 hours, with those that others are said to have used (``api_used``)."""
        start = self.clock.now() - WINDOW
        while self._taken and self._taken[0] < start:
            self._taken.popleft()
        return len(self._taken) + int(self.settings["api_used"])

    @property
    def allowed(self) -> int:
        """Requests allowed in 24 hours."""
        return int(self.settings["api_limit"])

    def take(self, count: int = 1) -> None:
        """Count requests.

        Raises:
            VendorError: 403 REQUEST_LIMIT_EXCEEDED when nothing is left.
        """
        if self.used >= self.allowed:
            raise refusal(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        self._taken.extend(self.clock.now() for _ in range(count))

    def header(self, *, exhausted: bool = False) -> dict[str, str]:
        """``Sforce-Limit-Info``; never shows more than the limit."""
        used = self.allowed if exhausted else min(self.used, self.allowed)
        return {"Sforce-Limit-Info": f"api-usage={used}/{self.allowed}"}

    def resource(self) -> Answer:
        """``GET /limits``."""
        left = max(0, self.allowed - self.used)
        return Answer(
            200,
            {
                "DailyApiRequests": {"Max": self.allowed, "Remaining": left},
                "DailyAsyncApexExecutions": {"Max": 250000, "Remaining": 250000},
                "DailyBulkApiBatches": {"Max": 15000, "Remaining": 15000},
                "DataStorageMB": {"Max": 10240, "Remaining": 10200},
                "FileStorageMB": {"Max": 10240, "Remaining": 10240},
            },
        )
