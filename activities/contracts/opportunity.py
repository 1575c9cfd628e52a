"""Inputs, outputs and activities of opportunity-to-project."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from temporalio import activity

from activities.contracts.kernel import SagaRef, StepOutcome
from canonical.base import Canonical
from canonical.delivery import RoleSupply
from canonical.engagement import Contract, Engagement
from canonical.failures import Finding
from canonical.money import Money
from canonical.operations import (
    ContractSetup,
    DealOutcome,
    DeliverySetup,
    ErpBaseline,
    ErpClient,
    ErpReference,
    Notice,
    PsaBaseline,
    PsaReference,
)
from canonical.opportunity import DealClass, Opportunity
from canonical.parties import Client, ClientCandidate
from canonical.refs import RecordRef
from canonical.saga import GateRequest


class ReadDeal(Canonical):
    """Which deal to read."""

    saga: SagaRef
    system: str
    deal_id: str


class RouteDeal(Canonical):
    """A deal to classify and route."""

    saga: SagaRef
    deal: Opportunity
    reason: str = ""


class Routing(Canonical):
    """What the deal is, which instances serve it, and what must be read from each."""

    generation: int
    deal_class: DealClass | None
    earlier: str | None = None
    """Status of an earlier, complete run of this saga."""
    findings: tuple[Finding, ...] = ()
    erp_items: dict[str, tuple[str, ...]] = {}
    """Service items to look up, by ERP instance."""
    psa_templates: dict[str, tuple[str, ...]] = {}
    psa_roles: dict[str, tuple[str, ...]] = {}
    hr: str | None = None
    clients: dict[str, tuple[Client, ...]] = {}
    """Clients to look up, by ERP instance; parents first."""


class GatherErp(Canonical):
    """What to read from one ERP before validating."""

    saga: SagaRef
    system: str
    items: tuple[str, ...]
    clients: tuple[Client, ...]


class ErpFindings(Canonical):
    """What one ERP holds that matters for the deal."""

    reference: ErpReference
    matches: dict[str, tuple[ErpClient, ...]] = {}
    """Existing customers that may be the client, by client key."""


class GatherPsa(Canonical):
    """What to read from one delivery system before validating."""

    saga: SagaRef
    system: str
    templates: tuple[str, ...]
    roles: tuple[str, ...]


class GatherHr(Canonical):
    """Role supply to read from HR."""

    saga: SagaRef
    system: str


class ShapeEngagement(Canonical):
    """Everything that was read, to be validated and shaped."""

    saga: SagaRef
    deal: Opportunity
    deal_class: DealClass
    erp: tuple[ErpFindings, ...]
    psa: tuple[PsaReference, ...]
    supply: tuple[RoleSupply, ...]
    supply_known: bool = True
    choices: dict[str, str] = {}
    """Decisions at gates: ERP customer id, or ``new``, by ``system/client key``."""
    amendments: dict[str, Any] = {}
    """A repair's merge patch on the deal (rule: audited, never written to the CRM)."""


class DealAmendment(Canonical):
    """What a repair may amend about a deal that does not validate: for this run, never in the CRM."""

    deal: dict[str, Any] = {}
    """A JSON merge patch on the deal as read."""


class BaselineRetry(Canonical):
    """Nothing can be amended about a baseline that differs: the systems are corrected, then read again."""


class ClientPlacement(Canonical):
    """A client in one ERP: which record it is, or that it is to be made."""

    client: Client
    system: str
    entities: tuple[str, ...]
    currencies: tuple[str, ...]
    payment_terms: str | None = None
    existing: ErpClient | None = None
    candidates: tuple[ClientCandidate, ...] = ()
    """Not empty: a person must choose."""
    unseen: bool = False
    """The search while validating found no customer that carries our key or is linked: a look."""


