"""Money: a decimal amount, its ISO 4217 currency and the role it plays (rule 4).

The number of decimals is the currency's own (JPY 0, EUR 2, KWD 3). Nothing here ever touches a
binary float. Splitting uses the largest remainder, so parts always add up to the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from enum import StrEnum
from functools import cache, lru_cache
from typing import Annotated

from iso4217 import Currency
from pydantic import AfterValidator, BeforeValidator, PlainSerializer, model_validator

from canonical.base import Canonical


class AmountRole(StrEnum):
    """Which of a transaction's currencies an amount is in. Sums never cross roles."""

    CONTRACT = "contract"
    BILLING = "billing"
    TRANSACTION = "transaction"
    """As incurred, for example an expense abroad."""
    ENTITY_BASE = "entity_base"


class Rounding(StrEnum):
    """Rounding of a line amount, as the contract says (rule 5)."""

    HALF_UP = "half_up"
    HALF_EVEN = "half_even"
    DOWN = "down"

    @property
    def mode(self) -> str:
        """The decimal module's name for it."""
        return _MODES[self.value]


_MODES = {"half_up": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN, "down": ROUND_DOWN}
_WIDE = Context(prec=60)
"""More digits than any amount has."""


@cache
def exponent(currency: str) -> int:
    """Number of decimals of an ISO 4217 currency.

    Raises:
        ValueError: not an ISO 4217 code, or one without minor units (gold, test codes).
    """
    try:
        digits = Currency(currency).exponent
    except ValueError:
        raise ValueError(f"{currency!r} is not an ISO 4217 currency code") from None
    if digits is None:
        raise ValueError(f"{currency!r} has no minor unit and cannot hold a business amount")
    return int(digits)


def _known_currency(code: str) -> str:
    exponent(code)
    return code


def _no_float(value: object) -> object:
    if isinstance(value, float):
        raise ValueError("an amount must not pass through a binary float")
    return value


CurrencyCode = Annotated[str, AfterValidator(_known_currency)]
"""An ISO 4217 alphabetic code in upper case."""

Exact = Annotated[
    Decimal, BeforeValidator(_no_float), PlainSerializer(lambda value: format(value, "f"), return_type=str)
]
"""A decimal that JSON carries as plain digits in a string."""


class Money(Canonical):
    """An amount in one currency, in one role. The amount has at most the currency's decimals."""

    amount: Exact
    currency: CurrencyCode
    role: AmountRole = AmountRole.CONTRACT

    @model_validator(mode="after")
    def _fits_the_currency(self) -> Money:
        if not self.amount.is_finite():
            raise ValueError("an amount must be finite")
        places = self.amount.as_tuple().exponent
        if isinstance(places, int) and -places <= exponent(self.currency):
            return self
        if self.amount != round_to(self.amount, self.currency, Rounding.DOWN):
            raise ValueError(
                f"{self.amount} has more decimals than {self.currency} ({exponent(self.currency)})"
            )
        return self

    @property
    def minor(self) -> int:
        """The amount in integer minor units (cents, yen, fils)."""
        return int(self.amount.scaleb(exponent(self.currency)))

    @classmethod
    def of_minor(cls, minor: int, currency: str, role: AmountRole = AmountRole.CONTRACT) -> Money:
        """Money from integer minor units, which fit the currency by themselves: nothing is left to check."""
        return _of_minor(minor, currency, role)

    def __add__(self, other: Money) -> Money:
        self._same_kind(other)
        return self.model_copy(update={"amount": self.amount + other.amount})

    def __sub__(self, other: Money) -> Money:
        self._same_kind(other)
        return self.model_copy(update={"amount": self.amount - other.amount})

    def __neg__(self) -> Money:
        return self.model_copy(update={"amount": -self.amount})

    def _same_kind(self, other: Money) -> None:
        if (self.currency, self.role) != (other.currency, other.role):
            raise ValueError(
                f"amounts of different kind: {self.currency}/{self.role} and {other.currency}/{other.role}"
            )

    def __str__(self) -> str:
        return f"{self.currency} {self.amount:,.{exponent(self.currency)}f}"


@lru_cache(maxsize=4096)
def _of_minor(minor: int, currency: str, role: AmountRole) -> Money:
    # Of most items most amounts are nothing, and many others are the same: they are the same object.
    amount = Decimal(minor).scaleb(-exponent(currency))
    return Money.model_construct(amount=amount, currency=currency, role=role)


def round_to(amount: Decimal, currency: str, rounding: Rounding = Rounding.HALF_UP) -> Decimal:
    """``amount`` with exactly the currency's decimals."""
    return amount.quantize(_unit(currency), rounding=rounding.mode, context=_WIDE)


@cache
def _unit(currency: str) -> Decimal:
    """The currency's smallest amount."""
    return Decimal(1).scaleb(-exponent(currency))


def total(amounts: Iterable[Money]) -> Money:
    """Sum of at least one amount of one role and currency.

    Raises:
        ValueError: no amounts, or amounts of different currency or role.
    """
    first, *rest = amounts
    for money in rest:
        first = first + money
    return first


def allocate(whole: Money, weights: Sequence[Decimal]) -> list[Money]:
    """Split ``whole`` in proportion to ``weights`` by largest remainder; the parts add up exactly.

    Ties go to the earlier part, so the result is the same on every run.

    Raises:
        ValueError: no weights, a negative one, or all zero.
    """
    if not weights or any(weight < 0 for weight in weights) or not any(weights):
        raise ValueError("weights must be non-negative and not all zero")
    sign = -1 if whole.minor < 0 else 1
    units = abs(whole.minor)
    weight_sum = sum(weights, Decimal(0))
    shares = [Decimal(units) * weight / weight_sum for weight in weights]
    parts = [int(share) for share in shares]
    by_remainder = sorted(range(len(parts)), key=lambda i: (parts[i] - shares[i], i))
    for i in by_remainder[: units - sum(parts)]:
        parts[i] += 1
    return [Money.of_minor(sign * part, whole.currency, whole.role) for part in parts]


class Conversion(Canonical):
    """A conversion as a record (rule 4): which rate, of which kind and day, from which source.

    ``rate`` is units of ``to_currency`` for one unit of ``from_currency``.
    """

    from_currency: CurrencyCode
    to_currency: CurrencyCode
    rate: Exact
    rate_type: str
    """``fixed_by_contract``, ``incurred`` or ``invoice``: which date fixes the rate."""
    rate_date: str
    """Calendar date, ISO 8601."""
    source: str
    """Where the rate comes from, for example the deal line's field."""

    def apply(self, money: Money, role: AmountRole, rounding: Rounding = Rounding.HALF_UP) -> Money:
        """``money`` converted and rounded once, in ``role``.

        Raises:
            ValueError: ``money`` is not in ``from_currency``.
        """
        if money.currency != self.from_currency:
            raise ValueError(f"{money} cannot be converted by a rate from {self.from_currency}")
        amount = round_to(money.amount * self.rate, self.to_currency, rounding)
        return Money(amount=amount, currency=self.to_currency, role=role)
