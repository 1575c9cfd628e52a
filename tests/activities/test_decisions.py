"""Rules as activities: register, route, shape, compare, over the firm's configuration and a real ledger."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.contracts import (
    BaselineVerdict,
    CompareBaseline,
    EngagementPlan,
    ErpFindings,
    RouteDeal,
    Routing,
    ShapeEngagement,
    SystemBaseline,
)
from activities.decisions import DecisionActivitiesOver
from canonical.causes import Cause, Queue
from canonical.failures import Failure, FailureKind
from canonical.operations import ErpClient
from canonical.opportunity import DealClass, Opportunity
from canonical.parties import Address
from canonical.refs import RecordRef
from canonical.saga import SagaStatus, SagaView
from ledger.store import Ledger
from rules.gates import choice_step
from tests.activities.fakes import SAGA, ref
from tests.activities.firm import FakeSystems
from tests.rules.examples import (
    ERP,
    PSA,
    SUPPLY,
    client,
    deal,
    erp_reference,
    firm,
    in_currency,
    line,
    money,
    psa_reference,
)
from tests.rules.test_baseline import VALUES, erp_holds, psa_holds

pytestmark = pytest.mark.anyio


@pytest.fixture
def rules(ledger: Ledger) -> DecisionActivitiesOver:
    return DecisionActivitiesOver(FakeSystems(), ledger)


async def run(method: Any, command: Any) -> Any:
    return await ActivityEnvironment().run(method, command)


async def route(rules: DecisionActivitiesOver, one: Opportunity | None = None, **saga: Any) -> Routing:
    found = await run(rules.route_deal, RouteDeal(saga=ref(**saga), deal=one or deal(), reason="test"))
    assert isinstance(found, Routing)
    return found


def held(id_: str, name: str = "Northwind Trading BV", **more: Any) -> ErpClient:
    return ErpClient(ref=RecordRef(system=ERP, type="customer", id=id_), name=name, **more)


async def shape(
    rules: DecisionActivitiesOver,
    one: Opportunity | None = None,
    *,
    matches: dict[str, tuple[ErpClient, ...]] | None = None,
    **more: Any,
) -> EngagementPlan:
    values: dict[str, Any] = {
        "saga": ref(),
        "deal": one or deal(),
        "deal_class": DealClass.NEW_ENGAGEMENT,
        "erp": (ErpFindings(reference=erp_reference(), matches=matches or {}),),
        "psa": (psa_reference(),),
        "supply": SUPPLY,
        **more,
    }
    plan = await run(rules.shape_engagement, ShapeEngagement(**values))
    assert isinstance(plan, EngagementPlan)
    return plan


async def compare(rules: DecisionActivitiesOver, plan: EngagementPlan, **more: Any) -> BaselineVerdict:
    values: dict[str, Any] = {
        "saga": ref(),
        "plan": plan,
        "deal": deal(),
        "baselines": (
            SystemBaseline(system=ERP, contracts=(erp_holds(),)),
            SystemBaseline(system=PSA, deliveries=(psa_holds(),)),
        ),
        "values": VALUES,
        **more,
    }
    verdict = await run(rules.compare_baseline, CompareBaseline(**values))
    assert isinstance(verdict, BaselineVerdict)
    return verdict


async def finish(ledger: Ledger, status: SagaStatus, generation: int = 1) -> None:
    view = SagaView(
        saga_id=SAGA,
        saga="o",
        status=status,
        headline="",
        business_key="k",
        region="emea",
        codes={"c": "P77"},
    )
    await ledger.finish_saga(SAGA, generation, status, view=view)


# --- routing -----------------------------------------------------------------------------------------


async def test_routing_says_what_to_read_from_where(rules: DecisionActivitiesOver) -> None:
    found = await route(rules, deal(line(1), line(2, "ADV"), line(3), bill_to=client("001B", "Shared")))
    assert found.deal_class is DealClass.NEW_ENGAGEMENT
    assert found.erp_items == {ERP: ("31", "32")}
    assert found.psa_templates == {PSA: ("Implementation", "Advisory")}
    assert found.psa_roles == {PSA: ("solution-architect", "consultant", "project-manager")}
    assert found.hr == "hr-export"
    assert [one.key for one in found.clients[ERP]] == ["001N", "001B"]


async def test_parents_are_looked_up_first_and_nobody_twice(rules: DecisionActivitiesOver) -> None:
    parent = client("001P", "Northwind Group")
    found = await route(rules, deal(hierarchy=(parent,), bill_to=client()))
    assert [one.key for one in found.clients[ERP]] == ["001P", "001N"]


async def test_a_deal_that_opens_no_project_is_not_looked_at_further(rules: DecisionActivitiesOver) -> None:
    licences = await route(rules, deal(line(1, "LIC")))
    assert (licences.deal_class, licences.erp_items) == (DealClass.NO_DELIVERY, {})
    lost = await route(rules, deal(is_won=False, stage="Lost"))
    assert [one.cause for one in lost.findings] == [Cause.DEAL_NOT_WON]


async def test_the_saga_is_registered_once_per_start(rules: DecisionActivitiesOver, ledger: Ledger) -> None:
    for _ in range(2):
        assert (await route(rules)).generation == 1
    row = await ledger.saga(SAGA)
    assert row is not None
    assert (row.reason, row.business_key) == ("test", "crm/006A")


async def test_a_deal_is_converted_once(rules: DecisionActivitiesOver, ledger: Ledger) -> None:
    await route(rules)
    await finish(ledger, SagaStatus.COMPLETE)
    again = await route(rules)
    assert again.earlier == "set up before, project code P77"
    assert again.erp_items == {}


async def test_an_undone_deal_starts_again_under_the_next_generation(
    rules: DecisionActivitiesOver, ledger: Ledger
) -> None:
    await ledger.begin_saga(
        SAGA, saga="o", region="emea", business_key="k", actor=ref().actor, reason="", start_id="earlier run"
    )
    await finish(ledger, SagaStatus.UNDONE)
    assert (await route(rules)).generation == 2


async def test_a_plan_registers_nothing_and_shows_the_generation_that_would_come(
    rules: DecisionActivitiesOver, ledger: Ledger
) -> None:
    plan = f"plan:{SAGA}"
    assert (await route(rules, saga=plan, plan=True)).generation == 1
    assert await ledger.saga(plan) is None
    assert await ledger.saga(SAGA) is None
    await route(rules)
    await finish(ledger, SagaStatus.UNDONE)
    assert (await route(rules, saga=plan, plan=True)).generation == 2


# --- shaping -----------------------------------------------------------------------------------------


async def test_a_good_deal_becomes_an_engagement(rules: DecisionActivitiesOver) -> None:
    plan = await shape(rules)
    assert [*plan.findings, *plan.warnings, *plan.gates] == []
    assert plan.engagement is not None
    assert plan.serial_psa == (PSA,)
    assert [(one.client.key, one.system, one.existing) for one in plan.clients] == [("001N", ERP, None)]
    assert (plan.clients[0].entities, plan.clients[0].currencies) == (("NL01",), ("EUR",))


async def test_all_findings_come_at_once_and_nothing_is_shaped(rules: DecisionActivitiesOver) -> None:
    broken = deal(
        line(1),
        line(2, "???"),
        approval_status=None,
        client=client(address=Address(), tax_registrations=()),
    )
    plan = await shape(rules, broken)
    assert {one.cause for one in plan.findings} == {
        Cause.SERVICE_UNKNOWN,
        Cause.APPROVAL_MISSING,
        Cause.CLIENT_COUNTRY_MISSING,
        Cause.TAX_REGISTRATION_MISSING,
    }
    assert plan.engagement is None
    assert plan.contracts == ()


async def test_warnings_do_not_stop_the_deal(rules: DecisionActivitiesOver) -> None:
    plan = await shape(rules, supply=tuple(one for one in SUPPLY if one.region != "emea"))
    assert plan.engagement is not None
    assert {one.cause for one in plan.warnings} == {Cause.ROLE_UNKNOWN_IN_HR}


async def test_names_that_shaping_makes_longer_are_measured_too(rules: DecisionActivitiesOver) -> None:
    """The deal's name fits; with entity and currency behind it, it does not."""
    name = "N" * 80
    rows = (line(1), in_currency(2, "5000", "GBP", "0.86", legal_entity="UK01"))
    plan = await shape(rules, deal(*rows, name=name))
    assert {one.cause for one in plan.findings} == {Cause.NAME_TOO_LONG}
    assert f"{name} (UK01 GBP)" in " ".join(one.message for one in plan.findings)
    assert plan.engagement is None
    assert (await shape(rules, deal(line(1), name=name))).engagement is not None


