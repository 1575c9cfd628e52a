"""Runs that begin by the clock: what a schedule is told, and what it starts with on the day."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from enum import StrEnum

from temporalio import activity

from activities.contracts.billing import StartTimeToBilling
from activities.contracts.feedback import StartPoll
from activities.contracts.posting import StartPosting
from activities.contracts.revenue import StartRevenueFollowUp
from canonical.base import Canonical
from canonical.names import SagaName


class CutoffRule(StrEnum):
    """Which day is the cutoff of a run that begins by the clock, in the schedule's zone."""

    TODAY = "today"
    YESTERDAY = "yesterday"
    LAST_MONTH = "last_month"
    """The last day of the month before."""


class ScheduledRun(Canonical):
    """What a schedule starts. Nothing else is frozen in it: mapping and pace are those of the day."""

    schedule: str
    """Its name in the configuration."""
    run: SagaName
    psa: str = ""
    erp: str = ""
    crm: str = ""
    """Of polls: the CRM that is asked for won deals."""
    entity: str = ""
    """Of revenue follow-up: the legal entity."""
    scan: bool = False
    cutoff: CutoffRule | None = None
    """Everything that is approved when empty; only posting may do without."""
    timezone: str = "UTC"
    declared: str = ""
    """Digest of the declaration that was applied: shows whether it has changed since."""


class PrepareRun(Canonical):
    """A run that is due, to be made a start."""

    wanted: ScheduledRun
    due: datetime
    """When it was to begin; later than that only after an outage."""


class PreparedRun(Canonical):
    """The start of a run; one of them."""

    posting: StartPosting | None = None
    cutoff: StartTimeToBilling | None = None
    poll: StartPoll | None = None
    revenue: StartRevenueFollowUp | None = None


class ScheduleActivities(ABC):
    """Turns what is due into a start; on the ledger's queue."""

    @activity.defn(name="schedules.prepare")
    @abstractmethod
    async def prepare(self, command: PrepareRun) -> PreparedRun:
        """The start with today's field mapping and pace, and the cutoff's day."""
