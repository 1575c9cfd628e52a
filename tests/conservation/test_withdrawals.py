"""A short version of ``make billing-exposure``: approvals go while their lines are being posted."""

from __future__ import annotations

import asyncio

import pytest

from tests.conservation.exposure import LIMIT
from tests.conservation.withdrawals import SHARE, Outcome, run

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(400)]
LINES = 300


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return asyncio.run(run(tmp_path_factory.mktemp("withdrawals"), LINES, patience=120))


def test_approvals_were_withdrawn_before_and_after_their_lines_were_sent(done: Outcome) -> None:
    assert 0 < done.withdrawn <= LINES // SHARE
    assert done.dropped + done.reversed == done.withdrawn
    assert done.reversed > 0


def test_no_line_was_sent_whose_approval_had_long_been_gone(done: Outcome) -> None:
    assert done.exposure.sent > LINES // 2
    assert done.exposure.longest <= LIMIT
    assert done.exposure.violations == []


def test_the_next_run_takes_back_what_lost_its_approval(done: Outcome) -> None:
    assert done.findings == []
    assert done.replayed == 0
