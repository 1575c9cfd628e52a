"""Opening position: what was billed of a contract before Trueup took over (rule 36)."""

from __future__ import annotations

from datetime import date

from pydantic import model_validator

from canonical.base import Canonical
from canonical.money import Money


class CapOpening(Canonical):
    """What of a cap or purchase order is used already."""

    cap_key: str
    """``canonical.names.cap_key`` or ``purchase_order_key``."""
    used: Money


class OpeningPosition(Canonical):
    """Per contract. Nothing at or before it can be billed; a contract without one does not bill."""

    contract_key: str
    billed_to_date: Money
    last_billed_work_date: date | None = None
    """Work up to and including that day is billed or never will be. None: nothing was billed."""
    billed_keys: tuple[str, ...] = ()
    """Keys of milestones, schedule dates and periods that are billed already."""
    caps: tuple[CapOpening, ...] = ()
    retainer_balance: Money | None = None
    source: str = ""
    """Where the figures come from: the file imported, or ``new contract``."""

    @model_validator(mode="after")
    def _not_negative(self) -> OpeningPosition:
        amounts = [self.billed_to_date, *(cap.used for cap in self.caps)]
        amounts += [self.retainer_balance] if self.retainer_balance is not None else []
        if any(money.amount < 0 for money in amounts):
            raise ValueError(f"opening position of {self.contract_key} has a negative amount")
        return self
