"""Closings of contracts' projects."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UTC = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "project_closing",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("contract_key", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("project_code", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("saga_id", sa.String(), nullable=False),
        sa.Column("waived", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("decided_as", sa.JSON(), nullable=True),
        sa.Column("former", sa.JSON(), nullable=False),
        sa.Column("deal", sa.String(), nullable=True),
        sa.Column("deal_former", sa.JSON(), nullable=True),
        sa.Column("closed_at", UTC, nullable=False),
        sa.Column("reopen_saga_id", sa.String(), nullable=True),
        sa.Column("reopened_because", sa.String(), nullable=False),
        sa.Column("reopened_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_closing")),
        sa.UniqueConstraint("contract_key", "number", name=op.f("uq_project_closing_contract_key_number")),
    )
    op.create_index("ix_project_closing_state", "project_closing", ["state", "contract_key"], unique=False)
    op.create_index(
        "ix_project_closing_sagas", "project_closing", ["saga_id", "reopen_saga_id"], unique=False
    )
    op.create_index(op.f("ix_project_closing_deal"), "project_closing", ["deal"], unique=False)


def downgrade() -> None:
    """Never: what was before a closing would be forgotten.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError("the ledger is not migrated down; restore a backup instead")
