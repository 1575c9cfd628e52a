"""A short piece of time-to-billing's chaos table inside ``make test``; the long one is
``make chaos SAGA=time-to-billing``.

One small month: answers lost of the posting and of the invoice, a worker killed, cancels while it is posted
and selected, an undo that is refused.
"""

from __future__ import annotations

import pytest

from tests.chaos.billing_play import MonthSubject
from tests.chaos.cells import Fault
from tests.chaos.short import MONTH, Ran, run_picked

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Every case of the short version, run once."""
    return run_picked(tmp_path_factory.mktemp("chaos-billing"), MonthSubject(), MONTH)


def test_a_lost_answer_posts_and_bills_nothing_twice(ran: Ran) -> None:
    assert ran.ends(Fault.LOST) == {"complete"}


def test_a_killed_worker_leaves_nothing_half_billed(ran: Ran) -> None:
    assert ran.ends(Fault.KILL_AFTER) == {"complete"}


def test_a_cancel_stops_posting_and_undoes_what_is_not_issued(ran: Ran) -> None:
    ends = {"stopped, then next run complete", "undone, then next run complete"}
    assert ran.ends(Fault.CANCEL_DURING) == ends


def test_an_undo_that_is_refused_names_the_draft_and_can_be_finished(ran: Ran) -> None:
    assert ran.ends(Fault.UNDO_REFUSED) == {"undo-blocked, then undone, then next run complete"}
