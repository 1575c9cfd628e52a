"""A short piece of time-to-billing's chaos table inside ``make test``; the long one is
``make chaos SAGA=time-to-billing``.

One small month: answers lost of the posting and of the invoice, a worker killed, cancels while it is posted
and selected, an undo that is refused.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from tests.chaos.billing_play import MonthSubject
from tests.chaos.case import Result
from tests.chaos.cells import Fault
from tests.chaos.firm import Zygote
from tests.chaos.harness import Chaos
from tests.chaos.short import MONTH, short_month

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(600)]
LANES = 2


@dataclass
class Ran:
    """What came out."""

    results: list[Result]

    def ends(self, *faults: Fault) -> set[str]:
        """How the cases of these faults ended; none may have failed."""
        found = [one for one in self.results if one.cell.fault in faults]
        assert len(found) == sum(fault in faults for _, fault, _ in MONTH)
        assert {one.cell.key: one.problems for one in found if not one.passed} == {}
        assert sum(one.duplicates + one.orphans for one in found) == 0
        return {one.end for one in found}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Every case of the short version, run once."""
    work = tmp_path_factory.mktemp("chaos-billing")
    results: list[Result] = []

    async def run() -> None:
        zygote = Zygote()
        try:
            runner = Chaos(work, LANES, zygote, MonthSubject(), results.append)
            await runner.record([0])
            await runner.run(short_month(runner.recordings[0]))
        finally:
            zygote.stop()

    asyncio.run(run())
    return Ran(results)


def test_a_lost_answer_posts_and_bills_nothing_twice(ran: Ran) -> None:
    assert ran.ends(Fault.LOST) == {"complete"}


def test_a_killed_worker_leaves_nothing_half_billed(ran: Ran) -> None:
    assert ran.ends(Fault.KILL_AFTER) == {"complete"}


def test_a_cancel_stops_posting_and_undoes_what_is_not_issued(ran: Ran) -> None:
    ends = {"stopped, then next run complete", "undone, then next run complete"}
    assert ran.ends(Fault.CANCEL_DURING) == ends


def test_an_undo_that_is_refused_names_the_draft_and_can_be_finished(ran: Ran) -> None:
    assert ran.ends(Fault.UNDO_REFUSED) == {"undo-blocked, then undone, then next run complete"}
