"""Read the deal and all that decides about it; report all findings; ask what only a person can know."""

from __future__ import annotations

from typing import Any

from activities.contracts import (
    CrmActivities,
    DealAmendment,
    DecisionActivities,
    EngagementPlan,
    ErpActivities,
    ErpFindings,
    GatherErp,
    GatherHr,
    GatherPsa,
    HrActivities,
    PsaActivities,
    ReadDeal,
    RouteDeal,
    Routing,
    ShapeEngagement,
    StartSaga,
)
from canonical.causes import Cause, Queue
from canonical.delivery import RoleSupply
from canonical.failures import Failure, FailureKind
from canonical.names import LEDGER_QUEUE, system_queue
from canonical.operations import (
    PsaReference,
)
from canonical.opportunity import DealClass, Opportunity
from canonical.saga import SagaStatus, StepKind
from workflows.saga import FATAL, Saga

READ = StepKind.READ
READ_DEAL, ROUTE, VALIDATE = "read-deal", "route", "validate"


class Reading:
    """From a deal's id to a validated plan."""

    def __init__(self, saga: Saga, start: StartSaga) -> None:
        self.saga = saga
        self.start = start
        self.choices: dict[str, str] = {}

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
            if failure.cause in FATAL and not self.saga.state.pivot_passed:
                raise self.saga.stop(SagaStatus.FAILED, failure)
            amended = await self.saga.hold(VALIDATE, "Validate", failure, DealAmendment())
            self.saga.forget(READ_DEAL, ROUTE, *self.steps)

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
        if deal.ref.id != self.start.record_id:
            raise self.saga.stop(SagaStatus.FAILED, _other_spelling(deal, self.start.record_id))
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
    def steps(self) -> list[str]:
        """Steps to do again when the deal is to be read afresh."""
        return [step.id for step in self.saga.state.steps if step.id.startswith(("gather.", "shape"))]

    async def gates(self, plan: EngagementPlan) -> None:
        """Statement of work, credit review: decisions, not errors."""
        for gate in plan.gates:
            if not gate.choices:
                await self.saga.gate(gate)


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


def _other_spelling(deal: Opportunity, given: str) -> Failure:
    """One deal is one saga: a start under another spelling of its id must not become a second one."""
    return Failure(
        kind=FailureKind.REPAIR,
        cause=Cause.BAD_INPUT,
        message=f"{given} is another spelling of deal {deal.ref.id}.",
        queue=Queue.SALES,
        record=deal.ref,
        remedy=f"Start {deal.ref.id} instead.",
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
