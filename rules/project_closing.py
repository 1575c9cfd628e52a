"""May a contract's projects be closed (rule 45): facts from the readings, and what the approver is asked.

Work that is not posted or not billed can never be let pass, nor anything else but unsettled invoices: money
that is owed can be collected without the project; all else is lost, or wrong, once nobody looks at it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from canonical.causes import Cause
from canonical.engagement import BillingMethod, Contract
from canonical.failures import Failure, FailureKind, Finding
from canonical.firm import GatePolicy
from canonical.items import ItemKind
from canonical.money import AmountRole, Money
from canonical.names import fee_source
from canonical.opening import OpeningPosition
from canonical.project_closing import (
    BillingEvent,
    ClosingFact,
    DealStatus,
    DeliveryReading,
    ErpReading,
    KnownInvoice,
    LedgerReading,
    OpenRecord,
    OpenWork,
)
from canonical.refs import RecordRef
from canonical.saga import GateOutcome, GateRequest
from canonical.unbilled import UnbilledGroup
from rules.causes import CATALOGUE
from rules.gates import roles_for

GATE = "gate.close"
LOOK_AGAIN, COLLECTIONS = "look-again", "collections"
SHOWN = 12
"""Facts named to whoever decides."""
NEVER_BILLED = frozenset({Cause.BEFORE_OPENING_POSITION})
"""Why work is held for good: it was billed before us, or never will be."""
_KIND = {BillingMethod.MILESTONE: ItemKind.MILESTONE, BillingMethod.FIXED_SCHEDULE: ItemKind.SCHEDULE_DATE}


@dataclass(frozen=True)
class ClosingReadings:
    """Everything that was read of a contract."""

    contract: str
    ledger: LedgerReading
    deliveries: Sequence[DeliveryReading] = ()
    erp: ErpReading | None = None
    saga: str = ""
    """Of the closing, for the commands."""


@dataclass(frozen=True)
class Billed:
    """What of a contract's own billing events items stand for."""

    sources: frozenset[str] = frozenset()
    """Sources of fee items, as text."""
    progress: dict[str, Money] = field(default_factory=dict)
    """What of a line that is billed by progress was made billable, by line."""


def events_open(contract: Contract, billed: Billed, opening: OpeningPosition | None) -> list[BillingEvent]:
    """Dates, milestones and rests of progress that the contract bills and no item stands for."""
    before = frozenset(opening.billed_keys) if opening is not None else frozenset()
    carried_over = opening is not None and opening.billed_to_date.amount != 0
    found: list[BillingEvent] = []
    for line in contract.lines:
        kind = _KIND.get(line.billing_method)
        if kind is not None and line.schedule is not None:
            for one in line.schedule.dates:
                source = fee_source(kind.value, contract.key, one.key)
                if str(source) not in billed.sources and one.key not in before:
                    found.append(
                        BillingEvent(line_key=line.key, title=one.title, due=one.due, amount=one.amount)
                    )
        if line.billing_method is BillingMethod.PROGRESS and not carried_over:
            done = billed.progress.get(line.key)
            rest = line.amount.minor - (done.minor if done is not None else 0)
            if rest > 0:
                amount = Money.of_minor(rest, line.amount.currency, line.amount.role)
                found.append(BillingEvent(line_key=line.key, title=line.description, amount=amount))
    return found


def closing_facts(readings: ClosingReadings) -> tuple[ClosingFact, ...]:
    """Every fact that stands in the way, each once, in the order in which people deal with them."""
    found = [
        *_work(readings),
        *_beside(readings),
        *(fact for one in readings.deliveries for fact in _delivery(one)),
        *_invoices(readings),
        *_revenue(readings),
    ]
    return tuple({fact.key: fact for fact in found}.values())


def uncovered(facts: Iterable[ClosingFact], waived: Iterable[ClosingFact]) -> tuple[ClosingFact, ...]:
    """Facts that nobody has let pass: a decision counts for the same fact, worth no more than then."""
    known = {fact.key: fact for fact in waived}
    return tuple(fact for fact in facts if not _covers(known.get(fact.key), fact))


