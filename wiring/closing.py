"""The close check for one installation: reads the ledger and the ERP, and lets the rules judge."""

from __future__ import annotations

from datetime import datetime

from activities.billing.closing import CloseQuestion, Closing
from ledger.store import Ledger
from rules.closing import CloseFacts
from wiring.systems import ConnectedSystems

__all__ = ["CloseQuestion", "close_facts"]


async def close_facts(
    systems: ConnectedSystems, ledger: Ledger, asked: CloseQuestion, now: datetime
) -> CloseFacts:
    """What the close check judges, as it is now.

    Raises:
        SystemFailure: the ERP could not be asked.
    """
    return await Closing(systems, ledger).facts(asked, now)
