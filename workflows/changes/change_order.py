"""``ChangeOrder``: one change of a contract's terms, everywhere or nowhere (rules 8, 43).

Steps, undo and failure table: ``docs/change-order.md``.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from temporalio import workflow

from activities.contracts import (
    AgreeChange,
    BaselineRetry,
    ChangeActivities,
    ChangeInDelivery,
    ChangeInErp,
    CheckChange,
    CompareChange,
    DeliveryChangeActivities,
    DeliveryPlace,
    ErpActivities,
    OrderChangeActivities,
    PsaActivities,
    ReadBaseline,
    ScopeActivities,
    ShapeChange,
    ShapedChange,
    ShowScope,
    StartChangeOrder,
    StartRateChange,
    StepOutcome,
    SystemBaseline,
)
from activities.options import CallClass
from canonical.causes import Cause, Queue
from canonical.change_orders import ContractScope, OrderChange, Treatment
from canonical.failures import Failure, FailureKind
from canonical.names import LEDGER_QUEUE, LEDGER_SYSTEM, SagaName, saga_id, system_queue
from canonical.operations import project_symbol
from canonical.saga import Actor, SagaStatus, SagaView, StepKind
from workflows.billing.change_rates import ChangeRates
from workflows.kernel.children import handed_on
from workflows.kernel.handlers import SagaHandlers
from workflows.kernel.nature import Nature
from workflows.saga import Saga

READ, BUILD, PIVOT, FORWARD = (
    StepKind.READ,
    StepKind.COMPENSATABLE,
    StepKind.PIVOT,
    StepKind.FORWARD_ONLY,
)
CHANGING = Nature(
    owner=Queue.BILLING,
    cancel_too_late="Cancel came after the new terms were agreed: another change order takes them back",
    point_of_no_return="The new terms are agreed: only another change order takes them back.",
    ends={
        SagaStatus.COMPLETE: "Complete.",
        SagaStatus.UNDONE: "Not changed: the contract stands as it was.",
        SagaStatus.FAILED: "Refused: the contract stands as it was.",
    },
)
SCOPE, CHECK, BASELINE = "scope", "check", "baseline"


@workflow.defn(name="ChangeOrder", failure_exception_types=[ValidationError])
class ChangeOrderSaga(SagaHandlers):
    """One run per change order."""

    @workflow.init
    def __init__(self, start: StartChangeOrder | None = None) -> None:
        start = StartChangeOrder.model_validate(start)
        self.start = start
        self.wanted = start
        self.saga = Saga(
            SagaName.CHANGE_ORDER.value,
            start,
            f"Change order {start.order} of contract {start.contract}",
            CHANGING,
        )

    @workflow.run
    async def run(self, start: StartChangeOrder | None = None) -> SagaView:
        """Bring the change to every system, or leave the contract as it was."""
        return await self.saga.conduct(self.carry)

    async def carry(self) -> None:
        """The business process."""
        shaped = await self.shape()
        if shaped.order is None:
            self.saga.state.conclusion = shaped.said
            return
        if shaped.change is not None:
            change, decider = await self.propose(shaped, shaped.change)
            await self.hold_contract(shaped, change)
            await self.change_delivery(shaped)
            await self.change_contract(shaped, change)
            baselines = await self.all_agree(shaped, change)
            await self.agree(shaped, change, baselines, decider)
        await self.tell(shaped)
        if shaped.change is not None:
            await self.reprice(shaped, shaped.change)

    async def shape(self) -> ShapedChange:
        """Judge it, and see what it means for every system."""
        step = "shape"
        shaped: ShapedChange = await self.saga.step(
            step,
            "Judge the change order",
            ChangeActivities.shape,
            ShapeChange(
                saga=self.saga.ref,
                step=step,
                contract=self.wanted.contract,
                order=self.wanted.order,
                reason=self.start.reason,
            ),
            kind=READ,
            queue=LEDGER_QUEUE,
        )
        state = self.saga.state
        state.generation = shaped.generation
        state.values.update(shaped.values)
        state.pivot_passed = state.pivot_passed or shaped.agreed
        if shaped.change is not None:
            state.at_stake = shaped.change.impact.after
            code = shaped.values.get(f"{project_symbol(self.wanted.contract)}.code")
            state.codes = {self.wanted.contract: code} if code else {}
        if shaped.failure is not None:
            raise self.saga.stop(SagaStatus.FAILED, shaped.failure)
        return shaped

    async def propose(self, shaped: ShapedChange, change: OrderChange) -> tuple[OrderChange, Actor | None]:
        """Show sales the scope, ask finance, and look once more what is billed by then."""
        assert shaped.gate is not None
        await self.show(shaped, agreed=False)
        decision = await self.saga.gate(shaped.gate)
        treatment = Treatment(decision.choice) if decision and decision.choice else None
        if treatment is Treatment.SEPARATE:
            raise self.saga.stop(SagaStatus.UNDONE, _is_a_contract(self.wanted.order, decision))
        checked = await self.saga.step(
            CHECK,
            "Nothing goes below what is billed",
            ChangeActivities.check,
            CheckChange(saga=self.saga.ref, step=CHECK, before=change.before, after=change.after),
            kind=READ,
            queue=LEDGER_QUEUE,
        )
        if checked.failure is not None:
            raise self.saga.stop(SagaStatus.UNDONE, checked.failure)
        return change.model_copy(update={"treatment": treatment}), decision.actor if decision else None

    async def show(self, shaped: ShapedChange, *, agreed: bool) -> None:
        """The scope on the deal: proposed, so that an undo takes it back; or agreed."""
        assert shaped.scope is not None
        scope: ContractScope = shaped.scope
        step = "agreed-scope" if agreed else SCOPE
        outcome: StepOutcome = await self.saga.step(
            step,
            f"{'Agreed' if agreed else 'Proposed'} scope in {shaped.crm}",
            ScopeActivities.show_scope,
            ShowScope(
                saga=self.saga.ref,
                step=step,
                system=shaped.crm,
                contract=self.wanted.contract,
                scope=scope.model_copy(update={"status": "Agreed"}) if agreed else scope,
                agreed=agreed,
            ),
            kind=FORWARD if agreed else BUILD,
            queue=system_queue(shaped.crm),
            call=CallClass.WRITE,
            system=shaped.crm,
        )
        self.saga.keep(outcome)

    async def hold_contract(self, shaped: ShapedChange, change: OrderChange) -> None:
        """Finance's contract says that it is being changed."""
        await self.in_erp("hold", "Mark the contract in", OrderChangeActivities.hold_contract, change)

    async def change_contract(self, shaped: ShapedChange, change: OrderChange) -> None:
        """Lines with their revenue settings, billing schedules, terms. The mark stays as long as they do."""
        await self.in_erp(
            "contract",
            "Contract and revenue in",
            OrderChangeActivities.change_contract,
            change,
            stands_on="hold",
        )

    async def in_erp(
        self, prefix: str, title: str, method: Any, change: OrderChange, *, stands_on: str = ""
    ) -> None:
        """One step about the contract in its ERP; what it stands on is not undone before it."""
        erp = self.start.system
        step = f"{prefix}.{erp}"
        outcome: StepOutcome = await self.saga.step(
            step,
            f"{title} {erp}",
            method,
            ChangeInErp(saga=self.saga.ref, step=step, system=erp, change=change, values=self.saga.values),
            kind=BUILD,
            queue=system_queue(erp),
            call=CallClass.WRITE,
            system=erp,
            stands_on=(f"{stands_on}.{erp}",) if stands_on else (),
        )
        self.saga.keep(outcome)

    async def change_delivery(self, shaped: ShapedChange) -> None:
        """Budget, rates and milestones of every delivery project that the change concerns."""
        await self.saga.together(
            *(self.change_project(place) for place in shaped.deliveries if place.change is not None)
        )

    async def change_project(self, place: DeliveryPlace) -> None:
        """One delivery project."""
        assert place.change is not None
        step = f"delivery.{place.change.impact.delivery_key}"
        outcome: StepOutcome = await self.saga.step(
            step,
            f"Budget and rates of {place.setup.project.title} in {place.system}",
            DeliveryChangeActivities.change_project,
            ChangeInDelivery(saga=self.saga.ref, step=step, system=place.system, change=place.change),
            kind=BUILD,
            queue=system_queue(place.system),
            call=CallClass.WRITE,
            system=place.system,
        )
        self.saga.keep(outcome)

    async def all_agree(self, shaped: ShapedChange, change: OrderChange) -> tuple[SystemBaseline, ...]:
        """Read all systems back; what differs is waited for."""
        while True:
            baselines = await self.read_all_back(shaped, change)
            compared = await self.saga.step(
                "compare",
                "Compare finance and delivery with the new terms",
                ChangeActivities.compare,
                CompareChange(
                    saga=self.saga.ref,
                    step="compare",
                    after=change.after,
                    impact=change.impact,
                    baselines=baselines,
                    values=self.saga.values,
                ),
                kind=READ,
                queue=LEDGER_QUEUE,
            )
            if not compared.differences:
                self.saga.settled(BASELINE, "All systems agree")
                return baselines
            failure = Failure(
                kind=FailureKind.REPAIR,
                cause=Cause.BASELINE_DIFFERS,
                message=f"{len(compared.differences)} value(s) differ from the new terms.",
                queue=compared.differences[0].queue,
                findings=compared.differences,
                at_stake=change.impact.after,
                remedy="Correct the records named, then retry.",
            )
            await self.saga.hold(BASELINE, "All systems agree", failure, BaselineRetry())
            self.saga.forget("compare", *(f"read-back.{one.system}" for one in baselines))

    async def read_all_back(self, shaped: ShapedChange, change: OrderChange) -> tuple[SystemBaseline, ...]:
        """Every system's own view, at once."""
        systems = dict.fromkeys(place.system for place in shaped.deliveries)
        erp = ReadBaseline(
            saga=self.saga.ref,
            system=self.start.system,
            contracts=(change.after,),
            values=self.saga.values,
        )
        found = await self.saga.together(
            self.read_one_back(ErpActivities.read_baseline, erp),
            *(
                self.read_one_back(
                    PsaActivities.read_baseline,
                    ReadBaseline(
                        saga=self.saga.ref,
                        system=system,
                        deliveries=tuple(one.setup for one in shaped.deliveries if one.system == system),
                        values=self.saga.values,
                    ),
                )
                for system in systems
            ),
        )
        return tuple(found)

    async def read_one_back(self, method: Any, command: ReadBaseline) -> SystemBaseline:
        """One system's view."""
        result: SystemBaseline = await self.saga.step(
            f"read-back.{command.system}",
            f"Read back from {command.system}",
            method,
            command,
            kind=READ,
            queue=system_queue(command.system),
            system=command.system,
        )
        return result

    async def agree(
        self,
        shaped: ShapedChange,
        change: OrderChange,
        baselines: tuple[SystemBaseline, ...],
        decider: Actor | None,
    ) -> None:
        """The new version with its baseline: from here on only another change order takes it back."""
        assert shaped.order is not None
        step = "agree"
        await self.saga.step(
            step,
            "The new terms and their baseline",
            ChangeActivities.agree,
            AgreeChange(
                saga=self.saga.ref,
                step=step,
                order=shaped.order,
                change=change,
                baselines=baselines,
                decider=decider,
            ),
            kind=PIVOT,
            queue=LEDGER_QUEUE,
            system=LEDGER_SYSTEM,
        )
        self.saga.state.conclusion = (
            f"Version {change.version} of {self.wanted.contract}: {change.impact.before} is "
            f"{change.impact.after} now."
        )

    async def tell(self, shaped: ShapedChange) -> None:
        """Sales see that it is agreed."""
        await self.show(shaped, agreed=True)

    async def reprice(self, shaped: ShapedChange, change: OrderChange) -> None:
        """New rates: what is not billed gets its new worth, the rest is decided by a saga of its own."""
        if not change.impact.rates or change.after.rate_card is None or not shaped.deliveries:
            return
        base = self.start
        start = StartRateChange(
            **handed_on(base),
            saga_id=saga_id(SagaName.CHANGE_RATES, base.region, base.system, self.wanted.contract),
            system=base.system,
            record_id=self.wanted.contract,
            psa=shaped.deliveries[0].system,
            contract=self.wanted.contract,
            card=change.after.rate_card,
        )
        begun = await self.saga.launch(ChangeRates.run, start)
        word = (
            "The work is priced anew."
            if begun
            else "Another change of its rates is under way: import them again."
        )
        self.saga.state.conclusion += f" {word}"


def _is_a_contract(order: str, decision: Any) -> Failure:
    return Failure(
        kind=FailureKind.REPAIR,
        cause=Cause.CHANGE_IS_A_CONTRACT,
        message=f"{decision.actor} treats change order {order} as a contract of its own. {decision.reason}",
        queue=Queue.BILLING,
        remedy="Sell its scope by a deal of its own.",
    )
