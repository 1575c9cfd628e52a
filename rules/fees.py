"""What the contract makes billable: milestones, schedule dates, retainer periods, progress (rules 32, 33)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from canonical.calendar import cycle_of
from canonical.causes import Cause
from canonical.delivered import DeliveredMilestone
from canonical.engagement import BillingMethod, Contract, ContractLine, ScheduleDate
from canonical.failures import Finding
from canonical.items import FeeItem, ItemKind
from canonical.money import AmountRole, Money, Rounding, allocate
from canonical.names import fee_source
from canonical.opening import OpeningPosition
from canonical.terms import ProgressBasis
from rules.enrichment import hold_for
from rules.findings import finding
from rules.grouping import place_in_group
from rules.pricing import rounded


@dataclass(frozen=True)
class Acceptance:
    """The client's acceptance of a milestone, with what proves it (rule 33)."""

    on: date
    by: str
    document: str


@dataclass(frozen=True)
class MilestoneState:
    """How far a milestone is, from delivery, and its acceptance from wherever it was recorded."""

    complete: bool
    completed_on: date | None = None
    acceptance: Acceptance | None = None
    percent: Decimal | None = None
    """Of the milestone; only where the contract allows part billing."""


def milestone_state(
    milestone: DeliveredMilestone, recorded: Acceptance | None = None, percent: Decimal | None = None
) -> MilestoneState:
    """From delivery's reading. An acceptance counts with date, person and document, wherever it was given."""
    told = None
    if milestone.accepted_on and milestone.accepted_by and milestone.acceptance_document:
        told = Acceptance(milestone.accepted_on, milestone.accepted_by, milestone.acceptance_document)
    return MilestoneState(milestone.complete, milestone.completed_on, told or recorded, percent)


@dataclass(frozen=True)
class Progress:
    """Progress of a line at the end of a period."""

    percent: Decimal | None = None
    """Reported, 0 to 100: for ``ProgressBasis.OUTPUT``."""
    minutes_worked: int | None = None
    minutes_at_completion: int | None = None
    """Worked and still to be worked: for ``ProgressBasis.EFFORT``."""

    def share(self, basis: ProgressBasis) -> Fraction | None:
        """Between 0 and 1; None where it is not known."""
        if basis is ProgressBasis.OUTPUT:
            return None if self.percent is None else min(Fraction(1), Fraction(self.percent) / 100)
        if self.minutes_worked is None or not self.minutes_at_completion:
            return None
        return min(Fraction(1), Fraction(self.minutes_worked, self.minutes_at_completion))


@dataclass(frozen=True)
class FeeFacts:
    """What fees depend on besides the contract."""

    region: str
    project_code: str
    through: date
    """Dates after it are not due yet."""
    at: datetime
    milestones: Mapping[str, MilestoneState]
    """By milestone key of the schedule date."""
    opening: OpeningPosition | None = None
    used_orders: Mapping[str, Money] = field(default_factory=dict)
    """What of each purchase order is used, by ``rules.caps.order_key``."""
    progress: Mapping[str, Progress] = field(default_factory=dict)
    """Of lines that are billed by it, as it is now."""
    progress_billed: Mapping[str, Mapping[str, Money]] = field(default_factory=dict)
    """What was made billable of such lines so far, by line and by the cycle it was for."""
    progress_used: frozenset[tuple[str, str]] = frozenset()
    """(line, cycle) of which something is on an invoice, or decided otherwise: that amount stands."""


def fees_of(contract: Contract, facts: FeeFacts) -> list[FeeItem]:
    """Every fee of a contract up to a day, but what was billed before the opening position."""
    found: list[FeeItem] = []
    for line in contract.lines:
        match line.billing_method:
            case BillingMethod.MILESTONE:
                found += [_milestone(contract, line, one, facts) for one in _dates(line)]
            case BillingMethod.FIXED_SCHEDULE:
                found += [
                    _scheduled(contract, line, one, facts, ItemKind.SCHEDULE_DATE)
                    for one in _due(line, facts)
                ]
            case BillingMethod.RETAINER:
                found += _retainer_periods(contract, line, facts)
            case BillingMethod.PROGRESS:
                found += _progress(contract, line, facts)
            case BillingMethod.TIME_AND_MATERIALS:
                pass
    billed = frozenset(facts.opening.billed_keys) if facts.opening is not None else frozenset()
    return [fee for fee in found if not _was_billed(fee, billed)]