class EngagementPlan(Canonical):
    """The engagement as validated: all that is to be set up, or all that is wrong."""

    findings: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    engagement: Engagement | None = None
    clients: tuple[ClientPlacement, ...] = ()
    contracts: tuple[ContractSetup, ...] = ()
    deliveries: tuple[DeliverySetup, ...] = ()
    serial_psa: tuple[str, ...] = ()
    """Delivery systems that create projects one after another."""
    gates: tuple[GateRequest, ...] = ()
    deal: RecordRef | None = None
    deal_class: DealClass | None = None
    at_stake: Money | None = None
    deal_digest: str = ""
    """Digest of what the plan was made from: the second reading compares it."""


class LookAhead(Canonical):
    """What is about to be made in one system, to be looked for beside the steps that come first."""

    saga: SagaRef
    system: str
    contracts: tuple[ContractSetup, ...] = ()
    deliveries: tuple[DeliverySetup, ...] = ()


class LookedAhead(Canonical):
    """What a look ahead found."""

    absent: tuple[str, ...] = ()
    """Effect keys of which neither ledger nor system has anything. The look counts for as long as the
    ledger says of the key that nothing was sent: nobody else makes records with our stamps."""


class EnsureClients(Canonical):
    """Clients to have in one ERP."""

    saga: SagaRef
    step: str
    system: str
    placements: tuple[ClientPlacement, ...]


class EnsurePsaClients(Canonical):
    """Clients to have in one delivery system, each named by a project of it."""

    saga: SagaRef
    step: str
    system: str
    deliveries: tuple[DeliverySetup, ...]


class SetUpContract(Canonical):
    """A contract with its project to set up in one ERP."""

    saga: SagaRef
    step: str
    system: str
    setup: ContractSetup
    values: dict[str, str] = {}
    absent: tuple[str, ...] = ()
    """Keys that were looked for ahead."""


class OpenDelivery(Canonical):
    """A delivery project to open, to complete, or to activate."""

    saga: SagaRef
    step: str
    system: str
    setup: DeliverySetup
    values: dict[str, str] = {}
    absent: tuple[str, ...] = ()
    """Keys that were looked for ahead."""
    settle_poll: float = 0.5
    settle_seconds: float = 600


class ActivateContract(Canonical):
    """A contract to approve and its project to open."""

    saga: SagaRef
    step: str
    system: str
    contract: Contract
    values: dict[str, str] = {}


class ReadBaseline(Canonical):
    """What to read back from one system."""

    saga: SagaRef
    system: str
    contracts: tuple[Contract, ...] = ()
    deliveries: tuple[DeliverySetup, ...] = ()
    values: dict[str, str] = {}


class SystemBaseline(Canonical):
    """What one system holds of the engagement."""

    system: str
    contracts: tuple[ErpBaseline, ...] = ()
    deliveries: tuple[PsaBaseline, ...] = ()


class CompareBaseline(Canonical):
    """All systems' readings and the deal's second reading, to be compared with the plan."""

    saga: SagaRef
    plan: EngagementPlan
    deal: Opportunity | None
    baselines: tuple[SystemBaseline, ...]
    values: dict[str, str] = {}


class BaselineVerdict(Canonical):
    """Whether activation may go ahead."""

    differences: tuple[Finding, ...] = ()
    deal_changed: bool = False
    deal_lost: bool = False


class WriteBack(Canonical):
    """What to tell the CRM."""

    saga: SagaRef
    step: str
    system: str
    outcome: DealOutcome
    values: dict[str, str] = {}


class SendNotice(Canonical):
    """A message for people."""

    saga: SagaRef
    step: str
    notice: Notice
    values: dict[str, str] = {}


class CrmActivities(ABC):
    """Activities of a CRM instance."""

    @activity.defn(name="crm.read_deal")
    @abstractmethod
    async def read_deal(self, command: ReadDeal) -> Opportunity | None:
        """A deal as it stands; None when there is none."""

    @activity.defn(name="crm.write_back")
    @abstractmethod
    async def write_back(self, command: WriteBack) -> StepOutcome:
        """Codes, links and status to the deal."""


