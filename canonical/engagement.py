"""Engagement, contract, contract lines, billing schedule (rules 2, 3, 6, 7). Terms: ``canonical.terms``."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from canonical.base import Canonical
from canonical.money import AmountRole, Conversion, CurrencyCode, Exact, Money, Rounding
from canonical.parties import PartyRole
from canonical.rates import PricingAuthority, RateCard
from canonical.refs import Dimensions
from canonical.terms import (
    Cap,
    CurrencyTerms,
    ExpenseTerms,
    InvoiceDelivery,
    LateTime,
    ProgressTerms,
    PurchaseOrder,
    RetainerTerms,
)


class BillingMethod(StrEnum):
    """How the client is invoiced. Implies nothing about revenue (rule 2)."""

    TIME_AND_MATERIALS = "time_and_materials"
    FIXED_SCHEDULE = "fixed_schedule"
    MILESTONE = "milestone"
    RETAINER = "retainer"
    PROGRESS = "progress"


class RevenueMethod(StrEnum):
    """How revenue is recognised under IFRS 15 / ASC 606. The ERP computes it (rule 2)."""

    AS_INVOICED = "as_invoiced"
    STRAIGHT_LINE = "straight_line"
    OVER_TIME_INPUT = "over_time_input"
    OVER_TIME_OUTPUT = "over_time_output"
    POINT_IN_TIME = "point_in_time"


class InvoiceGrouping(StrEnum):
    """What one invoice collects (rule 25)."""

    PROJECT = "project"
    CONTRACT = "contract"
    CLIENT = "client"


class BillingCycle(StrEnum):
    """How often a contract is invoiced."""

    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    ON_COMPLETION = "on_completion"


class DocumentRef(Canonical):
    """A contractual document, for example the statement of work."""

    kind: str
    number: str | None = None
    version: str | None = None
    signed_on: date | None = None
    url: str | None = None


class ScheduleDate(Canonical):
    """One date of a billing schedule: amounts belong to the contract, dates to delivery (rule 8)."""

    key: str
    title: str
    due: date
    amount: Money
    milestone_key: str | None = None


class BillingSchedule(Canonical):
    """When fixed amounts are invoiced; its dates add up to the contract line."""

    key: str
    name: str
    dates: tuple[ScheduleDate, ...]


class ContractLine(Canonical):
    """One promise sold to the client, with two independent methods (rule 2)."""

    key: str
    """Business identity: the deal line it comes from."""
    service_code: str
    item: str
    """The ERP's service item (its id in that instance)."""
    description: str
    quantity: Exact
    amount: Money
    deal_amount: Money
    """The same promise in the deal's currency; all lines add up to the deal."""
    conversion: Conversion | None = None
    billing_method: BillingMethod
    revenue_method: RevenueMethod
    schedule: BillingSchedule | None = None
    start: date | None = None
    end: date | None = None
    delivery_region: str
    acceptance_required: bool = False
    part_billing: bool = False
    """Whether a milestone may be billed in parts (rule 33)."""
    progress: ProgressTerms | None = None


class Contract(Canonical):
    """What one legal entity sells to the client in one currency (rule 3)."""

    key: str
    """Business identity: deal, entity and currency."""
    name: str
    engagement_key: str
    legal_entity: str
    currency: CurrencyCode
    erp: str
    """ERP instance the contract is pinned to (rule 46)."""
    dimensions: Dimensions
    parties: dict[PartyRole, str]
    """Client keys by role."""
    lines: tuple[ContractLine, ...]
    payment_terms: str | None = None
    purchase_orders: tuple[PurchaseOrder, ...] = ()
    caps: tuple[Cap, ...] = ()
    grouping: InvoiceGrouping = InvoiceGrouping.CONTRACT
    cycle: BillingCycle = BillingCycle.MONTHLY
    rounding: Rounding = Rounding.HALF_UP
    pricing_authority: PricingAuthority = PricingAuthority.CONTRACT
    rate_card: RateCard | None = None
    expense_terms: ExpenseTerms = ExpenseTerms()
    retainer: RetainerTerms | None = None
    currency_terms: CurrencyTerms = CurrencyTerms()
    late_time: LateTime = LateTime.NEXT_CYCLE
    release_below: Money | None = None
    """Drafts below it are issued without review (rule 24)."""
    invoice_delivery: InvoiceDelivery | None = None
    withholding_expected: bool = False
    tax_treatment: str | None = None
    documents: tuple[DocumentRef, ...] = ()
    start: date | None = None
    end: date | None = None
    project_manager_email: str | None = None

    def line(self, key: str | None) -> ContractLine | None:
        """The line of that key."""
        return next((line for line in self.lines if line.key == key), None)

    @property
    def amount(self) -> Money:
        """Sum of the lines in contract currency."""
        first, *rest = (line.amount for line in self.lines)
        for money in rest:
            first = first + money
        return first.model_copy(update={"role": AmountRole.CONTRACT})


class Engagement(Canonical):
    """All contracts that came from one deal. Its code is the lead contract's project code (rule 3)."""

    key: str
    name: str
    deal_amount: Money
    contracts: tuple[Contract, ...]
    lead_contract_key: str
