"""Our own events: written with what they tell of, in one transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Utc

_OPEN = "relayed_at IS NULL"


class OutgoingEvent(Table, table=True):
    """Something that happened, to be told to subscribers. Its delivery is a workflow for each of them."""

    __tablename__ = "outgoing_event"
    __table_args__ = (
        Index("ix_outgoing_event_open", "id", sqlite_where=text(_OPEN), postgresql_where=text(_OPEN)),
    )

    event_id: str = Field(unique=True)
    type: str
    subject: str
    region: str
    data: dict[str, Any] = Field(sa_type=Json)
    trace_id: str
    at: datetime = Field(sa_type=Utc)
    relayed_at: datetime | None = Field(default=None, sa_type=Utc)
    """When its deliveries were handed to Temporal."""


class Undelivered(Table, table=True):
    """An event that a subscriber did not take in all its attempts. A person says what becomes of it."""

    __tablename__ = "undelivered"
    __table_args__ = (
        UniqueConstraint("event_id", "subscription"),
        Index("ix_undelivered_state", "state", "subscription"),
    )

    event_id: str
    subscription: str
    state: str
    """``ledger.undelivered.UndeliveredState``."""
    detail: str
    """What the last attempt came to."""
    run_id: str
    """The run of the delivery that gave up last: its repetitions change nothing."""
    times: int
    """How often a delivery gave up."""
    gave_up_at: datetime = Field(sa_type=Utc)
    settled_at: datetime | None = Field(default=None, sa_type=Utc)
