"""What a changed source, rate or milestone means for what is posted or billed already (rules 7, 16, 39).

A change is never an edit. What is not on an issued invoice is repriced or withdrawn, with a trace. What is on
one is proposed as a credit, or as a further amount to bill, and decided by a person.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction

from canonical.engagement import Contract
from canonical.failures import Finding
from canonical.invoicing import AdjustmentCause, CreditPart, CreditProposal, Freed
from canonical.items import FeeItem, ItemKind, Price
from canonical.money import AmountRole, Conversion, Money, Rounding
from canonical.names import credit_key, fee_source, item_key
from canonical.rates import Rate
from rules.caps import cut
from rules.pricing import MINUTES, NO_CONVERSIONS, Conversions, price_time, rounded


@dataclass(frozen=True)
class BilledPart:
    """What of a part is on an issued invoice and not credited."""

    allocation_key: str
    item_key: str
    part: int
    minutes: int
    amount: Money
    """In contract currency."""
    billed: Money
    """In the invoice's."""
    invoice_key: str
    conversion: Conversion | None = None
    """The invoice's: a credit uses the rate of the invoice it credits (rule 4)."""


# --- backdated rates ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Adjusted:
    """An adjustment that an earlier rate brought for an item."""

    item_key: str
    unbilled: Money
    """Of it, not on an issued invoice."""
    settled: Money
    """Of it, billed or given up: that much has been decided."""
    billed: tuple[BilledPart, ...] = ()


@dataclass(frozen=True)
class Worked:
    """A priced time item whose rate may have changed."""

    item_key: str
    region: str
    project_code: str
    line_key: str | None
    work_date: date
    minutes: int
    """Not on an issued invoice, written down or covered."""
    amount: Money
    """What these minutes were worth so far."""
    rate: Rate | None = None
    """At which they were priced last."""
    billed: tuple[BilledPart, ...] = ()
    adjusted: tuple[Adjusted, ...] = ()
    """Oldest first."""


@dataclass(frozen=True)
class Repriced:
    """What a new rate makes of an item."""

    item_key: str
    before: Money
    price: Price
    """Of what is not billed."""
    further: FeeItem | None = None
    """What billed parts are worth more: to be billed as an adjustment."""
    credits: tuple[tuple[str, CreditPart], ...] = ()
    """(invoice, part) of what billed parts are worth less: to be credited."""
    lowered: Mapping[str, Money] = field(default_factory=dict)
    """What is left unbilled of earlier adjustments, by their keys."""

    @property
    def changes(self) -> bool:
        """Whether anything is worth another amount."""
        return bool(
            self.before != self.price.amount or self.further is not None or self.credits or self.lowered
        )


