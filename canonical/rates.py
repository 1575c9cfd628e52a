"""Bill rates: rate cards by role and day, who sets the price, the rate that a line got (rule 7)."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from canonical.base import Canonical
from canonical.money import CurrencyCode, Exact


class PricingAuthority(StrEnum):
    """Who alone sets the bill rate of a contract (rule 7)."""

    CONTRACT = "contract"
    DELIVERY = "delivery"
    ERP = "erp"


class RateLine(Canonical):
    """A bill rate per hour for a role from a date on; ``amount`` may have more decimals than the currency."""

    role: str
    amount: Exact
    currency: CurrencyCode
    effective_from: date
    effective_to: date | None = None
    """Last day on which it holds; open-ended when empty."""

    def holds_on(self, day: date) -> bool:
        """Whether it is in force on ``day``; both ends included."""
        return self.effective_from <= day and (self.effective_to is None or day <= self.effective_to)


class RateCard(Canonical):
    """Negotiated or standard rates; ``version`` is stored on every priced line (rule 7)."""

    code: str
    version: str
    currency: CurrencyCode
    lines: tuple[RateLine, ...] = ()

    def rates_on(self, role: str, day: date) -> tuple[RateLine, ...]:
        """Every line in force for ``role`` on ``day``: one when the card is right."""
        return tuple(line for line in self.lines if line.role == role and line.holds_on(day))

    def rate_on(self, role: str, day: date) -> RateLine | None:
        """The one line in force for ``role`` on ``day``.

        Raises:
            ValueError: two lines overlap on that day.
        """
        hits = self.rates_on(role, day)
        if len(hits) > 1:
            raise ValueError(f"rate card {self.code} has {len(hits)} rates for {role} on {day.isoformat()}")
        return hits[0] if hits else None


class RateVersion(Canonical):
    """One content of a contract's rates; ``number`` counts the contents, ``label`` is the source's own word.

    A backdated change is a new version whose lines begin before the day it became known.
    """

    contract_key: str
    number: int
    authority: PricingAuthority = PricingAuthority.CONTRACT
    label: str
    card: RateCard


class Rate(Canonical):
    """The rate that a line got, and where from (rule 6: rate source and version)."""

    amount: Exact
    """Per hour."""
    currency: CurrencyCode
    authority: PricingAuthority
    version: int = 0
    """``RateVersion.number``; 0 where delivery or the ERP sets the price."""
    effective_from: date | None = None
