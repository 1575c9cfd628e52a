"""What margin is made of: posted work, and what an hour of it costs. Only the sum goes further (rule 42)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from canonical.base import Canonical
from canonical.money import Exact, Money


@dataclass(frozen=True)
class WorkedTime:
    """Posted time of one worker on one contract and day."""

    contract_key: str
    psa: str
    erp: str
    worker: str
    """The delivery system's id: no name."""
    day: date
    minutes: int


@dataclass(frozen=True)
class PostedWork:
    """What stands as posted cost on contracts."""

    time: tuple[WorkedTime, ...] = ()
    expenses: tuple[tuple[str, Money], ...] = ()
    """(contract, amount as incurred), summed by contract and currency."""
    billed_by_others: bool = False
    """There is approved time whose cost comes by vendor bill: what it costs is not known here."""


@dataclass(frozen=True)
class CostRate:
    """What an hour of somebody costs, from one day through another. Pay data: a text of it has no amount."""

    per_hour: Decimal = field(repr=False)
    currency: str
    first: date | None = None
    last: date | None = None

    def holds_on(self, day: date) -> bool:
        """Whether it is in force on a day."""
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


class Margin(Canonical):
    """What is left of revenue after the cost of work: the sum, never its parts."""

    amount: Money | None = None
    percent: Exact | None = None
    """Of the revenue; empty where there is none."""
    reason: str = ""
    """Why there is no margin."""