def reprice(
    contract: Contract,
    item: Worked,
    rate: Rate,
    at: date,
    *,
    conversions: Conversions = NO_CONVERSIONS,
    hours_decimals: int | None = None,
) -> Repriced | Finding:
    """What a backdated rate change makes of an item: unbilled minutes are worth the new amount; the
    difference on billed ones is proposed, never taken.

    What earlier changes brought counts: only ever the rest is proposed. Where the rate falls again, an
    adjustment that is not billed yet is lowered first.

    Args:
        contract: of the item.
        item: as it stands.
        rate: in force now for the item's role and day.
        at: from which day a further amount may be billed.
        conversions: as for pricing.
        hours_decimals: as for pricing.
    """

    def worth(minutes: int) -> Price | Finding:
        return price_time(
            contract,
            rate,
            minutes,
            item.work_date,
            conversions=conversions,
            hours_decimals=hours_decimals,
        )

    price, whole = worth(item.minutes), worth(item.minutes + sum(part.minutes for part in item.billed))
    if isinstance(price, Finding):
        return price
    if isinstance(whole, Finding):
        return whole
    # Each minute is worth the rate once, however the item was split.
    missing = whole.amount.minor - price.amount.minor - sum(part.amount.minor for part in item.billed)
    on_invoices = sum(part.amount.minor for one in item.adjusted for part in one.billed)
    given_up = sum(one.settled.minor for one in item.adjusted) - on_invoices
    # What adjustments that are not billed yet should come to. What was given up is not asked for again; it
    # was never billed, so it is nothing to give back either.
    wanted = missing - on_invoices
    if wanted > 0:
        wanted = max(0, wanted - given_up)
    unbilled = sum(one.unbilled.minor for one in item.adjusted)
    if item.rate is not None and (item.rate.amount, item.rate.currency) == (rate.amount, rate.currency):
        # Decided before. A part that was cut to the cent has whole minutes all the same: no difference.
        price = price.model_copy(update={"amount": item.amount})
        minute = rate.amount * (price.conversion.rate if price.conversion is not None else 1) / MINUTES
        cuts = rounded(
            Fraction(minute) * len(item.billed), contract.currency, Rounding.HALF_UP, AmountRole.CONTRACT
        )
        if item.minutes and abs(wanted - unbilled) <= cuts.minor + 1:
            wanted = unbilled
    further = _further(contract, item, rate, wanted - unbilled, at) if wanted > max(unbilled, 0) else None
    return Repriced(
        item.item_key,
        item.amount,
        price,
        further,
        tuple(_lower_billed(item, -wanted)) if wanted < 0 else (),
        _lower_unbilled(item, max(wanted, 0)) if wanted < unbilled else {},
    )


def _lower_unbilled(item: Worked, wanted: int) -> dict[str, Money]:
    """Earlier adjustments brought down to ``wanted`` together, the latest first."""
    over = sum(one.unbilled.minor for one in item.adjusted) - wanted
    lowered: dict[str, Money] = {}
    for one in reversed(item.adjusted):
        less = min(over, one.unbilled.minor)
        if less > 0:
            over -= less
            kept = one.unbilled.minor - less
            lowered[one.item_key] = Money.of_minor(kept, one.unbilled.currency, one.unbilled.role)
    return lowered


def _lower_billed(item: Worked, minor: int) -> Iterable[tuple[str, CreditPart]]:
    """``minor`` to be credited: of the latest adjustments first, of the item itself last."""
    parts = [part for one in reversed(item.adjusted) for part in one.billed] + list(item.billed)
    for part in parts:
        taken = min(minor, part.amount.minor)
        if taken > 0:
            minor -= taken
            # An amount only: the minutes stay billed, at the lower rate.
            part_of = _credit_part(part, taken, Freed.WITHDRAWN)
            yield part.invoice_key, part_of.model_copy(update={"minutes": 0})


def _further(contract: Contract, item: Worked, rate: Rate, minor: int, at: date) -> FeeItem:
    # The rate's version belongs to the identity: each change is proposed once.
    source = fee_source(ItemKind.ADJUSTMENT.value, contract.key, f"{item.item_key}/rate-{rate.version}")
    before = sum(one.item_key.startswith(item_key(source, "")) for one in item.adjusted)
    return FeeItem(
        kind=ItemKind.ADJUSTMENT,
        source=source,
        revision=str(before + 1),
        region=item.region,
        contract_key=contract.key,
        line_key=item.line_key,
        project_code=item.project_code,
        legal_entity=contract.legal_entity,
        day=at,
        amount=Money.of_minor(minor, contract.currency, AmountRole.CONTRACT),
        title=f"Rate from {rate.effective_from or item.work_date} for work of {item.work_date.isoformat()}",
        adjusts=item.item_key,
        reason=f"backdated rate, version {rate.version}",
    )


def rate_credit(
    invoice: str, parts: Iterable[CreditPart], reason: str, earlier: int, conversion: Conversion | None = None
) -> CreditProposal:
    """The proposal that gives back what an invoice billed too much by a rate that fell (rule 39)."""
    return CreditProposal(
        key=credit_key(invoice, earlier + 1),
        invoice_key=invoice,
        cause=AdjustmentCause.RATE_CHANGED,
        reason=reason,
        parts=tuple(sorted(parts, key=lambda part: part.allocation_key)),
        conversion=conversion,
    )


