"""``RevenueFollowUp``: page by page, side by side; one contract that fails stands in nobody's way."""

from __future__ import annotations

import pytest
from temporalio.api.enums.v1 import EventType

from canonical.causes import Cause
from canonical.saga import RepairAction, SagaStatus
from tests.workflows.driver import Kernel
from tests.workflows.revenue import Follow
from tests.workflows.stubs import away, repair
from workflows.revenue.revenue_follow_up import RevenueFollowUp

pytestmark = pytest.mark.anyio


async def test_every_contract_is_measured_told_and_read_back(kernel: Kernel) -> None:
    follow = Follow("c1", "c2", "c3", plain=frozenset({"c3"}), held=frozenset({"c1"}))
    run = await kernel.start_saga(RevenueFollowUp.run, follow.start(page=2, at_once=1), follow.desk)
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    assert follow.desk.calls[1:] == [
        "list", "measure c1", "send c1", "read c1", "measure c2", "send c2", "read c2", "list c2", "read c3",
    ]  # fmt: skip
    assert view.headline == (
        "Complete. 3 contracts of NL01 for 2026-10: 1 sent, 1 nothing to send, 1 held. "
        "Held: ESTIMATE_MISSING 1. 1 difference to look at."
    )
    assert [step.id for step in view.steps] == ["begin", "collect", "measure", "send", "read"]
    assert [one.cause for one in view.held] == [Cause.ESTIMATE_MISSING]


async def test_nothing_to_follow_is_said(kernel: Kernel) -> None:
    follow = Follow()
    run = await kernel.start_saga(RevenueFollowUp.run, follow.start(), follow.desk)
    view = await run.result()
    assert view.headline == "Complete. No contract of NL01 has work or open revenue in 2026-10."


async def test_contracts_go_side_by_side_and_no_more_than_allowed(kernel: Kernel) -> None:
    follow = Follow(*(f"c{number:02d}" for number in range(12)))
    run = await kernel.start_saga(RevenueFollowUp.run, follow.start(at_once=3, page=5), follow.desk)
    view = await run.result()
    assert sum(one.items for one in view.tallies) == 12
    assert 1 <= follow.world.most_at_once <= 3


async def test_a_contract_that_fails_parks_alone_and_goes_on_once_repaired(kernel: Kernel) -> None:
    follow = Follow("c1", "c2", "c3")
    follow.desk.fail("send c1", repair("no such field"))
    run = await kernel.start_saga(RevenueFollowUp.run, follow.start(at_once=1), follow.desk)
    await run.until(lambda _: "read c3" in follow.desk.calls)
    view = await run.parked("send.c1")
    assert view.status is SagaStatus.PARKED
    assert "read c1" not in follow.desk.calls
    await run.repair("send.c1", RepairAction.RETRY)
    view = await run.result()
    assert (view.status, sum(one.items for one in view.tallies)) == (SagaStatus.COMPLETE, 3)
    assert follow.desk.calls.count("send c2") == 1


async def test_many_parked_contracts_are_one_cause_and_no_more_are_begun(kernel: Kernel) -> None:
    follow = Follow("c1", "c2", "c3", "c4")
    for key in ("c1", "c2"):
        follow.desk.fail(f"send {key}", repair())
    run = await kernel.start_saga(RevenueFollowUp.run, follow.start(at_once=1, most_parked=2), follow.desk)
    await run.parked("send.c1", "send.c2")
    assert "measure c3" not in follow.desk.calls
    await run.repair("send.c1")
    await run.until(lambda _: "read c4" in follow.desk.calls)
    await run.repair("send.c2")
    assert (await run.result()).status is SagaStatus.COMPLETE


async def test_a_system_that_is_away_is_waited_for(kernel: Kernel) -> None:
    follow = Follow("c1")
    follow.desk.fail("read c1", away(), away())
    run = await kernel.start_saga(RevenueFollowUp.run, follow.start(), follow.desk)
    view = await run.result()
    assert (view.status, follow.desk.calls.count("read c1")) == (SagaStatus.COMPLETE, 3)


async def test_a_cancel_stops_at_the_next_contract_and_undoes_nothing(kernel: Kernel) -> None:
    follow = Follow("c1", "c2", "c3")
    gate = follow.desk.block("send c1")
    run = await kernel.start_saga(RevenueFollowUp.run, follow.start(at_once=1), follow.desk)
    await run.began("send c1")
    await run.handle.cancel()
    gate.set()
    view = await run.undone()
    assert view.status is SagaStatus.STOPPED
    assert "what the ERP was told is right and stays" in view.headline
    assert "measure c2" not in follow.desk.calls
    assert not any(call.startswith("undo") for call in follow.desk.calls)


async def test_a_parked_contract_does_not_keep_a_cancel_waiting(kernel: Kernel) -> None:
    follow = Follow("c1")
    follow.desk.fail("send c1", repair())
    run = await kernel.start_saga(RevenueFollowUp.run, follow.start(), follow.desk)
    await run.parked("send.c1")
    await run.handle.cancel()
    assert (await run.undone()).status is SagaStatus.STOPPED


async def test_a_plan_writes_nothing_and_keeps_its_writes(kernel: Kernel) -> None:
    follow = Follow("c1", "c2")
    run = await kernel.start_saga(RevenueFollowUp.run, follow.start(plan=True), follow.desk)
    view = await run.result()
    assert view.status is SagaStatus.PLANNED
    assert sorted(write["key"] for write in view.writes) == ["send.c1", "send.c2"]
    assert view.headline.startswith("Planned: nothing was sent. 2 contracts of NL01")
    assert run.desk.books == []


@pytest.mark.own_server
async def test_a_renewed_run_goes_on_with_what_is_parked_and_what_is_left(kernel: Kernel) -> None:
    follow = Follow("c1", "c2", "c3", "c4")
    follow.desk.fail("send c1", repair())
    gate = follow.desk.block("send c2")
    run = await kernel.start_saga(RevenueFollowUp.run, follow.start(at_once=1, page=2), follow.desk)
    await run.parked("send.c1")
    await run.began("send c2")
    await run.handle.execute_update("renew")
    gate.set()
    latest = kernel.found(run.handle.id, follow.desk)
    await latest.until(lambda _: "read c4" in follow.desk.calls)
    assert follow.desk.calls.count("measure c1") == 1, "what is done is not done again"
    await latest.parked("send.c1")
    await latest.repair("send.c1")
    view = await latest.status(SagaStatus.COMPLETE)
    assert (view.status, sum(one.items for one in view.tallies)) == (SagaStatus.COMPLETE, 4)
    assert follow.desk.calls.count("send c3") == 1
    # This server shows late that the first run has ended; the second one says whose it is.
    (started,) = await latest.events(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
    facts = started.workflow_execution_started_event_attributes
    assert facts.continued_execution_run_id == run.handle.first_execution_run_id, "it went on as another run"
