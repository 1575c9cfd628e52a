"""The world changes while the saga runs: the deal, its lines, a record somebody else edits (rule 17)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx
import pytest
from temporalio.exceptions import ApplicationError

from canonical.causes import Cause
from canonical.saga import SagaStatus, SagaView, StepState
from cli.local.config import SECRETS
from cli.local.deals import Deal, Line, salesforce_id
from tests.e2e.firm import Firm, Handle, local_firm, parked
from tests.e2e.records import difference

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.anyio]

MILESTONE_AMOUNT = "budget_estimate_in_cents"
COMPLETE, PARKED, UNDONE = SagaStatus.COMPLETE, SagaStatus.PARKED, SagaStatus.UNDONE


@pytest.fixture(scope="module")
async def firm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Firm]:
    async with local_firm(tmp_path_factory.mktemp("changes")) as firm:
        yield firm


@pytest.fixture(autouse=True)
def calm(firm: Firm) -> None:
    """No fault of one test reaches the next."""
    firm.calm()


@asynccontextmanager
async def while_it_builds(firm: Firm, deal: Deal) -> AsyncIterator[Handle]:
    """The body runs while the last thing of the build is under way; the second reading comes after."""
    firm.fault(
        "kantata-main", kind="delay", method="POST", path="/stories", delay_ms=2500, body_contains="Hand-over"
    )
    handle = await firm.start(deal)
    await firm.when(
        handle,
        lambda view: any(s.id.startswith("structure.") and s.state is StepState.RUNNING for s in view.steps),
    )
    yield handle
    view = await firm.view(handle)
    assert not any(step.id == "compare" for step in view.steps), "too late: the comparison is done"


def line_id(deal: Deal, place: int) -> str:
    """Id of a deal's line."""
    return salesforce_id("00k", deal.number * 10 + place)


