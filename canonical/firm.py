"""The firm's own catalogue and policies, as configured: entities, services, routes, gates, approvals."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from canonical.base import Canonical
from canonical.engagement import BillingMethod, RateCard, RevenueMethod
from canonical.money import Exact
from canonical.opportunity import DealClass
from canonical.parties import LegalEntity


class RoleNeed(Canonical):
    """A position that a sold service needs, in HR's role words."""

    role: str
    count: int = 1


class MilestoneShape(Canonical):
    """A standard milestone of a service; ``share`` of the line's amount is invoiced with it."""

    title: str
    share: Exact
    after_percent_of_duration: int = 100


class Service(Canonical):
    """A sold service: what finance books, what delivery sets up."""

    code: str
    name: str
    items: dict[str, str] = {}
    """Service item by ERP instance, in that ERP's own id."""
    template: str | None = None
    """Title of the delivery template."""
    billing_method: BillingMethod | None = None
    revenue_method: RevenueMethod | None = None
    roles: tuple[RoleNeed, ...] = ()
    milestones: tuple[MilestoneShape, ...] = ()
    acceptance_required: bool = False
    delivers: bool = True
    """False for licences and resale: nothing to set up (rule 18)."""


class Route(Canonical):
    """Which instances serve a business unit, entity and region from a date on (rule 46).

    Empty conditions match everything; the route with most conditions wins.
    """

    business_unit: str | None = None
    legal_entity: str | None = None
    region: str | None = None
    effective_from: date | None = None
    effective_to: date | None = None
    crm: str
    erp: str
    psa: str
    hr: str | None = None


class GatePolicy(Canonical):
    """Who decides at a gate and how long they have."""

    roles: tuple[str, ...]
    hours: int = 24
    above: Exact = Decimal(0)
    """Only amounts above this ask; 0 asks always."""
    limit: Exact | None = None
    """Highest amount these roles may decide; more needs ``senior_roles``."""
    senior_roles: tuple[str, ...] = ()


class Policies(Canonical):
    """What the firm wants checked and asked."""

    deal_types: dict[str, DealClass] = {}
    """The CRM's deal type words and what they mean here."""
    approved_words: tuple[str, ...] = ("Approved",)
    """Which commercial approval states count as approved."""
    sow_required: bool = True
    purchase_order_required: tuple[str, ...] = ()
    """Legal entities that invoice only against a purchase order."""
    credit_review: GatePolicy | None = None
    sow_gate: GatePolicy | None = None
    client_choice: GatePolicy | None = None
    name_similarity: int = 88
    """Score (0-100) from which a similar name is shown as a candidate."""
    default_payment_terms: str | None = None
    standard_rates: tuple[RateCard, ...] = ()
    repair_roles: dict[str, tuple[str, ...]] = {}
    """Roles that may repair, by exception queue; an absent queue allows anybody."""
    queue_owners: dict[str, str] = {}


class Firm(Canonical):
    """Everything the rules need to know about the firm."""

    name: str
    region: str
    regions: tuple[str, ...] = ()
    """Delivery regions; the deployment's own always counts."""
    entities: tuple[LegalEntity, ...] = ()
    services: tuple[Service, ...] = ()
    routes: tuple[Route, ...] = ()
    policies: Policies = Policies()

    def entity(self, code: str | None) -> LegalEntity | None:
        """The legal entity of that code."""
        return next((e for e in self.entities if e.code == code), None)

    def service(self, code: str | None) -> Service | None:
        """The service of that product code."""
        return next((s for s in self.services if s.code == code), None)
