"""What new rates would change, for one installation: reads the ledger alone."""

from __future__ import annotations

from activities.billing.terms import Terms
from activities.billing.weighing import RateEffect, Weighing
from canonical.rates import RateCard
from ledger.store import Ledger

__all__ = ["RateEffect", "rate_effect"]


async def rate_effect(ledger: Ledger, contract: str, card: RateCard) -> RateEffect:
    """What these rates would change of a contract if they were in force now."""
    return await Weighing(ledger, Terms(ledger)).effect(contract, card)
