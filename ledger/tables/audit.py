"""The audit trail: hash-chained rows, their heads, sealed batches, and personal values kept apart."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Utc


class Audit(Table, table=True):
    """One vendor write or human decision. Append-only: triggers refuse update and delete."""

    __tablename__ = "audit"
    __table_args__ = (UniqueConstraint("chain", "seq"),)

    chain: str
    """A system instance, or ``trueup`` for human decisions."""
    seq: int
    at: datetime = Field(sa_type=Utc)
    action: str
    saga_id: str | None = Field(default=None, index=True)
    effect_key: str | None = Field(default=None, index=True)
    record: str | None = Field(default=None, index=True)
    """``system/type/id``."""
    actor_id: str = Field(index=True)
    content: str
    """Canonical JSON text, kept as text so that no database re-formats what was hashed."""
    personal_digest: str | None = None
    prev_hash: str
    row_hash: str


class AuditHead(Table, table=True):
    """The end of each chain: who appends locks it, and a cut-off tail is noticed."""

    __tablename__ = "audit_head"

    chain: str = Field(unique=True)
    seq: int
    row_hash: str


class AuditSeal(Table, table=True):
    """A sealed batch: one hash over the batch's rows and the seal before it. Append-only."""

    __tablename__ = "audit_seal"
    __table_args__ = (UniqueConstraint("chain", "seq_to"),)

    chain: str
    seq_from: int
    seq_to: int
    prev_seal: str
    seal: str
    at: datetime = Field(sa_type=Utc)


class AuditPersonal(Table, table=True):
    """Personal values of an audit row, encrypted for one person; may be purged after retention."""

    __tablename__ = "audit_personal"
    __table_args__ = (UniqueConstraint("chain", "seq"),)

    chain: str
    seq: int
    person: str = Field(index=True)
    sealed: bytes
    at: datetime = Field(sa_type=Utc)
