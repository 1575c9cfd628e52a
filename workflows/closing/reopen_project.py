"""``ReopenProject``: what a closing changed is put back, in finance, delivery and on the deal (rule 45).

Steps, undo and failure table: ``docs/close-project.md``.
"""

from __future__ import annotations

from pydantic import ValidationError
from temporalio import workflow

from activities.contracts import (
    AgreeReopening,
    CloseActivities,
    CloseInDelivery,
    CloseInErp,
    DeliveryCloseActivities,
    ErpCloseActivities,
    ReadReopening,
    ReopeningSubject,
    StartReopenProject,
)
from canonical.causes import Queue
from canonical.names import LEDGER_QUEUE, LEDGER_SYSTEM, SagaName
from canonical.project_closing import DeliveryClosure, ErpClosure, Former
from canonical.saga import SagaStatus, SagaView, StepKind
from workflows.closing.writing import tell, write
from workflows.kernel.handlers import SagaHandlers
from workflows.kernel.nature import Nature
from workflows.saga import Saga

READ, PIVOT = StepKind.READ, StepKind.PIVOT
REOPENING = Nature(
    owner=Queue.BILLING,
    cancel_too_late="Cancel came after the project was re-opened: close it again",
    point_of_no_return="The project is open again: close it again by a closing of its own.",
    ends={
        SagaStatus.COMPLETE: "Complete.",
        SagaStatus.UNDONE: "Not re-opened: the project is closed as it was.",
        SagaStatus.FAILED: "Refused: everything is as it was.",
    },
)


@workflow.defn(name="ReopenProject", failure_exception_types=[ValidationError])
class ReopenProject(SagaHandlers):
    """One run per closing that is taken back."""

    @workflow.init
    def __init__(self, start: StartReopenProject | None = None) -> None:
        start = StartReopenProject.model_validate(start)
        self.start = start
        self.wanted = start
        self.saga = Saga(
            SagaName.REOPEN_PROJECT.value,
            start,
            f"Re-opening {start.contract} after closing {start.number}",
            REOPENING,
        )

    @workflow.run
    async def run(self, start: StartReopenProject | None = None) -> SagaView:
        """Put back what the closing changed, or leave it closed."""
        return await self.saga.conduct(self.carry)

    async def carry(self) -> None:
        """The business process: finance first, so that time can be posted once delivery takes it."""
        subject = await self.read()
        if subject.said:
            self.saga.state.conclusion = subject.said
            return
        if not subject.agreed:
            for former in subject.former:
                if former.system == self.start.system:
                    await self.open_finance(subject, former)
            delivered = [one for one in subject.former if one.system != self.start.system]
            await self.saga.together(*(self.open_delivery(one) for one in delivered))
            await self.agree()
        await tell(self.saga, self.wanted.contract, self.wanted.number, subject.deal)
        self.saga.state.conclusion = f"The projects of {self.wanted.contract} are open again."

    async def read(self) -> ReopeningSubject:
        """What is to be put back."""
        step = "subject"
        subject: ReopeningSubject = await self.saga.step(
            step,
            "What the closing changed",
            CloseActivities.reopening,
            ReadReopening(
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
        state.pivot_passed = state.pivot_passed or subject.agreed
        state.codes = {self.wanted.contract: subject.project_code} if subject.project_code else {}
        if subject.failure is not None:
            raise self.saga.stop(SagaStatus.FAILED, subject.failure)
        return subject

    async def open_finance(self, subject: ReopeningSubject, former: Former) -> None:
        """The contract's project in the ERP."""
        step = f"erp.{former.system}"
        await write(
            self.saga,
            step,
            f"Open the project in {former.system} again",
            ErpCloseActivities.reopen_project,
            CloseInErp(
                saga=self.saga.ref,
                step=step,
                system=former.system,
                closure=ErpClosure(
                    contract_key=self.wanted.contract,
                    project_id=former.record.id,
                    name=subject.name,
                    number=self.wanted.number,
                ),
                former=former,
            ),
            system=former.system,
        )

    async def open_delivery(self, former: Former) -> None:
        """One delivery project."""
        step = f"delivery.{former.key}"
        await write(
            self.saga,
            step,
            f"Open {former.key} in {former.system} again",
            DeliveryCloseActivities.reopen_project,
            CloseInDelivery(
                saga=self.saga.ref,
                step=step,
                system=former.system,
                closure=DeliveryClosure(
                    contract_key=self.wanted.contract,
                    delivery_key=former.key,
                    project_id=former.record.id,
                    title=former.key,
                    number=self.wanted.number,
                ),
                former=former,
            ),
            system=former.system,
        )

    async def agree(self) -> None:
        """Open from here on: time is taken again, held time can be let go."""
        step = "agree"
        await self.saga.step(
            step,
            "The contract's projects are open",
            CloseActivities.reopen,
            AgreeReopening(
                saga=self.saga.ref,
                step=step,
                contract=self.wanted.contract,
                number=self.wanted.number,
                reason=self.start.reason,
            ),
            kind=PIVOT,
            queue=LEDGER_QUEUE,
            system=LEDGER_SYSTEM,
        )
