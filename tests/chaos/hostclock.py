"""A worker host whose clock is wrong: steps as an administrator, a virtual machine that wakes up or a time
server makes them, while the processes run.

``follow`` is called in a worker process (``tests.chaos.zygote``). From then on everything in it that asks
for the time of day (leases, deadlines, audit rows, signed assertions) hears the real time plus the seconds in
the file ``clock`` beside the configuration. Pauses and timers use the monotonic clock, which no step moves.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from activities.sending import Sending
from ledger.core import Core

FILE = "clock"


def follow(command: dict[str, Any]) -> None:
    """Put the host's clock in place of the real one."""
    file = Path(command["config"]).parent / FILE

    def offset() -> float:
        return float(file.read_text() or 0) if file.exists() else 0.0

    def now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=offset())

    def of_day() -> float:
        return real() + offset()

    real = time.time
    for owner, name in ((Sending, "_now"), (Core, "_clock")):
        _always(owner, name, now)
    for module in [one for name, one in sys.modules.items() if name.startswith("connectors.")]:
        if getattr(module, "time", None) is real:
            vars(module)["time"] = of_day


def step(folder: Path, seconds: float) -> None:
    """Set the clock of a firm's host to so many seconds from the real time."""
    part = folder / f"{FILE}.part"
    part.write_text(str(seconds))
    part.replace(folder / FILE)


def _always(owner: type, name: str, value: Any) -> None:
    """An attribute that stays what it is, whatever the instance sets."""
    setattr(owner, name, property(lambda _: value, lambda _, __: None))
