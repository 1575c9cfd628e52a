"""One row per vendor write by key: intended, unknown, done, undoing, undone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Utc


class Effect(Table, table=True):
    """A vendor write and what became of it."""

    __tablename__ = "effect"
    __table_args__ = (Index("ix_effect_record", "system", "record_type", "record_id"),)

    key: str = Field(unique=True)
    system: str
    operation: str
    record_type: str
    kind: str
    title: str
    state: str = Field(index=True)
    saga_id: str = Field(index=True)
    step_key: str = Field(index=True)
    """The step that first claimed it."""
    business_key: str = Field(index=True)
    region: str
    shared: str | None = Field(default=None, index=True)
    generation: int
    forward_only: bool
    write: dict[str, Any] = Field(sa_type=Json)
    """The write as last claimed, symbols resolved."""
    body_hash: str
    sent_hashes: list[str] = Field(default_factory=list, sa_type=Json)
    """Hashes of bodies that earlier attempts may have sent."""
    links: list[dict[str, Any]] = Field(default_factory=list, sa_type=Json)

    attempt_id: str
    attempt_saga_id: str
    attempt_step_key: str
    """The step of the attempt under way: for a shared record not always the first one's."""
    asked_at: datetime | None = Field(default=None, sa_type=Utc)
    """When the saga asked for what was last claimed: an attempt asked for earlier has been overtaken."""
    actor_id: str
    actor: dict[str, Any] = Field(sa_type=Json)
    attempts: int
    deadline: datetime = Field(sa_type=Utc)
    released: bool = False
    uncertain: bool = False
    """Whether an attempt before the present one may have reached the vendor."""
    failure: dict[str, Any] | None = Field(default=None, sa_type=Json)

    before: dict[str, Any] | None = Field(default=None, sa_type=Json)
    landed: dict[str, Any] | None = Field(default=None, sa_type=Json)
    record_id: str | None = None
    created_by_us: bool | None = None
    landed_late: bool = False
    """It turned out to have landed while it was being undone, or after."""
    undo_outcome: dict[str, Any] | None = Field(default=None, sa_type=Json)
    undo_failure: dict[str, Any] | None = Field(default=None, sa_type=Json)

    created_at: datetime = Field(sa_type=Utc)
    updated_at: datetime = Field(sa_type=Utc)
    done_at: datetime | None = Field(default=None, sa_type=Utc)
    undone_at: datetime | None = Field(default=None, sa_type=Utc)
    """Once set, the key, and the generation of a shared record, stay closed."""
