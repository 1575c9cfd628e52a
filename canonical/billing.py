"""Time, expenses, invoices, payments, revenue, change orders: the objects of the later sagas."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from pydantic import model_validator

from canonical.base import Canonical, Personal
from canonical.engagement import Contract
from canonical.money import Money
from canonical.refs import Dimensions, RecordRef


class ApprovalState(StrEnum):
    """Approval of a time entry or expense."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    APPROVED = "approved"
    REJECTED = "rejected"


class TimeEntry(Canonical):
    """Work of one worker on one day. The work date is a calendar date and never shifted (rule 30)."""

    ref: RecordRef
    source_revision: str
    project_code: str
    task_key: str | None = None
    worker_id: Personal
    role: str
    work_date: date
    minutes: int
    billable: bool
    approval: ApprovalState
    approved_at: datetime | None = None
    employing_entity: str
    project_entity: str
    dimensions: Dimensions
    note: str | None = None


class ExpenseItem(Canonical):
    """An expense as incurred, in its own currency; ``reimbursed_by`` says who pays the worker (rule 34)."""

    ref: RecordRef
    source_revision: str
    project_code: str
    worker_id: Personal
    incurred_on: date
    amount: Money
    recoverable_tax: Money | None = None
    category: str
    billable: bool
    reimbursed_by: str
    approval: ApprovalState
    dimensions: Dimensions


class TaxLine(Canonical):
    """Tax as the ERP determined it (rule 38)."""

    code: str
    amount: Money


class Invoice(Canonical):
    """An invoice read from the ERP. ``gross = paid + credited + withheld + written off + balance``."""

    ref: RecordRef
    number: str
    seller: str
    bill_to: str
    contract_keys: tuple[str, ...]
    purchase_order: str | None = None
    issued_on: date
    due_on: date | None = None
    net: Money
    tax: tuple[TaxLine, ...] = ()
    gross: Money
    paid: Money
    credited: Money
    withheld: Money
    written_off: Money
    balance: Money
    modified_at: datetime

    @model_validator(mode="after")
    def _balances(self) -> Invoice:
        settled = self.paid + self.credited + self.withheld + self.written_off + self.balance
        if settled.amount != self.gross.amount:
            raise ValueError(f"invoice {self.number} does not balance: gross {self.gross}, parts {settled}")
        return self


class CreditMemo(Canonical):
    """A credit, always linked to the invoice it corrects (rule 39)."""

    ref: RecordRef
    number: str
    invoice: RecordRef
    net: Money
    gross: Money
    issued_on: date
    reason: str


class Payment(Canonical):
    """A payment and what it was applied to."""

    ref: RecordRef
    received_on: date
    amount: Money
    applied: dict[str, Money] = {}
    """Amounts by invoice reference."""


class BillingEvent(Canonical):
    """What may be invoiced and is not time or expense: milestone, schedule date, retainer period."""

    key: str
    contract_key: str
    line_key: str
    kind: str
    due: date
    amount: Money
    completed_on: date | None = None
    accepted_on: date | None = None


class RevenueEvent(Canonical):
    """Revenue that the ERP recognised or deferred in a period; read, never computed (rule 2)."""

    contract_key: str
    line_key: str
    period: str
    recognised: Money
    deferred: Money


class ChangeOrder(Canonical):
    """A change of scope: the version it builds on and the complete resulting terms (rule 43)."""

    key: str
    contract_key: str
    base_version: int
    version: int
    effective_on: date
    resulting_terms: Contract
    reason: str
