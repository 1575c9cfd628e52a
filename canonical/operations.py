"""What the ports are asked to do and what they answer, in canonical terms."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from canonical.authority import Phase
from canonical.base import Canonical
from canonical.causes import Cause
from canonical.delivery import DeliveryProject, DeliveryTemplate
from canonical.engagement import Contract
from canonical.money import Money
from canonical.names import effect_key, shared_key, stamp, step_key
from canonical.parties import Client
from canonical.refs import RecordRef


class WriteContext(Canonical):
    """From which saga and step a planned write comes; builds its keys."""

    saga_id: str
    generation: int
    step: str
    region: str
    phase: Phase = Phase.BEFORE_APPROVAL
    shared_generations: dict[str, int] = {}
    """Generation of shared records whose first one was undone; 1 when absent."""

    @property
    def step_key(self) -> str:
        """Key of the step, for its tombstone."""
        return step_key(self.saga_id, self.generation, self.step)

    def key(self, system: str, operation: str, identity: str, ordinal: int = 1) -> str:
        """Effect key of a record that belongs to this saga alone."""
        return effect_key(system, operation, identity, self.generation, ordinal)

    def key_of_shared(
        self, system: str, operation: str, identity: str, ordinal: int = 1, *, part_of: str | None = None
    ) -> str:
        """Effect key of a record that several sagas rely on: the saga's generation plays no part.

        Args:
            system: the connected system.
            operation: the port's capability.
            identity: business identity of the record.
            ordinal: tells several records of one identity apart.
            part_of: the shared key of the record that this one belongs to, and with which it goes.
        """
        shared = part_of or shared_key(system, operation, identity)
        generation = self.shared_generations.get(shared, 1)
        return effect_key(system, operation, identity, generation, ordinal)

    @staticmethod
    def stamp(key: str) -> str:
        """What the vendor's record carries for ``key``."""
        return stamp(key)


# --- clients -------------------------------------------------------------------------------------


class ErpClient(Canonical):
    """A customer as the ERP holds it: raw material for matching."""

    ref: RecordRef
    name: str
    external_id: str | None = None
    tax_numbers: tuple[str, ...] = ()
    city: str | None = None
    country: str | None = None
    entities: tuple[str, ...] = ()
    """Codes of the firm's legal entities it may be invoiced by."""
    currencies: tuple[str, ...] = ()
    inactive: bool = False
    linked: bool = False
    """Our cross-reference says that this is the client: the strongest evidence."""


class ClientSetup(Canonical):
    """A client to have in the ERP: to create, or already there and perhaps to be extended."""

    client: Client
    parent_symbol: str | None = None
    """Symbol name of the parent client's record, when there is one."""
    entities: tuple[str, ...]
    """Legal entities that sell to it, the primary first."""
    currencies: tuple[str, ...]
    payment_terms: str | None = None
    existing: ErpClient | None = None
    """Linked, never overwritten (rule 11)."""

    @property
    def symbol(self) -> str:
        """Name under which the record is referred to."""
        return client_symbol(self.client.key)


def client_symbol(key: str) -> str:
    """Symbol of a client's ERP record."""
    return f"client:{key}"


def group_symbol(key: str) -> str:
    """Symbol of a client's record in a delivery system."""
    return f"group:{key}"


def contract_symbol(key: str) -> str:
    """Symbol of a contract's ERP record."""
    return f"contract:{key}"


def project_symbol(key: str) -> str:
    """Symbol of a contract's ERP project; its ``code`` is the project code."""
    return f"project:{key}"


def schedule_symbol(key: str) -> str:
    """Symbol of a billing schedule's ERP record."""
    return f"schedule:{key}"


def delivery_symbol(key: str) -> str:
    """Symbol of a delivery project."""
    return f"delivery:{key}"


# --- ERP -----------------------------------------------------------------------------------------


class ErpReference(Canonical):
    """What the ERP knows that validations need. All keyed by our own codes."""

    system: str
    entities: tuple[str, ...] = ()
    """Legal entities whose subsidiary exists and is active."""
    currencies: tuple[str, ...] = ()
    payment_terms: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    """Ids of active service items, of those asked for."""
    base_currency_by_entity: dict[str, str] = {}
    closed_through: dict[str, date] = {}
    """Last day of the latest closed period, by legal entity."""
    limits: dict[str, int] = {}
    """Longest text by canonical field, for example ``client.name``."""


