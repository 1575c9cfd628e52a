"""Closing projects over real Temporal, worker and simulators, judged by what the vendors hold (rule 45)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from canonical.causes import Cause
from canonical.saga import SagaStatus, SagaView
from cli.output import Exit
from tests.e2e.billing_terms import ERP
from tests.e2e.closing_firm import CLOSED, OPEN, Closings
from tests.e2e.firm import local_firm

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture(scope="module")
async def month(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Closings]:
    async with local_firm(tmp_path_factory.mktemp("closing")) as firm:
        yield Closings(firm)


def causes(view: SagaView) -> set[str]:
    """What stands in the way, by the figures of the open gate."""
    (gate,) = view.gates
    assert gate.gate is not None
    return {name.split(". ")[1] for name in gate.gate.figures if ". " in name}


async def test_from_facts_to_closed_and_open_again(month: Closings) -> None:
    firm = month.firm
    project = await month.project()
    month.time(project, 2, 3)
    (late,) = month.time(project, 4, status="new")
    code, said, wrong = await firm.trueup("start", "close-project", project.code, "--plan")
    assert code == Exit.FAILED, said + wrong
    for word in ("NOT_APPROVED", "CLOSE_WORK_OPEN", "CLOSE_REVENUE_OPEN", "CLOSE_STAFFING_OPEN"):
        assert word in said
    month.resolve_sheet(late, "approve")
    await month.close()
    given = ("start", "close-project", project.code, "--wait", "--reason", "done")
    code, said, wrong = await firm.trueup(*given)
    assert code == Exit.PARKED, said + wrong
    assert "look-again" in said
    run = firm.client.get_workflow_handle((await month.closing.close(project.contract)).saga_id)
    # Starting it again finds the one that runs.
    code, said, wrong = await firm.trueup("start", "close-project", project.contract, "--json")
    assert (code, json.loads(said)["saga_id"]) == (Exit.DONE, run.id)
    view = await month.until(run, SagaStatus.GATED)
    assert {"CLOSE_STAFFING_OPEN", "CLOSE_INVOICE_OPEN", "CLOSE_REVENUE_OPEN"} <= causes(view)
    assert "collections" not in (view.gates[0].gate.choices if view.gates[0].gate else {})
    month.released(project)
    month.recognised(project)
    before = view.revision
    await month.answer(run, "look-again")
    view = await month.asked_again(run, before)
    assert causes(view) == {"CLOSE_INVOICE_OPEN"}
    assert month.shown(project) == OPEN
    # Without a reason nothing is let pass.
    await month.answer(run, "collections")
    await month.asked_again(run, view.revision)
    await month.answer(run, "collections", "assigned to collections, case 7")
    view = await month.until(run, SagaStatus.COMPLETE)
    assert month.shown(project) == CLOSED
    row = await firm.ledger.project_closing(project.contract)
    assert row is not None
    assert ([one.cause for one in row.waived], row.reason) == (
        [Cause.CLOSE_INVOICE_OPEN],
        "assigned to collections, case 7",
    )
    assert row.project_code == project.code
    assert view.project_code == project.code

    # Time that comes all the same is held.
    month.time(project, 5)
    await month.posting("late")
    groups = await firm.ledger.unbilled_groups(contract_key=project.contract)
    assert [one.cause for one in groups] == [Cause.PROJECT_CLOSED]

    code, said, wrong = await firm.trueup("start", "close-project", project.code)
    assert code == Exit.DONE, wrong
    assert "is closed since" in said
    for command in (("show", run.id), ("trace", run.id), ("list",)):
        code, said, wrong = await firm.trueup(*command)
        assert code == Exit.DONE, said + wrong
        assert project.contract in said

    code, said, wrong = await firm.trueup("reopen-project", project.code)
    assert code == Exit.DONE, wrong
    assert "Nothing was done yet" in said
    assert month.shown(project) == CLOSED
    code, said, wrong = await firm.trueup("reopen-project", project.code, "--yes", "--reason", "one more day")
    assert code == Exit.DONE, said + wrong
    assert month.shown(project) == OPEN
    code, said, wrong = await firm.trueup("reopen-project", project.code, "--yes", "--reason", "again")
    assert code == Exit.DONE, wrong
    assert "Nothing was done" in said
    # What was held is let go, and the next closing is another one.
    code, said, wrong = await firm.trueup(
        "resolve", "--cause", "PROJECT_CLOSED", "--retry", "--reason", "open again", "--yes"
    )
    assert code == Exit.DONE, said + wrong
    run = await month.close_project(project)
    view = await month.until(run, SagaStatus.GATED)
    assert run.id.endswith(".2")
    assert "CLOSE_WORK_OPEN" in causes(view)
    assert (await month.give_up(run)).status is SagaStatus.UNDONE
    assert month.shown(project) == OPEN


async def test_what_cannot_be_asked_for_is_refused(month: Closings) -> None:
    code, said, wrong = await month.firm.trueup("start", "close-project", "no-such-thing")
    assert code == Exit.USAGE, said
    assert "is known" in wrong
    code, said, wrong = await month.firm.trueup("start", "close-project")
    assert code == Exit.USAGE
    code, said, wrong = await month.firm.trueup("reopen-project", "no-such-thing")
    assert code == Exit.USAGE


async def test_a_refusal_of_finance_parks_and_giving_up_opens_delivery_again(month: Closings) -> None:
    project = await month.contract()
    month.recognised(project)
    month.firm.fault(ERP, kind="business", method="PATCH", path="/job/", message="no")
    before = month.shown(project)
    run = await month.close_project(project)
    await month.until(run, SagaStatus.PARKED)
    assert month.shown(project)["archived"] is True
    month.firm.calm()
    await run.cancel()
    await month.until(run, SagaStatus.UNDONE)
    assert month.shown(project) == before
    # Its keys are closed; the next start is another generation and goes through.
    run = await month.close_project(project)
    view = await month.until(run, SagaStatus.COMPLETE)
    assert view.generation == 2
    assert month.shown(project) == {**CLOSED, "deal": None}
