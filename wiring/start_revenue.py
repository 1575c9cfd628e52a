"""How every trigger starts revenue follow-up: same id, same pinned mapping."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from datetime import date

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from activities.contracts import StartRevenueFollowUp
from canonical.names import WORKFLOW_QUEUE, SagaName, run_name
from canonical.saga import Actor, SagaView
from runtime.settings import Settings
from wiring.start import common_start
from workflows.publish import at_start, origin_of, summary_of
from workflows.revenue.revenue_follow_up import RevenueFollowUp


class RevenueStarts:
    """Builds the starts of runs for one installation, on behalf of one actor."""

    def __init__(self, settings: Settings, mapping: Mapping[str, str], actor: Actor) -> None:
        self._settings = settings
        self._mapping = dict(mapping)
        self._actor = actor

    def follow_up(
        self, psa: str, erp: str, entity: str, first: date, reason: str = "", *, plan: bool = False
    ) -> StartRevenueFollowUp:
        """One entity in one ERP for the month that ``first`` begins.

        Raises:
            ValueError: the entity cannot be part of a saga id.
        """
        period = f"{first:%Y-%m}"
        common = common_start(
            self._settings,
            self._mapping,
            SagaName.REVENUE_FOLLOW_UP,
            erp,
            run_name(entity, period),
            actor=self._actor,
            reason=reason,
            plan=plan,
        )
        last = first.replace(day=calendar.monthrange(first.year, first.month)[1])
        return StartRevenueFollowUp(**common, psa=psa, entity=entity, period=period, first=first, last=last)


async def start_revenue(
    client: Client, command: StartRevenueFollowUp
) -> WorkflowHandle[RevenueFollowUp, SagaView]:
    """Start a run, or find the one of its id that is under way. One that has ended may run again: inputs that
    have not changed are not sent again.
    """
    return await client.start_workflow(
        RevenueFollowUp.run,
        command,
        id=command.saga_id,
        task_queue=WORKFLOW_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        search_attributes=at_start(command),
        static_summary=summary_of(command),
        static_details=origin_of(command),
    )
