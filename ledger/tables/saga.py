"""Sagas by generation: who started them, how they ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Utc


class Saga(Table, table=True):
    """One generation of a saga; a new one begins when the last was undone."""

    __tablename__ = "saga"
    __table_args__ = (UniqueConstraint("saga_id", "generation"),)

    saga_id: str
    generation: int
    saga: str
    region: str = Field(index=True)
    business_key: str = Field(index=True)
    status: str = Field(index=True)
    start_id: str
    actor_id: str
    actor: dict[str, Any] = Field(sa_type=Json)
    reason: str
    trace_id: str
    mapping: dict[str, str] = Field(default_factory=dict, sa_type=Json)
    """Digest of the field mapping pinned per system instance."""
    view: dict[str, Any] | None = Field(default=None, sa_type=Json)
    figures: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    started_at: datetime = Field(sa_type=Utc, index=True)
    updated_at: datetime = Field(sa_type=Utc)
    finished_at: datetime | None = Field(default=None, sa_type=Utc)