def _was_billed(fee: FeeItem, billed: Collection[str]) -> bool:
    return fee.source.id.split("/", 1)[1] in billed


def _dates(line: ContractLine) -> tuple[ScheduleDate, ...]:
    return line.schedule.dates if line.schedule is not None else ()


def _due(line: ContractLine, facts: FeeFacts) -> list[ScheduleDate]:
    return [one for one in _dates(line) if one.due <= facts.through]


def _item(
    contract: Contract,
    line: ContractLine,
    facts: FeeFacts,
    kind: ItemKind,
    key: str,
    day: date,
    amount: Money,
    title: str,
) -> FeeItem:
    placed = place_in_group(contract, facts.project_code, day, facts.used_orders)
    return FeeItem(
        kind=kind,
        source=fee_source(kind.value, contract.key, key),
        region=facts.region,
        contract_key=contract.key,
        line_key=line.key,
        project_code=facts.project_code,
        legal_entity=contract.legal_entity,
        day=day,
        amount=amount.model_copy(update={"role": AmountRole.CONTRACT}),
        title=title,
        **placed,
    )


def _scheduled(
    contract: Contract, line: ContractLine, one: ScheduleDate, facts: FeeFacts, kind: ItemKind
) -> FeeItem:
    return _item(contract, line, facts, kind, one.key, one.due, one.amount, one.title)


def _milestone(contract: Contract, line: ContractLine, one: ScheduleDate, facts: FeeFacts) -> FeeItem:
    state = facts.milestones.get(one.milestone_key or one.key, MilestoneState(complete=False))
    problem, limit = _blocked(line, one, state)
    accepted = state.acceptance.on if state.acceptance and line.acceptance_required else None
    # Complete before it was due: billable from now on, and not only when the plan had meant it to be.
    day = accepted or state.completed_on or (min(one.due, facts.through) if state.complete else one.due)
    item = _item(contract, line, facts, ItemKind.MILESTONE, one.key, day, one.amount, one.title)
    hold = hold_for([problem] if problem else [], facts.at)
    return item.model_copy(update={"hold": hold, "limit": limit})


def _blocked(
    line: ContractLine, one: ScheduleDate, state: MilestoneState
) -> tuple[Finding | None, Money | None]:
    """Why a milestone may not be billed, or how much of it may."""
    in_part = line.part_billing and state.percent is not None and 0 < state.percent < 100
    if not state.complete and not in_part:
        words = f"Milestone {one.title!r} of {one.amount} is not complete."
        return finding(Cause.MILESTONE_NOT_COMPLETE, words, at_stake=one.amount), None
    if line.acceptance_required and state.acceptance is None:
        words = f"Milestone {one.title!r} of {one.amount} is not accepted with date, person and document."
        return finding(Cause.MILESTONE_NOT_ACCEPTED, words, at_stake=one.amount), None
    if state.complete or state.percent is None:
        return None, None
    part = Fraction(one.amount.amount) * Fraction(state.percent) / 100
    return None, rounded(part, one.amount.currency, Rounding.DOWN, AmountRole.CONTRACT)


def _retainer_periods(contract: Contract, line: ContractLine, facts: FeeFacts) -> list[FeeItem]:
    """A retainer's periods are billed in advance: on their first day."""
    kind = ItemKind.RETAINER_PERIOD
    if line.schedule is not None:
        found, first = [], line.start
        for one in line.schedule.dates:
            day = first or one.due
            first = one.due + timedelta(days=1)
            if day <= facts.through:
                found.append(_item(contract, line, facts, kind, one.key, day, one.amount, one.title))
        return found
    start, end = line.start or contract.start, line.end or contract.end
    if contract.retainer is None or start is None:
        return []
    found, day, last = [], start, min(end or facts.through, facts.through)
    while day <= last:
        cycle = cycle_of(contract.cycle, day, start=start)
        title = f"Retainer {cycle.key}"
        amount = contract.retainer.period_amount
        found.append(_item(contract, line, facts, kind, f"{line.key}.{cycle.key}", day, amount, title))
        if cycle.last >= last:
            break
        day = cycle.last + timedelta(days=1)
    return found


# --- progress -------------------------------------------------------------------------------------


