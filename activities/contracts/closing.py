"""Inputs, outputs and activities of closing and re-opening projects (rule 45)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from temporalio import activity

from activities.contracts.kernel import SagaRef, StartSaga, StepOutcome
from canonical.base import Canonical
from canonical.failures import Failure
from canonical.money import Money
from canonical.project_closing import (
    ClosingFact,
    DeliveryClosure,
    DeliveryReading,
    ErpClosure,
    ErpReading,
    Former,
    LedgerReading,
)
from canonical.refs import RecordRef
from canonical.saga import Actor, GateRequest


class StartCloseProject(StartSaga):
    """Close a contract's projects. ``system`` is the ERP."""

    contract: str
    number: int
    """Which closing of the contract it is."""


class StartReopenProject(StartSaga):
    """Open a contract's projects again. ``system`` is the ERP, ``reason`` why."""

    contract: str
    number: int
    """The closing that is taken back."""


class ReadClosing(Canonical):
    """What is to be closed, and whether it can be asked for at all?"""

    saga: SagaRef
    step: str
    contract: str
    number: int
    reason: str = ""


class DeliveryToClose(Canonical):
    """A delivery project of the contract."""

    system: str
    delivery_key: str
    project: RecordRef


class ClosingSubject(Canonical):
    """What is to be closed; or why there is nothing to do, or it is refused."""

    generation: int = 1
    said: str = ""
    """Why there is nothing to do: it is closed already."""
    failure: Failure | None = None
    agreed: bool = False
    """This saga has closed it already, and only has to tell."""
    name: str = ""
    worth: Money | None = None
    deal: RecordRef | None = None
    project: RecordRef | None = None
    """In the ERP."""
    order: RecordRef | None = None
    """The contract's record in the ERP, where it is linked."""
    deliveries: tuple[DeliveryToClose, ...] = ()


class ReadLedgerFacts(Canonical):
    """What does our own ledger know that stands in the way?"""

    saga: SagaRef
    step: str
    contract: str
    number: int
    deal: RecordRef | None = None
    deliveries: tuple[DeliveryToClose, ...] = ()


class ReadDeliveryFacts(Canonical):
    """What do these projects of one delivery system show?"""

    saga: SagaRef
    step: str
    system: str
    contract: str
    deliveries: tuple[DeliveryToClose, ...]


class DeliveryFacts(Canonical):
    """Their readings."""

    readings: tuple[DeliveryReading, ...] = ()


class ReadErpFacts(Canonical):
    """What does the contract show in its ERP?"""

    saga: SagaRef
    step: str
    system: str
    project: RecordRef
    order: RecordRef | None = None
    invoices: tuple[str, ...] = ()
    """Record ids of its invoices."""


class JudgeClosing(Canonical):
    """May it be closed?"""

    saga: SagaRef
    step: str
    contract: str
    name: str
    ledger: LedgerReading
    deliveries: tuple[DeliveryReading, ...]
    erp: ErpReading
    waived: tuple[ClosingFact, ...] = ()
    unexplained: bool = False
    """The last decision came without the reason that it needs."""


class JudgedClosing(Canonical):
    """The facts, and what is asked about them."""

    facts: tuple[ClosingFact, ...] = ()
    """All, also those that were let pass."""
    gate: GateRequest | None = None
    """None: nothing stands in the way."""
    failure: Failure | None = None
    """The same for a plan, which asks nobody."""


class CloseInDelivery(Canonical):
    """Close one delivery project for time, or put ``former`` back."""

    saga: SagaRef
    step: str
    system: str
    closure: DeliveryClosure
    former: Former | None = None


class CloseInErp(Canonical):
    """Close the contract's ERP project, or put ``former`` back."""

    saga: SagaRef
    step: str
    system: str
    closure: ErpClosure
    former: Former | None = None


