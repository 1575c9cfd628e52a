"""What work, expenses and splits are worth, worked out a second time from rules 5 and 34. Exact fractions,
rounded once to the currency's own minor units.
"""

from __future__ import annotations

from fractions import Fraction

from tests.conservation.terms import DECIMALS, Agreement


def unit(currency: str) -> int:
    """Minor units of one unit of a currency."""
    return int(10 ** DECIMALS[currency])


def to_minor(value: Fraction, currency: str, rounding: str) -> int:
    """A value in whole minor units.

    Raises:
        ValueError: unknown rounding.
    """
    exact = abs(value) * unit(currency)
    whole, rest = divmod(exact.numerator, exact.denominator)
    double = 2 * rest
    if rounding == "half_up":
        up = double >= exact.denominator
    elif rounding == "half_even":
        up = double > exact.denominator or (double == exact.denominator and whole % 2 == 1)
    elif rounding == "down":
        up = False
    else:
        raise ValueError(f"unknown rounding {rounding!r}")
    return (whole + up) * (-1 if value < 0 else 1)


def of_minor(minor: int, currency: str) -> Fraction:
    """Minor units as an exact amount."""
    return Fraction(minor, unit(currency))


def time_worth(terms: Agreement, minutes: int, rate: Fraction) -> int:
    """Minutes at a rate per hour, in minor units of the contract's currency."""
    value = rate * minutes / 60
    if terms.rate_currency and terms.rate_currency != terms.currency:
        value *= Fraction(dict(terms.agreed)[terms.rate_currency])
    return to_minor(value, terms.currency, terms.rounding)


def expense_worth(terms: Agreement, minor: int, currency: str) -> int:
    """What an expense is charged on at: converted, up to the limit, with the markup, rounded once."""
    value = of_minor(minor, currency)
    if currency != terms.currency:
        value *= Fraction(dict(terms.agreed)[currency])
    if terms.expense_limit is not None:
        most = of_minor(terms.expense_limit, terms.currency)
        value = max(-most, min(most, value))
    value *= 1 + Fraction(terms.markup) / 100
    return to_minor(value, terms.currency, terms.rounding)


def share_worth(terms: Agreement, percent: int) -> int:
    """What a line that is billed by progress is worth so far."""
    return to_minor(of_minor(terms.amount, terms.currency) * percent / 100, terms.currency, terms.rounding)
