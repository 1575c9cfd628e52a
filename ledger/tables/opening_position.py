"""What was billed of contracts before Trueup took over (rule 36). Append-only; the latest version counts."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Minor, Utc


class OpeningPositionTable(Table, table=True):
    """A contract's opening position, as imported."""

    __tablename__ = "opening_position"
    __table_args__ = (UniqueConstraint("contract_key", "version"),)

    contract_key: str
    version: int
    position: dict[str, Any] = Field(sa_type=Json)
    digest: str
    billed_minor: int = Field(sa_type=Minor)
    currency: str
    last_billed_work_date: date | None = None
    actor_id: str
    at: datetime = Field(sa_type=Utc)
