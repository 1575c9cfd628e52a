"""Received events: durable before the sender hears that all is well."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Utc


class Inbox(Table, table=True):
    """One event of a source, and what became of it. It is a hint: which record changed."""

    __tablename__ = "inbox"
    __table_args__ = (
        UniqueConstraint("source", "event_id"),
        Index("ix_inbox_due", "state", "next_try_at"),
    )

    source: str
    event_id: str
    """What the source's repetitions are recognised by."""
    type: str
    system: str
    record_type: str
    record_id: str
    fields: dict[str, str] = Field(default_factory=dict, sa_type=Json)
    """Values that a rule of the configuration asks for, nothing else of the delivery."""
    state: str
    reason: str = ""
    saga_id: str | None = Field(default=None, index=True)
    trace_id: str
    attempts: int = 0
    deliveries: int = 1
    """How often it was received."""
    occurred_at: datetime | None = Field(default=None, sa_type=Utc)
    received_at: datetime = Field(sa_type=Utc)
    next_try_at: datetime = Field(sa_type=Utc)
    settled_at: datetime | None = Field(default=None, sa_type=Utc)
