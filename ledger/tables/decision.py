"""Human decisions: repairs, gates, starts (rules 13 and 14). Append-only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Utc


class Decision(Table, table=True):
    """Who decided what, in which role, why, and what changed by it."""

    __tablename__ = "decision"

    command_id: str = Field(unique=True)
    kind: str
    saga_id: str = Field(index=True)
    step: str
    case_id: str | None = Field(default=None, index=True)
    outcome: str
    actor_id: str
    actor: dict[str, Any] = Field(sa_type=Json)
    reason: str
    before: dict[str, Any] | None = Field(default=None, sa_type=Json)
    after: dict[str, Any] | None = Field(default=None, sa_type=Json)
    at: datetime = Field(sa_type=Utc)
