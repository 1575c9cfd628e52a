"""``BillContract``: one billing group for one cycle: select, price, draft, review, issue (rules 24 to 26).

The pivot is this invoice's issue (rule 15). Before it, everything can be taken back: the draft in the ERP and
the reservations in the ledger. After it, only a credit corrects.
"""

from __future__ import annotations

import asyncio

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError

from activities.contracts import (
    BillingActivities,
    Draft,
    GroupEnded,
    InvoicingActivities,
    MakeInvoice,
    NothingToAmend,
    ReviewDraft,
    ReviewEdits,
    SelectDraft,
    StartBilling,
)
from activities.options import CallClass
from canonical.causes import Queue
from canonical.failures import Failure, FailureKind
from canonical.names import LEDGER_QUEUE, LEDGER_SYSTEM, SagaName, system_queue
from canonical.saga import GateDecision, GateOutcome, SagaStatus, SagaView, StepKind
from workflows.billing.proof import PROVE, proven
from workflows.figures import held_words
from workflows.kernel.handlers import SagaHandlers
from workflows.kernel.nature import Nature
from workflows.saga import Saga

SELECT, DRAFT, ISSUE, INPUTS = "select", "draft", "issue", "check-inputs"
CHECK_INPUTS = "Check what the invoice needs"

BILLING = Nature(
    owner=Queue.BILLING,
    cancel_too_late="Cancel came after the invoice was issued: it is recorded",
    point_of_no_return="The invoice is issued: correct it by a credit.",
    ends={
        SagaStatus.COMPLETE: "Complete.",
        SagaStatus.UNDONE: "Not billed: the draft is gone, its lines are unbilled again.",
    },
)