async def test_exact_evidence_links_without_asking(rules: DecisionActivitiesOver) -> None:
    exact = held("12", tax_numbers=("NL812345678B01",))
    plan = await shape(rules, matches={"001N": (exact, held("13"))})
    assert plan.gates == ()
    assert plan.clients[0].existing == exact


@pytest.mark.parametrize(
    "rows",
    [
        (held("12"),),
        (held("12", tax_numbers=("NL812345678B01",)), held("13", tax_numbers=("NL812345678B01",))),
    ],
)
async def test_a_person_chooses_where_evidence_does_not(
    rules: DecisionActivitiesOver, rows: tuple[ErpClient, ...]
) -> None:
    plan = await shape(rules, matches={"001N": rows})
    assert [gate.gate for gate in plan.gates] == ["client-choice"]
    assert set(plan.gates[0].choices) == {"new", *(row.ref.id for row in rows)}
    assert plan.engagement is None
    assert plan.findings == ()


@pytest.mark.parametrize(("choice", "expected"), [("12", "12"), ("new", None)])
async def test_the_choice_decides(rules: DecisionActivitiesOver, choice: str, expected: str | None) -> None:
    choices = {choice_step(ERP, "001N"): choice}
    plan = await shape(rules, matches={"001N": (held("12"),)}, choices=choices)
    assert plan.engagement is not None
    existing = plan.clients[0].existing
    assert (existing.ref.id if existing else None) == expected


