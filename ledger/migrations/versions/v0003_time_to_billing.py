"""Time to billing: items and their allocations, accounts, documents, pieces and batches."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UTC = sa.DateTime(timezone=True)

APPEND_ONLY = (
    "allocation",
    "cap_use",
    "opening_position",
    "posting",
    "rate_version",
    "repricing",
    "retainer_movement",
)
"""Tables whose rows are evidence: the database itself refuses to change or delete them."""


def _column(name: str, kind: Any, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=null)


def _partial(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    op.create_index(
        name,
        table,
        columns,
        unique=unique,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "batch",
        _column("id", SERIAL),
        _column("batch_key", sa.String()),
        _column("system", sa.String()),
        _column("purpose", sa.String()),
        _column("number", sa.Integer()),
        _column("piece", sa.String()),
        _column("state", sa.String()),
        _column("lines", sa.Integer()),
        _column("ticket", sa.String(), null=True),
        _column("earlier", sa.Boolean()),
        _column("attempt_id", sa.String(), null=True),
        _column("deadline", UTC, null=True),
        _column("attempts", sa.Integer()),
        _column("detail", sa.JSON()),
        _column("landed", sa.Integer()),
        _column("refused", sa.Integer()),
        _column("retry", sa.Integer()),
        _column("created_at", UTC),
        _column("submitted_at", UTC, null=True),
        _column("settled_at", UTC, null=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch")),
        sa.UniqueConstraint("batch_key", name=op.f("uq_batch_batch_key")),
        sa.UniqueConstraint("system", "purpose", "number", name=op.f("uq_batch_system_purpose_number")),
    )
    op.create_index(op.f("ix_batch_piece"), "batch", ["piece"], unique=False)
    op.create_index(op.f("ix_batch_state"), "batch", ["state"], unique=False)
    op.create_table(
        "billable_item",
        _column("id", SERIAL),
        _column("item_key", sa.String()),
        _column("source", sa.String()),
        _column("kind", sa.String()),
        _column("revision", sa.String()),
        _column("seen_revision", sa.String()),
        _column("substance", sa.String()),
        _column("region", sa.String()),
        _column("psa", sa.String(), null=True),
        _column("erp", sa.String(), null=True),
        _column("contract_key", sa.String(), null=True),
        _column("line_key", sa.String(), null=True),
        _column("contract_version", sa.Integer(), null=True),
        _column("project_code", sa.String(), null=True),
        _column("legal_entity", sa.String(), null=True),
        _column("employing_entity", sa.String(), null=True),
        _column("project", sa.String(), null=True),
        _column("worker", sa.String(), null=True),
        _column("work_date", sa.Date()),
        _column("posting_date", sa.Date(), null=True),
        _column("minutes", sa.Integer()),
        _column("source_minor", sa.BigInteger(), null=True),
        _column("source_currency", sa.String(), null=True),
        _column("billable", sa.Boolean()),
        _column("approved", sa.Boolean()),
        _column("approved_at", UTC, null=True),
        _column("changed_at", UTC),
        _column("current", sa.Boolean()),
        _column("replaces", sa.String(), null=True),
        _column("cost", sa.String()),
        _column("billing", sa.String()),
        _column("method", sa.String(), null=True),
        _column("placed", sa.Boolean()),
        _column("unbilled_in_erp", sa.Boolean()),
        _column("entered_erp", sa.Boolean()),
        _column("hold_cause", sa.String(), null=True),
        _column("hold_queue", sa.String(), null=True),
        _column("hold_since", UTC, null=True),
        _column("hold", sa.JSON(), null=True),
        _column("withdrawn", sa.String(), null=True),
        _column("withdrawn_at", UTC, null=True),
        _column("next_line", sa.JSON(), null=True),
        _column("currency", sa.String(), null=True),
        _column("priced_minor", sa.BigInteger()),
        _column("open_minor", sa.BigInteger()),
        _column("held_minor", sa.BigInteger()),
        _column("drafted_minor", sa.BigInteger()),
        _column("billed_minor", sa.BigInteger()),
        _column("written_minor", sa.BigInteger()),
        _column("covered_minor", sa.BigInteger()),
        _column("withdrawn_minor", sa.BigInteger()),
        _column("limit_minor", sa.BigInteger(), null=True),
        _column("open_minutes", sa.Integer()),
        _column("parts", sa.Integer()),
        _column("rate", sa.BigInteger(), null=True),
        _column("rate_currency", sa.String(), null=True),
        _column("rate_version", sa.Integer(), null=True),
        _column("price", sa.JSON(), null=True),
        _column("purchase_order", sa.String(), null=True),
        _column("group_key", sa.String(), null=True),
        _column("billing_group", sa.JSON(), null=True),
        _column("turn", sa.Integer()),
        _column("posting_id", sa.String(), null=True),
        _column("posted_at", UTC, null=True),
        _column("posted_by", sa.String(), null=True),
        _column("reversal_id", sa.String(), null=True),
        _column("reversed_at", UTC, null=True),
        _column("look_first", sa.Boolean()),
        _column("marked", sa.String(), null=True),
        _column("piece", sa.String(), null=True),
        _column("line", sa.JSON()),
        _column("placement", sa.JSON(), null=True),
        _column("created_at", UTC),
        _column("updated_at", UTC),
        sa.CheckConstraint(
            "(priced_minor >= 0 AND open_minor >= 0 AND held_minor >= 0 AND drafted_minor >= 0 "
            "AND billed_minor >= 0 AND written_minor >= 0 AND covered_minor >= 0 AND "
            "withdrawn_minor >= 0) OR (priced_minor <= 0 AND open_minor <= 0 AND held_minor <= 0 "
            "AND drafted_minor <= 0 AND billed_minor <= 0 AND written_minor <= 0 AND "
            "covered_minor <= 0 AND withdrawn_minor <= 0)",
            name="ck_billable_item_one_sign",
        ),
        sa.CheckConstraint(
            "priced_minor = open_minor + held_minor + drafted_minor + billed_minor + "
            "written_minor + covered_minor + withdrawn_minor",
            name="ck_billable_item_adds_up",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billable_item")),
        sa.UniqueConstraint("item_key", name=op.f("uq_billable_item_item_key")),
    )
    op.create_index(op.f("ix_billable_item_billing"), "billable_item", ["billing"], unique=False)
    op.create_index("ix_billable_item_contract", "billable_item", ["contract_key", "work_date"], unique=False)
    op.create_index(op.f("ix_billable_item_hold_cause"), "billable_item", ["hold_cause"], unique=False)
    op.create_index(op.f("ix_billable_item_piece"), "billable_item", ["piece"], unique=False)
    op.create_index(op.f("ix_billable_item_posted_by"), "billable_item", ["posted_by"], unique=False)
    op.create_index(op.f("ix_billable_item_replaces"), "billable_item", ["replaces"], unique=False)
    op.create_index(op.f("ix_billable_item_source"), "billable_item", ["source"], unique=False)
    _partial("ix_billable_item_to_bill", "billable_item", ["group_key", "work_date"], "billing = 'unbilled'")
    _partial(
        "ix_billable_item_to_credit", "billable_item", ["id"], "withdrawn IS NOT NULL AND billed_minor != 0"
    )
    _partial("ix_billable_item_to_mark", "billable_item", ["psa", "id"], "cost = 'posted' AND marked IS NULL")
    _partial(
        "ix_billable_item_to_reverse",
        "billable_item",
        ["psa", "id"],
        "withdrawn IS NOT NULL AND cost = 'posted'",
    )
    _partial(
        "ix_billable_item_to_unmark",
        "billable_item",
        ["psa", "id"],
        "cost = 'reversed' AND marked IS NOT NULL",
    )
    _partial(
        "ix_billable_item_unposted",
        "billable_item",
        ["psa", "id"],
        "cost = 'unposted' AND piece IS NULL AND hold_cause IS NULL AND withdrawn IS "
        "NULL AND approved AND current",
    )
    op.create_index("ix_billable_item_worker", "billable_item", ["worker", "work_date"], unique=False)
    _partial("ux_billable_item_current", "billable_item", ["source"], "current", unique=True)
    op.create_table(
        "cap_use",
        _column("id", SERIAL),
        _column("cap_key", sa.String()),
        _column("number", sa.Integer()),
        _column("entry_key", sa.String()),
        _column("amount_minor", sa.BigInteger()),
        _column("used_minor", sa.BigInteger()),
        _column("limit_minor", sa.BigInteger()),
        _column("currency", sa.String()),
        _column("at", UTC),
        sa.CheckConstraint(
            "used_minor >= 0 AND (amount_minor <= 0 OR used_minor <= limit_minor)",
            name="ck_cap_use_within_limit",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cap_use")),
        sa.UniqueConstraint("cap_key", "entry_key", name=op.f("uq_cap_use_cap_key_entry_key")),
        sa.UniqueConstraint("cap_key", "number", name=op.f("uq_cap_use_cap_key_number")),
    )
    op.create_index(op.f("ix_cap_use_entry_key"), "cap_use", ["entry_key"], unique=False)
    op.create_table(
        "cursor",
        _column("id", SERIAL),
        _column("name", sa.String()),
        _column("value", sa.String()),
        _column("at", UTC),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cursor")),
        sa.UniqueConstraint("name", name=op.f("uq_cursor_name")),
    )
    op.create_table(
        "invoice_state",
        _column("id", SERIAL),
        _column("document", sa.String()),
        _column("target", sa.String()),
        _column("kind", sa.String()),
        _column("state", sa.String()),
        _column("group_key", sa.String()),
        _column("billing_group", sa.JSON()),
        _column("cycle", sa.String()),
        _column("sequence", sa.Integer()),
        _column("corrects", sa.String(), null=True),
        _column("region", sa.String()),
        _column("legal_entity", sa.String()),
        _column("saga_id", sa.String()),
        _column("version", sa.Integer()),
        _column("applied", sa.Integer(), null=True),
        _column("last_command", sa.String(), null=True),
        _column("lines", sa.Integer()),
        _column("net_minor", sa.BigInteger()),
        _column("currency", sa.String()),
        _column("record_id", sa.String(), null=True),
        _column("number", sa.String(), null=True),
        _column("told_net_minor", sa.BigInteger(), null=True),
        _column("tax_minor", sa.BigInteger(), null=True),
        _column("gross_minor", sa.BigInteger(), null=True),
        _column("on_day", sa.Date()),
        _column("issued_on", sa.Date(), null=True),
        _column("issued_at", UTC, null=True),
        _column("proposal", sa.JSON(), null=True),
        _column("reason", sa.String(), null=True),
        _column("created_at", UTC),
        _column("updated_at", UTC),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice_state")),
        sa.UniqueConstraint("document", "target", name=op.f("uq_invoice_state_document_target")),
    )
    op.create_index("ix_invoice_state_group", "invoice_state", ["group_key", "cycle"], unique=False)
    op.create_index(op.f("ix_invoice_state_saga_id"), "invoice_state", ["saga_id"], unique=False)
    op.create_index(op.f("ix_invoice_state_state"), "invoice_state", ["state"], unique=False)
    _partial(
        "ux_invoice_state_one_open_credit",
        "invoice_state",
        ["corrects"],
        "kind = 'credit' AND state IN ('drafting', 'drafted', 'released')",
        unique=True,
    )
    op.create_table(
        "opening_position",
        _column("id", SERIAL),
        _column("contract_key", sa.String()),
        _column("version", sa.Integer()),
        _column("position", sa.JSON()),
        _column("digest", sa.String()),
        _column("billed_minor", sa.BigInteger()),
        _column("currency", sa.String()),
        _column("last_billed_work_date", sa.Date(), null=True),
        _column("actor_id", sa.String()),
        _column("at", UTC),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_opening_position")),
        sa.UniqueConstraint("contract_key", "version", name=op.f("uq_opening_position_contract_key_version")),
    )
    op.create_table(
        "piece",
        _column("id", SERIAL),
        _column("piece_key", sa.String()),
        _column("psa", sa.String()),
        _column("erp", sa.String()),
        _column("saga_id", sa.String()),
        _column("state", sa.String()),
        _column("claimed", sa.Integer()),
        _column("more", sa.Boolean()),
        _column("until", UTC),
        _column("created_at", UTC),
        _column("closed_at", UTC, null=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_piece")),
        sa.UniqueConstraint("piece_key", name=op.f("uq_piece_piece_key")),
    )
    op.create_index("ix_piece_route", "piece", ["psa", "erp", "state"], unique=False)
    op.create_index(op.f("ix_piece_saga_id"), "piece", ["saga_id"], unique=False)
    op.create_table(
        "rate_version",
        _column("id", SERIAL),
        _column("contract_key", sa.String()),
        _column("number", sa.Integer()),
        _column("authority", sa.String()),
        _column("label", sa.String()),
        _column("card", sa.JSON()),
        _column("digest", sa.String()),
        _column("at", UTC),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rate_version")),
        sa.UniqueConstraint("contract_key", "number", name=op.f("uq_rate_version_contract_key_number")),
    )
    op.create_table(
        "retainer_movement",
        _column("id", SERIAL),
        _column("account", sa.String()),
        _column("number", sa.Integer()),
        _column("movement_key", sa.String()),
        _column("kind", sa.String()),
        _column("lot", sa.String()),
        _column("lot_opened_on", sa.Date()),
        _column("lot_rolled", sa.Integer()),
        _column("on_day", sa.Date()),
        _column("amount_minor", sa.BigInteger()),
        _column("lot_minor", sa.BigInteger()),
        _column("balance_minor", sa.BigInteger()),
        _column("currency", sa.String()),
        _column("document", sa.String(), null=True),
        _column("at", UTC),
        sa.CheckConstraint("lot_minor >= 0 AND balance_minor >= 0", name="ck_retainer_movement_not_negative"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retainer_movement")),
        sa.UniqueConstraint("account", "number", name=op.f("uq_retainer_movement_account_number")),
        sa.UniqueConstraint("movement_key", name=op.f("uq_retainer_movement_movement_key")),
    )
    op.create_index(op.f("ix_retainer_movement_document"), "retainer_movement", ["document"], unique=False)
    op.create_table(
        "allocation",
        _column("id", SERIAL),
        _column("allocation_key", sa.String()),
        _column("item_id", SERIAL),
        _column("part", sa.Integer()),
        _column("release_no", sa.Integer()),
        _column("kind", sa.String()),
        _column("minutes", sa.Integer()),
        _column("amount_minor", sa.BigInteger()),
        _column("currency", sa.String()),
        _column("part_minor", sa.BigInteger()),
        _column("left_minor", sa.BigInteger()),
        _column("left_minutes", sa.Integer()),
        _column("billed_minor", sa.BigInteger(), null=True),
        _column("billed_currency", sa.String(), null=True),
        _column("document", sa.String(), null=True),
        _column("cause", sa.String(), null=True),
        _column("reason", sa.String(), null=True),
        _column("until", sa.Date(), null=True),
        _column("at", UTC),
        sa.CheckConstraint(
            "(release_no = 0 AND NOT kind IN ('credited', 'released')) OR (release_no > 0 AND "
            "kind IN ('credited', 'released'))",
            name="ck_allocation_kind",
        ),
        sa.CheckConstraint(
            "(part_minor >= 0 AND left_minor >= 0 AND part_minor >= left_minor) OR (part_minor <= "
            "0 AND left_minor <= 0 AND part_minor <= left_minor)",
            name="ck_allocation_within_part",
        ),
        sa.ForeignKeyConstraint(
            ["item_id"], ["billable_item.id"], name=op.f("fk_allocation_item_id_billable_item")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_allocation")),
        sa.UniqueConstraint("allocation_key", name=op.f("uq_allocation_allocation_key")),
        sa.UniqueConstraint(
            "item_id", "part", "release_no", name=op.f("uq_allocation_item_id_part_release_no")
        ),
    )
    op.create_index("ix_allocation_document", "allocation", ["document"], unique=False)
    _partial("ix_allocation_held", "allocation", ["cause"], "kind = 'held'")
    op.create_index(op.f("ix_allocation_item_id"), "allocation", ["item_id"], unique=False)
    op.create_table(
        "batch_line",
        _column("id", SERIAL),
        _column("batch_id", SERIAL),
        _column("line", sa.Integer()),
        _column("item_id", SERIAL),
        _column("purpose", sa.String()),
        _column("turn", sa.Integer()),
        _column("state", sa.String()),
        _column("record_id", sa.String(), null=True),
        _column("cause", sa.String(), null=True),
        _column("message", sa.String(), null=True),
        _column("vendor_code", sa.String(), null=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name=op.f("fk_batch_line_batch_id_batch")),
        sa.ForeignKeyConstraint(
            ["item_id"], ["billable_item.id"], name=op.f("fk_batch_line_item_id_billable_item")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch_line")),
        sa.UniqueConstraint("batch_id", "line", name=op.f("uq_batch_line_batch_id_line")),
    )
    op.create_index(op.f("ix_batch_line_item_id"), "batch_line", ["item_id"], unique=False)
    _partial(
        "ux_batch_line_once",
        "batch_line",
        ["item_id", "purpose", "turn"],
        "state IN ('open', 'landed')",
        unique=True,
    )
    op.create_table(
        "posting",
        _column("id", SERIAL),
        _column("item_id", SERIAL),
        _column("turn", sa.Integer()),
        _column("kind", sa.String()),
        _column("record_id", sa.String(), null=True),
        _column("legal_entity", sa.String(), null=True),
        _column("currency", sa.String(), null=True),
        _column("amount_minor", sa.BigInteger()),
        _column("at", UTC),
        sa.ForeignKeyConstraint(
            ["item_id"], ["billable_item.id"], name=op.f("fk_posting_item_id_billable_item")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_posting")),
        sa.UniqueConstraint("item_id", "turn", "kind", name=op.f("uq_posting_item_id_turn_kind")),
    )
    op.create_index("ix_posting_entity", "posting", ["legal_entity", "at"], unique=False)
    op.create_table(
        "repricing",
        _column("id", SERIAL),
        _column("item_id", SERIAL),
        _column("number", sa.Integer()),
        _column("before_minor", sa.BigInteger()),
        _column("after_minor", sa.BigInteger()),
        _column("currency", sa.String()),
        _column("rate_version_before", sa.Integer(), null=True),
        _column("rate_version_after", sa.Integer(), null=True),
        _column("reason", sa.String()),
        _column("at", UTC),
        sa.ForeignKeyConstraint(
            ["item_id"], ["billable_item.id"], name=op.f("fk_repricing_item_id_billable_item")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repricing")),
        sa.UniqueConstraint("item_id", "number", name=op.f("uq_repricing_item_id_number")),
    )
    op.create_index(op.f("ix_repricing_at"), "repricing", ["at"], unique=False)
    _protect()


def _protect() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in APPEND_ONLY:
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        return
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION trueup_append_only()"
        )


def downgrade() -> None:
    """Never: it would destroy the evidence of what was posted and billed.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError("the ledger is not migrated down; restore a backup instead")
