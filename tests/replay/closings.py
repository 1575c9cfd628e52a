"""Stories of closings whose histories are replayed: each plays them on a contract of its own and answers the
handle of one run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from canonical.saga import SagaStatus
from tests.e2e.billing_terms import ERP, Run
from tests.e2e.closing_firm import Closings


async def close_project_asked_then_closed(month: Closings) -> Run:
    """Revenue is not recognised; then it is, and the closing goes through."""
    project = await month.contract()
    run = await month.close_project(project)
    await month.until(run, SagaStatus.GATED)
    month.recognised(project)
    await month.answer(run, "look-again")
    await month.until(run, SagaStatus.COMPLETE)
    return run


async def close_project_rejected(month: Closings) -> Run:
    """Somebody says that it is not the time."""
    run = await month.close_project(await month.contract())
    await month.give_up(run)
    return run


async def close_project_given_up(month: Closings) -> Run:
    """Finance refuses; delivery is opened again."""
    project = await month.contract()
    month.recognised(project)
    month.firm.fault(ERP, kind="business", method="PATCH", path="/job/", message="no")
    run = await month.close_project(project)
    await month.until(run, SagaStatus.PARKED)
    month.firm.calm()
    await run.cancel()
    await month.until(run, SagaStatus.UNDONE)
    return run


async def reopen_project_opened(month: Closings) -> Run:
    """A closed project is opened again."""
    project = await month.contract()
    month.recognised(project)
    await month.until(await month.close_project(project), SagaStatus.COMPLETE)
    run = await month.reopen_project(project)
    await month.until(run, SagaStatus.COMPLETE)
    return run


CLOSE_STORIES: tuple[Callable[[Closings], Awaitable[Run]], ...] = (
    close_project_asked_then_closed,
    close_project_rejected,
    close_project_given_up,
    reopen_project_opened,
)
