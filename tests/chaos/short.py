"""The short version of the chaos table: what ``make test`` runs and every planted bug meets."""

from __future__ import annotations

from tests.chaos.cells import Cell, Fault, cell, kinds
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


MONTH = (
    ("posting.post", Fault.LOST, 0),
    ("bill.issue", Fault.LOST, 0),
    ("posting.post", Fault.KILL_AFTER, 0),
    ("posting.post", Fault.CANCEL_DURING, 0),
    ("bill.select", Fault.CANCEL_DURING, 0),
    ("bill.draft", Fault.UNDO_REFUSED, 0),
)
"""Of a month that is closed: step, fault, and which of the step's kinds of writes."""


def short_month(recording: Recording) -> list[Cell]:
    """One case of each kind; all of them are for the long table."""
    cells = []
    for name, fault, number in MONTH:
        step = step_like(recording, name)
        turn = kinds(step)[number] if fault is Fault.LOST else 0
        cells.append(cell(0, recording, step, fault, turn=turn, number=number))
    return cells
