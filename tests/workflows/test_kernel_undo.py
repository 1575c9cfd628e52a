"""Undo: registered before its step, last first, survives a second cancel and a failing undo."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError, CancelledError

from activities.contracts import LeftStep
from canonical.causes import Cause
from canonical.saga import RepairAction, SagaStatus, StepState
from tests.workflows.driver import Kernel, Run, refusal, step
from tests.workflows.stubs import Desk, away, record, repair

pytestmark = pytest.mark.anyio


def undos(run: Run) -> list[str]:
    return [call.removeprefix("undo ") for call in run.desk.calls if call.startswith("undo ")]


async def test_cancel_while_the_first_step_runs_undoes_that_step(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), step("b"))
    going = run.desk.block("do a")
    await run.began("do a")
    await run.handle.cancel()
    going.set()
    assert isinstance(await run.failure(), CancelledError)
    view = await run.view()
    assert run.desk.calls == ["do a", "undo a"]
    assert view.status is SagaStatus.UNDONE
    assert view.gaps == ("gap-a",)
    command = run.desk.inputs["undo a"][0]
    assert command.step_key == f"{view.saga_id}|g1|a"


async def test_a_step_that_never_landed_is_undone_too(kernel: Kernel) -> None:
    """Its undo was registered before it ran: whether anything is there, only the vendor knows."""
    run = await kernel.start(step("a"), step("b"))
    run.desk.fail("do b", repair("no"))
    await run.parked("b")
    await run.repair("b", RepairAction.UNDO_ALL)
    await run.undone("no")
    assert undos(run) == ["b", "a"]


async def test_undo_is_last_first_over_systems_and_leaves_reads_alone(kernel: Kernel) -> None:
    run = await kernel.start(
        step("look", "read"), step("a"), step("b", system="psa"), step("c", system="crm"), step("d")
    )
    run.desk.fail("do d", repair("no"))
    await run.parked("d")
    await run.repair("d", RepairAction.UNDO_ALL)
    await run.undone("no")
    assert undos(run) == ["d", "c", "b", "a"]
    systems = [run.desk.inputs[f"undo {one}"][0].system for one in "dcba"]
    assert systems == ["erp", "crm", "psa", "erp"]


async def test_a_cancel_between_steps_starts_no_further_step(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), step("b"), step("c"))
    going = run.desk.block("do b")
    await run.began("do b")
    await run.handle.cancel()
    going.set()
    await run.undone()
    assert run.desk.calls == ["do a", "do b", "undo b", "undo a"]


async def test_cancel_while_parked_undoes_everything(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), step("b"))
    run.desk.fail("do b", repair())
    await run.parked("b")
    await run.handle.cancel()
    assert isinstance(await run.failure(), CancelledError)
    assert undos(run) == ["b", "a"]
    assert "close b" in run.desk.books


async def test_what_an_earlier_run_did_is_undone_by_one_that_was_reset(kernel: Kernel) -> None:
    """It was reset to its beginning and knows of one write; of the other the ledger knows."""
    desk = Desk()
    going = desk.block("do a")
    run = await kernel.start(step("a"), step("b"), desk=desk)
    prefix = f"{run.handle.id}|g1|"
    desk.left = [
        LeftStep(step=one, step_key=prefix + one, system="erp", title=f"Do {one}") for one in ("a", "b")
    ]
    await run.began("do a")
    await run.handle.cancel()
    going.set()
    await run.undone()
    assert undos(run) == ["b", "a"]
    assert desk.inputs["undo b"][0].step_key == prefix + "b"


async def test_a_run_that_was_reset_and_cannot_begin_undoes_what_the_earlier_one_did(kernel: Kernel) -> None:
    """As far as it can tell nothing was written; the ledger knows better."""
    desk = Desk()
    desk.fail("read a", repair("not won any more", cause=Cause.DEAL_NOT_WON))
    going = desk.block("read a")
    run = await kernel.start(step("a", "read"), desk=desk)
    desk.left = [
        LeftStep(step="b", step_key=f"{run.handle.id}|g1|b", system="erp", title="Do b"),
    ]
    going.set()
    await run.undone("not won any more")
    assert undos(run) == ["b"]
    assert (await run.view()).status is SagaStatus.UNDONE


async def test_a_run_that_cannot_begin_and_left_nothing_is_not_started(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("read a", repair("not won", cause=Cause.DEAL_NOT_WON))
    run = await kernel.start(step("a", "read"), desk=desk)
    await run.undone("not won")
    assert undos(run) == []
    assert (await run.view()).status is SagaStatus.FAILED


async def test_cancel_while_waiting_undoes_everything(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), step("b"))
    run.desk.fail("do b", away(), away())
    await run.status(SagaStatus.WAITING)
    await run.handle.cancel()
    assert isinstance(await run.failure(), CancelledError)
    assert undos(run) == ["b", "a"]


async def test_a_second_cancel_does_not_stop_the_undo(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), step("b"), step("c"))
    going, undoing = run.desk.block("do b"), run.desk.block("undo b")
    await run.began("do b")
    await run.handle.cancel()
    going.set()
    await run.began("undo b")
    await run.handle.cancel()
    undoing.set()
    await run.undone()
    assert undos(run) == ["b", "a"]
    assert run.desk.books[-1] == "finish undone"


async def test_a_blocked_undo_parks_and_the_others_go_on(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), step("b"), step("c"), step("d"))
    run.desk.fail("do d", repair("no"))
    run.desk.fail("undo b", repair("locked", cause=Cause.UNDO_BLOCKED))
    await run.parked("d")
    await run.repair("d", RepairAction.UNDO_ALL)
    view = await run.until(
        lambda view: any(one.id == "undo.a" and one.state is StepState.UNDONE for one in view.steps)
    )
    assert view.status is SagaStatus.UNDO_BLOCKED
    assert undos(run) == ["d", "c", "b", "a"]
    stuck = view.parked_steps[0]
    assert stuck.id == "undo.b"
    assert stuck.failure is not None
    assert stuck.failure.survivors == (record("b", "erp"),)
    await run.booked("open undo.b")
    await run.repair("undo.b")
    assert (await run.undone("no")).status is SagaStatus.UNDONE
    assert undos(run) == ["d", "c", "b", "a", "b"]
    assert "close undo.b" in run.desk.books


async def test_a_blocked_undo_can_be_declared_handled_by_hand(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), step("b"))
    run.desk.fail("do b", repair("no"))
    run.desk.fail("undo a", repair("locked"))
    await run.parked("b")
    await run.repair("b", RepairAction.UNDO_ALL)
    await run.status(SagaStatus.UNDO_BLOCKED)
    assert (
        await refusal(run.repair("undo.a", RepairAction.UNDO_ALL))
        == "While undoing, a step can only be retried or skipped."
    )
    await run.repair("undo.a", RepairAction.SKIP, reason="deleted by hand")
    view = await run.undone("no")
    assert [one.state for one in view.steps if one.id == "undo.a"] == [StepState.SKIPPED]
    assert undos(run) == ["b", "a"]


async def test_an_undo_refused_because_of_a_blocked_one_is_tried_again_with_it(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), step("b"), step("c"))
    run.desk.fail("do c", repair("no"))
    run.desk.fail("undo b", repair("locked"))
    run.desk.fail("undo a", repair("b refers to it"))
    await run.parked("c")
    await run.repair("c", RepairAction.UNDO_ALL)
    await run.parked("undo.a", "undo.b")
    await run.repair("undo.b")
    await run.undone("no")
    assert undos(run) == ["c", "b", "a", "b", "a"]


async def test_an_undo_waits_while_its_system_is_away_and_goes_on_by_itself(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), step("b"))
    run.desk.fail("do b", repair("no"))
    run.desk.fail("undo b", away(), away())
    await run.parked("b")
    await run.repair("b", RepairAction.UNDO_ALL)
    await run.booked("open undo.b")
    view = await run.undone("no")
    assert view.status is SagaStatus.UNDONE
    assert undos(run) == ["b", "b", "b", "a"]
    assert "close undo.b" in run.desk.books


async def test_a_step_the_business_no_longer_wants_is_undone_and_the_saga_goes_on(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), step("b"), {"retract": "b"}, step("c"))
    view = await run.result()
    assert run.desk.calls == ["do a", "do b", "undo b", "do c"]
    assert "b" not in {one.id for one in view.steps}


async def test_a_blocked_retraction_parks_until_repaired(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), {"retract": "a"}, step("c"))
    run.desk.fail("undo a", repair("locked"))
    await run.parked("undo.a")
    await run.repair("undo.a")
    await run.result()
    assert run.desk.calls == ["do a", "undo a", "undo a", "do c"]


async def test_a_business_stop_ends_with_its_own_failure(kernel: Kernel) -> None:
    lost = repair("no longer won", cause=Cause.DEAL_LOST_MEANWHILE).model_dump(mode="json")
    run = await kernel.start(step("a"), {"stop": "undone", "failure": lost})
    cause = await run.failure()
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.message) == ("DEAL_LOST_MEANWHILE", "no longer won")
    assert cause.details[0]["status"] == "undone"
    assert cause.details[0]["gaps"] == ["gap-a"]
    assert undos(run) == ["a"]


async def test_a_fatal_cause_before_the_first_write_ends_as_failed(kernel: Kernel) -> None:
    run = await kernel.start(step("look", "read"))
    run.desk.fail("read look", repair("there is no such deal", cause=Cause.DEAL_NOT_FOUND))
    cause = await run.failure()
    assert isinstance(cause, ApplicationError)
    assert cause.type == "DEAL_NOT_FOUND"
    assert (await run.view()).status is SagaStatus.FAILED
    assert run.desk.books == ["finish failed"]


@pytest.mark.own_server
async def test_time_spent_waiting_for_people_is_counted_apart(kernel: Kernel) -> None:
    run = await kernel.start(step("a"))
    run.desk.fail("do a", repair())
    await run.parked("a")
    await run.booked("open a")
    await run.skip(hours=2)
    await run.repair("a")
    view = await run.result()
    assert view.human_seconds >= timedelta(hours=2).total_seconds()
