"""What the routes work with: settings, receivers, the ledger, Temporal and the connected systems."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.api.callers import Callers
from gateway.dispatch import Dispatcher
from gateway.relay import Relay
from runtime.settings import Settings
from wiring.events import Desk
from wiring.webhooks import Receiver


@dataclass(frozen=True)
class Front:
    """One process's front door."""

    settings: Settings
    desk: Desk
    receivers: Mapping[str, Receiver]
    dispatcher: Dispatcher
    relay: Relay
    callers: Callers
    clock: Callable[[], datetime] | None = None
    """For tests; the system's own otherwise."""

    def now(self) -> datetime:
        """The present moment."""
        return datetime.now(UTC) if self.clock is None else self.clock()