async def test_an_inactive_customer_is_a_finding(rules: DecisionActivitiesOver) -> None:
    plan = await shape(rules, matches={"001N": (held("12", linked=True, inactive=True),)})
    assert [one.cause for one in plan.findings] == [Cause.CLIENT_INACTIVE]
    assert str(plan.findings[0].record) == f"{ERP}/customer/12"


async def test_credit_of_new_clients_only_is_reviewed(rules: DecisionActivitiesOver) -> None:
    big = deal(line(price="250000.01"))
    assert [gate.gate for gate in (await shape(rules, big)).gates] == ["credit-review"]
    known = await shape(rules, big, matches={"001N": (held("12", linked=True),)})
    assert known.gates == ()


async def test_an_amended_deal_is_judged_as_amended_and_compared_as_read(
    rules: DecisionActivitiesOver,
) -> None:
    """The CRM is never written: the second reading has to equal the first, not the amendment."""
    unapproved = deal(approval_status=None)
    plan = await shape(
        rules, unapproved, amendments={"approval_status": "Approved", "sow": {"number": "SOW-2"}}
    )
    assert plan.engagement is not None
    sow = plan.contracts[0].contract.documents[0]
    assert (sow.number, sow.kind) == ("SOW-2", "sow")
    plain = await shape(rules, deal())
    assert plan.deal_digest != plain.deal_digest


async def test_an_amendment_that_makes_no_deal_is_refused_in_one_line(rules: DecisionActivitiesOver) -> None:
    with pytest.raises(ApplicationError) as no:
        await shape(rules, amendments={"amount": {"amount": "much"}})
    failure = Failure.model_validate(no.value.details[0])
    assert (failure.kind, failure.queue, failure.field) == (FailureKind.REPAIR, Queue.SALES, "amount.amount")
    assert "The amended deal is no deal any more: amount.amount" in failure.message
    assert failure.remedy is not None
    assert not failure.maybe_landed


# --- comparing ---------------------------------------------------------------------------------------


async def test_agreement_is_kept_as_baseline_with_the_terms(
    rules: DecisionActivitiesOver, ledger: Ledger
) -> None:
    verdict = await compare(rules, await shape(rules))
    assert verdict == BaselineVerdict()
    versions = await ledger.contract_versions("006N.NL01.EUR")
    assert [(one.version, one.saga_id) for one in versions] == [(1, SAGA)]
    kept = await ledger.baseline("006N.NL01.EUR")
    assert kept is not None
    assert set(kept.systems) == {ERP, PSA}
    assert kept.contract_version == 1


async def test_differences_of_all_systems_come_together_and_nothing_is_kept(
    rules: DecisionActivitiesOver, ledger: Ledger
) -> None:
    verdict = await compare(
        rules,
        await shape(rules),
        baselines=(
            SystemBaseline(system=ERP, contracts=(erp_holds(currency="USD"),)),
            SystemBaseline(system=PSA, deliveries=(psa_holds(budget=money("1")),)),
        ),
    )
    assert [one.field for one in verdict.differences] == ["currency", "budget"]
    assert await ledger.baseline("006N.NL01.EUR") is None


async def test_a_system_that_holds_nothing_is_a_difference(rules: DecisionActivitiesOver) -> None:
    verdict = await compare(rules, await shape(rules), baselines=())
    assert {one.cause for one in verdict.differences} == {Cause.RECORD_VANISHED}


@pytest.mark.parametrize(
    ("again", "expected"),
    [
        (None, BaselineVerdict(deal_lost=True)),
        (deal(is_won=False, stage="Closed Lost"), BaselineVerdict(deal_lost=True)),
        (deal(payment_terms="Net 45"), BaselineVerdict(deal_changed=True)),
        (deal(revision="99"), BaselineVerdict()),
    ],
)
async def test_the_second_reading_of_the_deal_decides_first(
    rules: DecisionActivitiesOver, again: Opportunity | None, expected: BaselineVerdict
) -> None:
    assert await compare(rules, await shape(rules), deal=again) == expected


async def test_the_firm_is_the_one_configured(rules: DecisionActivitiesOver) -> None:
    assert rules.systems.firm == firm()
