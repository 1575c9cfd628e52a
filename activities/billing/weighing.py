"""What rates make of a contract's work, by the ledger alone: for a preview, and for those who act on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from activities.billing.terms import Terms
from canonical.failures import Finding
from canonical.invoicing import CreditPart
from canonical.money import Money
from canonical.rates import PricingAuthority, RateCard, RateVersion
from ledger.billing_rows import RatedItem
from ledger.store import Ledger
from rules.adjusting import Adjusted, BilledPart, Repriced, Worked, reprice
from rules.enrichment import rates_of_line
from rules.placing import ContractFacts
from rules.rates import PriceSources, resolve_rate

PAGE = 500


@dataclass
class RateEffect:
    """What rates would change of a contract: for a preview."""

    lines: int = 0
    """Unbilled lines that get another worth."""
    before: Money | None = None
    after: Money | None = None
    further: Money | None = None
    """What billed lines are worth more."""
    further_lines: int = 0
    credits: dict[str, Money] = field(default_factory=dict)
    """What invoices billed too much, by invoice."""
    unpriced: list[Finding] = field(default_factory=list)
    busy: int = 0


class Weighing:
    """Says what rates would change."""

    def __init__(
        self, ledger: Ledger, terms: Terms, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._ledger = ledger
        self._terms = terms
        self._now = clock

    async def effect(self, contract_key: str, card: RateCard) -> RateEffect:
        """What rates would change if they were in force now. Reads only."""
        terms = (await self._terms.of([contract_key]))[contract_key]
        number = terms.rates.number + 1 if terms.rates is not None else 1
        version = RateVersion(contract_key=contract_key, number=number, label=card.version, card=card)
        found = RateEffect()
        async for one, changed in self._changes(_with(terms, version)):
            if one.busy:
                found.busy += 1
            if isinstance(changed, Finding):
                found.unpriced.append(changed)
            elif changed is not None:
                _add(found, changed)
        return found

    async def credited(self, contract_key: str) -> dict[str, list[CreditPart]]:
        """By invoice, what it billed too much at the rates in force."""
        terms = (await self._terms.of([contract_key]))[contract_key]
        found: dict[str, list[CreditPart]] = defaultdict(list)
        async for _, changed in self._changes(terms):
            if isinstance(changed, Repriced):
                for invoice, part in changed.credits:
                    found[invoice].append(part)
        return found

    async def _changes(
        self, terms: ContractFacts
    ) -> AsyncIterator[tuple[RatedItem, Repriced | Finding | None]]:
        after: int | None = 0
        while after is not None:
            page = await self._ledger.rated(terms.contract.key, after=after, limit=PAGE)
            adjustments = await self._ledger.adjustments(terms.contract.key)
            for one in page.rows:
                yield one, self.look(terms, one, adjustments)
            after = page.cursor

    def look(
        self, terms: ContractFacts, one: RatedItem, adjustments: Mapping[str, Sequence[RatedItem]]
    ) -> Repriced | Finding | None:
        """What the rates make of an item; None where nothing, or where it is not to be touched now."""
        item = one.item
        line = terms.contract.line(item.line_key)
        if one.busy or line is None or item.price is None or item.price.rate is None:
            return None
        if terms.contract.pricing_authority is not PricingAuthority.CONTRACT:
            return None
        sources = PriceSources(contract=rates_of_line(terms, line))
        role = item.line.role if item.line is not None else None
        rate = resolve_rate(PricingAuthority.CONTRACT, sources, role, item.work_date)
        if isinstance(rate, Finding):
            return rate
        worked = _worked(one, adjustments.get(item.key, ()))
        changed = reprice(terms.contract, worked, rate, self._now().date())
        if isinstance(changed, Finding):
            return changed
        return changed if changed.changes else None


def _with(terms: ContractFacts, rates: RateVersion) -> ContractFacts:
    return ContractFacts(terms.contract, terms.version, rates, terms.opening)


def _worked(one: RatedItem, adjustments: Sequence[RatedItem]) -> Worked:
    item = one.item
    return Worked(
        item_key=item.key,
        region=item.region,
        project_code=item.project_code or "",
        line_key=item.line_key,
        work_date=item.work_date,
        minutes=one.unbilled_minutes,
        amount=one.unbilled,
        rate=item.rate,
        billed=_billed(one),
        adjusted=tuple(
            Adjusted(own.item.key, own.unbilled, own.settled, _billed(own)) for own in adjustments
        ),
    )


def _billed(one: RatedItem) -> tuple[BilledPart, ...]:
    return tuple(
        BilledPart(
            allocation_key=line.allocation.key,
            item_key=one.item.key,
            part=line.allocation.part,
            minutes=line.allocation.minutes,
            amount=line.allocation.amount,
            billed=line.billed,
            invoice_key=line.allocation.document or "",
        )
        for line in one.billed
    )


def _add(found: RateEffect, changed: Repriced) -> None:
    if changed.before != changed.price.amount:
        found.lines += 1
        found.before = _plus(found.before, changed.before)
        found.after = _plus(found.after, changed.price.amount)
    if changed.further is not None:
        found.further_lines += 1
        found.further = _plus(found.further, changed.further.amount)
    for invoice, part in changed.credits:
        found.credits[invoice] = _plus(found.credits.get(invoice), part.billed)


def _plus(known: Money | None, more: Money) -> Money:
    return more if known is None else known + more
