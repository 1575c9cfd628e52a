"""What a schedule starts, made on the day: wiring says how starts are built, this says which."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, date
from typing import Protocol

from temporalio import activity

from activities.contracts import (
    PreparedRun,
    PrepareRun,
    ScheduleActivities,
    StartPoll,
    StartPosting,
    StartRevenueFollowUp,
    StartTimeToBilling,
)
from activities.failures import guarded
from canonical.names import SagaName
from rules.cutoffs import cutoff_day


class Starts(Protocol):
    """Builds starts from today's settings and field mappings."""

    def posting(
        self, psa: str, erp: str, run: str, *, through: date | None = None, reason: str = ""
    ) -> StartPosting:
        """Posting on a route."""
        ...

    def poll(
        self, system: str, name: str, *, deals: bool = False, scan: bool = False, reason: str = ""
    ) -> StartPoll:
        """A poll of an ERP's changes, or of a CRM's won deals."""
        ...

    def cutoff(self, psa: str, erp: str, through: date, reason: str = "") -> StartTimeToBilling:
        """Posting and billing up to a day."""
        ...

    def revenue(self, psa: str, erp: str, entity: str, first: date, reason: str = "") -> StartRevenueFollowUp:
        """Revenue of an entity for the month that ``first`` begins."""
        ...


class ScheduleActivitiesOver(ScheduleActivities):
    """Builds starts. One per worker process."""

    def __init__(self, starts: Callable[[], Awaitable[Starts]]) -> None:
        self._starts = starts

    @activity.defn(name="schedules.prepare")
    @guarded
    async def prepare(self, command: PrepareRun) -> PreparedRun:
        """The start of a run that is due."""
        wanted = command.wanted
        rule = wanted.cutoff
        through = cutoff_day(rule.value, command.due, wanted.timezone) if rule is not None else None
        starts, reason = await self._starts(), f"schedule {wanted.schedule}"
        if wanted.run is SagaName.POLL_CHANGES:
            system, deals = wanted.crm or wanted.erp, bool(wanted.crm)
            return PreparedRun(
                poll=starts.poll(system, wanted.schedule, deals=deals, scan=wanted.scan, reason=reason)
            )
        if wanted.run is SagaName.TIME_TO_BILLING and through is not None:
            return PreparedRun(cutoff=starts.cutoff(wanted.psa, wanted.erp, through, reason))
        if wanted.run is SagaName.REVENUE_FOLLOW_UP and through is not None:
            first = through.replace(day=1)
            return PreparedRun(revenue=starts.revenue(wanted.psa, wanted.erp, wanted.entity, first, reason))
        run = f"{wanted.schedule}-{command.due.astimezone(UTC):%Y-%m-%dT%H%M%SZ}"
        return PreparedRun(
            posting=starts.posting(wanted.psa, wanted.erp, run, through=through, reason=reason)
        )
