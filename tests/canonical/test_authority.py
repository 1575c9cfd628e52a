"""Every field has exactly one owner in every phase; nobody else's field can be written."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.authority import AUTHORITY, Authority, Phase, UpdateRule, may_write
from canonical.refs import SystemRole

BEFORE, AFTER = Phase.BEFORE_APPROVAL, Phase.AFTER_APPROVAL


def test_every_field_has_one_owner_per_phase() -> None:
    rows = Counter((row.object, row.field, row.phase) for row in AUTHORITY)
    assert {key: count for key, count in rows.items() if count > 1} == {}


def test_every_row_says_why_and_what_survives_a_merge() -> None:
    assert all(row.reason and row.survivorship for row in AUTHORITY)


def test_a_field_known_before_approval_is_known_after_it() -> None:
    """Else an update after approval would be refused without anybody having decided so."""
    before = {(row.object, row.field) for row in AUTHORITY if row.phase is BEFORE}
    after = {(row.object, row.field) for row in AUTHORITY if row.phase is AFTER}
    seeds = {("project", name) for name in ("template", "client", "legal_entity")}
    assert before - after == seeds, "these are used once, when the project is made"


@given(one=st.sampled_from(AUTHORITY), role=st.sampled_from(SystemRole), phase=st.sampled_from(Phase))
def test_may_write_is_the_table_and_nothing_else(one: Authority, role: SystemRole, phase: Phase) -> None:
    allowed = may_write(one.object, one.field, phase, role)
    expected = [
        found
        for found in AUTHORITY
        if (found.object, found.field, found.phase) == (one.object, one.field, phase)
        and role in found.propagates_to
    ]
    assert allowed == (expected[0] if expected else None)


@pytest.mark.parametrize(
    ("field", "phase", "target", "allowed"),
    [
        ("client.tax_registration", BEFORE, SystemRole.ERP, True),
        ("client.tax_registration", AFTER, SystemRole.ERP, False),
        ("client.payment_terms", AFTER, SystemRole.CRM, False),
        ("contract.amount", BEFORE, SystemRole.ERP, True),
        ("contract.schedule", AFTER, SystemRole.ERP, True),
        ("project.code", BEFORE, SystemRole.ERP, False),
        ("project.code", AFTER, SystemRole.CRM, True),
        ("project.tasks", AFTER, SystemRole.PSA, False),
        ("invoice.number", AFTER, SystemRole.ERP, False),
        ("worker.cost_rate", BEFORE, SystemRole.ERP, False),
        ("worker.cost_rate", AFTER, SystemRole.CRM, False),
        ("client.shoe_size", BEFORE, SystemRole.ERP, False),
    ],
)
def test_what_finance_and_auditors_check(field: str, phase: Phase, target: SystemRole, allowed: bool) -> None:
    object_, _, name = field.partition(".")
    assert (may_write(object_, name, phase, target) is not None) is allowed


def test_approved_terms_change_through_change_orders_only() -> None:
    """Rule 8."""
    for name in ["lines", "amount", "currency", "rate_card", "caps", "purchase_order"]:
        row = next(
            row for row in AUTHORITY if (row.object, row.field, row.phase) == ("contract", name, AFTER)
        )
        assert row.update is UpdateRule.CHANGE_ORDER


def test_pay_is_never_written_anywhere() -> None:
    assert all(row.propagates_to == () for row in AUTHORITY if row.object == "worker")
