"""Our own events, to be told to subscribers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UTC = sa.DateTime(timezone=True)
OPEN = sa.text("relayed_at IS NULL")


def upgrade() -> None:
    """Create both tables; what happened before is told to nobody."""
    op.create_table(
        "outgoing_event",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("trace_id", sa.String(), nullable=False),
        sa.Column("at", UTC, nullable=False),
        sa.Column("relayed_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outgoing_event")),
        sa.UniqueConstraint("event_id", name=op.f("uq_outgoing_event_event_id")),
    )
    op.create_index(
        "ix_outgoing_event_open",
        "outgoing_event",
        ["id"],
        unique=False,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
    op.create_table(
        "undelivered",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("subscription", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("gave_up_at", UTC, nullable=False),
        sa.Column("settled_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_undelivered")),
        sa.UniqueConstraint("event_id", "subscription", name=op.f("uq_undelivered_event_id_subscription")),
    )
    op.create_index("ix_undelivered_state", "undelivered", ["state", "subscription"], unique=False)


def downgrade() -> None:
    """Never: events that were not told would be forgotten.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError("the ledger is not migrated down; restore a backup instead")
