"""Pieces of work that runs have claimed, and the batches that carry them to a vendor (rules 23, 29)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Serial, Utc

_ONCE = "state IN ('open', 'landed')"


class Piece(Table, table=True):
    """A part of a route's open work, claimed by one run until its lease ends."""

    __tablename__ = "piece"
    __table_args__ = (Index("ix_piece_route", "psa", "erp", "state"),)

    piece_key: str = Field(unique=True)
    psa: str
    erp: str
    saga_id: str = Field(index=True)
    state: str
    claimed: int
    """Items it began with."""
    more: bool
    """Whether there was further open work."""
    until: datetime = Field(sa_type=Utc)
    created_at: datetime = Field(sa_type=Utc)
    closed_at: datetime | None = Field(default=None, sa_type=Utc)


class Batch(Table, table=True):
    """One bulk write: intended before it is sent, settled when every line has an outcome."""

    __tablename__ = "batch"
    __table_args__ = (UniqueConstraint("system", "purpose", "number"),)

    batch_key: str = Field(unique=True)
    system: str
    purpose: str
    number: int
    piece: str = Field(index=True)
    state: str = Field(index=True)
    lines: int
    ticket: str | None = None
    earlier: bool = False
    attempt_id: str | None = None
    deadline: datetime | None = Field(default=None, sa_type=Utc)
    attempts: int = 0
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    """What else its sender needs to make the same lines again, for example the form of a reversal."""
    landed: int = 0
    refused: int = 0
    retry: int = 0
    created_at: datetime = Field(sa_type=Utc)
    submitted_at: datetime | None = Field(default=None, sa_type=Utc)
    settled_at: datetime | None = Field(default=None, sa_type=Utc)


class BatchLine(Table, table=True):
    """One line of a batch and its outcome. An item is open in, or landed by, at most one of a purpose."""

    __tablename__ = "batch_line"
    __table_args__ = (
        UniqueConstraint("batch_id", "line"),
        Index(
            "ux_batch_line_once",
            "item_id",
            "purpose",
            "turn",
            unique=True,
            sqlite_where=text(_ONCE),
            postgresql_where=text(_ONCE),
        ),
    )

    batch_id: int = Field(foreign_key="batch.id", sa_type=Serial)
    line: int
    item_id: int = Field(foreign_key="billable_item.id", index=True, sa_type=Serial)
    purpose: str
    turn: int
    state: str
    record_id: str | None = None
    cause: str | None = None
    message: str | None = None
    vendor_code: str | None = None
