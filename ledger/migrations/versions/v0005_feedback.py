"""Invoice feedback: what was read back from the ERP, its split, and what each target shows."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UTC = sa.DateTime(timezone=True)
TEXT, NUMBER, AMOUNT = sa.String(), sa.Integer(), sa.BigInteger()


def _column(name: str, kind: Any, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=null)


def _id(table: str) -> tuple[Any, ...]:
    return _column("id", SERIAL), sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}"))


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))


def _of_invoice(table: str) -> Any:
    name = op.f(f"fk_{table}_invoice_id_erp_invoice")
    return sa.ForeignKeyConstraint(["invoice_id"], ["erp_invoice.id"], name=name)


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "erp_invoice",
        *_id("erp_invoice"),
        _column("system", TEXT),
        _column("record_id", TEXT),
        _column("number", TEXT, null=True),
        _column("region", TEXT),
        _column("legal_entity", TEXT, null=True),
        _column("currency", TEXT, null=True),
        _column("state", TEXT),
        _column("status", TEXT),
        _column("version", NUMBER),
        _column("modified_at", UTC, null=True),
        _column("digest", TEXT),
        _column("standing", sa.JSON()),
        _column("balance_minor", AMOUNT),
        _column("disputed", sa.Boolean()),
        _column("settled", sa.Boolean()),
        _column("issued_on", sa.Date(), null=True),
        _column("due_on", sa.Date(), null=True),
        _column("saga_id", TEXT),
        _column("read_at", UTC),
        _column("changed_at", UTC),
        sa.UniqueConstraint("system", "record_id", name=op.f("uq_erp_invoice_system_record_id")),
    )
    for name in ("number", "status", "saga_id"):
        _index("erp_invoice", name)
    op.create_table(
        "invoice_share",
        *_id("invoice_share"),
        _column("invoice_id", SERIAL),
        _column("contract_key", TEXT),
        _column("deal", TEXT, null=True),
        _column("account", TEXT, null=True),
        _column("currency", TEXT),
        *(
            _column(f"{name}_minor", AMOUNT)
            for name in (
                "net", "gross", "paid", "credited", "withheld", "written_off", "balance", "refunded",
            )
        ),
        _column("rates", sa.JSON()),
        _of_invoice("invoice_share"),
        sa.UniqueConstraint(
            "invoice_id", "contract_key", name=op.f("uq_invoice_share_invoice_id_contract_key")
        ),
    )  # fmt: skip
    for name in ("contract_key", "deal", "account"):
        _index("invoice_share", name)
    op.create_table(
        "invoice_application",
        *_id("invoice_application"),
        _column("invoice_id", SERIAL),
        _column("document", TEXT),
        _column("kind", TEXT),
        _column("number", TEXT, null=True),
        _column("amount_minor", AMOUNT),
        _column("on_day", sa.Date(), null=True),
        _of_invoice("invoice_application"),
        sa.UniqueConstraint(
            "invoice_id", "document", name=op.f("uq_invoice_application_invoice_id_document")
        ),
    )
    _index("invoice_application", "document")
    op.create_table(
        "contract_reach",
        *_id("contract_reach"),
        _column("contract_key", TEXT),
        _column("deal", TEXT, null=True),
        _column("account", TEXT, null=True),
        _column("legal_entity", TEXT, null=True),
        _column("currency", TEXT),
        _column("budget_minor", AMOUNT, null=True),
        _column("rates", sa.JSON()),
        _column("recognised_minor", AMOUNT),
        _column("deferred_minor", AMOUNT),
        _column("modified_at", UTC, null=True),
        _column("digest", TEXT, null=True),
        sa.UniqueConstraint("contract_key", name=op.f("uq_contract_reach_contract_key")),
    )
    for name in ("deal", "account"):
        _index("contract_reach", name)
    op.create_table(
        "feedback_target",
        *_id("feedback_target"),
        _column("target", TEXT),
        _column("kind", TEXT),
        _column("subject", TEXT),
        _column("region", TEXT),
        _column("wanted", NUMBER),
        _column("applied", NUMBER),
        _column("wanted_since", UTC, null=True),
        _column("source_since", UTC, null=True),
        _column("revision", NUMBER),
        _column("intended", TEXT, null=True),
        _column("shown", TEXT, null=True),
        _column("figures", sa.JSON(), null=True),
        _column("writes", NUMBER),
        _column("holder", TEXT, null=True),
        _column("held_until", UTC, null=True),
        _column("saga_id", TEXT),
        _column("failure", TEXT, null=True),
        _column("applied_at", UTC, null=True),
        sa.UniqueConstraint("target", name=op.f("uq_feedback_target_target")),
    )
    _index("feedback_target", "subject")
    op.create_table(
        "feedback_clock",
        *_id("feedback_clock"),
        _column("target", TEXT),
        _column("kind", TEXT),
        _column("region", TEXT),
        _column("source_at", UTC, null=True),
        _column("noted_at", UTC),
        _column("shown_at", UTC),
        _column("saga_id", TEXT),
    )
    _index("feedback_clock", "shown_at")


def downgrade() -> None:
    """Remove everything."""
    for table in (
        "feedback_clock",
        "feedback_target",
        "contract_reach",
        "invoice_application",
        "invoice_share",
        "erp_invoice",
    ):
        op.drop_table(table)
