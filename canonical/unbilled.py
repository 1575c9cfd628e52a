"""The unbilled balance: what lies there, why, and how it rolls forward (rule 37)."""

from __future__ import annotations

from datetime import datetime

from canonical.base import Canonical
from canonical.causes import Cause, Queue
from canonical.money import Money


class UnbilledGroup(Canonical):
    """Items that wait for the same reason: one row of ``trueup unbilled`` and of the exceptions."""

    reason: str
    """Cause code, or where the items stand: ``ready``, ``not posted``, ``on a draft``."""
    cause: Cause | None = None
    queue: Queue | None = None
    legal_entity: str | None
    project_code: str | None = None
    contract_key: str | None = None
    project: str | None = None
    """The delivery system's project, of items that nothing has placed yet."""
    items: int
    minutes: int
    amount: Money | None
    """None where the items could not be priced."""
    since: datetime | None = None
    """When the oldest of them began to wait."""


class InFlight(Canonical):
    """Lines in batches whose outcome is not known yet."""

    system: str
    purpose: str
    items: int
    minutes: int
    amount: Money | None
    since: datetime


class RollForward(Canonical):
    """The unbilled balance of one legal entity and currency over a span of time (rule 37).

    ``closing = opening + posted - reversed - billed + credited - written - covered + repriced``
    """

    legal_entity: str
    currency: str
    opening: Money
    posted: Money
    reversed: Money
    billed: Money
    credited: Money
    written: Money
    """Written down and written off."""
    covered: Money
    repriced: Money
    closing: Money
    """As the ledger counts it at the end, not computed from the movements: the check compares both."""

    @property
    def computed(self) -> Money:
        """The closing balance that the movements lead to."""
        return (
            self.opening
            + self.posted
            - self.reversed
            - self.billed
            + self.credited
            - self.written
            - self.covered
            + self.repriced
        )


class UnbilledDifference(Canonical):
    """One line on which the ledger and the ERP do not agree."""

    item_key: str | None
    posting: str | None
    """The ERP's id."""
    ours: Money | None
    theirs: Money | None
    reason: str
