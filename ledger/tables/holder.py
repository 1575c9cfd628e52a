"""Which sagas rely on a shared record (rule 12)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Utc


class Holder(Table, table=True):
    """One saga's step that created or reuses a shared record."""

    __tablename__ = "holder"
    __table_args__ = (UniqueConstraint("shared_key", "saga_id", "step_key"),)

    shared_key: str
    saga_id: str = Field(index=True)
    step_key: str = Field(index=True)
    at: datetime = Field(sa_type=Utc)
