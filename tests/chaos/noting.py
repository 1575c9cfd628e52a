"""Every call that a worker makes to a vendor says which activity makes it, in a header that the simulators
only write down (``x-sim-note``). So a recording knows exactly which step made which call, and a case whose
fault hit another step than the one meant is noticed.

``note`` is called in a worker process (``tests.chaos.zygote``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
from temporalio import activity

HEADER = "x-sim-note"
NOTING = "tests.chaos.noting:note"
"""The patch."""


@dataclass(frozen=True)
class Note:
    """Who made a call."""

    workflow: str
    """The workflow's id."""
    activity: str
    """The activity's name."""
    id: str
    """The activity's id in its workflow run."""
    run: str


def note(_: dict[str, Any]) -> None:
    """Make the process's HTTP clients say which activity calls."""
    honest = httpx.AsyncClient.send

    async def send(self: httpx.AsyncClient, request: httpx.Request, **more: Any) -> httpx.Response:
        if activity.in_activity():
            info = activity.info()
            parts = (info.workflow_id, info.activity_type, info.activity_id, info.workflow_run_id)
            request.headers[HEADER] = "|".join(str(part) for part in parts)
        return await honest(self, request, **more)

    vars_of: Any = httpx.AsyncClient
    vars_of.send = send


def read(text: str | None) -> Note | None:
    """A note as it stands in a vendor's log of calls; None where a call has none."""
    if not text or text.count("|") != 3:
        return None
    return Note(*text.split("|"))
