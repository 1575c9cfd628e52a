"""The retainer account: movements and the balances they leave (rule 32)."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from canonical.base import Canonical
from canonical.money import Money


class MovementKind(StrEnum):
    """What moves a retainer's balance."""

    OPENED = "opened"
    """Balance taken over at go-live."""
    BILLED = "billed"
    """Billed in advance: a new lot."""
    DRAWN = "drawn"
    ROLLED_OVER = "rolled_over"
    """The lot's rest goes on into the next period; the balance stays."""
    EXPIRED = "expired"
    REFUNDED = "refunded"
    RETURNED = "returned"
    """A draw that was taken back: the work was withdrawn."""


class RetainerLot(Canonical):
    """What one period's advance has left. Draws take the oldest lot first."""

    lot: str
    """Key of the period that was billed in advance; ``opening`` at go-live."""
    opened_on: date
    balance: Money
    rolled_over: int = 0
    """How many period ends it has survived."""
    expired: int = 0
    """How often a rest of it has expired: what comes back later, from corrected work, expires again."""


class Movement(Canonical):
    """One movement of a retainer account. Amounts add up to the balance, which is never negative."""

    key: str
    """Business identity: repeating a movement changes nothing."""
    account: str
    """``canonical.names.retainer_account``."""
    kind: MovementKind
    lot: str
    on: date
    amount: Money
    """Signed: advances positive; draws, expiry and refunds negative; roll-overs zero."""
    document: str | None = None
    """The invoice, or the allocation that drew."""
