"""Delivery: projects, tasks, milestones, role placeholders, templates, workers."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from canonical.base import Canonical, Personal
from canonical.money import CurrencyCode, Exact, Money
from canonical.refs import Dimensions


class ProjectState(StrEnum):
    """Our lifecycle of a project; every vendor's words are mapped to it."""

    PREPARED = "prepared"
    ACTIVE = "active"
    ON_HOLD = "on_hold"
    CLOSED = "closed"


class Task(Canonical):
    """A piece of work; ``estimate_minutes`` is integer minutes (rule 5)."""

    key: str
    title: str
    parent_key: str | None = None
    estimate_minutes: int = 0
    start: date | None = None
    due: date | None = None
    billable: bool = True


class Milestone(Canonical):
    """A delivery milestone; billable ones carry the amount of their schedule date (rule 33)."""

    key: str
    title: str
    due: date | None = None
    amount: Money | None = None


class RolePlaceholder(Canonical):
    """An unnamed position to be staffed; ``bill_rate`` is per hour in the project's currency."""

    key: str
    role: str
    count: int = 1
    bill_rate: Exact | None = None


class DeliveryTemplate(Canonical):
    """A delivery system's template and what applying it must produce (rule 20)."""

    id: str
    title: str
    tasks: int = 0
    milestones: int = 0
    placeholders: int = 0
    roles: dict[str, int] = {}
    """Unnamed positions it brings, by role in our words; they add up to ``placeholders``."""


class DeliveryProject(Canonical):
    """One project in a delivery system; refers to exactly one project code (rule 3)."""

    key: str
    """Business identity: contract and delivery region."""
    title: str
    contract_key: str
    psa: str
    """Delivery system instance it is pinned to."""
    dimensions: Dimensions
    client_key: str
    currency: CurrencyCode
    budget: Money
    service_code: str
    template: str
    """The configured template's title."""
    start: date | None = None
    end: date | None = None
    milestones: tuple[Milestone, ...] = ()
    placeholders: tuple[RolePlaceholder, ...] = ()
    project_manager_email: Personal | None = None


class Worker(Canonical):
    """A worker as HR knows them: a resource that can be staffed."""

    id: Personal
    name: Personal
    email: Personal | None = None
    role: str
    practice: str | None = None
    region: str | None = None
    legal_entity: str | None = None
    cost_rate: Exact | None = None
    """Per hour, in ``cost_currency``: pay data."""
    cost_currency: CurrencyCode | None = None
    effective_from: date | None = None
    effective_to: date | None = None


class RoleSupply(Canonical):
    """How many workers hold a role on a day, per region: all that a validation may see of HR."""

    role: str
    region: str | None
    workers: int
