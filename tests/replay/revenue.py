"""Stories of revenue follow-up whose histories are replayed: each plays one run and answers its handle."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

from temporalio.client import WorkflowFailureError, WorkflowHandle

from canonical.engagement import RevenueMethod
from canonical.saga import RepairAction, RepairCommand, SagaStatus, SagaView
from tests.e2e.billing_firm import Month
from tests.e2e.billing_terms import ERP, PSA, Project, Run, line
from tests.e2e.firm import ROOT_ACTOR
from wiring.start_revenue import RevenueStarts, start_revenue

ENTITY, FIRST = "NL01", date(2026, 11, 1)
ESTIMATE = 6000
"""Minutes of all of a contract's work."""


async def by_input(month: Month, *days: int, estimate: int | None = ESTIMATE) -> Project:
    """A contract whose revenue follows the effort, with posted days and an estimated task."""
    project = await month.contract(line(revenue_method=RevenueMethod.OVER_TIME_INPUT))
    task: dict[str, Any] = {
        "id": next(month.ids),
        "workspace_id": project.workspace,
        "title": "Advise",
        "story_type": "task",
        "time_estimate_in_minutes": estimate,
    }
    month.firm.control(PSA, "POST", "seed", {"stories": [task]})
    if days:
        month.time(project, *days)
        await month.posting(f"for-{project.contract}".replace(".", "-"))
    return project


async def follow_up(month: Month, *, plan: bool = False) -> Run:
    """Start the follow-up of November."""
    starts = RevenueStarts(month.firm.settings, month.firm.mapping, ROOT_ACTOR)
    start = starts.follow_up(PSA, ERP, ENTITY, FIRST, plan=plan)
    handle: WorkflowHandle[Any, SagaView] = await start_revenue(month.firm.client, start)
    return handle


async def revenue_followed(month: Month) -> Run:
    """One contract is told, one is held, one needs nothing."""
    await by_input(month, 2, 3)
    await by_input(month, estimate=None)
    await month.contract()
    run = await follow_up(month)
    await month.until(run, SagaStatus.COMPLETE)
    return run


async def revenue_parked_and_repaired(month: Month) -> Run:
    """NetSuite refuses the project; the others go on; it is retried."""
    await by_input(month, 4)
    month.firm.fault(ERP, kind="business", method="PATCH", path="/job/", message="locked", times=1)
    run = await follow_up(month)
    view = await month.until(run, SagaStatus.PARKED)
    (step,) = view.parked_steps
    command = RepairCommand(
        command_id="again", step=step.id, action=RepairAction.RETRY, actor=ROOT_ACTOR, reason="unlocked"
    )
    await run.execute_update("resolve_step", command, result_type=SagaView)
    await month.until(run, SagaStatus.COMPLETE)
    return run


async def revenue_stopped(month: Month) -> Run:
    """Cancelled while a contract is parked: what was sent stays."""
    await by_input(month, 5)
    month.firm.fault(ERP, kind="business", method="PATCH", path="/job/", message="locked", times=1)
    run = await follow_up(month)
    await month.until(run, SagaStatus.PARKED)
    await run.cancel()
    with contextlib.suppress(WorkflowFailureError):
        await asyncio.wait_for(run.result(), 30)
    return run


async def revenue_planned(month: Month) -> Run:
    """A plan."""
    await by_input(month, 6)
    run = await follow_up(month, plan=True)
    await run.result()
    return run


REVENUE_STORIES: tuple[Callable[[Month], Awaitable[Run]], ...] = (
    revenue_followed,
    revenue_parked_and_repaired,
    revenue_stopped,
    revenue_planned,
)
