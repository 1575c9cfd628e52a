"""Sold, delivered, billed and recognised of one contract, compared and named (rule 2, IFRS 15). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from canonical.causes import Queue
from canonical.money import Money
from canonical.progress import DifferenceKind, RevenueDifference, RevenueFigures
from canonical.refs import RecordRef

Make = Callable[[DifferenceKind, int, Queue, str, str], RevenueDifference]


def differences(
    contract_key: str, figures: RevenueFigures, record: RecordRef | None = None
) -> tuple[RevenueDifference, ...]:
    """What stands out, what to correct first; positions of the balance sheet come last.

    Args:
        contract_key: whose figures.
        figures: in one currency.
        record: the contract in the ERP.
    """
    currency = figures.booked.currency

    def make(kind: DifferenceKind, minor: int, owner: Queue, message: str, then: str) -> RevenueDifference:
        worth = Money.of_minor(minor, currency)
        words = f"Contract {contract_key}: {message}"
        return RevenueDifference(kind=kind, message=words, worth=worth, record=record, owner=owner, next=then)

    return (*_wrong(contract_key, figures, make), *_position(contract_key, figures, make))


def _wrong(key: str, all_: RevenueFigures, make: Make) -> Iterator[RevenueDifference]:
    booked, delivered, billed, recognised = all_.booked, all_.delivered, all_.billed, all_.recognised
    if billed.minor > booked.minor:
        yield make(
            DifferenceKind.BILLED_ABOVE_BOOKED,
            billed.minor - booked.minor,
            Queue.BILLING,
            f"{billed} are billed, {booked} are booked.",
            f"trueup change-orders terms {key}",
        )
    if recognised is None:
        worked = bool(all_.delivered_minutes) or (delivered is not None and delivered.minor > 0)
        if worked:
            worth = delivered.minor if delivered is not None else 0
            yield make(
                DifferenceKind.DELIVERED_NOT_RECOGNISED,
                worth,
                Queue.BILLING,
                f"{_delivered(all_)} delivered, and the ERP has no revenue plan of it.",
                f"trueup trace {key}",
            )
        return
    if recognised.minor > booked.minor:
        yield make(
            DifferenceKind.RECOGNISED_ABOVE_BOOKED,
            recognised.minor - booked.minor,
            Queue.BILLING,
            f"{recognised} are recognised, {booked} are booked.",
            f"trueup trace {key}",
        )
    if delivered is not None and recognised.minor > delivered.minor:
        yield make(
            DifferenceKind.RECOGNISED_ABOVE_DELIVERED,
            recognised.minor - delivered.minor,
            Queue.BILLING,
            f"{recognised} are recognised, {delivered} are delivered.",
            f"trueup trace {key}",
        )
    if not recognised.minor and (all_.delivered_minutes or (delivered is not None and delivered.minor > 0)):
        yield make(
            DifferenceKind.DELIVERED_NOT_RECOGNISED,
            delivered.minor if delivered is not None else 0,
            Queue.BILLING,
            f"{_delivered(all_)} delivered, nothing is recognised yet.",
            f"trueup trace {key}",
        )
    planned = recognised.minor + (all_.deferred.minor if all_.deferred is not None else 0)
    if planned != booked.minor:
        yield make(
            DifferenceKind.PLAN_DIFFERS,
            planned - booked.minor,
            Queue.BILLING,
            f"the ERP plans {Money.of_minor(planned, booked.currency)} of revenue, {booked} are booked.",
            f"trueup change-orders baseline {key}",
        )


def _position(key: str, all_: RevenueFigures, make: Make) -> Iterator[RevenueDifference]:
    """Billed against recognised; where the ERP recognises nothing yet, all that is billed is ahead."""
    recognised = all_.recognised.minor if all_.recognised is not None else 0
    gap = all_.billed.minor - recognised
    told = Money.of_minor(recognised, all_.booked.currency)
    if gap > 0:
        yield make(
            DifferenceKind.CONTRACT_LIABILITY,
            gap,
            Queue.BILLING,
            f"{all_.billed} are billed, {told} are recognised: billed ahead.",
            f"trueup trace {key}",
        )
    elif gap < 0:
        yield make(
            DifferenceKind.CONTRACT_ASSET,
            -gap,
            Queue.BILLING,
            f"{told} are recognised, {all_.billed} are billed: unbilled.",
            "trueup unbilled --by project",
        )


def _delivered(all_: RevenueFigures) -> str:
    hours = f"{all_.delivered_minutes // 60}:{all_.delivered_minutes % 60:02d} h"
    if all_.delivered is None:
        return hours
    return f"{hours}, {all_.delivered} are" if all_.delivered_minutes else f"{all_.delivered} are"
