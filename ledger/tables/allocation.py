"""What becomes of the parts of items, and what their amounts were before (rules 1, 7). Append-only."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Minor, Serial, Utc

_FREES = "kind IN ('credited', 'released')"
_WITHIN = " OR ".join(
    f"(part_minor {side} 0 AND left_minor {side} 0 AND part_minor {side} left_minor)" for side in (">=", "<=")
)


class Allocation(Table, table=True):
    """A part of an item taken for something, or some of it given back. Part and release number are unique."""

    __tablename__ = "allocation"
    __table_args__ = (
        UniqueConstraint("item_id", "part", "release_no"),
        CheckConstraint(
            f"(release_no = 0 AND NOT {_FREES}) OR (release_no > 0 AND {_FREES})", name="ck_allocation_kind"
        ),
        CheckConstraint(_WITHIN, name="ck_allocation_within_part"),
        Index("ix_allocation_document", "document"),
        Index(
            "ix_allocation_held",
            "cause",
            sqlite_where=text("kind = 'held'"),
            postgresql_where=text("kind = 'held'"),
        ),
    )

    allocation_key: str = Field(unique=True)
    item_id: int = Field(foreign_key="billable_item.id", index=True, sa_type=Serial)
    part: int
    release_no: int = 0
    """0: the part is taken; n: the n-th time that some of it is given back."""
    kind: str
    minutes: int
    amount_minor: int = Field(sa_type=Minor)
    """Signed: what is given back has the opposite sign of its part."""
    currency: str
    part_minor: int = Field(sa_type=Minor)
    """What the part was taken with."""
    left_minor: int = Field(sa_type=Minor)
    """What of the part is left after this row."""
    left_minutes: int = 0
    billed_minor: int | None = Field(default=None, sa_type=Minor)
    """In the currency of the invoice or credit."""
    billed_currency: str | None = None
    document: str | None = None
    cause: str | None = None
    reason: str | None = None
    until: date | None = None
    at: datetime = Field(sa_type=Utc)


class Repricing(Table, table=True):
    """A change of what is not billed of an item, for example by a backdated rate: the trace of rule 7."""

    __tablename__ = "repricing"
    __table_args__ = (UniqueConstraint("item_id", "number"),)

    item_id: int = Field(foreign_key="billable_item.id", sa_type=Serial)
    number: int
    before_minor: int = Field(sa_type=Minor)
    after_minor: int = Field(sa_type=Minor)
    currency: str
    rate_version_before: int | None = None
    rate_version_after: int | None = None
    reason: str
    at: datetime = Field(sa_type=Utc, index=True)