def delete_line(firm: Firm, deal: Deal, place: int) -> None:
    """Somebody removes a line from the deal, over the vendor's own API."""
    url = firm.url("sf-main")
    form = {
        "grant_type": "client_credentials",
        "client_id": SECRETS["TRUEUP_SALESFORCE_ID"],
        "client_secret": SECRETS["TRUEUP_SALESFORCE_SECRET"],
    }
    token = httpx.post(f"{url}/services/oauth2/token", data=form, trust_env=False).json()["access_token"]
    path = f"{url}/services/data/v64.0/sobjects/OpportunityLineItem/{line_id(deal, place)}"
    answer = httpx.delete(path, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
    assert answer.status_code == 204, answer.text


def edit_project(firm: Firm, id_: str, **fields: Any) -> None:
    """Somebody edits a delivery project, over the vendor's own API."""
    answer = httpx.put(
        f"{firm.url('kantata-main')}/api/v1/workspaces/{id_}",
        json={"workspace": fields},
        headers={"Authorization": f"Bearer {SECRETS['TRUEUP_KANTATA_TOKEN']}"},
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text


async def test_a_changed_amount_patches_what_was_built(firm: Firm) -> None:
    deal = firm.seed(firm.deal())
    before = firm.everything()
    async with while_it_builds(firm, deal) as handle:
        firm.change("OpportunityLineItem", line_id(deal, 1), UnitPrice=91000)
    await firm.until(handle, COMPLETE)
    found = difference(before, firm.everything())
    assert (found.counts["salesOrder"], found.counts["workspaces"], found.counts["billingSchedule"]) == (
        1,
        1,
        1,
    )
    assert Decimal(str(found.only("salesOrder")["total"])) == 91000
    assert found.only("workspaces")["price_in_cents"] == 9_100_000
    stones = [one[MILESTONE_AMOUNT] for one in found.all("stories") if MILESTONE_AMOUNT in one]
    assert sorted(stones) == [1_820_000, 2_730_000, 4_550_000]


async def test_a_changed_name_reaches_every_system(firm: Firm) -> None:
    deal = firm.seed(firm.deal())
    before = firm.everything()
    async with while_it_builds(firm, deal) as handle:
        firm.change("Opportunity", deal.id, Name="Renamed in the last minute")
    await firm.until(handle, COMPLETE)
    found = difference(before, firm.everything())
    assert found.only("job")["companyName"] == "Renamed in the last minute"
    assert "Renamed in the last minute" in found.only("workspaces")["title"]


async def test_a_removed_line_takes_its_contract_and_project_along(firm: Firm) -> None:
    lines = (
        Line("IMPL", "1", "60000"),
        Line("IMPL", "1", "40000", entity="UK01", region="uki", currency="GBP", rate="0.86"),
    )
    deal = firm.seed(firm.deal(lines=lines))
    before = firm.everything()
    async with while_it_builds(firm, deal) as handle:
        delete_line(firm, deal, 2)
    view = await firm.until(handle, COMPLETE)
    found = difference(before, firm.everything())
    assert found.only("job")["subsidiary"]["id"] == "3"
    assert Decimal(str(found.only("salesOrder")["total"])) == 60000
    assert found.only("workspaces")["currency"] == "EUR"
    assert len(view.codes) == 1
    gone = [step for step in view.steps if "UK01" in step.id]
    assert len(gone) == 3
    assert all(step.id.startswith("retracted.") and step.state is StepState.UNDONE for step in gone)


async def test_an_added_line_is_built_as_well(firm: Firm) -> None:
    deal = firm.seed(firm.deal())
    before = firm.everything()
    async with while_it_builds(firm, deal) as handle:
        more = firm.deal(number=deal.number, lines=(*deal.lines, Line("ADV", "10", "150")))
        line = more.seed()["OpportunityLineItem"][1]
        firm.control("sf-main", "POST", "seed", {"OpportunityLineItem": [line]})
    await firm.until(handle, COMPLETE)
    found = difference(before, firm.everything())
    assert Decimal(str(found.only("salesOrder")["total"])) == 89500
    assert found.counts["workspaces"] == 2


async def test_a_lost_deal_is_undone(firm: Firm) -> None:
    deal = firm.seed(firm.deal())
    before = firm.everything()
    async with while_it_builds(firm, deal) as handle:
        firm.change("Opportunity", deal.id, StageName="Closed Lost")
    await firm.until(handle, UNDONE)
    ended = await firm.end(handle)
    assert isinstance(ended, ApplicationError)
    assert ended.type == Cause.DEAL_LOST_MEANWHILE.value
    found = difference(before, firm.everything())
    assert not found.new
    assert not found.gone
    assert list(found.changed) == [("sf-main", "Opportunity")]


async def test_a_record_that_somebody_edits_before_activation_parks(firm: Firm) -> None:
    deal = firm.seed(firm.deal())
    before = firm.everything()
    async with while_it_builds(firm, deal) as handle:
        project = difference(before, firm.everything()).only("workspaces")["id"]
        edit_project(firm, project, price=1)
    view = await firm.until(handle, PARKED)
    assert (parked(view), view.cause) == ("baseline", Cause.BASELINE_DIFFERS)
    (finding,) = _findings(view)
    assert finding.record is not None
    assert finding.record.id == project
    # Nothing is active yet.
    assert difference(before, firm.everything()).only("salesOrder")["orderStatus"]["id"] == "A"
    # Retried without a correction it parks again.
    await firm.resolve(handle, "baseline")
    await firm.when(handle, lambda now: now.status is PARKED and now.revision > view.revision + 2)
    edit_project(firm, project, price=88000)
    await firm.resolve(handle, "baseline")
    await firm.until(handle, COMPLETE)
    assert difference(before, firm.everything()).only("workspaces")["price_in_cents"] == 8_800_000


def _findings(view: SagaView) -> list[Any]:
    return [one for step in view.parked_steps if step.failure is not None for one in step.failure.findings]
