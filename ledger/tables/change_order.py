"""Change orders of contracts as they were received, and what came of each (rule 43)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Utc


class ChangeOrderTable(Table, table=True):
    """A change order: what it asks for, who sent it, how it was decided and what it made."""

    __tablename__ = "change_order"
    __table_args__ = (
        UniqueConstraint("contract_key", "order_key"),
        Index("ix_change_order_state", "state", "contract_key"),
    )

    contract_key: str
    order_key: str
    base: int
    version: int
    form: str
    effective_on: date
    content: dict[str, Any] = Field(sa_type=Json)
    digest: str
    state: str
    cause: str | None = None
    reason: str = ""
    findings: list[Any] = Field(default=[], sa_type=Json)
    treatment: str | None = None
    """How finance treats it."""
    saga_id: str | None = None
    actor_id: str
    actor: dict[str, Any] = Field(sa_type=Json)
    sent_because: str = ""
    decided_by: str | None = None
    """Person who decided at the gate, under the pseudonym."""
    decided_as: dict[str, Any] | None = Field(default=None, sa_type=Json)
    received_at: datetime = Field(sa_type=Utc)
    decided_at: datetime | None = Field(default=None, sa_type=Utc)
