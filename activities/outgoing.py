"""Telling a subscriber: the event from the ledger as a signed CloudEvent, sent once an attempt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from temporalio import activity

from activities.contracts.outgoing import Delivery, GiveUp, OutgoingActivities
from activities.failures import guarded
from canonical.causes import Queue
from canonical.outgoing import DATA, CloudEvent, DeliveryOutcome
from ledger.outgoing import OutgoingRow
from ledger.store import Ledger


class EventSender(Protocol):
    """Sends to one subscriber."""

    async def send(self, event_id: str, body: bytes) -> DeliveryOutcome:
        """One signed attempt. Never raises for what the receiver does."""
        ...


class OutgoingActivitiesOver(OutgoingActivities):
    """Sends by the configured subscriptions."""

    def __init__(
        self, ledger: Ledger, senders: Mapping[str, EventSender], queue_owners: Mapping[str, str]
    ) -> None:
        self._ledger = ledger
        self._senders = senders
        self._queue_owners = queue_owners

    @activity.defn(name="outgoing.deliver")
    @guarded
    async def deliver(self, delivery: Delivery) -> DeliveryOutcome:
        """One attempt."""
        sender = self._senders.get(delivery.subscription)
        if sender is None:
            return DeliveryOutcome(
                taken=False, over=True, detail="the subscription is not configured any more"
            )
        row = await self._ledger.outgoing_event(delivery.event_id)
        if row is None:
            return DeliveryOutcome(taken=False, over=True, detail="the ledger has no such event")
        return await sender.send(row.event_id, cloud_event(row).model_dump_json().encode())

    @activity.defn(name="outgoing.give_up")
    @guarded
    async def give_up(self, command: GiveUp) -> None:
        """Keep what was not taken; repeating it is harmless."""
        await self._ledger.give_up(
            command.delivery.event_id,
            command.delivery.subscription,
            run_id=command.run_id,
            detail=command.detail,
            owner=self._queue_owners.get(Queue.INFRASTRUCTURE.value),
        )


def cloud_event(row: OutgoingRow) -> CloudEvent:
    """The event as it is told; the same for every attempt."""
    return CloudEvent(
        id=row.event_id,
        source=f"urn:trueup:{row.region}",
        type=row.type,
        subject=row.subject,
        time=row.at,
        # The parent is the trace itself: nothing of ours runs while it is told.
        traceparent=_parent(row),
        data=DATA[row.type].model_validate(row.data),
    )


def _parent(row: OutgoingRow) -> str:
    known = re.fullmatch(r"[0-9a-f]{32}", row.trace_id)
    return f"00-{row.trace_id if known else row.event_id[-32:]}-{row.event_id[-16:]}-00"
