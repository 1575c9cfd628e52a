"""Causes, classification, findings, field authority, gates: short rules, each with its edges."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from canonical.authority import Phase
from canonical.causes import Cause, Queue
from canonical.engagement import DocumentRef
from canonical.failures import Severity
from canonical.firm import GatePolicy
from canonical.opportunity import DealClass
from canonical.parties import ClientCandidate, ClientMatch
from canonical.refs import RecordRef, SystemRole
from canonical.saga import GateOutcome
from canonical.writes import KeyStyle, VendorWrite, WriteKind
from rules.authority import unauthorised
from rules.causes import CATALOGUE, NEXT_RUN, then
from rules.classify import classify
from rules.findings import finding
from rules.gates import choice_gate, choice_step, gates_for
from tests.rules.examples import client, deal, firm, line, money

# --- causes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_is_explained(cause: Cause) -> None:
    entry = CATALOGUE[cause]
    assert entry.code is cause
    assert entry.meaning.endswith(".")
    assert entry.remedy


def test_technical_and_business_causes_never_share_a_queue() -> None:
    technical = {cause for cause, entry in CATALOGUE.items() if entry.queue is Queue.INFRASTRUCTURE}
    assert technical == {
        Cause.VERSION_CONFLICT,
        Cause.CHANGED_BY_SOMEBODY,
        Cause.VENDOR_UNAVAILABLE,
        Cause.RATE_LIMITED,
        Cause.CREDENTIALS_REJECTED,
        Cause.OUTCOME_UNKNOWN,
        Cause.KEY_CLOSED,
        Cause.UNDO_BLOCKED,
        Cause.PIVOT_PASSED,
        Cause.LEDGER_UNAVAILABLE,
        Cause.RUN_UNDER_WAY,
        Cause.CONFIGURATION,
        Cause.DEFECT,
        Cause.EVENT_NOT_TAKEN,
    }


def test_a_finding_takes_queue_and_remedy_from_its_cause() -> None:
    found = finding(Cause.RATE_MISSING, "no rate")
    assert (found.queue, found.remedy) == (Queue.DELIVERY, CATALOGUE[Cause.RATE_MISSING].remedy)
    assert found.severity is Severity.BLOCKING
    own = finding(Cause.RATE_MISSING, "no rate", remedy="call Hanna", warning=True)
    assert (own.remedy, own.severity) == ("call Hanna", Severity.WARNING)


# --- classification (rule 18) ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected", "cause"),
    [
        ({}, DealClass.NEW_ENGAGEMENT, None),
        ({"is_won": False, "stage": "Negotiation"}, None, Cause.DEAL_NOT_WON),
        ({"deal_type": None}, None, Cause.DEAL_CLASS_UNCLEAR),
        ({"deal_type": "Upsell"}, None, Cause.DEAL_CLASS_UNCLEAR),
        ({"deal_type": "Amendment"}, DealClass.AMENDMENT, Cause.DEAL_IS_AMENDMENT),
        ({"deal_type": "Renewal"}, DealClass.RENEWAL, Cause.DEAL_IS_RENEWAL),
    ],
)
def test_a_deal_is_classified_or_says_why_not(
    changes: dict[str, Any], expected: DealClass | None, cause: Cause | None
) -> None:
    found, findings = classify(deal(**changes), firm())
    assert found is expected
    assert [one.cause for one in findings] == ([cause] if cause else [])
    assert all(one.record is not None and one.field for one in findings)


def test_a_deal_of_licences_only_delivers_nothing() -> None:
    assert classify(deal(line(service_code="LIC")), firm()) == (DealClass.NO_DELIVERY, ())
    mixed = deal(line(service_code="LIC"), line(2))
    assert classify(mixed, firm()) == (DealClass.NEW_ENGAGEMENT, ())


def test_an_unknown_service_is_not_taken_for_one_without_delivery() -> None:
    found, _ = classify(deal(line(service_code="???")), firm())
    assert found is DealClass.NEW_ENGAGEMENT


def test_a_new_contract_names_its_engagement() -> None:
    types = firm(deal_types={"Call-off": DealClass.NEW_CONTRACT})
    found, findings = classify(deal(deal_type="Call-off"), types)
    assert found is None
    assert [one.cause for one in findings] == [Cause.ENGAGEMENT_UNKNOWN]
    named = classify(deal(deal_type="Call-off", amends_engagement="P1"), types)
    assert named == (DealClass.NEW_CONTRACT, ())


def test_without_configured_types_every_won_deal_is_new() -> None:
    assert classify(deal(deal_type="whatever"), firm(deal_types={})) == (DealClass.NEW_ENGAGEMENT, ())


# --- field authority ----------------------------------------------------------------------------------


def write(**more: Any) -> VendorWrite:
    values: dict[str, Any] = {
        "system": "netsuite-emea",
        "operation": "ensure_client",
        "title": "Create customer Northwind",
        "record_type": "customer",
        "kind": WriteKind.CREATE,
        "key": "k",
        "step_key": "s",
        "stamp": "tu-k",
        "symbol": "client:001",
        "method": "POST",
        "path": "/customer",
        "body": {"companyName": "Northwind", "terms": {"id": "2"}},
        "sets": {"companyName": "client.name", "terms": "client.payment_terms"},
        "key_style": KeyStyle.NATIVE,
        **more,
    }
    return VendorWrite(**values)


def test_a_write_of_fields_that_are_ours_to_write_passes() -> None:
    assert unauthorised(write(), (SystemRole.ERP,)) is None


def test_terms_are_finances_after_approval() -> None:
    found = unauthorised(write(phase=Phase.AFTER_APPROVAL), (SystemRole.ERP,))
    assert found is not None
    assert (found.cause, found.field) == (Cause.FIELD_NOT_OURS, "companyName")
    only = write(phase=Phase.AFTER_APPROVAL, body={"terms": {"id": "2"}})
    found = unauthorised(only, (SystemRole.ERP,))
    assert found is not None
    assert found.message == (
        "Create customer Northwind: client.payment_terms may not be written to netsuite-emea "
        "after approval (field-authority table)."
    )


def test_an_instance_with_several_roles_may_hold_the_fields_of_each() -> None:
    name_only = write(phase=Phase.AFTER_APPROVAL, body={"companyName": "Northwind"})
    assert unauthorised(name_only, (SystemRole.ERP,)) is not None
    assert unauthorised(name_only, (SystemRole.ERP, SystemRole.PSA)) is None


def test_a_field_nobody_has_explained_is_refused() -> None:
    found = unauthorised(write(sets={"companyName": "client.name"}), (SystemRole.ERP,))
    assert found is not None
    assert found.field == "terms"


# --- gates (rules 13, 21) -------------------------------------------------------------------------------

UNSIGNED = DocumentRef(kind="sow", number="SOW-1")
REVIEW = GatePolicy(
    roles=("credit-manager",), above=Decimal(1000), limit=Decimal(50_000), senior_roles=("cfo",)
)


def test_a_signed_deal_of_a_known_client_asks_nobody() -> None:
    assert gates_for(deal(), firm(), []) == []


@pytest.mark.parametrize("sow", [None, UNSIGNED])
def test_an_unsigned_statement_of_work_asks_the_pmo(sow: DocumentRef | None) -> None:
    gate = gates_for(deal(sow=sow), firm(), [])[0]
    assert (gate.gate, gate.roles, gate.requester) == (
        "sow-signature",
        ("pmo-lead",),
        "sam@northgate.example",
    )
    assert gate.figures["SOW"] == ("SOW-1" if sow else "not recorded")
    assert gates_for(deal(sow=sow), firm(sow_required=False), []) == []


@pytest.mark.parametrize(
    ("price", "roles"),
    [
        ("1000", None),
        ("1000.01", ("credit-manager",)),
        ("50000", ("credit-manager",)),
        ("50000.01", ("cfo",)),
    ],
)
def test_credit_review_by_amount(price: str, roles: tuple[str, ...] | None) -> None:
    gates = gates_for(deal(line(price=price)), firm(credit_review=REVIEW), [client()])
    assert [gate.roles for gate in gates] == ([roles] if roles else [])
    for gate in gates:
        assert gate.amount == money(price)
        assert gate.figures["Client"] == "Northwind Trading B.V."
        assert gate.figures["Payment terms"] == "Net 30"


def test_credit_of_a_known_client_is_not_reviewed() -> None:
    assert gates_for(deal(), firm(credit_review=REVIEW), []) == []


def test_above_the_limit_without_senior_roles_the_same_people_decide() -> None:
    policy = REVIEW.model_copy(update={"senior_roles": ()})
    gates = gates_for(deal(), firm(credit_review=policy), [client()])
    assert gates[0].roles == ("credit-manager",)


def test_a_choice_shows_the_evidence_and_always_offers_a_new_client() -> None:
    options = [
        ClientCandidate(
            ref=RecordRef(system="netsuite-emea", type="customer", id=str(number)),
            name=f"Northwind {number}",
            match=ClientMatch.NAME,
            score=90,
            evidence=("name is 90 % similar", "same city, Utrecht"),
            inactive=number == 2,
        )
        for number in (1, 2)
    ]
    gate = choice_gate(client(), "netsuite-emea", options, firm(), money("5"))
    assert gate.step == choice_step("netsuite-emea", "001N")
    assert gate.choices == {
        "1": "Northwind 1: name is 90 % similar, same city, Utrecht",
        "2": "Northwind 2: name is 90 % similar, same city, Utrecht (inactive)",
        "new": "none of these: create a new customer",
    }
    assert gate.roles == ("master-data",)
    assert GateOutcome.SEND_BACK not in gate.options


def test_nobody_is_told_to_type_what_the_next_run_does_by_itself() -> None:
    assert then(Cause.RATE_MISSING) == "trueup resolve --cause RATE_MISSING"
    assert then(Cause.MILESTONE_NOT_COMPLETE) == then(Cause.MOVED_TO_LATER_CYCLE) == NEXT_RUN


def test_what_waits_for_a_decision_leads_to_the_decisions() -> None:
    assert then(Cause.RATE_DIFFERENCE) == then(Cause.CREDIT_PENDING) == "trueup approvals"
