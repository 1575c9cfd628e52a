"""What the chaos table needs to know of a saga: a *subject* says how its firms are made and how an
undisturbed run is recorded; a *play* is one run of it with data of its own: seeded, started, watched, judged.

Cells, faults, sharding, resuming and printing know nothing else of a saga.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.cells import Cell, cells_of
from tests.chaos.firm import ChaosFirm, Zygote
from tests.chaos.recording import Call, Recording
from tests.chaos.verdict import Verdict

HUNG = 90.0
"""Seconds until a run that has not come to rest counts as hung."""


class NotProven(Exception):
    """The timing of the case was not met; it says nothing and is run again."""


@dataclass
class Findings:
    """What is wrong, by the vendors' records and by what the runs say."""

    problems: list[str] = field(default_factory=list)
    duplicates: int = 0
    orphans: int = 0

    def say(self, problem: str) -> None:
        """Note what is wrong."""
        self.problems.append(problem)

    def take(self, verdict: Verdict, when: str) -> None:
        """Note what is wrong with the vendors' records at one moment."""
        self.problems += [f"{when}: {one}" for one in verdict.problems]
        self.duplicates += len(verdict.duplicates)
        self.orphans += len(verdict.orphans)


class Play(ABC):
    """One run of a saga, and of whatever it starts."""

    def __init__(self, firm: ChaosFirm) -> None:
        self.firm = firm
        self.found = Findings()

    @abstractmethod
    async def prepare(self) -> None:
        """Seed what the run works on, before any fault is armed."""

    @abstractmethod
    async def start(self) -> None:
        """Start it."""

    @abstractmethod
    async def settle(self, seconds: float) -> str:
        """Wait for its end or for its being stuck; decide at gates on the way. Answers the status."""

    @abstractmethod
    async def status(self) -> str:
        """Where it stands, from the server alone."""

    @abstractmethod
    async def approve(self) -> None:
        """Decide at whatever gate is open; nothing when none is."""

    @abstractmethod
    async def cancel(self) -> None:
        """Cancel it."""

    @abstractmethod
    async def repair(self, action: str) -> None:
        """What an operator decides about everything that is parked."""

    @abstractmethod
    async def renew(self) -> None:
        """Let what is parked continue as new."""

    @abstractmethod
    async def end(self) -> bool:
        """Terminate what has not ended; whether anything had to be."""

    async def leave(self) -> None:
        """The moment was missed: bring to an end what a further attempt must not meet."""
        return

    @abstractmethod
    async def handed_over(self, activity: str, role: str) -> bool:
        """Whether an activity of this name is in the hands of the worker of this role."""

    def has(self, pending: Any, activity: str, role: str) -> bool:
        """Whether a pending activity, as the server describes it, is such a one."""
        named = pending.activity_type.name == activity and pending.last_started_time.seconds
        return bool(named) and pending.last_worker_identity.endswith(f":{self.firm.pids[role]}")

    async def holds(self, call: Call) -> bool:
        """Whether a delay that was armed for a call has begun.

        Raises:
            NotProven: it holds another step's call.
        """
        rows: list[dict[str, Any]] = await self.firm.control(call.vendor, "GET", "faults")
        return any(
            row["fired"] and row["kind"].startswith("delay")
            for row in rows
            if row["path"] == call.pattern and row["method"] == call.method
        )

    async def check_hit(self, call: Call) -> None:
        """Make sure that what was armed for a call hit the step that was meant.

        Raises:
            NotProven: it hit another one.
        """
        return

    @abstractmethod
    async def judge_stuck(self, status: str) -> None:
        """Nothing twice, nothing foreign, and whoever repairs it is told of all that is there."""

    @abstractmethod
    async def judge_end(self, end: str) -> str:
        """The vendors hold exactly what they must. Answers how a run after it ended, where there was one."""

    @abstractmethod
    async def judge_wrong_end(self, end: str) -> None:
        """It ended as it must not: what it says of itself, and what is there twice."""


class Subject(ABC):
    """A saga to try everything on."""

    name: str
    variants = 1
    """How many recordings a seed has: what else can be done with its data."""
    must: tuple[str, ...]
    """Begins of the steps that every seed's table must have: what a recording misses would go untried."""

    @abstractmethod
    def firm(self, folder: Path, zygote: Zygote, **options: Any) -> AbstractAsyncContextManager[ChaosFirm]:
        """A firm of its own for cases or, with options, for a recording."""

    @abstractmethod
    async def record(self, firm: ChaosFirm, seed: int) -> Recording:
        """Take an undisturbed run of a seed apart, and an undo of as much as can be undone."""

    @abstractmethod
    def play(self, firm: ChaosFirm, recording: Recording, cell: Cell, number: int) -> Play:
        """A fresh copy of the cell's seed; no other copy of this firm has the number."""

    def cells(self, seed: int, recording: Recording) -> Iterator[Cell]:
        """All cases of one seed."""
        return cells_of(seed, recording)
