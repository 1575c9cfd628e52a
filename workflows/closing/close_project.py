"""``CloseProject``: a contract's projects are closed everywhere, once no fact stands in the way (rule 45).

Steps, undo and failure table: ``docs/close-project.md``.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from temporalio import workflow

from activities.contracts import (
    AgreeClosing,
    CloseActivities,
    CloseInDelivery,
    CloseInErp,
    ClosingSubject,
    DeliveryCloseActivities,
    DeliveryFacts,
    DeliveryToClose,
    ErpCloseActivities,
    JudgeClosing,
    JudgedClosing,
    ReadClosing,
    ReadDeliveryFacts,
    ReadErpFacts,
    ReadLedgerFacts,
    StartCloseProject,
)
from canonical.causes import Queue
from canonical.names import LEDGER_QUEUE, LEDGER_SYSTEM, SagaName, system_queue
from canonical.project_closing import ClosingFact, DeliveryClosure, ErpClosure, ErpReading, LedgerReading
from canonical.saga import Actor, GateDecision, SagaStatus, SagaView, StepKind
from workflows.closing.writing import tell, write
from workflows.kernel.handlers import SagaHandlers
from workflows.kernel.nature import Nature
from workflows.saga import Saga

READ, PIVOT = StepKind.READ, StepKind.PIVOT
CLOSING = Nature(
    owner=Queue.BILLING,
    cancel_too_late="Cancel came after the project was closed: `trueup reopen-project` opens it again",
    point_of_no_return="The project is closed: `trueup reopen-project` opens it again.",
    ends={
        SagaStatus.COMPLETE: "Complete.",
        SagaStatus.UNDONE: "Not closed: everything is as it was.",
        SagaStatus.FAILED: "Refused: everything is as it was.",
    },
)
GATE = "gate.close"
LEDGER_FACTS, JUDGE = "facts.ledger", "judge"
COLLECTIONS = "collections"


@workflow.defn(name="CloseProject", failure_exception_types=[ValidationError])
class CloseProject(SagaHandlers):
    """One run per closing of a contract."""

    @workflow.init
    def __init__(self, start: StartCloseProject | None = None) -> None:
        start = StartCloseProject.model_validate(start)
        self.start = start
        self.wanted = start
        self.saga = Saga(
            SagaName.CLOSE_PROJECT.value, start, f"Closing {start.number} of {start.contract}", CLOSING
        )

    @workflow.run
    async def run(self, start: StartCloseProject | None = None) -> SagaView:
        """Close the contract's projects everywhere, or leave everything as it was."""
        return await self.saga.conduct(self.carry)

    async def carry(self) -> None:
        """The business process."""
        subject = await self.read()
        if subject.said:
            self.saga.state.conclusion = subject.said
            return
        if not subject.agreed:
            steps = await self.close_everywhere(subject)
            await self.agree(subject, steps)
        await tell(self.saga, self.wanted.contract, self.wanted.number, subject.deal)
        self.saga.state.conclusion = f"The projects of {self.wanted.contract} are closed."

    async def read(self) -> ClosingSubject:
        """What is to be closed, if it can be asked for at all."""
        step = "subject"
        subject: ClosingSubject = await self.saga.step(
            step,
            "What is to be closed",
            CloseActivities.subject,
            ReadClosing(
                saga=self.saga.ref,
                step=step,
                contract=self.wanted.contract,
                number=self.wanted.number,
                reason=self.start.reason,
            ),
            kind=READ,
            queue=LEDGER_QUEUE,
        )
        state = self.saga.state
        state.generation = subject.generation
        state.at_stake = subject.worth
        state.pivot_passed = state.pivot_passed or subject.agreed
        if subject.failure is not None:
            raise self.saga.stop(SagaStatus.FAILED, subject.failure)
        return subject

    # --- closing ----------------------------------------------------------------------------------------

    async def close_everywhere(self, subject: ClosingSubject) -> dict[str, str]:
        """Delivery first; then, if nothing slipped in before it was closed, finance."""
        notes = self.saga.state.progress
        while True:
            await self.nothing_in_the_way(subject)
            delivered = await self.close_delivery(subject)
            if self.start.plan:
                break
            # Somebody may have entered time between the look and the closing.
            self.forget_facts(subject)
            if (await self.look(subject)).gate is None:
                break
            await self.saga.retract(*delivered)
            notes["round"] = self.round + 1
        return {**delivered, **await self.close_finance(subject)}

    async def nothing_in_the_way(self, subject: ClosingSubject) -> None:
        """Look, and ask until there is nothing, or an approver has let pass what may pass."""
        while True:
            judged = await self.look(subject)
            if judged.gate is None or judged.failure is None:
                return
            if self.start.plan:
                raise self.saga.stop(SagaStatus.FAILED, judged.failure)
            decision = await self.saga.gate(judged.gate)
            assert decision is not None
            self.take(decision, judged)
            self.saga.forget(GATE)
            self.forget_facts(subject)

    def take(self, decision: GateDecision, judged: JudgedClosing) -> None:
        """Keep what was let pass, by whom and why; without a reason nothing is."""
        notes = self.saga.state.progress
        notes["unexplained"] = decision.choice == COLLECTIONS and not decision.reason.strip()
        if decision.choice != COLLECTIONS or notes["unexplained"]:
            return
        notes["waived"] = [one.model_dump(mode="json") for one in judged.facts if one.waivable]
        notes["decider"] = decision.actor.model_dump(mode="json")
        notes["reason"] = decision.reason

    @property
    def round(self) -> int:
        """Which attempt of closing this is: one that was taken back is another write."""
        return int(self.saga.state.progress.get("round", 1))

    @property
    def waived(self) -> tuple[ClosingFact, ...]:
        """Facts that an approver let pass."""
        return tuple(ClosingFact.model_validate(one) for one in self.saga.state.progress.get("waived", []))

    @property
    def decider(self) -> Actor | None:
        """Who let them pass."""
        kept = self.saga.state.progress.get("decider")
        return None if kept is None else Actor.model_validate(kept)

    # --- facts ------------------------------------------------------------------------------------------

    def forget_facts(self, subject: ClosingSubject) -> None:
        """They are read again."""
        systems = dict.fromkeys([*(one.system for one in subject.deliveries), self.start.system])
        self.saga.forget(LEDGER_FACTS, JUDGE, *(f"facts.{system}" for system in systems))

    async def look(self, subject: ClosingSubject) -> JudgedClosing:
        """Read the facts of every system, and judge them."""
        ledger: LedgerReading = await self.saga.step(
            LEDGER_FACTS,
            "Work, invoices and runs in our own ledger",
            CloseActivities.ledger_facts,
            ReadLedgerFacts(
                saga=self.saga.ref,
                step=LEDGER_FACTS,
                contract=self.wanted.contract,
                number=self.wanted.number,
                deal=subject.deal,
                deliveries=subject.deliveries,
            ),
            kind=READ,
            queue=LEDGER_QUEUE,
        )
        by_system: dict[str, list[DeliveryToClose]] = {}
        for one in subject.deliveries:
            by_system.setdefault(one.system, []).append(one)
        found: list[Any] = await self.saga.together(
            self.look_at_finance(subject, ledger),
            *(self.look_at_delivery(system, tuple(rows)) for system, rows in by_system.items()),
        )
        erp: ErpReading = found[0]
        deliveries: list[DeliveryFacts] = found[1:]
        if erp.project_code:
            self.saga.state.codes = {self.wanted.contract: erp.project_code}
        judged: JudgedClosing = await self.saga.step(
            JUDGE,
            "Does anything stand in the way?",
            CloseActivities.judge,
            JudgeClosing(
                saga=self.saga.ref,
                step=JUDGE,
                contract=self.wanted.contract,
                name=subject.name,
                ledger=ledger,
                deliveries=tuple(reading for one in deliveries for reading in one.readings),
                erp=erp,
                waived=self.waived,
                unexplained=bool(self.saga.state.progress.get("unexplained")),
            ),
            kind=READ,
            queue=LEDGER_QUEUE,
        )
        return judged

    async def look_at_finance(self, subject: ClosingSubject, ledger: LedgerReading) -> ErpReading:
        """Revenue and open balances as the ERP has them now."""
        assert subject.project is not None
        step = f"facts.{self.start.system}"
        reading: ErpReading = await self.saga.step(
            step,
            f"Revenue and balances in {self.start.system}",
            ErpCloseActivities.closing_facts,
            ReadErpFacts(
                saga=self.saga.ref,
                step=step,
                system=self.start.system,
                project=subject.project,
                order=subject.order,
                invoices=tuple(one.ref.id for one in ledger.invoices),
            ),
            kind=READ,
            queue=system_queue(self.start.system),
            system=self.start.system,
        )
        return reading

    async def look_at_delivery(self, system: str, rows: tuple[DeliveryToClose, ...]) -> DeliveryFacts:
        """Time, staffing and milestones as one delivery system has them now."""
        step = f"facts.{system}"
        facts: DeliveryFacts = await self.saga.step(
            step,
            f"Time, staffing and milestones in {system}",
            DeliveryCloseActivities.closing_facts,
            ReadDeliveryFacts(
                saga=self.saga.ref,
                step=step,
                system=system,
                contract=self.wanted.contract,
                deliveries=rows,
            ),
            kind=READ,
            queue=system_queue(system),
            system=system,
        )
        return facts

    # --- writes -----------------------------------------------------------------------------------------

    async def close_delivery(self, subject: ClosingSubject) -> dict[str, str]:
        """Every delivery project of the contract takes no more time; answers the steps that did it."""
        await self.saga.together(*(self.close_one(one) for one in subject.deliveries))
        return {self.named("delivery", one.delivery_key): one.delivery_key for one in subject.deliveries}

    def named(self, prefix: str, key: str) -> str:
        """A step of this round."""
        return f"{prefix}.{key}" if self.round == 1 else f"{prefix}.{key}~{self.round}"

    async def close_one(self, one: DeliveryToClose) -> None:
        """One delivery project."""
        step = self.named("delivery", one.delivery_key)
        await write(
            self.saga,
            step,
            f"Close {one.delivery_key} for time in {one.system}",
            DeliveryCloseActivities.close_project,
            CloseInDelivery(
                saga=self.saga.ref,
                step=step,
                system=one.system,
                closure=DeliveryClosure(
                    contract_key=self.wanted.contract,
                    delivery_key=one.delivery_key,
                    project_id=one.project.id,
                    title=one.delivery_key,
                    number=self.wanted.number,
                    round=self.round,
                ),
            ),
            system=one.system,
        )

    async def close_finance(self, subject: ClosingSubject) -> dict[str, str]:
        """The contract's project in the ERP; answers the step that did it."""
        assert subject.project is not None
        erp = self.start.system
        step = f"erp.{erp}"
        await write(
            self.saga,
            step,
            f"Close the project in {erp}",
            ErpCloseActivities.close_project,
            CloseInErp(
                saga=self.saga.ref,
                step=step,
                system=erp,
                closure=ErpClosure(
                    contract_key=self.wanted.contract,
                    project_id=subject.project.id,
                    name=subject.name,
                    number=self.wanted.number,
                ),
            ),
            system=erp,
        )
        return {step: self.wanted.contract}

    async def agree(self, subject: ClosingSubject, steps: dict[str, str]) -> None:
        """Closed, with what was there before: from here on only a re-opening takes it back."""
        step = "agree"
        notes = self.saga.state.progress
        await self.saga.step(
            step,
            "The contract's projects are closed",
            CloseActivities.agree,
            AgreeClosing(
                saga=self.saga.ref,
                step=step,
                contract=self.wanted.contract,
                number=self.wanted.number,
                project_code=next(iter(self.saga.state.codes.values()), ""),
                deal=subject.deal,
                waived=self.waived,
                decider=self.decider,
                reason=notes.get("reason", self.start.reason),
                steps=steps,
            ),
            kind=PIVOT,
            queue=LEDGER_QUEUE,
            system=LEDGER_SYSTEM,
        )
