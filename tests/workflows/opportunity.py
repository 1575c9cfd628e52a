"""Stubs of every activity that opportunity-to-project calls, answering with a planned engagement."""

from __future__ import annotations

from temporalio import activity

from activities.contracts import (
    ActivateContract,
    BaselineVerdict,
    ClientPlacement,
    CompareBaseline,
    EngagementPlan,
    EnsureClients,
    EnsurePsaClients,
    ErpFindings,
    GatherErp,
    GatherHr,
    GatherPsa,
    LookAhead,
    LookedAhead,
    OpenDelivery,
    ReadBaseline,
    ReadDeal,
    RouteDeal,
    Routing,
    SendNotice,
    SetUpContract,
    ShapeEngagement,
    StepOutcome,
    SystemBaseline,
    WriteBack,
)
from canonical.delivery import RoleSupply
from canonical.failures import Finding
from canonical.operations import PsaReference, project_symbol
from canonical.opportunity import DealClass, Opportunity
from rules.gates import gates_for
from rules.shape import deal_digest, shape
from rules.validate import place
from tests.rules.examples import ERP, PSA, SUPPLY, deal, erp_reference, firm, psa_reference
from tests.workflows.stubs import Desk, desk


class Office(Desk):
    """What the firm's systems answer about one deal; tests change it while the saga runs."""

    deal: Opportunity | None
    findings: tuple[Finding, ...] = ()
    differences: tuple[Finding, ...] = ()

    def __init__(self, one: Opportunity | None = None) -> None:
        super().__init__()
        self.deal = one or deal()
        self.deal_class = DealClass.NEW_ENGAGEMENT


def office(saga: object) -> Office:
    found = desk(saga)  # type: ignore[arg-type]
    assert isinstance(found, Office)
    return found


def plan_of(one: Opportunity) -> EngagementPlan:
    """The engagement as the real rules shape it."""
    placed, _ = place(one, firm())
    shaped = shape(one, firm(), placed, {PSA: psa_reference()})
    assert one.client is not None
    client = ClientPlacement(client=one.client, system=ERP, entities=("NL01",), currencies=("EUR",))
    return EngagementPlan(
        engagement=shaped.engagement,
        clients=(client,),
        contracts=shaped.contracts,
        deliveries=shaped.deliveries,
        serial_psa=(PSA,),
        gates=tuple(gates_for(one, firm(), [])),
        deal=one.ref,
        deal_class=DealClass.NEW_ENGAGEMENT,
        at_stake=one.amount,
        deal_digest=deal_digest(one),
    )


class RuleStubs:
    """Decisions and messages, on the ledger's queue."""

    @activity.defn(name="rules.route_deal")
    async def route_deal(self, command: RouteDeal) -> Routing:
        here = office(command.saga)
        await here.take("route", command)
        return Routing(
            generation=1,
            deal_class=here.deal_class,
            erp_items={ERP: ("31",)},
            psa_templates={PSA: ("Implementation",)},
            psa_roles={PSA: ("consultant",)},
            hr="hr-export",
        )

    @activity.defn(name="rules.shape_engagement")
    async def shape_engagement(self, command: ShapeEngagement) -> EngagementPlan:
        here = office(command.saga)
        await here.take("shape", command)
        if here.findings:
            return EngagementPlan(findings=here.findings, deal=command.deal.ref)
        return plan_of(command.deal)

    @activity.defn(name="rules.compare_baseline")
    async def compare_baseline(self, command: CompareBaseline) -> BaselineVerdict:
        here = office(command.saga)
        await here.take("compare", command)
        if command.deal is None or not command.deal.is_won:
            return BaselineVerdict(deal_lost=True)
        changed = deal_digest(command.deal) != command.plan.deal_digest
        return BaselineVerdict(deal_changed=changed, differences=() if changed else here.differences)

    @activity.defn(name="notify.send")
    async def send(self, command: SendNotice) -> StepOutcome:
        await office(command.saga).take("notify", command)
        return StepOutcome()


class FirmStubs:
    """CRM, ERP, delivery and HR."""

    @activity.defn(name="crm.read_deal")
    async def read_deal(self, command: ReadDeal) -> Opportunity | None:
        here = office(command.saga)
        await here.take("read deal", command)
        return here.deal

    @activity.defn(name="crm.write_back")
    async def write_back(self, command: WriteBack) -> StepOutcome:
        await office(command.saga).take("write back", command)
        return StepOutcome()

    @activity.defn(name="erp.gather")
    async def gather_erp(self, command: GatherErp) -> ErpFindings:
        await office(command.saga).take("gather erp", command)
        return ErpFindings(reference=erp_reference())

    @activity.defn(name="psa.gather")
    async def gather_psa(self, command: GatherPsa) -> PsaReference:
        await office(command.saga).take("gather psa", command)
        return psa_reference()

    @activity.defn(name="hr.role_supply")
    async def role_supply(self, command: GatherHr) -> tuple[RoleSupply, ...]:
        await office(command.saga).take("gather hr", command)
        return SUPPLY

    @activity.defn(name="erp.ensure_clients")
    async def ensure_clients(self, command: EnsureClients) -> StepOutcome:
        await office(command.saga).take(f"do {command.step}", command)
        return StepOutcome(values={"client:001N.id": "12"})

    @activity.defn(name="psa.ensure_clients")
    async def ensure_psa_clients(self, command: EnsurePsaClients) -> StepOutcome:
        await office(command.saga).take(f"do {command.step}", command)
        return StepOutcome()

    @activity.defn(name="erp.look_ahead")
    async def look_ahead_erp(self, command: LookAhead) -> LookedAhead:
        await office(command.saga).take("look ahead erp", command)
        return LookedAhead(absent=("nothing of the contract",))

    @activity.defn(name="psa.look_ahead")
    async def look_ahead_psa(self, command: LookAhead) -> LookedAhead:
        await office(command.saga).take("look ahead psa", command)
        return LookedAhead(absent=("nothing of the project",))

    @activity.defn(name="erp.set_up_contract_and_project")
    async def set_up(self, command: SetUpContract) -> StepOutcome:
        await office(command.saga).take(f"do {command.step}", command)
        key = command.setup.contract.key
        return StepOutcome(values={f"{project_symbol(key)}.code": f"P-{command.setup.contract.legal_entity}"})

    @activity.defn(name="erp.read_baseline")
    async def read_erp(self, command: ReadBaseline) -> SystemBaseline:
        await office(command.saga).take("read back erp", command)
        return SystemBaseline(system=command.system)

    @activity.defn(name="erp.activate_contract")
    async def activate_contract(self, command: ActivateContract) -> StepOutcome:
        await office(command.saga).take(f"do {command.step}", command)
        return StepOutcome()

    @activity.defn(name="psa.open_project")
    async def open_project(self, command: OpenDelivery) -> StepOutcome:
        await office(command.saga).take(f"do {command.step}", command)
        return StepOutcome()

    @activity.defn(name="psa.complete_structure")
    async def complete_structure(self, command: OpenDelivery) -> StepOutcome:
        await office(command.saga).take(f"do {command.step}", command)
        return StepOutcome()

    @activity.defn(name="psa.read_baseline")
    async def read_psa(self, command: ReadBaseline) -> SystemBaseline:
        await office(command.saga).take("read back psa", command)
        return SystemBaseline(system=command.system)

    @activity.defn(name="psa.activate_project")
    async def activate_project(self, command: OpenDelivery) -> StepOutcome:
        await office(command.saga).take(f"do {command.step}", command)
        return StepOutcome()
