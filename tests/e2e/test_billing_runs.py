"""Runs that are stopped, parked and gone on with: one that is stuck never holds the others."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from canonical.causes import Cause
from canonical.items import CostState
from canonical.names import effect_key, stamp
from canonical.saga import RepairAction, RepairCommand, SagaStatus, SagaView
from cli.output import Exit
from connectors.netsuite.billing_plans import POST_TIME
from tests.e2e.billing_firm import Month
from tests.e2e.billing_terms import ANNA, ARCHITECT, CONSULTANT, ERP, PSA, Run, card
from tests.e2e.firm import ROOT_ACTOR, local_firm
from wiring.start_billing import start_run

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
async def month(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Month]:
    async with local_firm(tmp_path_factory.mktemp("runs")) as firm:
        yield Month(firm)


async def retry(run: Run, step: str) -> None:
    """Somebody has settled it and retries the step."""
    command = RepairCommand(
        command_id=uuid.uuid4().hex,
        step=step,
        action=RepairAction.RETRY,
        actor=ROOT_ACTOR,
        reason="settled in NetSuite",
    )
    await run.execute_update("resolve_step", command, result_type=SagaView)


async def test_a_cancel_stops_at_the_next_batch_and_the_next_run_does_the_rest(month: Month) -> None:
    project = await month.contract()
    for day in range(2, 8):
        month.time(project, *[day] * 100, minutes=6, user=73)
    month.firm.control(ERP, "POST", "settings", {"async_job_seconds": 1})
    start = month.starts.posting(PSA, ERP, "stopped")
    one_by_one = start.model_copy(update={"pace": start.pace.model_copy(update={"batches_at_once": 1})})
    run = await start_run(month.firm.client, one_by_one)
    await month.handed_over()
    await run.cancel()
    view = await month.until(run, SagaStatus.STOPPED)
    month.firm.control(ERP, "POST", "settings", {"async_job_seconds": 0})
    stopped_at = len(month.posted(project))
    assert 0 < stopped_at < 600, view.headline
    await month.posting("the-rest")
    assert len(month.posted(project)) == 600
    assert month.hours(project) == 3_600
    assert month.twice() == []


async def test_a_parked_group_holds_up_no_other_and_is_issued_once_it_is_repaired(month: Month) -> None:
    stuck, other = await month.contract(), await month.contract()
    month.time(stuck, 9)
    month.time(other, 9, minutes=60, user=73)
    month.refuse_invoice(stuck, "credit hold")
    run = await month.start()
    group = await month.group_of(stuck)
    view = await month.until(group, SagaStatus.PARKED)
    (step,) = view.parked_steps
    assert step.failure is not None
    assert "credit hold" in step.failure.message
    await month.until(await month.group_of(other), SagaStatus.COMPLETE)
    assert len(month.invoices(other)) == 1
    assert month.invoices(stuck) == []
    await retry(group, step.id)
    await month.release_drafts(run)
    (invoice,) = month.invoices(stuck)
    assert Decimal(str(invoice["subtotal"])) == 1200
    assert month.billed_twice() == []


async def test_a_repaired_line_is_let_go_by_its_cause_and_posted_once(month: Month) -> None:
    project = await month.contract()
    (entry,) = month.time(project, 10, role=None)
    month.time(project, 11, 12)
    view = await month.posting("blocked")
    assert Cause.ROLE_MISSING in {one.cause for one in view.held}
    assert month.hours(project) == 960
    month.edit(entry, role_id=CONSULTANT)
    await month.posting("repaired")
    command = month.starts.release(PSA, ERP, [Cause.ROLE_MISSING], "let-go", plan=False)
    await month.until(await start_run(month.firm.client, command), SagaStatus.COMPLETE)
    await month.posting("again")
    assert month.hours(project) == 1_440
    assert month.twice() == []


async def test_what_the_erp_has_already_is_counted_apart_and_recorded(month: Month) -> None:
    """Held lines without a rate, one of which NetSuite has: the preview says so, nothing is sent twice."""
    project = await month.contract(rate_card=card("EUR", consultant="150"))
    month.time(project, 16)
    known, *rest = month.time(project, 17, 18, 19, user=ANNA, role=ARCHITECT)
    view = await month.posting("no-rate")
    assert Cause.RATE_MISSING in {one.cause for one in view.held}
    (template,) = month.posted(project)
    (item,) = await month.firm.ledger.items_of([f"{PSA}/time_entries/{known}"])
    identity = f"{PSA}.{known}.{item.revision}"
    entry = {**template, "id": "91001", "externalId": stamp(effect_key(ERP, POST_TIME, identity, 1))}
    month.firm.control(ERP, "POST", "seed", {"timeBill": [{**entry, "tranDate": "2026-11-17"}]})
    await month.agree(project, rate_card=card("EUR", consultant="150", solution_architect="195"))
    resolve = ("resolve", "--cause", "RATE_MISSING", "--project", project.code, "--json")
    code, out, err = await month.firm.trueup(*resolve)
    assert code == Exit.USAGE, out + err
    would = {one["state"]: one["items"] for one in json.loads(out)["error"]["details"]["would"]}
    assert would == {"would post": len(rest), "already in the ERP": 1}
    assert len(month.posted(project)) == 2, "a preview sends nothing"
    code, out, err = await month.firm.trueup(*resolve, "--yes", "--wait", "--timeout", "90")
    assert code == Exit.DONE, out + err
    assert "1 is in the ERP already" in json.loads(out)["message"]
    await month.posting("after-the-rate")
    assert len(month.posted(project)) == 2 + len(rest)
    assert month.twice() == []
    (found,) = await month.firm.ledger.items_of([f"{PSA}/time_entries/{known}"])
    assert (found.posting_id, found.cost) == ("91001", CostState.POSTED)