class ErpActivities(ABC):
    """Activities of an ERP instance."""

    @activity.defn(name="erp.gather")
    @abstractmethod
    async def gather(self, command: GatherErp) -> ErpFindings:
        """Reference data and possible existing clients."""

    @activity.defn(name="erp.look_ahead")
    @abstractmethod
    async def look_ahead(self, command: LookAhead) -> LookedAhead:
        """Which of the contracts' records are certainly not there yet."""

    @activity.defn(name="erp.ensure_clients")
    @abstractmethod
    async def ensure_clients(self, command: EnsureClients) -> StepOutcome:
        """Clients with their hierarchy under the right entities."""

    @activity.defn(name="erp.set_up_contract_and_project")
    @abstractmethod
    async def set_up_contract_and_project(self, command: SetUpContract) -> StepOutcome:
        """Contract, project, schedule and revenue settings, in the ERP's own order."""

    @activity.defn(name="erp.read_baseline")
    @abstractmethod
    async def read_baseline(self, command: ReadBaseline) -> SystemBaseline:
        """What the ERP holds of the contracts."""

    @activity.defn(name="erp.activate_contract")
    @abstractmethod
    async def activate_contract(self, command: ActivateContract) -> StepOutcome:
        """Approve the contract and open its project."""


class PsaActivities(ABC):
    """Activities of a delivery system instance."""

    @activity.defn(name="psa.gather")
    @abstractmethod
    async def gather(self, command: GatherPsa) -> PsaReference:
        """Templates and roles."""

    @activity.defn(name="psa.look_ahead")
    @abstractmethod
    async def look_ahead(self, command: LookAhead) -> LookedAhead:
        """Which of the delivery projects are certainly not there yet."""

    @activity.defn(name="psa.ensure_clients")
    @abstractmethod
    async def ensure_clients(self, command: EnsurePsaClients) -> StepOutcome:
        """What must be there of the clients before their projects."""

    @activity.defn(name="psa.open_project")
    @abstractmethod
    async def open_project(self, command: OpenDelivery) -> StepOutcome:
        """The project with its template."""

    @activity.defn(name="psa.complete_structure")
    @abstractmethod
    async def complete_structure(self, command: OpenDelivery) -> StepOutcome:
        """Wait for the template, then add milestones, placeholders and rates."""

    @activity.defn(name="psa.read_baseline")
    @abstractmethod
    async def read_baseline(self, command: ReadBaseline) -> SystemBaseline:
        """What the delivery system holds of the projects."""

    @activity.defn(name="psa.activate_project")
    @abstractmethod
    async def activate_project(self, command: OpenDelivery) -> StepOutcome:
        """Open the project for work."""


class HrActivities(ABC):
    """Activities of an HR instance."""

    @activity.defn(name="hr.role_supply")
    @abstractmethod
    async def role_supply(self, command: GatherHr) -> tuple[RoleSupply, ...]:
        """Roles that exist, with head counts."""


class DecisionActivities(ABC):
    """Business rules; run on the ledger's queue, so that changing a rule never breaks a replay."""

    @activity.defn(name="rules.route_deal")
    @abstractmethod
    async def route_deal(self, command: RouteDeal) -> Routing:
        """Register the saga, classify the deal and find its routes."""

    @activity.defn(name="rules.shape_engagement")
    @abstractmethod
    async def shape_engagement(self, command: ShapeEngagement) -> EngagementPlan:
        """All validations, all findings; the engagement when there are none."""

    @activity.defn(name="rules.compare_baseline")
    @abstractmethod
    async def compare_baseline(self, command: CompareBaseline) -> BaselineVerdict:
        """Whether all systems hold what was agreed; keeps the baseline."""


class NotifyActivities(ABC):
    """Messages to people."""

    @activity.defn(name="notify.send")
    @abstractmethod
    async def send(self, command: SendNotice) -> StepOutcome:
        """Send a message once per key, as far as the channel allows."""
