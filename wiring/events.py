"""From a received event to a saga: which one the configuration names, and whether it may be started by it.

The saga gets the event's id and nothing else: it reads the record itself. What a saga needs to be started by
events stands in ``EVENT_SAGAS``; an event for any other saga is kept, parked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from canonical.erp_billing import InvoiceState
from canonical.failures import ConfigurationError, Refused, SystemFailure
from canonical.feedback import Feed
from canonical.names import SagaName, event_id, feedback_record
from canonical.opportunity import Opportunity
from canonical.refs import RecordRef, SystemRole
from canonical.saga import SYSTEM_ACTOR, SagaStatus
from connectors.ports.feedback import FeedbackPort
from ledger.inbox import InboxRow, InboxState
from ledger.store import Ledger
from runtime.gateway_sections import EventRule
from runtime.settings import Settings
from wiring.start import start, start_input
from wiring.start_feedback import FeedbackStarts, tell
from wiring.systems import ConnectedSystems

FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(minutes=15)
LOOKS_FOR_INVOICES = 3
"""Looks for what a payment or credit settles: a search may lag behind the event. One that settles nothing is
ordinary, and is found by its poll when that changes."""


@dataclass(frozen=True)
class Outcome:
    """What became of an event."""

    state: InboxState
    reason: str = ""
    saga_id: str | None = None
    until: datetime | None = None
    """When to try again, for one that waits."""


@dataclass(frozen=True)
class Desk:
    """What handing over needs."""

    settings: Settings
    systems: ConnectedSystems
    ledger: Ledger
    client: Callable[[], Awaitable[Client]]
    """Temporal; raises ``ConfigurationError`` while no server answers."""


Handler = Callable[[Desk, InboxRow], Awaitable[Outcome]]


def pause(attempts: int) -> timedelta:
    """How long to wait after so many attempts."""
    return min(FIRST_PAUSE * (1 << min(attempts, 10)), LONGEST_PAUSE)


def rule_for(settings: Settings, row: InboxRow) -> EventRule | None:
    """The first rule of the event's source that names its type."""
    section = settings.gateway.sources.get(row.source)
    rules = section.events if section else ()
    return next((rule for rule in rules if fnmatchcase(row.type, rule.type)), None)


async def hand_over(desk: Desk, row: InboxRow) -> Outcome:
    """Give an event to its saga, or say why not. Repeating it is harmless."""
    rule = rule_for(desk.settings, row)
    if rule is None:
        return _parked(f"no rule of source {row.source} names events of type {row.type}")
    if any(row.fields.get(name) != value for name, value in rule.where.items()):
        return Outcome(InboxState.IGNORED, f"its values are not those of the rule for {rule.saga.value}")
    handler = EVENT_SAGAS.get(rule.saga)
    if handler is None:
        return _parked(NEEDS_MORE.get(rule.saga, f"this release starts no {rule.saga.value} by events"))
    try:
        return await handler(desk, row)
    except SystemFailure as failure:
        if failure.failure.kind.passes_by_itself:
            return _waiting(desk, row, str(failure))
        return _parked(str(failure))
    except RPCError as away:
        return _waiting(desk, row, f"Temporal did not take it: {away.status.name.lower()}")
    except ConfigurationError as away:
        return _waiting(desk, row, away.problems[0])


async def read_won_deal(desk: Desk, system: str, record: str) -> Opportunity | None:
    """A deal of a connected CRM; None when it has none of that id.

    Raises:
        SystemFailure: the CRM is not configured, away or refuses.
    """
    if SystemRole.CRM not in (desk.settings.systems[system].roles if system in desk.settings.systems else ()):
        raise Refused(f"{system} is not connected as a CRM", system=system)
    return await (await desk.systems.crm(system)).read_deal(record)


async def _won_deal(desk: Desk, row: InboxRow) -> Outcome:
    """Start opportunity-to-project for a deal that is there and won, unless somebody decided against it."""
    if not row.record_id:
        return _parked("it names no record")
    deal = await read_won_deal(desk, row.system, row.record_id)
    if deal is None:
        return _missing(desk, row)
    if not deal.is_won:
        return Outcome(InboxState.IGNORED, "the deal is not won")
    try:
        command = start_input(
            desk.settings,
            desk.systems.mapping_digests(),
            system=row.system,
            record_id=deal.ref.id,
            actor=SYSTEM_ACTOR,
            reason=f"event {event_id(row.source, row.id)}",
            source_event_at=row.occurred_at or row.received_at,
        )
    except ValueError as wrong:
        return _parked(f"its record cannot be one of a saga: {wrong}")
    command = command.model_copy(update={"trace_id": row.trace_id})
    known = await desk.ledger.saga(command.saga_id)
    if known is not None and known.status is SagaStatus.COMPLETE:
        return Outcome(InboxState.HANDED, "the deal was set up before", command.saga_id)
    if known is not None and known.status.is_final:
        return _parked(f"its saga ended as {known.status.value}; starting it again is a person's decision",
                       command.saga_id)  # fmt: skip
    await desk.systems.store_mappings()
    try:
        await start(await desk.client(), command, event=event_id(row.source, row.id))
    except WorkflowAlreadyStartedError:
        return Outcome(InboxState.HANDED, "the deal was set up before", command.saga_id)
    return Outcome(InboxState.HANDED, "", command.saga_id)


