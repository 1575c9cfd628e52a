"""A plan is a promise: written before the start, it equals what the vendors accept, and makes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from canonical.saga import SagaStatus, StepState
from cli.local import deals
from cli.local.deals import Deal
from tests.e2e.firm import VENDORS, Firm, local_firm, long_id
from tests.support.plan_diff import compare

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.anyio]

COMPLETE, GATED, PARKED = SagaStatus.COMPLETE, SagaStatus.GATED, SagaStatus.PARKED
SINGLE_ENTITY, MANY_COUNTRIES, EXISTING_CUSTOMER = deals.NORTHWIND, deals.ATLAS, deals.LUMEN
HAPPY = (SINGLE_ENTITY, MANY_COUNTRIES, EXISTING_CUSTOMER, deals.QUARRY, deals.SABLE)
"""``LUMEN`` is also the deal billed by time and by a fixed schedule."""


@pytest.fixture(scope="module")
async def firm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Firm]:
    async with local_firm(tmp_path_factory.mktemp("plan")) as firm:
        for deal in deals.DEMO_DEALS:
            firm.seed(deal)
        yield firm


@pytest.fixture(scope="module")
async def plans(firm: Firm, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Plan files of all demo deals that can be planned, written before any saga has started."""
    folder = tmp_path_factory.mktemp("plans")
    before, marks = firm.everything(), firm.marks()
    files = {deal.number: folder / f"{deal.number}.json" for deal in HAPPY}
    for deal in HAPPY:
        code, out, err = await firm.trueup(
            "plan", "opportunity-to-project", long_id(deal.id), "--out", str(files[deal.number]), "--json"
        )
        assert code == 0, out + err
    assert firm.marks() == marks == dict.fromkeys(VENDORS, 0)
    assert firm.everything() == before
    assert [saga async for saga in firm.client.list_workflows("SagaStatus IS NOT NULL")] == []
    return files


def planned(file: Path) -> list[dict[str, Any]]:
    """The writes of a plan file."""
    data = json.loads(file.read_text(), parse_float=Decimal)
    assert set(data) == {"deal", "writes"}
    writes: list[dict[str, Any]] = data["writes"]
    return writes


@pytest.mark.parametrize("deal", HAPPY, ids=lambda deal: deal.name)
async def test_the_plan_equals_what_is_then_written(firm: Firm, plans: dict[int, Path], deal: Deal) -> None:
    writes = planned(plans[deal.number])
    marks = firm.marks()

    handle = await firm.start(deal)
    view = await firm.until(handle, COMPLETE, GATED)
    if view.status is GATED:
        await firm.decide(handle, "gate.credit")
        view = await firm.until(handle, COMPLETE)

    result = compare(writes, firm.written(marks))
    assert result.differences == []
    assert len(writes) > 10
    # The one placeholder that people read: the project codes, told to the deal as the ERP made them.
    codes = {value for name, value in result.values.items() if name.endswith(".code")}
    assert codes == set(view.codes.values())
    assert codes <= {job["entityId"] for job in firm.records("netsuite-emea", "job")}


async def test_a_plan_of_a_client_that_exists_makes_no_client(firm: Firm, plans: dict[int, Path]) -> None:
    writes = planned(plans[EXISTING_CUSTOMER.number])
    assert [write["title"] for write in writes if write["type"] == "customer"] == []
    (order,) = [write for write in writes if write["type"] == "salesOrder" and write["kind"] == "create"]
    assert order["body"]["entity"] == {"id": "501"}


async def test_a_plan_of_a_deal_with_findings_says_them_and_plans_nothing(firm: Firm, tmp_path: Path) -> None:
    marks, file = firm.marks(), tmp_path / "plan.json"
    code, out, err = await firm.trueup(
        "plan", "opportunity-to-project", long_id(deals.HARBOUR.id), "--out", str(file), "--json"
    )
    assert code == 1, out + err
    said = json.loads(out)
    assert "TAX_REGISTRATION_MISSING" in out
    assert long_id(deals.HARBOUR.account_id) in out
    assert said["writes"] == []
    assert not file.exists()
    assert firm.marks() == marks


async def test_a_plan_shows_the_question_that_a_gate_would_ask(firm: Firm) -> None:
    deal = firm.seed(firm.deal(sow=None, sow_signed=None))
    marks = firm.marks()
    view = await asyncio.wait_for((await firm.start(deal, plan=True)).result(), 30)
    assert view.status is SagaStatus.PLANNED
    (gate,) = [step for step in view.steps if step.id == "gate.sow"]
    assert gate.state is StepState.DONE
    assert "may the project be set up" in (gate.note or "").lower()
    assert view.writes
    assert firm.marks() == marks
