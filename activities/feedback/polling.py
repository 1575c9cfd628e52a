"""Polls behind every event source: what a missed or never-sent event would have told (rules 28, 40, 44).

A change is a hint. It is handed over, and only then the cursor moves; what a crash repeats is harmless, and
the overlap that every poll reads again catches what was committed late.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from temporalio import activity

from activities.contracts import (
    DealPollActivities,
    FeedbackActivities,
    Polled,
    PollFeed,
    ReadSubject,
    SubjectRead,
)
from activities.failures import guarded
from activities.feedback.reading import FeedbackReading
from activities.systems import Systems
from canonical.feedback import Feed
from canonical.money import AmountRole, Money
from canonical.names import SagaName, cursor_name, feedback_record, polled_event, saga_id
from canonical.operations import Change
from canonical.refs import RecordRef
from connectors.ports.feedback import FeedbackPort
from ledger.store import Ledger

DEALS = "won-deals"
"""Feed name of won deals."""


class HandOver(Protocol):
    """Gives what a poll found to the sagas. Wiring provides it."""

    async def follow(self, system: str, events: Mapping[str, str]) -> int:
        """Tell the feedback saga of every record (of an ERP) of one event, starting those that do not run.

        Args:
            system: the ERP.
            events: event id by the saga's record id.
        """
        ...

    async def set_up(self, system: str, deals: Mapping[str, str]) -> int:
        """Start opportunity-to-project for deals that nobody has started.

        Args:
            system: the CRM.
            deals: event id by deal.
        """
        ...


Handing = Callable[[], Awaitable[HandOver]]


class FeedbackActivitiesOver(FeedbackActivities):
    """Reads and polls ERPs."""

    def __init__(self, systems: Systems, ledger: Ledger, handing: Handing) -> None:
        self._systems = systems
        self._ledger = ledger
        self._handing = handing
        self._reading = FeedbackReading(systems, ledger)

    @activity.defn(name="feedback.read")
    @guarded
    async def read(self, command: ReadSubject) -> SubjectRead:
        """Read a record, judge the reading, take it over."""
        return await self._reading.read(command)

    @activity.defn(name="feedback.poll")
    @guarded
    async def poll(self, command: PollFeed) -> Polled:
        """Read on in a feed and hand over what changed; the cursor moves after that."""
        feed = command.feed or Feed.INVOICES
        port = await self._systems.feedback(command.system, command.saga.mapping.get(command.system, ""))
        if command.scan:
            return await self._scan(port, command)
        name = cursor_name(command.system, f"feedback.{feed.value}")
        cursor = await self._ledger.cursor(name)
        since = datetime.now(UTC) - timedelta(days=command.first_days)
        page = await port.feedback_changes(feed, cursor, since=since, limit=command.page)
        events = await self._events(port, feed, page.changes)
        handed = await (await self._handing()).follow(command.system, events)
        await self._ledger.put_cursor(name, page.cursor)
        return Polled(seen=len(page.changes), handed=handed, more=page.more)

    async def _events(self, port: FeedbackPort, feed: Feed, changes: Sequence[Change]) -> dict[str, str]:
        """One event per record that is to be read again; the last change names it."""
        events: dict[str, str] = {}
        if feed is Feed.REVENUE:
            for change in changes:
                record = feedback_record(change.ref.id, revenue=True)
                events[record] = polled_event(change.ref, change.modified_at)
            return events
        if feed is Feed.INVOICES:
            return {one.ref.id: polled_event(one.ref, one.modified_at) for one in changes}
        if not changes:
            return events
        # What was taken off an invoice names it no more: the last reading remembers.
        refs = [change.ref for change in changes]
        last = max(changes, key=lambda one: one.modified_at)
        for invoice in _once((*await port.invoices_of(refs), *await self._ledger.invoices_reduced_by(refs))):
            events[invoice.id] = polled_event(last.ref, last.modified_at)
        return events

    async def _scan(self, port: FeedbackPort, command: PollFeed) -> Polled:
        """Compare all that is known with the ERP, then look for invoices that nobody told of."""
        part, _, position = (command.after or "known:").partition(":")
        if part == "known":
            return await self._scan_known(port, command, position)
        since = datetime.now(UTC) - timedelta(days=command.first_days)
        page = await port.feedback_changes(Feed.INVOICES, position or None, since=since, limit=command.page)
        events: dict[str, str] = {}
        for change in page.changes:
            known = await self._ledger.erp_invoice(command.system, change.ref.id)
            if known is None or known.modified_at != change.modified_at:
                events[change.ref.id] = polled_event(change.ref, change.modified_at)
        handed = await (await self._handing()).follow(command.system, events)
        after = f"all:{page.cursor}" if page.more else None
        return Polled(seen=len(page.changes), handed=handed, more=page.more, after=after)

    async def _scan_known(self, port: FeedbackPort, command: PollFeed, position: str) -> Polled:
        rows = await self._ledger.known_balances(command.system, after=position, limit=command.page)
        if not rows:
            return Polled(more=True, after="all:")
        now = await port.open_balances([record for record, _, _ in rows])
        events: dict[str, str] = {}
        for record, minor, currency in rows:
            there = now.get(record)
            held = Money.of_minor(minor, currency, AmountRole.BILLING).amount if currency else None
            if (there is None and minor) or (there is not None and there.balance != held):
                at = there.modified_at if there is not None else datetime.now(UTC)
                ref = RecordRef(system=command.system, type="invoice", id=record)
                events[record] = polled_event(ref, at)
        handed = await (await self._handing()).follow(command.system, events)
        return Polled(seen=len(rows), handed=handed, more=True, after=f"known:{rows[-1][0]}")


class DealPollActivitiesOver(DealPollActivities):
    """Polls CRMs for won deals."""

    def __init__(self, systems: Systems, ledger: Ledger, handing: Handing) -> None:
        self._systems = systems
        self._ledger = ledger
        self._handing = handing

    @activity.defn(name="deals.poll")
    @guarded
    async def poll_deals(self, command: PollFeed) -> Polled:
        """Read on in won deals and start those that nobody has started; the cursor moves after that.

        A scan begins from the beginning and moves no cursor.
        """
        name = cursor_name(command.system, DEALS)
        crm = await self._systems.crm(command.system, command.saga.mapping.get(command.system, ""))
        cursor = command.after if command.scan else await self._ledger.cursor(name)
        page = await crm.won_deals_since(cursor, limit=command.page)
        won = [one for one in page.changes if not one.deleted]
        deals = {one.ref.id: polled_event(one.ref, one.modified_at) for one in won}
        fresh = {deal: told for deal, told in deals.items() if await self._never_started(command, deal)}
        handed = await (await self._handing()).set_up(command.system, fresh)
        if not command.scan:
            await self._ledger.put_cursor(name, page.cursor)
        return Polled(
            seen=len(page.changes),
            handed=handed,
            more=page.more,
            after=page.cursor if page.more else None,
        )

    async def _never_started(self, command: PollFeed, deal: str) -> bool:
        """Whether no saga of the deal is known: a poll does not begin again what somebody undid."""
        try:
            name = saga_id(SagaName.OPPORTUNITY_TO_PROJECT, command.saga.region, command.system, deal)
        except ValueError:
            return False
        return await self._ledger.saga(name) is None


def _once(refs: Iterable[RecordRef]) -> list[RecordRef]:
    return list({(ref.system, ref.id): ref for ref in refs}.values())
