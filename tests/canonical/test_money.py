"""Money adds up in every currency; nothing passes through a binary float."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from canonical.money import (
    AmountRole,
    Conversion,
    Money,
    Rounding,
    allocate,
    exponent,
    round_to,
    total,
)

CURRENCIES = st.sampled_from(["JPY", "EUR", "KWD", "USD", "GBP", "BHD", "KRW"])
MINOR = st.integers(min_value=-(10**14), max_value=10**14)
WEIGHTS = st.lists(
    st.decimals(min_value=0, max_value=10**6, places=4), min_size=1, max_size=24
).filter(any)  # fmt: skip


def conversion(to: str, rate: str = "1", from_: str = "EUR") -> Conversion:
    return Conversion(
        from_currency=from_,
        to_currency=to,
        rate=Decimal(rate),
        rate_type="fixed_by_contract",
        rate_date="2026-11-20",
        source="deal line",
    )


@pytest.mark.parametrize(("currency", "digits"), [("JPY", 0), ("EUR", 2), ("KWD", 3), ("CLF", 4)])
def test_decimals_are_the_currencys_own(currency: str, digits: int) -> None:
    assert exponent(currency) == digits


@pytest.mark.parametrize("code", ["XAU", "XXX", "EURO", "eur", ""])
def test_what_cannot_hold_a_business_amount_is_refused(code: str) -> None:
    with pytest.raises(ValidationError):
        Money(amount=Decimal(1), currency=code)


@given(minor=MINOR, currency=CURRENCIES)
def test_minor_units_round_trip(minor: int, currency: str) -> None:
    money = Money.of_minor(minor, currency)
    assert money.minor == minor
    assert Money.model_validate_json(money.model_dump_json()) == money


@given(minor=MINOR, currency=CURRENCIES)
def test_json_carries_plain_digits_in_a_string(minor: int, currency: str) -> None:
    amount = Money.of_minor(minor, currency).model_dump(mode="json")["amount"]
    assert isinstance(amount, str)
    assert "E" not in amount
    assert Decimal(amount).scaleb(exponent(currency)) == minor


@pytest.mark.parametrize(
    ("amount", "currency"),
    [("1.5", "JPY"), ("1.005", "EUR"), ("1.0005", "KWD"), ("NaN", "EUR"), ("Infinity", "EUR")],
)
def test_more_decimals_than_the_currency_has_are_refused(amount: str, currency: str) -> None:
    with pytest.raises(ValidationError):
        Money(amount=Decimal(amount), currency=currency)


def test_a_float_is_refused_even_when_it_looks_exact() -> None:
    with pytest.raises(ValidationError, match="binary float"):
        Money.model_validate({"amount": 0.5, "currency": "EUR"})


def test_amounts_of_different_currency_or_role_never_add_up() -> None:
    contract = Money(amount=Decimal(1), currency="EUR")
    for other in (
        Money(amount=Decimal(1), currency="USD"),
        Money(amount=Decimal(1), currency="EUR", role=AmountRole.BILLING),
    ):
        for work in (
            lambda o=other: contract + o,
            lambda o=other: contract - o,
            lambda o=other: total([contract, o]),
        ):
            with pytest.raises(ValueError, match="different kind"):
                work()


@given(minors=st.lists(MINOR, min_size=1, max_size=9), currency=CURRENCIES)
def test_sums_are_exact(minors: list[int], currency: str) -> None:
    moneys = [Money.of_minor(minor, currency) for minor in minors]
    assert total(moneys).minor == sum(minors)
    assert (moneys[0] - moneys[-1]).minor == minors[0] - minors[-1]
    assert (-moneys[0]).minor == -minors[0]


@given(minor=MINOR, currency=CURRENCIES, weights=WEIGHTS)
def test_parts_add_up_and_are_fair(minor: int, currency: str, weights: list[Decimal]) -> None:
    whole = Money.of_minor(minor, currency, AmountRole.BILLING)
    parts = allocate(whole, weights)
    assert total(parts) == whole
    weight_sum = sum(weights)
    for part, weight in zip(parts, weights, strict=True):
        # No part is a whole minor unit away from its exact share, and none has the wrong sign.
        assert abs(part.minor * weight_sum - minor * weight) < weight_sum
        assert part.minor * minor >= 0


@given(minor=MINOR, currency=CURRENCIES, weights=WEIGHTS)
def test_a_weight_of_nothing_gets_nothing(minor: int, currency: str, weights: list[Decimal]) -> None:
    parts = allocate(Money.of_minor(minor, currency), [Decimal(0), *weights])
    assert parts[0].minor == 0


@given(minor=st.integers(0, 10**6), count=st.integers(1, 50))
def test_equal_weights_differ_by_one_unit_at_most_and_the_earlier_gets_it(minor: int, count: int) -> None:
    parts = [part.minor for part in allocate(Money.of_minor(minor, "EUR"), [Decimal(1)] * count)]
    assert max(parts) - min(parts) <= 1
    assert parts == sorted(parts, reverse=True)


@pytest.mark.parametrize("weights", [[], [Decimal(0)], [Decimal(2), Decimal(-1)]])
def test_weights_that_make_no_sense_are_refused(weights: list[Decimal]) -> None:
    with pytest.raises(ValueError, match="weights"):
        allocate(Money(amount=Decimal(1), currency="EUR"), weights)


@given(minor=MINOR, currency=CURRENCIES, rate=st.decimals("0.000001", 10**4, places=6))
def test_a_conversion_rounds_once_to_the_target_currency(minor: int, currency: str, rate: Decimal) -> None:
    money = Money.of_minor(minor, "EUR")
    there = conversion(currency, str(rate)).apply(money, AmountRole.BILLING)
    assert (there.currency, there.role) == (currency, AmountRole.BILLING)
    assert abs(there.amount - money.amount * rate) <= Decimal("0.5").scaleb(-exponent(currency))


def test_a_conversion_from_another_currency_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be converted"):
        conversion("JPY").apply(Money(amount=Decimal(1), currency="USD"), AmountRole.BILLING)


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [(Rounding.HALF_UP, "2.35"), (Rounding.HALF_EVEN, "2.34"), (Rounding.DOWN, "2.34")],
)
def test_rounding_is_the_contracts(rounding: Rounding, expected: str) -> None:
    assert str(round_to(Decimal("2.345"), "EUR", rounding)) == expected
    assert str(round_to(Decimal("-2.345"), "EUR", rounding)) == f"-{expected}"


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [(12345678, "EUR", "EUR 123,456.78"), (12345678, "JPY", "JPY 12,345,678"), (1, "KWD", "KWD 0.001")],
)
def test_people_read_amounts_with_the_currencys_decimals(minor: int, currency: str, text: str) -> None:
    assert str(Money.of_minor(minor, currency)) == text
