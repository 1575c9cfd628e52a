"""The retainer account: draws oldest balance first, overage by contract, roll-over and expiry (rule 32)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from canonical.causes import Cause
from canonical.failures import Finding
from canonical.money import Money
from canonical.names import movement_key
from canonical.retainers import Movement, MovementKind, RetainerLot
from canonical.terms import OverageRule, RetainerTerms
from rules.caps import Candidate, Slice, cut
from rules.findings import finding


@dataclass(frozen=True)
class Draw:
    """What is taken from one lot, as a positive amount."""

    lot: str
    amount: Money


@dataclass(frozen=True)
class Drawn:
    """A line after the retainer: what its balance covers, and what becomes of the rest."""

    candidate: Candidate
    covered: Slice | None
    draws: tuple[Draw, ...] = ()
    billed: Slice | None = None
    """Overage to be billed."""
    held: Slice | None = None
    absorbed: Slice | None = None
    """Overage that the contract gives away."""
    finding: Finding | None = None


def draw(candidates: Iterable[Candidate], lots: Sequence[RetainerLot], terms: RetainerTerms) -> list[Drawn]:
    """Let lines draw on the balance by work date, then source id; the line that empties it is split.

    Amounts are at the retainer's rates. The overage keeps them: it is the same line's other part.
    """
    balances = {lot.lot: lot.balance.minor for lot in sorted(lots, key=lambda one: (one.opened_on, one.lot))}
    return [
        _draw_one(one, balances, terms) for one in sorted(candidates, key=lambda candidate: candidate.order)
    ]


def _draw_one(one: Candidate, balances: dict[str, int], terms: RetainerTerms) -> Drawn:
    if one.amount.minor <= 0:
        # Nothing to draw for: free work is covered as it is.
        return Drawn(one, covered=Slice(one.minutes, one.amount))
    wanted = one.amount.minor
    draws: list[Draw] = []
    for lot, balance in balances.items():
        taken = min(balance, wanted - sum(draw.amount.minor for draw in draws))
        if taken > 0:
            balances[lot] -= taken
            draws.append(Draw(lot, Money.of_minor(taken, one.amount.currency, one.amount.role)))
    covered, rest = cut(one.minutes, one.amount, sum(draw.amount.minor for draw in draws))
    if rest is None:
        return Drawn(one, covered, tuple(draws))
    if terms.overage is OverageRule.BILL:
        return Drawn(one, covered, tuple(draws), billed=rest)
    if terms.overage is OverageRule.ABSORB:
        return Drawn(one, covered, tuple(draws), absorbed=rest)
    problem = finding(
        Cause.RETAINER_EXHAUSTED,
        f"The retainer's balance covers {_covered(covered, one)} of the line; {rest.amount} exceed it.",
        at_stake=rest.amount,
    )
    return Drawn(one, covered, tuple(draws), held=rest, finding=problem)


def _covered(covered: Slice | None, one: Candidate) -> Money:
    return covered.amount if covered else Money.of_minor(0, one.amount.currency, one.amount.role)


def end_period(
    account: str, lots: Sequence[RetainerLot], terms: RetainerTerms, period: str, on: date
) -> list[Movement]:
    """What happens to what is left when a period ends: it rolls over, or it expires.

    Args:
        account: the retainer.
        lots: with what they have left.
        terms: the contract's.
        period: key of the period that ends; part of the movements' keys, so repeating it changes nothing.
        on: last day of the period.
    """
    movements = []
    for lot in sorted(lots, key=lambda one: (one.opened_on, one.lot)):
        if lot.balance.minor <= 0:
            continue
        limit = terms.expires_after_periods
        stays = terms.rolls_over and (limit is None or lot.rolled_over < limit)
        kind = MovementKind.ROLLED_OVER if stays else MovementKind.EXPIRED
        zero = Money.of_minor(0, lot.balance.currency, lot.balance.role)
        movements.append(
            Movement(
                key=movement_key(account, kind.value, f"{lot.lot}/{period}"),
                account=account,
                kind=kind,
                lot=lot.lot,
                on=on,
                amount=zero if stays else -lot.balance,
            )
        )
    return movements


def advance(account: str, period: str, opened_on: date, amount: Money, invoice: str) -> Movement:
    """The movement of an advance whose invoice was issued: a new lot."""
    return Movement(
        key=movement_key(account, MovementKind.BILLED.value, period),
        account=account,
        kind=MovementKind.BILLED,
        lot=period,
        on=opened_on,
        amount=amount,
        document=invoice,
    )


def refund(
    account: str, lots: Sequence[RetainerLot], identity: str, on: date, document: str
) -> list[Movement]:
    """Give back everything that is left, lot by lot: the contract ended."""
    return [
        Movement(
            key=movement_key(account, MovementKind.REFUNDED.value, f"{lot.lot}/{identity}"),
            account=account,
            kind=MovementKind.REFUNDED,
            lot=lot.lot,
            on=on,
            amount=-lot.balance,
            document=document,
        )
        for lot in lots
        if lot.balance.minor > 0
    ]
