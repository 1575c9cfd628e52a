"""What a line is worth: rounded once, by the contract's rule, from exact fractions (rules 4, 5, 34)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from canonical.causes import Cause
from canonical.engagement import Contract
from canonical.failures import Finding
from canonical.items import Price
from canonical.money import AmountRole, Conversion, Money, Rounding, exponent
from canonical.rates import Rate
from canonical.refs import RecordRef
from canonical.terms import ExpenseTerms, RateFixing
from rules.findings import finding

MINUTES = 60
"""Minutes of an hour: rates are per hour, effort is minutes (rule 5)."""


@dataclass(frozen=True)
class Conversions:
    """Exchange rates by currencies and day, as loaded; the contract's own rates go before them."""

    by_day: Mapping[tuple[str, str, date], Conversion]

    def rate_for(
        self, contract: Contract, currency: str, incurred: date, invoiced: date
    ) -> Conversion | None:
        """The conversion that the contract's terms ask for, from ``currency`` to the contract's."""
        terms = contract.currency_terms
        pair = (currency, contract.currency)
        for agreed in terms.agreed:
            if (agreed.from_currency, agreed.to_currency) == pair:
                return agreed
        if terms.fixing is RateFixing.FIXED:
            return None
        day = invoiced if terms.fixing is RateFixing.INVOICE else incurred
        return self.by_day.get((*pair, day))


NO_CONVERSIONS = Conversions({})


def rounded(value: Fraction, currency: str, rounding: Rounding, role: AmountRole) -> Money:
    """``value`` with the currency's decimals. Exact: a tie is a tie, however long its decimals are."""
    scaled = value * 10 ** exponent(currency)
    whole, rest = divmod(abs(scaled.numerator), scaled.denominator)
    twice = 2 * rest
    up = twice > scaled.denominator
    if twice == scaled.denominator:
        up = rounding is Rounding.HALF_UP or (rounding is Rounding.HALF_EVEN and whole % 2 == 1)
    if rounding is Rounding.DOWN:
        up = False
    minor = whole + up
    return Money.of_minor(-minor if scaled < 0 else minor, currency, role)


def price_time(
    contract: Contract,
    rate: Rate,
    minutes: int,
    day: date,
    *,
    conversions: Conversions = NO_CONVERSIONS,
    invoiced: date | None = None,
    hours_decimals: int | None = None,
    record: RecordRef | None = None,
) -> Price | Finding:
    """What ``minutes`` at ``rate`` are worth in contract currency.

    Args:
        contract: its currency, rounding and currency terms.
        rate: per hour.
        minutes: effort.
        day: work date.
        conversions: for a rate in another currency.
        invoiced: day of the invoice, for contracts whose rates are fixed then; the work date when empty.
        hours_decimals: decimals of the hours that the ERP multiplies itself; None: it has whole minutes.
        record: for the finding.
    """
    conversion = None
    value = Fraction(minutes) * Fraction(rate.amount) / MINUTES
    if rate.currency != contract.currency:
        conversion = conversions.rate_for(contract, rate.currency, day, invoiced or day)
        if conversion is None:
            return _no_conversion(contract, rate.currency, day, record)
        value *= Fraction(conversion.rate)
    amount = rounded(value, contract.currency, contract.rounding, AmountRole.CONTRACT)
    difference = 0
    if conversion is None:
        theirs = vendor_amount(minutes, rate.amount, contract.currency, hours_decimals)
        difference = theirs.minor - amount.minor
        if abs(difference) > 1:
            return finding(
                Cause.PRICE_DIFFERS,
                f"{minutes} minutes at {rate.amount}: the ERP would make {theirs} of it, agreed is {amount}. "
                f"{hours_decimals} decimals of an hour are too few.",
                record=record,
                field="minutes",
                at_stake=amount,
            )
    return Price(amount=amount, rate=rate, conversion=conversion, vendor_difference=difference)


def vendor_amount(minutes: int, rate: Decimal, currency: str, hours_decimals: int | None) -> Money:
    """What an ERP makes of a line that it multiplies itself: hours with so many decimals, rounded half up."""
    hours = Fraction(minutes, MINUTES)
    if hours_decimals is not None:
        scale = 10**hours_decimals
        whole = (2 * abs(minutes) * scale + MINUTES) // (2 * MINUTES)
        hours = Fraction(whole if minutes >= 0 else -whole, scale)
    return rounded(hours * Fraction(rate), currency, Rounding.HALF_UP, AmountRole.CONTRACT)


def price_expense(
    contract: Contract,
    incurred: Money,
    day: date,
    *,
    recoverable_tax: Money | None = None,
    conversions: Conversions = NO_CONVERSIONS,
    invoiced: date | None = None,
    record: RecordRef | None = None,
) -> Price | Finding:
    """What an expense is charged on at: net or gross of recoverable tax, converted, up to the limit, plus
    markup (rule 34). Rounded once, at the end.
    """
    terms = contract.expense_terms
    value = Fraction(incurred.amount)
    if terms.net_of_recoverable_tax and recoverable_tax is not None:
        value -= Fraction(recoverable_tax.amount)
    conversion = None
    if incurred.currency != contract.currency:
        conversion = conversions.rate_for(contract, incurred.currency, day, invoiced or day)
        if conversion is None:
            return _no_conversion(contract, incurred.currency, day, record)
        value *= Fraction(conversion.rate)
    value = _limited(value, terms) * (1 + Fraction(terms.markup_percent) / 100)
    amount = rounded(value, contract.currency, contract.rounding, AmountRole.CONTRACT)
    return Price(amount=amount, conversion=conversion)


def _limited(value: Fraction, terms: ExpenseTerms) -> Fraction:
    if terms.limit is None:
        return value
    limit = Fraction(terms.limit.amount)
    return max(-limit, min(limit, value))


def _no_conversion(contract: Contract, currency: str, day: date, record: RecordRef | None) -> Finding:
    terms = contract.currency_terms
    known = {contract.currency, *(one.from_currency for one in terms.agreed)}
    if terms.fixing is RateFixing.FIXED:
        return finding(
            Cause.CURRENCY_NOT_IN_CONTRACT,
            f"{currency} is not among the contract's currencies ({', '.join(sorted(known))}).",
            record=record,
            field="currency",
        )
    which = "the invoice's day" if terms.fixing is RateFixing.INVOICE else day.isoformat()
    return finding(
        Cause.CONVERSION_MISSING,
        f"No rate from {currency} to {contract.currency} for {which}.",
        record=record,
        field="currency",
    )
