"""The rates of contracts, each content once. Append-only (rules 7, 9)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Utc


class RateVersion(Table, table=True):
    """One content of a contract's rate card; every priced item names the version it was priced with."""

    __tablename__ = "rate_version"
    __table_args__ = (UniqueConstraint("contract_key", "number"),)

    contract_key: str
    number: int
    authority: str
    label: str
    card: dict[str, Any] = Field(sa_type=Json)
    digest: str
    at: datetime = Field(sa_type=Utc)
