"""Requests of the process API that must not be done twice."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Utc


class ApiRequest(Table, table=True):
    """One Idempotency-Key of one client: what was asked, and the answer once there is one."""

    __tablename__ = "api_request"
    __table_args__ = (UniqueConstraint("client", "key"),)

    client: str
    key: str
    operation: str
    body_hash: str
    attempt_id: str
    """Of the request that works on it: a later one takes over when the lease is over."""
    lease_until: datetime = Field(sa_type=Utc)
    status: int | None = None
    """Empty while it is in flight."""
    location: str | None = None
    body: str | None = None
    created_at: datetime = Field(sa_type=Utc)
    answered_at: datetime | None = Field(default=None, sa_type=Utc)
