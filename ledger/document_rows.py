"""Between the table of documents and its frozen rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from canonical.causes import Cause
from canonical.failures import Conflict
from canonical.invoicing import BillingGroup, CreditProposal, DocumentState
from canonical.money import AmountRole, Money
from canonical.refs import RecordRef
from ledger.billing_rows import DocumentRow
from ledger.tables.invoice_state import InvoiceState

OPEN_STATES = (DocumentState.DRAFTING, DocumentState.DRAFTED, DocumentState.RELEASED)
OURS = (DocumentState.DRAFTING, DocumentState.DRAFTED)
"""States in which lines may still be changed."""


@dataclass(frozen=True)
class Told:
    """What the target shows of a document, read back."""

    record: RecordRef
    number: str | None
    net: Money
    tax: Money | None = None
    gross: Money | None = None
    issued_on: date | None = None


def tell(row: InvoiceState, told: Told) -> None:
    """Put what the target shows on the row."""
    row.record_id = told.record.id
    row.number = told.number or row.number
    row.told_net_minor = told.net.minor
    row.tax_minor = told.tax.minor if told.tax is not None else None
    row.gross_minor = told.gross.minor if told.gross is not None else None


def conflict(words: str) -> Conflict:
    """Somebody else was quicker, or it is too late."""
    return Conflict(
        f"{words}.", cause=Cause.VERSION_CONFLICT, system="ledger", remedy="look at the document, then decide"
    )


def document_row(row: InvoiceState) -> DocumentRow:
    """The frozen row."""

    def money(minor: int | None) -> Money | None:
        return None if minor is None else Money.of_minor(minor, row.currency, AmountRole.BILLING)

    values: dict[str, Any] = {
        name: getattr(row, name)
        for name in (
            "target",
            "kind",
            "state",
            "group_key",
            "cycle",
            "sequence",
            "corrects",
            "legal_entity",
            "saga_id",
            "version",
            "applied",
            "last_command",
            "lines",
            "record_id",
            "number",
            "issued_on",
            "issued_at",
            "reason",
        )
    }
    return DocumentRow(
        **values,
        key=row.document,
        group=BillingGroup.model_validate(row.billing_group),
        net=Money.of_minor(row.net_minor, row.currency, AmountRole.BILLING),
        told_net=money(row.told_net_minor),
        tax=money(row.tax_minor),
        gross=money(row.gross_minor),
        on=row.on_day,
        proposal=CreditProposal.model_validate(row.proposal) if row.proposal else None,
    )
