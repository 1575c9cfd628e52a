"""What all systems held of a contract at activation and after each change order. Append-only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Utc


class Baseline(Table, table=True):
    """The systems' state of one contract, by system instance, as of one contract version."""

    __tablename__ = "baseline"
    __table_args__ = (UniqueConstraint("contract_key", "version"),)

    contract_key: str
    version: int
    contract_version: int
    systems: dict[str, Any] = Field(sa_type=Json)
    digest: str
    saga_id: str
    at: datetime = Field(sa_type=Utc)
