"""Effects know when the saga asked for them: what a frozen worker brings back late is told apart."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Empty for effects from before: nothing overtakes them, as then."""
    op.add_column("effect", sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Forget it."""
    op.drop_column("effect", "asked_at")
