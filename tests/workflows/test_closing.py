"""``CloseProject`` and ``ReopenProject``: gate, order of writes, what slips in, undo, pivot, renewal."""

from __future__ import annotations

import pytest

from canonical.causes import Cause
from canonical.saga import GateOutcome, RepairAction, SagaStatus
from rules.project_closing import COLLECTIONS, LOOK_AGAIN
from tests.workflows.closing import INVOICE, Story, fact
from tests.workflows.driver import Kernel, Run, refusal
from tests.workflows.stubs import away, repair
from workflows.closing.close_project import CloseProject
from workflows.closing.reopen_project import ReopenProject

pytestmark = pytest.mark.anyio

GATE = "gate.close"
WRITES = ("close", "undo", "agree", "tell", "open")


async def decide(run: Run, choice: str | None, reason: str = "because", **more: GateOutcome) -> None:
    await run.status(SagaStatus.GATED)
    await run.decide(more.get("outcome", GateOutcome.APPROVE), GATE, choice=choice, reason=reason)


async def test_delivery_then_finance_then_the_ledger_then_sales(kernel: Kernel) -> None:
    story = Story()
    run = await kernel.start_saga(CloseProject.run, story.start(), story.desk)
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    calls = story.calls(*WRITES)
    assert sorted(calls[:2]) == ["close delivery.emea.ADV", "close delivery.emea.IMPL"]
    assert calls[2:] == ["close erp.netsuite-emea", "agree", "tell status"]
    # Once before anything is closed, once after delivery takes no more time.
    assert story.desk.calls.count("judge") == 2
    assert view.project_code == "PRJ-1"
    agreed = story.desk.inputs["agree"][0]
    assert set(agreed.steps.values()) == {story.contract, *(one.delivery_key for one in story.deliveries)}


async def test_facts_are_asked_about_and_looked_at_again(kernel: Kernel) -> None:
    story = Story(looks=[(fact(),), (fact(),), ()])
    run = await kernel.start_saga(CloseProject.run, story.start(), story.desk)
    await decide(run, LOOK_AGAIN)
    await run.until(lambda view: story.desk.calls.count("judge") == 2 and view.status is SagaStatus.GATED)
    assert story.calls(*WRITES) == []
    await decide(run, LOOK_AGAIN)
    assert (await run.result()).status is SagaStatus.COMPLETE
    assert story.desk.inputs["agree"][0].waived == ()


async def test_open_work_cannot_be_let_pass(kernel: Kernel) -> None:
    story = Story(looks=[(fact(), INVOICE)])
    run = await kernel.start_saga(CloseProject.run, story.start(), story.desk)
    await run.status(SagaStatus.GATED)
    said = await refusal(run.decide(GateOutcome.APPROVE, GATE, choice=COLLECTIONS))
    assert said == f"Choose one of: {LOOK_AGAIN}."
    await refusal(run.decide(GateOutcome.APPROVE, GATE))


async def test_invoices_pass_with_a_reason_and_count_until_the_end(kernel: Kernel) -> None:
    story = Story(looks=[(INVOICE,)] * 4)
    run = await kernel.start_saga(CloseProject.run, story.start(), story.desk)
    await decide(run, COLLECTIONS, reason=" ")
    view = await run.until(
        lambda view: bool(view.gates and view.gates[0].gate and "reason" in view.gates[0].gate.question)
    )
    assert view.status is SagaStatus.GATED
    await decide(run, COLLECTIONS, reason="assigned to collections")
    assert (await run.result()).status is SagaStatus.COMPLETE
    agreed = story.desk.inputs["agree"][0]
    assert (agreed.waived, agreed.reason) == ((INVOICE,), "assigned to collections")
    assert agreed.decider.name == "carla"


async def test_what_slips_in_opens_delivery_again_and_is_asked_about(kernel: Kernel) -> None:
    story = Story(looks=[(), (fact(),)])
    run = await kernel.start_saga(CloseProject.run, story.start(), story.desk)
    await run.status(SagaStatus.GATED)
    assert sorted(story.calls("undo")) == ["undo delivery.emea.ADV", "undo delivery.emea.IMPL"]
    assert story.calls("agree") == []
    await decide(run, LOOK_AGAIN)
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    # The second round has steps and keys of its own: the first ones' are closed.
    closed = story.calls("close")
    assert sorted(closed[2:4]) == ["close delivery.emea.ADV~2", "close delivery.emea.IMPL~2"]
    second = story.desk.inputs[f"close delivery.{story.contract}.emea.ADV~2"][0]
    assert second.closure.round == 2
    steps = story.desk.inputs["agree"][0].steps
    assert all(step.endswith("~2") for step in steps if step.startswith("delivery"))


async def test_a_rejected_closing_leaves_everything(kernel: Kernel) -> None:
    story = Story(looks=[(INVOICE,)])
    run = await kernel.start_saga(CloseProject.run, story.start(), story.desk)
    await decide(run, None, outcome=GateOutcome.REJECT)
    view = await run.undone()
    assert (view.status, view.cause) == (SagaStatus.UNDONE, Cause.CANCELLED)
    assert view.headline.startswith("Not closed: everything is as it was.")
    assert story.calls(*WRITES) == []


