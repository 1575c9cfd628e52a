"""A short version of ``make billing-kills``: three batches, every worker process killed after each."""

from __future__ import annotations

import asyncio

import pytest

from tests.conservation.kills import BATCH, Closed, compare

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(400)]
LINES, LOSE = 3 * BATCH, 3
"""One answer of three is lost: so few lines take few calls."""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Closed, Closed]:
    """The same month undisturbed and disturbed."""
    return asyncio.run(compare(tmp_path_factory.mktemp("kills"), LINES, patience=170, lose=LOSE))


def test_the_disturbance_was_there(both: tuple[Closed, Closed]) -> None:
    _, disturbed = both
    assert disturbed.kills >= LINES // BATCH
    assert disturbed.lost > 0


def test_the_invoices_are_those_of_the_undisturbed_month(both: tuple[Closed, Closed]) -> None:
    calm, disturbed = both
    assert calm.invoices
    assert disturbed.invoices == calm.invoices


def test_nothing_is_billed_twice_and_nothing_is_lost(both: tuple[Closed, Closed]) -> None:
    for one in both:
        assert (one.twice, one.missing) == (0, 0)
        assert one.findings == []
        assert one.postings == LINES
