"""A worker that stands still the moment a chosen activity is handed to it: it stops itself (SIGSTOP), before
the activity has done anything. So a step that calls no vendor can be hit as exactly as a call can.

What to stop at stands in a file beside the firm's workers, one a role; it is gone once the worker stands.
``stop`` is called in a worker process (``tests.chaos.zygote``).
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    Worker,
)

STOP = "tests.chaos.stopping:stop"
"""The patch."""


@dataclass
class Stop:
    """Where a role's worker is to stand still."""

    file: Path

    @classmethod
    def of(cls, folder: Path, role: str) -> Stop:
        """The one of a role in a firm's folder."""
        return cls(folder / f"stop-{role.partition(',')[0]}.json")

    def arm(self, name: str, skip: int) -> None:
        """Stand still at an activity, after so many of its name."""
        beside = self.file.with_suffix(".new")
        beside.write_text(json.dumps({"activity": name, "skip": skip}))
        beside.replace(self.file)

    def disarm(self) -> None:
        """Stand still nowhere."""
        self.file.unlink(missing_ok=True)

    @property
    def reached(self) -> bool:
        """Whether the worker stands there."""
        return not self.file.exists()

    def at(self, name: str) -> None:
        """An activity begins in this process."""
        try:
            wanted = json.loads(self.file.read_text())
        except FileNotFoundError:
            return
        if wanted["activity"] != name:
            return
        if wanted["skip"]:
            self.arm(name, wanted["skip"] - 1)
            return
        self.disarm()
        os.kill(os.getpid(), signal.SIGSTOP)


class _Inbound(ActivityInboundInterceptor):
    def __init__(self, next_: ActivityInboundInterceptor, stop: Stop) -> None:
        super().__init__(next_)
        self._stop = stop

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        self._stop.at(activity.info().activity_type)
        return await super().execute_activity(input)


class _Stops(Interceptor):
    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Inbound(next, self._stop)


def stop(command: dict[str, Any]) -> None:
    """Make the process's Temporal workers look for the file."""
    found = Stop.of(Path(command["ready"]).parent, command["queues"])
    honest = Worker.__init__

    def begin(self: Worker, *arguments: Any, **more: Any) -> None:
        more["interceptors"] = [*more.get("interceptors", ()), _Stops(found)]
        honest(self, *arguments, **more)

    worker: Any = Worker
    worker.__init__ = begin
