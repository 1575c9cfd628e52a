"""Small months for the chaos table of time-to-billing: a few lines each, own contracts in every copy.

Terms and work are in the judge's words (``tests.conservation``); the same number makes the same month.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from tests.conservation.generate import Case, Entry, Event
from tests.conservation.terms import (
    MILESTONE,
    RETAINER,
    SCHEDULE,
    TIME,
    Advance,
    Agreement,
    Due,
    Opening,
    Span,
)

THROUGH = date(2026, 10, 31)
"""The cutoff of every month."""
CONTRACTS, LINES = 4, 100
"""Numbers that a copy takes: of contracts, and of lines of work."""
MOST = 260
"""Copies that one firm can have."""
RATES = (
    Span("consultant", "150", date(2026, 1, 1)),
    Span("solution-architect", "195.5", date(2026, 1, 1)),
)


class Month:
    """Builds the contracts and the work of one copy."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._contract = number * CONTRACTS
        self._line = 500_000 + number * LINES

    def agreement(self, method: str, currency: str = "EUR", **more: object) -> Agreement:
        """A contract of a method."""
        number = self._contract
        self._contract += 1
        base = Agreement(
            key=f"M{number:05d}.NL01.{currency}",
            entity="NL01",
            currency=currency,
            method=method,
            line=f"L{number:05d}",
            project=str(40_000 + number),
            job=str(200_000 + 2 * number),
            customer=str(200_001 + 2 * number),
            first=date(2026, 10, 1),
            last=date(2026, 12, 31),
            amount=90_000_00,
            rates=RATES,
            supplementary=True,
        )
        return replace(base, **more)  # type: ignore[arg-type]

    def time(self, day: int, minutes: int, role: str = "consultant") -> Entry:
        """Approved time of a day of October."""
        return Entry(id=self._next(), kind="time", day=date(2026, 10, day), minutes=minutes, role=role)

    def expense(self, day: int, minor: int) -> Entry:
        """An approved expense of a day of October, in its project's currency."""
        return Entry(id=self._next(), kind="expense", day=date(2026, 10, day), minor=minor)

    def _next(self) -> int:
        self._line += 1
        return self._line


def time_and_materials(month: Month) -> list[Case]:
    """Two contracts by the hour, with expenses at a markup."""
    first = Case(month.agreement(TIME, markup="7.5"))
    first.work[0].extend(
        [month.time(5, 95), month.time(6, 480, "solution-architect"), month.expense(6, 8_461)]
    )
    first.events = [edited(first, 0)]
    second = Case(month.agreement(TIME))
    second.work[0].extend([month.time(7, 50), month.expense(8, 1_999)])
    return [first, second]


def fees(month: Month) -> list[Case]:
    """A fixed schedule and milestones: the work is posted and covered, the fees and expenses are billed."""
    terms = month.agreement(SCHEDULE)
    dues = (
        Due(f"{terms.line}.1", date(2026, 10, 15), 9_000_33),
        Due(f"{terms.line}.2", date(2026, 11, 15), 9_000_34),
    )
    scheduled = Case(replace(terms, dues=dues, amount=sum(due.minor for due in dues)))
    scheduled.work[0].extend([month.time(5, 333), month.expense(9, 12_345)])
    scheduled.events = [edited(scheduled, 0)]
    terms = month.agreement(MILESTONE)
    dues = (
        Due(f"{terms.line}.1", date(2026, 10, 11), 2_000_01),
        Due(f"{terms.line}.2", date(2026, 10, 12), 3_000_00),
    )
    story = {due.key: str(600_000 + int(terms.project) * 10 + place) for place, due in enumerate(dues)}
    stones = Case(replace(terms, dues=dues, story=story, amount=sum(due.minor for due in dues)))
    stones.work[0].append(month.time(6, 60))
    stones.complete = (dues[0].key,)
    stones.events = [Event("reopen", dues[0].key)]
    return [scheduled, stones]


def retainer_and_foreign(month: Month) -> list[Case]:
    """A retainer whose balance the month exceeds, and a contract in another currency than its rates."""
    terms = month.agreement(RETAINER)
    opening = Opening(billed=(f"{terms.line}.2026-10",), retainer=500_00)
    drawn = Case(replace(terms, advance=Advance(500_00, overage="bill"), opening=opening))
    drawn.work[0].extend([month.time(5, 110), month.time(6, 455)])
    foreign = Case(month.agreement(TIME, "KWD", rate_currency="EUR", agreed=(("EUR", "0.331277"),)))
    foreign.work[0].extend(
        [month.time(7, 95), month.time(8, 20, "solution-architect"), month.expense(8, 7_77)]
    )
    foreign.events = [edited(foreign, 0)]
    return [drawn, foreign]


def edited(case: Case, place: int) -> Event:
    """Somebody corrects a line after it was billed: there was more to it."""
    entry = case.work[0][place]
    return Event("edit", str(entry.id), entry.minutes + 37)


MONTHS = (time_and_materials, fees, retainer_and_foreign)
"""What seed n works on."""


def month(seed: int, number: int) -> list[Case]:
    """The contracts of one copy of a seed's month."""
    return MONTHS[seed % len(MONTHS)](Month(number))


def everybody() -> list[Case]:
    """Whoever may work on any copy, for the HR export."""
    all_ = Month(0)
    return [Case(all_.agreement(TIME)) for _ in range(MOST * CONTRACTS)]
