"""The pivot: before it everything can be undone, after it there is only forward."""

from __future__ import annotations

import pytest

from activities.options import Timings
from canonical.causes import Cause, Queue
from canonical.failures import FailureKind
from canonical.saga import RepairAction, SagaStatus
from tests.workflows.driver import Kernel, refusal, step
from tests.workflows.stubs import Desk, away, repair
from workflows.kernel.waiting import UNKNOWN_ROUNDS

pytestmark = pytest.mark.anyio

FORWARD_ONLY = "The project is already active: correct it forward, or with a business document."


async def test_cancel_after_the_pivot_goes_forward(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), step("p", "pivot"), step("z", "forward-only"))
    going = run.desk.block("do z")
    await run.began("do z")
    await run.handle.cancel()
    view = await run.until(lambda view: "Cancel came after activation" in view.headline)
    assert view.pivot_passed
    going.set()
    assert (await run.result()).status is SagaStatus.COMPLETE
    assert run.desk.calls == ["do a", "do p", "do z"]


async def test_cancel_while_the_pivot_runs_lets_it_decide(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), step("p", "pivot"), step("z", "forward-only"))
    going = run.desk.block("do p")
    await run.began("do p")
    await run.handle.cancel()
    going.set()
    assert (await run.result()).status is SagaStatus.COMPLETE
    assert run.desk.calls == ["do a", "do p", "do z"]


async def test_cancel_at_a_pivot_that_was_refused_undoes(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do p", repair("no"))
    run = await kernel.start(step("a"), step("p", "pivot"), desk=desk)
    await run.parked("p")
    await run.handle.cancel()
    await run.undone()
    assert desk.calls == ["do a", "do p", "undo a"]


PASSED = repair("Approve order: done", cause=Cause.PIVOT_PASSED, queue=Queue.INFRASTRUCTURE)
"""What the ledger answers to an undo in a run that was reset to before its pivot."""


async def test_a_cancel_in_a_run_reset_to_before_its_pivot_goes_forward(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("undo b", PASSED)
    run = await kernel.start(step("a"), step("b"), step("c"), step("p", "pivot"), desk=desk)
    going = desk.block("do b")
    await run.began("do b")
    await run.handle.cancel()
    going.set()
    view = await run.result()
    assert (view.status, view.pivot_passed) == (SagaStatus.COMPLETE, True)
    assert desk.calls == ["do a", "do b", "undo b", "do c", "do p"]
    assert not [one for one in view.steps if one.id.startswith("undo.")]


async def test_undo_all_in_a_run_reset_to_before_its_pivot_goes_forward(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do b", repair("no"))
    desk.fail("undo b", PASSED)
    run = await kernel.start(step("a"), step("b"), step("p", "pivot"), desk=desk)
    await run.parked("b")
    await run.repair("b", RepairAction.UNDO_ALL)
    assert (await run.result()).status is SagaStatus.COMPLETE
    assert desk.calls == ["do a", "do b", "undo b", "do b", "do p"]


async def test_a_pivot_that_may_have_landed_counts_as_passed(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do p", repair("half of it is there", maybe_landed=True))
    run = await kernel.start(step("a"), step("p", "pivot"), desk=desk)
    view = await run.parked("p")
    assert view.pivot_passed
    assert await refusal(run.repair("p", RepairAction.UNDO_ALL)) == FORWARD_ONLY
    await run.handle.cancel()
    await run.repair("p")
    assert (await run.result()).status is SagaStatus.COMPLETE
    assert desk.calls == ["do a", "do p", "do p"]


async def test_a_pivot_refused_before_anything_landed_can_be_undone(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do p", repair("no"))
    run = await kernel.start(step("a"), step("p", "pivot"), desk=desk)
    view = await run.parked("p")
    assert not view.pivot_passed
    await run.repair("p", RepairAction.UNDO_ALL)
    await run.undone("no")
    assert desk.calls == ["do a", "do p", "undo a"]


async def test_an_unknown_outcome_of_the_pivot_is_never_undone_by_a_cancel(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do p", away(kind=FailureKind.UNKNOWN_OUTCOME, maybe_landed=True))
    run = await kernel.start(step("a"), step("p", "pivot"), desk=desk)
    view = await run.status(SagaStatus.WAITING)
    assert view.pivot_passed
    await run.handle.cancel()
    assert (await run.result()).status is SagaStatus.COMPLETE
    assert desk.calls == ["do a", "do p", "do p"]


async def test_an_outcome_that_stays_unknown_is_a_persons_in_the_end(kernel: Kernel) -> None:
    """Every new try looks before it sends, so waiting is safe; for ever it would be a stuck saga."""
    desk = Desk()
    lost = away(kind=FailureKind.UNKNOWN_OUTCOME, cause=Cause.OUTCOME_UNKNOWN, maybe_landed=True)
    desk.fail("do a", *(lost for _ in range(UNKNOWN_ROUNDS + 1)))
    run = await kernel.start(step("a"), desk=desk, timings=Timings(attempts=1, wait_first=0.01))
    view = await run.parked("a")
    assert view.cause is Cause.OUTCOME_UNKNOWN
    assert len(desk.calls) == UNKNOWN_ROUNDS + 1
    await run.repair("a")
    assert (await run.result()).status is SagaStatus.COMPLETE


async def test_an_unknown_outcome_after_a_long_outage_is_waited_for_like_any_other(kernel: Kernel) -> None:
    desk = Desk()
    lost = away(kind=FailureKind.UNKNOWN_OUTCOME, cause=Cause.OUTCOME_UNKNOWN, maybe_landed=True)
    desk.fail("do a", *(away() for _ in range(UNKNOWN_ROUNDS + 1)), lost)
    run = await kernel.start(step("a"), desk=desk, timings=Timings(attempts=1, wait_first=0.01))
    assert (await run.result()).status is SagaStatus.COMPLETE
    assert desk.calls == ["do a"] * (UNKNOWN_ROUNDS + 3)


async def test_the_first_of_a_group_of_pivots_is_the_pivot(kernel: Kernel) -> None:
    """Activation is a group: once one contract is approved, the others are repaired forward."""
    desk = Desk()
    desk.fail("do q", repair("no"))
    run = await kernel.start(
        step("a"), {"together": [step("p", "pivot"), step("q", "pivot", "psa")]}, desk=desk
    )
    await run.parked("q")
    await run.done("p")
    assert await refusal(run.repair("q", RepairAction.UNDO_ALL)) == FORWARD_ONLY
    await run.repair("q")
    assert (await run.result()).status is SagaStatus.COMPLETE


async def test_skipping_the_pivot_passes_it(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do p", repair("no"))
    desk.fail("do z", repair("no"))
    run = await kernel.start(step("p", "pivot"), step("z", "forward-only"), desk=desk)
    await run.parked("p")
    await run.repair("p", RepairAction.SKIP, result={})
    await run.parked("z")
    assert await refusal(run.repair("z", RepairAction.UNDO_ALL)) == FORWARD_ONLY
    await run.repair("z")
    assert (await run.result()).pivot_passed


async def test_after_the_pivot_a_vendor_that_is_away_is_waited_for_despite_a_cancel(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do z", away(), away())
    run = await kernel.start(step("p", "pivot"), step("z", "forward-only"), desk=desk)
    await run.status(SagaStatus.WAITING)
    await run.handle.cancel()
    assert (await run.result()).status is SagaStatus.COMPLETE
    assert desk.calls == ["do p", "do z", "do z", "do z"]
