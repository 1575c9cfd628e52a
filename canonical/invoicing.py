"""Invoices before and after issue as we mean them: groups, plans, review, credits (rules 24, 25, 39).

What the ERP is asked for is in ``canonical.erp_billing``; here is why it is asked, tied to allocations.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from pydantic import model_validator

from canonical.base import Canonical
from canonical.engagement import InvoiceGrouping
from canonical.erp_billing import InvoiceLineKind
from canonical.money import AmountRole, Conversion, CurrencyCode, Exact, Money, total


class BillingGroup(Canonical):
    """What one invoice may collect: all of it must be equal (rule 25)."""

    seller: str
    """Legal entity."""
    bill_to: str
    """Client key."""
    currency: CurrencyCode
    tax_treatment: str | None = None
    purchase_order: str | None = None
    grouping: InvoiceGrouping
    subject: str
    """Project code, contract key or client key, as ``grouping`` says."""


class DocumentKind(StrEnum):
    """Documents that allocations stand on."""

    INVOICE = "invoice"
    CREDIT = "credit"


class DocumentState(StrEnum):
    """How far a document has come, in our ledger."""

    DRAFTING = "drafting"
    """Its parts are reserved; nothing was asked of the ERP yet, or the answer is not read back."""
    DRAFTED = "drafted"
    """Read back as a draft (or complete without one, where the ERP knows no drafts); may be reviewed."""
    RELEASED = "released"
    """Approved, to be issued."""
    ISSUED = "issued"
    """The ERP reports it posted, read back: a legal document from here on (rules 15, 16)."""
    ABANDONED = "abandoned"
    """All its parts were released before issue; its number, if it had one, is a gap."""

    @property
    def is_open(self) -> bool:
        """Whether its parts may still be released without a credit."""
        return self in (DocumentState.DRAFTING, DocumentState.DRAFTED, DocumentState.RELEASED)


class InvoiceLine(Canonical):
    """One line of a planned invoice: exactly one allocation."""

    allocation_key: str
    item_key: str
    kind: InvoiceLineKind
    description: str
    contract_key: str
    line_key: str | None = None
    project_code: str
    erp_project: str | None = None
    erp_item: str | None = None
    service_item: str | None = None
    """The contract line's own item: what a line that stands alone is billed as."""
    posting: str | None = None
    """The ERP's id of the posted cost line; None where the ERP does not count it as billable, or an earlier
    invoice has billed it, in part or before a credit: an ERP bills a posted line once.
    """
    again: bool = False
    """Billed anew after a credit: it does not use up the contract's line in the ERP a second time."""
    work_date: date
    minutes: int = 0
    rate: Exact | None = None
    amount: Money
    """Net, in contract currency, as allocated."""
    billed: Money
    """Net, as billed: equal to ``amount`` unless the contract is billed in another currency."""

    @property
    def standalone_item(self) -> str:
        """The ERP's item of a line without a posting; expenses have a category, which is none."""
        own = self.service_item if self.kind is InvoiceLineKind.EXPENSE else self.erp_item
        return own or ""


class InvoicePlan(Canonical):
    """An invoice as we mean it. Its net is the sum of its allocations (rule 38)."""

    key: str
    """``canonical.names.invoice_key``: group, cycle, sequence."""
    group: BillingGroup
    group_key: str
    cycle: str
    sequence: int
    on: date
    lines: tuple[InvoiceLine, ...]
    conversion: Conversion | None = None

    @property
    def net(self) -> Money:
        """What the ERP must show as net."""
        if not self.lines:
            return Money.of_minor(0, self.group.currency, AmountRole.BILLING)
        return total(line.billed for line in self.lines)


class LineAction(StrEnum):
    """What a reviewer does with a line of a draft (rule 24)."""

    HOLD = "hold"
    MOVE = "move"
    """To a later cycle."""
    WRITE_DOWN = "write_down"
    TRANSFER = "transfer"
    """To another project: the source is corrected there, this line is held until then."""


class LineDecision(Canonical):
    """One reviewer's decision about one line. Lines without one stay as they are."""

    allocation_key: str
    action: LineAction
    reason: str
    amount: Money | None = None
    """Of write-downs: how much is given up, at most the line; all of it when empty. Contract currency."""
    until: date | None = None
    """Of moves: from which day it may be billed again."""
    to_project: str | None = None
    """Of transfers: the project code it belongs to."""

    @model_validator(mode="after")
    def _complete(self) -> LineDecision:
        if not self.reason.strip():
            raise ValueError(f"{self.action.value} of {self.allocation_key} needs a reason")
        if self.action is LineAction.MOVE and self.until is None:
            raise ValueError(f"move of {self.allocation_key} needs a day from which it is billed again")
        if self.action is LineAction.TRANSFER and not self.to_project:
            raise ValueError(f"transfer of {self.allocation_key} needs a project code")
        return self


class AdjustmentCause(StrEnum):
    """What happened to something that was posted or billed already."""

    EDITED = "edited"
    REJECTED = "rejected"
    """Its approval was withdrawn."""
    DELETED = "deleted"
    RATE_CHANGED = "rate_changed"
    MILESTONE_REOPENED = "milestone_reopened"
    RETAINER_ENDED = "retainer_ended"
    """The contract ended, and what its retainer has left is given back."""
    REQUESTED = "requested"
    """By a person: a dispute, a mistake on the invoice."""


class Freed(StrEnum):
    """What becomes of a credited part, as the approver chooses (rule 39)."""

    UNBILLED = "unbilled"
    HELD = "held"
    WRITTEN_OFF = "written_off"
    WITHDRAWN = "withdrawn"
    """The source is gone or replaced: there is nothing to bill again."""


class CreditPart(Canonical):
    """What is credited of one billed part, as positive amounts."""

    allocation_key: str
    item_key: str
    part: int
    minutes: int = 0
    amount: Money
    """Net, in contract currency."""
    billed: Money
    """Net, as on the invoice, at the invoice's rate (rule 4)."""
    proposed: Freed


class CreditProposal(Canonical):
    """A credit, or credit and rebill, to be approved at a gate (rule 39)."""

    key: str
    """``canonical.names.credit_key``."""
    invoice_key: str
    cause: AdjustmentCause
    reason: str
    parts: tuple[CreditPart, ...]
    rebill: tuple[str, ...] = ()
    """Keys of the items that are billed instead."""
    rebill_amount: Money | None = None
    conversion: Conversion | None = None
    """The invoice's (rule 4)."""

    @property
    def net(self) -> Money:
        """What is credited, in the invoice's currency."""
        return total(part.billed for part in self.parts)
