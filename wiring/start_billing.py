"""How every trigger starts the runs of time-to-billing: same ids, same pace, same pinned mapping."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from typing import Any, TypeVar

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from activities.contracts import (
    Pace,
    ReversalScope,
    StartBilling,
    StartPosting,
    StartRelease,
    StartReversal,
    StartSaga,
    StartTimeToBilling,
)
from activities.options import Timings
from canonical.causes import Cause
from canonical.names import WORKFLOW_QUEUE, SagaName, billing_name, run_name, saga_id
from canonical.saga import Actor, SagaView
from runtime.settings import Settings
from workflows.billing.bill_contract import BillContract
from workflows.billing.post_approved_time import PostApprovedTime
from workflows.billing.release_held import ReleaseHeldItems
from workflows.billing.reverse_posted import ReversePosted
from workflows.billing.time_to_billing import TimeToBilling
from workflows.publish import at_start

S = TypeVar("S", bound=StartSaga)


class BillingStarts:
    """Builds the starts of runs for one installation, on behalf of one actor."""

    def __init__(self, settings: Settings, mapping: Mapping[str, str], actor: Actor) -> None:
        self._settings = settings
        self._mapping = dict(mapping)
        self._actor = actor

    def _common(
        self, saga: SagaName, system: str, record: str, reason: str, *, plan: bool = False
    ) -> dict[str, Any]:
        settings = self._settings
        return {
            "saga_id": saga_id(saga, settings.about.region, system, record, plan=plan),
            "region": settings.about.region,
            "system": system,
            "record_id": record,
            "actor": self._actor,
            "reason": reason,
            "plan": plan,
            "trace_id": uuid.uuid4().hex,
            "timings": Timings(**settings.retry.model_dump()),
            "mapping": self._mapping,
            "repair_roles": settings.policies.repair_roles,
            "pace": Pace(**settings.billing.model_dump()),
        }

    def cutoff(self, psa: str, erp: str, through: date, reason: str = "") -> StartTimeToBilling:
        """Everything approved up to a day, posted and billed."""
        record = run_name(erp, through.isoformat())
        common = self._common(SagaName.TIME_TO_BILLING, psa, record, reason)
        return StartTimeToBilling(**common, erp=erp, through=through)

    def posting(
        self, psa: str, erp: str, run: str, *, through: date | None = None, reason: str = ""
    ) -> StartPosting:
        """What is approved now, posted. ``run`` tells this run from others of the route."""
        common = self._common(SagaName.POST_APPROVED_TIME, psa, run_name(erp, run), reason)
        return StartPosting(**common, erp=erp, through=through)

    def billing(
        self, psa: str, erp: str, group: str, cycle: str, through: date, reason: str = ""
    ) -> StartBilling:
        """One group for one cycle, billed."""
        common = self._common(SagaName.BILL_CONTRACT, erp, billing_name(group, cycle), reason)
        return StartBilling(**common, psa=psa, group=group, cycle=cycle, through=through)

    def reversal(
        self,
        psa: str,
        erp: str,
        scope: ReversalScope,
        command_id: str,
        *,
        plan: bool,
        hold: bool = True,
        reason: str = "",
    ) -> StartReversal:
        """Postings taken back; ``plan`` is the preview."""
        common = self._common(SagaName.REVERSE_POSTED, erp, command_id, reason, plan=plan)
        return StartReversal(**common, psa=psa, scope=scope, hold=hold)

    def release(
        self,
        psa: str,
        erp: str,
        causes: Sequence[Cause],
        command_id: str,
        *,
        plan: bool,
        project_code: str | None = None,
        reason: str = "",
    ) -> StartRelease:
        """Everything held for some causes checked again; ``plan`` is the preview."""
        common = self._common(SagaName.RELEASE_HELD, psa, command_id, reason, plan=plan)
        return StartRelease(**common, erp=erp, causes=tuple(causes), project_code=project_code)


RUNS: dict[type[StartSaga], Callable[..., Awaitable[SagaView]]] = {
    StartTimeToBilling: TimeToBilling.run,
    StartPosting: PostApprovedTime.run,
    StartBilling: BillContract.run,
    StartReversal: ReversePosted.run,
    StartRelease: ReleaseHeldItems.run,
}
"""The workflow of each start."""


async def start_run(client: Client, command: StartSaga) -> WorkflowHandle[Any, SagaView]:
    """Start a run, or find the one of its id that is under way. One that has ended may run again: what is
    posted or billed is guarded by its items, not by the run.
    """
    return await client.start_workflow(
        RUNS[type(command)],
        command,
        id=command.saga_id,
        task_queue=WORKFLOW_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        search_attributes=at_start(command),
        static_summary=f"{type(command).__name__.removeprefix('Start')} {command.record_id}"[:180],
        static_details=(
            f"Started by {command.actor}, region {command.region}. Inspect: `trueup show {command.saga_id}`"
        ),
    )
