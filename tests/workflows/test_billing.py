"""``BillContract`` and ``CreditInvoice``: review, pivot per invoice, undo before it, proof after it."""

from __future__ import annotations

import pytest

from canonical.causes import Cause, Queue
from canonical.failures import Finding
from canonical.invoicing import LineAction, LineDecision
from canonical.saga import Actor, GateDecision, GateOutcome, SagaStatus
from tests.workflows.billing import Route
from tests.workflows.driver import Kernel, Run, refusal
from tests.workflows.stubs import away, repair
from workflows.billing.bill_contract import BillContract
from workflows.billing.credit_invoice import CreditInvoice

pytestmark = pytest.mark.anyio

REVIEWER = Actor(name="rita", roles=("billing-manager",))


async def gated(kernel: Kernel, route: Route, group: str) -> Run:
    run = await kernel.start_saga(BillContract.run, route.billing(group), route.desk)
    await run.status(SagaStatus.GATED)
    return run


async def approve(run: Run, step: str = "gate.review", choice: str | None = None) -> None:
    await run.decide(GateOutcome.APPROVE, step, actor=REVIEWER, choice=choice)


def hold(*lines: str) -> dict[str, object]:
    decisions = [LineDecision(allocation_key=one, action=LineAction.HOLD, reason="disputed") for one in lines]
    return {"decisions": [one.model_dump(mode="json") for one in decisions]}


async def amend(run: Run, step: str, amendment: dict[str, object]) -> None:
    decision = GateDecision(
        command_id=f"amend-{step}",
        step=step,
        outcome=GateOutcome.AMEND,
        actor=REVIEWER,
        reason="as agreed",
        amendment=amendment,
    )
    await run.handle.execute_update("decide", decision)


async def test_a_reviewed_draft_is_issued_and_proven(kernel: Kernel) -> None:
    route = Route()
    run = await gated(kernel, route, route.draft("acme"))
    assert route.desk.calls == ["select acme", "draft"]
    await approve(run)
    view = await run.result()
    assert route.desk.calls == ["select acme", "draft", "issue", "prove"]
    assert view.status is SagaStatus.COMPLETE
    assert view.headline == "Complete. Invoice INV900: EUR 100.00 net, 2 lines."
    assert view.pivot_passed


async def test_a_contract_may_release_without_review(kernel: Kernel) -> None:
    route = Route()
    run = await kernel.start_saga(
        BillContract.run, route.billing(route.draft("acme", reviewed=False)), route.desk
    )
    await run.result()
    assert route.world.issued == ["acme/2026-11/1"]


async def test_nothing_to_bill_is_complete(kernel: Kernel) -> None:
    route = Route()
    run = await kernel.start_saga(BillContract.run, route.billing("nobody"), route.desk)
    view = await run.result()
    assert view.headline == "Complete. Nothing to bill."
    assert route.desk.calls == ["select nobody"]


async def test_without_drafts_in_the_erp_the_review_comes_first(kernel: Kernel) -> None:
    route = Route()
    run = await gated(kernel, route, route.draft("acme", sent_after_review=True))
    assert route.desk.calls == ["select acme"]
    await approve(run)
    await run.result()
    assert route.desk.calls == ["select acme", "issue", "prove"]


async def test_the_reviewer_changes_the_draft_and_sees_it_again(kernel: Kernel) -> None:
    route = Route()
    run = await gated(kernel, route, route.draft("acme", lines=3))
    await amend(run, "gate.review", hold("a#1"))
    view = await run.until(lambda view: any(gate.id == "gate.review.again" for gate in view.gates))
    assert view.gates[0].gate is not None
    assert view.gates[0].gate.figures == {"lines": "2"}
    await approve(run, "gate.review.again")
    view = await run.result()
    assert route.desk.calls == ["select acme", "draft", "review", "draft", "issue", "prove"]
    assert view.headline.endswith("2 lines.")


async def test_a_review_that_leaves_nothing_takes_the_draft_back(kernel: Kernel) -> None:
    route = Route()
    run = await gated(kernel, route, route.draft("acme"))
    await amend(run, "gate.review", hold("a#1", "b#1"))
    view = await run.result()
    assert view.headline == "Complete. The review left nothing to bill."
    assert [call for call in route.desk.calls if call.startswith("undo")] == ["undo draft", "undo select"]


async def test_an_amendment_that_does_not_fit_is_refused(kernel: Kernel) -> None:
    route = Route()
    run = await gated(kernel, route, route.draft("acme"))
    words = await refusal(amend(run, "gate.review", {"decisions": [{"allocation_key": "a#1"}]}))  # type: ignore[arg-type]
    assert words.startswith("The amendment does not fit: decisions.0.action")
    words = await refusal(run.decide(GateOutcome.APPROVE, "gate.review"))
    assert "has not the role" in words


