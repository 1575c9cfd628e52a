"""Steps that are being undone: a write of theirs that comes late is refused."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Utc


class Tombstone(Table, table=True):
    """One row per undone step; never removed."""

    __tablename__ = "tombstone"

    step_key: str = Field(unique=True)
    saga_id: str = Field(index=True)
    actor_id: str
    at: datetime = Field(sa_type=Utc)
