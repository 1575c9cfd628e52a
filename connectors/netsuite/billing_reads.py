"""Reads of the billing saga: invoices and credits, periods, workers and projects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from canonical.causes import Cause, Queue
from canonical.erp_billing import (
    AccountingPeriod,
    BillingOwner,
    ContractLineReading,
    CreditReading,
    ErpProject,
    ErpWorker,
    InvoiceDraft,
    InvoiceLineKind,
    InvoiceReading,
    InvoiceState,
)
from canonical.failures import Refused
from canonical.refs import RecordRef
from connectors.kit.together import parted, together
from connectors.netsuite import billing_queries as sql
from connectors.netsuite import billing_readings as reading
from connectors.netsuite.client import NetSuiteClient
from connectors.netsuite.invoice_plans import invoice_symbol
from connectors.netsuite.postings import CHUNK
from connectors.netsuite.settings import NetSuiteSettings

ABSENT = InvoiceReading(state=InvoiceState.ABSENT)


class BillingReads:
    """Billing reads of one account."""

    def __init__(self, client: NetSuiteClient, settings: NetSuiteSettings) -> None:
        self.client = client
        self.mapping = settings.mapping

    # --- invoices -----------------------------------------------------------------------------------

    async def state(self, draft: InvoiceDraft, values: Mapping[str, str]) -> InvoiceReading:
        """How far an invoice has come that we draft ourselves or that the account's own run makes."""
        if draft.owner is BillingOwner.ERP_RUN:
            return await self._of_run(draft, values)
        id_ = values.get(f"{invoice_symbol(draft.key)}.id")
        return ABSENT if id_ is None else await self.invoice(id_)

    async def invoice(self, invoice_id: str) -> InvoiceReading:
        """An invoice by internal id.

        Raises:
            Refused: its figures do not add up.
        """
        what = f"Read invoice {invoice_id}"
        record = await self.client.get("invoice", invoice_id, expand=True, what=what)
        if record is None:
            return ABSENT
        ref = self.client.ref("invoice", invoice_id)
        # NetSuite counts credits as paid; only the documents that were applied tell them apart.
        paid = Decimal(str(record.get("amountPaid") or 0))
        applied = await self.client.rows(sql.applied_to(invoice_id), what=what) if paid else []
        try:
            return reading.to_invoice(self.mapping, record, ref, applied)
        except ValueError as error:
            raise self._unreadable(ref, error) from error

    async def _of_run(self, draft: InvoiceDraft, values: Mapping[str, str]) -> InvoiceReading:
        """What the account's own billing run has made of released lines."""
        postings = {
            kind: [line.posting for line in draft.lines if line.kind is kind and line.posting is not None]
            for kind in (InvoiceLineKind.TIME, InvoiceLineKind.EXPENSE)
        }
        charges = [
            values[name]
            for line in draft.lines
            if line.posting is None and (name := f"charge:{draft.key}.{line.key}.id") in values
        ]
        asked = (
            (sql.invoices_of_time, postings[InvoiceLineKind.TIME]),
            (sql.invoices_of_expenses, postings[InvoiceLineKind.EXPENSE]),
            (sql.invoices_of_charges, charges),
        )
        parts = [(query, part) for query, ids in asked for part in parted(ids, CHUNK)]
        pages = await together(
            self.client.rows(query(part), what=f"Look for what the billing run made of {draft.key}")
            for query, part in parts
        )
        # Ids are apart by record type only.
        taken = {
            (query, str(row["line"])): str(row["invoice"])
            for (query, _), page in zip(parts, pages, strict=True)
            for row in page
            if row.get("invoice")
        }
        invoices = sorted(set(taken.values()), key=int)
        if len(taken) < len(draft.lines):
            said = f"the billing run has taken {len(taken)} of {len(draft.lines)} lines" if taken else None
            return InvoiceReading(state=InvoiceState.PENDING, reason=said)
        if len(invoices) > 1:
            said = f"the billing run put the lines on {len(invoices)} invoices ({', '.join(invoices)})"
            return InvoiceReading(state=InvoiceState.REFUSED, reason=said)
        return await self.invoice(invoices[0])

    async def credit(self, credit_id: str) -> CreditReading | None:
        """A credit memo by internal id, None when it does not exist."""
        what = f"Read credit memo {credit_id}"
        record = await self.client.get("creditMemo", credit_id, expand=True, what=what)
        if record is None:
            return None
        ref = self.client.ref("creditMemo", credit_id)
        try:
            return reading.to_credit(self.client, self.mapping, record, ref)
        except ValueError as error:
            raise self._unreadable(ref, error) from error

    async def contract_lines(self, contract_id: str) -> list[ContractLineReading]:
        """Lines of a sales order with what is billed of each; none when the order is gone."""
        what = f"Read the lines of sales order {contract_id}"
        record = await self.client.get("salesOrder", contract_id, expand=True, what=what)
        return [] if record is None else reading.to_contract_lines(self.mapping, record)

    def _unreadable(self, ref: RecordRef, error: ValueError) -> Refused:
        return Refused(
            f"{ref} cannot be read: {str(error).splitlines()[0]}",
            cause=Cause.AMOUNT_MISMATCH,
            queue=Queue.BILLING,
            system=self.client.system,
            record=ref,
            remedy="Look at the document's amounts and currency in NetSuite.",
        )

    # --- books --------------------------------------------------------------------------------------

    async def periods(self) -> list[AccountingPeriod]:
        """Accounting months with their locks, oldest first."""
        rows = await self.client.rows(sql.PERIODS, what="Read accounting periods")
        found = [period for row in rows if (period := reading.to_period(row)) is not None]
        return sorted(found, key=lambda period: period.start)

    # --- master data --------------------------------------------------------------------------------

    async def workers(self, keys: Sequence[str]) -> list[ErpWorker]:
        """Employees and vendors by address, external id or number."""
        tables = ("employee", "vendor")
        wanted = list(dict.fromkeys(key for key in keys if key))
        asked = [(table, part) for table in tables for part in parted(wanted, CHUNK)]
        pages = await together(
            self.client.rows(sql.workers(table, part), what=f"Look for workers ({table})")
            for table, part in asked
        )
        return [
            reading.to_worker(self.client, self.mapping, table, row)
            for (table, _), page in zip(asked, pages, strict=True)
            for row in page
        ]

    async def projects(self, ids: Sequence[str]) -> list[ErpProject]:
        """Projects by internal id."""
        pages = await together(
            self.client.rows(sql.projects(part), what=f"Read {len(part)} projects")
            for part in parted(list(dict.fromkeys(ids)), CHUNK)
        )
        return [reading.to_project(self.client, self.mapping, row) for page in pages for row in page]
