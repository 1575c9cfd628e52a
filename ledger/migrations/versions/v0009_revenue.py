"""Revenue follow-up: progress inputs by period, and how contracts stand."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UTC = sa.DateTime(timezone=True)
TEXT, NUMBER, AMOUNT = sa.String(), sa.Integer(), sa.BigInteger()


def _column(name: str, kind: Any, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=null)


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "progress_input",
        _column("id", SERIAL),
        _column("contract_key", TEXT),
        _column("line_key", TEXT),
        _column("period", TEXT),
        _column("revision", NUMBER),
        _column("digest", TEXT),
        _column("inputs", sa.JSON()),
        _column("saga_id", TEXT),
        _column("at", UTC),
        _column("sent_at", UTC, null=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_progress_input")),
        sa.UniqueConstraint(
            "contract_key",
            "period",
            "line_key",
            "revision",
            name=op.f("uq_progress_input_contract_key_period_line_key_revision"),
        ),
    )
    op.create_table(
        "contract_revenue",
        _column("id", SERIAL),
        _column("contract_key", TEXT),
        _column("name", TEXT),
        _column("period", TEXT),
        _column("legal_entity", TEXT),
        _column("erp", TEXT),
        _column("currency", TEXT),
        _column("booked_minor", AMOUNT),
        _column("delivered_minutes", NUMBER),
        _column("delivered_minor", AMOUNT, null=True),
        _column("billed_minor", AMOUNT),
        _column("recognised_minor", AMOUNT, null=True),
        _column("deferred_minor", AMOUNT, null=True),
        _column("state", TEXT),
        _column("revision", NUMBER),
        _column("findings", sa.JSON()),
        _column("differences", sa.JSON()),
        _column("settled", sa.Boolean()),
        _column("saga_id", TEXT),
        _column("at", UTC),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contract_revenue")),
        sa.UniqueConstraint("contract_key", "period", name=op.f("uq_contract_revenue_contract_key_period")),
    )
    op.create_index("ix_contract_revenue_entity", "contract_revenue", ["legal_entity", "period"])


def downgrade() -> None:
    """Never: what the ERP was told would be forgotten.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError("the ledger is not migrated down; restore a backup instead")
