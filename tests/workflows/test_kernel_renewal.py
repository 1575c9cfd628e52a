"""Continue as new from any wait or park: the saga goes on where it stood, on current code."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.api.enums.v1 import EventType

from canonical.saga import GateOutcome, RepairAction, SagaStatus, StepState
from tests.workflows.driver import PATIENCE, Kernel, Run, gate, step
from tests.workflows.stubs import Desk, repair

pytestmark = [pytest.mark.anyio, pytest.mark.own_server]

CONTINUED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW


async def renewed(run: Run) -> None:
    """Ask for it, and wait until the next run stands where the one before stood."""
    before, old = await run.view(), run.handle.first_execution_run_id
    await run.handle.execute_update("renew")
    async with asyncio.timeout(2 * PATIENCE):
        while not await run.events(CONTINUED, run_id=old):
            await run.view()
    view = await run.status(before.status)
    assert [(one.id, one.state) for one in view.steps] == [(one.id, one.state) for one in before.steps]


async def test_a_parked_saga_moves_to_a_new_run_and_is_repaired_there(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do b", repair("no"))
    run = await kernel.start(step("look", "read"), step("a"), step("b"), step("c"), desk=desk)
    await run.parked("b")
    await renewed(run)
    assert desk.calls == ["read look", "do a", "do b"]
    await run.repair("b")
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    assert desk.calls == ["read look", "do a", "do b", "do b", "do c"]
    assert desk.inputs["do c"][0].values == {"a.id": "A", "b.id": "B"}
    assert await run.handle.query("seen") == ["look, as planned"]
    assert desk.books == ["open b", "decide b", "close b", "finish complete"]


async def test_undo_after_a_renewal_knows_what_was_built_before(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do b", repair("no"))
    run = await kernel.start(step("a"), step("b"), desk=desk)
    await run.parked("b")
    await renewed(run)
    await run.repair("b", RepairAction.UNDO_ALL)
    await run.undone("no")
    assert desk.calls == ["do a", "do b", "undo b", "undo a"]


async def test_a_gate_survives_a_renewal(kernel: Kernel) -> None:
    run = await kernel.start(gate("gate.sow"), gate(), step("a"))
    await run.status(SagaStatus.GATED)
    await run.decide(GateOutcome.APPROVE, "gate.sow")
    await run.until(lambda view: [one.id for one in view.gates] == ["gate.credit"])
    await renewed(run)
    await run.decide(GateOutcome.APPROVE)
    assert (await run.result()).status is SagaStatus.COMPLETE
    assert await run.handle.query("seen") == ["approve", "approve"]


async def test_a_blocked_undo_survives_a_renewal(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do b", repair("no"))
    desk.fail("undo a", repair("locked"))
    run = await kernel.start(step("a"), step("b"), desk=desk)
    await run.parked("b")
    await run.repair("b", RepairAction.UNDO_ALL)
    await run.status(SagaStatus.UNDO_BLOCKED)
    await renewed(run)
    assert desk.calls == ["do a", "do b", "undo b", "undo a"]
    await run.repair("undo.a")
    await run.undone("no")
    assert desk.calls == ["do a", "do b", "undo b", "undo a", "undo a"]


async def test_commands_of_the_earlier_run_are_remembered(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do b", repair("no"), repair("still no"))
    run = await kernel.start(step("a"), step("b"), desk=desk)
    await run.parked("b")
    await run.repair("b", command="the-same")
    await run.until(lambda view: "still no" in view.headline)
    await renewed(run)
    await run.repair("b", command="the-same")
    assert desk.calls == ["do a", "do b", "do b"]
    await run.repair("b")
    assert (await run.result()).status is SagaStatus.COMPLETE


async def test_an_amendment_survives_a_renewal(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do b", repair("no"), repair("still no"))
    run = await kernel.start(step("b"), desk=desk)
    await run.parked("b")
    await run.repair("b", RepairAction.RETRY_AMENDED, amended_input={"note": "corrected"})
    await run.until(lambda view: "still no" in view.headline)
    await renewed(run)
    await run.repair("b")
    await run.result()
    assert desk.inputs["do b"][-1].note == "corrected"


async def test_a_skipped_step_stays_skipped(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do a", repair("no"))
    desk.fail("do b", repair("no"))
    run = await kernel.start(step("a"), step("b"), desk=desk)
    await run.parked("a")
    await run.repair("a", RepairAction.SKIP, result={"values": {"a.id": "by hand"}})
    await run.parked("b")
    await renewed(run)
    await run.repair("b")
    view = await run.result()
    assert desk.inputs["do b"][-1].values == {"a.id": "by hand"}
    assert [one.state for one in view.steps] == [StepState.SKIPPED, StepState.DONE]


async def test_a_saga_parked_for_a_week_moves_by_itself(kernel: Kernel) -> None:
    desk = Desk()
    desk.fail("do b", repair("no"))
    run = await kernel.start(step("a"), step("b"), desk=desk)
    await run.parked("b")
    await run.booked("open b")
    old = run.handle.first_execution_run_id
    assert old is not None
    for _ in range(8):
        await run.skip(days=1)
    await run.skip(hours=1)
    assert await run.events(CONTINUED, run_id=old)
    await run.repair("b")
    assert (await run.result()).status is SagaStatus.COMPLETE


async def test_renewing_a_busy_saga_waits_for_a_quiet_moment(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), step("b"))
    going = run.desk.block("do a")
    await run.began("do a")
    await run.handle.execute_update("renew")
    assert await run.events(CONTINUED, run_id=run.handle.first_execution_run_id) == []
    going.set()
    assert (await run.result()).status is SagaStatus.COMPLETE
    assert run.desk.calls == ["do a", "do b"]
