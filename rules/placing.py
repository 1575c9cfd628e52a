"""What enrichment knows when it looks at a line: gathered once for many lines, by whoever calls the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from canonical.engagement import Contract
from canonical.erp_billing import AccountingPeriod, BillingCapabilities
from canonical.firm import Firm, Route
from canonical.money import Money
from canonical.opening import OpeningPosition
from canonical.rates import RateVersion
from canonical.refs import Dimensions
from rules.pricing import NO_CONVERSIONS, Conversions


@dataclass(frozen=True)
class ContractFacts:
    """A contract as agreed, with its rates and its opening position."""

    contract: Contract
    version: int
    rates: RateVersion | None = None
    opening: OpeningPosition | None = None


@dataclass(frozen=True)
class ProjectFacts:
    """What stands behind a delivery project."""

    contract_key: str
    lines: tuple[str, ...]
    """Keys of the contract lines whose work is booked on it."""
    erp_project: str
    """The ERP's project id."""
    code: str
    """The ERP project's code: the project code."""
    delivery_code: str | None
    """The code that the delivery project carries."""
    open: bool = True
    """Whether the ERP's project takes time."""
    closed: bool = False
    """Whether the contract's projects were closed here (rule 45), whatever the ERP says."""
    line_by_task: Mapping[str, str] = field(default_factory=dict)
    """Contract line by delivery task, where a project carries several lines."""


@dataclass(frozen=True)
class WorkerFacts:
    """What HR and the ERP know of a worker."""

    employing_entity: str
    erp_ids: Mapping[str, str]
    """The ERP's id of the worker by legal entity; empty when the ERP does not know them."""
    dimensions: Dimensions | None = None
    """The worker's own department and cost centre, where the firm posts by worker."""


@dataclass(frozen=True)
class Facts:
    """Everything the checks of a line look at. Keys are the delivery system's ids unless said otherwise."""

    firm: Firm
    route: Route
    projects: Mapping[str, ProjectFacts]
    workers: Mapping[str, WorkerFacts]
    contracts: Mapping[str, ContractFacts]
    """By contract key."""
    labour_items: Mapping[str, str] = field(default_factory=dict)
    """The ERP's service item by role; the contract line's own item where there is none."""
    expense_categories: Mapping[str, str] = field(default_factory=dict)
    """The ERP's category by the delivery system's."""
    tasks: Mapping[str, str] = field(default_factory=dict)
    """The ERP's task by delivery task; time goes on the project where there is none."""
    periods: Sequence[AccountingPeriod] = ()
    capabilities: BillingCapabilities | None = None
    required_dimensions: tuple[str, ...] = ()
    """Names of ``Dimensions`` fields that the ERP demands."""
    closed_dimensions: frozenset[tuple[str, str]] = frozenset()
    """(field, value) that are closed in the ERP."""
    day_minutes: Mapping[tuple[str, date], int] = field(default_factory=dict)
    """All minutes of a worker on a day, over all current entries."""
    conversions: Conversions = NO_CONVERSIONS
    erp_rates: Mapping[tuple[str, str], tuple[Decimal, str]] = field(default_factory=dict)
    """The ERP's own rate card, by contract key and role: rate per hour and currency."""
    used_orders: Mapping[str, Money] = field(default_factory=dict)
    """What of each purchase order is used, by ``rules.caps.order_key``."""
    hours_decimals: int | None = None
    """Decimals of the hours that the ERP multiplies itself; None: whole minutes."""
