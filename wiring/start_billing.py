"""How every trigger starts the runs of time-to-billing: same ids, same pace, same pinned mapping."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from typing import Any, TypeVar

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from activities.contracts import (
    Pace,
    ReversalScope,
    StartBilling,
    StartCredit,
    StartPosting,
    StartRateChange,
    StartRelease,
    StartReversal,
    StartSaga,
    StartTimeToBilling,
)
from canonical.causes import Cause
from canonical.names import WORKFLOW_QUEUE, SagaName, billing_name, run_name
from canonical.rates import RateCard
from canonical.saga import Actor, SagaView
from runtime.settings import Settings
from wiring.start import common_start
from workflows.billing.bill_contract import BillContract
from workflows.billing.change_rates import ChangeRates
from workflows.billing.credit_invoice import CreditInvoice
from workflows.billing.post_approved_time import PostApprovedTime
from workflows.billing.release_held import ReleaseHeldItems
from workflows.billing.reverse_posted import ReversePosted
from workflows.billing.time_to_billing import TimeToBilling
from workflows.publish import at_start, origin_of, summary_of

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
        common = common_start(
            self._settings, self._mapping, saga, system, record, actor=self._actor, reason=reason, plan=plan
        )
        return {**common, "pace": Pace(**self._settings.billing.model_dump())}

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

    def credit(self, psa: str, erp: str, invoice: str, reason: str, lines: Sequence[str] = ()) -> StartCredit:
        """A credit of an issued invoice (its key), or of some of its lines, that a person asks for."""
        record = invoice.replace("/", ".")
        common = self._common(SagaName.CREDIT_INVOICE, erp, record, reason)
        return StartCredit(**common, psa=psa, invoice=invoice, requested=True, lines=tuple(lines))

    def rates(self, psa: str, erp: str, contract: str, card: RateCard, reason: str) -> StartRateChange:
        """New rates of a contract, and what they change."""
        common = self._common(SagaName.CHANGE_RATES, erp, contract, reason)
        common.pop("pace")
        return StartRateChange(**common, psa=psa, contract=contract, card=card)

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
    StartCredit: CreditInvoice.run,
    StartReversal: ReversePosted.run,
    StartRelease: ReleaseHeldItems.run,
    StartRateChange: ChangeRates.run,
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
        static_summary=summary_of(command),
        static_details=origin_of(command),
    )
