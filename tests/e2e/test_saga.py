"""Opportunity-to-project from outside: complete, repaired, gated, waiting; vendors are the judge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

from canonical.causes import Cause
from canonical.saga import Actor, CaseState, GateOutcome, RepairAction, SagaStatus, StepState
from cli.local.deals import Line
from tests.e2e.firm import Firm, local_firm, long_id, parked
from tests.e2e.records import difference

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.anyio]

COMPLETE, GATED, PARKED = SagaStatus.COMPLETE, SagaStatus.GATED, SagaStatus.PARKED
UNDONE, WAITING = SagaStatus.UNDONE, SagaStatus.WAITING
CARLA = Actor(name="carla", roles=("credit-manager",))
BIG = (Line("IMPL", "1", "260000"),)
"""Above the credit review's limit."""


@pytest.fixture(scope="module")
async def firm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Firm]:
    async with local_firm(tmp_path_factory.mktemp("saga"), mail=True) as firm:
        yield firm


@pytest.fixture(autouse=True)
def calm(firm: Firm) -> None:
    """No fault of one test reaches the next."""
    firm.calm()


async def test_a_won_deal_becomes_exactly_these_records(firm: Firm) -> None:
    deal = firm.seed(firm.deal(account="Björk & Ørsted ÆØÅ B.V."))
    before = firm.everything()
    handle = await firm.start(deal)
    view = await firm.until(handle, COMPLETE)
    found = difference(before, firm.everything())
    code = view.project_code
    assert code

    assert not found.gone
    customer, job, order = (found.only(one) for one in ("customer", "job", "salesOrder"))
    assert (customer["companyName"], customer["subsidiary"]["id"]) == (deal.account, "3")
    assert (customer["currency"]["id"], customer["terms"]["id"]) == ("1", "2")
    assert (job["entityId"], job["companyName"]) == (code, deal.name)
    assert (job["parent"]["id"], job["subsidiary"]["id"]) == (customer["id"], "3")
    assert (order["entity"]["id"], order["job"]["id"]) == (customer["id"], job["id"])
    assert Decimal(str(order["total"])) == 88000
    assert order["orderStatus"]["id"] == "B"
    (line,) = order["item"]["items"]
    assert line["billingSchedule"]["id"] == found.only("billingSchedule")["id"]

    group, project = found.only("workspace_groups"), found.only("workspaces")
    assert group["name"] == deal.account
    assert deal.name in project["title"]
    assert (project["currency"], project["price_in_cents"]) == ("EUR", 8_800_000)
    assert project["status_key"] == 310
    stones = [one for one in found.all("stories") if one.get("budget_estimate_in_cents")]
    assert [(one["title"], one["budget_estimate_in_cents"]) for one in stones] == [
        ("Blueprint accepted", 2_640_000),
        ("Acceptance test passed", 4_400_000),
        ("Hand-over", 1_760_000),
    ]
    rates = sorted(one["resource_bill_rate"] for one in found.all("workspace_resources"))
    assert rates == [15000, 15000, 16500, 19500]
    assert all(one["workspace_id"] == project["id"] for one in found.all("stories"))

    ((place, (told,)),) = found.changed.items()
    assert place == ("sf-main", "Opportunity")
    assert (told["Id"], told["Project_Code__c"], told["Project_Status__c"]) == (
        long_id(deal.id),
        code,
        "Active",
    )
    assert found.counts == {
        "customer": 1,
        "customerSubsidiaryRelationship": 1,  # NetSuite's own, to the primary subsidiary
        "job": 1,
        "billingSchedule": 1,
        "salesOrder": 1,
        "revenueArrangement": 1,  # NetSuite's own, once the order is approved
        "revenuePlan": 1,
        "workspace_groups": 1,
        "workspaces": 1,
        "stories": 10,  # seven of the template, three milestones
        "workspace_resources": 4,  # two of the template
        "participations": 1,  # Kantata's own: the creator takes part
        "custom_field_values": 1,
        "external_references": 7,  # group, project, milestones, two positions
    }

    (mail,) = [one for one in firm.stack.mailbox.messages if code in str(one["Subject"])]
    assert mail["To"] == "pmo@northgate.example"
    assert view.human_seconds == 0
    assert await firm.cases(handle) == []


