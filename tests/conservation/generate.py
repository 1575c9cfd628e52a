"""Generated months: contracts of every billing method with two months of work, and what happens in between.

A case is one contract in one month. The same seed makes the same cases.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from tests.conservation.pricing import time_worth, unit
from tests.conservation.terms import (
    DECIMALS,
    MILESTONE,
    PROGRESS,
    RETAINER,
    SCHEDULE,
    TIME,
    Advance,
    Agreement,
    Due,
    Limit,
    NewRates,
    Opening,
    Order,
    Span,
    Verdict,
)
from tests.conservation.vendor import PSA


def _second() -> date:
    """The end of November, or of the month that it is now: what changes now is billed from now on."""
    now = datetime.now(UTC).date()
    following = (now.replace(day=28) + timedelta(days=4)).replace(day=1)
    return max(date(2026, 11, 30), following - timedelta(days=1))


FIRST, SECOND = date(2026, 10, 31), _second()
"""The two cutoffs."""
CUTOFFS = (FIRST, SECOND)
ENTITIES = {"NL01": "3", "UK01": "5", "JP01": "7"}
ROLE_IDS = {"solution-architect": 5, "consultant": 6, "project-manager": 7}
LEVEL = {"JPY": 160, "KRW": 1_450, "CLP": 1_000, "INR": 90, "SEK": 11}
"""About how many units of a currency make one euro, where it is not about one."""


@dataclass(frozen=True)
class Entry:
    """A time entry or expense that somebody books."""

    id: int
    kind: str
    day: date
    minutes: int = 0
    minor: int = 0
    role: str = "consultant"
    billable: bool = True
    status: str = "approved"
    currency: str | None = None

    @property
    def source(self) -> str:
        """As the ERP will name it."""
        return f"{PSA}/{'time_entries' if self.kind == 'time' else 'expenses'}/{self.id}"


@dataclass(frozen=True)
class Event:
    """What happens between the two months."""

    what: str
    """``edit``, ``reject``, ``delete``, ``approve``, ``complete``, ``accept``, ``reopen``, ``progress``."""
    id: str
    """Of the entry, or key of the milestone or line."""
    minutes: int = 0
    percent: int = 0


@dataclass
class Case:
    """A contract and its two months."""

    terms: Agreement
    work: tuple[list[Entry], list[Entry]] = field(default_factory=lambda: ([], []))
    events: list[Event] = field(default_factory=list)
    verdicts: tuple[dict[str, Verdict], dict[str, Verdict]] = field(default_factory=lambda: ({}, {}))
    changed: Agreement | None = None
    """Its terms from between the months on, where they change; what a cap held is then let go."""
    rates: tuple[NewRates, ...] = ()
    """Changes of its rates between the months, one after the other."""
    complete: tuple[str, ...] = ()
    """Milestones that are complete in the first month."""
    accepted: tuple[str, ...] = ()
    percent: int = 0
    """How far the task is by which a line's progress is told, in the first month."""
    kind: str = ""
    """What makes it, for figures."""

    @property
    def worker(self) -> str:
        """Whoever works on it, by the number of the contract."""
        return self.terms.project