@workflow.defn(name="BillContract", failure_exception_types=[ValidationError])
class BillContract(SagaHandlers):
    """One run per billing group and cycle."""

    @workflow.init
    def __init__(self, start: StartBilling | None = None) -> None:
        start = StartBilling.model_validate(start)
        self.start = start
        self.billing = start
        self.saga = Saga(
            SagaName.BILL_CONTRACT.value, start, f"Billing {start.group} for {start.cycle}", BILLING
        )
        self.net: GroupEnded | None = None

    @workflow.run
    async def run(self, start: StartBilling | None = None) -> SagaView:
        """Bring the group's open work onto an issued invoice, or leave it unbilled."""
        try:
            view = await self.saga.conduct(self.bill)
        except (ApplicationError, asyncio.CancelledError):
            await self._report()
            raise
        await self._report()
        return view

    async def bill(self) -> None:
        """The business process."""
        draft = await self.select()
        if draft.invoice is None:
            self.saga.state.conclusion = f"Nothing to bill. {held_words(draft.held)}".strip()
            return
        reviewed = await self.review(draft, draft.invoice)
        if reviewed is None:
            return
        await self.issue(reviewed, draft.invoice)

    async def select(self) -> Draft:
        """What the group has open, priced and reserved; tax inputs are in order or somebody sees to them."""
        held = False
        while True:
            draft: Draft = await self.saga.step(
                SELECT,
                "Select and price what is open",
                BillingActivities.select,
                SelectDraft(
                    saga=self.saga.ref,
                    step=SELECT,
                    psa=self.billing.psa,
                    erp=self.start.system,
                    group=self.billing.group,
                    cycle=self.billing.cycle,
                    through=self.billing.through,
                ),
                kind=StepKind.COMPENSATABLE,
                queue=LEDGER_QUEUE,
                call=CallClass.LONG,
                system=LEDGER_SYSTEM,
            )
            self._show(draft)
            if not draft.findings:
                if held:
                    self.saga.settled(INPUTS, CHECK_INPUTS)
                return draft
            held = True
            await self.saga.hold(INPUTS, CHECK_INPUTS, _wrong_inputs(draft), NothingToAmend())
            self.saga.forget(SELECT)

    async def review(self, draft: Draft, invoice: str) -> Draft | None:
        """The draft in the ERP, as its reviewer wants it. None when nothing of it is left."""
        rounds = 0
        while True:
            if not draft.sent_after_review:
                await self._draft(invoice)
            if draft.review is None:
                return draft
            decision = await self.saga.gate(draft.review, amendable=ReviewEdits)
            self._show(draft)
            if decision is None or decision.outcome is GateOutcome.APPROVE:
                return draft
            rounds += 1
            draft = await self._amend(invoice, decision, rounds)
            if not draft.lines:
                await self.saga.retract(DRAFT, SELECT)
                self.saga.state.conclusion = "The review left nothing to bill."
                return None
            self.saga.forget(DRAFT)

    async def _draft(self, invoice: str) -> None:
        erp = self.start.system
        outcome = await self.saga.step(
            DRAFT,
            "Draft the invoice",
            InvoicingActivities.draft,
            MakeInvoice(saga=self.saga.ref, step=DRAFT, system=erp, invoice=invoice, values=self.saga.values),
            kind=StepKind.COMPENSATABLE,
            queue=system_queue(erp),
            call=CallClass.WRITE,
            system=erp,
            stands_on=(SELECT,),
        )
        self.saga.keep(outcome)

    async def _amend(self, invoice: str, decision: GateDecision, rounds: int) -> Draft:
        step = f"review.{rounds}"
        draft: Draft = await self.saga.step(
            step,
            f"Change the draft as {decision.actor} says",
            BillingActivities.review,
            ReviewDraft(saga=self.saga.ref, step=step, invoice=invoice, decision=decision),
            kind=StepKind.FORWARD_ONLY,
            queue=LEDGER_QUEUE,
            system=LEDGER_SYSTEM,
        )
        self._show(draft)
        return draft

    async def issue(self, draft: Draft, invoice: str) -> None:
        """Issue, and read back until the ERP shows it posted with our net."""
        erp = self.start.system
        command = MakeInvoice(
            saga=self.saga.ref, step=ISSUE, system=erp, invoice=invoice, values=self.saga.values
        )
        outcome = await self.saga.step(
            ISSUE,
            "Issue the invoice",
            InvoicingActivities.issue,
            command,
            kind=StepKind.PIVOT,
            queue=system_queue(erp),
            call=CallClass.WRITE,
            system=erp,
        )
        self.saga.keep(outcome)
        proof = await proven(
            self.saga,
            "Read the invoice back",
            InvoicingActivities.prove,
            command.model_copy(update={"step": PROVE, "values": self.saga.values}),
        )
        lines = f"{draft.lines:,} {'line' if draft.lines == 1 else 'lines'}"
        words = f"Invoice {proof.number}: {proof.net} net, {lines}."
        self.saga.state.conclusion = f"{words} {held_words(draft.held)}".strip()
        self.net = GroupEnded(
            saga_id=self.start.saga_id, status="", headline="", invoice=proof.number, net=proof.net
        )

    def _show(self, draft: Draft) -> None:
        state = self.saga.state
        state.generation = draft.generation
        state.at_stake = draft.net
        if draft.title:
            state.headline = f"Billing {draft.title}"
        self.saga.show(tallies=draft.tallies, held=draft.held)

    async def _report(self) -> None:
        """Tell whoever started this, if it still wants to know."""
        if self.billing.report_to is None or not self.saga.state.status.is_final:
            return
        view = self.saga.state.view()
        told = (self.net or GroupEnded(saga_id=view.saga_id, status="", headline="")).model_copy(
            update={"status": view.status.value, "headline": view.headline}
        )
        try:
            await workflow.get_external_workflow_handle(self.billing.report_to).signal("group_ended", told)
        except FailureError:
            return


def _wrong_inputs(draft: Draft) -> Failure:
    first = draft.findings[0]
    return Failure(
        kind=FailureKind.REPAIR,
        cause=first.cause,
        message="; ".join(finding.message for finding in draft.findings),
        queue=first.queue,
        record=first.record,
        remedy=first.remedy,
        at_stake=draft.net,
        findings=draft.findings,
    )
