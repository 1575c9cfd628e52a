"""Gates: decisions with role, requester, choices and deadline; not exceptions (rule 13)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from temporalio.exceptions import ApplicationError

from canonical.saga import Actor, GateOutcome, SagaStatus, StepState
from tests.workflows.driver import Kernel, gate, refusal, step

pytestmark = pytest.mark.anyio

OTTO = Actor(name="otto", roles=("pmo-lead",))


async def test_a_gate_waits_without_a_case_and_goes_on_when_approved(kernel: Kernel) -> None:
    run = await kernel.start(gate(), step("a"))
    view = await run.status(SagaStatus.GATED)
    assert view.gates[0].gate is not None
    assert view.gates[0].gate.question == "May we?"
    assert run.desk.calls == []
    await run.decide(GateOutcome.APPROVE)
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    assert run.desk.books == ["decide gate.credit", "finish complete"]
    assert view.steps[0].note == "approve by carla (unverified): because"


async def test_rejecting_undoes_everything_and_says_who(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), gate(), step("b"))
    await run.status(SagaStatus.GATED)
    await run.decide(GateOutcome.REJECT, reason="too risky")
    cause = await run.failure()
    assert isinstance(cause, ApplicationError)
    assert cause.type == "CREDIT_REJECTED"
    assert cause.message == "Credit review: rejected by carla (unverified). too risky"
    assert run.desk.calls == ["do a", "undo a"]


async def test_sending_back_asks_again(kernel: Kernel) -> None:
    run = await kernel.start(gate())
    await run.status(SagaStatus.GATED)
    await run.decide(GateOutcome.SEND_BACK, reason="which terms?")
    view = await run.until(lambda view: view.steps[0].note is not None)
    assert view.status is SagaStatus.GATED
    assert view.steps[0].note == "sent back by carla (unverified): which terms?"
    await run.decide(GateOutcome.APPROVE)
    assert (await run.result()).status is SagaStatus.COMPLETE
    assert run.desk.books.count("decide gate.credit") == 2


async def test_refusals_are_one_line(kernel: Kernel) -> None:
    run = await kernel.start(gate(requester="sam", choices={"1": "Northwind", "new": "none"}))
    await run.status(SagaStatus.GATED)
    sam = Actor(name="sam", roles=("credit-manager",))
    for attempt, words in [
        (
            run.decide(GateOutcome.APPROVE, actor=OTTO, choice="1"),
            "otto (unverified) has not the role for Credit review; needs one of credit-manager.",
        ),
        (
            run.decide(GateOutcome.APPROVE, actor=sam, choice="1"),
            "Whoever asked for it may not decide it.",
        ),
        (run.decide(GateOutcome.AMEND), "Possible here: approve, reject, send_back."),
        (run.decide(GateOutcome.APPROVE, choice="2"), "Choose one of: 1, new."),
        (run.decide(GateOutcome.APPROVE), "Choose one of: 1, new."),
        (run.decide(GateOutcome.REJECT, reason=""), "reject needs a reason."),
        (run.decide(GateOutcome.SEND_BACK, reason=""), "send_back needs a reason."),
        (
            run.decide(GateOutcome.APPROVE, "gate.other"),
            "Step 'gate.other' asks for no decision; open decisions: gate.credit.",
        ),
    ]:
        assert await refusal(attempt) == words
    await run.decide(GateOutcome.APPROVE, choice="1")
    assert (await run.result()).status is SagaStatus.COMPLETE


async def test_a_decision_sent_twice_acts_once(kernel: Kernel) -> None:
    run = await kernel.start(gate(), gate("gate.sow"))
    await run.status(SagaStatus.GATED)
    await run.decide(GateOutcome.APPROVE, command="the-same")
    await run.until(lambda view: [one.id for one in view.gates] == ["gate.sow"])
    await run.decide(GateOutcome.APPROVE, command="the-same")
    assert (await run.view()).gates[0].id == "gate.sow"
    await run.decide(GateOutcome.APPROVE, "gate.sow")
    assert (await run.result()).status is SagaStatus.COMPLETE


@pytest.mark.own_server
async def test_an_overdue_decision_is_reminded_of_and_decides_nothing(kernel: Kernel) -> None:
    run = await kernel.start(gate(deadline=datetime(2027, 1, 1, tzinfo=UTC).isoformat()), step("a"))
    await run.status(SagaStatus.GATED)
    await run.skip(days=1, hours=1)
    await run.booked("escalate gate.credit")
    view = await run.view()
    assert view.status is SagaStatus.GATED
    assert run.desk.calls == []


async def test_cancel_at_a_gate_undoes(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), gate(), step("b"))
    await run.status(SagaStatus.GATED)
    await run.handle.cancel()
    view = await run.undone()
    assert view.status is SagaStatus.UNDONE
    assert run.desk.calls == ["do a", "undo a"]


async def test_a_plan_asks_nobody_and_says_that_it_would(kernel: Kernel) -> None:
    run = await kernel.start(gate(), step("a"), plan=True)
    view = await run.result()
    assert view.steps[0].state is StepState.DONE
    assert view.steps[0].note == "would ask: May we?"
    assert await run.handle.query("seen") == [None]
