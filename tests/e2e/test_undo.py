"""Undoing from outside: cancelled, given up, started again; what others rely on stays."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError, CancelledError

from canonical.causes import Cause
from canonical.saga import RepairAction, SagaStatus, StepState
from tests.e2e.firm import Firm, Handle, local_firm, long_id, parked
from tests.e2e.records import difference

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.anyio]

COMPLETE, PARKED, UNDONE = SagaStatus.COMPLETE, SagaStatus.PARKED, SagaStatus.UNDONE


@pytest.fixture(scope="module")
async def firm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Firm]:
    async with local_firm(tmp_path_factory.mktemp("undo")) as firm:
        yield firm


@pytest.fixture(autouse=True)
def calm(firm: Firm) -> None:
    """No fault of one test reaches the next."""
    firm.calm()


async def at_the_milestones(firm: Firm, handle: Handle) -> None:
    """Wait until the saga is adding milestones, which ``hold_milestones`` makes slow."""
    await firm.when(
        handle,
        lambda view: any(s.id.startswith("structure.") and s.state is StepState.RUNNING for s in view.steps),
    )


def hold_milestones(firm: Firm, sagas: int = 1) -> None:
    """Make Kantata take two seconds over a milestone of each saga: everything before it exists then."""
    firm.fault(
        "kantata-main",
        kind="delay",
        method="POST",
        path="/stories",
        delay_ms=2000,
        body_contains="Blueprint",
        times=sagas,
    )


async def test_cancelled_in_the_middle_nothing_remains(firm: Firm) -> None:
    deal = firm.seed(firm.deal())
    before = firm.everything()
    hold_milestones(firm)
    handle = await firm.start(deal)
    await at_the_milestones(firm, handle)
    assert difference(before, firm.everything()).counts["workspaces"] == 1
    await handle.cancel()
    view = await firm.until(handle, UNDONE)
    assert firm.fired("kantata-main") == [1]
    assert isinstance(await firm.end(handle), CancelledError)
    found = difference(before, firm.everything())
    assert not found, found
    # Numbers that are used up are listed: the project's and the order's.
    assert len(view.gaps) == 2
    undone = [step.id for step in view.steps if step.state is StepState.UNDONE]
    made = [step.id for step in view.steps if f"undo.{step.id}" in undone]
    assert undone == [f"undo.{step}" for step in reversed(made)]


async def test_undo_all_and_started_again_as_the_next_generation(firm: Firm) -> None:
    deal = firm.seed(firm.deal())
    before, marks = firm.everything(), firm.marks()
    firm.fault("kantata-main", kind="business", method="POST", path="/workspaces", message="no more projects")
    handle = await firm.start(deal)
    view = await firm.until(handle, PARKED)
    step = next(one for one in view.parked_steps)
    assert step.failure is not None
    assert "no more projects" in step.failure.message
    assert firm.fired("kantata-main") == [1]
    await firm.resolve(handle, step.id, RepairAction.UNDO_ALL, reason="the client stepped back")
    await firm.until(handle, UNDONE)
    ended = await firm.end(handle)
    assert isinstance(ended, ApplicationError)
    assert "no more projects" in ended.message
    assert not difference(before, firm.everything())
    first = {one.path for one in firm.written(marks) if one.type == "job" and one.operation == "create"}

    marks = firm.marks()
    again = await firm.start(deal)
    assert again.id == handle.id
    view = await firm.until(again, COMPLETE)
    assert view.generation == 2
    second = {one.path for one in firm.written(marks) if one.type == "job" and one.operation == "create"}
    assert len(first) == len(second) == 1
    assert "-g1-" in first.pop()
    assert "-g2-" in second.pop()
    found = difference(before, firm.everything())
    assert (found.counts["customer"], found.counts["job"], found.counts["workspaces"]) == (1, 1, 1)
    assert not found.gone


async def test_cancelled_while_parked(firm: Firm) -> None:
    deal = firm.seed(firm.deal())
    before = firm.everything()
    firm.fault("netsuite-emea", kind="business", method="PUT", path="/salesOrder", message="not today")
    handle = await firm.start(deal)
    view = await firm.until(handle, PARKED)
    assert parked(view).startswith("contract.")
    await handle.cancel()
    await firm.until(handle, UNDONE)
    await firm.end(handle)
    assert not difference(before, firm.everything())
    case = await firm.case(handle)
    assert case.resolution == "the saga was stopped"


async def test_two_deals_of_a_new_client_share_it_and_cancelling_one_keeps_it(firm: Firm) -> None:
    first = firm.seed(firm.deal())
    second = firm.seed(firm.deal(account_number=first.number, account=first.account))
    before = firm.everything()
    hold_milestones(firm, sagas=2)
    handles = await asyncio.gather(firm.start(first), firm.start(second))
    await asyncio.gather(*(at_the_milestones(firm, handle) for handle in handles))
    await handles[0].cancel()
    ended = await asyncio.gather(*(firm.until(handle, COMPLETE, UNDONE) for handle in handles))
    await asyncio.gather(*(firm.end(handle) for handle in handles))
    assert [view.status for view in ended] == [UNDONE, COMPLETE]
    found = difference(before, firm.everything())
    assert found.only("customer")["companyName"] == first.account
    assert found.only("workspace_groups")["name"] == first.account
    assert found.only("job")["companyName"] == second.name
    assert found.only("salesOrder")["memo"] == second.name
    assert second.name in found.only("workspaces")["title"]
    assert not found.gone


async def test_a_client_that_was_adopted_is_never_undone(firm: Firm, tmp_path: Path) -> None:
    deal = firm.seed(firm.deal())
    theirs = {
        "id": "7777",
        "companyName": "Known under another name",
        "subsidiary": {"id": "3"},
        "currency": {"id": "1"},
        "currencyList": {"items": [{"currency": {"id": "1"}}]},
    }
    firm.control("netsuite-emea", "POST", "seed", {"customer": [theirs]})
    before = firm.everything()
    file = tmp_path / "adopt.csv"
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(("kind", "key", "system", "type", "id", "evidence"))
        rows.writerow(("client", long_id(deal.account_id), "netsuite-emea", "customer", "7777", "by hand"))
    code, said, wrong = await firm.trueup("adopt", str(file), "--apply", "--json")
    assert code == 0, said + wrong

    firm.fault("kantata-main", kind="business", method="POST", path="/workspaces", message="no")
    handle = await firm.start(deal)
    view = await firm.until(handle, PARKED)
    assert difference(before, firm.everything()).only("job")["parent"]["id"] == "7777"
    await firm.resolve(handle, parked(view), RepairAction.UNDO_ALL, reason="test")
    await firm.until(handle, UNDONE)
    await firm.end(handle)
    assert not difference(before, firm.everything())


async def test_an_undo_that_is_refused_parks_and_names_what_survives(firm: Firm) -> None:
    deal = firm.seed(firm.deal())
    before = firm.everything()
    hold_milestones(firm)
    firm.fault(
        "netsuite-emea", kind="business", method="DELETE", path="/salesOrder", message="locked", times=1
    )
    firm.fault(
        "netsuite-emea", kind="business", method="PATCH", path="/salesOrder", message="locked", times=1
    )
    handle = await firm.start(deal)
    await at_the_milestones(firm, handle)
    await handle.cancel()
    view = await firm.until(handle, SagaStatus.UNDO_BLOCKED)
    (blocked,) = view.parked_steps
    assert blocked.id.startswith("undo.contract.")
    assert blocked.failure is not None
    left = difference(before, firm.everything())
    (order,) = left.all("salesOrder")
    assert order["id"] in {ref.id for ref in blocked.failure.survivors}
    # Everything that does not hang on the order is gone already.
    assert left.all("workspaces") == []
    await firm.resolve(handle, blocked.id)
    await firm.until(handle, UNDONE)
    await firm.end(handle)
    assert not difference(before, firm.everything())
    assert Cause.CANCELLED.value in (await firm.view(handle)).model_dump_json()


async def test_reset_to_its_beginning_and_cancelled_past_the_pivot_it_goes_forward(firm: Firm) -> None:
    """The new run does not know that the order is approved; the ledger does."""
    deal = firm.seed(firm.deal())
    before = firm.everything()
    firm.fault("sf-main", kind="business", method="PATCH", path="/Opportunity", message="no", times=1)
    handle = await firm.start(deal)
    view = await firm.until(handle, PARKED)
    assert view.pivot_passed
    made = difference(before, firm.everything())
    again = await firm.reset(handle)
    await again.cancel()
    found = await firm.until(again, COMPLETE)
    assert found.pivot_passed
    assert not [step for step in found.steps if step.id.startswith("undo.")]
    assert difference(before, firm.everything()).counts == made.counts


async def test_a_finished_deal_that_is_reset_and_cancelled_stays(firm: Firm) -> None:
    deal = firm.deal()
    handle, _ = await firm.run(deal, COMPLETE)
    made = firm.everything()
    again = await firm.reset(handle)
    await again.cancel()
    await firm.until(again, SagaStatus.FAILED)
    assert not difference(made, firm.everything())
    row = await firm.ledger.saga(handle.id)
    assert row is not None
    assert row.status is COMPLETE


async def test_reset_to_its_beginning_and_cancelled_nothing_remains(firm: Firm) -> None:
    """The new run has written nothing when the cancel comes; what the run before it wrote is undone."""
    deal = firm.seed(firm.deal())
    before = firm.everything()
    firm.fault("kantata-main", kind="business", method="POST", path="/workspaces", message="no more projects")
    handle = await firm.start(deal)
    await firm.until(handle, PARKED)
    assert difference(before, firm.everything())
    firm.fault("sf-main", kind="delay", method="GET", path="/query", delay_ms=2000, times=1)
    again = await firm.reset(handle)
    await again.cancel()
    await firm.until(again, UNDONE)
    found = difference(before, firm.everything())
    assert not found, found
