"""The deal as the CRM tells it: opportunity, lines, approvals, documents; and what class it is."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum

from canonical.base import Canonical, Personal
from canonical.engagement import BillingMethod, DocumentRef, RevenueMethod
from canonical.money import Conversion, CurrencyCode, Exact, Money
from canonical.parties import Client
from canonical.refs import RecordRef


class DealClass(StrEnum):
    """What a won deal asks for (rule 18). Only the first two open projects."""

    NEW_ENGAGEMENT = "new_engagement"
    NEW_CONTRACT = "new_contract"
    AMENDMENT = "amendment"
    RENEWAL = "renewal"
    NO_DELIVERY = "no_delivery"


class OpportunityLine(Canonical):
    """One sold line. ``amount`` is in the deal's currency; the contract's may differ by ``conversion``."""

    id: str
    service_code: str | None
    """The sold service's product code."""
    service_name: str | None = None
    description: str | None = None
    quantity: Exact
    unit_price: Exact
    """List price; ``amount`` is quantity times this, less the discount."""
    discount_percent: Exact = Decimal(0)
    amount: Money
    legal_entity: str | None = None
    """Selling entity; the deal's own applies when empty."""
    delivery_region: str | None = None
    billing_method: BillingMethod | None = None
    revenue_method: RevenueMethod | None = None
    start: date | None = None
    end: date | None = None
    conversion: Conversion | None = None
    """Terms that fix another contract currency; None keeps the deal's currency."""


class Opportunity(Canonical):
    """A snapshot of a deal with everything around it that decides what is set up.

    ``revision`` changes whenever the CRM's record does; two snapshots of the same revision are equal.
    """

    ref: RecordRef
    name: str
    revision: str
    stage: str
    is_won: bool
    is_closed: bool
    currency: CurrencyCode
    amount: Money | None
    close_date: date | None = None
    owner_email: Personal | None = None
    deal_type: str | None = None
    """The configured field that classifies the deal, in the CRM's words."""
    amends_engagement: str | None = None
    business_unit: str | None = None
    legal_entity: str | None = None
    approval_status: str | None = None
    """Commercial approval in the CRM's words; policy says which mean approved."""
    sow: DocumentRef | None = None
    payment_terms: str | None = None
    purchase_order: str | None = None
    project_manager_email: Personal | None = None
    project_code: str | None = None
    """A project code already written back: the deal was set up before."""
    client: Client | None
    """The account the deal was sold to."""
    hierarchy: tuple[Client, ...] = ()
    """Ancestors of ``client``, the top first."""
    bill_to: Client | None = None
    """The account that is invoiced when it is not ``client``."""
    lines: tuple[OpportunityLine, ...] = ()
