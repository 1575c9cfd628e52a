"""What was agreed and decided, in the judge's own words: the same facts that the firm's contracts state, kept
apart from the product's models. Amounts are whole minor units, effort whole minutes, rates exact fractions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction

DECIMALS = {
    "EUR": 2, "GBP": 2, "USD": 2, "CHF": 2, "SEK": 2, "INR": 2,
    "JPY": 0, "KRW": 0, "CLP": 0,
    "KWD": 3, "BHD": 3, "TND": 3,
}  # fmt: skip
"""Decimals of a currency by ISO 4217; twelve of them, three without and three with three."""

TIME, SCHEDULE, MILESTONE, RETAINER, PROGRESS = (
    "time_and_materials",
    "fixed_schedule",
    "milestone",
    "retainer",
    "progress",
)
METHODS = (TIME, SCHEDULE, MILESTONE, RETAINER, PROGRESS)


@dataclass(frozen=True)
class Span:
    """A rate per hour of a role, from a day to a day (both included)."""

    role: str
    amount: str
    """Decimal digits; may have more decimals than the currency."""
    first: date
    last: date | None = None

    def holds(self, role: str, day: date) -> bool:
        """Whether it is the rate of that role and day."""
        return self.role == role and self.first <= day and (self.last is None or day <= self.last)


@dataclass(frozen=True)
class Limit:
    """A cap: on the contract, or on one role (rule 31)."""

    minor: int
    role: str | None = None
    with_expenses: bool = False


@dataclass(frozen=True)
class Order:
    """A purchase order; its limit counts all that is billed against it."""

    number: str
    minor: int | None = None
    first: date | None = None
    last: date | None = None
    required: bool = False

    def covers(self, day: date) -> bool:
        """Whether its dates cover work of that day."""
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


@dataclass(frozen=True)
class Due:
    """A schedule date or milestone with its amount."""

    key: str
    day: date
    minor: int


@dataclass(frozen=True)
class Advance:
    """A retainer's terms (rule 32)."""

    minor: int
    overage: str = "bill"
    rolls_over: bool = True


@dataclass(frozen=True)
class Opening:
    """What was billed before the take-over (rule 36). ``None`` instead of it: the contract does not bill."""

    last_day: date | None = None
    billed: tuple[str, ...] = ()
    cap_used: int = 0
    retainer: int = 0
    to_date: int = 0
    """What of the contract was billed; counts for lines that are billed by progress."""


@dataclass(frozen=True)
class Agreement:
    """One contract: what is sold, for how much, within which limits, and where its work is found."""

    key: str
    entity: str
    currency: str
    method: str
    line: str
    """Key of its only contract line."""
    project: str
    """Its project in the delivery system."""
    job: str
    """Its project in the ERP."""
    customer: str
    """Whom it bills, in the ERP."""
    first: date
    last: date
    rates: tuple[Span, ...] = ()
    rate_currency: str | None = None
    """Currency of the rate card, where it is not the contract's."""
    rounding: str = "half_up"
    limits: tuple[Limit, ...] = ()
    orders: tuple[Order, ...] = ()
    dues: tuple[Due, ...] = ()
    acceptance: bool = False
    amount: int = 0
    """Of the contract line."""
    advance: Advance | None = None
    rebill: bool = True
    markup: str = "0"
    expense_limit: int | None = None
    agreed: tuple[tuple[str, str], ...] = ()
    """(currency, rate): what one unit of it is in the contract's currency."""
    supplementary: bool = False
    """Late time goes on a further invoice of its own cycle (rule 25)."""
    opening: Opening | None = field(default_factory=Opening)
    grouping: str = "contract"
    """What an invoice collects: the contract's work, or that of a project."""
    contended: bool = False
    """Others use its purchase order at the same time: who gets how much of it, nobody has said."""
    story: dict[str, str] = field(default_factory=dict, hash=False)
    """Task in the delivery system by key of the milestone, or of the line whose progress it tells."""
    tags: tuple[str, ...] = ()
    """What the case is about, for people."""

    def rate_of(self, role: str, day: date) -> Fraction | None:
        """The rate per hour, in the rate card's currency; None where none or several hold."""
        found = [span for span in self.rates if span.holds(role, day)]
        return Fraction(found[0].amount) if len(found) == 1 else None


@dataclass(frozen=True)
class NewRates:
    """Other rates of a contract, also for days that are past, and what was decided of billed work that they
    make worth more (rule 7).
    """

    spans: tuple[Span, ...]
    bills: bool = True
    """Whether the client is billed the difference; it is given up otherwise."""


@dataclass(frozen=True)
class Verdict:
    """What a reviewer decided of a source's line on a draft (rule 24)."""

    source: str
    action: str
    """``hold``, ``move`` or ``write_down``."""
    minor: int = 0
    """Of write-downs."""
    until: date | None = None
    """Of moves."""
