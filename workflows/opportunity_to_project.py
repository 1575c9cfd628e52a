"""Opportunity-to-project: a won deal becomes customer, contract, project and a staffed plan, or nothing.

Steps, undo and failure table: ``docs/opportunity-to-project.md``.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from pydantic import ValidationError
from temporalio import workflow

from activities.contracts import (
    ActivateContract,
    BaselineRetry,
    CompareBaseline,
    CrmActivities,
    DealAmendment,
    DecisionActivities,
    EngagementPlan,
    EnsureClients,
    ErpActivities,
    ErpFindings,
    GatherErp,
    GatherHr,
    GatherPsa,
    HrActivities,
    NotifyActivities,
    OpenDelivery,
    PsaActivities,
    ReadBaseline,
    ReadDeal,
    RouteDeal,
    Routing,
    SendNotice,
    SetUpContract,
    ShapeEngagement,
    StartSaga,
    SystemBaseline,
    WriteBack,
)
from activities.options import CallClass
from canonical.causes import Cause, Queue
from canonical.delivery import RoleSupply
from canonical.failures import Failure, FailureKind
from canonical.names import LEDGER_QUEUE, SagaName, system_queue
from canonical.operations import (
    ContractSetup,
    DealOutcome,
    DeliverySetup,
    Notice,
    PsaReference,
    project_symbol,
)
from canonical.opportunity import DealClass, Opportunity
from canonical.saga import GateDecision, RepairCommand, SagaStatus, SagaView, StepKind
from canonical.writes import symbol, text
from workflows.saga import FATAL, Saga

READ, BUILD, PIVOT, FORWARD = StepKind.READ, StepKind.COMPENSATABLE, StepKind.PIVOT, StepKind.FORWARD_ONLY
READ_DEAL, ROUTE, VALIDATE, BASELINE = "read-deal", "route", "validate", "baseline"


@workflow.defn(name="OpportunityToProject", failure_exception_types=[ValidationError])
class OpportunityToProject:
    """One run per won deal."""

    @workflow.init
    def __init__(self, start: StartSaga) -> None:
        self.start = start
        self.saga = Saga(
            SagaName.OPPORTUNITY_TO_PROJECT.value, start, "Setting up the engagement of a won deal"
        )
        self.choices: dict[str, str] = {}

    @workflow.run
    async def run(self, start: StartSaga) -> SagaView:
        """Carry the deal to an active project, or leave nothing behind."""
        return await self.saga.conduct(self.set_up_engagement)

    async def set_up_engagement(self) -> None:
        """The business process."""
        plan = await self.validated_plan()
        if plan.engagement is None:
            return
        await self.gates(plan)
        await self.build(plan)
        while (changed := await self.differences(plan)) is not None:
            plan = changed
            await self.gates(plan)
            await self.build(plan)
        await self.activate(plan)
        await self.tell_sales_and_pmo(plan)

    # --- read, classify, validate -----------------------------------------------------------------

    async def validated_plan(self) -> EngagementPlan:
        """Read everything, report all findings, wait until there are none."""
        amended = self.saga.amended(VALIDATE)
        while True:
            deal = await self.read_deal(READ_DEAL, "Read the deal")
            routing = await self.route(deal)
            if routing.deal_class is DealClass.NO_DELIVERY:
                self.saga.settled(VALIDATE, "Validate", "nothing to deliver in this deal")
                return EngagementPlan(deal_class=routing.deal_class)
            plan = await self.shape(deal, routing, amended)
            if not plan.findings:
                self.saga.settled(VALIDATE, "Validate", _warnings(plan))
                return plan
            failure = _findings_failure(plan, deal)
            if failure.cause in FATAL:
                raise self.saga.stop(SagaStatus.FAILED, failure)
            amended = await self.saga.hold(VALIDATE, "Validate", failure, DealAmendment)
            self.saga.forget(READ_DEAL, ROUTE, *self._reading_steps)

    async def read_deal(self, step: str, title: str) -> Opportunity:
        """The deal as it stands; a deal that is not there ends the saga."""
        command = ReadDeal(saga=self.saga.ref, system=self.start.system, deal_id=self.start.record_id)
        deal = await self.saga.step(
            step,
            title,
            CrmActivities.read_deal,
            command,
            kind=READ,
            queue=system_queue(self.start.system),
            system=self.start.system,
        )
        if deal is None:
            raise self.saga.stop(
                SagaStatus.FAILED if step == READ_DEAL else SagaStatus.UNDONE,
                Failure(
                    kind=FailureKind.REPAIR,
                    cause=Cause.DEAL_NOT_FOUND,
                    message=f"There is no opportunity {self.start.record_id} in {self.start.system}.",
                    queue=Queue.SALES,
                    system=self.start.system,
                    remedy="Check the id; 15- and 18-character forms are both accepted.",
                ),
            )
        return deal

    async def route(self, deal: Opportunity) -> Routing:
        """What the deal is and which systems serve it."""
        command = RouteDeal(saga=self.saga.ref, deal=deal, reason=self.start.reason)
        routing = await self.saga.step(
            ROUTE, "Classify and route", DecisionActivities.route_deal, command, kind=READ, queue=LEDGER_QUEUE
        )
        if routing.earlier is not None:
            raise self.saga.stop(SagaStatus.FAILED, _set_up_before(deal, routing.earlier))
        self.saga.state.generation = routing.generation
        self.saga.state.at_stake = deal.amount
        self.saga.state.headline = f"Setting up the engagement of deal {deal.ref.id}"
        return routing

    async def shape(self, deal: Opportunity, routing: Routing, amended: dict[str, Any]) -> EngagementPlan:
        """Validate against all systems; ask which client it is where only a person can know."""
        if routing.findings:
            return EngagementPlan(findings=routing.findings, deal_class=routing.deal_class)
        assert routing.deal_class is not None
        erps, psas, supply = await self.gather(routing)
        while True:
            plan = await self.saga.step(
                f"shape.{len(self.choices)}" if self.choices else "shape",
                "Check everything and shape the engagement",
                DecisionActivities.shape_engagement,
                ShapeEngagement(
                    saga=self.saga.ref,
                    deal=deal,
                    deal_class=routing.deal_class,
                    erp=tuple(erps),
                    psa=tuple(psas),
                    supply=supply,
                    supply_known=routing.hr is not None,
                    choices=self.choices,
                    amendments=amended.get("deal", {}),
                ),
                kind=READ,
                queue=LEDGER_QUEUE,
            )
            open_choices = [gate for gate in plan.gates if gate.choices]
            if plan.findings or not open_choices:
                return plan
            for gate in open_choices:
                decision = await self.saga.gate(gate)
                self.choices[gate.step] = (decision.choice if decision else None) or "new"

    async def gather(
        self, routing: Routing
    ) -> tuple[list[ErpFindings], list[PsaReference], tuple[RoleSupply, ...]]:
        """Read reference data from all systems at once."""
        ref = self.saga.ref
        erp_reads = [
            self.saga.step(
                f"gather.{system}",
                f"Look up the client, entities and items in {system}",
                ErpActivities.gather,
                GatherErp(saga=ref, system=system, items=items, clients=routing.clients.get(system, ())),
                kind=READ,
                queue=system_queue(system),
                system=system,
            )
            for system, items in routing.erp_items.items()
        ]
        psa_reads = [
            self.saga.step(
                f"gather.{system}",
                f"Look up templates and roles in {system}",
                PsaActivities.gather,
                GatherPsa(
                    saga=ref, system=system, templates=templates, roles=routing.psa_roles.get(system, ())
                ),
                kind=READ,
                queue=system_queue(system),
                system=system,
            )
            for system, templates in routing.psa_templates.items()
        ]
        hr_reads = [
            self.saga.step(
                f"gather.{routing.hr}",
                f"Look up roles in {routing.hr}",
                HrActivities.role_supply,
                GatherHr(saga=ref, system=routing.hr),
                kind=READ,
                queue=system_queue(routing.hr),
                system=routing.hr,
            )
            for _ in (1,)
            if routing.hr
        ]
        found = await self.saga.together(*erp_reads, *psa_reads, *hr_reads)
        erps = [one for one in found if isinstance(one, ErpFindings)]
        psas = [one for one in found if isinstance(one, PsaReference)]
        supply = next((one for one in found if isinstance(one, tuple)), ())
        return erps, psas, supply

    @property
    def _reading_steps(self) -> list[str]:
        return [step.id for step in self.saga.state.steps if step.id.startswith(("gather.", "shape"))]

    async def gates(self, plan: EngagementPlan) -> None:
        """Statement of work, credit review: decisions, not errors."""
        for gate in plan.gates:
            if not gate.choices:
                await self.saga.gate(gate)

    # --- build --------------------------------------------------------------------------------------

    async def build(self, plan: EngagementPlan) -> None:
        """Clients, then per contract its ERP project and its delivery projects."""
        await self.set_up_clients(plan)
        creation: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        await self.saga.together(*(self.set_up_contract(plan, setup, creation) for setup in plan.contracts))

    async def set_up_clients(self, plan: EngagementPlan) -> None:
        """Clients with their hierarchy, in every ERP of the engagement at once."""
        by_system: dict[str, list[Any]] = defaultdict(list)
        for placement in plan.clients:
            by_system[placement.system].append(placement)

        async def in_one(system: str) -> None:
            step = f"clients.{system}"
            outcome = await self.saga.step(
                step,
                f"Clients in {system}",
                ErpActivities.ensure_clients,
                EnsureClients(
                    saga=self.saga.ref, step=step, system=system, placements=tuple(by_system[system])
                ),
                kind=BUILD,
                queue=system_queue(system),
                call=CallClass.WRITE,
                system=system,
            )
            self.saga.keep(outcome)

        await self.saga.together(*(in_one(system) for system in by_system))

    async def set_up_contract(
        self, plan: EngagementPlan, setup: ContractSetup, creation: dict[str, asyncio.Lock]
    ) -> None:
        """One contract with its ERP project, then its delivery projects, one after another where needed."""
        contract = setup.contract
        step = f"contract.{contract.key}"
        outcome = await self.saga.step(
            step,
            f"Contract and project of {contract.legal_entity} in {contract.erp}",
            ErpActivities.set_up_contract_and_project,
            SetUpContract(
                saga=self.saga.ref, step=step, system=contract.erp, setup=setup, values=self.saga.values
            ),
            kind=BUILD,
            queue=system_queue(contract.erp),
            call=CallClass.WRITE,
            system=contract.erp,
        )
        self.saga.keep(outcome)
        code = self.saga.values.get(f"{project_symbol(contract.key)}.code")
        if code:
            self.saga.state.codes[contract.key] = code
        for delivery in plan.deliveries:
            if delivery.project.contract_key == contract.key:
                await self.open_delivery_project(plan, delivery, creation)

    async def open_delivery_project(
        self, plan: EngagementPlan, setup: DeliverySetup, creation: dict[str, asyncio.Lock]
    ) -> None:
        """A delivery project from the sold service's template, then what the template does not bring."""
        project = setup.project
        if project.psa in plan.serial_psa:
            async with creation[project.psa]:
                await self.delivery_step("delivery", "Delivery project", PsaActivities.open_project, setup)
        else:
            await self.delivery_step("delivery", "Delivery project", PsaActivities.open_project, setup)
        await self.delivery_step(
            "structure", "Plan and positions", PsaActivities.complete_structure, setup, call=CallClass.LONG
        )

    async def delivery_step(
        self,
        prefix: str,
        title: str,
        method: Any,
        setup: DeliverySetup,
        *,
        kind: StepKind = BUILD,
        call: CallClass = CallClass.WRITE,
    ) -> None:
        """One step about one delivery project."""
        project = setup.project
        step = f"{prefix}.{project.key}"
        outcome = await self.saga.step(
            step,
            f"{title} {project.dimensions.region} in {project.psa}",
            method,
            OpenDelivery(
                saga=self.saga.ref,
                step=step,
                system=project.psa,
                setup=setup,
                values=self.saga.values,
                settle_poll=self.start.timings.settle_poll,
            ),
            kind=kind,
            queue=system_queue(project.psa),
            call=call,
            system=project.psa,
        )
        self.saga.keep(outcome)

    # --- compare, activate, tell --------------------------------------------------------------------

    async def differences(self, plan: EngagementPlan) -> EngagementPlan | None:
        """Read the deal again and all systems back. None when everything agrees; a new plan when the
        deal changed meanwhile (rule 17). Systems that differ are waited for.
        """
        if self.start.plan:
            return None
        while True:
            deal, *baselines = await self.read_all_back(plan)
            verdict = await self.saga.step(
                "compare",
                "Compare deal, finance and delivery",
                DecisionActivities.compare_baseline,
                CompareBaseline(
                    saga=self.saga.ref,
                    plan=plan,
                    deal=deal,
                    baselines=tuple(baselines),
                    values=self.saga.values,
                ),
                kind=READ,
                queue=LEDGER_QUEUE,
            )
            again = ["read-deal-again", "compare", *(f"read-back.{one.system}" for one in baselines)]
            if verdict.deal_lost:
                raise self.saga.stop(SagaStatus.UNDONE, _lost(deal))
            if verdict.deal_changed:
                self.saga.forget(READ_DEAL, ROUTE, *again, *self._reading_steps)
                new = await self.validated_plan()
                await self.drop_what_is_gone(plan, new)
                return new
            if not verdict.differences:
                self.saga.settled(BASELINE, "All systems agree")
                return None
            failure = Failure(
                kind=FailureKind.REPAIR,
                cause=Cause.BASELINE_DIFFERS,
                message=f"{len(verdict.differences)} value(s) differ from what was agreed.",
                queue=verdict.differences[0].queue,
                findings=verdict.differences,
                at_stake=plan.at_stake,
                remedy="Correct the records named, then retry.",
            )
            await self.saga.hold(BASELINE, "All systems agree", failure, BaselineRetry)
            self.saga.forget(*again)

    async def read_all_back(self, plan: EngagementPlan) -> tuple[Any, ...]:
        """The deal's second reading and every system's own view, at once."""
        contracts: dict[str, list[Any]] = defaultdict(list)
        for setup in plan.contracts:
            contracts[setup.contract.erp].append(setup.contract)
        deliveries: dict[str, list[DeliverySetup]] = defaultdict(list)
        for delivery in plan.deliveries:
            deliveries[delivery.project.psa].append(delivery)

        async def read_back(system: str, method: Any, command: ReadBaseline) -> SystemBaseline:
            result: SystemBaseline = await self.saga.step(
                f"read-back.{system}",
                f"Read back from {system}",
                method,
                command,
                kind=READ,
                queue=system_queue(system),
                system=system,
            )
            return result

        ref, values = self.saga.ref, self.saga.values
        found = await self.saga.together(
            self.read_deal("read-deal-again", "Read the deal again"),
            *(
                read_back(
                    erp,
                    ErpActivities.read_baseline,
                    ReadBaseline(saga=ref, system=erp, contracts=tuple(rows), values=values),
                )
                for erp, rows in contracts.items()
            ),
            *(
                read_back(
                    psa,
                    PsaActivities.read_baseline,
                    ReadBaseline(saga=ref, system=psa, deliveries=tuple(rows), values=values),
                )
                for psa, rows in deliveries.items()
            ),
        )
        return tuple(found)

    async def drop_what_is_gone(self, old: EngagementPlan, new: EngagementPlan) -> None:
        """Undo what the changed deal no longer asks for; keep the rest to be patched."""
        before, after = _build_steps(old), _build_steps(new)
        await self.saga.retract(*(step for step in before if step not in after))
        self.saga.forget(*after)

    async def activate(self, plan: EngagementPlan) -> None:
        """Approve the contracts and open their projects: the pivot. Then open delivery."""

        async def approve(setup: ContractSetup) -> None:
            contract = setup.contract
            step = f"activate.{contract.key}"
            outcome = await self.saga.step(
                step,
                f"Activate contract and project in {contract.erp}",
                ErpActivities.activate_contract,
                ActivateContract(
                    saga=self.saga.ref,
                    step=step,
                    system=contract.erp,
                    contract=contract,
                    values=self.saga.values,
                ),
                kind=PIVOT,
                queue=system_queue(contract.erp),
                call=CallClass.WRITE,
                system=contract.erp,
            )
            self.saga.keep(outcome)

        await self.saga.together(*(approve(setup) for setup in plan.contracts))
        await self.saga.together(
            *(
                self.delivery_step(
                    "open", "Open for work:", PsaActivities.activate_project, delivery, kind=FORWARD
                )
                for delivery in plan.deliveries
            )
        )

    async def tell_sales_and_pmo(self, plan: EngagementPlan) -> None:
        """Codes, status and links to the deal; a message to the PMO."""
        await self.saga.together(self.write_back(plan), self.notify(plan))

    async def write_back(self, plan: EngagementPlan) -> None:
        """Tell the deal its codes."""
        assert plan.engagement is not None
        assert plan.deal is not None
        lead = project_symbol(plan.engagement.lead_contract_key)
        parts: list[Any] = []
        for setup in plan.contracts:
            parts += [", "] if parts else []
            parts.append(symbol(project_symbol(setup.contract.key), "code"))
        step = f"write-back.{self.start.system}"
        outcome = await self.saga.step(
            step,
            f"Codes and status to {self.start.system}",
            CrmActivities.write_back,
            WriteBack(
                saga=self.saga.ref,
                step=step,
                system=self.start.system,
                outcome=DealOutcome(
                    deal=plan.deal,
                    engagement_code=symbol(lead, "code"),
                    project_codes=text(*parts),
                    status="Active",
                ),
                values=self.saga.values,
            ),
            kind=FORWARD,
            queue=system_queue(self.start.system),
            call=CallClass.WRITE,
            system=self.start.system,
        )
        self.saga.keep(outcome)

    async def notify(self, plan: EngagementPlan) -> None:
        """Tell the PMO. A message that cannot be delivered never fails the saga."""
        assert plan.engagement is not None
        codes = ", ".join(self.saga.state.codes.values())
        facts = {
            "Client": plan.clients[0].client.name if plan.clients else "",
            "Engagement": plan.engagement.name,
            "Value": str(plan.engagement.deal_amount),
            **{
                f"Contract {setup.contract.legal_entity}": (
                    f"{setup.contract.amount}, project "
                    f"{self.saga.state.codes.get(setup.contract.key, '@project.code')}"
                )
                for setup in plan.contracts
            },
            "Saga": self.start.saga_id,
        }
        await self.saga.step(
            "notify",
            "Tell the PMO",
            NotifyActivities.send,
            SendNotice(
                saga=self.saga.ref,
                step="notify",
                notice=Notice(
                    key=f"{self.start.saga_id}.g{self.saga.state.generation}.notify",
                    channel="pmo",
                    subject=f"[PMO] Project {codes} created for {facts['Client']}",
                    facts=facts,
                ),
            ),
            kind=FORWARD,
            queue=LEDGER_QUEUE,
            call=CallClass.NOTIFY,
        )

    # --- operators ------------------------------------------------------------------------------------

    @workflow.update(
        name="resolve_step",
        description="Repair a parked step. One JSON value: "
        '{"command_id": "any unique text", "step": "validate", "action": '
        '"retry | retry_amended | retry_current_mapping | skip | undo_all", '
        '"actor": {"name": "you"}, "reason": "why", "amended_input": {}, "result": {}}',
    )
    async def resolve_step(self, command: RepairCommand) -> SagaView:
        """Take an operator's decision about a parked step."""
        return self.saga.repair(command)

    @resolve_step.validator
    def _check_resolve_step(self, command: RepairCommand) -> None:
        self.saga.check_repair(command, self.start.repair_roles)

    @workflow.update(
        name="decide",
        description="Decide at a gate. One JSON value: "
        '{"command_id": "any unique text", "step": "gate.credit-review", "outcome": '
        '"approve | reject | send_back", "actor": {"name": "you", "roles": ["credit-manager"]}, '
        '"reason": "why", "choice": null}',
    )
    async def decide(self, decision: GateDecision) -> SagaView:
        """Take a decision at a gate."""
        return self.saga.decide(decision)

    @decide.validator
    def _check_decide(self, decision: GateDecision) -> None:
        self.saga.check_decision(decision)

    @workflow.update(name="renew", description="Continue as new on current code while parked. Takes nothing.")
    async def renew(self) -> SagaView:
        """Move a parked saga to current code."""
        return self.saga.renew()

    @workflow.query(name="view", description="The saga's state: steps, records, failures, codes.")
    def view(self) -> SagaView:
        """The saga as every surface shows it."""
        return self.saga.state.view()


