"""``PostApprovedTime``: pieces side by side, one bad line holds nobody, stop, renewal, short histories."""

from __future__ import annotations

import pytest
from temporalio.api.enums.v1 import EventType

from activities.contracts import Pace
from canonical.causes import Cause
from canonical.names import SagaName
from canonical.saga import RepairAction, SagaStatus, StepState
from tests.workflows.billing import ERP, Route, euros
from tests.workflows.driver import Kernel, refusal
from tests.workflows.stubs import away, repair
from workflows.billing.post_approved_time import PostApprovedTime

pytestmark = pytest.mark.anyio

CONTINUED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW


def count(calls: list[str], word: str) -> int:
    return sum(call.split()[0] == word for call in calls)


async def test_everything_is_read_posted_and_marked(kernel: Kernel) -> None:
    route = Route(feed=[100, 50], open=7)
    run = await kernel.start_saga(PostApprovedTime.run, route.posting(), route.desk)
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    assert (route.world.open, route.world.posted, route.world.marked) == (0, 157, 157)
    assert view.headline == "Complete. Posted 157 lines, 157.0 h, EUR 15,700.00."
    tallies = {one.state: one.items for one in view.tallies}
    assert (tallies["read"], tallies["posted"], tallies["marked"]) == (150, 157, 157)
    assert view.rate is not None
    assert view.rate.limit == 5


async def test_what_a_failed_attempt_read_is_posted_by_this_run(kernel: Kernel) -> None:
    """The attempt that took it in died after it, when the first piece had found nothing."""
    route = Route(feed=[30])
    route.world.known = True
    reading = route.desk.block("collect")
    run = await kernel.start_saga(PostApprovedTime.run, route.posting(), route.desk)
    await run.began("prepare 1")
    reading.set()
    view = await run.result()
    assert (view.status, route.world.posted) == (SagaStatus.COMPLETE, 30)


async def test_a_mark_that_delivery_refuses_holds_up_nobody_and_is_said(kernel: Kernel) -> None:
    route = Route(open=7)
    route.world.unmarkable = 2
    run = await kernel.start_saga(PostApprovedTime.run, route.posting(), route.desk)
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    assert (route.world.posted, route.world.marked) == (7, 5)
    assert "kantata-main refused to mark 2 lines: the next run tries again." in view.headline


async def test_steps_are_one_line_a_stage_however_many_pieces(kernel: Kernel) -> None:
    route = Route(feed=[10] * 12)
    run = await kernel.start_saga(PostApprovedTime.run, route.posting(pace=Pace(piece_lines=5)), route.desk)
    view = await run.result()
    assert route.world.posted == 120
    stages = ["begin", "collect", "prepare", "reverse", "post", "mark", "standing"]
    assert [step.id for step in view.steps] == stages
    notes = {step.id: step.note for step in view.steps}
    assert notes["post"] == "120 posted"


async def test_pieces_overlap_within_their_window(kernel: Kernel) -> None:
    route = Route(open=50)
    pace = Pace(piece_lines=10, pieces_at_once=2)
    first, second = (route.desk.block(f"post {number}") for number in (1, 2))
    run = await kernel.start_saga(PostApprovedTime.run, route.posting(pace=pace), route.desk)
    await run.began("post 1")
    await run.began("post 2")
    assert "prepare 3" not in route.desk.calls
    first.set()
    await run.began("post 3")
    second.set()
    await run.result()
    assert route.world.most_at_once == 2
    assert route.world.posted == 50


async def test_held_lines_hold_up_nobody(kernel: Kernel) -> None:
    route = Route(open=30, bad={1: 4, 2: 3})
    run = await kernel.start_saga(PostApprovedTime.run, route.posting(pace=Pace(piece_lines=15)), route.desk)
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    assert route.world.posted == 23
    assert [(one.cause, one.tally.items) for one in view.held] == [(Cause.RATE_MISSING, 7)]
    assert view.held[0].tally.amounts == (euros(700),)
    assert "Held: 7 lines, 7.0 h, EUR 700.00 (RATE_MISSING 7)." in view.headline


async def test_a_vendor_that_is_away_is_waited_for(kernel: Kernel) -> None:
    route = Route(open=10)
    route.desk.fail("post 1", away(), away())
    run = await kernel.start_saga(PostApprovedTime.run, route.posting(), route.desk)
    await run.result()
    assert count(route.desk.calls, "post") == 3
    assert route.world.posted == 10


