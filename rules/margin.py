"""Margin of an account or project: revenue less the cost of posted work, told as a sum only (rule 42).

It is told whole or not at all: a cost that is not known, or a currency that nobody converts, leaves no margin
instead of a wrong one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

from canonical.feedback import Facts, Held, InvoiceStatus, Rates
from canonical.margin import CostRate, Margin, PostedWork
from canonical.money import AmountRole, Conversion, Rounding
from rules.pricing import rounded

FEWEST_WORKERS = 3
"""With fewer people behind a sum, one of them could work out what another one earns."""
MINUTES = 60
MOST_PERCENT = 9_999
"""Beyond it, either way, a percentage says nothing and fits no field."""
FEW = "it would rest on fewer than three workers"
UNRATED = "a cost rate is not known"
BILLED_BY_OTHERS = "what subcontractors bill is not known"
_PERCENT = Decimal("0.01")
_UNTOLD = (InvoiceStatus.DRAFT, InvoiceStatus.VOIDED)


class _Unknown(Exception):
    """A part of the sum is not known; the text says which."""


def too_few(work: PostedWork) -> bool:
    """Whether fewer people worked than a margin needs, before anybody is asked what they cost."""
    return len({(one.psa, one.worker) for one in work.time if one.minutes}) < FEWEST_WORKERS


def margin_of(
    facts: Facts,
    work: PostedWork,
    people: Mapping[tuple[str, str], str],
    rates: Mapping[str, Sequence[CostRate]],
    currency: str,
    agreed: Mapping[str, Sequence[Conversion]] | None = None,
) -> Margin:
    """Margin of a target, in its record's currency; rounded once, at the end.

    A contract of which the ERP recognises or defers revenue counts with what is recognised, also when that is
    nothing so far; any other counts with what is invoiced net, less credits.

    Args:
        facts: what the target's invoices, revenue and contracts are.
        work: what is posted on these contracts.
        people: who a worker of a delivery system is, by (system, worker): one person may have several.
        rates: what people cost, each row for its days.
        currency: of the target's record.
        agreed: by contract, conversions into its currency that it agrees.
    """
    if work.billed_by_others:
        return Margin(reason=BILLED_BY_OTHERS)
    try:
        costs = _costs(work, people, rates)
        revenue = _revenue(facts, currency)
        cost = _cost(facts, costs, currency, agreed or {})
    except _Unknown as unknown:
        return Margin(reason=str(unknown))
    left = revenue - cost
    amount = rounded(left, currency, Rounding.HALF_UP, AmountRole.BILLING)
    return Margin(amount=amount, percent=_percent(left, revenue))


def _costs(
    work: PostedWork, people: Mapping[tuple[str, str], str], rates: Mapping[str, Sequence[CostRate]]
) -> dict[tuple[str, str], Fraction]:
    """Exact cost by contract and currency."""
    costs: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    parts: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for one in work.time:
        if not one.minutes:
            continue
        person = people.get((one.psa, one.worker), "")
        rate = next((rate for rate in rates.get(person, ()) if rate.holds_on(one.day)), None)
        if rate is None:
            raise _Unknown(UNRATED)
        cost = Fraction(rate.per_hour) * one.minutes / MINUTES
        costs[one.contract_key, rate.currency] += cost
        parts[person, rate.currency] += cost
    # Somebody whose hours cost nothing hides nobody else's.
    if len({person for (person, _), part in parts.items() if part}) < FEWEST_WORKERS:
        raise _Unknown(FEW)
    for contract, amount in work.expenses:
        costs[contract, amount.currency] += Fraction(amount.amount)
    return costs


def _revenue(facts: Facts, currency: str) -> Fraction:
    told = {one.contract_key for one in facts.revenue if one.recognised.amount or one.deferred.amount}
    revenue = Fraction(0)
    for one in facts.revenue:
        if one.contract_key in told:
            known = (one.rates, *_rates_of(facts, one.contract_key))
            own = one.recognised.currency
            revenue += Fraction(one.recognised.amount) * _rate(own, currency, own, known)
    for share in facts.held:
        if share.status not in _UNTOLD and share.share.contract_key not in told:
            own = share.share.net.currency
            revenue += _kept(share) * _rate(own, currency, own, (share.rates,))
    return revenue


def _kept(one: Held) -> Fraction:
    """What of an invoice's net amount no credit took back; credits are with tax."""
    net, gross = Fraction(one.share.net.amount), Fraction(one.share.gross.amount)
    return net * (gross - Fraction(one.share.credited.amount)) / gross if gross else net


def _cost(
    facts: Facts,
    costs: Mapping[tuple[str, str], Fraction],
    currency: str,
    agreed: Mapping[str, Sequence[Conversion]],
) -> Fraction:
    contracts = {one.contract_key: one for one in facts.contracts}
    cost = Fraction(0)
    for (key, source), amount in costs.items():
        if not amount:
            continue
        contract = contracts[key]
        known = (contract.rates, *_rates_of(facts, key))
        cost += amount * _rate(source, currency, contract.currency, known, agreed.get(key, ()))
    return cost


def _rates_of(facts: Facts, contract: str) -> tuple[Rates, ...]:
    """At which rates a contract's invoices were booked, the last one first."""
    own = [one for one in facts.held if one.share.contract_key == contract]
    return tuple(one.rates for one in sorted(own, key=lambda one: one.issued_on, reverse=True))


def _rate(
    source: str, wanted: str, own: str, known: Sequence[Rates], agreed: Sequence[Conversion] = ()
) -> Fraction:
    """From one currency into another, by way of the contract's own.

    Raises:
        _Unknown: nobody knows a rate.
    """
    if source == wanted:
        return Fraction(1)
    into = _first(own, wanted, known) if own else None
    if into is not None:
        back = _first(own, source, known)
        if back is not None:
            return into / back
        for one in agreed:
            if (one.from_currency, one.to_currency) == (source, own):
                return Fraction(one.rate) * into
    raise _Unknown(f"no rate from {source} to {wanted}")


def _first(own: str, wanted: str, known: Sequence[Rates]) -> Fraction | None:
    found = (rates.rate(own, wanted) for rates in known)
    return next((Fraction(rate) for rate in found if rate), None)


def _percent(left: Fraction, revenue: Fraction) -> Decimal | None:
    if revenue <= 0:
        return None
    share = left * 100 / revenue
    if abs(share) > MOST_PERCENT:
        return None
    exact = Decimal(share.numerator) / Decimal(share.denominator)
    return exact.quantize(_PERCENT, ROUND_HALF_UP)
