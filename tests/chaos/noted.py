"""A play of a saga whose calls name the activity that makes them (``tests.chaos.noting``)."""

from __future__ import annotations

import re
from typing import Any

from tests.chaos.firm import ChaosFirm
from tests.chaos.noting import Note, read
from tests.chaos.plays import NotProven, Play
from tests.chaos.recording import Call


class NotedPlay(Play):
    """Finds what was hit in the vendors' logs of calls."""

    def __init__(self, firm: ChaosFirm) -> None:
        super().__init__(firm)
        self.calls: dict[str, int] = {}
        """How many calls every vendor had seen when the case began."""

    def held_by(self, note: Note) -> None:
        """Whose call it is that is held."""

    async def holds(self, call: Call) -> bool:
        """Whether the delay has begun."""
        if not await super().holds(call):
            return False
        for row in await self._rows(call):
            note = read(row["note"])
            if row["status"] is None and note is not None:
                self.held_by(note)
        return True

    async def check_hit(self, call: Call) -> None:
        """Its activity must have made the call."""
        rows = await self._rows(call)
        if len(rows) <= call.skip:
            raise NotProven(f"{call.activity} called {call.method} {call.pattern} {len(rows)} times only")

    async def _rows(self, call: Call) -> list[dict[str, Any]]:
        """The activity's calls of this kind."""
        rows = (await self.firm.control(call.vendor, "GET", "calls"))["calls"][self.calls[call.vendor] :]
        return [
            row
            for row in rows
            if row["method"] == call.method
            and re.search(call.pattern, row["path"])
            and (note := read(row["note"])) is not None
            and note.activity == call.activity
        ]
