"""A system that takes calls and answers none is left alone for a moment.

Each silent call keeps one of the system's few connections, and one of the worker's slots, for as long as its
time limit says. With many sagas in flight all wait in that queue, none can say so, and nobody sees why. After
a few calls in a row without any answer the others are told at once, unsent; one after another tries again.

Refused connections need none of this: they fail by themselves, at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

SILENT_CALLS = 3
"""In a row and without any answer between them: one lost answer is no silence, nor are two."""
LOST_AFTER = 1.0
"""Seconds on the wire from which a call that its caller gave up counts: sooner, it was no fault of theirs."""
PAUSE = 10.0
"""Seconds until the next call may try; it costs at most as much once the system answers again."""


@dataclass
class Silence:
    """How long a system has been silent. One per session; no lock is needed within one event loop."""

    clock: Callable[[], float] = monotonic
    unanswered: int = 0
    """Calls in a row."""
    _next: float = field(default=0.0, repr=False)

    def may_call(self) -> bool:
        """Whether a call may be sent now. While the system is silent: one for each pause, to try."""
        if self.unanswered < SILENT_CALLS:
            return True
        if self.clock() < self._next:
            return False
        self._next = self.clock() + PAUSE
        return True

    def answered(self) -> None:
        """Any answer, a refusal too: the system is there."""
        self.unanswered = 0

    def no_answer(self, seconds: float) -> None:
        """A call ended without any answer after this many seconds on the wire."""
        if seconds < LOST_AFTER:
            return
        self.unanswered += 1
        if self.unanswered >= SILENT_CALLS:
            self._next = self.clock() + PAUSE
