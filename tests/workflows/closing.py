"""Stub activities of closings: what stands in the way is scripted, look by look."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from temporalio import activity

from activities.contracts import (
    AgreeClosing,
    AgreeReopening,
    CloseInDelivery,
    CloseInErp,
    ClosingSubject,
    DeliveryFacts,
    DeliveryToClose,
    JudgeClosing,
    JudgedClosing,
    ReadClosing,
    ReadDeliveryFacts,
    ReadErpFacts,
    ReadLedgerFacts,
    ReadReopening,
    ReopeningSubject,
    SagaRef,
    StartCloseProject,
    StartReopenProject,
    StepOutcome,
    TellDeal,
)
from activities.options import Timings
from canonical.causes import Cause, Queue
from canonical.failures import Failure
from canonical.money import Money
from canonical.names import SagaName, closing_name, saga_id
from canonical.project_closing import ClosingFact, ErpReading, Former, LedgerReading
from canonical.refs import RecordRef
from canonical.saga import Actor
from rules.project_closing import closing_gate, in_the_way, uncovered
from tests.workflows.stubs import Desk, desk, record

PSA, ERP, CRM = "kantata-main", "netsuite-emea", "sf-main"
JOB, DEAL = RecordRef(system=ERP, type="job", id="7"), RecordRef(system=CRM, type="Opportunity", id="006")


def fact(cause: Cause = Cause.CLOSE_WORK_OPEN, key: str = "work", *, waivable: bool = False) -> ClosingFact:
    return ClosingFact(
        cause=cause,
        what="something",
        key=key,
        worth=Money.of_minor(100, "EUR"),
        queue=Queue.BILLING,
        remedy="deal with it",
        waivable=waivable,
    )


INVOICE = fact(Cause.CLOSE_INVOICE_OPEN, "invoice", waivable=True)


@dataclass
class Story:
    """One contract with two delivery projects."""

    looks: list[tuple[ClosingFact, ...]] = field(default_factory=list)
    """What each look finds; nothing once they are used up."""
    said: str = ""
    refused: Failure | None = None
    agreed: bool = False
    desk: Desk = field(default_factory=Desk)
    contract: str = field(default_factory=lambda: f"{uuid.uuid4().hex[:10]}.NL01.EUR")

    def __post_init__(self) -> None:
        STORIES[self.contract] = self

    @property
    def deliveries(self) -> tuple[DeliveryToClose, ...]:
        return tuple(
            DeliveryToClose(
                system=PSA,
                delivery_key=f"{self.contract}.{name}",
                project=RecordRef(system=PSA, type="workspaces", id=name),
            )
            for name in ("emea.ADV", "emea.IMPL")
        )

    def start(self, *, plan: bool = False) -> StartCloseProject:
        name = closing_name(self.contract, 1)
        return StartCloseProject(
            saga_id=saga_id(SagaName.CLOSE_PROJECT, "emea", ERP, name, plan=plan),
            region="emea",
            system=ERP,
            record_id=name,
            actor=Actor(name="sam"),
            reason="done",
            plan=plan,
            trace_id="trace",
            timings=Timings(attempts=1),
            contract=self.contract,
            number=1,
        )

    def reopening(self) -> StartReopenProject:
        name = closing_name(self.contract, 1)
        return StartReopenProject(
            saga_id=saga_id(SagaName.REOPEN_PROJECT, "emea", ERP, name),
            region="emea",
            system=ERP,
            record_id=name,
            actor=Actor(name="sam"),
            reason="more to do",
            trace_id="trace",
            timings=Timings(attempts=1),
            contract=self.contract,
            number=1,
        )

    def calls(self, *words: str) -> list[str]:
        """Calls that begin with one of these words, with the contract's key left out."""
        found = [call.replace(f"{self.contract}.", "") for call in self.desk.calls]
        return [call for call in found if call.split()[0] in words]


STORIES: dict[str, Story] = {}


