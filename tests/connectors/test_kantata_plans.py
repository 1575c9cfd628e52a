"""Kantata: pure plans. Authority of every field, keys, currencies, what the template brings."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from canonical.authority import Phase, may_write
from canonical.causes import Cause
from canonical.delivered import ExportMark, LineKind
from canonical.delivery import DeliveryTemplate, RolePlaceholder
from canonical.failures import (
    Defect,
    Refused,
)
from canonical.money import Money
from canonical.refs import SystemRole
from canonical.writes import VendorWrite, show
from connectors.kantata import billing_plans, plans, updates
from connectors.kantata.settings import KantataSettings
from connectors.kit.secrets import Secret
from tests.acceptance.kantata import Subject

MAPPING = Subject.mapping()
SETTINGS = KantataSettings(token=Secret(env="KANTATA_TEST_TOKEN"), mapping=MAPPING)
SETUP = Subject.setup()
CONTEXT = Subject.context()
AFTER = CONTEXT.model_copy(update={"phase": Phase.AFTER_APPROVAL})
SYSTEM = "kantata-main"


# --- plans -------------------------------------------------------------------------------------------


def later_writes() -> list[VendorWrite]:
    money = Money(amount=Decimal("100"), currency="EUR")
    lines = [ExportMark(kind=LineKind.TIME, id="1", document="INV-1")]
    invoice = billing_plans.InvoiceCopy(
        key="INV-1",
        number="INV-1",
        project="901",
        time_entry_ids=("1",),
        issued_on=date(2026, 2, 1),
        payment_days=30,
        purchase_order="PO1",
        project_code="P1",
    )
    payment = billing_plans.FullPayment(key="INV-1", project="901", invoice="7", receipt="R 88")
    revenue = billing_plans.Recognition(
        key="2026-01",
        project="901",
        first=date(2026, 1, 1),
        last=date(2026, 1, 31),
        amount=money,
        to_date=money,
    )
    return [
        *billing_plans.plan_marks(SYSTEM, SETTINGS, AFTER, lines),
        billing_plans.plan_invoice(SYSTEM, SETTINGS, AFTER, invoice),
        billing_plans.plan_payment(SYSTEM, SETTINGS, AFTER, payment),
        billing_plans.plan_revenue(SYSTEM, SETTINGS, AFTER, revenue),
    ]


def all_writes() -> list[VendorWrite]:
    several = SETTINGS.model_copy(
        update={"mapping": Subject.mapping(approver_ids=(1, 2), active_stage="project")}
    )
    single = SETTINGS.model_copy(update={"mapping": Subject.mapping(approver_ids=(1,))})
    return [
        *plans.plan_client(SYSTEM, several, CONTEXT, SETUP),
        *plans.plan_project(SYSTEM, several, CONTEXT, SETUP),
        *plans.plan_project(SYSTEM, single, CONTEXT, SETUP),
        *plans.plan_structure(SYSTEM, SETTINGS, CONTEXT, SETUP),
        *updates.plan_activation(SYSTEM, several, AFTER, SETUP),
        *later_writes(),
    ]


@pytest.mark.parametrize("write", all_writes(), ids=lambda write: write.operation)
def test_every_body_field_is_one_that_delivery_may_be_told(write: VendorWrite) -> None:
    assert write.body_root is not None
    assert set(write.body) == {write.body_root}
    assert set(write.sets) == set(write.body[write.body_root])
    for canonical in write.sets.values():
        object_, _, field = canonical.partition(".")
        assert may_write(object_, field, write.phase, SystemRole.PSA), f"{canonical} in {write.phase}"


def test_plans_are_the_same_every_time_and_survive_json() -> None:
    first, second = all_writes(), all_writes()
    assert first == second
    assert [VendorWrite.model_validate_json(write.model_dump_json()) for write in first] == first


def test_the_template_s_positions_get_rates_and_only_the_missing_ones_are_made() -> None:
    writes = plans.plan_structure(SYSTEM, SETTINGS, CONTEXT, SETUP)
    delivery = "delivery:006XX0001.DE01.EUR.emea.IMPL"
    assert [(write.operation, show(write.target)) for write in writes] == [
        ("set_rate", f"@{delivery}.placeholder.architect.1"),
        ("set_rate", f"@{delivery}.placeholder.consultant.1"),
        ("add_placeholder", None),
        ("set_rate", "@position:006XX0001.DE01.EUR.emea.IMPL.consultant.2.id"),
        ("add_milestone", None),
    ]
    assert writes[2].symbol == "position:006XX0001.DE01.EUR.emea.IMPL.consultant.2"
    assert [write.body["workspace_resource"].get("bill_rate") for write in writes[:-1]] == [
        "21050", "15000", None, "15000",
    ]  # fmt: skip
    assert len({write.key for write in writes}) == len(writes)


@pytest.mark.parametrize(
    ("currency", "amount", "cents", "rate"),
    [("JPY", "5000000", 5000000, "15000"), ("KWD", "1234.567", 1234567, "15000000")],
)
def test_other_minor_units(currency: str, amount: str, cents: int, rate: str) -> None:
    people = (RolePlaceholder(key="c", role="Consultant", bill_rate=Decimal("15000")),)
    setup = Subject.setup(currency=currency, amount=amount, placeholders=people)
    bill, milestone = plans.plan_structure(SYSTEM, SETTINGS, CONTEXT, setup)
    assert milestone.body["story"]["budget_estimate_in_cents"] == cents
    assert bill.body["workspace_resource"]["bill_rate"] == rate
    project = plans.plan_project(SYSTEM, SETTINGS, CONTEXT, setup)[0]
    assert project.body["workspace"]["price"] == project.expect["price"] == amount


def test_a_rate_finer_than_kantata_s_is_refused_and_never_rounded() -> None:
    people = (RolePlaceholder(key="c", role="Consultant", bill_rate=Decimal("150.005")),)
    setup = Subject.setup(placeholders=people)
    with pytest.raises(Refused, match=r"150\.005 EUR") as refusal:
        plans.plan_structure(SYSTEM, SETTINGS, CONTEXT, setup)
    assert refusal.value.failure.cause is Cause.PRICE_DIFFERS
    units = SETTINGS.model_copy(update={"mapping": Subject.mapping(bill_rate_unit="units")})
    assert plans.plan_structure(SYSTEM, units, CONTEXT, setup)[0].expect == {"bill_rate": "150.005"}


def test_a_plan_without_the_role_s_id_or_with_mixed_currencies_is_our_defect() -> None:
    bare = SETUP.model_copy(update={"role_ids": {}, "template": DeliveryTemplate(id="300", title="I")})
    with pytest.raises(Defect, match="architect"):
        plans.plan_structure(SYSTEM, SETTINGS, CONTEXT, bare)
    project = SETUP.project.model_copy(update={"currency": "USD"})
    with pytest.raises(Defect, match="budget in EUR"):
        plans.plan_project(SYSTEM, SETTINGS, CONTEXT, SETUP.model_copy(update={"project": project}))
    with pytest.raises(Defect, match="not the project's currency"):
        plans.plan_structure(SYSTEM, SETTINGS, CONTEXT, SETUP.model_copy(update={"project": project}))


def test_keys_are_business_identity_and_the_group_is_shared() -> None:
    [group] = plans.plan_client(SYSTEM, SETTINGS, CONTEXT, SETUP)
    [project] = plans.plan_project(SYSTEM, SETTINGS, CONTEXT, SETUP)
    assert group.key == f"{SYSTEM}|ensure_group|001XX|g1|1"
    assert group.shared == f"{SYSTEM}|ensure_group|001XX"
    other = CONTEXT.model_copy(update={"saga_id": "o2p:emea:sf-main:other", "generation": 7})
    [again] = plans.plan_client(SYSTEM, SETTINGS, other, SETUP)
    [next_project] = plans.plan_project(SYSTEM, SETTINGS, other, SETUP)
    assert again.key == group.key
    assert next_project.key != project.key
    assert project.body["workspace"]["external_reference"]["service_model_ref"] == project.stamp


def test_an_invoice_without_lines_and_an_overlong_receipt_are_refused() -> None:
    bare = billing_plans.InvoiceCopy(
        key="k", number="N", project="1", issued_on=date(2026, 1, 1), payment_days=1
    )
    with pytest.raises(ValueError, match="no lines"):
        billing_plans.plan_invoice(SYSTEM, SETTINGS, AFTER, bare)
    payment = billing_plans.FullPayment(key="k", project="1", invoice="2", receipt="x" * 250)
    with pytest.raises(ValueError, match="255"):
        billing_plans.plan_payment(SYSTEM, SETTINGS, AFTER, payment)
    assert later_writes()[2].forward_only
