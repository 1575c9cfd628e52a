"""The cross-reference: which records in which systems are the same thing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Utc


class Link(Table, table=True):
    """A canonical object and its record in one system, with the evidence for it."""

    __tablename__ = "link"
    __table_args__ = (
        UniqueConstraint("kind", "key", "system", "type"),
        Index("ix_link_record", "system", "type", "record_id"),
    )

    kind: str
    key: str
    system: str
    type: str
    record_id: str
    url: str | None = None
    evidence: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    created_by_us: bool
    adopted: bool
    """There before us and confirmed by a person (rule 22); never undone."""
    effect_key: str | None = Field(default=None, index=True)
    saga_id: str | None = None
    at: datetime = Field(sa_type=Utc)