def _covers(decided: ClosingFact | None, fact: ClosingFact) -> bool:
    if decided is None or not fact.waivable or not decided.waivable:
        return False
    if fact.worth is None or decided.worth is None:
        return fact.worth is None and decided.worth is None
    same = (fact.worth.currency, fact.worth.role) == (decided.worth.currency, decided.worth.role)
    return same and fact.worth.minor <= decided.worth.minor


def deal_status(contracts: Iterable[str], closed: Iterable[str]) -> DealStatus | None:
    """What a deal shows: closed once all its contracts are; None while none is."""
    every, done = set(contracts), set(closed)
    if not done:
        return None
    return DealStatus.CLOSED if every <= done else DealStatus.PARTLY_CLOSED


# --- work --------------------------------------------------------------------------------------------------


def _work(readings: ClosingReadings) -> list[ClosingFact]:
    ledger, contract = readings.ledger, readings.contract
    # What delivery says of approval now is later word than the ledger's.
    told = any(one.unapproved.items for one in readings.deliveries)
    found = [
        _group(group, contract)
        for group in ledger.groups
        if group.cause not in NEVER_BILLED and not (told and group.cause is Cause.NOT_APPROVED)
    ]
    for flight in ledger.in_flight:
        found.append(
            _fact(
                Cause.CLOSE_WORK_OPEN,
                f"{_count(flight.items, 'line')} in a batch to {flight.system} ({flight.purpose}) without an "
                "outcome.",
                key=f"flight/{flight.system}/{flight.purpose}/{_currency(flight.amount)}",
                worth=flight.amount,
                command="trueup list",
            )
        )
    if ledger.corrections:
        found.append(
            _fact(
                Cause.CLOSE_WORK_OPEN,
                f"{_count(ledger.corrections, 'item')} changed or gone in delivery whose posting or billing "
                "still stands.",
                key="corrections",
                command="trueup approvals",
            )
        )
    for document in ledger.documents:
        found.append(
            _fact(
                Cause.CLOSE_WORK_OPEN,
                f"{document.kind.capitalize()} {document.key} is {document.state}, not issued.",
                key=f"document/{document.key}",
                worth=document.net,
                command=f"trueup show {document.saga_id}",
            )
        )
    for event in ledger.events:
        due = f", due {event.due.isoformat()}" if event.due else ""
        found.append(
            _fact(
                Cause.CLOSE_EVENT_OPEN,
                f"{event.title}{due}, of line {event.line_key} was never billed.",
                key=f"event/{event.line_key}/{event.title}/{event.due}",
                worth=event.amount,
                command=f"trueup start time-to-billing --cutoff {event.due}" if event.due else None,
            )
        )
    return found


def _group(group: UnbilledGroup, contract: str) -> ClosingFact:
    cause = group.cause or Cause.CLOSE_WORK_OPEN
    word = f"held: {cause.value}" if group.cause is not None else group.reason
    return _fact(
        cause,
        f"{_count(group.items, 'item')} of contract {contract} {word}.",
        key=f"work/{group.reason}/{group.project_code or group.project}/{_currency(group.amount)}",
        worth=group.amount,
        command=f"trueup resolve --cause {cause.value}" if group.cause is not None else "trueup unbilled",
    )


def _beside(readings: ClosingReadings) -> list[ClosingFact]:
    ledger, contract = readings.ledger, readings.contract
    found = [
        _fact(
            Cause.CLOSE_RETAINER_LEFT,
            f"Retainer {left.account} has {left.balance} left.",
            key=f"retainer/{left.account}",
            worth=left.balance,
        )
        for left in ledger.retainers
    ]
    found += [
        _fact(
            Cause.RUN_UNDER_WAY,
            f"Change order {order} is not decided.",
            key=f"order/{order}",
            command=f"trueup change-orders show {contract} {order}",
        )
        for order in ledger.change_orders
    ]
    found += [
        _fact(Cause.RUN_UNDER_WAY, f"{saga} is under way.", key=f"saga/{saga}", command=f"trueup show {saga}")
        for saga in ledger.sagas
    ]
    return found


