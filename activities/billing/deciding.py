"""What all parts of billing have that decide over lines by gathered facts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from activities.billing.gathering import Gathering
from activities.systems import Systems
from canonical.firm import GatePolicy
from ledger.store import Ledger

ANYBODY = GatePolicy(roles=())
"""Where the firm names nobody, anybody decides at the gate; nothing happens without a decision."""


class Deciding:
    """Base of the parts that keep what they find or decide over facts. One of each per worker process."""

    def __init__(
        self,
        systems: Systems,
        ledger: Ledger,
        gathering: Gathering,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.systems = systems
        self.ledger = ledger
        self.gathering = gathering
        self._now = clock
