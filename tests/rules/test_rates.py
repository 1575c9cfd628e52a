"""Comparing the prices of several systems (rule 7)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from canonical.money import Conversion
from canonical.rates import PricingAuthority, Rate
from rules.rates import PriceSources, price_differences

DAY = date(2026, 11, 3)
POUND = Conversion(
    from_currency="GBP",
    to_currency="EUR",
    rate=Decimal("1.1735"),
    rate_type="fixed_by_contract",
    rate_date="2026-11-01",
    source="contract",
)


@pytest.mark.parametrize(
    ("agreed", "currency", "told", "differs"),
    [
        ("150", "EUR", "150", False),
        ("150", "EUR", "150.01", True),
        ("33.3333", "EUR", "33.33", False),
        ("33.3333", "EUR", "33.34", True),
        ("170", "GBP", "199.50", False),
        ("170", "GBP", "199.49", True),
        ("24000", "JPY", "147.82", True),
    ],
)
def test_a_price_in_whole_cents_or_converted_as_agreed_is_the_same_price(
    agreed: str, currency: str, told: str, differs: bool
) -> None:
    rate = Rate(amount=Decimal(agreed), currency=currency, authority=PricingAuthority.CONTRACT)
    sources = PriceSources(delivery=(Decimal(told), "EUR"))
    found = list(price_differences(rate, sources, "consultant", DAY, Decimal(0), POUND))
    assert bool(found) is differs
