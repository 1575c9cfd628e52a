"""``TimeToBilling`` over its children, and the explicit commands: take back, let go."""

from __future__ import annotations

import pytest

from activities.contracts import DueGroup, Pace, RetainersEnded
from canonical.names import SagaName, billing_name
from canonical.saga import Actor, GateOutcome, SagaStatus, Tally
from tests.workflows.billing import ERP, PSA, Route, euros
from tests.workflows.driver import Kernel, Run
from tests.workflows.stubs import repair
from tests.workflows.test_billing import amend, hold
from workflows.billing.bill_contract import BillContract
from workflows.billing.release_held import ReleaseHeldItems
from workflows.billing.reverse_posted import ReversePosted
from workflows.billing.time_to_billing import TimeToBilling

pytestmark = pytest.mark.anyio

REVIEWER = Actor(name="rita", roles=("billing-manager",))


def group_run(kernel: Kernel, route: Route, group: str, cycle: str = "2026-11") -> Run:
    return kernel.found(route.id(SagaName.BILL_CONTRACT, ERP, billing_name(group, cycle)), route.desk)


def due(group: str, cycle: str, *, in_advance: bool = False) -> DueGroup:
    return DueGroup(group=group, cycle=cycle, title=group, in_advance=in_advance)


async def test_posting_comes_first_then_every_due_group(kernel: Kernel) -> None:
    route = Route(open=20)
    for group in ("a", "b", "c"):
        route.draft(group, reviewed=False)
    run = await kernel.start_saga(TimeToBilling.run, route.cutoff(), route.desk)
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    assert sorted(route.world.issued) == ["a/2026-11/1", "b/2026-11/1", "c/2026-11/1"]
    calls = route.desk.calls
    assert calls.index("post 1") < calls.index("due") < calls.index("select a")
    assert view.headline == "Complete. 3 groups were due. 3 billed: EUR 300.00."


async def test_a_group_under_review_holds_up_only_itself(kernel: Kernel) -> None:
    route = Route()
    route.draft("a")
    route.draft("b", reviewed=False)
    run = await kernel.start_saga(TimeToBilling.run, route.cutoff(), route.desk)
    waiting = group_run(kernel, route, "a")
    await run.until(lambda _: route.world.issued == ["b/2026-11/1"])
    await waiting.status(SagaStatus.GATED)
    assert (await run.view()).status is SagaStatus.RUNNING
    await waiting.decide(GateOutcome.APPROVE, "gate.review", actor=REVIEWER)
    view = await run.result()
    assert len(route.world.issued) == 2
    assert view.headline.endswith("2 billed: EUR 200.00.")


async def test_cycles_of_a_group_are_billed_in_their_order_one_after_another(kernel: Kernel) -> None:
    """They draw on the same caps and retainers; other groups do not wait."""
    route = Route()
    route.draft("a")
    route.draft("b", reviewed=False)
    route.world.due = (
        due("a", "2026-10-advance", in_advance=True),
        due("a", "2026-09"),
        due("a", "2026-10"),
        due("b", "2026-10"),
    )
    run = await kernel.start_saga(TimeToBilling.run, route.cutoff(), route.desk)
    for number, cycle in enumerate(("2026-10-advance", "2026-09", "2026-10"), 1):
        waiting = group_run(kernel, route, "a", cycle)
        await run.until(lambda _, number=number: route.desk.calls.count("select a") == number)  # type: ignore[misc]
        await waiting.status(SagaStatus.GATED)
        if number == 1:
            await run.until(lambda _: route.world.issued == ["b/2026-11/1"])
        assert route.desk.calls.count("select a") == number, "the next one waits"
        await waiting.decide(GateOutcome.APPROVE, "gate.review", actor=REVIEWER)
    view = await run.result()
    assert view.headline == "Complete. 4 groups were due. 4 billed: EUR 400.00."


async def test_what_follows_a_cycle_that_another_run_bills_is_left_for_the_next_run(kernel: Kernel) -> None:
    route = Route()
    route.draft("a")
    other = await kernel.start_saga(BillContract.run, route.billing("a"), route.desk)
    await other.status(SagaStatus.GATED)
    route.world.due = (due("a", "2026-11"), due("a", "2026-12"))
    run = await kernel.start_saga(TimeToBilling.run, route.cutoff(), route.desk)
    view = await run.result()
    assert view.headline == (
        "Complete. No group was due. 1 more is under way by another run. 1 later cycle left for the next run."
    )
    assert route.desk.calls.count("select a") == 1


async def test_a_group_that_bills_nothing_is_not_called_billed(kernel: Kernel) -> None:
    """Nothing is open any more, or the review left nothing."""
    route = Route()
    route.draft("a", lines=1)
    route.world.due = (*route.world.due, due("b", "2026-11"))
    run = await kernel.start_saga(TimeToBilling.run, route.cutoff(), route.desk)
    waiting = group_run(kernel, route, "a")
    await run.until(lambda _: "select a" in route.desk.calls)
    await waiting.status(SagaStatus.GATED)
    await amend(waiting, "gate.review", hold("i#1"))
    view = await run.result()
    assert route.world.issued == []
    assert view.headline == "Complete. 2 groups were due. 2 with nothing to bill."


