"""Time-to-billing on the real server with the simulated vendors: a month of time becomes an invoice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from canonical.saga import SagaStatus, SagaView
from tests.e2e.billing_firm import Month
from tests.e2e.firm import local_firm

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def month(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Month]:
    folder: Path = tmp_path_factory.mktemp("billing")
    async with local_firm(folder) as firm:
        yield Month(firm)


async def test_a_month_of_time_becomes_an_invoice(month: Month) -> None:
    project = await month.project()
    entries = month.time(project, 2, 3, 4, 5, 6)
    run = await month.start()
    (group,) = await _groups(month)
    await month.decide(group)
    view = await month.until(run, SagaStatus.COMPLETE)
    posted = month.posted(project)
    assert len(posted) == len(entries)
    assert {row["hours"] for row in posted} == {"8:00"}
    (invoice,) = month.invoices()
    assert invoice["subtotal"] == 5 * 8 * 150
    assert view.headline.endswith("1 billed: EUR 6,000.00.")
    assert month.twice() == []


async def _groups(month: Month) -> list[WorkflowHandle[Any, SagaView]]:
    import asyncio

    for _ in range(600):
        found = await month.group_runs()
        if found:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError("no group run")
