"""Reads of the billing sagas: changed transactions, invoices, accounting periods."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from canonical.billing import Invoice, TaxLine
from canonical.causes import Cause, Queue
from canonical.failures import Defect, Refused
from canonical.money import AmountRole, Money
from canonical.operations import ChangePage
from canonical.refs import RecordRef
from connectors.netsuite import events, queries, wire
from connectors.netsuite import mapping as to
from connectors.netsuite.client import PAGE, NetSuiteClient
from connectors.netsuite.schemas import InvoiceRecord
from connectors.netsuite.settings import NetSuiteMapping, NetSuiteSettings

BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
"""Where a poll without a cursor starts: before any transaction of interest."""


@dataclass(frozen=True)
class Period:
    """An accounting month and its locks."""

    name: str
    start: date
    end: date
    closed: bool
    receivables_locked: bool

    @property
    def open_for_invoices(self) -> bool:
        """Whether an invoice can be dated in it."""
        return not (self.closed or self.receivables_locked)


class BillingReads:
    """Billing reads of one account."""

    def __init__(self, client: NetSuiteClient, settings: NetSuiteSettings) -> None:
        self.client = client
        self.settings = settings
        self.zone = ZoneInfo(settings.mapping.account_timezone)

    async def changed_transactions_since(self, cursor: str | None, *, limit: int = 500) -> ChangePage:
        """Invoices, payments and credits changed after ``cursor``, oldest first.

        Between polls the configured overlap is read again, so the same change may come twice: a change is
        a hint to read the record, never an order.
        """
        try:
            position = (
                events.Cursor.decode(cursor) if cursor else events.Cursor.starting(BEGINNING, self.zone)
            )
        except ValueError as error:
            raise Defect(str(error), system=self.client.system) from error
        overlap = timedelta(minutes=self.settings.cursor_overlap_minutes)
        at, after_id = position.lower_bound(self.zone, overlap)
        sql = queries.transactions_since(tuple(events.RECORD_TYPES), at, after_id)
        page = await self.client.page(sql, what="Read changed transactions", limit=min(limit, PAGE))
        # A poll that pages never falls back to the overlap before it has reached the end.
        ahead = events.advance(position, page.items, more=page.has_more)
        return ChangePage(
            changes=events.to_changes(self.client.system, page.items, self.zone),
            cursor=ahead.encode(),
            more=page.has_more,
        )

    async def read_invoice(
        self, invoice_id: str, *, contract_keys: tuple[str, ...] = (), credited: Money | None = None
    ) -> Invoice | None:
        """An invoice in canonical form, None when it does not exist.

        Args:
            invoice_id: internal id.
            contract_keys: contracts it bills, as the ledger knows them.
            credited: part settled by credit memos, which NetSuite counts as paid.

        Raises:
            Refused: its figures do not add up.
        """
        record = await self.client.get("invoice", invoice_id, expand=True, what=f"Read invoice {invoice_id}")
        if record is None:
            return None
        ref = self.client.ref("invoice", invoice_id)
        try:
            return to_invoice(self.settings.mapping, record, ref, contract_keys, credited)
        except ValueError as error:
            raise Refused(
                f"Invoice {invoice_id} cannot be read: {str(error).splitlines()[0]}",
                cause=Cause.AMOUNT_MISMATCH,
                queue=Queue.BILLING,
                system=self.client.system,
                record=ref,
                remedy="Look at the invoice's amounts and currency in NetSuite.",
            ) from error

    async def periods(self) -> list[Period]:
        """Accounting months with their locks, oldest first."""
        rows = await self.client.rows(queries.PERIODS, what="Read accounting periods")
        found = [period for row in rows if (period := to_period(row)) is not None]
        return sorted(found, key=lambda period: period.start)


def to_period(row: dict[str, Any]) -> Period | None:
    """A month of the calendar; None for the quarters and years that sum months up."""
    if wire.flag(row.get("isyear")) or wire.flag(row.get("isquarter")):
        return None
    start, end = wire.day(row.get("startdate")), wire.day(row.get("enddate"))
    if start is None or end is None:
        return None
    return Period(
        name=str(row.get("periodname") or row["id"]),
        start=start,
        end=end,
        closed=wire.flag(row.get("closed")) or wire.flag(row.get("alllocked")),
        receivables_locked=wire.flag(row.get("arlocked")),
    )


def to_invoice(
    mapping: NetSuiteMapping,
    record: dict[str, Any],
    ref: RecordRef,
    contract_keys: tuple[str, ...],
    credited: Money | None,
) -> Invoice:
    """The canonical invoice: gross is what is paid and what remains; tax is gross less the lines' net.

    Raises:
        ValueError: an amount does not fit the currency, or the credit exceeds what counts as paid.
    """
    invoice = InvoiceRecord.model_validate(record)
    currency = to.our_code(mapping.currencies, invoice.currency, "currency")

    def money(amount: Any) -> Money:
        return Money(amount=amount, currency=currency, role=AmountRole.BILLING)

    paid, balance, net = money(invoice.amount_paid), money(invoice.amount_remaining), money(invoice.net)
    gross = paid + balance
    credit = money(0) if credited is None else credited.model_copy(update={"role": AmountRole.BILLING})
    if credit.amount > paid.amount:
        raise ValueError(f"credited {credit} exceeds what NetSuite counts as paid, {paid}")
    tax = gross - net
    return Invoice(
        ref=ref,
        number=invoice.tran_id,
        seller=to.our_code(mapping.subsidiaries, invoice.subsidiary, "subsidiary"),
        bill_to=invoice.entity or "",
        contract_keys=contract_keys,
        purchase_order=invoice.purchase_order,
        issued_on=date.fromisoformat(invoice.tran_date[:10]),
        due_on=wire.day(invoice.due_date),
        net=net,
        tax=(TaxLine(code="total", amount=tax),) if tax.amount else (),
        gross=gross,
        paid=paid - credit,
        credited=credit,
        withheld=money(0),
        written_off=money(0),
        balance=balance,
        modified_at=wire.instant(invoice.last_modified),
    )