async def test_a_refusal_of_finance_opens_delivery_again(kernel: Kernel) -> None:
    story = Story()
    story.desk.fail("close erp.netsuite-emea", repair())
    run = await kernel.start_saga(CloseProject.run, story.start(), story.desk)
    await run.parked("erp.netsuite-emea")
    await run.repair("erp.netsuite-emea", RepairAction.UNDO_ALL)
    await run.undone()
    calls = story.calls("undo")
    assert calls[0] == "undo erp.netsuite-emea"
    assert sorted(calls[1:]) == ["undo delivery.emea.ADV", "undo delivery.emea.IMPL"]


async def test_after_the_agreement_it_goes_forward(kernel: Kernel) -> None:
    story = Story()
    told = story.desk.block("tell status")
    run = await kernel.start_saga(CloseProject.run, story.start(), story.desk)
    await run.began("tell status")
    await run.handle.cancel()
    await run.until(lambda view: view.headline.startswith("Cancel came after"))
    told.set()
    assert (await run.result()).status is SagaStatus.COMPLETE
    assert story.calls("undo") == []


async def test_a_run_that_finds_it_agreed_only_tells(kernel: Kernel) -> None:
    story = Story(agreed=True)
    run = await kernel.start_saga(CloseProject.run, story.start(), story.desk)
    assert (await run.result()).status is SagaStatus.COMPLETE
    assert story.calls(*WRITES) == ["tell status"]


async def test_what_is_closed_is_said_and_what_cannot_be_is_refused(kernel: Kernel) -> None:
    story = Story(said="It was closed on 2026-11-30.")
    view = await (await kernel.start_saga(CloseProject.run, story.start(), story.desk)).result()
    assert "It was closed" in view.headline
    other = Story(refused=repair("a change order is under way", cause=Cause.CLOSE_BLOCKED))
    run = await kernel.start_saga(CloseProject.run, other.start(), other.desk)
    view = await run.undone("a change order is under way")
    assert view.status is SagaStatus.FAILED
    assert other.calls(*WRITES) == []


async def test_a_plan_shows_writes_or_what_stands_in_the_way(kernel: Kernel) -> None:
    story = Story()
    run = await kernel.start_saga(CloseProject.run, story.start(plan=True), story.desk)
    view = await run.result()
    assert view.status is SagaStatus.PLANNED
    assert len(view.writes) == 4
    other = Story(looks=[(fact(), INVOICE)])
    run = await kernel.start_saga(CloseProject.run, other.start(plan=True), other.desk)
    view = await run.undone()
    assert view.cause is Cause.CLOSE_BLOCKED
    assert other.calls(*WRITES) == []


async def test_a_system_that_is_away_is_waited_for(kernel: Kernel) -> None:
    story = Story()
    story.desk.fail("look erp", away())
    run = await kernel.start_saga(CloseProject.run, story.start(), story.desk)
    assert (await run.result()).status is SagaStatus.COMPLETE


@pytest.mark.own_server
async def test_what_was_let_pass_survives_a_renewal(kernel: Kernel) -> None:
    story = Story(looks=[(INVOICE,), (INVOICE, fact()), (INVOICE,), (INVOICE,)])
    run = await kernel.start_saga(CloseProject.run, story.start(), story.desk)
    await decide(run, COLLECTIONS)
    await run.until(lambda view: story.desk.calls.count("judge") == 2 and view.status is SagaStatus.GATED)
    await run.handle.execute_update("renew")
    later = kernel.found(run.handle.id, story.desk)
    await decide(later, LOOK_AGAIN)
    assert (await later.result()).status is SagaStatus.COMPLETE
    assert story.desk.inputs["agree"][0].waived == (INVOICE,)


async def test_reopening_puts_back_finance_delivery_and_the_deal(kernel: Kernel) -> None:
    story = Story()
    run = await kernel.start_saga(ReopenProject.run, story.reopening(), story.desk)
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    calls = story.calls(*WRITES)
    assert calls[0] == "open erp.netsuite-emea"
    assert sorted(calls[1:3]) == ["open delivery.emea.ADV", "open delivery.emea.IMPL"]
    assert calls[3:] == ["agree", "tell status"]
    assert story.desk.inputs["open erp.netsuite-emea"][0].former.values == {"a": 1}


async def test_a_reopening_that_fails_leaves_it_closed(kernel: Kernel) -> None:
    story = Story()
    story.desk.fail(f"open delivery.{story.contract}.emea.ADV", repair())
    run = await kernel.start_saga(ReopenProject.run, story.reopening(), story.desk)
    await run.parked(f"delivery.{story.contract}.emea.ADV")
    await run.handle.cancel()
    view = await run.undone()
    assert view.headline.startswith("Not re-opened: the project is closed as it was.")
    assert story.calls("undo")[-1] == "undo erp.netsuite-emea"
    assert story.calls("agree", "tell") == []
