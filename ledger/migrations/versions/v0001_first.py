"""The first schema: effects and what surrounds them, cases, decisions, contracts, the audit trail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UTC = sa.DateTime(timezone=True)

APPEND_ONLY = ("audit", "audit_seal", "decision", "contract_version", "baseline", "tombstone")
"""Tables whose rows are evidence: the database itself refuses to change or delete them."""


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "audit",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", UTC, nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("saga_id", sa.String(), nullable=True),
        sa.Column("effect_key", sa.String(), nullable=True),
        sa.Column("record", sa.String(), nullable=True),
        sa.Column("actor_id", sa.String(), nullable=False),
        sa.Column("content", sa.String(), nullable=False),
        sa.Column("personal_digest", sa.String(), nullable=True),
        sa.Column("prev_hash", sa.String(), nullable=False),
        sa.Column("row_hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sa.UniqueConstraint("chain", "seq", name=op.f("uq_audit_chain_seq")),
    )
    op.create_index(op.f("ix_audit_actor_id"), "audit", ["actor_id"], unique=False)
    op.create_index(op.f("ix_audit_effect_key"), "audit", ["effect_key"], unique=False)
    op.create_index(op.f("ix_audit_record"), "audit", ["record"], unique=False)
    op.create_index(op.f("ix_audit_saga_id"), "audit", ["saga_id"], unique=False)
    op.create_table(
        "audit_head",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("row_hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
        sa.UniqueConstraint("chain", name=op.f("uq_audit_head_chain")),
    )
    op.create_table(
        "audit_personal",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_personal")),
        sa.UniqueConstraint("chain", "seq", name=op.f("uq_audit_personal_chain_seq")),
    )
    op.create_index(op.f("ix_audit_personal_person"), "audit_personal", ["person"], unique=False)
    op.create_table(
        "audit_seal",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("seq_from", sa.Integer(), nullable=False),
        sa.Column("seq_to", sa.Integer(), nullable=False),
        sa.Column("prev_seal", sa.String(), nullable=False),
        sa.Column("seal", sa.String(), nullable=False),
        sa.Column("at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_seal")),
        sa.UniqueConstraint("chain", "seq_to", name=op.f("uq_audit_seal_chain_seq_to")),
    )
    op.create_table(
        "baseline",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("contract_key", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("contract_version", sa.Integer(), nullable=False),
        sa.Column("systems", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("saga_id", sa.String(), nullable=False),
        sa.Column("at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_baseline")),
        sa.UniqueConstraint("contract_key", "version", name=op.f("uq_baseline_contract_key_version")),
    )
    op.create_table(
        "contract_version",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("contract_key", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("effective_on", sa.Date(), nullable=True),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("saga_id", sa.String(), nullable=False),
        sa.Column("at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contract_version")),
        sa.UniqueConstraint("contract_key", "version", name=op.f("uq_contract_version_contract_key_version")),
    )
    op.create_table(
        "decision",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("command_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("saga_id", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("case_id", sa.String(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("actor_id", sa.String(), nullable=False),
        sa.Column("actor", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("after", sa.JSON(), nullable=True),
        sa.Column("at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decision")),
        sa.UniqueConstraint("command_id", name=op.f("uq_decision_command_id")),
    )
    op.create_index(op.f("ix_decision_case_id"), "decision", ["case_id"], unique=False)
    op.create_index(op.f("ix_decision_saga_id"), "decision", ["saga_id"], unique=False)
    op.create_table(
        "effect",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("operation", sa.String(), nullable=False),
        sa.Column("record_type", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("saga_id", sa.String(), nullable=False),
        sa.Column("step_key", sa.String(), nullable=False),
        sa.Column("business_key", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("shared", sa.String(), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("forward_only", sa.Boolean(), nullable=False),
        sa.Column("write", sa.JSON(), nullable=False),
        sa.Column("body_hash", sa.String(), nullable=False),
        sa.Column("sent_hashes", sa.JSON(), nullable=False),
        sa.Column("links", sa.JSON(), nullable=False),
        sa.Column("attempt_id", sa.String(), nullable=False),
        sa.Column("attempt_saga_id", sa.String(), nullable=False),
        sa.Column("attempt_step_key", sa.String(), nullable=False),
        sa.Column("actor_id", sa.String(), nullable=False),
        sa.Column("actor", sa.JSON(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("deadline", UTC, nullable=False),
        sa.Column("released", sa.Boolean(), nullable=False),
        sa.Column("uncertain", sa.Boolean(), nullable=False),
        sa.Column("failure", sa.JSON(), nullable=True),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("landed", sa.JSON(), nullable=True),
        sa.Column("record_id", sa.String(), nullable=True),
        sa.Column("created_by_us", sa.Boolean(), nullable=True),
        sa.Column("landed_late", sa.Boolean(), nullable=False),
        sa.Column("undo_outcome", sa.JSON(), nullable=True),
        sa.Column("undo_failure", sa.JSON(), nullable=True),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=False),
        sa.Column("done_at", UTC, nullable=True),
        sa.Column("undone_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_effect")),
        sa.UniqueConstraint("key", name=op.f("uq_effect_key")),
    )
    op.create_index(op.f("ix_effect_business_key"), "effect", ["business_key"], unique=False)
    op.create_index("ix_effect_record", "effect", ["system", "record_type", "record_id"], unique=False)
    op.create_index(op.f("ix_effect_saga_id"), "effect", ["saga_id"], unique=False)
    op.create_index(op.f("ix_effect_shared"), "effect", ["shared"], unique=False)
    op.create_index(op.f("ix_effect_state"), "effect", ["state"], unique=False)
    op.create_index(op.f("ix_effect_step_key"), "effect", ["step_key"], unique=False)
    op.create_table(
        "exception_case",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("saga_id", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("business_key", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("transient", sa.Boolean(), nullable=False),
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("system", sa.String(), nullable=True),
        sa.Column("failure", sa.JSON(), nullable=False),
        sa.Column("at_stake_minor", sa.BigInteger(), nullable=True),
        sa.Column("at_stake_currency", sa.String(), nullable=True),
        sa.Column("at_stake_role", sa.String(), nullable=True),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("links", sa.JSON(), nullable=False),
        sa.Column("opened_at", UTC, nullable=False),
        sa.Column("first_opened_at", UTC, nullable=False),
        sa.Column("times_opened", sa.Integer(), nullable=False),
        sa.Column("escalated_at", UTC, nullable=True),
        sa.Column("escalated_to", sa.String(), nullable=True),
        sa.Column("escalations", sa.Integer(), nullable=False),
        sa.Column("closed_at", UTC, nullable=True),
        sa.Column("resolution", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exception_case")),
        sa.UniqueConstraint("case_id", name=op.f("uq_exception_case_case_id")),
    )
    op.create_index(op.f("ix_exception_case_business_key"), "exception_case", ["business_key"], unique=False)
    op.create_index(op.f("ix_exception_case_cause"), "exception_case", ["cause"], unique=False)
    op.create_index(op.f("ix_exception_case_queue"), "exception_case", ["queue"], unique=False)
    op.create_index(op.f("ix_exception_case_saga_id"), "exception_case", ["saga_id"], unique=False)
    op.create_index(op.f("ix_exception_case_state"), "exception_case", ["state"], unique=False)
    op.create_table(
        "holder",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("shared_key", sa.String(), nullable=False),
        sa.Column("saga_id", sa.String(), nullable=False),
        sa.Column("step_key", sa.String(), nullable=False),
        sa.Column("at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holder")),
        sa.UniqueConstraint(
            "shared_key", "saga_id", "step_key", name=op.f("uq_holder_shared_key_saga_id_step_key")
        ),
    )
    op.create_index(op.f("ix_holder_saga_id"), "holder", ["saga_id"], unique=False)
    op.create_index(op.f("ix_holder_step_key"), "holder", ["step_key"], unique=False)
    op.create_table(
        "link",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("record_id", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("created_by_us", sa.Boolean(), nullable=False),
        sa.Column("adopted", sa.Boolean(), nullable=False),
        sa.Column("effect_key", sa.String(), nullable=True),
        sa.Column("saga_id", sa.String(), nullable=True),
        sa.Column("at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_link")),
        sa.UniqueConstraint("kind", "key", "system", "type", name=op.f("uq_link_kind_key_system_type")),
    )
    op.create_index(op.f("ix_link_effect_key"), "link", ["effect_key"], unique=False)
    op.create_index("ix_link_record", "link", ["system", "type", "record_id"], unique=False)
    op.create_table(
        "mapping",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mapping")),
        sa.UniqueConstraint("digest", name=op.f("uq_mapping_digest")),
    )
    op.create_index(op.f("ix_mapping_system"), "mapping", ["system"], unique=False)
    op.create_table(
        "person",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("pseudonym", sa.String(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_name", sa.LargeBinary(), nullable=True),
        sa.Column("at", UTC, nullable=False),
        sa.Column("erased_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
        sa.UniqueConstraint("pseudonym", name=op.f("uq_person_pseudonym")),
    )
    op.create_table(
        "saga",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("saga_id", sa.String(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("saga", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("business_key", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("start_id", sa.String(), nullable=False),
        sa.Column("actor_id", sa.String(), nullable=False),
        sa.Column("actor", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("trace_id", sa.String(), nullable=False),
        sa.Column("mapping", sa.JSON(), nullable=False),
        sa.Column("view", sa.JSON(), nullable=True),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("started_at", UTC, nullable=False),
        sa.Column("updated_at", UTC, nullable=False),
        sa.Column("finished_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saga")),
        sa.UniqueConstraint("saga_id", "generation", name=op.f("uq_saga_saga_id_generation")),
    )
    op.create_index(op.f("ix_saga_business_key"), "saga", ["business_key"], unique=False)
    op.create_index(op.f("ix_saga_region"), "saga", ["region"], unique=False)
    op.create_index(op.f("ix_saga_started_at"), "saga", ["started_at"], unique=False)
    op.create_index(op.f("ix_saga_status"), "saga", ["status"], unique=False)
    op.create_table(
        "tombstone",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("step_key", sa.String(), nullable=False),
        sa.Column("saga_id", sa.String(), nullable=False),
        sa.Column("actor_id", sa.String(), nullable=False),
        sa.Column("at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tombstone")),
        sa.UniqueConstraint("step_key", name=op.f("uq_tombstone_step_key")),
    )
    op.create_index(op.f("ix_tombstone_saga_id"), "tombstone", ["saga_id"], unique=False)
    _protect()


def _protect() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in APPEND_ONLY:
            for verb in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        op.execute(
            "CREATE TRIGGER audit_personal_no_update BEFORE UPDATE ON audit_personal "
            "BEGIN SELECT RAISE(ABORT, 'audit_personal is append-only'); END"
        )
        return
    op.execute(
        "CREATE FUNCTION trueup_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; END $$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION trueup_append_only()"
        )
    # Personal values may be deleted after their retention, never changed.
    op.execute(
        "CREATE TRIGGER audit_personal_no_update BEFORE UPDATE ON audit_personal "
        "FOR EACH STATEMENT EXECUTE FUNCTION trueup_append_only()"
    )


def downgrade() -> None:
    """Never: it would destroy the evidence of what was sent.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError("the ledger is not migrated down; restore a backup instead")
