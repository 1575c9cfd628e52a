"""Bugs of billing that the judge must notice, planted in a worker process at run time. Nothing here touches a
file of the product; see ``tests.chaos.planted`` for how a worker gets them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import activities.billing.drafting as drafting
import activities.billing.milestones as milestones
import ledger.store
from canonical.items import AllocationKind, ItemKind

Command = dict[str, Any]


def drop_a_line(_: Command) -> None:
    """One line of every invoice with several is left out: its work stays open for ever."""
    honest = vars(drafting)["use"]

    def use(*args: Any, **more: Any) -> Any:
        used = honest(*args, **more)
        billed = [one for one in used.allocations if one.kind is AllocationKind.BILLED]
        if len(billed) < 3:
            return used
        kept = tuple(one for one in used.allocations if one is not billed[-1])
        return type(used)(kept, used.regroup)

    _replace(drafting, "use", use)


def bill_a_milestone_twice(_: Command) -> None:
    """A later cutoff makes another item of a milestone: the run does not know that it was billed."""
    honest = vars(milestones)["fees_of"]

    def fees_of(contract: Any, facts: Any) -> Any:
        fees = list(honest(contract, facts))
        for fee in [one for one in fees if one.kind is ItemKind.MILESTONE and one.hold is None]:
            if (facts.through.year, facts.through.month) > (fee.day.year, fee.day.month):
                source = fee.source.model_copy(update={"id": f"{fee.source.id}~again"})
                fees.append(fee.model_copy(update={"source": source}))
        return fees

    _replace(milestones, "fees_of", fees_of)


def ignore_a_credit(_: Command) -> None:
    """What changed after its invoice was issued is not looked for: no credit is ever proposed."""

    async def billed_lines(self: Any, **_: Any) -> Sequence[Any]:
        return []

    _replace(ledger.store.Ledger, "billed_lines", billed_lines)


def _replace(owner: Any, name: str, value: Any) -> None:
    """Plant it; the type checker knows the honest one only."""
    assert hasattr(owner, name)
    setattr(owner, name, value)


BUGS = (drop_a_line, bill_a_milestone_twice, ignore_a_credit)