def _build_steps(plan: EngagementPlan) -> list[str]:
    """Ids of the steps that build ``plan``, in the order they are built."""
    deliveries = [setup.project.key for setup in plan.deliveries]
    return [
        *dict.fromkeys(f"clients.{placement.system}" for placement in plan.clients),
        *(f"contract.{setup.contract.key}" for setup in plan.contracts),
        *(f"delivery.{key}" for key in deliveries),
        *(f"structure.{key}" for key in deliveries),
    ]


def _warnings(plan: EngagementPlan) -> str | None:
    return "; ".join(finding.message for finding in plan.warnings) or None


def _findings_failure(plan: EngagementPlan, deal: Opportunity) -> Failure:
    """All findings as one failure; the first one's queue works on it, each names its own remedy."""
    first = plan.findings[0]
    words = (
        first.message if len(plan.findings) == 1 else f"{len(plan.findings)} findings, nothing was written."
    )
    return Failure(
        kind=FailureKind.REPAIR,
        cause=first.cause,
        message=words,
        queue=first.queue,
        system=deal.ref.system,
        record=first.record or deal.ref,
        field=first.field,
        remedy=first.remedy,
        findings=plan.findings,
        at_stake=deal.amount,
    )


def _set_up_before(deal: Opportunity, headline: str) -> Failure:
    return Failure(
        kind=FailureKind.REPAIR,
        cause=Cause.BAD_INPUT,
        message=f"Deal {deal.ref.id} was {headline}; a deal is converted once.",
        queue=Queue.SALES,
        record=deal.ref,
        remedy="Changes of an active engagement go through a change order.",
    )


def _lost(deal: Opportunity) -> Failure:
    return Failure(
        kind=FailureKind.REPAIR,
        cause=Cause.DEAL_LOST_MEANWHILE,
        message=f"Deal {deal.ref.id} is no longer won (stage {deal.stage}).",
        queue=Queue.SALES,
        system=deal.ref.system,
        record=deal.ref,
    )
