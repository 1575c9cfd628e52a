"""The retainer account: draws oldest balance first, overage by contract, roll-over and expiry (rule 32)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from canonical.calendar import cycle_of
from canonical.causes import Cause
from canonical.engagement import BillingCycle, Contract
from canonical.failures import Finding
from canonical.money import Money
from canonical.names import movement_key
from canonical.retainers import Movement, MovementKind, RetainerLot
from canonical.terms import OverageRule, RetainerTerms
from rules.caps import Candidate, Slice, cut
from rules.findings import finding

OPENING_LOT = "opening"
"""The balance taken over at go-live: it covers whatever is billed from then on."""


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


def draw(
    candidates: Iterable[Candidate], lots: Sequence[RetainerLot], terms: RetainerTerms, cycle: BillingCycle
) -> list[Drawn]:
    """Let lines draw on the balance by work date, then source id; the line that empties it is split.

    A lot covers work from its first day on, until it expires. Amounts are at the retainer's rates. The
    overage keeps them: it is the same line's other part.
    """
    ordered = sorted(lots, key=lambda one: (one.opened_on, one.lot))
    balances = {lot.lot: lot.balance.minor for lot in ordered}
    drawn = []
    for one in sorted(candidates, key=lambda candidate: candidate.order):
        covering = [lot.lot for lot in ordered if _covers(lot, one.day, terms, cycle)]
        drawn.append(_draw_one(one, balances, covering, terms))
    return drawn


def _covers(lot: RetainerLot, day: date, terms: RetainerTerms, cycle: BillingCycle) -> bool:
    if lot.lot != OPENING_LOT and day < lot.opened_on:
        return False
    last = _last_day(lot, terms, cycle)
    return last is None or day <= last


def _last_day(lot: RetainerLot, terms: RetainerTerms, cycle: BillingCycle) -> date | None:
    """The last day of work that a lot covers; None while it goes on rolling over."""
    periods = terms.expires_after_periods if terms.rolls_over else 0
    if periods is None:
        return None
    period = cycle_of(cycle, lot.opened_on)
    for _ in range(periods):
        period = cycle_of(cycle, period.last + timedelta(days=1))
    return period.last


def _draw_one(
    one: Candidate, balances: dict[str, int], covering: Sequence[str], terms: RetainerTerms
) -> Drawn:
    if one.amount.minor <= 0:
        # Nothing to draw for: free work is covered as it is.
        return Drawn(one, covered=Slice(one.minutes, one.amount))
    wanted = one.amount.minor
    draws: list[Draw] = []
    for lot in covering:
        taken = min(balances[lot], wanted - sum(draw.amount.minor for draw in draws))
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
    account: str,
    lots: Sequence[RetainerLot],
    terms: RetainerTerms,
    period: str,
    on: date,
    *,
    final: bool = False,
) -> list[Movement]:
    """What happens to what is left when a period ends: it rolls over, or it expires.

    Args:
        account: the retainer.
        lots: with what they have left.
        terms: the contract's.
        period: key of the period that ends; part of the movements' keys, so repeating it changes nothing.
        on: last day of the period.
        final: no period follows it: nothing rolls over any more.
    """
    movements = []
    for lot in sorted(lots, key=lambda one: (one.opened_on, one.lot)):
        if lot.balance.minor <= 0:
            continue
        limit = terms.expires_after_periods
        stays = terms.rolls_over and (limit is None or lot.rolled_over < limit) and not final
        again = f"/{lot.expired + 1}" if lot.expired and not stays else ""
        kind = MovementKind.ROLLED_OVER if stays else MovementKind.EXPIRED
        zero = Money.of_minor(0, lot.balance.currency, lot.balance.role)
        movements.append(
            Movement(
                key=movement_key(account, kind.value, f"{lot.lot}/{period}{again}"),
                account=account,
                kind=kind,
                lot=lot.lot,
                on=on,
                amount=zero if stays else -lot.balance,
            )
        )
    return movements


def periods_ended(
    account: str,
    lots: Sequence[RetainerLot],
    terms: RetainerTerms,
    cycle: BillingCycle,
    through: date,
    *,
    ends: date | None = None,
) -> list[Movement]:
    """What the ends of all periods up to a day do to what is left of the lots, as far as it is not recorded.

    Args:
        account: the retainer.
        lots: with what they have left after the draws of all work up to ``through``.
        terms: the contract's.
        cycle: how long its periods are.
        through: last day that counts.
        ends: the retainer's last day, where it is known: with its period all that is left expires, or is left
            to be refunded.
    """
    movements: list[Movement] = []
    if cycle is BillingCycle.ON_COMPLETION:
        return movements
    for lot in lots:
        left, period = lot, cycle_of(cycle, lot.opened_on)
        number = 0
        while period.last <= through and left.balance.minor > 0:
            final = ends is not None and period.last >= ends
            if final and terms.refund_at_end:
                break
            if number >= lot.rolled_over:
                found = end_period(account, [left], terms, period.key, period.last, final=final)
                movements += found
                for one in found:
                    rolled = one.kind is MovementKind.ROLLED_OVER
                    left = left.model_copy(
                        update={
                            "balance": left.balance + one.amount,
                            "rolled_over": left.rolled_over + rolled,
                        }
                    )
            number += 1
            period = cycle_of(cycle, period.last + timedelta(days=1))
    return movements


def retainer_end(contract: Contract, line_key: str | None) -> date | None:
    """The last day of a retainer; None where it runs until somebody ends it."""
    line = contract.line(line_key)
    return (line.end if line is not None else None) or contract.end


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


def refundable(
    lots: Iterable[RetainerLot],
    terms: RetainerTerms,
    cycle: BillingCycle,
    through: date,
    ends: date | None,
) -> list[RetainerLot]:
    """What is to be given back: the lots that have something left when the retainer's last period is over."""
    if not terms.refund_at_end or ends is None or cycle is BillingCycle.ON_COMPLETION:
        return []
    over = cycle_of(cycle, ends).last <= through
    return [lot for lot in lots if lot.balance.minor > 0] if over else []


def refund(account: str, lot: str, amount: Money, on: date, credit: str) -> Movement:
    """What a credit gives back of a lot: it cannot be drawn any more."""
    return Movement(
        key=movement_key(account, MovementKind.REFUNDED.value, f"{lot}/{credit}"),
        account=account,
        kind=MovementKind.REFUNDED,
        lot=lot,
        on=on,
        amount=-amount,
        document=credit,
    )


def refund_taken_back(movement: Movement) -> Movement:
    """The credit is off: the balance is there again."""
    return movement.model_copy(
        update={
            "key": movement_key(
                movement.account, MovementKind.RETURNED.value, f"{movement.lot}/{movement.document}"
            ),
            "kind": MovementKind.RETURNED,
            "amount": -movement.amount,
        }
    )
