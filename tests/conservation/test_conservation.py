"""A short version of ``make conservation``: every kind of contract through two months with faults at the
vendors, replayed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.firm import Zygote
from tests.conservation.drive import books
from tests.conservation.exposure import Exposure, exposure
from tests.conservation.generate import KINDS, Generator
from tests.conservation.months import Result, two_months
from tests.conservation.terms import DECIMALS, METHODS

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(900)]
SEED = 7


@dataclass
class Found:
    """What the one firm of this module went through."""

    clean: Result
    exposure: Exposure


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return asyncio.run(_all(tmp_path_factory.mktemp("conservation") / "firm"))


async def _all(folder: Path) -> Found:
    clean, zygote = Generator(SEED).cases(len(KINDS)), Zygote()
    try:
        async with books(folder, zygote, clean) as one:
            result = await two_months(one, clean, disturbed=True)
            return Found(result, exposure(await one.writes("netsuite"), await one.approvals()))
    finally:
        zygote.stop()


def test_every_amount_is_accounted_for(found: Found) -> None:
    assert found.clean.findings == []
    assert found.clean.cases == 2 * len(KINDS)


def test_it_looked_at_what_it_is_there_for(found: Found) -> None:
    last = found.clean.last
    assert min(last.revisions, last.postings, last.lines) > 50
    assert last.invoices > len(KINDS)
    assert last.credits > 0
    assert set(found.clean.methods) == set(METHODS)
    assert set(found.clean.kinds) == {kind.__name__ for kind in KINDS}
    assert len(found.clean.currencies) > len(KINDS) // 2
    assert len(DECIMALS) == 12


def test_the_faults_were_there(found: Found) -> None:
    assert {kind for kind, times in found.clean.faults.items() if times} >= {
        "drop_after",
        "drop_before",
        "error_after",
        "error_before",
        "rate_limit",
        "slow_commit",
    }


def test_a_replay_writes_nothing(found: Found) -> None:
    assert found.clean.replayed == []


def test_nothing_was_sent_without_a_standing_approval(found: Found) -> None:
    assert found.exposure.sent > 50
    assert found.exposure.violations == []
