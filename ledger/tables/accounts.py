"""Accounts that allocations draw on: caps, purchase orders, retainers (rules 31, 32). Append-only.

Every row carries the balance after it, numbered within its account: two writers cannot both write the next
row, and the database refuses one that overdraws.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Minor, Utc


class CapUse(Table, table=True):
    """What an allocation uses of a cap or purchase order, or gives back."""

    __tablename__ = "cap_use"
    __table_args__ = (
        UniqueConstraint("cap_key", "number"),
        UniqueConstraint("cap_key", "entry_key"),
        CheckConstraint(
            "used_minor >= 0 AND (amount_minor <= 0 OR used_minor <= limit_minor)",
            name="ck_cap_use_within_limit",
        ),
    )

    cap_key: str
    number: int
    entry_key: str = Field(index=True)
    """The allocation, or ``opening``."""
    amount_minor: int = Field(sa_type=Minor)
    used_minor: int = Field(sa_type=Minor)
    """Used in all, after this row."""
    limit_minor: int = Field(sa_type=Minor)
    """The limit as agreed at that moment."""
    currency: str
    at: datetime = Field(sa_type=Utc)


class RetainerMovement(Table, table=True):
    """One movement of a retainer: billed in advance, drawn, rolled over, expired, refunded, returned."""

    __tablename__ = "retainer_movement"
    __table_args__ = (
        UniqueConstraint("account", "number"),
        CheckConstraint("lot_minor >= 0 AND balance_minor >= 0", name="ck_retainer_movement_not_negative"),
    )

    account: str
    number: int
    movement_key: str = Field(unique=True)
    kind: str
    lot: str
    lot_opened_on: date
    lot_rolled: int = 0
    """How many period ends the lot has survived."""
    on_day: date
    amount_minor: int = Field(sa_type=Minor)
    lot_minor: int = Field(sa_type=Minor)
    """What the lot has left, after this row."""
    balance_minor: int = Field(sa_type=Minor)
    """What the account has left, after this row."""
    currency: str
    document: str | None = Field(default=None, index=True)
    at: datetime = Field(sa_type=Utc)