@pytest.mark.parametrize("how", ["reject", "cancel"])
async def test_before_issue_everything_is_taken_back(kernel: Kernel, how: str) -> None:
    route = Route()
    run = await gated(kernel, route, route.draft("acme"))
    if how == "reject":
        await run.decide(GateOutcome.REJECT, "gate.review", actor=REVIEWER, reason="wrong client")
    else:
        await run.handle.cancel()
    await run.undone()
    view = await run.view()
    assert view.status is SagaStatus.UNDONE
    assert view.headline.startswith("Not billed: the draft is gone, its lines are unbilled again.")
    assert [call for call in route.desk.calls if call.startswith("undo")] == ["undo draft", "undo select"]
    assert route.world.issued == []


async def test_after_issue_a_cancel_changes_nothing(kernel: Kernel) -> None:
    route = Route()
    run = await gated(kernel, route, route.draft("acme"))
    proving = route.desk.block("prove")
    await approve(run)
    await run.began("prove")
    await run.handle.cancel()
    await run.until(lambda view: "issued" in view.headline)
    proving.set()
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    assert not any(call.startswith("undo") for call in route.desk.calls)


async def test_missing_inputs_park_before_anything_is_drafted(kernel: Kernel) -> None:
    route = Route()
    finding = Finding(
        cause=Cause.TAX_INPUT_MISSING,
        message="Acme has no tax registration",
        remedy="add it",
        queue=Queue.MASTER_DATA,
    )
    run = await kernel.start_saga(
        BillContract.run, route.billing(route.draft("acme", reviewed=False, findings=(finding,))), route.desk
    )
    view = await run.parked("check-inputs")
    assert view.cause is Cause.TAX_INPUT_MISSING
    assert route.desk.calls == ["select acme"]
    await run.repair("check-inputs")
    await run.result()
    assert route.desk.calls == ["select acme", "select acme", "draft", "issue", "prove"]


async def test_an_invoice_not_posted_yet_is_waited_for(kernel: Kernel) -> None:
    route = Route()
    route.desk.fail("prove", away("pending approval"), away("pending approval"))
    run = await kernel.start_saga(
        BillContract.run, route.billing(route.draft("acme", reviewed=False)), route.desk
    )
    await run.result()
    assert route.desk.calls.count("prove") == 3
    assert route.desk.calls.count("issue") == 1


async def test_a_net_that_differs_is_parked_until_it_agrees(kernel: Kernel) -> None:
    route = Route()
    route.world.differing["acme/2026-11/1"] = 1
    run = await kernel.start_saga(
        BillContract.run, route.billing(route.draft("acme", reviewed=False)), route.desk
    )
    view = await run.parked("check")
    assert view.cause is Cause.NET_DIFFERS
    await run.repair("check")
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    assert route.world.issued == ["acme/2026-11/1"]


async def test_a_refused_issue_parks_and_nothing_is_undone_by_itself(kernel: Kernel) -> None:
    route = Route()
    route.desk.fail("issue", repair("period is closed"))
    run = await kernel.start_saga(
        BillContract.run, route.billing(route.draft("acme", reviewed=False)), route.desk
    )
    await run.parked("issue")
    assert not any(call.startswith("undo") for call in route.desk.calls)
    await run.repair("issue")
    await run.result()


async def test_a_credit_is_decided_with_what_becomes_of_its_parts(kernel: Kernel) -> None:
    route = Route()
    run = await kernel.start_saga(CreditInvoice.run, route.credit("INV1"), route.desk)
    await run.status(SagaStatus.GATED)
    await approve(run, "gate.credit", choice="written_off")
    view = await run.result()
    assert view.headline == "Complete. Credit: EUR 100.00 credited."
    assert route.desk.inputs["credit"][0].freed.value == "written_off"
    assert route.desk.calls == ["shape INV1", "credit", "prove"]


async def test_a_rejected_credit_leaves_the_invoice(kernel: Kernel) -> None:
    route = Route()
    run = await kernel.start_saga(CreditInvoice.run, route.credit("INV1"), route.desk)
    await run.status(SagaStatus.GATED)
    await run.decide(GateOutcome.REJECT, "gate.credit", actor=REVIEWER, reason="client agrees")
    await run.undone()
    view = await run.view()
    assert view.headline.startswith("Not credited: the invoice stands as it is.")
    assert route.desk.calls == ["shape INV1", "undo shape"]


async def test_nothing_to_credit_is_complete(kernel: Kernel) -> None:
    route = Route()
    run = await kernel.start_saga(CreditInvoice.run, route.credit("none"), route.desk)
    view = await run.result()
    assert view.headline == "Complete. There is nothing to credit any more."
