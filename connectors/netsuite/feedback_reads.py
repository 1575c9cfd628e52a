"""Reads of the feedback saga: an invoice with what settles it, recognised revenue, what documents concern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from canonical.causes import Cause, Queue
from canonical.erp_billing import InvoiceState
from canonical.failures import Refused
from canonical.feedback import Feed, InvoiceStanding, OpenBalance, RevenueStanding
from canonical.money import Money
from canonical.refs import RecordRef
from connectors.kit.together import parted, together
from connectors.netsuite import billing_readings, events, wire
from connectors.netsuite import feedback_queries as sql
from connectors.netsuite import feedback_readings as reading
from connectors.netsuite import mapping as to
from connectors.netsuite.client import NetSuiteClient
from connectors.netsuite.postings import CHUNK
from connectors.netsuite.settings import NetSuiteSettings


class FeedbackReads:
    """Feedback reads of one account."""

    def __init__(self, client: NetSuiteClient, settings: NetSuiteSettings) -> None:
        self.client = client
        self.mapping = settings.mapping
        self.zone = ZoneInfo(settings.mapping.account_timezone)

    def told_of(self, record_type: str, record_id: str) -> tuple[Feed, RecordRef] | None:
        """The record of which a script in the account told, and its feed."""
        return events.told_of(self.client.system, record_type, record_id)

    async def standing(self, invoice_id: str) -> InvoiceStanding:
        """An invoice as it stands now.

        Raises:
            Refused: its figures do not add up.
        """
        what, ref = f"Read how invoice {invoice_id} stands", self.client.ref("invoice", invoice_id)
        if not invoice_id.isdigit():
            return InvoiceStanding(ref=ref, state=InvoiceState.ABSENT)
        record = await self.client.get("invoice", invoice_id, expand=True, what=what)
        if record is None:
            return InvoiceStanding(ref=ref, state=InvoiceState.ABSENT)
        if not self._ours(record):
            return InvoiceStanding(ref=ref, state=InvoiceState.POSTED, foreign=True)
        reduced = bool(wire.decimal(record.get("amountPaid", 0)))
        asked = [sql.refunds(invoice_id), *([sql.applications(invoice_id)] if reduced else [])]
        refunds, *found = await together(self.client.rows(query, what=what) for query in asked)
        rows = found[0] if found else []
        credit_ids = list(dict.fromkeys(str(row["document"]) for row in rows if row["type"] == "CustCred"))
        credits_ = dict(
            zip(
                credit_ids,
                await together(
                    self.client.get("creditMemo", one, expand=True, what=what) for one in credit_ids
                ),
                strict=True,
            )
        )
        try:
            told = billing_readings.to_invoice(self.mapping, record, ref)
            assert told.invoice is not None
            currency = told.invoice.gross.currency
            applications = reading.to_applications(self.client, self.mapping, rows, credits_, currency)
            return reading.to_standing(self.mapping, ref, record, told, applications, refunds)
        except ValueError as error:
            raise self._unreadable(ref, error) from error

    def _ours(self, record: Mapping[str, Any]) -> bool:
        """Whether seller and currency are mapped: an account has invoices that have nothing to do with us."""
        seller, currency = wire.ref_id(record.get("subsidiary")), wire.ref_id(record.get("currency"))
        mapping = self.mapping
        return seller in mapping.subsidiaries.values() and currency in mapping.currencies.values()

    async def revenue(self, contract_id: str) -> RevenueStanding | None:
        """What is recognised and what is still to be recognised on a sales order; None without plans."""
        if not contract_id.isdigit():
            return None
        rows = await self.client.rows(sql.revenue(contract_id), what=f"Read the revenue of {contract_id}")
        if not rows:
            return None
        ref = self.client.ref("salesOrder", contract_id)
        try:
            currency = to.our_code(self.mapping.currencies, wire.ref_id(rows[0].get("currency")), "currency")
            planned = sum((wire.decimal(row.get("amount", 0)) for row in rows), Decimal(0))
            done = sum((wire.decimal(row.get("recognizedamount", 0)) for row in rows), Decimal(0))
            return RevenueStanding(
                ref=ref,
                recognised=Money(amount=done, currency=currency),
                deferred=Money(amount=planned - done, currency=currency),
                modified_at=events.to_utc(max(str(row["modified"]) for row in rows), self.zone),
            )
        except ValueError as error:
            raise self._unreadable(ref, error) from error

    async def invoices_of(self, documents: Sequence[RecordRef]) -> list[RecordRef]:
        """Invoices that payments, credits and refunds concern as they are applied now: those they reduce,
        those that the credits were made from, and those whose credits were paid back.
        """
        direct = {one.id for one in documents if one.type == "invoice"}
        ids = list(dict.fromkeys(one.id for one in documents if one.type != "invoice"))
        what = f"Look up the invoices of {len(ids)} documents"
        credits_ = {one.id for one in documents if one.type == "creditMemo"}
        for part in parted(ids, CHUNK):
            for row in await self.client.rows(sql.reduced_by(part), what=what):
                (direct if row["type"] == "CustInvc" else credits_).add(str(row["reduced"]))
        for part in parted(sorted(credits_), CHUNK):
            rows = await self.client.rows(sql.made_from(part), what=what)
            direct |= {str(row["invoice"]) for row in rows}
        return [self.client.ref("invoice", id_) for id_ in sorted(direct, key=int)]

    async def balances(self, invoices: Sequence[str]) -> dict[str, OpenBalance]:
        """What invoices owe, by id; deleted ones are missing."""
        what, found = f"Compare {len(invoices)} invoices", dict[str, OpenBalance]()
        for part in parted(list(invoices), CHUNK):
            for row in await self.client.rows(sql.balances(part), what=what):
                found[str(row["id"])] = OpenBalance(
                    id=str(row["id"]),
                    balance=wire.decimal(row.get("balance", 0)),
                    modified_at=events.to_utc(str(row["modified"]), self.zone),
                )
        return found

    def _unreadable(self, ref: RecordRef, error: ValueError) -> Refused:
        return Refused(
            f"{ref} cannot be read: {str(error).splitlines()[0]}.",
            cause=Cause.AMOUNT_MISMATCH,
            queue=Queue.BILLING,
            system=self.client.system,
            record=ref,
            remedy="Look at the document in NetSuite, or correct the mapping of subsidiaries and currencies.",
        )
