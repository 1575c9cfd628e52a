"""What entered and left the ERP as cost: the movements behind the unbilled balance (rule 37). Append-only."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Minor, Serial, Utc


class Posting(Table, table=True):
    """An item was posted, or its posting was taken back. Each happens once per item and turn."""

    __tablename__ = "posting"
    __table_args__ = (
        UniqueConstraint("item_id", "turn", "kind"),
        Index("ix_posting_entity", "legal_entity", "at"),
    )

    item_id: int = Field(foreign_key="billable_item.id", sa_type=Serial)
    turn: int
    kind: str
    """``posted`` or ``reversed``."""
    record_id: str | None = None
    legal_entity: str | None = None
    currency: str | None = None
    amount_minor: int = Field(default=0, sa_type=Minor)
    """What entered the ERP's unbilled balance, or left it by this; 0 of cost that is not billed there."""
    at: datetime = Field(sa_type=Utc)