def _progress(contract: Contract, line: ContractLine, facts: FeeFacts) -> list[FeeItem]:
    """The fee of the cycle that the day falls into, as far as progress has come; later progress of the cycle
    changes it until it is on an invoice.

    A later cycle whose progress was read already, and of which nothing is on an invoice, gives way: what was
    reached is billed with the first cycle that is billed.
    """
    cycle = cycle_of(contract.cycle, facts.through, start=contract.start).key
    if (line.key, cycle) in facts.progress_used:
        return []
    made = facts.progress_billed.get(line.key, {})
    ahead = sorted(one for one in made if one > cycle and (line.key, one) not in facts.progress_used)
    before = _billed_before(contract, line, facts.opening)
    before += sum(amount.minor for one, amount in made.items() if one != cycle and one not in ahead)
    own = _progress_of(contract, line, facts, cycle, before, cycle in made)
    return [*own, *(_waiting(contract, line, facts, one, 0, _no_progress(line, before)) for one in ahead)]


def _progress_of(
    contract: Contract, line: ContractLine, facts: FeeFacts, cycle: str, before: int, known: bool
) -> list[FeeItem]:
    """The fee of one cycle; nothing where there is none to bill and none was taken in before."""
    billed = Money.of_minor(before, contract.currency)
    found = progress_fee(contract, line, facts, facts.progress.get(line.key, Progress()), cycle, billed)
    if isinstance(found, FeeItem):
        return [found]
    if found is None and not known:
        return []
    problem = found or _no_progress(line, before)
    # Where nobody knows, all that is left of the line is at stake; where too much is billed, nothing is.
    unknown = found is not None and found.cause is Cause.PROGRESS_UNKNOWN
    rest = max(line.amount.minor - before, 0) if unknown else 0
    if not rest and not known:
        return []
    return [_waiting(contract, line, facts, cycle, rest, problem)]


def _no_progress(line: ContractLine, before: int) -> Finding:
    billed = Money.of_minor(before, line.amount.currency)
    words = f"{line.description!r} has made no progress since {billed} were billed."
    return finding(Cause.PROGRESS_UNKNOWN, words)


def _waiting(
    contract: Contract, line: ContractLine, facts: FeeFacts, cycle: str, rest: int, problem: Finding
) -> FeeItem:
    """The fee of a cycle that cannot be billed now."""
    amount = Money.of_minor(rest, contract.currency)
    title = f"{line.description}, progress {cycle}"
    kind, key = ItemKind.PROGRESS_PERIOD, f"{line.key}.{cycle}"
    item = _item(contract, line, facts, kind, key, facts.through, amount, title)
    return item.model_copy(update={"hold": hold_for([problem], facts.at)})


def _billed_before(contract: Contract, line: ContractLine, opening: OpeningPosition | None) -> int:
    """What of a line the opening position counts as billed. It tells one sum per contract: shared among its
    lines in proportion, all of which are billed by progress or nothing could be said.
    """
    if opening is None or not opening.billed_to_date.minor:
        return 0
    own = [one for one in contract.lines if one.billing_method is BillingMethod.PROGRESS]
    shares = allocate(opening.billed_to_date, [one.amount.amount for one in own])
    return next(share.minor for one, share in zip(own, shares, strict=True) if one.key == line.key)


def progress_fee(
    contract: Contract, line: ContractLine, facts: FeeFacts, progress: Progress, cycle: str, billed: Money
) -> FeeItem | Finding | None:
    """What progress makes billable in a cycle: the line's amount in proportion, less what is billed.

    Args:
        contract: of the line.
        line: billed by progress.
        facts: around it.
        progress: at the end of the cycle.
        cycle: key of the cycle.
        billed: of this line so far, before the cycle, including the opening position.

    Returns:
        None when nothing is to be billed. Progress below what is billed never becomes a negative fee: it is
        a finding, since what was billed too much is credited at a gate.
    """
    terms = line.progress
    share = progress.share(terms.basis if terms is not None else ProgressBasis.OUTPUT)
    if share is None or share < 0:
        return finding(
            Cause.PROGRESS_UNKNOWN, f"Nobody has reported the progress of {line.description!r} for {cycle}."
        )
    value = rounded(
        Fraction(line.amount.amount) * share, contract.currency, contract.rounding, AmountRole.CONTRACT
    )
    due = value.minor - billed.minor
    if due < 0:
        return finding(
            Cause.CREDIT_PENDING,
            f"Progress of {line.description!r} is worth {value}, billed are {billed}: credit the difference.",
        )
    if due == 0:
        return None
    amount = Money.of_minor(due, contract.currency)
    title = f"{line.description}, progress {cycle}"
    kind = ItemKind.PROGRESS_PERIOD
    return _item(contract, line, facts, kind, f"{line.key}.{cycle}", facts.through, amount, title)
