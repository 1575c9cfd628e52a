"""What the ERP was told of progress, and how contracts stand at the end of a period (rule 2)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Minor, Utc


class ProgressInput(Table, table=True):
    """The inputs of one contract line for one period, in one revision. Intended before they are sent."""

    __tablename__ = "progress_input"
    __table_args__ = (UniqueConstraint("contract_key", "period", "line_key", "revision"),)

    contract_key: str
    line_key: str
    period: str
    """Year and month."""
    revision: int
    digest: str
    inputs: dict[str, Any] = Field(sa_type=Json)
    """``canonical.progress.LineProgress``."""
    saga_id: str
    at: datetime = Field(sa_type=Utc)
    sent_at: datetime | None = Field(default=None, sa_type=Utc)
    """Since when the ERP is known to show them."""


class ContractRevenue(Table, table=True):
    """One contract at the end of one period: sold, delivered, billed, and what the ERP recognised."""

    __tablename__ = "contract_revenue"
    __table_args__ = (
        UniqueConstraint("contract_key", "period"),
        Index("ix_contract_revenue_entity", "legal_entity", "period"),
    )

    contract_key: str
    name: str
    period: str
    legal_entity: str
    erp: str
    currency: str
    booked_minor: int = Field(sa_type=Minor)
    delivered_minutes: int = 0
    delivered_minor: int | None = Field(default=None, sa_type=Minor)
    billed_minor: int = Field(sa_type=Minor)
    recognised_minor: int | None = Field(default=None, sa_type=Minor)
    deferred_minor: int | None = Field(default=None, sa_type=Minor)
    state: str
    """What became of its inputs: ``canonical.progress.SendState``."""
    revision: int = 0
    findings: list[Any] = Field(default=[], sa_type=Json)
    differences: list[Any] = Field(default=[], sa_type=Json)
    settled: bool = False
    """Everything booked is billed and recognised: later periods need not look, unless work comes."""
    saga_id: str
    at: datetime = Field(sa_type=Utc)
