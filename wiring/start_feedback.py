"""How every trigger tells the feedback saga of a record: signal-with-start, with an event's id alone.

The command line, the polls and the gateway all come through here: same id, same pinned mapping, and whoever
comes second finds the one that runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from activities.contracts import FeedbackPace, StartFeedback, StartPoll
from canonical.names import EVENT_SIGNAL, WORKFLOW_QUEUE, SagaName, event_moment
from canonical.saga import Actor, SagaView
from runtime.settings import Settings
from wiring.start import common_start, start_input
from workflows.feedback.invoice_feedback import InvoiceFeedback
from workflows.feedback.poll_changes import PollChanges
from workflows.opportunity_to_project import OpportunityToProject
from workflows.publish import at_start

AT_ONCE = 16
"""Sagas told side by side."""


class FeedbackStarts:
    """Builds the starts of feedback sagas and polls for one installation, on behalf of one actor."""

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
        return {**common, "pace": FeedbackPace(**self._settings.feedback.model_dump(exclude={"margin"}))}

    def feedback(self, system: str, record: str, reason: str = "", *, plan: bool = False) -> StartFeedback:
        """An invoice, or a contract's revenue, of an ERP (``canonical.names.feedback_record``).

        Raises:
            ValueError: the record cannot be part of a saga id.
        """
        return StartFeedback(**self._common(SagaName.INVOICE_FEEDBACK, system, record, reason, plan=plan))

    def poll(
        self, system: str, name: str, *, deals: bool = False, scan: bool = False, reason: str = ""
    ) -> StartPoll:
        """A poll of an ERP's changes, or of a CRM's won deals; ``name`` tells polls of one system apart."""
        common = self._common(SagaName.POLL_CHANGES, system, name, reason)
        return StartPoll(**common, deals=deals, scan=scan)


async def tell(
    client: Client, start: StartFeedback, event_id: str
) -> WorkflowHandle[InvoiceFeedback, SagaView]:
    """Tell a record's feedback saga that something happened, starting it where it does not run.

    The server keeps the event from here on, also while no worker runs.
    """
    return await client.start_workflow(
        InvoiceFeedback.run,
        start,
        id=start.saga_id,
        task_queue=WORKFLOW_QUEUE,
        start_signal=EVENT_SIGNAL,
        start_signal_args=[event_id],
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        search_attributes=at_start(start),
        static_summary=f"Follow {start.system} {start.record_id}"[:180],
        static_details=(
            f"Started by {start.actor}, region {start.region}. Inspect: `trueup show {start.saga_id}`"
        ),
    )


async def start_plan(client: Client, start: StartFeedback) -> WorkflowHandle[InvoiceFeedback, SagaView]:
    """Show what a reading would change, and change nothing."""
    return await client.start_workflow(
        InvoiceFeedback.run,
        start,
        id=start.saga_id,
        task_queue=WORKFLOW_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        search_attributes=at_start(start),
    )


async def start_poll(client: Client, start: StartPoll) -> WorkflowHandle[PollChanges, SagaView]:
    """Start a poll, or find the one of its name that is under way."""
    return await client.start_workflow(
        PollChanges.run,
        start,
        id=start.saga_id,
        task_queue=WORKFLOW_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        search_attributes=at_start(start),
        static_summary=f"Poll {start.system}: {start.record_id}"[:180],
    )


class HandOverByClient:
    """Gives what a poll found to the sagas (``activities.feedback.polling.HandOver``)."""

    def __init__(self, client: Client, settings: Settings, mapping: Mapping[str, str], actor: Actor) -> None:
        self._client = client
        self._settings = settings
        self._mapping = dict(mapping)
        self._actor = actor
        self._starts = FeedbackStarts(settings, mapping, actor)

    async def follow(self, system: str, events: Mapping[str, str]) -> int:
        """Tell the feedback saga of every record of one event."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(record: str, event_id: str) -> None:
            async with limit:
                await tell(self._client, self._starts.feedback(system, record, "found by a poll"), event_id)

        await asyncio.gather(*(one(record, event) for record, event in events.items()))
        return len(events)

    async def set_up(self, system: str, deals: Mapping[str, str]) -> int:
        """Start opportunity-to-project for deals that nobody has started."""
        started = 0
        for deal, event in deals.items():
            command = start_input(
                self._settings,
                self._mapping,
                system=system,
                record_id=deal,
                actor=self._actor,
                reason=event,
                source_event_at=event_moment(event),
            )
            try:
                await self._client.start_workflow(
                    OpportunityToProject.run,
                    command,
                    id=command.saga_id,
                    task_queue=WORKFLOW_QUEUE,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    search_attributes=at_start(command),
                    static_summary=f"Set up deal {command.record_id}",
                )
                started += 1
            except WorkflowAlreadyStartedError:
                continue
        return started
