"""New rates of a contract: read as people write them, and what cannot be true of them (rule 7)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise

from canonical.engagement import BillingMethod, Contract
from canonical.firm import Firm
from canonical.rates import PricingAuthority, RateCard, RateLine
from rules.rates import card_findings

DAY = timedelta(days=1)
WORKED = frozenset({BillingMethod.TIME_AND_MATERIALS, BillingMethod.RETAINER})
_WHO = {PricingAuthority.DELIVERY: "the delivery system", PricingAuthority.ERP: "the ERP"}


def card_of(contract: Contract, current: RateCard | None, lines: Iterable[RateLine], label: str) -> RateCard:
    """The complete rates of a contract. A line without an end holds until the next of its role begins."""
    return RateCard(
        code=current.code if current is not None else contract.key,
        version=label,
        currency=contract.currency,
        lines=tuple(_ended(lines)),
    )


def same_rates(one: RateCard | None, other: RateCard) -> bool:
    """Whether two cards say the same, whatever they are called."""
    return one is not None and list(_ended(one.lines)) == list(_ended(other.lines))


def _ended(lines: Iterable[RateLine]) -> list[RateLine]:
    found: list[RateLine] = []
    for own in _by_role(lines).values():
        for line, after in zip(own, [*own[1:], None], strict=True):
            ends = line.effective_to
            if ends is None and after is not None and after.effective_from > line.effective_from:
                ends = after.effective_from - DAY
            found.append(line.model_copy(update={"effective_to": ends}))
    return found


def _by_role(lines: Iterable[RateLine]) -> Mapping[str, list[RateLine]]:
    by_role: dict[str, list[RateLine]] = defaultdict(list)
    for line in sorted(lines, key=lambda line: (line.role, line.effective_from)):
        by_role[line.role].append(line)
    return by_role


def known_roles(firm: Firm, contract: Contract, current: RateCard | None) -> frozenset[str]:
    """Every role that the firm works with, or that the contract has a rate for."""
    roles = {need.role for service in firm.services for need in service.roles}
    roles |= {line.role for card in firm.policies.standard_rates for line in card.lines}
    roles |= {role for codes in firm.policies.billing.codes.values() for role in codes.labour_items}
    for card in (contract.rate_card, current):
        roles |= {line.role for line in card.lines} if card is not None else set()
    return frozenset(roles)


def line_problems(line: RateLine, contract: Contract, roles: Collection[str]) -> list[str]:
    """What cannot be true of one rate, in words."""
    found = []
    if line.role not in roles:
        found.append(f"role {line.role!r} is not known; known: {', '.join(sorted(roles))}")
    if line.amount < 0:
        found.append(f"a rate of {line.amount} is below zero")
    if line.effective_to is not None and line.effective_to < line.effective_from:
        found.append(f"it ends on {line.effective_to}, before it begins on {line.effective_from}")
    agreed = {
        one.from_currency for one in contract.currency_terms.agreed if one.to_currency == contract.currency
    }
    if line.currency not in {contract.currency, *agreed}:
        others = f", with agreed rates from {', '.join(sorted(agreed))}" if agreed else ""
        found.append(f"it is in {line.currency}; contract {contract.key} is in {contract.currency}{others}")
    return found


def card_problems(contract: Contract, current: RateCard | None, card: RateCard) -> list[str]:
    """Why rates cannot be those of the contract: gaps, overlaps, days that would lose their rate."""
    found = []
    if contract.pricing_authority is not PricingAuthority.CONTRACT:
        found.append(f"the prices of {contract.key} come from {_WHO[contract.pricing_authority]}")
    if not any(line.billing_method in WORKED for line in contract.lines):
        found.append(f"{contract.key} bills no work by the hour")
    for role, own in _by_role(card.lines).items():
        found += _between(role, own)
    if not found and current is not None:
        found += _lost(contract, current, card)
    return found


def _between(role: str, lines: Sequence[RateLine]) -> list[str]:
    found = []
    for line, after in pairwise(lines):
        if line.effective_to is None or line.effective_to >= after.effective_from:
            found.append(
                f"overlap: {role} has {line.amount} and {after.amount} at once from {after.effective_from}"
            )
        elif line.effective_to + DAY < after.effective_from:
            first, last = line.effective_to + DAY, after.effective_from - DAY
            found.append(f"gap: {role} has no rate from {first} to {last}")
    return found


def _lost(contract: Contract, current: RateCard, card: RateCard) -> list[str]:
    """Days of the contract that have a rate now and would have none: work on them would be held."""
    days = [day for line in (*current.lines, *card.lines) for day in (line.effective_from, line.effective_to)]
    horizon = contract.end or max((day for day in days if day is not None), default=date.min) + DAY
    found = []
    for line in current.lines:
        first = max(line.effective_from, contract.start or line.effective_from)
        last = min(line.effective_to or horizon, horizon)
        if first > last:
            continue
        found += [
            f"gap: {problem.message.partition(': ')[2].rstrip('.')}; it has one now"
            for problem in card_findings(card, [line.role], first, last)
        ]
    return list(dict.fromkeys(found))
