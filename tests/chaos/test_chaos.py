"""A short piece of the chaos table inside ``make test``; ``make chaos`` runs all of it.

One deal: every write's answer lost, some workers killed, a cancel in every step, a step parked half-way that
is cancelled, moved to another run, undone by decision; an undo that is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from cli.local import deals
from tests.chaos.case import Result
from tests.chaos.cells import Cell, End, Fault
from tests.chaos.deal_play import Deals
from tests.chaos.firm import Zygote
from tests.chaos.harness import Chaos
from tests.chaos.recording import Recording
from tests.chaos.short import short_cells

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(400)]
LANES = 2


@dataclass
class Ran:
    """What was recorded and what came out."""

    recording: Recording
    cells: list[Cell]
    results: list[Result]

    def of(self, *faults: Fault) -> list[Result]:
        """Results of these faults; every one that was asked for must be there."""
        wanted = [one.key for one in self.cells if one.fault in faults]
        found = [one for one in self.results if one.cell.fault in faults]
        assert sorted(one.cell.key for one in found) == sorted(wanted)
        assert found
        return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Every case of the short version, run once."""
    work = tmp_path_factory.mktemp("chaos")
    results: list[Result] = []

    async def run() -> Ran:
        zygote = Zygote()
        try:
            runner = Chaos(work, LANES, zygote, Deals([deals.NORTHWIND]), results.append)
            await runner.record([0])
            cells = short_cells(runner.recordings[0])
            await runner.run(cells)
        finally:
            zygote.stop()
        return Ran(runner.recordings[0], cells, results)

    return asyncio.run(run())


def clean(results: Sequence[Result]) -> None:
    """No case failed, nothing is there twice, nothing is left behind."""
    assert {one.cell.key: one.problems for one in results if not one.passed} == {}
    assert sum(one.duplicates for one in results) == 0
    assert sum(one.orphans for one in results) == 0


def test_a_lost_answer_makes_nothing_twice(ran: Ran) -> None:
    results = ran.of(Fault.LOST)
    assert len(results) == ran.recording.writes
    clean(results)


def test_a_killed_worker_leaves_nothing_half_done(ran: Ran) -> None:
    clean(ran.of(Fault.KILL_LATE, Fault.KILL_AFTER, Fault.KILL_BEFORE, Fault.KILL_ALL))


def test_a_cancel_undoes_everything_before_activation_and_nothing_after(ran: Ran) -> None:
    results = ran.of(Fault.CANCEL_DURING)
    assert len(results) == len(ran.recording.steps)
    assert {one.cell.end for one in results} == {End.UNDONE, End.COMPLETE}
    clean(results)


def test_what_was_begun_is_undone_however_the_saga_was_parked_moved_and_cancelled(ran: Ran) -> None:
    results = ran.of(Fault.CANCEL_PARKED, Fault.RENEWED, Fault.CANCEL_DECIDED)
    assert {one.end for one in results} == {"undone", "parked, then complete"}
    clean(results)


def test_an_undo_that_is_refused_names_every_survivor_and_can_be_finished(ran: Ran) -> None:
    (result,) = ran.of(Fault.UNDO_REFUSED)
    assert result.end == "undo-blocked, then undone"
    clean([result])