class ContractSetup(Canonical):
    """A contract with its project to set up, in the order the connector declares (rule 19)."""

    contract: Contract
    project_name: str
    client_symbol: str
    bill_to_symbol: str
    subject: str = ""
    """For people: what this is, with the deal's link."""


class ErpBaseline(Canonical):
    """What the ERP holds of a contract and its project, in canonical words."""

    contract_key: str
    project_code: str
    client_id: str
    legal_entity: str
    currency: str
    amount: Money
    billing_methods: tuple[str, ...] = ()
    contract_approved: bool
    project_open: bool
    refs: tuple[RecordRef, ...] = ()


# --- delivery ------------------------------------------------------------------------------------


class PsaReference(Canonical):
    """What the delivery system knows that validations need."""

    system: str
    templates: tuple[DeliveryTemplate, ...] = ()
    """Of those asked for."""
    roles: tuple[str, ...] = ()
    role_ids: dict[str, str] = {}
    """The delivery system's id of each role in ``roles``: planning is pure and cannot look them up."""
    limits: dict[str, int] = {}
    serial_creation: bool = True
    """Whether projects must be created one after another (rule 20)."""


class DeliverySetup(Canonical):
    """A delivery project to open. ``code_symbol`` names the ERP project whose code it carries."""

    project: DeliveryProject
    client_name: str
    template: DeliveryTemplate
    code_symbol: str
    role_ids: dict[str, str] = {}
    """The delivery system's role ids, as ``PsaReference.role_ids`` gave them."""


class TemplateProgress(Canonical):
    """How far the asynchronous application of a template has come (rule 20)."""

    tasks: int
    milestones: int
    placeholders: int
    fingerprint: str
    """Changes while anything is still being added."""
    values: dict[str, str] = {}
    """Ids of what the template made, by symbol, for example ``delivery:K.placeholder.architect.1``."""

    def matches(self, template: DeliveryTemplate) -> bool:
        """Whether everything the template declares is there."""
        return (self.tasks, self.milestones, self.placeholders) == (
            template.tasks,
            template.milestones,
            template.placeholders,
        )


class PsaBaseline(Canonical):
    """What the delivery system holds of a project, in canonical words."""

    delivery_key: str
    project_code: str
    title: str
    currency: str
    budget: Money
    tasks: int
    milestones: int
    placeholders: dict[str, int] = {}
    """Unnamed positions by role."""
    active: bool
    ref: RecordRef


# --- CRM -----------------------------------------------------------------------------------------


class DealOutcome(Canonical):
    """What is told back to sales once the engagement is active."""

    deal: RecordRef
    engagement_code: Any
    """Text, or a symbol while planning."""
    project_codes: Any
    status: str
    project_link: str | None = None


class Change(Canonical):
    """A hint that a record changed: it is read again before anything is done with it."""

    ref: RecordRef
    modified_at: datetime
    deleted: bool = False


class ChangePage(Canonical):
    """Changes after a cursor, oldest first. ``cursor`` continues behind the last one."""

    changes: tuple[Change, ...]
    cursor: str
    more: bool


# --- notification --------------------------------------------------------------------------------


class Notice(Canonical):
    """A message for people; ``key`` lets receivers and mailboxes collapse repetitions."""

    key: str
    channel: str
    subject: str
    facts: dict[str, str]
    link: str | None = None
    correction_of: str | None = None


class HealthState(StrEnum):
    """Result of one of ``doctor``'s checks."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


class HealthCheck(Canonical):
    """One check of a connection, and what to do about it."""

    system: str
    check: str
    state: HealthState
    detail: str
    remedy: str | None = None


class LineOutcome(Canonical):
    """What became of one line of a bulk write. Exactly one of ``landed`` and ``failure`` is set."""

    key: str
    landed: str | None = None
    """The record's id, when it landed (for a removal: when it is gone)."""
    failure: str | None = None
    """The vendor's words, when it was refused."""
    vendor_code: str | None = None
    cause: Cause | None = None
    """Why it was refused, by the connector's error table: who acts next follows from it."""
    retry: bool = False
    """Refused for a passing reason (the vendor's own fault, a limit): send it again in another batch."""
    differs: dict[str, str] = {}
    """Landed, but the record shows something else than was sent: field -> what it shows. Somebody has
    worked on it since, or the vendor did not take the line as it was sent.
    """


class BatchTicket(Canonical):
    """A bulk write that the vendor accepted and works on."""

    id: str
    earlier: bool = False
    """The vendor had accepted it before (rule 29): its outcome may already be there."""
    told: tuple[LineOutcome, ...] = ()
    """Lines that a vendor without jobs refused right away."""
