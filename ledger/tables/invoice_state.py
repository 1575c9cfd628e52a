"""Invoices and credits as we mean them, and what each target system was last told (rules 9, 25, 39)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Minor, Utc

_ONE_CREDIT = "kind = 'credit' AND state IN ('drafting', 'drafted', 'released')"


class InvoiceState(Table, table=True):
    """An invoice or credit in one target system, with the last version that was applied there."""

    __tablename__ = "invoice_state"
    __table_args__ = (
        UniqueConstraint("document", "target"),
        Index(
            "ux_invoice_state_one_open_credit",
            "corrects",
            unique=True,
            sqlite_where=text(_ONE_CREDIT),
            postgresql_where=text(_ONE_CREDIT),
        ),
        Index("ix_invoice_state_group", "group_key", "cycle"),
    )

    document: str
    target: str
    kind: str
    state: str = Field(index=True)
    group_key: str
    billing_group: dict[str, Any] = Field(sa_type=Json)
    cycle: str
    sequence: int
    corrects: str | None = None
    """Of credits: the invoice."""
    region: str
    legal_entity: str
    saga_id: str = Field(index=True)
    version: int = 0
    """Rises with every change of its lines."""
    applied: int | None = None
    """The version that the target shows, read back."""
    last_command: str | None = None
    lines: int = 0
    net_minor: int = Field(default=0, sa_type=Minor)
    """Sum of its allocations, in its currency."""
    currency: str
    record_id: str | None = None
    number: str | None = None
    told_net_minor: int | None = Field(default=None, sa_type=Minor)
    """As the target shows them."""
    tax_minor: int | None = Field(default=None, sa_type=Minor)
    gross_minor: int | None = Field(default=None, sa_type=Minor)
    on_day: date
    issued_on: date | None = None
    issued_at: datetime | None = Field(default=None, sa_type=Utc)
    proposal: dict[str, Any] | None = Field(default=None, sa_type=Json)
    """Of credits: the parts, as proposed, then as decided."""
    reason: str | None = None
    created_at: datetime = Field(sa_type=Utc)
    updated_at: datetime = Field(sa_type=Utc)
