"""What the feedback saga asks: of an ERP what changed and how it stands, of any target to show figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from canonical.feedback import Feed, Figure, InvoiceStanding, OpenBalance, RevenueStanding, TargetCurrencies
from canonical.operations import ChangePage, WriteContext
from canonical.refs import RecordRef
from canonical.writes import VendorWrite
from connectors.ports import ConnectedSystem, Writer


class FeedbackPort(ConnectedSystem, Protocol):
    """An ERP as the source of what was billed, paid and recognised (rule 40)."""

    @property
    def settles_after(self) -> float:
        """Seconds after which a second reading is one of its own: its search has caught up by then."""
        ...

    async def feedback_changes(
        self, feed: Feed, cursor: str | None, *, since: datetime | None = None, limit: int = 500
    ) -> ChangePage:
        """What changed after ``cursor`` (with the instance's overlap), oldest first; without one, since a
        moment. A change of revenue names the contract's record.
        """
        ...

    def told_of(self, record_type: str, record_id: str) -> tuple[Feed, RecordRef] | None:
        """The record of which an event of this vendor told, by the type's name in such events, and the feed
        it is of; None for a type that nothing is followed of. Of revenue it is the contract's record.
        """
        ...

    async def invoice_standing(self, invoice_id: str) -> InvoiceStanding:
        """An invoice with everything that settles it, as it is now; absent when there is none."""
        ...

    async def revenue_standing(self, contract_id: str) -> RevenueStanding | None:
        """What is recognised and deferred on a contract so far, by its record in the ERP."""
        ...

    async def invoices_of(self, documents: Sequence[RecordRef]) -> list[RecordRef]:
        """Invoices that payments, credits and refunds concern as they are applied now."""
        ...

    async def open_balances(self, invoices: Sequence[str]) -> dict[str, OpenBalance]:
        """What invoices owe, by id and in few calls; those that are gone are missing."""
        ...


class FiguresPort(Writer, Protocol):
    """A system whose records can show finance's figures."""

    async def target_currencies(self, ref: RecordRef) -> TargetCurrencies | None:
        """In which currencies a record shows amounts; None when the record is gone.

        Where the record holds text only, the record's currency is empty: amounts are told in their own.
        """
        ...

    def shows_margin(self, ref: RecordRef) -> bool:
        """Whether a record is configured to tell margin: an account or a delivery project (rule 42)."""
        ...

    def plan_invoice_feedback(
        self, context: WriteContext, ref: RecordRef, figures: Mapping[str, Figure], *, revision: str = ""
    ) -> list[VendorWrite]:
        """Show figures on a record, in one write; empty when it is not configured to show any. What the
        vendor cannot hold is mapped as its page says.

        Raises:
            ValueError: an unknown figure, or a record of another type or system.
        """
        ...