async def test_a_piece_that_needs_a_person_parks_alone(kernel: Kernel) -> None:
    route = Route(open=30)
    route.desk.fail("post 1", repair("who is this?"))
    run = await kernel.start_saga(PostApprovedTime.run, route.posting(pace=Pace(piece_lines=10)), route.desk)
    await run.parked("post.1")
    view = await run.until(lambda view: route.world.posted == 20)
    assert [step.id for step in view.parked_steps] == ["post.1"]
    words = await refusal(run.repair("post.1", RepairAction.UNDO_ALL))
    assert words.startswith("What is done stays: stop it with `trueup cancel pat:")
    await run.repair("post.1")
    view = await run.result()
    assert route.world.posted == 30
    assert "reverse" in {step.id for step in view.steps if step.note == "nothing to do"}
    assert StepState.PENDING not in {step.state for step in view.steps}


async def test_reversals_come_before_replacements(kernel: Kernel) -> None:
    route = Route(open=10, reversals={1: 3})
    run = await kernel.start_saga(PostApprovedTime.run, route.posting(), route.desk)
    await run.result()
    calls = [call for call in route.desk.calls if call in ("reverse 1", "post 1")]
    assert calls == ["reverse 1", "post 1"]
    assert route.world.taken_back == 3


async def test_cancel_stops_at_the_next_batch_and_posted_stays_posted(kernel: Kernel) -> None:
    route = Route(open=40)
    route.desk.block("post 1")
    run = await kernel.start_saga(PostApprovedTime.run, route.posting(), route.desk)
    await run.began("post 1")
    await run.handle.cancel()
    await run.undone()
    view = await run.view()
    assert view.status is SagaStatus.STOPPED
    assert view.headline.startswith("Stopped at a batch: what is posted stays")
    assert "Posted 20 lines" in view.headline
    assert (route.world.posted, route.world.open) == (20, 20)
    assert not any(call.startswith("undo") for call in route.desk.calls)
    route.desk.gates.clear()
    again = await kernel.start_saga(PostApprovedTime.run, route.posting(), route.desk)
    await again.result()
    assert (route.world.posted, route.world.open) == (40, 0)


async def test_a_long_run_continues_as_new_and_loses_nothing(kernel: Kernel) -> None:
    route = Route(feed=[10] * 5, bad={2: 1})
    pace = Pace(piece_lines=5, pieces_per_run=3)
    run = await kernel.start_saga(PostApprovedTime.run, route.posting(pace=pace), route.desk)
    view = await run.result()
    assert view.status is SagaStatus.COMPLETE
    assert (route.world.posted, route.world.marked) == (49, 49)
    assert {one.state: one.items for one in view.tallies}["posted"] == 49
    first = await run.events(CONTINUED, run_id=run.handle.first_execution_run_id)
    assert len(first) == 1
    numbers = [int(call.split()[1]) for call in route.desk.calls if call.startswith("prepare")]
    assert numbers == sorted(set(numbers)), "no piece is begun twice"


async def test_a_parked_piece_moves_to_current_code(kernel: Kernel) -> None:
    route = Route(open=20)
    route.desk.fail("post 1", repair("who is this?"))
    run = await kernel.start_saga(PostApprovedTime.run, route.posting(pace=Pace(piece_lines=10)), route.desk)
    await run.parked("post.1")
    await run.until(lambda _: route.world.posted == 10)
    await run.handle.execute_update("renew")
    latest = kernel.found(run.handle.id, route.desk)
    await latest.parked("post.1")
    await latest.repair("post.1")
    await latest.result()
    assert route.world.posted == 20
    assert count(route.desk.calls, "prepare") == len({c for c in route.desk.calls if c.startswith("prepare")})


async def test_a_history_is_short(kernel: Kernel) -> None:
    """Fewer than 25 events per 1,000 lines, from pieces of 2,000 lines on."""
    route = Route(feed=[2_000] * 10)
    run = await kernel.start_saga(
        PostApprovedTime.run, route.posting(pace=Pace(piece_lines=2_000)), route.desk
    )
    await run.result()
    assert route.world.posted == 20_000
    assert len(await run.events()) < 25 * 20


async def test_a_line_changed_after_its_invoice_is_proposed_as_a_credit(kernel: Kernel) -> None:
    route = Route(open=20, credits={1: ("acme/2026-10/1",), 2: ("acme/2026-10/1",)})
    run = await kernel.start_saga(PostApprovedTime.run, route.posting(pace=Pace(piece_lines=10)), route.desk)
    await run.result()
    proposed = kernel.found(route.id(SagaName.CREDIT_INVOICE, ERP, "acme.2026-10.1"), route.desk)
    await proposed.status(SagaStatus.GATED)
    assert count(route.desk.calls, "shape") == 1