async def write(saga: SagaRef, word: str, step: str, system: str, command: object) -> StepOutcome:
    await desk(saga).take(f"{word} {step}", command)
    if saga.plan:
        return StepOutcome(writes=({"key": step, "title": step},))
    return StepOutcome(records=(record(step, system),))


class CloseStubs:
    """The ledger's side."""

    @activity.defn(name="close.subject")
    async def subject(self, command: ReadClosing) -> ClosingSubject:
        story = STORIES[command.contract]
        await desk(command.saga).take("read subject", command)
        if story.said or story.refused:
            return ClosingSubject(said=story.said, failure=story.refused)
        return ClosingSubject(
            name="Contract", agreed=story.agreed, project=JOB, deal=DEAL, deliveries=story.deliveries
        )

    @activity.defn(name="close.ledger_facts")
    async def ledger_facts(self, command: ReadLedgerFacts) -> LedgerReading:
        await desk(command.saga).take("look ledger", command)
        return LedgerReading()

    @activity.defn(name="close.judge")
    async def judge(self, command: JudgeClosing) -> JudgedClosing:
        await desk(command.saga).take("judge", command)
        looks = STORIES[command.contract].looks
        facts = looks.pop(0) if looks else ()
        left = uncovered(facts, command.waived)
        if not left:
            return JudgedClosing(facts=facts)
        gate = closing_gate("Contract", left, None, requester="sam", unexplained=command.unexplained)
        return JudgedClosing(facts=facts, gate=gate, failure=in_the_way(left))

    @activity.defn(name="close.agree")
    async def agree(self, command: AgreeClosing) -> StepOutcome:
        await desk(command.saga).take("agree", command)
        return StepOutcome()

    @activity.defn(name="close.reopening")
    async def reopening(self, command: ReadReopening) -> ReopeningSubject:
        story = STORIES[command.contract]
        await desk(command.saga).take("read subject", command)
        former = [
            Former(system=ERP, operation="close", record=JOB, key=story.contract, title="", values={"a": 1}),
            *(
                Former(
                    system=PSA,
                    operation="close",
                    record=one.project,
                    key=one.delivery_key,
                    title="",
                    values={"archived": False},
                )
                for one in story.deliveries
            ),
        ]
        return ReopeningSubject(
            said=story.said,
            failure=story.refused,
            agreed=story.agreed,
            name="Contract",
            project_code="PRJ-1",
            former=tuple(former),
            deal=DEAL,
        )

    @activity.defn(name="close.reopen")
    async def reopen(self, command: AgreeReopening) -> StepOutcome:
        await desk(command.saga).take("agree", command)
        return StepOutcome(note=command.reason)


class ClosingSystemStubs:
    """Every connected system."""

    @activity.defn(name="psa.closing_facts")
    async def delivery_facts(self, command: ReadDeliveryFacts) -> DeliveryFacts:
        await desk(command.saga).take("look delivery", command)
        return DeliveryFacts()

    @activity.defn(name="erp.closing_facts")
    async def erp_facts(self, command: ReadErpFacts) -> ErpReading:
        await desk(command.saga).take("look erp", command)
        return ErpReading(project=JOB, project_code="PRJ-1")

    @activity.defn(name="psa.close_project")
    async def close_delivery(self, command: CloseInDelivery) -> StepOutcome:
        return await write(command.saga, "close", command.step, command.system, command)

    @activity.defn(name="psa.reopen_project")
    async def reopen_delivery(self, command: CloseInDelivery) -> StepOutcome:
        return await write(command.saga, "open", command.step, command.system, command)

    @activity.defn(name="erp.close_project")
    async def close_erp(self, command: CloseInErp) -> StepOutcome:
        return await write(command.saga, "close", command.step, command.system, command)

    @activity.defn(name="erp.reopen_project")
    async def reopen_erp(self, command: CloseInErp) -> StepOutcome:
        return await write(command.saga, "open", command.step, command.system, command)

    @activity.defn(name="crm.project_status")
    async def project_status(self, command: TellDeal) -> StepOutcome:
        return await write(command.saga, "tell", command.step, command.system, command)
