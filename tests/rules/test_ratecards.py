"""Rates as people write them: complete, without gap or overlap, in a role and currency that are known."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from canonical.money import Conversion
from canonical.rates import PricingAuthority, RateCard, RateLine
from canonical.terms import CurrencyTerms
from rules.ratecards import card_of, card_problems, known_roles, line_problems, same_rates
from tests.cli.billing import contract
from tests.rules import examples

TERMS = contract()
JANUARY = date(2026, 1, 1)


def line(amount: str, start: date = JANUARY, end: date | None = None, **more: str) -> RateLine:
    values = {"role": "consultant", "currency": "EUR", **more}
    return RateLine(amount=Decimal(amount), effective_from=start, effective_to=end, **values)


def card(*lines: RateLine) -> RateCard:
    return card_of(TERMS, None, lines, "file.csv")


NOW = card(line("150"))


def test_a_rate_without_an_end_holds_until_the_next_begins() -> None:
    found = card(line("160", date(2026, 3, 1)), line("150"))
    assert [(str(one.amount), one.effective_to) for one in found.lines] == [
        ("150", date(2026, 2, 28)),
        ("160", None),
    ]
    assert card_problems(TERMS, NOW, found) == []
    assert same_rates(found, card(line("150", end=date(2026, 2, 28)), line("160", date(2026, 3, 1))))
    assert not same_rates(NOW, found)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            (line("150", end=date(2026, 2, 28)), line("160", date(2026, 3, 2))),
            "gap: consultant has no rate from 2026-03-01 to 2026-03-01",
        ),
        (
            (line("150", end=date(2026, 3, 1)), line("160", date(2026, 3, 1))),
            "overlap: consultant has 150 and 160 at once from 2026-03-01",
        ),
        ((line("150"), line("160")), "overlap: consultant has 150 and 160 at once from 2026-01-01"),
        ((line("150", date(2026, 2, 1)),), "gap: no rate for 'consultant' from 2026-01-01 to 2026-01-31"),
        ((line("150", end=date(2026, 5, 31)),), "gap: no rate for 'consultant' from 2026-06-01"),
        ((line("90", role="analyst"),), "gap: no rate for 'consultant' from 2026-01-01"),
    ],
)
def test_gaps_and_overlaps_are_named_with_their_days(lines: tuple[RateLine, ...], words: str) -> None:
    problems = card_problems(TERMS, NOW, card(*lines))
    assert len(problems) == 1
    assert problems[0].startswith(words)


def test_a_new_role_may_begin_later() -> None:
    assert card_problems(TERMS, NOW, card(line("150"), line("90", date(2026, 6, 1), role="analyst"))) == []


def test_whose_prices_come_from_elsewhere_takes_no_rates() -> None:
    theirs = contract(pricing_authority=PricingAuthority.DELIVERY)
    assert card_problems(theirs, None, NOW) == [f"the prices of {theirs.key} come from the delivery system"]


def test_a_line_has_a_known_role_and_a_currency_of_the_contract() -> None:
    roles = known_roles(examples.firm(), TERMS, NOW)
    assert "consultant" in roles
    assert line_problems(line("150"), TERMS, roles) == []
    (unknown,) = line_problems(line("150", role="wizard"), TERMS, roles)
    assert unknown.startswith("role 'wizard' is not known; known: ")
    assert line_problems(line("150", currency="GBP"), TERMS, roles) == [
        f"it is in GBP; contract {TERMS.key} is in EUR"
    ]
    agreed = Conversion(
        from_currency="GBP",
        to_currency="EUR",
        rate=Decimal("1.17"),
        rate_type="fixed_by_contract",
        rate_date="2026-01-01",
        source="contract",
    )
    both = contract(currency_terms=CurrencyTerms(agreed=(agreed,)))
    assert line_problems(line("150", currency="GBP"), both, roles) == []
    assert line_problems(line("-1"), TERMS, roles) == ["a rate of -1 is below zero"]
    assert line_problems(line("1", end=date(2025, 1, 1)), TERMS, roles) == [
        "it ends on 2025-01-01, before it begins on 2026-01-01"
    ]