async def test_triggers_for_one_deal_are_one_saga(firm: Firm) -> None:
    deal = firm.seed(firm.deal())
    before = firm.everything()
    handles = await asyncio.gather(*(firm.start(deal) for _ in range(5)))
    assert len({(handle.id, handle.first_execution_run_id) for handle in handles}) == 1
    await handles[0].result()
    with pytest.raises(WorkflowAlreadyStartedError):
        await firm.start(deal)
    found = difference(before, firm.everything())
    assert (found.counts["customer"], found.counts["job"], found.counts["workspaces"]) == (1, 1, 1)


async def test_parked_on_a_missing_tax_registration_corrected_and_retried(firm: Firm) -> None:
    deal = firm.seed(firm.deal(tax_number=None))
    before = firm.everything()
    handle = await firm.start(deal)
    view = await firm.until(handle, PARKED)
    assert (parked(view), view.cause) == ("validate", Cause.TAX_REGISTRATION_MISSING)
    assert not difference(before, firm.everything())
    case = await firm.case(handle)
    assert (case.state, case.transient, case.owner) == (CaseState.OPEN, False, "Finance master data")
    assert str(case.failure.at_stake) == "EUR 88,000.00"

    # Retried without a correction, it parks again and says the same.
    await firm.resolve(handle, "validate")
    again = await firm.when(handle, lambda now: now.status is PARKED and now.revision > view.revision + 2)
    assert again.cause is Cause.TAX_REGISTRATION_MISSING

    firm.change("Account", deal.account_id, Tax_Id__c="NL900000001B01")
    await firm.resolve(handle, "validate", reason="entered the number")
    await firm.until(handle, COMPLETE)
    await handle.result()
    customer = difference(before, firm.everything()).only("customer")
    assert "NL900000001B01" in str(customer)
    case = await firm.case(handle)
    assert case.state is CaseState.CLOSED
    attributes = (await handle.describe()).search_attributes
    assert attributes["SagaStatus"] == ["complete"]
    assert "CauseCode" not in attributes


async def test_repaired_by_an_amended_deal_that_the_crm_never_sees(firm: Firm) -> None:
    deal = firm.seed(firm.deal(terms="Net 99"))
    handle = await firm.start(deal)
    view = await firm.until(handle, PARKED)
    assert view.cause is Cause.PAYMENT_TERMS_UNKNOWN
    says = await firm.refused(
        firm.resolve(handle, "validate", RepairAction.RETRY_AMENDED, amended={"saga": {"generation": 9}})
    )
    assert says == "Amended input may set deal; got saga."
    before = firm.everything()
    await firm.resolve(
        handle, "validate", RepairAction.RETRY_AMENDED, amended={"deal": {"payment_terms": "Net 45"}}
    )
    await firm.until(handle, COMPLETE)
    found = difference(before, firm.everything())
    assert found.only("customer")["terms"]["id"] == "3"
    ((_, (told,)),) = found.changed.items()
    assert told["Payment_Terms__c"] == "Net 99"


async def test_repairs_that_make_no_sense_are_refused_in_one_line(firm: Firm) -> None:
    handle, view = await firm.run(firm.deal(tax_number=None), PARKED)
    refusals = {
        "is not parked; parked now: validate.": firm.resolve(handle, "notify"),
        "needs a reason.": firm.resolve(handle, "validate", RepairAction.UNDO_ALL, reason=""),
        "look again.": firm.resolve(handle, "validate", expected_revision=view.revision - 1),
        "cannot be skipped": firm.resolve(handle, "validate", RepairAction.SKIP, result={}),
        "needs the amended input.": firm.resolve(handle, "validate", RepairAction.RETRY_AMENDED),
    }
    for words, update in refusals.items():
        said = await firm.refused(update)
        assert words in said
        assert "\n" not in said
    assert (await firm.view(handle)).revision == view.revision


