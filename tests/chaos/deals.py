"""Deals for chaos: the demo's, some harder ones, and fresh copies of each that share nothing."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from cli.local import deals
from cli.local.deals import Deal, Line

SYLLABLES = (
    "bal", "cor", "dun", "fex", "gim", "hov", "jur", "kyl", "lom", "mar", "nep", "ost", "pru", "qui",
    "rad", "sev", "tol", "urb", "vax", "wim", "yor", "zan", "ber", "chi", "dra", "elk", "fro", "gla",
    "hux", "ivo", "jab", "kro",
)  # fmt: skip

YEN = Deal(
    7,
    "Omoikane 刷新 — Phase Ω",
    "株式会社 おもいかね",
    (
        Line("IMPL", "1", "12176161", start="2026-12-07", end="2027-04-17"),
        Line("RUN", "1", "1000001", start="2027-01-01", end="2027-07-31"),
        Line("ADV", "37", "24000"),
    ),
    tax_number="JP7010401089234",
    country="Japan",
    city="東京",
    entity="JP01",
    currency="JPY",
    terms="Net 45",
)
"""No decimals, amounts that do not divide, names in another script."""
AWKWARD = Deal(
    8,
    'Zażółć "gęślą" & jaźń <O\'Brien> 50%_\\',
    "Ærø Šķiltera 'Ñandú' Ltd",
    (Line("IMPL", "3", "123456.77"), Line("RUN", "1", "10000", end="2027-05-12")),
    tax_number="GB888888888",
    country="United Kingdom",
    city="Stoke-on-Trent",
    entity="UK01",
    currency="GBP",
)
"""Characters that a query, a path or a filter could trip over; above the credit limit; odd last month."""
SEEDS = (deals.NORTHWIND, deals.ATLAS, YEN, deals.LUMEN, AWKWARD)
"""What seed n runs: it varies the deal and, with n, which call of a step is hit."""
HARBOUR_TAX = "NL834567890B01"
"""What finance enters for Harbour Foods, whose deal cannot pass validation without."""
EXISTING = frozenset({deals.LUMEN.tax_number})
"""Clients that finance knows already: their copies stay the same client."""


def words(number: int, salt: str) -> str:
    """Two words that no other number has; unlike enough not to be taken for another client.

    Clients are looked for by their first word, so that one is made of the number itself; the factor keeps
    neighbours apart.
    """
    scattered = number * 397 % len(SYLLABLES) ** 2
    own = hashlib.sha256(salt.encode()).digest()[0]
    first = [SYLLABLES[index] for index in (*divmod(scattered, len(SYLLABLES)), own % len(SYLLABLES))]
    second = [
        SYLLABLES[byte % len(SYLLABLES)] for byte in hashlib.sha256(f"{salt}{number}".encode()).digest()[:3]
    ]
    return f"{''.join(first)} {''.join(second)}".title()


def copy(deal: Deal, number: int) -> Deal:
    """The same business with another client: other ids, names and tax number.

    Args:
        deal: the pattern.
        number: 20 to 990; Salesforce's ids are made from it.
    """
    if deal.tax_number in EXISTING:
        return replace(deal, number=number, name=f"{deal.name} {number}")
    suffix = deal.account.split()[-1]
    return replace(
        deal,
        number=number,
        name=f"{deal.name} {number}",
        account=f"{words(number, 'client')} {suffix}",
        parent=f"{words(number, 'parent')} Group" if deal.parent else None,
        tax_number=f"{(deal.tax_number or HARBOUR_TAX)[:2]}{800_000_000 + number * 7919}B01",
    )