# --- delivery ----------------------------------------------------------------------------------------------


def _delivery(one: DeliveryReading) -> list[ClosingFact]:
    if one.missing:
        return [
            _fact(
                Cause.RECORD_VANISHED,
                f"{one.project} ({one.delivery_key}) is not there any more.",
                key=f"missing/{one.project}",
                record=one.project,
            )
        ]
    found = []
    if one.unapproved.items:
        found.append(
            _fact(
                Cause.NOT_APPROVED,
                f"{_lines(one.unapproved)} of {one.title} not approved.",
                key=f"unapproved/{one.project}",
                record=_first(one.unapproved, one.project),
            )
        )
    if one.unread.items:
        found.append(
            _fact(
                Cause.CLOSE_WORK_OPEN,
                f"{_lines(one.unread)} of {one.title} approved and not read yet.",
                key=f"unread/{one.project}",
                record=_first(one.unread, one.project),
                command="trueup start post-approved-time",
            )
        )
    for cause, word, records in (
        (Cause.CLOSE_STAFFING_OPEN, "Position", one.positions),
        (Cause.CLOSE_STAFFING_OPEN, "Request for staff", one.requests),
        (Cause.MILESTONE_NOT_COMPLETE, "Milestone", one.milestones),
    ):
        found += [_record(cause, word, record, one.title) for record in records]
    return found


def _record(cause: Cause, word: str, record: OpenRecord, project: str) -> ClosingFact:
    state = "is not complete" if cause is Cause.MILESTONE_NOT_COMPLETE else "is open"
    remedy = "Complete it in the delivery system, or take it out." if "Milestone" in word else None
    return _fact(
        cause,
        f"{word} {record.title} of {project} {state}.",
        key=f"record/{record.ref}",
        record=record.ref,
        remedy=remedy,
    )


# --- finance -----------------------------------------------------------------------------------------------


def _invoices(readings: ClosingReadings) -> list[ClosingFact]:
    found = []
    for invoice in readings.ledger.invoices:
        owed = _owed(invoice, readings.erp)
        if owed is not None and owed.amount == 0:
            continue
        name = f"Invoice {invoice.number or invoice.ref.id}"
        state = [invoice.status] if invoice.status else []
        state += ["disputed"] if invoice.disputed else []
        state += [f"due {invoice.due_on.isoformat()}"] if invoice.due_on else []
        told = f" ({', '.join(state)})" if state else ""
        found.append(
            _fact(
                Cause.CLOSE_INVOICE_OPEN,
                f"{name}{told} is not settled."
                if owed is not None
                else f"{name} is not in the ERP any more.",
                key=f"invoice/{invoice.ref}",
                record=invoice.ref,
                worth=owed,
                command=f"trueup start invoice-feedback {invoice.ref.id}",
                # Nobody can be asked to collect what nobody has seen.
                waivable=owed is not None,
            )
        )
    return found


def _owed(invoice: KnownInvoice, erp: ErpReading | None) -> Money | None:
    if erp is None:
        return invoice.balance
    amount = erp.balances.get(invoice.ref.id)
    if amount is None:
        return None
    return Money(amount=amount, currency=invoice.currency, role=AmountRole.BILLING)


def _revenue(readings: ClosingReadings) -> list[ClosingFact]:
    erp = readings.erp
    if erp is None or erp.deferred is None or erp.deferred.amount == 0:
        return []
    return [
        _fact(
            Cause.CLOSE_REVENUE_OPEN,
            f"Revenue of {erp.project_code or erp.project} is not complete.",
            key="revenue",
            record=erp.project,
            worth=erp.deferred,
        )
    ]


# --- the question ------------------------------------------------------------------------------------------


