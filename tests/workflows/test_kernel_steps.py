"""Steps in order, results kept, search attributes only where an operator's lists change."""

from __future__ import annotations

import pytest
from temporalio.api.enums.v1 import EventType

from canonical.saga import SagaStatus, StepState
from tests.workflows.driver import Kernel, step

pytestmark = pytest.mark.anyio

UPSERT = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
MEMO = EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED


async def test_steps_run_in_order_and_hand_on_their_values(kernel: Kernel) -> None:
    run = await kernel.start(
        step("look", "read"),
        step("a"),
        step("b", system="psa"),
        step("p", "pivot"),
        step("z", "forward-only"),
    )
    view = await run.result()
    assert run.desk.calls == ["read look", "do a", "do b", "do p", "do z"]
    assert run.desk.inputs["do z"][0].values == {"a.id": "A", "b.id": "B", "p.id": "P"}
    assert view.status is SagaStatus.COMPLETE
    assert view.pivot_passed
    assert [one.state for one in view.steps] == [StepState.DONE] * 5
    assert [str(ref) for one in view.steps for ref in one.records] == [
        "erp/thing/A",
        "psa/thing/B",
        "erp/thing/P",
        "erp/thing/Z",
    ]
    assert run.desk.books == ["finish complete"]


async def test_the_happy_path_costs_one_search_attribute_event(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), step("b"), step("p", "pivot"), step("z", "forward-only"))
    await run.result()
    assert len(await run.events(UPSERT)) == 1
    assert await run.events(MEMO) == []


async def test_branches_run_side_by_side_and_all_end(kernel: Kernel) -> None:
    run = await kernel.start({"together": [step("a"), step("b", system="psa")]}, step("c"))
    first = run.desk.block("do a")
    await run.began("do a")
    await run.done("b")
    assert "do c" not in run.desk.calls
    first.set()
    await run.result()
    assert run.desk.calls[-1] == "do c"


async def test_plan_mode_undoes_nothing_books_nothing_and_shows_all_writes(kernel: Kernel) -> None:
    run = await kernel.start(step("a"), step("p", "pivot"), plan=True)
    view = await run.result()
    assert view.status is SagaStatus.PLANNED
    assert [write["title"] for write in view.writes] == ["a", "p"]
    assert not view.pivot_passed
    assert run.desk.books == []
    assert await run.events(UPSERT) == []
