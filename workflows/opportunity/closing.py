"""Compare, activate, tell: the last look before the pivot and everything after it."""

from __future__ import annotations

from typing import Any

from activities.contracts import (
    ActivateContract,
    BaselineRetry,
    CompareBaseline,
    CrmActivities,
    DecisionActivities,
    EngagementPlan,
    ErpActivities,
    NotifyActivities,
    PsaActivities,
    ReadBaseline,
    SendNotice,
    StartSaga,
    SystemBaseline,
    WriteBack,
)
from activities.options import CallClass
from canonical.causes import Cause, Queue
from canonical.failures import Failure, FailureKind
from canonical.names import LEDGER_QUEUE, system_queue
from canonical.operations import (
    ContractSetup,
    DealOutcome,
    Notice,
    project_symbol,
)
from canonical.opportunity import Opportunity
from canonical.saga import SagaStatus, StepKind
from canonical.writes import symbol, text
from workflows.opportunity.building import Building, build_steps, by_erp, by_psa
from workflows.opportunity.reading import READ_DEAL, ROUTE, Reading
from workflows.saga import Saga

READ, PIVOT, FORWARD = StepKind.READ, StepKind.PIVOT, StepKind.FORWARD_ONLY
BASELINE = "baseline"


class Closing:
    """From records that agree to an active engagement that everybody knows of."""

    def __init__(self, saga: Saga, start: StartSaga, reading: Reading, building: Building) -> None:
        self.saga = saga
        self.start = start
        self.reading = reading
        self.building = building

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
                self.saga.forget(READ_DEAL, ROUTE, *again, *self.reading.steps)
                new = await self.reading.validated_plan()
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
            await self.saga.hold(BASELINE, "All systems agree", failure, BaselineRetry())
            self.saga.forget(*again)

    async def read_all_back(self, plan: EngagementPlan) -> tuple[Any, ...]:
        """The deal's second reading and every system's own view, at once."""

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
            self.reading.read_deal("read-deal-again", "Read the deal again"),
            *(
                read_back(
                    erp,
                    ErpActivities.read_baseline,
                    ReadBaseline(
                        saga=ref,
                        system=erp,
                        contracts=tuple(setup.contract for setup in setups),
                        values=values,
                    ),
                )
                for erp, setups in by_erp(plan).items()
            ),
            *(
                read_back(
                    psa,
                    PsaActivities.read_baseline,
                    ReadBaseline(saga=ref, system=psa, deliveries=tuple(rows), values=values),
                )
                for psa, rows in by_psa(plan).items()
            ),
        )
        return tuple(found)

    async def drop_what_is_gone(self, old: EngagementPlan, new: EngagementPlan) -> None:
        """Undo what the changed deal no longer asks for; keep the rest to be patched."""
        before, after = build_steps(old), build_steps(new)
        await self.saga.retract(*(step for step in before if step not in after))
        self.saga.forget(*after)

    async def activate_contracts(self, plan: EngagementPlan) -> None:
        """Approve the contracts and open their projects in the ERP: the pivot (rule 15)."""

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

    async def open_for_work(self, plan: EngagementPlan) -> None:
        """Open the delivery projects, and tell sales: codes are final once the contracts are active."""
        await self.saga.together(
            self.write_back(plan),
            *(
                self.building.delivery_step(
                    "open", "Open for work:", PsaActivities.activate_project, delivery, kind=FORWARD
                )
                for delivery in plan.deliveries
            ),
        )

    async def write_back(self, plan: EngagementPlan) -> None:
        """Tell the deal its codes."""
        assert plan.engagement is not None
        assert plan.deal is not None
        lead = project_symbol(plan.engagement.lead_contract_key)
        parts: list[Any] = []
        contracts = sorted(
            (setup.contract.key for setup in plan.contracts),
            key=lambda key: key != plan.engagement.lead_contract_key if plan.engagement else False,
        )
        for contract in contracts:
            parts += [", "] if parts else []
            parts.append(symbol(project_symbol(contract), "code"))
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
        codes = ", ".join(self.saga.state.codes.values()) or "@project.code"
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


def _lost(deal: Opportunity) -> Failure:
    return Failure(
        kind=FailureKind.REPAIR,
        cause=Cause.DEAL_LOST_MEANWHILE,
        message=f"Deal {deal.ref.id} is no longer won (stage {deal.stage}).",
        queue=Queue.SALES,
        system=deal.ref.system,
        record=deal.ref,
    )
