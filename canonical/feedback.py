"""What flows back from the ERP: an invoice as it stands, its split over contracts, what targets show.

Rules 40 and 41. What a target shows is a function of the ERP's present state and of today, never of the way
on which it came about: an event that was missed, doubled or late changes nothing in the end.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum

from pydantic import model_validator

from canonical.base import Canonical
from canonical.billing import Invoice
from canonical.erp_billing import InvoiceState
from canonical.money import AmountRole, CurrencyCode, Exact, Money
from canonical.refs import RecordRef

_NO_TIME = datetime(1, 1, 1, tzinfo=UTC)


class Feed(StrEnum):
    """What is polled of an ERP, each behind a cursor of its own (rule 40)."""

    INVOICES = "invoices"
    PAYMENTS = "payments"
    CREDITS = "credits"
    REVENUE = "revenue"


class ApplicationKind(StrEnum):
    """What reduced an invoice."""

    PAYMENT = "payment"
    CREDIT = "credit"
    WITHHOLDING = "withholding"
    """Tax that the client paid to the state in our name."""
    WRITE_OFF = "write_off"


class LinePart(Canonical):
    """A part of a document that belongs to one project of the ERP."""

    project: str | None = None
    """The ERP's id of the project; None where the line names none."""
    key: str | None = None
    """Our key of the line, where the ERP keeps it."""
    net: Money
    tax: Money


class Application(Canonical):
    """A document that reduced an invoice, with how much."""

    document: RecordRef
    kind: ApplicationKind
    amount: Money
    """Positive."""
    number: str | None = None
    on: date | None = None
    parts: tuple[LinePart, ...] = ()
    """Of credits: whose lines they correct, where the ERP tells (rule 41)."""


class InvoiceStanding(Canonical):
    """An invoice with everything that settles it, as the ERP shows it now (rule 40)."""

    ref: RecordRef
    state: InvoiceState
    invoice: Invoice | None = None
    """None while it is absent."""
    lines: tuple[LinePart, ...] = ()
    applications: tuple[Application, ...] = ()
    refunded: Money | None = None
    """Credits of this invoice that were paid back to the client instead of being applied."""
    disputed: bool = False
    base_rate: Exact | None = None
    """Units of the seller's own currency for one of the invoice's, as booked (rule 4)."""
    foreign: bool = False
    """Of a seller or in a currency that is not configured here: nobody of ours is told anything of it."""
    complete: bool = True
    """The documents that were found explain what the ERP counts as paid: else one of the two is late."""
    modified_at: datetime | None = None
    """The invoice's own change stamp, in the vendor's clock."""

    @property
    def digest(self) -> str:
        """What tells one state from another at the same stamp: everything but the stamp."""
        content = self.model_copy(update={"modified_at": None})
        if content.invoice is not None:
            still = {"modified_at": _NO_TIME}
            content = content.model_copy(update={"invoice": content.invoice.model_copy(update=still)})
        return hashlib.sha256(content.model_dump_json().encode()).hexdigest()[:32]

    @property
    def settled(self) -> bool:
        """Whether nothing more is expected: nothing is owed and nobody objects (any later change starts it
        again)."""
        if self.state in (InvoiceState.ABSENT, InvoiceState.REFUSED) or self.invoice is None:
            return True
        return self.state is InvoiceState.POSTED and not self.invoice.balance.amount and not self.disputed


class RevenueStanding(Canonical):
    """What the ERP recognised and deferred on a contract so far; read, never computed (rule 2)."""

    ref: RecordRef
    """The contract's record in the ERP."""
    recognised: Money
    deferred: Money
    modified_at: datetime | None = None

    @property
    def digest(self) -> str:
        """What tells one state from another at the same stamp."""
        words = f"{self.recognised.amount:f}/{self.deferred.amount:f}/{self.recognised.currency}"
        return hashlib.sha256(words.encode()).hexdigest()[:32]


class OpenBalance(Canonical):
    """An invoice in a listing: enough to see that it is not as it was read."""

    id: str
    balance: Exact
    modified_at: datetime


class InvoiceStatus(StrEnum):
    """The one word for an invoice. Overdue, disputed and the like are told beside it."""

    DRAFT = "draft"
    ISSUED = "issued"
    PART_PAID = "part paid"
    """Something was paid, credited or withheld, and something is owed."""
    PAID = "paid"
    CREDITED = "credited"
    """Nothing is owed, and nothing was paid."""
    WRITTEN_OFF = "written off"
    VOIDED = "voided"


