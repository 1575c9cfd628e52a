"""Temporal workers: one per task queue, with the slots that the queue's system allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.billing.activities import BillingParts
from activities.billing.scheduling import ScheduleActivitiesOver, Starts
from activities.books import LedgerActivitiesOver
from activities.changes.deciding import ChangeActivitiesOver
from activities.changes.systems import (
    DeliveryChangeActivitiesOver,
    OrderChangeActivitiesOver,
    ScopeActivitiesOver,
)
from activities.closing.deciding import CloseActivitiesOver
from activities.closing.systems import (
    DealCloseActivitiesOver,
    DeliveryCloseActivitiesOver,
    ErpCloseActivitiesOver,
)
from activities.crm import CrmActivitiesOver
from activities.decisions import DecisionActivitiesOver
from activities.effects import Effects
from activities.erp import ErpActivitiesOver
from activities.feedback.polling import DealPollActivitiesOver, FeedbackActivitiesOver, HandOver
from activities.feedback.showing import FiguresActivitiesOver
from activities.hr import HrActivitiesOver
from activities.notify import NotifyActivitiesOver
from activities.outgoing import OutgoingActivitiesOver
from activities.psa import PsaActivitiesOver
from activities.revenue.following import ProgressActivitiesOver
from activities.revenue.measuring import MeasuringActivitiesOver, RevenueActivitiesOver
from activities.undo import EffectActivitiesOver
from canonical.failures import ConfigurationError
from canonical.names import EVENTS_QUEUE, LEDGER_QUEUE, WORKFLOW_QUEUE, system_queue
from canonical.saga import SYSTEM_ACTOR
from ledger.store import Ledger
from runtime.settings import Settings
from wiring.start_billing import BillingStarts
from wiring.start_feedback import FeedbackStarts, HandOverByClient
from wiring.start_revenue import RevenueStarts
from wiring.systems import ConnectedSystems
from wiring.webhooks import senders
from workflows.billing.bill_contract import BillContract
from workflows.billing.change_rates import ChangeRates
from workflows.billing.credit_invoice import CreditInvoice
from workflows.billing.post_approved_time import PostApprovedTime
from workflows.billing.release_held import ReleaseHeldItems
from workflows.billing.reverse_posted import ReversePosted
from workflows.billing.scheduled import Scheduled
from workflows.billing.time_to_billing import TimeToBilling
from workflows.changes.change_order import ChangeOrderSaga
from workflows.changes.contract_changes import ContractChanges
from workflows.closing.close_project import CloseProject
from workflows.closing.reopen_project import ReopenProject
from workflows.feedback.invoice_feedback import InvoiceFeedback
from workflows.feedback.poll_changes import PollChanges
from workflows.opportunity_to_project import OpportunityToProject
from workflows.outgoing import DeliverEvent
from workflows.revenue.revenue_follow_up import RevenueFollowUp

WORKFLOWS: list[type] = [
    OpportunityToProject,
    TimeToBilling,
    PostApprovedTime,
    BillContract,
    CreditInvoice,
    ReversePosted,
    ReleaseHeldItems,
    ChangeRates,
    InvoiceFeedback,
    PollChanges,
    Scheduled,
    ContractChanges,
    ChangeOrderSaga,
    CloseProject,
    ReopenProject,
    RevenueFollowUp,
    DeliverEvent,
]
HEARTBEATS = timedelta(seconds=2)
"""How long a sign of life may wait before it is sent: by it an activity hears that its saga is to stop."""
STICKY = timedelta(seconds=3)
"""How long a workflow task waits for the worker that has the run in its cache: what a killed worker
costs every run it had (the SDK's default of ten seconds was two thirds of a recovery)."""
PASSED_THROUGH = (
    "canonical",
    "activities",
    "iso4217",
    "workflows.desk",
    "workflows.details",
    "workflows.failure",
    "workflows.figures",
    "workflows.kernel",
    "workflows.opportunity",
    "workflows.publish",
    "workflows.saga",
    "workflows.state",
    "workflows.billing.posting",
    "workflows.billing.proof",
    "workflows.closing.writing",
)
"""What the workflow sandbox need not load anew for every run: everything but the modules that define a
workflow. Loading the kernel took 30 ms of processor time a run, more than the rest of a short saga. That
these modules ask no clock, draw no lots and keep nothing between runs is shown by reading their source
(``tests/architecture``), which also finds what is missing here."""


@dataclass(frozen=True)
class QueueWorker:
    """One queue: what runs there and how much at once."""

    queue: str
    slots: int
    activities: Sequence[Callable[..., Any]]
    workflows: bool = False
    per_second: float | None = None


def queue_workers(settings: Settings, systems: ConnectedSystems, ledger: Ledger) -> list[QueueWorker]:
    """All queues that this configuration has work on."""
    effects = Effects(ledger)
    crm, erp = CrmActivitiesOver(systems, effects), ErpActivitiesOver(systems, effects)
    psa, hr = PsaActivitiesOver(systems, effects), HrActivitiesOver(systems, effects)
    undo = EffectActivitiesOver(systems, effects)
    billing = BillingParts(systems, effects)
    handing = _handing(settings, systems)
    feedback = FeedbackActivitiesOver(systems, ledger, handing)
    figures = FiguresActivitiesOver(systems, effects, margin=settings.feedback.margin)
    deals = DealPollActivitiesOver(systems, ledger, handing)
    decisions, books = DecisionActivitiesOver(systems, ledger), LedgerActivitiesOver(systems, ledger)
    section = settings.worker
    queues = [
        QueueWorker(WORKFLOW_QUEUE, section.workflow_slots, (), workflows=True),
        QueueWorker(
            LEDGER_QUEUE,
            section.ledger_slots,
            [
                *_methods(decisions),
                *_methods(books),
                *_methods(billing.billing),
                *_methods(billing.rates),
                *_methods(ScheduleActivitiesOver(_starts(settings, systems))),
                *_methods(NotifyActivitiesOver(systems)),
                *_methods(ChangeActivitiesOver(systems, ledger)),
                *_methods(CloseActivitiesOver(systems, ledger)),
                *_methods(RevenueActivitiesOver(ledger)),
            ],
        ),
    ]
    if settings.gateway.subscriptions:
        telling = OutgoingActivitiesOver(ledger, senders(settings), settings.policies.queue_owners)
        queues.append(QueueWorker(EVENTS_QUEUE, section.event_slots, _methods(telling)))
    per_role = {
        "crm": (
            crm,
            deals,
            ScopeActivitiesOver(systems, effects),
            DealCloseActivitiesOver(systems, effects),
        ),
        "erp": (
            erp,
            billing.posting,
            billing.invoicing,
            feedback,
            OrderChangeActivitiesOver(systems, effects),
            ErpCloseActivitiesOver(systems, effects),
            ProgressActivitiesOver(systems, effects, handing),
        ),
        "psa": (
            psa,
            billing.feed,
            DeliveryChangeActivitiesOver(systems, effects),
            DeliveryCloseActivitiesOver(systems, effects),
            MeasuringActivitiesOver(systems, ledger),
        ),
        "hr": (hr,),
    }
    for name, system in settings.systems.items():
        roles = [role.value for role in system.roles if role.value in per_role]
        if roles:
            methods = [method for role in roles for part in per_role[role] for method in _methods(part)]
            if {"crm", "psa"} & set(roles):
                methods += _methods(figures)
            queues.append(
                QueueWorker(
                    system_queue(name),
                    section.slots_for(name),
                    [*methods, *_methods(undo)],
                    per_second=section.calls_per_second.get(name),
                )
            )
    return queues


class _AllStarts(BillingStarts):
    """Starts of everything that begins by the clock."""

    def __init__(self, settings: Settings, mapping: dict[str, str]) -> None:
        super().__init__(settings, mapping, SYSTEM_ACTOR)
        self.poll = FeedbackStarts(settings, mapping, SYSTEM_ACTOR).poll
        self.revenue = RevenueStarts(settings, mapping, SYSTEM_ACTOR).follow_up


def _starts(settings: Settings, systems: ConnectedSystems) -> Callable[[], Awaitable[Starts]]:
    async def today() -> Starts:
        await systems.store_mappings()
        return _AllStarts(settings, systems.mapping_digests())

    return today


def _handing(settings: Settings, systems: ConnectedSystems) -> Callable[[], Awaitable[HandOver]]:
    async def now() -> HandOver:
        await systems.store_mappings()
        return HandOverByClient(activity.client(), settings, systems.mapping_digests(), SYSTEM_ACTOR)

    return now


def chosen(queues: Iterable[QueueWorker], names: Sequence[str]) -> list[QueueWorker]:
    """The queues to serve: all, or those named (``workflows``, ``ledger``, or a system instance).

    Raises:
        ConfigurationError: a name that is no queue; the known ones are listed.
    """
    by_name = {short_name(one.queue): one for one in queues}
    unknown = sorted(set(names) - set(by_name))
    if unknown:
        known = ", ".join(by_name)
        raise ConfigurationError([f"--queues: {', '.join(unknown)} unknown; known: {known}"])
    return [one for name, one in by_name.items() if not names or name in names]


def short_name(queue: str) -> str:
    """A queue as the command line names it."""
    for known, short in ((WORKFLOW_QUEUE, "workflows"), (LEDGER_QUEUE, "ledger"), (EVENTS_QUEUE, "events")):
        if queue == known:
            return short
    return queue.removeprefix(system_queue(""))


def build_worker(client: Client, one: QueueWorker, settings: Settings) -> Worker:
    """The Temporal worker of a queue.

    Eager hand-over of activities is off: it would skip the queue's rate limit.
    """
    grace = timedelta(seconds=settings.worker.graceful_shutdown_seconds)
    # Without a name of ours the SDK hashes every loaded module at start: two seconds of a restart.
    build = settings.worker.build_id or f"trueup-{version('trueup')}"
    if one.workflows:
        return Worker(
            client,
            task_queue=one.queue,
            workflows=WORKFLOWS,
            workflow_runner=sandbox(),
            max_concurrent_workflow_tasks=one.slots,
            max_cached_workflows=settings.worker.cached_workflows,
            build_id=build,
            graceful_shutdown_timeout=grace,
            sticky_queue_schedule_to_start_timeout=STICKY,
            disable_eager_activity_execution=True,
        )
    return Worker(
        client,
        task_queue=one.queue,
        activities=list(one.activities),
        max_concurrent_activities=one.slots,
        max_task_queue_activities_per_second=one.per_second,
        max_heartbeat_throttle_interval=HEARTBEATS,
        build_id=build,
        graceful_shutdown_timeout=grace,
        disable_eager_activity_execution=True,
    )


def sandbox() -> SandboxedWorkflowRunner:
    """The workflow sandbox, with our pure modules passed through."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    return SandboxedWorkflowRunner(restrictions=restrictions)


def _methods(instance: object) -> list[Callable[..., Any]]:
    """An object's activities."""
    found = []
    for name in dir(instance):
        method = getattr(instance, name)
        if callable(method) and hasattr(method, "__temporal_activity_definition"):
            found.append(method)
    return found