# --- credits --------------------------------------------------------------------------------------

_FREED = {
    AdjustmentCause.EDITED: Freed.WITHDRAWN,
    AdjustmentCause.REJECTED: Freed.WITHDRAWN,
    AdjustmentCause.DELETED: Freed.WITHDRAWN,
    AdjustmentCause.RATE_CHANGED: Freed.WITHDRAWN,
    AdjustmentCause.RETAINER_ENDED: Freed.WITHDRAWN,
    AdjustmentCause.MILESTONE_REOPENED: Freed.HELD,
    AdjustmentCause.REQUESTED: Freed.UNBILLED,
}
"""What is proposed for credited parts. A source that is gone leaves nothing to bill."""


def credit_proposals(
    parts: Iterable[tuple[BilledPart, AdjustmentCause]],
    reason: str,
    numbers: Mapping[str, int],
    *,
    rebill: Mapping[str, tuple[str, Money | None]] | None = None,
) -> list[CreditProposal]:
    """One proposal per invoice: what of it is credited, and what is billed instead.

    Args:
        parts: billed parts and what happened to them.
        reason: for the approver and the credit memo.
        numbers: how many credits each invoice has already.
        rebill: by item, the key and the amount of what replaces it.
    """
    by_invoice: dict[str, list[tuple[BilledPart, AdjustmentCause]]] = defaultdict(list)
    for part, cause in parts:
        by_invoice[part.invoice_key].append((part, cause))
    replaced = rebill or {}
    return [
        _proposal(invoice, own, reason, numbers.get(invoice, 0), replaced)
        for invoice, own in sorted(by_invoice.items())
    ]


def _proposal(
    invoice: str,
    own: Sequence[tuple[BilledPart, AdjustmentCause]],
    reason: str,
    earlier: int,
    replaced: Mapping[str, tuple[str, Money | None]],
) -> CreditProposal:
    ordered = sorted(own, key=lambda one: one[0].allocation_key)
    again = {part.item_key: replaced[part.item_key] for part, _ in ordered if part.item_key in replaced}
    amounts = [amount for _, amount in again.values() if amount is not None]
    known = None
    for amount in amounts:
        known = amount if known is None else known + amount
    return CreditProposal(
        key=credit_key(invoice, earlier + 1),
        invoice_key=invoice,
        cause=ordered[0][1],
        reason=reason,
        parts=tuple(_credit_part(part, part.amount.minor, _FREED[cause]) for part, cause in ordered),
        rebill=tuple(key for key, _ in again.values()),
        rebill_amount=known,
        conversion=ordered[0][0].conversion,
    )


def _credit_part(part: BilledPart, minor: int, freed: Freed) -> CreditPart:
    """``minor`` of a billed part; in the invoice's currency in the same proportion, at its rate."""
    slice_, _ = cut(part.minutes, part.amount, minor)
    billed, _ = cut(0, part.billed, part.billed.minor * minor // part.amount.minor)
    return CreditPart(
        allocation_key=part.allocation_key,
        item_key=part.item_key,
        part=part.part,
        minutes=slice_.minutes if slice_ is not None else 0,
        amount=slice_.amount if slice_ is not None else part.amount - part.amount,
        billed=billed.amount if billed is not None else part.billed - part.billed,
        proposed=freed,
    )


def chosen(proposal: CreditProposal, choice: Freed | None) -> CreditProposal:
    """The proposal with the approver's choice. Parts whose source is gone stay withdrawn: billing them again
    would bill work that nobody vouches for.
    """
    if choice is None:
        return proposal
    return proposal.model_copy(
        update={
            "parts": tuple(
                part if part.proposed is Freed.WITHDRAWN else part.model_copy(update={"proposed": choice})
                for part in proposal.parts
            )
        }
    )
