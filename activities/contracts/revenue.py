"""Inputs, outputs and activities of revenue follow-up: measured, sent, read back, compared (rule 2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import date

from temporalio import activity

from activities.contracts.kernel import SagaRef, StartSaga, StepOutcome
from canonical.base import Canonical
from canonical.failures import Finding
from canonical.progress import MeasuredLine, SendState
from canonical.saga import HeldItems, Tally


class RevenuePace(Canonical):
    """How much at once."""

    page: int = 50
    """Contracts of one page."""
    at_once: int = 4
    """Contracts side by side; what is parked does not count."""
    most_parked: int = 50
    """With so many parked no further contract is begun: the cause is likely one for all."""


class StartRevenueFollowUp(StartSaga):
    """One legal entity in one ERP for one period. ``system`` is the ERP."""

    psa: str
    entity: str
    period: str
    """Year and month, for example ``2026-10``."""
    first: date
    last: date
    """Of the period, both included."""
    pace: RevenuePace = RevenuePace()


class ListContracts(Canonical):
    """The next page of contracts to follow."""

    saga: SagaRef
    entity: str
    erp: str
    first: date
    last: date
    after: str = ""
    limit: int


class FollowedContract(Canonical):
    """A contract by reference."""

    key: str
    inputs: bool
    """Whether the ERP has to be told anything of it."""


class ContractPage(Canonical):
    """Contracts with work in the period or revenue that is open."""

    contracts: tuple[FollowedContract, ...]
    after: str | None = None
    """Where to go on; None at the end."""


class MeasureContract(Canonical):
    """How far is a contract, as delivery says?"""

    saga: SagaRef
    step: str
    system: str
    contract: str
    last: date


class MeasuredContract(Canonical):
    """Estimates and milestones by line, as read now."""

    lines: tuple[MeasuredLine, ...] = ()


class SendProgress(Canonical):
    """Work a contract's inputs out and tell the ERP, unless it shows them already."""

    saga: SagaRef
    step: str
    system: str
    contract: str
    period: str
    first: date
    last: date
    measured: tuple[MeasuredLine, ...] = ()


class ProgressSent(StepOutcome):
    """What became of the inputs."""

    state: SendState
    revision: int = 0
    findings: tuple[Finding, ...] = ()
    """Why they are held; or what is to be known: corrections of closed periods."""


class ReadRevenue(Canonical):
    """Read recognised and deferred back, compare, keep the row."""

    saga: SagaRef
    step: str
    system: str
    contract: str
    entity: str
    period: str
    last: date
    state: SendState
    revision: int = 0
    findings: tuple[Finding, ...] = ()


class RevenueRead(Canonical):
    """One contract, summed up for the run's figures."""

    tallies: tuple[Tally, ...] = ()
    held: tuple[HeldItems, ...] = ()
    differences: int = 0
    """What is to be corrected; positions of the balance sheet do not count."""
    note: str = ""


class RevenueActivities(ABC):
    """What the ledger does for revenue follow-up; on its queue."""

    @activity.defn(name="revenue.list")
    @abstractmethod
    async def list_contracts(self, command: ListContracts) -> ContractPage:
        """Contracts to follow, by reference."""


class MeasuringActivities(ABC):
    """What a delivery system does for it; on its own queue."""

    @activity.defn(name="revenue.measure")
    @abstractmethod
    async def measure(self, command: MeasureContract) -> MeasuredContract:
        """Read estimates and milestones."""


class ProgressActivities(ABC):
    """What an ERP does for it; on its own queue."""

    @activity.defn(name="revenue.send")
    @abstractmethod
    async def send_progress(self, command: SendProgress) -> ProgressSent:
        """Tell the ERP the inputs."""

    @activity.defn(name="revenue.read")
    @abstractmethod
    async def read_revenue(self, command: ReadRevenue) -> RevenueRead:
        """Read back and compare."""
