"""A short piece of the chaos table of change orders inside ``make test``; the long one is
``make chaos SAGA=change-order``.

One change of a contract: an answer lost, a worker killed after the vendor has done it, a cancel, an undo that
is refused.
"""

from __future__ import annotations

import pytest

from tests.chaos.cells import Fault
from tests.chaos.change_play import ChangeSubject
from tests.chaos.short import CHANGE, Ran, run_picked

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Every case of the short version, run once."""
    return run_picked(tmp_path_factory.mktemp("chaos-changes"), ChangeSubject(), CHANGE)


def test_a_lost_answer_or_a_killed_worker_changes_nothing_twice(ran: Ran) -> None:
    assert ran.ends(Fault.LOST, Fault.KILL_AFTER) == {"complete"}


def test_a_cancel_before_the_terms_are_agreed_leaves_the_contract_as_it_was(ran: Ran) -> None:
    assert ran.ends(Fault.CANCEL_DURING) == {"undone"}


def test_an_undo_that_is_refused_is_somebodys_matter_and_then_finished(ran: Ran) -> None:
    assert ran.ends(Fault.UNDO_REFUSED) == {"undo-blocked, then undone"}