async def test_retainers_end_their_periods_after_the_groups_and_refunds_are_proposed(kernel: Kernel) -> None:
    expired = Tally(state="retainer balances expired", items=1, amounts=(euros(250),))
    route = Route(retainers=RetainersEnded(tallies=(expired,), refunds=("INV1",)))
    route.draft("a", reviewed=False)
    run = await kernel.start_saga(TimeToBilling.run, route.cutoff(), route.desk)
    view = await run.result()
    calls = route.desk.calls
    assert calls.index("prove") < calls.index("retainers")
    assert view.headline.endswith("1 retainer balances expired: EUR 250.00. 1 refund is proposed.")
    refund = kernel.found(route.id(SagaName.CREDIT_INVOICE, ERP, "INV1"), route.desk)
    await refund.status(SagaStatus.GATED)


async def test_cancel_stops_the_posting_and_nothing_is_billed(kernel: Kernel) -> None:
    route = Route(open=20)
    route.draft("a", reviewed=False)
    route.desk.block("post 1")
    run = await kernel.start_saga(TimeToBilling.run, route.cutoff(), route.desk)
    await run.began("post 1")
    await run.handle.cancel()
    await run.undone()
    view = await run.view()
    assert view.status is SagaStatus.STOPPED
    assert (route.world.posted, route.world.issued) == (10, [])


async def test_cancel_takes_back_drafts_that_are_not_issued(kernel: Kernel) -> None:
    route = Route()
    route.draft("a")
    route.draft("b", reviewed=False)
    run = await kernel.start_saga(TimeToBilling.run, route.cutoff(), route.desk)
    waiting = group_run(kernel, route, "a")
    # The test server, unlike a real one, never answers a cancel of a run that has ended meanwhile.
    await run.until(lambda view: "1 billed" in view.headline)
    await waiting.status(SagaStatus.GATED)
    await run.handle.cancel()
    # Who asks for the result lets time pass: only once the cancel has reached the group and come back.
    await run.status(SagaStatus.STOPPED)
    await run.undone()
    assert (await waiting.view()).status is SagaStatus.UNDONE
    assert route.world.issued == ["b/2026-11/1"]


async def test_posting_that_was_stopped_by_itself_is_a_persons_matter(kernel: Kernel) -> None:
    route = Route(open=20)
    route.desk.fail("begin", repair("the ledger says no"))
    run = await kernel.start_saga(TimeToBilling.run, route.cutoff(), route.desk)
    await run.parked("begin")
    await run.repair("begin")
    posting = kernel.found(route.id(SagaName.POST_APPROVED_TIME, PSA, f"{ERP}.2026-11-30"), route.desk)
    route.desk.block("post 1")
    await run.began("post 1")
    await posting.handle.cancel()
    view = await run.parked("post")
    assert view.steps[1].failure is not None
    assert "did not complete: it was stopped" in view.steps[1].failure.message
    route.desk.gates.clear()
    await run.repair("post")
    await run.result()
    assert route.world.posted == 20


async def test_the_preview_of_a_reversal_takes_nothing_back(kernel: Kernel) -> None:
    route = Route(posted=12)
    run = await kernel.start_saga(ReversePosted.run, route.reversal(plan=True), route.desk)
    view = await run.result()
    assert view.status is SagaStatus.PLANNED
    assert view.headline == "Preview: nothing was taken back. delete: 12 lines. billed: 3 lines."
    assert (route.world.posted, route.world.taken_back) == (12, 0)


async def test_a_reversal_takes_back_all_that_it_covers(kernel: Kernel) -> None:
    route = Route(posted=12)
    run = await kernel.start_saga(
        ReversePosted.run, route.reversal(plan=False, pace=Pace(piece_lines=5)), route.desk
    )
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    assert (route.world.posted, route.world.taken_back) == (0, 12)


async def test_letting_go_shows_first_and_then_posts(kernel: Kernel) -> None:
    route = Route()
    plan = await kernel.start_saga(ReleaseHeldItems.run, route.release(plan=True), route.desk)
    view = await plan.result()
    assert view.status is SagaStatus.PLANNED
    assert "Would post: 8 lines. Already in the ERP: 2 lines." in view.headline
    assert route.world.open == 0
    run = await kernel.start_saga(ReleaseHeldItems.run, route.release(plan=False), route.desk)
    await run.result()
    posting = kernel.found(route.id(SagaName.POST_APPROVED_TIME, PSA, f"{ERP}.command"), route.desk)
    await posting.result()
    assert route.world.posted == 8
