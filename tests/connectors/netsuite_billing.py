"""Cost lines, invoices and credits that the NetSuite tests share."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from canonical.erp_billing import (
    CostKind,
    CostLine,
    CreditDraft,
    CreditLine,
    InvoiceDraft,
    InvoiceLineDraft,
    InvoiceLineKind,
    Posting,
)
from canonical.money import AmountRole, Money
from canonical.refs import RecordRef
from tests.connectors import netsuite_samples as samples

DAY = date(2026, 11, 18)


def eur(amount: str, currency: str = "EUR") -> Money:
    """A billing amount."""
    return Money(amount=Decimal(amount), currency=currency, role=AmountRole.BILLING)


def cost(number: int | str = 991, **changes: Any) -> CostLine:
    """A billable time line of 7:30 hours."""
    fields: dict[str, Any] = {
        "kind": CostKind.TIME,
        "source": RecordRef(system="kx", type="time_entries", id=str(number)),
        "revision": "r2",
        "legal_entity": "DE01",
        "project": "77",
        "project_code": "PRJ1",
        "worker": "14",
        "item": "31",
        "work_date": DAY,
        "posting_date": changes.get("work_date", DAY),
        "minutes": 450,
        "billable": True,
        "bill_rate": Decimal("150"),
        "note": "Workshop",
        **changes,
    }
    return CostLine(**fields)


def expense(number: int | str = 5, amount: str = "98.40", currency: str = "EUR", **changes: Any) -> CostLine:
    """A billable expense that somebody else reimburses."""
    money = Money(amount=Decimal(amount), currency=currency, role=AmountRole.TRANSACTION)
    return cost(
        number,
        **{
            "kind": CostKind.EXPENSE,
            "source": RecordRef(system="kx", type="expenses", id=str(number)),
            "item": "4",
            "minutes": 0,
            "amount": money,
            "bill_rate": None,
            "note": "Train",
            **changes,
        },
    )


def posting(stamp: str = "tu-x", **changes: Any) -> Posting:
    """The time line as NetSuite shows it."""
    fields: dict[str, Any] = {
        "ref": RecordRef(system=samples.SYSTEM, type="timeBill", id="700"),
        "stamp": stamp,
        "kind": CostKind.TIME,
        "project": "77",
        "worker": "14",
        "posted_on": DAY,
        "minutes": 450,
        "billable": True,
        "approved": True,
        **changes,
    }
    return Posting(**fields)


def fee(key: str = "L2.1", amount: str = "500.10", **changes: Any) -> InvoiceLineDraft:
    """A milestone."""
    fields: dict[str, Any] = {
        "key": key,
        "kind": InvoiceLineKind.FEE,
        "description": "Go live",
        "item": "31",
        "amount": eur(amount, changes.pop("currency", "EUR")),
        **changes,
    }
    return InvoiceLineDraft(**fields)


def timed(posting_id: str, amount: str, **changes: Any) -> InvoiceLineDraft:
    """A posted time line on an invoice."""
    kind = {"kind": InvoiceLineKind.TIME, "description": "Consulting", "posting": posting_id}
    return fee(f"time.{posting_id}", amount, **{**kind, **changes})


def draft(*lines: InvoiceLineDraft, key: str = "G1.2026-11.1", **changes: Any) -> InvoiceDraft:
    """An invoice of one project."""
    fields: dict[str, Any] = {
        "key": key,
        "seller": "DE01",
        "bill_to": "55",
        "project": "77",
        "currency": "EUR",
        "on": date(2026, 11, 30),
        "purchase_order": "PO-7",
        "lines": lines,
        **changes,
    }
    return InvoiceDraft(**fields)


def credit(invoice: str, *lines: CreditLine, key: str = "G1.c1", **changes: Any) -> CreditDraft:
    """A credit of an invoice."""
    fields: dict[str, Any] = {"on": date(2026, 12, 2), "reason": "Wrong rate", **changes}
    return CreditDraft(key=key, invoice=invoice, lines=lines, **fields)


def credited(invoice_line: str = "L2.1", amount: str = "100.10", currency: str = "EUR") -> CreditLine:
    """A credited line."""
    return CreditLine(
        key=f"c.{invoice_line}",
        invoice_line=invoice_line,
        description="Wrong rate",
        item="31",
        amount=eur(amount, currency),
    )
