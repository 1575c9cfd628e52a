"""The simulator's clock: real UTC time plus an offset that a test may move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Clock:
    """UTC time shifted by ``offset``; strictly increasing in microseconds, so stamps can be ordered."""

    def __init__(self) -> None:
        self.offset = timedelta(0)
        self._last = datetime.min.replace(tzinfo=UTC)

    def reset(self) -> None:
        """Back to real time; without this a clock once moved ahead would stand still until then."""
        self.__init__()  # type: ignore[misc]

    def now(self) -> datetime:
        """The simulator's current instant (UTC, never equal to an earlier answer)."""
        now = datetime.now(UTC) + self.offset
        if now <= self._last:
            now = self._last + timedelta(microseconds=1)
        self._last = now
        return now
