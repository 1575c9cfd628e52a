"""Commercial terms: purchase orders, caps, expenses, retainers, progress, currencies, late time."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum

from canonical.base import Canonical, Personal
from canonical.money import Conversion, Exact, Money
from canonical.rates import RateCard


class PurchaseOrder(Canonical):
    """A client's purchase order (rule 31)."""

    number: str
    amount: Money | None = None
    """Its limit, net of tax; unlimited when empty."""
    valid_from: date | None = None
    valid_to: date | None = None
    """Last day of work that it covers."""
    required: bool = False

    def covers(self, day: date) -> bool:
        """Whether work of ``day`` may be billed against it, as far as dates go."""
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_to is None or day <= self.valid_to
        )


class CapScope(StrEnum):
    """What a cap limits."""

    CONTRACT = "contract"
    PURCHASE_ORDER = "purchase_order"
    PROJECT = "project"
    ROLE = "role"


class Cap(Canonical):
    """A not-to-exceed amount, net of tax (rule 31), in contract currency."""

    scope: CapScope
    subject: str | None = None
    """Purchase order number, project or role; empty for the contract."""
    amount: Money
    includes_expenses: bool = False


class ExpenseTerms(Canonical):
    """How expenses are charged on (rule 34)."""

    rebill: bool = True
    markup_percent: Exact = Decimal(0)
    limit: Money | None = None
    """Highest amount of one expense that is charged on, in contract currency, before the markup."""
    net_of_recoverable_tax: bool = True


class OverageRule(StrEnum):
    """What happens to work beyond a retainer's balance (rule 32)."""

    BILL = "bill"
    HOLD = "hold"
    ABSORB = "absorb"


class RetainerTerms(Canonical):
    """A retainer as an account (rule 32): a period's amount is billed in advance, work draws on it."""

    period_amount: Money
    rolls_over: bool = False
    expires_after_periods: int | None = None
    """So many periods after its own a rolled-over balance expires; never when empty."""
    refund_at_end: bool = False
    """What is left when the contract ends is credited to the client; otherwise it expires then."""
    overage: OverageRule = OverageRule.HOLD
    rate_card: RateCard | None = None
    """What draws are priced at; the contract's rates when empty."""


class ProgressBasis(StrEnum):
    """What progress is measured by."""

    EFFORT = "effort"
    """Minutes worked of minutes estimated at completion."""
    OUTPUT = "output"
    """A reported percentage of the deliverable."""


class ProgressTerms(Canonical):
    """Progress billing: the line's amount in proportion to progress, less what is billed."""

    basis: ProgressBasis = ProgressBasis.OUTPUT


class RateFixing(StrEnum):
    """Which date fixes the rate of a conversion (rule 4)."""

    FIXED = "fixed_by_contract"
    INCURRED = "incurred"
    INVOICE = "invoice"


class CurrencyTerms(Canonical):
    """How amounts in other currencies than the contract's become amounts of it, and what is billed in."""

    fixing: RateFixing = RateFixing.INCURRED
    """Which date's rate converts expenses and foreign rates."""
    agreed: tuple[Conversion, ...] = ()
    """Rates that the contract itself fixes; they go before any other."""


class LateTime(StrEnum):
    """Where time goes that arrives after its cycle's invoice (rule 25)."""

    NEXT_CYCLE = "next_cycle"
    SUPPLEMENTARY = "supplementary"
    """A further invoice of the same cycle, with the next sequence."""


class InvoiceDelivery(Canonical):
    """To whom and where invoices are delivered, when not to the bill-to's own billing address (rule 6)."""

    contact: Personal | None = None
    email: Personal | None = None
    reference: str | None = None
    """What the client wants to read on the invoice, for example a cost centre."""
