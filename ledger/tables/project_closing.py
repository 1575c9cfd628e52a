"""Closings of contracts' projects that were agreed, and whether they were re-opened since (rule 45)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Utc


class ProjectClosing(Table, table=True):
    """A contract whose projects were closed: on which facts, who decided, what the records were before."""

    __tablename__ = "project_closing"
    __table_args__ = (
        UniqueConstraint("contract_key", "number"),
        Index("ix_project_closing_state", "state", "contract_key"),
        Index("ix_project_closing_sagas", "saga_id", "reopen_saga_id"),
    )

    contract_key: str
    number: int
    state: str
    project_code: str
    region: str
    saga_id: str
    waived: list[Any] = Field(default=[], sa_type=Json)
    """Facts that an approver let pass."""
    reason: str = ""
    """The approver's, where something was let pass; else the starter's."""
    decided_by: str | None = None
    """Person who let it pass, under the pseudonym."""
    decided_as: dict[str, Any] | None = Field(default=None, sa_type=Json)
    former: list[Any] = Field(default=[], sa_type=Json)
    """What was changed in delivery and ERP, with its former values."""
    deal: str | None = Field(default=None, index=True)
    """``RecordRef`` of the deal as text."""
    deal_former: dict[str, Any] | None = Field(default=None, sa_type=Json)
    """Fields of the deal before the first closing of any of its contracts; empty until it was told."""
    closed_at: datetime = Field(sa_type=Utc)
    reopen_saga_id: str | None = None
    reopened_because: str = ""
    reopened_at: datetime | None = Field(default=None, sa_type=Utc)