class Generator:
    """Makes cases from a seed."""

    def __init__(self, seed: int, first: int = 1) -> None:
        self.random = random.Random(seed)
        self.numbers = itertools.count(first)
        self.ids = itertools.count(500_000 + first * 100)
        self._currencies = itertools.cycle(self.random.sample(list(DECIMALS), len(DECIMALS)))
        self._partner: Case | None = None
        """Whose purchase order the next contract shares."""

    def cases(self, count: int) -> list[Case]:
        """So many contracts, every kind in turn."""
        return self.of_kinds(itertools.islice(itertools.cycle(KINDS), count))

    def of_kinds(self, kinds: Iterable[Kind]) -> list[Case]:
        """A contract of each of these kinds."""
        found = []
        for make in kinds:
            case = make(self)
            case.kind = make.__name__
            found.append(case)
        return found

    # --- parts ------------------------------------------------------------------------------------------

    def agreement(self, method: str, **more: object) -> Agreement:
        """A contract of a method in the next currency."""
        number, pick = next(self.numbers), self.random
        currency = str(more.pop("currency", None) or next(self._currencies))
        entity = str(more.pop("entity", None) or pick.choice(list(ENTITIES)))
        key = f"D{number:05d}.{entity}.{currency}"
        base = Agreement(
            key=key,
            entity=entity,
            currency=currency,
            method=method,
            line=f"L{number:05d}",
            project=str(40_000 + number),
            job=str(200_000 + 2 * number),
            customer=str(200_001 + 2 * number),
            first=date(2026, 10, 1),
            last=date(2026, 12, 31),
            rounding=pick.choice(["half_up", "half_up", "half_even", "down"]),
            amount=self.money(90_000, currency),
            rates=self.rates(currency),
            grouping=pick.choice(["contract", "project"]),
        )
        return replace(base, **more)  # type: ignore[arg-type]

    def money(self, euros: float, currency: str) -> int:
        """About so many euros in minor units of a currency, never round."""
        units = int(euros * LEVEL.get(currency, 1))
        return units * unit(currency) + self.random.randrange(1, max(10, unit(currency)))

    def rates(self, currency: str) -> tuple[Span, ...]:
        """A rate per role, some with more decimals than the currency, some that change within the months."""
        spans = []
        for role in ROLE_IDS:
            spans += self._role_rates(role, currency)
        return tuple(spans)

    def _role_rates(self, role: str, currency: str) -> list[Span]:
        decimals = DECIMALS[currency] + self.random.choice([0, 0, 1, 3])
        level = LEVEL.get(currency, 1)

        def one() -> str:
            units = self.random.randrange(70 * level, 240 * level)
            return f"{units}.{self.random.randrange(10**decimals):0{decimals}d}" if decimals else str(units)

        if self.random.random() < 0.3:
            turn = date(2026, 10, self.random.randrange(5, 28))
            return [
                Span(role, one(), date(2026, 1, 1), turn),
                Span(role, one(), turn + timedelta(days=1)),
            ]
        return [Span(role, one(), date(2026, 1, 1))]

    def time(self, month: int, count: int, **more: object) -> list[Entry]:
        """Entries on days of October or November, of odd lengths, none longer than a day allows."""
        days = self.random.sample(range(1, 31), count)
        return [
            replace(
                Entry(
                    id=next(self.ids),
                    kind="time",
                    day=date(2026, month, day),
                    minutes=self.random.choice([20, 7, 50, 110, 480, 455, 1, 333, 60, 95]),
                    role=self.random.choice(list(ROLE_IDS)),
                ),
                **more,  # type: ignore[arg-type]
            )
            for day in sorted(days)
        ]

    def expenses(self, month: int, count: int, currency: str) -> list[Entry]:
        """Expenses of a month."""
        return [
            Entry(
                id=next(self.ids),
                kind="expense",
                day=date(2026, month, self.random.randrange(1, 29)),
                minor=self.money(self.random.randrange(20, 900), currency),
                currency=currency,
            )
            for _ in range(count)
        ]

    def worth(self, terms: Agreement, entries: list[Entry]) -> int:
        """What time is worth to the contract."""
        found = 0
        for one in entries:
            rate = terms.rate_of(one.role, one.day)
            if one.kind == "time" and rate is not None:
                found += time_worth(terms, one.minutes, rate)
        return found

    # --- kinds ------------------------------------------------------------------------------------------

    def plain(self) -> Case:
        """Time and materials: late time, edits, rejections, unapproved and unbillable work."""
        late = self.random.random() < 0.5
        terms = self.agreement(TIME, supplementary=late, tags=("time", "late", "credit and rebill"))
        october, november = self.time(10, 5), self.time(11, 4)
        october.append(replace(self.time(10, 1)[0], billable=False))
        october.append(replace(self.time(10, 1)[0], status="rejected"))
        pending = replace(self.time(10, 1)[0], status="new")
        october.append(pending)
        november += self.time(10, 2)
        case = Case(terms, (october, november))
        case.events = [
            Event("edit", str(october[0].id), october[0].minutes + self.random.choice([7, -1, 60]) + 5),
            Event("reject", str(october[1].id)),
            Event("delete", str(october[2].id)),
            Event("approve", str(pending.id)),
        ]
        return case

    def reviewed(self) -> Case:
        """Lines held, moved and written down in part on the draft."""
        terms = self.agreement(TIME, tags=("time", "review", "partial write-down"))
        october, november = self.time(10, 6), self.time(11, 3)
        first, second = {}, {}
        part = max(1, self.worth(terms, october[:1]) // 3)
        first[october[0].source] = Verdict(october[0].source, "write_down", part)
        first[october[1].source] = Verdict(october[1].source, "hold")
        first[october[2].source] = Verdict(october[2].source, "move", until=date(2026, 11, 5))
        everything = self.worth(terms, november[:1])
        second[november[0].source] = Verdict(november[0].source, "write_down", everything)
        return Case(terms, (october, november), verdicts=(first, second))

    def capped(self) -> Case:
        """A cap that the months cross; an edit frees some of it."""
        october, november = self.time(10, 6), self.time(11, 5)
        terms = self.agreement(TIME, tags=("time", "cap split"))
        opened = self.money(500, terms.currency) if self.random.random() < 0.5 else 0
        share = self.random.choice([0.4, 0.8, 1.2])
        cap = int(self.worth(terms, october) * share) + opened
        limits = [Limit(max(1, cap))]
        if self.random.random() < 0.4:
            limits.append(Limit(max(1, self.worth(terms, october) // 3), role="consultant"))
        terms = replace(terms, limits=tuple(limits), opening=Opening(cap_used=opened))
        case = Case(terms, (october, november))
        if self.random.random() < 0.5:
            case.events = [Event("reject", str(october[0].id))]
        return case

    def raised(self) -> Case:
        """A cap that splits a line and is raised afterwards: the line's other part is billed on its own."""
        october, november = self.time(10, 6), self.time(11, 3)
        terms = self.agreement(TIME, tags=("time", "cap raised"))
        worth = self.worth(terms, october)
        terms = replace(terms, limits=(Limit(max(1, int(worth * 0.55))),))
        case = Case(terms, (october, november))
        case.changed = replace(terms, limits=(Limit(5 * worth),))
        return case

    def backdated(self) -> Case:
        """Rates that rise and fall for days that are past, once or twice: billed work is worth more (billed,
        or given up) or less (credited), what a reviewer moved is billed at the new rate, late work too.
        """
        other = self._two() if self.random.random() < 0.3 else {}
        late = self.random.random() < 0.5
        terms = self.agreement(TIME, supplementary=late, tags=("time", "backdated rates"), **other)
        october, november = self.time(10, 6), self.time(11, 3)
        pending = replace(self.time(10, 1)[0], status="new")
        moved = Verdict(october[1].source, "move", until=date(2026, 11, 5))
        case = Case(terms, ([*october, pending], november), verdicts=({moved.source: moved}, {}))
        case.events = [Event("approve", str(pending.id))]
        if self.random.random() < 0.5:
            case.events.append(Event("edit", str(october[0].id), october[0].minutes + 65))
        for _ in range(self.random.choice([1, 1, 2])):
            before = case.rates[-1].spans if case.rates else terms.rates
            bills = self.random.random() < 0.7
            case.rates += (NewRates(self._other_rates(before, terms), bills),)
        return case

    def _other_rates(self, spans: tuple[Span, ...], terms: Agreement) -> tuple[Span, ...]:
        """The same spans, some with other rates, some from a day in October on only."""
        currency, found = terms.rate_currency or terms.currency, list[Span]()
        for span in spans:
            digits = len(span.amount.partition(".")[2])
            factor = self.random.choice([1.0, 1.1, 1.37, 0.93, 0.6])
            amount = f"{float(span.amount) * factor:.{max(digits, DECIMALS[currency])}f}"
            turn = date(2026, 10, self.random.randrange(6, 26))
            inside = span.first <= turn and (span.last is None or turn < span.last)
            if inside and self.random.random() < 0.4:
                found.append(replace(span, last=turn))
                found.append(replace(span, amount=amount, first=turn + timedelta(days=1)))
            else:
                found.append(replace(span, amount=amount))
        return tuple(found)

    def ordered(self) -> Case:
        """Purchase orders: one that runs out, one that ends, one that is missing."""
        terms = self.agreement(TIME, tags=("time", "purchase order"))
        october, november = self.time(10, 6), self.time(11, 5)
        worth = self.worth(terms, october)
        kind = self.random.randrange(3)
        orders: tuple[Order, ...]
        if kind == 0:
            orders = (Order("PO-1", max(1, int(worth * 0.7)), date(2026, 10, 1), date(2026, 12, 31)),)
        elif kind == 1:
            orders = (
                Order("PO-1", max(1, 3 * worth), date(2026, 10, 1), date(2026, 10, 15), required=True),
                Order("PO-2", max(1, worth // 2), date(2026, 10, 20), date(2026, 11, 15), required=True),
            )
        else:
            orders = (Order("PO-1", None, date(2026, 10, 10), date(2026, 11, 10)),)
        return Case(replace(terms, orders=orders), (october, november))

    def sharing(self) -> Case:
        """A purchase order that another contract of the client shares: one works in October, the other in
        November, or both at the same time.
        """
        contended = self.random.random() < 0.5
        terms = self.agreement(TIME, contended=contended, tags=("time", "shared purchase order"))
        october = self.time(10, 5)
        worth = self.worth(terms, october)
        order = Order("PO-S", max(1, int(worth * 1.4)), date(2026, 10, 1), date(2026, 12, 31))
        case = Case(replace(terms, orders=(order,)), (october, []))
        if not contended and self.random.random() < 0.5:
            case.events = [Event("reject", str(october[0].id))]
        self._partner = case
        return case

    def shared(self) -> Case:
        """The other contract under that order."""
        assert self._partner is not None
        first = self._partner.terms
        terms = self.agreement(TIME, currency=first.currency, entity=first.entity, tags=first.tags)
        terms = replace(
            terms,
            customer=first.customer,
            orders=first.orders,
            rates=first.rates,
            rounding=first.rounding,
            contended=first.contended,
        )
        return Case(terms, (self.time(10, 5) if first.contended else [], self.time(11, 4)))

    def progressing(self) -> Case:
        """A line that is billed as far as delivery has come, which may be no further, or less far, later."""
        terms = self.agreement(PROGRESS, tags=("progress",))
        story = str(700_000 + int(terms.project))
        first, second = self.random.randrange(101), self.random.choice([0, 7, 33, 60, 100])
        opening = Opening(to_date=terms.amount // 10 if self.random.random() < 0.4 else 0)
        terms = replace(terms, story={terms.line: story}, opening=opening)
        case = Case(terms, (self.time(10, 3), self.time(11, 2)), percent=first)
        then = min(100, first + second) if self.random.random() < 0.75 else first * second // 100
        case.events = [Event("progress", terms.line, percent=then)]
        return case

    def travelled(self) -> Case:
        """Expenses with markup and limit; a cap that counts them."""
        terms = self.agreement(TIME, markup=self.random.choice(["0", "5", "7.5", "12.25"]))
        october = [*self.time(10, 3), *self.expenses(10, 3, terms.currency)]
        november = [*self.time(11, 2), *self.expenses(11, 2, terms.currency)]
        limit = self.money(400, terms.currency) if self.random.random() < 0.5 else None
        caps: tuple[Limit, ...] = ()
        if self.random.random() < 0.5:
            caps = (Limit(max(1, self.worth(terms, october)), with_expenses=True),)
        terms = replace(terms, expense_limit=limit, limits=caps, tags=("time", "expenses"))
        case = Case(terms, (october, november))
        if not caps:
            case.events = [Event("reject", str(october[3].id))]
        return case

    def two_currencies(self) -> Case:
        """A rate card and expenses in another currency than the contract's, at the contract's own rate."""
        terms = self.agreement(TIME, tags=("time", "two currencies"), **self._two())
        other = terms.rate_currency or ""
        october = [*self.time(10, 4), *self.expenses(10, 2, other)]
        november = [*self.time(11, 3), *self.expenses(11, 1, other)]
        return Case(terms, (october, november))

    def _two(self) -> dict[str, object]:
        """A contract's currency, another one of its rate card, and the rate that was agreed between them."""
        currency, other = next(self._currencies), next(self._currencies)
        level = LEVEL.get(currency, 1) / LEVEL.get(other, 1)
        rate = f"{max(0.0001, level * self.random.uniform(0.8, 1.25)):.6f}"
        return {
            "currency": currency,
            "rate_currency": other,
            "agreed": ((other, rate),),
            "rates": self.rates(other),
        }

    def scheduled(self) -> Case:
        """A fixed schedule: three dates, one after the months; the work is covered."""
        terms = self.agreement(SCHEDULE, tags=("fixed schedule",))
        dues = tuple(
            Due(f"{terms.line}.{number}", day, self.money(900 * number, terms.currency))
            for number, day in enumerate(
                (date(2026, 10, self.random.randrange(1, 32)), date(2026, 11, 15), date(2026, 12, 15)), 1
            )
        )
        opening = Opening(billed=(dues[0].key,)) if self.random.random() < 0.3 else Opening()
        terms = replace(terms, dues=dues, amount=sum(due.minor for due in dues), opening=opening)
        return Case(terms, (self.time(10, 3), self.time(11, 2)))

    def milestones(self) -> Case:
        """Milestones, some complete, some accepted, one re-opened after it was billed."""
        asks = self.random.random() < 0.5
        terms = self.agreement(MILESTONE, acceptance=asks)
        dues = tuple(
            Due(f"{terms.line}.{number}", date(2026, 10, 10 + number), self.money(2_000, terms.currency))
            for number in (1, 2, 3)
        )
        story = {due.key: str(600_000 + int(terms.project) * 10 + place) for place, due in enumerate(dues)}
        terms = replace(
            terms,
            dues=dues,
            story=story,
            amount=sum(due.minor for due in dues),
            tags=("milestone", "re-opened" if not asks else "acceptance"),
        )
        case = Case(terms, (self.time(10, 3), self.time(11, 1)))
        case.complete = (dues[0].key, dues[1].key)
        case.accepted = (dues[0].key,) if asks else ()
        if asks:
            case.events = [Event("accept", dues[1].key), Event("complete", dues[2].key)]
        else:
            case.events = [Event("complete", dues[2].key)]
            if self.random.random() < 0.7:
                case.events.append(Event("reopen", dues[0].key))
        return case

    def retained(self) -> Case:
        """A retainer with a balance from before; what exceeds it is billed, held or absorbed."""
        terms = self.agreement(RETAINER, tags=("retainer",))
        october, november = self.time(10, 5), self.time(11, 5)
        worth = self.worth(terms, october)
        terms = replace(
            terms,
            advance=Advance(
                max(1, int(worth * self.random.choice([0.5, 1.0]))),
                overage=self.random.choice(["bill", "hold", "absorb"]),
            ),
            opening=Opening(retainer=int(worth * self.random.choice([0.0, 0.5, 1.5]))),
        )
        return Case(terms, (october, november))

    def taken_over(self) -> Case:
        """An opening position with a last billed day; one contract in three has none and does not bill."""
        none = self.random.random() < 0.34
        opening = None if none else Opening(last_day=date(2026, 10, 12))
        terms = self.agreement(TIME, opening=opening, tags=("time", "opening position"))
        return Case(terms, (self.time(10, 6), self.time(11, 2)))


Kind = Callable[[Generator], Case]
KINDS: tuple[Kind, ...] = (
    Generator.plain,
    Generator.capped,
    Generator.raised,
    Generator.backdated,
    Generator.milestones,
    Generator.travelled,
    Generator.ordered,
    Generator.sharing,
    Generator.shared,
    Generator.progressing,
    Generator.two_currencies,
    Generator.reviewed,
    Generator.scheduled,
    Generator.retained,
    Generator.taken_over,
)
"""One contract of each in turn."""
