"""What the billing sagas may ask of an ERP: cost lines, invoices, credits, periods, its own unbilled balance.

Writes are planned and go through the effect executor, batches of cost lines and reversals through
``BulkPort``. What an ERP cannot do is in ``billing`` (its capabilities), never a surprise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Protocol

from canonical.erp_billing import (
    AccountingPeriod,
    BillingCapabilities,
    ContractLineReading,
    CostKind,
    CostLine,
    CreditDraft,
    CreditReading,
    ErpProject,
    ErpWorker,
    InvoiceDraft,
    InvoiceReading,
    Posting,
    ReversalOrder,
    UnbilledPage,
    UnbilledTotal,
)
from canonical.operations import WriteContext
from canonical.writes import VendorWrite
from connectors.ports import BulkPort, Writer


class BillingPort(BulkPort, Writer, Protocol):
    """Posting and invoicing (rules 23 to 26, 29, 30, 34 to 39)."""

    @property
    def billing(self) -> BillingCapabilities:
        """What this ERP can and cannot do."""
        ...

    # --- master data --------------------------------------------------------------------------------

    async def workers(self, keys: Sequence[str]) -> list[ErpWorker]:
        """Workers whose e-mail address, external id or number is one of ``keys``, in any number; inactive
        ones included. Several may answer to one key: which one is meant is not this port's to say.
        """
        ...

    async def projects(self, ids: Sequence[str]) -> list[ErpProject]:
        """Projects by the ERP's id as they are now; vanished ones are missing."""
        ...

    # --- cost ---------------------------------------------------------------------------------------

    def plan_cost(self, context: WriteContext, lines: Sequence[CostLine]) -> list[VendorWrite]:
        """One create per line, in the order of ``lines``, fit for ``submit_batch`` (one kind per batch). Keys
        are the source line and its revision: a line posted before is found, never posted again.

        Raises:
            Defect: a line lacks what its kind needs.
        """
        ...

    async def postings(self, kind: CostKind, stamps: Sequence[str]) -> dict[str, Posting]:
        """What the ERP holds, by stamp (``VendorWrite.stamp`` of ``plan_cost``); absent: not there. Proof of
        what landed, and what to look at before a reversal. In any number.
        """
        ...

    def plan_reversals(self, context: WriteContext, orders: Sequence[ReversalOrder]) -> list[VendorWrite]:
        """Take posted lines back; fit for ``submit_batch`` where all have one form. A reversal is read back
        before its replacement is sent, since batches have no order (rule 29).

        Raises:
            Refused: this ERP cannot take that line back in that form; the remedy says what a person does.
        """
        ...

    def plan_not_billable(self, context: WriteContext, postings: Sequence[Posting]) -> list[VendorWrite]:
        """Take posted lines out of the ERP's unbilled balance: written off, or covered after all. The cost
        stays. Fit for ``submit_batch``.
        """
        ...

    # --- invoices -----------------------------------------------------------------------------------

    def plan_invoice(self, context: WriteContext, draft: InvoiceDraft) -> list[VendorWrite]:
        """Ask for an invoice (rule 26), as its owner demands: make the draft with exactly these lines, or
        release them to the ERP's run. Asking again with other lines changes the draft that is there; undoing
        it removes the draft. Without ``billing.drafts`` this already is the pivot.

        Raises:
            Refused: this ERP cannot make such an invoice; see ``billing``.
        """
        ...

    async def invoice_state(self, draft: InvoiceDraft, values: Mapping[str, str]) -> InvoiceReading:
        """How far it has come, by reading back. ``values`` are the symbols' values, as far as known."""
        ...

    def plan_issue(self, context: WriteContext, draft: InvoiceDraft) -> list[VendorWrite]:
        """Issue the draft: the pivot of this invoice (rule 15). Empty where making it already posted it."""
        ...

    async def read_billed(self, invoice_id: str) -> InvoiceReading:
        """An invoice by the ERP's id, with net, tax, gross, paid, credited and its lines (rule 38)."""
        ...

    async def contract_lines(self, contract_id: str) -> list[ContractLineReading]:
        """The lines of a contract in the ERP, with what is billed of each."""
        ...

    # --- credits ------------------------------------------------------------------------------------

    def plan_credit(self, context: WriteContext, draft: CreditDraft) -> list[VendorWrite]:
        """Credit lines of an invoice, linked to it, at its rate. Never undone: a legal document (rule 16)."""
        ...

    async def read_credit(self, credit_id: str) -> CreditReading | None:
        """A credit memo by the ERP's id."""
        ...

    # --- books --------------------------------------------------------------------------------------

    async def accounting_periods(self) -> list[AccountingPeriod]:
        """Periods with their locks as they are now (never cached), oldest first."""
        ...

    async def unbilled_totals(self, through: date) -> list[UnbilledTotal]:
        """The ERP's own unbilled balance of work up to and including a day, per entity, currency and kind:
        the other side of the roll-forward (rule 37).
        """
        ...

    async def unbilled_lines(
        self, legal_entity: str, currency: str, through: date, cursor: str | None = None
    ) -> UnbilledPage:
        """The lines behind one such total, for the difference by line."""
        ...
