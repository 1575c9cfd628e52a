"""Telling subscribers what happened: one workflow for each event and subscription."""

from __future__ import annotations

from abc import ABC, abstractmethod

from temporalio import activity

from canonical.base import Canonical
from canonical.outgoing import DeliveryOutcome


class Delivery(Canonical):
    """One event for one subscription; addresses and secrets stay in the configuration."""

    event_id: str
    subscription: str


class GiveUp(Canonical):
    """A subscriber that did not take an event in all attempts."""

    delivery: Delivery
    run_id: str
    """Of the delivery that gives up."""
    detail: str
    """What the last attempt came to."""


class OutgoingActivities(ABC):
    """Sends; on the queue of events."""

    @activity.defn(name="outgoing.deliver")
    @abstractmethod
    async def deliver(self, delivery: Delivery) -> DeliveryOutcome:
        """One attempt; a receiver that is away is an outcome, not a failure."""

    @activity.defn(name="outgoing.give_up")
    @abstractmethod
    async def give_up(self, command: GiveUp) -> None:
        """Keep what was not taken, with a case for people."""
