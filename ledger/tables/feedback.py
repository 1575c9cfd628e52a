"""What was read back from the ERP, how it is split over contracts, and what each target shows (rule 9)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Minor, Serial, Utc


class ErpInvoice(Table, table=True):
    """An invoice as it was last read in the ERP: the vendor's change stamp and a digest of the rest."""

    __tablename__ = "erp_invoice"
    __table_args__ = (UniqueConstraint("system", "record_id"),)

    system: str
    record_id: str
    number: str | None = Field(default=None, index=True)
    region: str
    legal_entity: str | None = None
    currency: str | None = None
    state: str
    status: str = Field(index=True)
    version: int
    """How many different states were applied."""
    modified_at: datetime | None = Field(default=None, sa_type=Utc)
    digest: str
    standing: dict[str, Any] = Field(sa_type=Json)
    """``canonical.feedback.InvoiceStanding``."""
    balance_minor: int = Field(default=0, sa_type=Minor)
    disputed: bool = False
    settled: bool = False
    issued_on: date | None = None
    due_on: date | None = None
    saga_id: str = Field(index=True)
    read_at: datetime = Field(sa_type=Utc)
    changed_at: datetime = Field(sa_type=Utc)
    """When the state last became another one for us."""


class InvoiceShare(Table, table=True):
    """What of an invoice falls to one contract, and whose figures it is part of (rule 41)."""

    __tablename__ = "invoice_share"
    __table_args__ = (
        UniqueConstraint("invoice_id", "contract_key"),
        Index("ix_invoice_share_contract_key", "contract_key"),
    )

    invoice_id: int = Field(foreign_key="erp_invoice.id", sa_type=Serial)
    contract_key: str
    deal: str | None = Field(default=None, index=True)
    """``RecordRef`` as text."""
    account: str | None = Field(default=None, index=True)
    currency: str
    net_minor: int = Field(sa_type=Minor)
    gross_minor: int = Field(sa_type=Minor)
    paid_minor: int = Field(sa_type=Minor)
    credited_minor: int = Field(sa_type=Minor)
    withheld_minor: int = Field(sa_type=Minor)
    written_off_minor: int = Field(sa_type=Minor)
    balance_minor: int = Field(sa_type=Minor)
    refunded_minor: int = Field(sa_type=Minor)
    rates: dict[str, Any] = Field(sa_type=Json)


class InvoiceApplication(Table, table=True):
    """A payment or credit that reduced an invoice when it was last read."""

    __tablename__ = "invoice_application"
    __table_args__ = (
        UniqueConstraint("invoice_id", "document"),
        Index("ix_invoice_application_document", "document"),
    )

    invoice_id: int = Field(foreign_key="erp_invoice.id", sa_type=Serial)
    document: str
    """``RecordRef`` as text."""
    kind: str
    number: str | None = None
    amount_minor: int = Field(sa_type=Minor)
    on_day: date | None = None


class ContractReach(Table, table=True):
    """Whom a contract's figures concern, its budget, and the revenue that was last read of it."""

    __tablename__ = "contract_reach"

    contract_key: str = Field(unique=True)
    deal: str | None = Field(default=None, index=True)
    account: str | None = Field(default=None, index=True)
    legal_entity: str | None = None
    currency: str
    budget_minor: int | None = Field(default=None, sa_type=Minor)
    rates: dict[str, Any] = Field(sa_type=Json)
    recognised_minor: int = Field(default=0, sa_type=Minor)
    deferred_minor: int = Field(default=0, sa_type=Minor)
    modified_at: datetime | None = Field(default=None, sa_type=Utc)
    digest: str | None = None
    """Of the revenue; empty while none was read."""


class FeedbackTarget(Table, table=True):
    """A record that shows figures: what it is to show, and what it showed when it was last written."""

    __tablename__ = "feedback_target"
    __table_args__ = (UniqueConstraint("target"),)

    target: str
    """``RecordRef`` as text."""
    kind: str
    subject: str = Field(index=True)
    region: str
    wanted: int = 0
    """Rises with every change of what it is made of."""
    applied: int = 0
    """The ``wanted`` that was current when what it shows was worked out."""
    wanted_since: datetime | None = Field(default=None, sa_type=Utc)
    """Since when it is behind; empty while it is not."""
    source_since: datetime | None = Field(default=None, sa_type=Utc)
    """When that happened in the ERP, where an event or a poll told it."""
    revision: int = 0
    """Of the figures that were last written, or are being written."""
    intended: str | None = None
    """Digest of the figures of ``revision``."""
    shown: str | None = None
    """Digest of the figures that it shows, read back."""
    figures: dict[str, Any] | None = Field(default=None, sa_type=Json)
    writes: int = 0
    holder: str | None = None
    """The attempt that may be writing."""
    held_until: datetime | None = Field(default=None, sa_type=Utc)
    saga_id: str
    """The last saga that had something to tell it."""
    failure: str | None = None
    applied_at: datetime | None = Field(default=None, sa_type=Utc)


class FeedbackClock(Table, table=True):
    """How long it took until a record showed what had happened in the ERP: for the service-level clock."""

    __tablename__ = "feedback_clock"
    __table_args__ = (Index("ix_feedback_clock_shown_at", "shown_at"),)

    target: str
    """``RecordRef`` as text."""
    kind: str
    region: str
    source_at: datetime | None = Field(default=None, sa_type=Utc)
    """When it happened in the ERP, where an event or a poll told it."""
    noted_at: datetime = Field(sa_type=Utc)
    """When it was read."""
    shown_at: datetime = Field(sa_type=Utc)
    saga_id: str
