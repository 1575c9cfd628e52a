"""The unbilled balance: does it roll forward, is it the ERP's, and if not, on which line (rule 37)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from canonical.causes import Cause
from canonical.erp_billing import UnbilledLine
from canonical.failures import Finding
from canonical.money import Money
from canonical.unbilled import RollForward, UnbilledDifference
from rules.findings import finding


def roll_forward_findings(roll: RollForward, erp: Money | None) -> Iterator[Finding]:
    """Whether the movements lead to the closing balance, and whether the ERP has the same one.

    Args:
        roll: of one legal entity and currency.
        erp: the ERP's own unbilled balance; None where it knows none.
    """
    where = f"Unbilled balance of {roll.legal_entity} in {roll.currency}"
    if roll.computed.minor != roll.closing.minor:
        yield finding(
            Cause.UNBILLED_DIFFERS,
            f"{where}: the movements lead to {roll.computed}, the items add up to {roll.closing}.",
            at_stake=_gap(roll.closing, roll.computed),
        )
    if erp is not None and erp.minor != roll.closing.minor:
        yield finding(
            Cause.UNBILLED_DIFFERS,
            f"{where}: {roll.closing} of ours, {erp} in the ERP.",
            at_stake=_gap(roll.closing, erp),
        )


def _gap(ours: Money, theirs: Money) -> Money:
    return Money.of_minor(ours.minor - theirs.minor, ours.currency, ours.role)


@dataclass(frozen=True)
class OpenLine:
    """What the ledger says of one posted line that the ERP should have unbilled."""

    item_key: str
    stamp: str
    posting: str | None
    amount: Money
    """As the ERP values it: with its predicted rounding difference (rule 5)."""


def line_differences(ours: Iterable[OpenLine], theirs: Iterable[UnbilledLine]) -> list[UnbilledDifference]:
    """The lines behind a difference: missing there, missing here, or of another amount."""
    held: dict[str, UnbilledLine] = {}
    strangers: list[UnbilledLine] = []
    for line in theirs:
        if line.stamp:
            held[line.stamp] = line
        else:
            strangers.append(line)
    found = [difference for line in ours if (difference := _compare(line, held.pop(line.stamp, None)))]
    found += [
        UnbilledDifference(
            item_key=None,
            posting=line.ref.id,
            ours=None,
            theirs=line.amount,
            reason="not known to us as open",
        )
        for line in (*held.values(), *strangers)
    ]
    return found


def _compare(ours: OpenLine, theirs: UnbilledLine | None) -> UnbilledDifference | None:
    if theirs is None:
        reason, told = "not unbilled in the ERP", None
    elif theirs.amount.minor != ours.amount.minor or theirs.amount.currency != ours.amount.currency:
        reason, told = "another amount", theirs.amount
    else:
        return None
    posting = theirs.ref.id if theirs is not None else ours.posting
    return UnbilledDifference(
        item_key=ours.item_key, posting=posting, ours=ours.amount, theirs=told, reason=reason
    )