async def test_credit_review_asks_the_right_people(firm: Firm) -> None:
    deal = firm.seed(firm.deal(lines=BIG))
    before = firm.everything()
    handle = await firm.start(deal)
    view = await firm.until(handle, GATED)
    ((gate, request),) = [(step.id, step.gate) for step in view.gates]
    assert request is not None
    assert gate == "gate.credit"
    assert request.figures["Client"] == deal.account
    assert await firm.cases(handle) == []

    stranger = Actor(name="sam", roles=("pmo-lead",))
    requester = Actor(name=str(request.requester), roles=("credit-manager",))
    assert "needs one of credit-manager" in await firm.refused(firm.decide(handle, gate, actor=stranger))
    assert "may not decide it" in await firm.refused(firm.decide(handle, gate, actor=requester))
    unfounded = firm.decide(handle, gate, GateOutcome.REJECT, actor=CARLA)
    assert "needs a reason" in await firm.refused(unfounded)
    await firm.decide(handle, gate, GateOutcome.SEND_BACK, actor=CARLA, reason="which group company?")
    assert (await firm.view(handle)).status is GATED
    assert not difference(before, firm.everything())

    await firm.decide(handle, gate, actor=CARLA)
    view = await firm.until(handle, COMPLETE)
    (note,) = [step.note for step in view.steps if step.id == gate]
    assert note == "approve by carla (unverified)"


async def test_a_rejected_credit_review_ends_the_saga_with_nothing_made(firm: Firm) -> None:
    deal = firm.seed(firm.deal(lines=BIG))
    before = firm.everything()
    handle = await firm.start(deal)
    await firm.until(handle, GATED)
    await firm.decide(handle, "gate.credit", GateOutcome.REJECT, actor=CARLA, reason="in administration")
    await firm.until(handle, UNDONE)
    ended = await firm.end(handle)
    assert isinstance(ended, ApplicationError)
    assert ended.type == Cause.CREDIT_REJECTED.value
    assert "in administration" in ended.message
    assert not difference(before, firm.everything())


async def test_an_unsigned_statement_of_work_waits_for_the_pmo(firm: Firm) -> None:
    handle, view = await firm.run(firm.deal(sow_signed=None), GATED)
    (step,) = view.gates
    assert step.gate is not None
    assert step.gate.roles == ("pmo-lead",)
    await firm.decide(handle, step.id)
    await firm.until(handle, COMPLETE)


@pytest.mark.parametrize(
    ("system", "step"), [("netsuite-emea", "gather.netsuite-emea"), ("kantata-main", "delivery.")]
)
async def test_a_vendor_that_is_away_is_waited_for(firm: Firm, system: str, step: str) -> None:
    deal = firm.seed(firm.deal())
    if system == "kantata-main":
        # It goes away in the middle of the building.
        firm.fault("netsuite-emea", kind="delay_after", method="PUT", path="/salesOrder", delay_ms=1200)
    else:
        firm.control(system, "POST", "settings", {"away": True})
    handle = await firm.start(deal)
    if system == "kantata-main":
        await firm.when(handle, lambda now: any(one.id.startswith("contract.") for one in now.steps))
        firm.control(system, "POST", "settings", {"away": True})
    view = await firm.until(handle, WAITING)
    (waiting,) = [one for one in view.steps if one.state is StepState.WAITING]
    assert waiting.id.startswith(step)
    assert view.headline.startswith(f"Waiting for {system}")
    attributes = (await handle.describe()).search_attributes
    assert attributes["SagaStatus"] == ["waiting"]
    assert attributes["System"] == [system]
    for _ in range(50):
        if cases := await firm.cases(handle):
            break
        await asyncio.sleep(0.1)
    (case,) = cases
    assert (case.state, case.transient) == (CaseState.OPEN, True)

    firm.control(system, "POST", "settings", {"away": False})
    await firm.until(handle, COMPLETE)
    await handle.result()
    case = await firm.case(handle)
    assert case.state is CaseState.CLOSED
    assert len([row for row in firm.records("netsuite-emea", "job") if row["companyName"] == deal.name]) == 1
