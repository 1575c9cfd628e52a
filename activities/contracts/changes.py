"""Inputs, outputs and activities of change orders: carried, decided, written, read back (rule 43)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime

from temporalio import activity

from activities.contracts.kernel import SagaRef, StartSaga, StepOutcome
from activities.contracts.opportunity import SystemBaseline
from canonical.base import Canonical
from canonical.change_orders import (
    ChangeImpact,
    ChangeOrder,
    ContractScope,
    DeliveryChange,
    OrderChange,
)
from canonical.engagement import Contract
from canonical.failures import Failure, Finding
from canonical.operations import DeliverySetup
from canonical.saga import Actor, GateRequest


class StartContractChanges(StartSaga):
    """A contract's change orders, one after the other. ``system`` is the ERP, ``record_id`` the contract."""

    contract: str


class StartChangeOrder(StartSaga):
    """One change order. ``system`` is the ERP."""

    contract: str
    order: str


class TakeChange(Canonical):
    """Whose turn is it?"""

    saga: SagaRef
    step: str
    contract: str
    reason: str = ""


class TakenChange(Canonical):
    """The change order whose turn it is, or what the others wait for."""

    generation: int = 1
    order: str | None = None
    under_way: bool = False
    """A saga has begun to carry it."""
    actor: Actor | None = None
    """Who sent it."""
    reason: str = ""
    waiting: tuple[str, ...] = ()
    missing: tuple[int, ...] = ()
    """Versions that nobody has sent."""
    overdue_at: datetime | None = None
    """From when on that is a case."""
    refused: int = 0


class ShapeChange(Canonical):
    """Judge a change order and work out what it means for every system."""

    saga: SagaRef
    step: str
    contract: str
    order: str
    reason: str = ""


class DeliveryPlace(Canonical):
    """A delivery project that a change concerns, or that is read back with it."""

    system: str
    setup: DeliverySetup
    change: DeliveryChange | None = None


class ShapedChange(Canonical):
    """A change order, ready to be carried; or why there is nothing to carry."""

    generation: int = 1
    said: str = ""
    """Why there is nothing to do: it was decided before."""
    failure: Failure | None = None
    """Why it is refused."""
    agreed: bool = False
    """It is agreed already, and only to be told."""
    order: ChangeOrder | None = None
    change: OrderChange | None = None
    crm: str = ""
    scope: ContractScope | None = None
    deliveries: tuple[DeliveryPlace, ...] = ()
    values: dict[str, str] = {}
    gate: GateRequest | None = None


class CheckChange(Canonical):
    """May the terms still change so? More may have been billed since."""

    saga: SagaRef
    step: str
    before: Contract
    after: Contract


class CheckedChange(Canonical):
    """Why not, if not."""

    failure: Failure | None = None


class CompareChange(Canonical):
    """Do all systems hold what the change results in?"""

    saga: SagaRef
    step: str
    after: Contract
    impact: ChangeImpact
    deliveries: tuple[DeliveryPlace, ...] = ()
    baselines: tuple[SystemBaseline, ...]
    values: dict[str, str] = {}


class ComparedChange(Canonical):
    """Where they do not."""

    differences: tuple[Finding, ...] = ()


class AgreeChange(Canonical):
    """The new version with what all systems hold of it."""

    saga: SagaRef
    step: str
    order: ChangeOrder
    change: OrderChange
    baselines: tuple[SystemBaseline, ...]
    decider: Actor | None = None


class ShowScope(Canonical):
    """Show the scope on the deal: proposed, or agreed."""

    saga: SagaRef
    step: str
    system: str
    contract: str
    scope: ContractScope
    agreed: bool = False


class ChangeInErp(Canonical):
    """Mark the contract, or change it."""

    saga: SagaRef
    step: str
    system: str
    change: OrderChange
    values: dict[str, str] = {}


class ChangeInDelivery(Canonical):
    """Budget, rates and milestones of one delivery project."""

    saga: SagaRef
    step: str
    system: str
    change: DeliveryChange


class ChangeActivities(ABC):
    """What the ledger and the rules do for change orders; on the ledger's queue."""

    @activity.defn(name="changes.take")
    @abstractmethod
    async def take(self, command: TakeChange) -> TakenChange:
        """Refuse what is older, settle what has ended; say whose turn it is."""

    @activity.defn(name="changes.shape")
    @abstractmethod
    async def shape(self, command: ShapeChange) -> ShapedChange:
        """Judge it; work out what it means for every system."""

    @activity.defn(name="changes.check")
    @abstractmethod
    async def check(self, command: CheckChange) -> CheckedChange:
        """Judge it against what is billed by now."""

    @activity.defn(name="changes.compare")
    @abstractmethod
    async def compare(self, command: CompareChange) -> ComparedChange:
        """Compare what all systems hold with the resulting terms."""

    @activity.defn(name="changes.agree")
    @abstractmethod
    async def agree(self, command: AgreeChange) -> StepOutcome:
        """Keep the new version, its baseline and the change order's end."""


class ScopeActivities(ABC):
    """What a CRM does for change orders; on its own queue."""

    @activity.defn(name="crm.show_scope")
    @abstractmethod
    async def show_scope(self, command: ShowScope) -> StepOutcome:
        """Show the scope on the deal."""


class OrderChangeActivities(ABC):
    """What an ERP does for change orders; on its own queue."""

    @activity.defn(name="erp.hold_contract")
    @abstractmethod
    async def hold_contract(self, command: ChangeInErp) -> StepOutcome:
        """Mark the contract as being changed."""

    @activity.defn(name="erp.change_contract")
    @abstractmethod
    async def change_contract(self, command: ChangeInErp) -> StepOutcome:
        """Lines, revenue settings, billing schedules, terms, project."""


class DeliveryChangeActivities(ABC):
    """What a delivery system does for change orders; on its own queue."""

    @activity.defn(name="psa.change_project")
    @abstractmethod
    async def change_project(self, command: ChangeInDelivery) -> StepOutcome:
        """Budget, rates of positions, contract milestones."""
