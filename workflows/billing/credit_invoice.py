"""``CreditInvoice``: a correction after issue, proposed with figures, decided at a gate, proven (rule 39)."""

from __future__ import annotations

from pydantic import ValidationError
from temporalio import workflow

from activities.contracts import (
    BillingActivities,
    InvoicingActivities,
    MakeCredit,
    ProposedCredit,
    ShapeCredit,
    StartCredit,
)
from activities.options import CallClass
from canonical.causes import Queue
from canonical.invoicing import Freed
from canonical.names import LEDGER_QUEUE, LEDGER_SYSTEM, SagaName, system_queue
from canonical.saga import SagaStatus, SagaView, StepKind
from workflows.billing.proof import PROVE, proven
from workflows.kernel.handlers import SagaHandlers
from workflows.kernel.nature import Nature
from workflows.saga import Saga

CREDITING = Nature(
    owner=Queue.BILLING,
    cancel_too_late="Cancel came after the credit was issued: it is recorded",
    point_of_no_return="The credit is issued: a legal document is corrected by another one.",
    ends={
        SagaStatus.COMPLETE: "Complete.",
        SagaStatus.UNDONE: "Not credited: the invoice stands as it is.",
    },
)


@workflow.defn(name="CreditInvoice", failure_exception_types=[ValidationError])
class CreditInvoice(SagaHandlers):
    """One run per invoice and correction."""

    @workflow.init
    def __init__(self, start: StartCredit | None = None) -> None:
        start = StartCredit.model_validate(start)
        self.start = start
        self.credit = start
        self.saga = Saga(
            SagaName.CREDIT_INVOICE.value,
            start,
            f"A credit of invoice {start.invoice} is proposed",
            CREDITING,
        )

    @workflow.run
    async def run(self, start: StartCredit | None = None) -> SagaView:
        """Credit what must be credited, as the approver says; or leave the invoice as it is."""
        return await self.saga.conduct(self.correct)

    async def correct(self) -> None:
        """The business process."""
        proposal = await self.shape()
        if proposal.credit is None:
            self.saga.state.conclusion = "There is nothing to credit any more."
            return
        freed: Freed | None = None
        if proposal.review is not None:
            decision = await self.saga.gate(proposal.review)
            freed = Freed(decision.choice) if decision and decision.choice in set(Freed) else None
        await self.issue(proposal.credit, freed)
        self.saga.state.conclusion = f"{proposal.title}: {proposal.net} credited."

    async def shape(self) -> ProposedCredit:
        """What is to be credited, reserved until it is decided."""
        step = "shape"
        proposal: ProposedCredit = await self.saga.step(
            step,
            "Work out what is to be credited",
            BillingActivities.shape_credit,
            ShapeCredit(
                saga=self.saga.ref,
                step=step,
                psa=self.credit.psa,
                erp=self.start.system,
                invoice=self.credit.invoice,
                requested=self.credit.requested,
                lines=self.credit.lines,
                rates=self.credit.rates,
                refund=self.credit.refund,
                reason=self.credit.reason,
            ),
            kind=StepKind.COMPENSATABLE,
            queue=LEDGER_QUEUE,
            system=LEDGER_SYSTEM,
        )
        self.saga.state.generation = proposal.generation
        self.saga.state.at_stake = proposal.net
        return proposal

    async def issue(self, credit: str, freed: Freed | None) -> None:
        """The credit in the ERP, read back; its parts go where the approver said."""
        erp = self.start.system
        command = MakeCredit(
            saga=self.saga.ref, step="credit", system=erp, credit=credit, freed=freed, values=self.saga.values
        )
        outcome = await self.saga.step(
            "credit",
            f"Credit invoice {self.credit.invoice}",
            InvoicingActivities.credit,
            command,
            kind=StepKind.PIVOT,
            queue=system_queue(erp),
            call=CallClass.WRITE,
            system=erp,
        )
        self.saga.keep(outcome)
        await proven(
            self.saga,
            "Read the credit back",
            InvoicingActivities.prove_credit,
            command.model_copy(update={"step": PROVE, "values": self.saga.values}),
        )
