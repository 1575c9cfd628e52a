"""Which rate a line gets on its day, from its contract's authority (rule 7); gaps and overlaps are found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from canonical.causes import Cause
from canonical.failures import Finding
from canonical.money import Conversion, Rounding, round_to
from canonical.rates import PricingAuthority, Rate, RateCard, RateLine, RateVersion
from canonical.refs import RecordRef
from rules.findings import finding


@dataclass(frozen=True)
class PriceSources:
    """What the three possible sources say about one line; only the authority's counts."""

    contract: RateVersion | None = None
    delivery: tuple[Decimal, str] | None = None
    """Rate per hour and its currency, as the delivery system has it on the entry."""
    erp: tuple[Decimal, str] | None = None


def resolve_rate(
    authority: PricingAuthority,
    sources: PriceSources,
    role: str | None,
    day: date,
    *,
    record: RecordRef | None = None,
) -> Rate | Finding:
    """The rate of ``role`` on ``day``, or why there is none."""
    if authority is PricingAuthority.CONTRACT:
        return _from_card(sources.contract, role, day, record)
    told = sources.delivery if authority is PricingAuthority.DELIVERY else sources.erp
    if told is None:
        return finding(
            Cause.RATE_MISSING,
            f"The contract's prices come from {_WHO[authority]}, which names none for this line.",
            record=record,
            field="rate",
        )
    return Rate(amount=told[0], currency=told[1], authority=authority)


_WHO = {
    PricingAuthority.CONTRACT: "the contract's rate card",
    PricingAuthority.DELIVERY: "the delivery system",
    PricingAuthority.ERP: "the ERP",
}


def _from_card(
    version: RateVersion | None, role: str | None, day: date, record: RecordRef | None
) -> Rate | Finding:
    if role is None:
        return finding(Cause.ROLE_MISSING, "The entry names no role.", record=record, field="role")
    if version is None:
        return finding(Cause.RATE_MISSING, "The contract has no rate card.", record=record, field="rate_card")
    card = version.card
    hits = card.rates_on(role, day)
    if len(hits) == 1:
        return _rate(version, hits[0])
    where = f"Rate card {card.code} ({version.label}), role {role!r}, {day.isoformat()}"
    if hits:
        both = " and ".join(_words(line) for line in hits)
        return finding(Cause.RATE_OVERLAP, f"{where}: {both} hold at once.", record=record, field="rate_card")
    return finding(Cause.RATE_MISSING, f"{where}: {_gap(card, role, day)}.", record=record, field="rate_card")


def _rate(version: RateVersion, line: RateLine) -> Rate:
    return Rate(
        amount=line.amount,
        currency=line.currency,
        authority=PricingAuthority.CONTRACT,
        version=version.number,
        effective_from=line.effective_from,
    )


def _words(line: RateLine) -> str:
    until = f" to {line.effective_to.isoformat()}" if line.effective_to else ""
    return f"{line.currency} {line.amount} from {line.effective_from.isoformat()}{until}"


def _gap(card: RateCard, role: str, day: date) -> str:
    own = sorted((line for line in card.lines if line.role == role), key=lambda line: line.effective_from)
    if not own:
        return "the card has no such role"
    before = [line for line in own if line.effective_to is not None and line.effective_to < day]
    after = [line for line in own if line.effective_from > day]
    ends = f"the last rate ended on {before[-1].effective_to}" if before else "no rate has begun"
    begins = f", the next begins on {after[0].effective_from}" if after else ""
    return ends + begins


def price_differences(
    rate: Rate,
    sources: PriceSources,
    role: str | None,
    day: date,
    tolerance: Decimal,
    conversion: Conversion | None = None,
) -> Iterator[str]:
    """Prices of the other sources, where they differ from ``rate`` by more than ``tolerance`` an hour.

    A price in whole cents of a rate with more decimals is the same price, and so is one in the currency that
    the contract's own ``conversion`` leads to.
    """
    others: dict[PricingAuthority, tuple[Decimal, str] | None] = {
        PricingAuthority.DELIVERY: sources.delivery,
        PricingAuthority.ERP: sources.erp,
    }
    if sources.contract is not None and role is not None:
        hits = sources.contract.card.rates_on(role, day)
        others[PricingAuthority.CONTRACT] = (hits[0].amount, hits[0].currency) if len(hits) == 1 else None
    for authority, told in others.items():
        if authority is rate.authority or told is None:
            continue
        agreed = _in_currency(rate, told[1], conversion)
        if agreed is None or (
            abs(told[0] - agreed) > tolerance and told[0] != round_to(agreed, told[1], Rounding.HALF_UP)
        ):
            yield f"{_WHO[authority]} says {told[1]} {told[0]}, agreed is {rate.currency} {rate.amount}"


def _in_currency(rate: Rate, currency: str, conversion: Conversion | None) -> Decimal | None:
    """The rate in a currency; None where nothing says what it is worth there."""
    if currency == rate.currency:
        return rate.amount
    if conversion is None or (conversion.from_currency, conversion.to_currency) != (rate.currency, currency):
        return None
    return rate.amount * conversion.rate


def card_findings(card: RateCard, roles: Sequence[str], first: date, last: date) -> Iterator[Finding]:
    """Gaps and overlaps of a card over a contract's days, per role: found before any line is priced."""
    for role in roles:
        days = _boundaries(card, role, first, last)
        for start, end in days:
            hits = card.rates_on(role, start)
            span = f"{start.isoformat()} to {end.isoformat()}"
            if not hits:
                yield finding(Cause.RATE_MISSING, f"Rate card {card.code}: no rate for {role!r} from {span}.")
            elif len(hits) > 1:
                both = " and ".join(_words(line) for line in hits)
                yield finding(
                    Cause.RATE_OVERLAP, f"Rate card {card.code}: {both} hold for {role!r} from {span}."
                )


def _boundaries(card: RateCard, role: str, first: date, last: date) -> list[tuple[date, date]]:
    """Spans within which the same lines hold."""
    starts = {first}
    for line in card.lines:
        if line.role == role:
            starts.add(line.effective_from)
            if line.effective_to is not None:
                starts.add(line.effective_to + timedelta(days=1))
    ordered = sorted(day for day in starts if first <= day <= last)
    ends = [*(day - timedelta(days=1) for day in ordered[1:]), last]
    return list(zip(ordered, ends, strict=True))