class AgreeClosing(Canonical):
    """Its projects count as closed."""

    saga: SagaRef
    step: str
    contract: str
    number: int
    project_code: str
    deal: RecordRef | None = None
    waived: tuple[ClosingFact, ...] = ()
    decider: Actor | None = None
    reason: str = ""
    steps: dict[str, str]
    """Which steps changed delivery and ERP: our key of what each closed, by step."""


class TellDeal(Canonical):
    """Show on the deal how its projects stand."""

    saga: SagaRef
    step: str
    system: str
    contract: str
    number: int
    deal: RecordRef


class ReadReopening(Canonical):
    """What was closed, and what is to be put back?"""

    saga: SagaRef
    step: str
    contract: str
    number: int
    reason: str = ""


class ReopeningSubject(Canonical):
    """What is to be put back; or why there is nothing to do, or it is refused."""

    generation: int = 1
    said: str = ""
    failure: Failure | None = None
    agreed: bool = False
    """This saga has re-opened it already, and only has to tell."""
    name: str = ""
    project_code: str = ""
    former: tuple[Former, ...] = ()
    deal: RecordRef | None = None


class AgreeReopening(Canonical):
    """Its projects count as open."""

    saga: SagaRef
    step: str
    contract: str
    number: int
    reason: str


class CloseActivities(ABC):
    """What the ledger and the rules do for closings; on the ledger's queue."""

    @activity.defn(name="close.subject")
    @abstractmethod
    async def subject(self, command: ReadClosing) -> ClosingSubject:
        """What is to be closed."""

    @activity.defn(name="close.ledger_facts")
    @abstractmethod
    async def ledger_facts(self, command: ReadLedgerFacts) -> LedgerReading:
        """What our own ledger knows."""

    @activity.defn(name="close.judge")
    @abstractmethod
    async def judge(self, command: JudgeClosing) -> JudgedClosing:
        """Whether anything stands in the way."""

    @activity.defn(name="close.agree")
    @abstractmethod
    async def agree(self, command: AgreeClosing) -> StepOutcome:
        """Keep that it is closed, and what was there before."""

    @activity.defn(name="close.reopening")
    @abstractmethod
    async def reopening(self, command: ReadReopening) -> ReopeningSubject:
        """What is to be put back."""

    @activity.defn(name="close.reopen")
    @abstractmethod
    async def reopen(self, command: AgreeReopening) -> StepOutcome:
        """Keep that it is open again."""


class DeliveryCloseActivities(ABC):
    """What a delivery system does for closings; on its own queue."""

    @activity.defn(name="psa.closing_facts")
    @abstractmethod
    async def closing_facts(self, command: ReadDeliveryFacts) -> DeliveryFacts:
        """Time, staffing and milestones of projects, as they are now."""

    @activity.defn(name="psa.close_project")
    @abstractmethod
    async def close_project(self, command: CloseInDelivery) -> StepOutcome:
        """Close a project for time."""

    @activity.defn(name="psa.reopen_project")
    @abstractmethod
    async def reopen_project(self, command: CloseInDelivery) -> StepOutcome:
        """Put back what a project was."""


class ErpCloseActivities(ABC):
    """What an ERP does for closings; on its own queue."""

    @activity.defn(name="erp.closing_facts")
    @abstractmethod
    async def closing_facts(self, command: ReadErpFacts) -> ErpReading:
        """Revenue and open balances, as they are now."""

    @activity.defn(name="erp.close_project")
    @abstractmethod
    async def close_project(self, command: CloseInErp) -> StepOutcome:
        """Close the project."""

    @activity.defn(name="erp.reopen_project")
    @abstractmethod
    async def reopen_project(self, command: CloseInErp) -> StepOutcome:
        """Put back what the project was."""


class DealCloseActivities(ABC):
    """What a CRM does for closings; on its own queue."""

    @activity.defn(name="crm.project_status")
    @abstractmethod
    async def project_status(self, command: TellDeal) -> StepOutcome:
        """Show how the deal's projects stand."""
