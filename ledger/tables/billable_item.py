"""What can be posted or billed: one row per source record and revision (rule 1)."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field

from ledger.tables.base import Table
from ledger.types import Json, Micro, Minor, Utc

BUCKETS = ("open", "held", "drafted", "billed", "written", "covered", "withdrawn")
"""Where an item's priced amount can be. Together they are the priced amount: the database checks it."""

_SUM = "priced_minor = " + " + ".join(f"{name}_minor" for name in BUCKETS)
_SIGNS = " OR ".join(
    f"(priced_minor {side} 0 AND " + " AND ".join(f"{name}_minor {side} 0" for name in BUCKETS) + ")"
    for side in (">=", "<=")
)
UNPOSTED = (
    "cost = 'unposted' AND piece IS NULL AND hold_cause IS NULL AND withdrawn IS NULL "
    "AND approved AND current"
)
TO_REVERSE = "withdrawn IS NOT NULL AND cost = 'posted'"
TO_MARK = "cost = 'posted' AND marked IS NULL"
TO_UNMARK = "cost = 'reversed' AND marked IS NOT NULL"
TO_CREDIT = "withdrawn IS NOT NULL AND billed_minor != 0"
"""What work there is, in the words of the partial indexes. A query says them literally (``sqlalchemy.text``):
with values as parameters no database can know that the index holds what is asked for: it reads every item.
"""


class BillableItem(Table, table=True):
    """A time entry, expense, milestone, schedule date, period or adjustment, and where its amount is."""

    __tablename__ = "billable_item"
    __table_args__ = (
        CheckConstraint(_SUM, name="ck_billable_item_adds_up"),
        CheckConstraint(_SIGNS, name="ck_billable_item_one_sign"),
        Index(
            "ux_billable_item_current",
            "source",
            unique=True,
            sqlite_where=text("current"),
            postgresql_where=text("current"),
        ),
        Index(
            "ix_billable_item_unposted",
            "psa",
            "id",
            sqlite_where=text(UNPOSTED),
            postgresql_where=text(UNPOSTED),
        ),
        Index(
            "ix_billable_item_to_reverse",
            "psa",
            "id",
            sqlite_where=text(TO_REVERSE),
            postgresql_where=text(TO_REVERSE),
        ),
        Index(
            "ix_billable_item_to_mark",
            "psa",
            "id",
            sqlite_where=text(TO_MARK),
            postgresql_where=text(TO_MARK),
        ),
        Index(
            "ix_billable_item_to_unmark",
            "psa",
            "id",
            sqlite_where=text(TO_UNMARK),
            postgresql_where=text(TO_UNMARK),
        ),
        Index(
            "ix_billable_item_to_credit",
            "id",
            sqlite_where=text(TO_CREDIT),
            postgresql_where=text(TO_CREDIT),
        ),
        Index(
            "ix_billable_item_to_bill",
            "group_key",
            "work_date",
            sqlite_where=text("billing = 'unbilled'"),
            postgresql_where=text("billing = 'unbilled'"),
        ),
        Index("ix_billable_item_worker", "worker", "work_date"),
        Index("ix_billable_item_contract", "contract_key", "work_date"),
    )

    item_key: str = Field(unique=True)
    source: str = Field(index=True)
    kind: str
    revision: str
    seen_revision: str
    """The latest revision that was read; not ``revision`` when it changed nothing of substance."""
    substance: str
    region: str
    psa: str | None = None
    erp: str | None = None
    contract_key: str | None = None
    line_key: str | None = None
    contract_version: int | None = None
    project_code: str | None = None
    legal_entity: str | None = None
    employing_entity: str | None = None
    project: str | None = None
    """The delivery system's project id."""
    worker: str | None = None
    """The delivery system's worker id."""
    work_date: date
    posting_date: date | None = None
    minutes: int = 0
    source_minor: int | None = Field(default=None, sa_type=Minor)
    """Of expenses: as incurred."""
    source_currency: str | None = None
    billable: bool
    approved: bool
    approved_at: datetime | None = Field(default=None, sa_type=Utc)
    changed_at: datetime = Field(sa_type=Utc)
    current: bool = True
    """Whether it is its source's latest revision."""
    replaces: str | None = Field(default=None, index=True)
    """Key of the posted item that it replaces."""

    cost: str
    billing: str = Field(index=True)
    method: str | None = None
    placed: bool = False
    unbilled_in_erp: bool = False
    """Whether the ERP counts it, or will, as not billed yet."""
    entered_erp: bool = False
    """Whether it entered the ERP's unbilled balance when it was posted."""
    hold_cause: str | None = Field(default=None, index=True)
    hold_queue: str | None = None
    hold_since: datetime | None = Field(default=None, sa_type=Utc)
    hold: dict[str, Any] | None = Field(default=None, sa_type=Json)
    withdrawn: str | None = None
    """Why its source is no longer what was posted: edited, rejected, deleted."""
    withdrawn_at: datetime | None = Field(default=None, sa_type=Utc)
    next_line: dict[str, Any] | None = Field(default=None, sa_type=Json)
    """A revision that arrived while a batch was under way; taken in when the batch is settled."""

    currency: str | None = None
    """Of the amounts below; empty while it is not priced."""
    priced_minor: int = Field(default=0, sa_type=Minor)
    open_minor: int = Field(default=0, sa_type=Minor)
    held_minor: int = Field(default=0, sa_type=Minor)
    drafted_minor: int = Field(default=0, sa_type=Minor)
    billed_minor: int = Field(default=0, sa_type=Minor)
    written_minor: int = Field(default=0, sa_type=Minor)
    covered_minor: int = Field(default=0, sa_type=Minor)
    withdrawn_minor: int = Field(default=0, sa_type=Minor)
    limit_minor: int | None = Field(default=None, sa_type=Minor)
    """Of fees that may be billed in part: how much so far."""
    open_minutes: int = 0
    parts: int = 0
    """Parts there have been; the next one is numbered after it."""
    rate: Decimal | None = Field(default=None, sa_type=Micro)
    rate_currency: str | None = None
    rate_version: int | None = None
    price: dict[str, Any] | None = Field(default=None, sa_type=Json)
    purchase_order: str | None = None
    group_key: str | None = None
    billing_group: dict[str, Any] | None = Field(default=None, sa_type=Json)

    turn: int = 1
    """How often it was posted, when it was taken back on purpose and posted again."""
    posting_id: str | None = None
    posted_at: datetime | None = Field(default=None, sa_type=Utc)
    posted_by: str | None = Field(default=None, index=True)
    """The piece that posted it."""
    reversal_id: str | None = None
    reversed_at: datetime | None = Field(default=None, sa_type=Utc)
    look_first: bool = False
    """A batch with it was never answered: look for it before it is sent again."""
    marked: str | None = None
    """The document that its mark in delivery names."""
    piece: str | None = Field(default=None, index=True)

    line: dict[str, Any] = Field(sa_type=Json)
    """The source line or the fee, as taken in."""
    placement: dict[str, Any] | None = Field(default=None, sa_type=Json)
    created_at: datetime = Field(sa_type=Utc)
    updated_at: datetime = Field(sa_type=Utc)