class Collection(StrEnum):
    """How collecting stands, from best to worst."""

    NOTHING_DUE = "nothing due"
    CURRENT = "current"
    OVERDUE = "overdue"
    DISPUTED = "disputed"


class Bucket(StrEnum):
    """Ageing by days past the due date."""

    CURRENT = "current"
    DAYS_1_30 = "days_1_30"
    DAYS_31_60 = "days_31_60"
    DAYS_61_90 = "days_61_90"
    DAYS_OVER_90 = "days_over_90"


class Share(Canonical):
    """What of an invoice falls to one contract (rule 41). All shares of an invoice add up to it."""

    contract_key: str = ""
    """Empty: lines that belong to no contract of ours."""
    net: Money
    gross: Money
    paid: Money
    credited: Money
    withheld: Money
    written_off: Money
    balance: Money
    refunded: Money

    @model_validator(mode="after")
    def _balances(self) -> Share:
        parts = self.paid + self.credited + self.withheld + self.written_off + self.balance
        if parts.amount != self.gross.amount:
            raise ValueError(f"share of {self.contract_key!r} does not balance: {self.gross} and {parts}")
        return self


class Rates(Canonical):
    """Into which currencies a share can be told, and at which rate (rules 4, 41)."""

    deal: CurrencyCode | None = None
    deal_rate: Exact | None = None
    """Units of the deal's currency for one of the contract's, as the contract agrees."""
    base: CurrencyCode | None = None
    base_rate: Exact | None = None
    """Units of the seller's currency, as the ERP booked the invoice."""

    def rate(self, own: str, wanted: str) -> Decimal | None:
        """The rate from a share's own currency; None where nobody knows one."""
        if own == wanted:
            return Decimal(1)
        if wanted == self.deal and self.deal_rate is not None:
            return self.deal_rate
        return self.base_rate if wanted == self.base else None


class Reach(Canonical):
    """Whom a contract's figures concern."""

    contract_key: str
    deal: RecordRef | None = None
    account: RecordRef | None = None
    projects: tuple[RecordRef, ...] = ()
    """Its delivery projects."""
    budget: Money | None = None
    """What is agreed, net."""
    legal_entity: str | None = None
    rates: Rates = Rates()


class TargetCurrencies(Canonical):
    """In which currencies a record shows amounts."""

    record: CurrencyCode | None = None
    """Empty where it holds text: amounts are told in the contract's currency."""
    corporate: CurrencyCode | None = None
    """Of the whole system, where it shows amounts in that too."""


class TargetKind(StrEnum):
    """What is written to."""

    ACCOUNT = "account"
    OPPORTUNITY = "opportunity"
    PROJECT = "project"


class Target(Canonical):
    """A record that shows figures, and what of the ledger it shows."""

    kind: TargetKind
    ref: RecordRef
    subject: str
    """Whose figures: the account's or deal's reference as text, or the contract's key."""

    @property
    def key(self) -> str:
        """Business identity."""
        return str(self.ref)


class Held(Canonical):
    """One share of one invoice, with what of the invoice matters for showing it."""

    invoice: str
    """Its reference, as text."""
    number: str
    status: InvoiceStatus
    disputed: bool = False
    issued_on: date
    due_on: date | None = None
    seller: str = ""
    """Legal entity: it is late where the seller is."""
    share: Share
    rates: Rates = Rates()


class Recognised(Canonical):
    """Revenue of one contract."""

    contract_key: str = ""
    recognised: Money
    deferred: Money
    rates: Rates = Rates()


class Budget(Canonical):
    """What is agreed on one contract."""

    amount: Money
    rates: Rates = Rates()


class Covered(Canonical):
    """A contract whose invoices or revenue a target shows."""

    contract_key: str
    currency: str = ""
    """Empty where nothing tells it."""
    rates: Rates = Rates()


class Facts(Canonical):
    """All that a target's figures are made of."""

    kind: TargetKind
    held: tuple[Held, ...] = ()
    revenue: tuple[Recognised, ...] = ()
    budgets: tuple[Budget, ...] = ()
    contracts: tuple[Covered, ...] = ()


Figure = Money | Decimal | str | date | None
"""An amount, a share in percent or a count, a word, a day; None clears the field."""


def zero(currency: str) -> Money:
    """Nothing, as an invoice amount."""
    return Money.of_minor(0, currency, AmountRole.BILLING)
