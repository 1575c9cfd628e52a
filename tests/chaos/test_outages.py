"""Short outages inside ``make test``, longer than the server's retries; ``make chaos-outages``: long ones."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.chaos.firm import ChaosFirm, Zygote
from tests.chaos.outage_kinds import LedgerKilled, Outage, TemporalKilled, VendorRefuses
from tests.chaos.outages import FIRST_NUMBER, Result, endure, postgres_or_none

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(400)]
DEALS, SECONDS = 5, 3.0


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """One outage after the other on one firm, run once."""
    with postgres_or_none() as postgres:
        outages: list[Outage] = [TemporalKilled(), VendorRefuses("netsuite")]
        if postgres is not None:
            outages.append(LedgerKilled(postgres))
        ledger = postgres.url(postgres.new_database()) if postgres else ""
        return asyncio.run(_endure_all(tmp_path_factory.mktemp("outages") / "firm", outages, ledger))


async def _endure_all(folder: Path, outages: list[Outage], ledger: str) -> dict[str, Result]:
    zygote, found = Zygote(), dict[str, Result]()
    firm = ChaosFirm(folder, zygote, ledger=ledger, database=folder / "temporal.db")
    try:
        await firm.open()
        for place, outage in enumerate(outages):
            first = FIRST_NUMBER + place * DEALS
            found[outage.name] = await endure(firm, outage, count=DEALS, first=first, seconds=SECONDS)
    finally:
        await firm.close()
        zygote.stop()
    return found


def test_a_killed_temporal_server_costs_only_time(results: dict[str, Result]) -> None:
    assert results["temporal killed"].problems == []


def test_a_vendor_that_is_away_is_waited_for(results: dict[str, Result]) -> None:
    found = results["netsuite away"]
    assert found.problems == []
    assert found.figures["cases_opened"] == found.figures["cases_closed"] > 0


def test_a_killed_ledger_is_waited_for(results: dict[str, Result]) -> None:
    if "ledger killed" not in results:
        message = "PostgreSQL's server programs are not installed: the ledger's outage is not tested"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    assert results["ledger killed"].problems == []
    assert results["ledger killed"].figures["waited"] > 0
