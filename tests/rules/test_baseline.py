"""The last look before activation: every agreed value against what each system holds."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from canonical.causes import Cause
from canonical.delivery import Milestone, RolePlaceholder
from canonical.operations import ContractSetup, DeliverySetup, ErpBaseline, PsaBaseline
from canonical.refs import RecordRef
from rules.baseline import contract_differences, delivery_differences
from rules.shape import shape
from rules.validate import place
from tests.rules.examples import ERP, PSA, deal, firm, money, psa_reference

VALUES = {"project:006N.NL01.EUR.code": "P77", "client:001N.id": "12"}


def setups() -> tuple[ContractSetup, DeliverySetup]:
    placed, _ = place(deal(), firm())
    found = shape(deal(), firm(), placed, {PSA: psa_reference()})
    return found.contracts[0], found.deliveries[0]


CONTRACT, DELIVERY = setups()


def erp_holds(**more: Any) -> ErpBaseline:
    values: dict[str, Any] = {
        "contract_key": CONTRACT.contract.key,
        "project_code": "P77",
        "client_id": "12",
        "legal_entity": "NL01",
        "currency": "EUR",
        "amount": money("120000"),
        "billing_methods": ("milestone",),
        "contract_approved": False,
        "project_open": False,
        "refs": (RecordRef(system=ERP, type="salesOrder", id="5"),),
        **more,
    }
    return ErpBaseline(**values)


def psa_holds(**more: Any) -> PsaBaseline:
    values: dict[str, Any] = {
        "delivery_key": DELIVERY.project.key,
        "project_code": "P77",
        "title": "t",
        "currency": "EUR",
        "budget": money("120000"),
        "tasks": 4,
        "milestones": 3,
        "placeholders": {"solution-architect": 1, "consultant": 2, "project-manager": 1},
        "active": False,
        "ref": RecordRef(system=PSA, type="workspace", id="9"),
        **more,
    }
    return PsaBaseline(**values)


def test_systems_that_agree_differ_in_nothing() -> None:
    assert list(contract_differences(CONTRACT, erp_holds(), VALUES)) == []
    assert list(delivery_differences(DELIVERY, psa_holds(), VALUES)) == []


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"legal_entity": "UK01"}, "legal entity", "legal entity is UK01, agreed is NL01."),
        ({"currency": "USD"}, "currency", "currency is USD, agreed is EUR."),
        ({"amount": money("119999.99")}, "amount", "amount is 119999.99, agreed is 120000."),
        ({"project_code": "P78"}, "project code", "project code is P78, agreed is P77."),
        ({"client_id": "13"}, "customer", "customer is 13, agreed is 12."),
        ({"billing_methods": ("retainer",)}, "billing methods", "billing methods is ['retainer']"),
    ],
)
def test_what_finance_holds_otherwise_is_named(changes: dict[str, Any], field: str, words: str) -> None:
    found = list(contract_differences(CONTRACT, erp_holds(**changes), VALUES))
    assert [(one.cause, one.field) for one in found] == [(Cause.BASELINE_DIFFERS, field)]
    assert words in found[0].message
    assert str(found[0].record) == f"{ERP}/salesOrder/5"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"project_code": ""}, "project code"),
        ({"currency": "USD"}, "currency"),
        ({"budget": money("1")}, "budget"),
        ({"milestones": 2}, "milestones"),
        ({"tasks": 5}, "tasks"),
        ({"placeholders": {"solution-architect": 1, "consultant": 2}}, "positions"),
        ({"placeholders": {"solution-architect": 1, "consultant": 3, "project-manager": 1}}, "positions"),
    ],
)
def test_what_delivery_holds_otherwise_is_named(changes: dict[str, Any], field: str) -> None:
    found = list(delivery_differences(DELIVERY, psa_holds(**changes), VALUES))
    assert [(one.cause, one.field) for one in found] == [(Cause.BASELINE_DIFFERS, field)]
    assert str(found[0].record) == f"{PSA}/workspace/9"


def test_all_differences_come_together() -> None:
    held = erp_holds(legal_entity="UK01", currency="USD", project_code="P78")
    assert len(list(contract_differences(CONTRACT, held, VALUES))) == 3


def test_a_record_that_is_gone_is_one_finding() -> None:
    for found in (
        list(contract_differences(CONTRACT, None, VALUES)),
        list(delivery_differences(DELIVERY, None, VALUES)),
    ):
        assert [one.cause for one in found] == [Cause.RECORD_VANISHED]


def test_the_same_amount_written_otherwise_is_no_difference() -> None:
    held = erp_holds(amount=money("120000.00"))
    assert list(contract_differences(CONTRACT, held, VALUES)) == []


def test_an_erp_that_keeps_no_billing_method_is_not_asked_for_it() -> None:
    assert list(contract_differences(CONTRACT, erp_holds(billing_methods=()), VALUES)) == []


def test_a_missing_code_is_a_difference_even_when_both_sides_have_none_recorded() -> None:
    """Values of the saga must be there: a lost value is not agreement."""
    found = list(contract_differences(CONTRACT, erp_holds(), {}))
    assert {one.field for one in found} == {"project code", "customer"}


def test_positions_the_template_brings_and_the_service_needs_count_once() -> None:
    template = DELIVERY.template.model_copy(update={"roles": {"consultant": 3, "tester": 1}})
    project = DELIVERY.project.model_copy(
        update={
            "placeholders": (
                RolePlaceholder(key="consultant", role="consultant", count=2, bill_rate=Decimal(1)),
            ),
            "milestones": (Milestone(key="m", title="m"),),
        }
    )
    setup = DELIVERY.model_copy(update={"template": template, "project": project})
    held = psa_holds(placeholders={"consultant": 3, "tester": 1}, milestones=1)
    assert list(delivery_differences(setup, held, VALUES)) == []
