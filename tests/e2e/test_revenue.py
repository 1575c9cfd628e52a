"""Revenue follow-up on the real server with the simulated vendors, by its commands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cli.output import Exit
from tests.e2e.billing_firm import Month
from tests.e2e.billing_terms import ERP
from tests.e2e.firm import local_firm
from tests.replay.revenue import ESTIMATE, by_input

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]
WHAT = ("2026-11", "--entity", "NL01")
START = ("start", "revenue-follow-up", *WHAT)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def month(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Month]:
    folder: Path = tmp_path_factory.mktemp("revenue")
    async with local_firm(folder) as firm:
        yield Month(firm)


async def typed(month: Month, *arguments: str, code: int = Exit.DONE) -> dict[str, Any]:
    ended, out, err = await month.firm.trueup(*arguments, "--json")
    assert ended == code, out + err
    found: dict[str, Any] = json.loads(out)
    return found


def job(month: Month, id_: str) -> dict[str, Any]:
    (found,) = (one for one in month.firm.records(ERP, "job") if str(one["id"]) == id_)
    return dict(found)


async def test_a_month_is_planned_sent_once_recognised_and_compared(month: Month) -> None:
    project = await by_input(month, 2, 3)
    held = await by_input(month, estimate=None)
    deal = await month.project()

    planned = await typed(month, *START, "--plan", "--timeout", "60")
    (write,) = planned["writes"]
    assert write["title"].startswith("Tell the progress of")
    assert "custentity_trueup_minutes" not in job(month, project.job)

    ended, out, err = await month.firm.trueup(*START, "--wait", "--timeout", "90")
    assert ended == Exit.DONE, out + err
    assert "3 contracts of NL01 for 2026-11: 1 sent, 1 nothing to send, 1 held." in out.splitlines()[0]
    shown = job(month, project.job)
    assert (shown["custentity_trueup_minutes"], shown["custentity_trueup_minutes_left"]) == (
        960,
        ESTIMATE - 960,
    )
    assert "custentity_trueup_minutes" not in job(month, held.job)

    links = await month.firm.ledger.links_of("contract", deal.contract, system=ERP)
    order = links[-1].record.id
    month.firm.control(ERP, "POST", "recognise", {"order": order, "amount": 1000})
    again = await typed(month, *START, "--wait", "--timeout", "90")
    assert "unchanged" in again["run"]["headline"]
    found = await typed(month, "revenue", *WHAT)
    rows = {one["contract_key"]: one for one in found["contracts"]}
    assert rows[project.contract]["figures"]["delivered"]["amount"] == "2400.00"
    assert rows[project.contract]["figures"]["delivered_minutes"] == 960
    assert rows[held.contract]["findings"][0]["cause"] == "ESTIMATE_MISSING"
    assert rows[deal.contract]["figures"]["recognised"]["amount"] == "1000.00"
    kinds = {one["kind"] for one in rows[deal.contract]["differences"]}
    assert {"recognised above delivered", "contract asset"} <= kinds
    await shown_to_sales(month, deal.contract.split(".")[0], 1000)


async def shown_to_sales(month: Month, deal: str, amount: int) -> None:
    """The contract's feedback saga shows what was recognised on the deal."""
    for _ in range(300):
        for one in month.firm.records("sf-main", "Opportunity"):
            if str(one["Id"]).startswith(deal[:15]) and one.get("Recognised_Revenue__c") == amount:
                return
        await asyncio.sleep(0.1)
    raise AssertionError("the deal does not show the revenue")
