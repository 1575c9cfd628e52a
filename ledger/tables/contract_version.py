"""Contract terms as agreed, effective-dated. Append-only."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Minor, Utc


class ContractVersion(Table, table=True):
    """One agreed version of a contract's complete terms."""

    __tablename__ = "contract_version"
    __table_args__ = (UniqueConstraint("contract_key", "version"),)

    contract_key: str
    version: int
    effective_on: date | None = None
    terms: dict[str, Any] = Field(sa_type=Json)
    digest: str
    amount_minor: int = Field(sa_type=Minor)
    currency: str
    saga_id: str
    at: datetime = Field(sa_type=Utc)
