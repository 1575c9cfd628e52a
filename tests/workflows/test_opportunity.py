"""Opportunity-to-project over stubs: the order of its steps, a deal that changes, and what is undone."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.exceptions import ApplicationError, CancelledError

from canonical.causes import Cause
from canonical.engagement import DocumentRef
from canonical.opportunity import DealClass
from canonical.saga import Actor, GateOutcome, RepairAction, SagaStatus
from rules.findings import finding
from tests.rules.examples import deal, in_currency, line
from tests.workflows.driver import Kernel, Run
from tests.workflows.opportunity import Office
from tests.workflows.stubs import repair
from workflows.opportunity_to_project import OpportunityToProject

pytestmark = pytest.mark.anyio

UPSERT = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
CONTRACT, PROJECT = "006N.NL01.EUR", "006N.NL01.EUR.emea.IMPL"
PMO = Actor(name="hanna", roles=("pmo-lead",))
TWO_ENTITIES = deal(
    line(1), in_currency(2, "5000", "GBP", "0.86", legal_entity="UK01", delivery_region="uki")
)


async def start(kernel: Kernel, office: Office, **more: Any) -> Run:
    return await kernel.start_deal(office, "006N", **more)


def done(office: Office) -> list[str]:
    """Steps that write, and undos, in order."""
    return [call for call in office.calls if call.startswith(("do ", "undo ", "write", "notify"))]


async def test_the_business_process_in_its_order(kernel: Kernel) -> None:
    office = Office()
    run = await start(kernel, office)
    view = await run.result()
    assert office.calls[:2] == ["read deal", "route"]
    assert sorted(office.calls[2:5]) == ["gather erp", "gather hr", "gather psa"]
    assert office.calls[5] == "shape"
    beside = ["do clients.kantata-main", "do clients.netsuite-emea", "look ahead erp", "look ahead psa"]
    assert sorted(office.calls[6:10]) == beside
    assert office.calls[10:13] == [
        f"do contract.{CONTRACT}",
        f"do delivery.{PROJECT}",
        f"do structure.{PROJECT}",
    ]
    assert sorted(office.calls[13:16]) == ["read back erp", "read back psa", "read deal"]
    assert office.calls[16:18] == ["compare", f"do activate.{CONTRACT}"]
    assert sorted(office.calls[18:20]) == [f"do open.{PROJECT}", "write back"]
    assert office.calls[20:] == ["notify"]
    assert view.status is SagaStatus.COMPLETE
    assert view.codes == {CONTRACT: "P-NL01"}
    assert len(await run.events(UPSERT)) == 1


async def test_events_while_it_runs_are_history_and_change_nothing(kernel: Kernel) -> None:
    office = Office()
    held = office.block("read deal")
    run = await start(kernel, office)
    await run.began("read deal")
    for event in ("deals/1", "deals/1", "deals/2"):
        await run.handle.signal(OpportunityToProject.event, event)
    held.set()
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    assert len(done(office)) == len(set(done(office)))
    assert len(await run.events(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)) == 3


async def test_the_code_reaches_every_later_step(kernel: Kernel) -> None:
    office = Office()
    await (await start(kernel, office)).result()
    opened = office.inputs[f"do delivery.{PROJECT}"][0]
    assert opened.values["project:006N.NL01.EUR.code"] == "P-NL01"
    assert opened.absent == ("nothing of the project",)
    assert office.inputs[f"do contract.{CONTRACT}"][0].absent == ("nothing of the contract",)
    notice = office.inputs["notify"][0].notice
    assert notice.subject == "[PMO] Project P-NL01 created for Northwind Trading B.V."
    told = office.inputs["write back"][0]
    assert told.outcome.engagement_code == {"$symbol": "project:006N.NL01.EUR.code"}


async def test_a_plan_goes_the_same_way_without_comparing_or_asking(kernel: Kernel) -> None:
    office = Office(deal(sow=None))
    view = await (await start(kernel, office, plan=True)).result()
    assert view.status is SagaStatus.PLANNED
    assert "compare" not in office.calls
    assert [call for call in office.calls if call.startswith("undo")] == []
    assert office.books == []


async def test_all_findings_park_before_the_first_write_and_are_looked_at_again(kernel: Kernel) -> None:
    office = Office()
    office.findings = (
        finding(Cause.APPROVAL_MISSING, "not approved", record=deal().ref, field="approval_status"),
        finding(Cause.RATE_MISSING, "no rate", record=deal().ref, field="rate_card"),
    )
    run = await start(kernel, office)
    view = await run.parked("validate")
    failure = view.parked_steps[0].failure
    assert failure is not None
    assert failure.message == "2 findings, nothing was written."
    assert [one.cause for one in failure.findings] == [Cause.APPROVAL_MISSING, Cause.RATE_MISSING]
    assert done(office) == []
    office.findings = ()
    await run.repair("validate")
    assert (await run.result()).status is SagaStatus.COMPLETE
    assert office.calls.count("gather erp") == 2


async def test_a_deal_that_is_not_there_fails_at_once(kernel: Kernel) -> None:
    office = Office()
    office.deal = None
    run = await start(kernel, office)
    cause = await run.failure()
    assert isinstance(cause, ApplicationError)
    assert cause.type == "DEAL_NOT_FOUND"
    assert office.books == ["finish failed"]


async def test_another_spelling_of_the_deal_does_not_become_a_second_saga(kernel: Kernel) -> None:
    run = await kernel.start_deal(Office(), "006N-other")
    cause = await run.failure()
    assert isinstance(cause, ApplicationError)
    assert cause.message == "006N-other is another spelling of deal 006N."


async def test_a_deal_without_delivery_is_complete_without_a_write(kernel: Kernel) -> None:
    office = Office()
    office.deal_class = DealClass.NO_DELIVERY
    view = await (await start(kernel, office)).result()
    assert view.status is SagaStatus.COMPLETE
    assert done(office) == []


async def test_an_unsigned_deal_waits_for_the_pmo(kernel: Kernel) -> None:
    office = Office(deal(sow=DocumentRef(kind="sow", number="SOW-1")))
    run = await start(kernel, office)
    await run.status(SagaStatus.GATED)
    assert done(office) == []
    await run.decide(GateOutcome.APPROVE, "gate.sow", actor=PMO)
    assert (await run.result()).status is SagaStatus.COMPLETE


async def test_cancel_before_activation_undoes_last_first(kernel: Kernel) -> None:
    office = Office()
    run = await start(kernel, office)
    going = office.block("compare")
    await run.began("compare")
    await run.handle.cancel()
    going.set()
    assert isinstance(await run.failure(), CancelledError)
    assert [call for call in office.calls if call.startswith("undo")] == [
        f"undo structure.{PROJECT}",
        f"undo delivery.{PROJECT}",
        f"undo contract.{CONTRACT}",
        "undo clients.netsuite-emea",
        "undo clients.kantata-main",
    ]


async def test_a_deal_lost_meanwhile_is_undone(kernel: Kernel) -> None:
    office = Office()
    going = office.block(f"do structure.{PROJECT}")
    run = await start(kernel, office)
    await run.began(f"do structure.{PROJECT}")
    office.deal = deal(is_won=False, stage="Closed Lost")
    going.set()
    cause = await run.failure()
    assert isinstance(cause, ApplicationError)
    assert cause.type == "DEAL_LOST_MEANWHILE"
    assert len([call for call in office.calls if call.startswith("undo")]) == 5


async def test_a_changed_deal_is_validated_and_built_again_before_activation(kernel: Kernel) -> None:
    office = Office()
    going = office.block(f"do structure.{PROJECT}")
    run = await start(kernel, office)
    await run.began(f"do structure.{PROJECT}")
    office.deal = deal(line(price="130000"), revision="2")
    going.set()
    assert (await run.result()).status is SagaStatus.COMPLETE
    assert office.calls.count("shape") == 2
    amounts = [str(one.setup.contract.amount) for one in office.inputs[f"do contract.{CONTRACT}"]]
    assert amounts == ["EUR 120,000.00", "EUR 130,000.00"]
    assert [call for call in office.calls if call.startswith("undo")] == []
    assert office.calls.count(f"do activate.{CONTRACT}") == 1


async def test_a_removed_line_takes_its_contract_and_project_away(kernel: Kernel) -> None:
    office = Office(TWO_ENTITIES)
    uk = "006N.UK01.GBP.uki.IMPL"
    going = office.block(f"do structure.{uk}")
    run = await start(kernel, office)
    await run.began(f"do structure.{uk}")
    office.deal = deal(line(1), revision="2")
    going.set()
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    assert [call for call in office.calls if call.startswith("undo")] == [
        f"undo structure.{uk}",
        f"undo delivery.{uk}",
        "undo contract.006N.UK01.GBP",
    ]
    assert [call for call in office.calls if call.startswith("do activate")] == [f"do activate.{CONTRACT}"]
    assert set(view.codes) == {CONTRACT}


async def test_systems_that_differ_are_waited_for_and_read_again(kernel: Kernel) -> None:
    office = Office()
    office.differences = (finding(Cause.BASELINE_DIFFERS, "amount differs", field="amount"),)
    run = await start(kernel, office)
    view = await run.parked("baseline")
    assert not view.pivot_passed
    office.differences = ()
    await run.repair("baseline")
    assert (await run.result()).status is SagaStatus.COMPLETE
    assert office.calls.count("read back erp") == 2


async def test_differences_can_be_undone(kernel: Kernel) -> None:
    office = Office()
    office.differences = (finding(Cause.BASELINE_DIFFERS, "amount differs", field="amount"),)
    run = await start(kernel, office)
    await run.parked("baseline")
    await run.repair("baseline", RepairAction.UNDO_ALL)
    assert (await run.undone()).status is SagaStatus.UNDONE


async def test_one_refused_activation_of_two_is_repaired_forward(kernel: Kernel) -> None:
    office = Office(TWO_ENTITIES)
    office.fail("do activate.006N.UK01.GBP", repair("period closed"))
    run = await start(kernel, office)
    await run.parked("activate.006N.UK01.GBP")
    await run.done(f"activate.{CONTRACT}")
    assert (await run.view()).pivot_passed
    await run.handle.cancel()
    await run.repair("activate.006N.UK01.GBP")
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    assert view.codes == {CONTRACT: "P-NL01", "006N.UK01.GBP": "P-UK01"}
