"""Two generated months on one firm, judged after each, then replayed: nothing new may be at the vendors."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tests.conservation import faults, vendor
from tests.conservation.differences import reprice
from tests.conservation.drive import Books
from tests.conservation.expect import Expectation
from tests.conservation.generate import CUTOFFS, Case
from tests.conservation.oracle import Report, judge
from tests.conservation.terms import Verdict


@dataclass
class Result:
    """What was run and what was found."""

    contracts: int = 0
    cases: int = 0
    """One contract in one month."""
    reports: list[Report] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    replayed: list[str] = field(default_factory=list)
    """Writes of a replay: there must be none."""
    seconds: dict[str, float] = field(default_factory=dict)
    currencies: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    """Contract-months by what they are about."""
    faults: Counter[str] = field(default_factory=Counter)
    """How often each kind of fault fired."""

    @property
    def findings(self) -> list[str]:
        """Everything that is wrong, in words."""
        found = [str(finding) for report in self.reports for finding in report.findings]
        return [*found, *self.problems, *(f"replay wrote {one}" for one in self.replayed)]

    @property
    def last(self) -> Report:
        """The state at the end."""
        return self.reports[-1]


async def two_months(
    books: Books, cases: list[Case], *, months: int = 2, disturbed: bool = False, again: bool = True
) -> Result:
    """October and November of these contracts.

    Args:
        books: the firm.
        cases: contracts that it does not have yet.
        months: how many of the two.
        disturbed: with faults at the vendors.
        again: replay everything at the end.
    """
    result = Result(len(cases), months * len(cases))
    result.currencies.update(case.terms.currency for case in cases)
    result.methods.update(case.terms.method for case in cases)
    result.kinds.update({kind: months * count for kind, count in Counter(x.kind for x in cases).items()})
    books.problems.clear()
    await books.seed(cases)
    expected = Expectation([case.terms for case in cases])
    for number, through in enumerate(CUTOFFS[:months]):
        began = time.monotonic()
        for case in cases if number else ():
            for event in case.events:
                await books.happen(case, event)
        if number:
            await books.agree(cases)
            for case in cases:
                if case.changed is not None:
                    expected.change(case.changed)
            await _rates(books, cases, expected)
        await books.book([(case, case.work[number]) for case in cases])
        if disturbed:
            await _arm(books, len(cases))
        await _month(books, cases, expected, number)
        if disturbed:
            result.faults += await _disarm(books)
        result.reports.append(await judged(books, cases, expected))
        result.seconds[through.isoformat()] = round(time.monotonic() - began, 1)
    if again:
        await _replay(books, months, result)
        result.reports.append(await judged(books, cases, expected))
    result.problems += books.problems
    return result


async def judged(books: Books, cases: list[Case], expected: Expectation) -> Report:
    """What the vendors hold of these contracts now, against what must be there."""
    terms = [case.terms for case in cases]
    erp = vendor.only(await books.erp(), (one.job for one in terms), (one.customer for one in terms))
    return judge(expected, await books.delivered(), erp)


async def _month(books: Books, cases: list[Case], expected: Expectation, number: int) -> None:
    through = CUTOFFS[number]
    verdicts: dict[str, Verdict] = {}
    for case in cases:
        verdicts |= case.verdicts[number]
    seen = await books.delivered()
    expected.collect(seen, listed=False)
    await books.post(f"month-{number + 1}")
    expected.credit()
    expected.collect(seen)
    expected.fees(seen, through)
    await books.bill(through, verdicts)
    expected.credit()
    expected.bill(through, verdicts)


async def _rates(books: Books, cases: list[Case], expected: Expectation) -> None:
    """Rates that change between the months, also for days that are billed."""
    async for changing in books.rate(cases):
        on = datetime.now(UTC).date()
        for case, change in changing:
            terms = replace(expected.agreements[case.terms.key], rates=change.spans)
            reprice(expected, terms, bills=change.bills, on=on)


async def _replay(books: Books, months: int, result: Result) -> None:
    """The whole of both months again: posting and billing."""
    before = {system: len(await books.writes(system)) for system in ("netsuite", "kantata")}
    began = time.monotonic()
    for through in CUTOFFS[:months]:
        await books.bill(through, {})
    for system, count in before.items():
        new = (await books.writes(system))[count:]
        result.replayed += [f"{system}: {row['operation']} {row['type']} {row['id']}" for row in new]
    result.seconds["replay"] = round(time.monotonic() - began, 1)


async def _arm(books: Books, contracts: int) -> None:
    for system in faults.BY_VENDOR:
        await books.firm.control(system, "POST", "faults", faults.rules(system, contracts))


async def _disarm(books: Books) -> Counter[str]:
    fired: Counter[str] = Counter()
    for system in faults.BY_VENDOR:
        for rule in await books.firm.control(system, "GET", "faults"):
            fired[str(rule["kind"])] += int(rule["fired"])
    await books.firm.no_faults()
    return fired
