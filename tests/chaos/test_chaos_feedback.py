"""A short piece of invoice-feedback's chaos table inside ``make test``; the long one is
``make chaos SAGA=invoice-feedback``.

One settled invoice: a lost answer, a worker killed after the vendor has done it, a cancel, a refused figure.
"""

from __future__ import annotations

import pytest

from tests.chaos.cells import Fault
from tests.chaos.feedback_play import FeedbackSubject
from tests.chaos.short import INVOICE, Ran, run_picked

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Every case of the short version, run once."""
    return run_picked(tmp_path_factory.mktemp("chaos-feedback"), FeedbackSubject(), INVOICE)


def test_a_lost_answer_or_a_killed_worker_shows_nothing_twice(ran: Ran) -> None:
    assert ran.ends(Fault.LOST, Fault.KILL_AFTER) == {"complete"}


def test_what_a_cancel_stops_the_next_event_shows(ran: Ran) -> None:
    assert ran.ends(Fault.CANCEL_DURING) == {"stopped, then next event complete"}


def test_a_refused_figure_is_somebodys_matter_and_then_shown(ran: Ran) -> None:
    assert ran.ends(Fault.REFUSED) == {"parked, then complete"}
