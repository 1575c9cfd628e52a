"""Exception cases: what a person must look at, with the money at stake."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Minor, Utc


class ExceptionCaseTable(Table, table=True):
    """One case per saga generation and step; parking again re-opens it."""

    __tablename__ = "exception_case"

    case_id: str = Field(unique=True)
    saga_id: str = Field(index=True)
    step: str
    business_key: str = Field(index=True)
    region: str
    state: str = Field(index=True)
    transient: bool
    queue: str = Field(index=True)
    cause: str = Field(index=True)
    system: str | None = None
    failure: dict[str, Any] = Field(sa_type=Json)
    at_stake_minor: int | None = Field(default=None, sa_type=Minor)
    at_stake_currency: str | None = None
    at_stake_role: str | None = None
    owner: str | None = None
    links: list[dict[str, Any]] = Field(default_factory=list, sa_type=Json)
    opened_at: datetime = Field(sa_type=Utc)
    """When it was last opened; its age counts from here."""
    first_opened_at: datetime = Field(sa_type=Utc)
    times_opened: int
    escalated_at: datetime | None = Field(default=None, sa_type=Utc)
    escalated_to: str | None = None
    escalations: int = 0
    closed_at: datetime | None = Field(default=None, sa_type=Utc)
    resolution: str | None = None
