"""The firm's own catalogue and policies, as configured: entities, services, routes, gates, approvals."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from canonical.base import Canonical
from canonical.calendar import ClosedPeriod
from canonical.engagement import BillingMethod, RevenueMethod
from canonical.erp_billing import BillingOwner
from canonical.money import Exact
from canonical.opportunity import DealClass
from canonical.parties import LegalEntity
from canonical.rates import RateCard


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
    billing_owner: BillingOwner = BillingOwner.OURS
    """Who makes the invoices of this route."""
    expenses_reimbursed_by: str | None = None
    """Instance that pays workers back. Only when it is the route's ERP, an expense becomes a payable there;
    otherwise its cost alone is posted."""


class GatePolicy(Canonical):
    """Who decides at a gate and how long they have."""

    roles: tuple[str, ...]
    hours: int = 24
    above: Exact = Decimal(0)
    """Only amounts above this ask; 0 asks always."""
    limit: Exact | None = None
    """Highest amount these roles may decide; more needs ``senior_roles``."""
    senior_roles: tuple[str, ...] = ()


class ErpCodes(Canonical):
    """What one ERP calls the things that lines are posted with, in that ERP's own ids."""

    labour_items: dict[str, str] = {}
    """Service item by role; the contract line's own item where there is none."""
    expense_categories: dict[str, str] = {}
    """Expense category by the delivery system's word for it."""
    required_dimensions: tuple[str, ...] = ()
    """Dimensions that it demands on every line."""


class BillingPolicy(Canonical):
    """What the firm wants of time, postings and invoices."""

    approval_not_needed: tuple[str, ...] = ()
    """Project codes whose time counts as approved without anybody's approval. All other time needs one."""
    longest_day_minutes: int = 24 * 60
    """More than this by one worker on one day, over all entries, holds the day's entries."""
    closed_period: dict[str, ClosedPeriod] = {}
    """What happens to work whose period is closed, by legal entity; posted in the first open period, keeping
    its work date, where nothing is said."""
    rate_tolerance: Exact = Decimal(0)
    """Difference per hour, in the rate's currency, up to which another system's price is no finding."""
    codes: dict[str, ErpCodes] = {}
    """Items, categories and demanded dimensions by ERP instance."""
    collect_from: date | None = None
    """Changes since that day are read by the very first poll; all that there are, where nothing is said."""
    window_days: int = 62
    """Work of so many days back is listed again on every run: what cannot be found by its change (expenses),
    and what was deleted."""
    mark_timesheets: bool = False
    """Mark whole timesheets as taken by the ERP instead of each entry: a fraction of the calls, and a mark
    may stand on a timesheet of which a line is held.
    """
    near_cutoff_days: int = 3
    """Unapproved time of so many days before the cutoff is named by the close check."""
    subcontractor_entities: tuple[str, ...] = ()
    """Employing entities whose workers' cost comes from vendor bills: their time is billed, never posted as
    cost."""
    draft_review: GatePolicy | None = None
    """Who releases drafts. Without it every draft is issued as it is."""
    starter_may_release: bool = False
    """Whether who started a run may decide about the drafts that it made. Two people do where this is off."""
    credit_approval: GatePolicy | None = None
    """Who approves credits, write-offs and rebills."""


class ChangePolicy(Canonical):
    """How the firm decides change orders."""

    review: GatePolicy | None = None
    """Who in finance decides; anybody may where nobody is named, and nothing changes without a decision."""
    base_hours: Exact = Decimal(120)
    """A change order that waits so long for the version it builds on becomes a case."""


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
    billing: BillingPolicy = BillingPolicy()
    change_orders: ChangePolicy = ChangePolicy()
    project_close: GatePolicy | None = None
    """Who in finance decides about a closing that facts stand in the way of; anybody where none is named."""


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
