"""Margin for records that may tell it: cost rates are read here, used here, and go no further (rule 42).

HR is asked only once enough people worked, and never waited for: it being away must not hold up the other
figures. Nothing it says is kept here, written down, logged or answered; what leaves is the sum.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date

from activities.billing.gathering import ADDRESS, WORKER, people_behind
from activities.systems import Systems
from canonical.delivery import Worker
from canonical.engagement import Contract
from canonical.failures import SystemFailure
from canonical.feedback import Facts
from canonical.margin import CostRate, Margin, PostedWork, WorkedTime
from canonical.money import Conversion
from ledger.store import Ledger
from rules.margin import BILLED_BY_OTHERS, FEW, UNRATED, margin_of, too_few

PATIENCE = 3.0
"""Seconds that HR gets for its answer."""
AWAY_SECONDS = 30.0
"""HR that did not answer is not asked again for so long: other records need not wait for it as well."""


class Margins:
    """Works margins out. One per worker process."""

    def __init__(
        self, systems: Systems, ledger: Ledger, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._systems = systems
        self._ledger = ledger
        self._clock = clock
        self._away: dict[str, float] = {}
        """Until when an HR system is left alone."""

    async def of(self, facts: Facts, currency: str, digest: Callable[[str], str]) -> Margin | None:
        """Margin of a target as of now; None while HR cannot be asked.

        Args:
            facts: of the target.
            currency: of its record.
            digest: field mapping of a system.
        """
        work = await self._ledger.posted_work(one.contract_key for one in facts.contracts)
        if work.billed_by_others:
            return Margin(reason=BILLED_BY_OTHERS)
        if too_few(work):
            return Margin(reason=FEW)
        by_hr = self._by_hr(work)
        if by_hr is None:
            return Margin(reason=UNRATED)
        answers = await asyncio.gather(
            *(self._ask(hr, digest(hr), [one.day for one in mine]) for hr, mine in by_hr.items())
        )
        people: dict[tuple[str, str], str] = {}
        rates: dict[str, list[CostRate]] = defaultdict(list)
        for (hr, mine), known in zip(by_hr.items(), answers, strict=True):
            if known is None:
                return None
            people |= await self._people(hr, mine, known)
            for row in known:
                if row.cost_rate is not None and row.cost_currency is not None:
                    rate = CostRate(row.cost_rate, row.cost_currency, row.effective_from, row.effective_to)
                    rates[f"{hr}/{row.id}"].append(rate)
        agreed = await self._agreed(facts, work, people, rates, currency)
        return margin_of(facts, work, people, rates, currency, agreed)

    def _by_hr(self, work: PostedWork) -> dict[str, list[WorkedTime]] | None:
        """Whom to ask about whose time; None where a route names nobody."""
        found: dict[str, list[WorkedTime]] = defaultdict(list)
        for one in work.time:
            hr = self._hr_of(one.psa, one.erp)
            if hr is None:
                return None
            found[hr].append(one)
        return found

    def _hr_of(self, psa: str, erp: str) -> str | None:
        routes = (one for one in self._systems.firm.routes if (one.psa, one.erp) == (psa, erp))
        return next((one.hr for one in routes if one.hr), None)

    async def _ask(self, system: str, digest: str, days: Sequence[date]) -> list[Worker] | None:
        """Everybody on these days; None when HR does not answer in time, or not in a way that can be read."""
        if self._away.get(system, 0.0) > self._clock():
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                hr = await self._systems.hr(system, digest)
                known = await hr.workers_between(min(days), max(days))
        except (SystemFailure, TimeoutError):
            self._away[system] = self._clock() + AWAY_SECONDS
            return None
        # Of an address that moved on to somebody else, its latest holder counts.
        return sorted(known, key=lambda one: one.effective_from or date.min)

    async def _people(
        self, hr: str, time_: Iterable[WorkedTime], known: Sequence[Worker]
    ) -> dict[tuple[str, str], str]:
        """Who the workers of delivery systems are, by (system, worker)."""
        workers: dict[str, set[str]] = defaultdict(set)
        for one in time_:
            workers[one.psa].add(one.worker)
        found: dict[tuple[str, str], str] = {}
        for psa, ids in workers.items():
            links = await self._ledger.links_of_kinds((WORKER, ADDRESS), psa, ids)
            for id_, person in people_behind(links, known).items():
                found[psa, id_] = f"{hr}/{person.id}"
        return found

    async def _agreed(
        self,
        facts: Facts,
        work: PostedWork,
        people: Mapping[tuple[str, str], str],
        rates: Mapping[str, Sequence[CostRate]],
        currency: str,
    ) -> dict[str, tuple[Conversion, ...]]:
        """Conversions that contracts agree, of those with costs in a currency that is neither their own nor
        the record's."""
        own = {one.contract_key: one.currency for one in facts.contracts}
        costs = {(key, amount.currency) for key, amount in work.expenses}
        for one in work.time:
            of_person = rates.get(people.get((one.psa, one.worker), ""), ())
            costs |= {(one.contract_key, rate.currency) for rate in of_person}
        found: dict[str, tuple[Conversion, ...]] = {}
        for key in sorted({key for key, in_ in costs if in_ not in (own[key], currency)}):
            row = await self._ledger.contract_version(key)
            if row is not None:
                found[key] = Contract.model_validate(row.terms).currency_terms.agreed
        return found
