"""The short version of the chaos table: what ``make test`` runs and every planted bug meets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.case import Result
from tests.chaos.cells import Cell, Fault, cell, kinds
from tests.chaos.firm import Zygote
from tests.chaos.harness import Chaos
from tests.chaos.plays import Subject
from tests.chaos.recording import Recording, Step

KILLED = ("clients.netsuite-emea", "contract", "structure", "activate")
"""One step of each kind; every one dies in another way."""


def short_cells(recording: Recording) -> list[Cell]:
    """Every write's answer lost, a cancel in every step, some kills; one step parked half-way."""
    cells = []
    for step in recording.steps:
        cells += [
            cell(0, recording, step, Fault.LOST, turn=number, number=number)
            for number in range(len(step.writes))
        ]
        cells.append(cell(0, recording, step, Fault.CANCEL_DURING, turn=0))
    kills = (Fault.KILL_LATE, Fault.KILL_AFTER, Fault.KILL_BEFORE, Fault.KILL_ALL)
    for turn, (name, fault) in enumerate(zip(KILLED, kills, strict=True)):
        cells.append(cell(0, recording, step_like(recording, name), fault, turn=turn))
    return [*cells, *half_way(recording), refused_undo(recording)]


def half_way(recording: Recording) -> list[Cell]:
    """A step that parks when some of its records exist: it is cancelled, it continues as new; everything is
    undone by decision and cancelled meanwhile.
    """
    contract = step_like(recording, "contract")
    last = len(contract.writes) - 1
    return [
        cell(0, recording, contract, Fault.CANCEL_PARKED, turn=last),
        cell(0, recording, contract, Fault.RENEWED, turn=last),
        cell(0, recording, contract, Fault.CANCEL_DECIDED, turn=0),
    ]


def refused_undo(recording: Recording) -> Cell:
    """An undo that needs a person."""
    return cell(0, recording, step_like(recording, "contract"), Fault.UNDO_REFUSED, turn=0)


def step_like(recording: Recording, name: str) -> Step:
    """The first step whose id begins so."""
    return next(one for one in recording.steps if one.id.startswith(name))


Pick = tuple[str, Fault, int]
"""How a step's id begins, a fault, and which of the step's kinds of writes is hit."""

MONTH: tuple[Pick, ...] = (
    ("posting.post", Fault.LOST, 0),
    ("bill.issue", Fault.LOST, 0),
    ("posting.post", Fault.KILL_AFTER, 0),
    ("posting.post", Fault.CANCEL_DURING, 0),
    ("bill.select", Fault.CANCEL_DURING, 0),
    ("bill.draft", Fault.UNDO_REFUSED, 0),
)
"""Of a month that is closed."""
INVOICE: tuple[Pick, ...] = (
    ("follow.show opportunity", Fault.LOST, 0),
    ("follow.show project", Fault.KILL_AFTER, 0),
    ("follow.show account", Fault.CANCEL_DURING, 0),
    ("follow.show account", Fault.REFUSED, 0),
)
"""Of a settled invoice."""
CHANGE: tuple[Pick, ...] = (
    ("order.contract", Fault.LOST, 0),
    ("order.delivery", Fault.KILL_AFTER, 0),
    ("order.contract", Fault.CANCEL_DURING, 0),
    ("order.contract", Fault.UNDO_REFUSED, 0),
)
"""Of a changed contract."""


def picked(recording: Recording, picks: Sequence[Pick]) -> list[Cell]:
    """One case of each kind; all of them are for the long table."""
    cells = []
    for name, fault, number in picks:
        step = step_like(recording, name)
        turn = kinds(step)[number] if fault is Fault.LOST else 0
        cells.append(cell(0, recording, step, fault, turn=turn, number=number))
    return cells


@dataclass
class Ran:
    """What came out of some cases."""

    picks: tuple[Pick, ...]
    results: list[Result]

    def ends(self, *faults: Fault) -> set[str]:
        """How the cases of these faults ended; none may have failed."""
        found = [one for one in self.results if one.cell.fault in faults]
        assert len(found) == sum(fault in faults for _, fault, _ in self.picks)
        assert {one.cell.key: one.problems for one in found if not one.passed} == {}
        assert sum(one.duplicates + one.orphans for one in found) == 0
        return {one.end for one in found}


def run_picked(work: Path, subject: Subject, picks: tuple[Pick, ...], lanes: int = 2) -> Ran:
    """Record a saga's first seed and run some of its cases."""
    results: list[Result] = []

    async def run() -> None:
        zygote = Zygote()
        try:
            runner = Chaos(work, lanes, zygote, subject, results.append)
            await runner.record([0])
            await runner.run(picked(runner.recordings[0], picks))
        finally:
            zygote.stop()

    asyncio.run(run())
    return Ran(picks, results)