def closing_gate(
    name: str,
    facts: Sequence[ClosingFact],
    policy: GatePolicy | None,
    *,
    requester: str,
    unexplained: bool = False,
) -> GateRequest:
    """What is asked while facts stand in the way.

    Args:
        name: the contract's.
        facts: those that nobody has let pass.
        policy: who decides; anybody where the firm names nobody.
        requester: who started the closing; may not let anything pass where the firm names who decides.
        unexplained: the last decision came without the reason that it needs.
    """
    policy = policy or GatePolicy(roles=())
    can_pass = all(fact.waivable for fact in facts)
    worth = _sum_of_one_currency(facts)
    figures = {"Contract": name, "In the way": _count(len(facts), "fact")}
    for number, fact in enumerate(facts[:SHOWN], 1):
        figures[f"{number}. {fact.cause.value}"] = told(fact)
    if len(facts) > SHOWN:
        figures["And"] = f"{len(facts) - SHOWN} more"
    choices = {LOOK_AGAIN: "the facts were dealt with: they are read again"}
    if can_pass:
        choices[COLLECTIONS] = "the invoices are assigned to collections: close all the same (needs a reason)"
    question = "Close the project?" if can_pass else "Deal with what is named, then have it looked at again."
    if unexplained:
        question = f"A closing with open invoices needs a reason: decide again. {question}"
    return GateRequest(
        gate="project-close",
        step=GATE,
        title=f"Closing of {name}",
        question=question,
        figures=figures,
        roles=roles_for(policy, worth),
        amount=worth,
        requester=requester if policy.roles and can_pass else None,
        options=(GateOutcome.APPROVE, GateOutcome.REJECT, GateOutcome.SEND_BACK),
        choices=choices,
    )


def told(fact: ClosingFact) -> str:
    """A fact in a line: what, worth, who acts, what to type."""
    worth = f" Worth {fact.worth}." if fact.worth is not None else ""
    command = f" `{fact.command}`" if fact.command else ""
    return f"{fact.what}{worth} {fact.queue.value}: {fact.remedy}{command}"


def in_the_way(facts: Sequence[ClosingFact]) -> Failure:
    """The facts as a failure: for a plan, and where a closing is refused."""
    findings = tuple(
        Finding(
            cause=fact.cause,
            message=fact.what,
            remedy=fact.remedy + (f" `{fact.command}`" if fact.command else ""),
            queue=fact.queue,
            record=fact.record,
            at_stake=fact.worth,
        )
        for fact in facts
    )
    entry = CATALOGUE[Cause.CLOSE_BLOCKED]
    return Failure(
        kind=FailureKind.REPAIR,
        cause=Cause.CLOSE_BLOCKED,
        message=f"{_count(len(facts), 'fact')} in the way of closing.",
        queue=facts[0].queue if facts else entry.queue,
        findings=findings,
        at_stake=_sum_of_one_currency(facts),
        remedy=entry.remedy,
    )


def _sum_of_one_currency(facts: Sequence[ClosingFact]) -> Money | None:
    """What is at stake, where it can be added up at all (rule 4)."""
    amounts = [fact.worth for fact in facts if fact.worth is not None]
    if not amounts or len({(one.currency, one.role) for one in amounts}) > 1:
        return None
    return Money.of_minor(sum(one.minor for one in amounts), amounts[0].currency, amounts[0].role)


def _fact(
    cause: Cause,
    what: str,
    *,
    key: str,
    record: RecordRef | None = None,
    worth: Money | None = None,
    remedy: str | None = None,
    command: str | None = None,
    waivable: bool = False,
) -> ClosingFact:
    entry = CATALOGUE[cause]
    return ClosingFact(
        cause=cause,
        what=what,
        key=key,
        record=record,
        worth=worth,
        queue=entry.queue,
        remedy=remedy or entry.remedy,
        command=command,
        waivable=waivable,
    )


def _first(work: OpenWork, project: RecordRef) -> RecordRef:
    return work.some[0] if work.some else project


def _lines(work: OpenWork) -> str:
    hours = f" ({work.minutes / 60:.1f} h)" if work.minutes else ""
    return f"{_count(work.items, 'line')}{hours}"


def _currency(amount: Money | None) -> str:
    return amount.currency if amount is not None else "unpriced"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