async def _changed_in_erp(desk: Desk, row: InboxRow) -> Outcome:
    """Tell the saga of every invoice that the record concerns, or of the contract whose revenue it is."""
    if not row.record_id:
        return _parked("it names no record")
    system = row.system
    if SystemRole.ERP not in (desk.settings.systems[system].roles if system in desk.settings.systems else ()):
        raise Refused(f"{system} is not connected as an ERP", system=system)
    port = await desk.systems.feedback(system)
    told = port.told_of(row.record_type, row.record_id)
    if told is None:
        return Outcome(InboxState.IGNORED, f"records of type {row.record_type!r} settle no invoice")
    feed, ref = told
    if feed is Feed.REVENUE:
        if await port.revenue_standing(ref.id) is None:
            return _nothing_of_it(desk, row, f"{system} recognises no revenue of it")
        return await _follow(desk, row, [feedback_record(ref.id, revenue=True)])
    if feed is Feed.INVOICES:
        if not await _is_invoice(desk, port, ref):
            return _missing(desk, row)
        return await _follow(desk, row, [ref.id])
    # What was taken off an invoice names it no more: the last reading remembers.
    found = (*await port.invoices_of([ref]), *await desk.ledger.invoices_reduced_by([ref]))
    if not found:
        return _nothing_of_it(desk, row, "it settles no invoice")
    return await _follow(desk, row, sorted({one.id for one in found}))


async def _is_invoice(desk: Desk, port: FeedbackPort, ref: RecordRef) -> bool:
    """Whether it was ever read (deleting it is a change too) or is there now."""
    if await desk.ledger.erp_invoice(ref.system, ref.id) is not None:
        return True
    return (await port.invoice_standing(ref.id)).state is not InvoiceState.ABSENT


async def _follow(desk: Desk, row: InboxRow, records: list[str]) -> Outcome:
    told = event_id(row.source, row.id)
    starts = FeedbackStarts(desk.settings, desk.systems.mapping_digests(), SYSTEM_ACTOR)
    try:
        commands = [starts.feedback(row.system, record, f"event {told}") for record in records]
    except ValueError as wrong:
        return _parked(f"its record cannot be one of a saga: {wrong}")
    await desk.systems.store_mappings()
    client = await desk.client()
    for command in commands:
        await tell(client, command.model_copy(update={"trace_id": row.trace_id}), told)
    more = f"it concerns {len(commands)} invoices" if len(commands) > 1 else ""
    return Outcome(InboxState.HANDED, more, commands[0].saga_id)


def _nothing_of_it(desk: Desk, row: InboxRow, reason: str) -> Outcome:
    """There may be something of it soon: a search lags."""
    if row.attempts < LOOKS_FOR_INVOICES:
        return _waiting(desk, row, reason)
    return Outcome(InboxState.IGNORED, reason)


def _missing(desk: Desk, row: InboxRow) -> Outcome:
    """A record that does not exist, yet or any more: an event may be faster than its record."""
    waited = sum((pause(number) for number in range(row.attempts)), timedelta())
    if waited >= desk.settings.gateway.patience:
        return _parked(f"{row.system} has no such record")
    return _waiting(desk, row, f"{row.system} has no such record yet")


def _waiting(desk: Desk, row: InboxRow, reason: str) -> Outcome:
    return Outcome(InboxState.WAITING, reason, until=desk.ledger.now() + pause(row.attempts))


def _parked(reason: str, saga: str | None = None) -> Outcome:
    return Outcome(InboxState.PARKED, reason, saga)


EVENT_SAGAS: dict[SagaName, Handler] = {
    SagaName.OPPORTUNITY_TO_PROJECT: _won_deal,
    SagaName.INVOICE_FEEDBACK: _changed_in_erp,
}
"""How each saga takes an event."""
NEEDS_MORE: dict[SagaName, str] = {
    SagaName.CHANGE_ORDER: (
        "a change order needs its terms, which no event brings: send it to POST /v1/change-orders, or by "
        "`trueup start change-order`"
    ),
}
"""Sagas that no event can start, and what does."""
