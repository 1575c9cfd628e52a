"""Change orders: what a contract's terms are to become, on a named version (rule 43); what comes of it."""

from __future__ import annotations

import re
from datetime import date
from enum import StrEnum

from pydantic import field_validator, model_validator

from canonical.base import Canonical
from canonical.causes import Cause
from canonical.engagement import Contract, ContractLine, DocumentRef, ScheduleDate
from canonical.failures import Finding
from canonical.money import Exact, Money
from canonical.rates import RateCard
from canonical.refs import RecordRef
from canonical.terms import Cap, PurchaseOrder

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class LineDelta(Canonical):
    """What changes of one contract line; everything that is not named stays."""

    key: str
    amount: Money | None = None
    """By how much its amount rises or falls, in contract currency."""
    deal_amount: Money | None = None
    """The same in the deal's currency; needed where the line is converted."""
    quantity: Exact | None = None
    """By how much its quantity rises or falls."""
    description: str | None = None
    start: date | None = None
    end: date | None = None
    put_dates: tuple[ScheduleDate, ...] = ()
    """Schedule dates that are new, or replace the one of their key."""
    drop_dates: tuple[str, ...] = ()
    """Keys of schedule dates that fall away."""


class TermsDelta(Canonical):
    """What changes of a contract, for sources that do not know the complete terms."""

    add: tuple[ContractLine, ...] = ()
    change: tuple[LineDelta, ...] = ()
    drop: tuple[str, ...] = ()
    """Keys of lines that fall away."""
    rate_card: RateCard | None = None
    """All rates from now on, complete; as they are when empty."""
    caps: tuple[Cap, ...] | None = None
    purchase_orders: tuple[PurchaseOrder, ...] | None = None
    end: date | None = None


class ChangeOrder(Canonical):
    """One agreed change of one contract. It makes version ``base + 1`` of the contract's terms."""

    key: str
    """The source's own id of it; unique per contract."""
    contract_key: str
    base: int
    """The version of the contract's terms that it builds on."""
    effective_on: date
    """From which day the resulting terms hold."""
    terms: Contract | None = None
    """The complete resulting terms."""
    delta: TermsDelta | None = None
    """The difference to the version before, where the source knows no more."""
    title: str = ""
    document: DocumentRef | None = None
    source: RecordRef | None = None

    @field_validator("key")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not _KEY.fullmatch(value):
            raise ValueError(f"{value!r}: up to 64 letters, digits, dashes and underscores")
        return value

    @model_validator(mode="after")
    def _one_form(self) -> ChangeOrder:
        if (self.terms is None) == (self.delta is None):
            raise ValueError("give either the complete resulting terms or a delta")
        if self.base < 1:
            raise ValueError("base is the version that it builds on, 1 for the terms of the deal")
        return self

    @property
    def version(self) -> int:
        """The version that it makes."""
        return self.base + 1

    @property
    def form(self) -> str:
        """``snapshot`` or ``delta``."""
        return "snapshot" if self.terms is not None else "delta"


class ChangeOrderState(StrEnum):
    """Where a change order stands."""

    RECEIVED = "received"
    """Not decided; it may wait for the version that it builds on."""
    UNDER_WAY = "under-way"
    APPLIED = "applied"
    REFUSED = "refused"
    UNDONE = "undone"
    """Given up, or rejected by finance: nothing of it remains."""
    WITHDRAWN = "withdrawn"
    """Taken back before it was decided."""

    @property
    def is_open(self) -> bool:
        """Whether something is still to come of it."""
        return self in (ChangeOrderState.RECEIVED, ChangeOrderState.UNDER_WAY)

    @property
    def takes_its_version(self) -> bool:
        """Whether its version counts as arrived: what builds on it need not wait for it any more."""
        return self in (ChangeOrderState.APPLIED, ChangeOrderState.REFUSED, ChangeOrderState.UNDONE)


class Treatment(StrEnum):
    """How finance treats a change (IFRS 15.18-21): the ERP computes, we only tell it (rule 2)."""

    PROSPECTIVE = "prospective"
    CATCH_UP = "catch-up"
    SEPARATE = "separate-contract"
    """It is another contract: this one stays as it is, and the scope is sold by a deal of its own."""


class Floor(Canonical):
    """What a contract cannot go below without a credit (rule 43)."""

    billed: dict[str, Money] = {}
    """Billed net of credits, by line key."""
    delivered: dict[str, Money] = {}
    """The worth of work and milestones that are delivered and not billed, by line key."""
    elsewhere: Money | None = None
    """Billed that no line can be named for: before the take-over, or corrections of the whole contract."""
    dates: dict[str, Money] = {}
    """Billed, by the key of the schedule date."""


class LineChange(Canonical):
    """One line before and after; either is missing where the line is new or falls away."""

    key: str
    before: ContractLine | None = None
    after: ContractLine | None = None


class RateChange(Canonical):
    """The bill rate of a role per hour, before and after, on the day from which the change holds."""

    role: str
    before: Exact | None = None
    after: Exact | None = None


class DeliveryImpact(Canonical):
    """What a change means for one delivery project."""

    delivery_key: str
    region: str
    service_code: str
    before: Money
    after: Money
    """Its budget: the sum of its lines."""
    rates: tuple[RateChange, ...] = ()
    put_milestones: tuple[ScheduleDate, ...] = ()
    drop_milestones: tuple[str, ...] = ()
    """Keys of milestones that fall away."""

    @property
    def changes(self) -> bool:
        """Whether the project has to be written to."""
        return bool(self.before != self.after or self.rates or self.put_milestones or self.drop_milestones)


class ChangeImpact(Canonical):
    """The difference between two versions of a contract's terms, per system."""

    before: Money
    after: Money
    lines: tuple[LineChange, ...] = ()
    deliveries: tuple[DeliveryImpact, ...] = ()
    schedules: tuple[str, ...] = ()
    """Keys of lines whose billing schedule changes in the ERP."""
    fields: tuple[str, ...] = ()
    """Other terms that change, for example ``end`` or ``purchase_orders``."""
    rates: bool = False
    """Whether the rate card changes."""

    @property
    def changes(self) -> bool:
        """Whether anything changes at all."""
        return bool(self.lines or self.fields or self.rates)


class Verdict(StrEnum):
    """What comes of a change order as things are."""

    REFUSED = "refused"
    WAITS = "waits"
    """The version that it builds on has not arrived."""
    READY = "ready"


class Judgement(Canonical):
    """What comes of a change order, and why."""

    verdict: Verdict
    cause: Cause | None = None
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    missing: tuple[int, ...] = ()
    """Versions that have not arrived."""
    terms: Contract | None = None
    """The resulting terms, when it is ready."""
    impact: ChangeImpact | None = None


# --- what the ports are asked to do ------------------------------------------------------------------------


class ContractScope(Canonical):
    """What sales shall see of a deal's contracts: the scope as it is, or is about to be."""

    deal: RecordRef
    contract_key: str
    version: int
    versions: str
    """Version of every contract of the deal, for people."""
    value: Money
    """Of all contracts of the deal, in the deal's currency."""
    lines: str
    """The contract's lines, one a row of text, for people."""
    status: str


class OrderChange(Canonical):
    """A change of a contract that stands in an ERP."""

    before: Contract
    after: Contract
    version: int
    impact: ChangeImpact
    treatment: Treatment | None = None
    places: dict[str, str] = {}
    """Where each line stands in the ERP's own contract record, by line key; also of lines that fell away."""


class DeliveryChange(Canonical):
    """A change of a delivery project that is open."""

    version: int
    contract_key: str
    impact: DeliveryImpact
    project_id: str
    positions: dict[str, tuple[str, ...]] = {}
    """The delivery system's ids of the project's positions, by role."""
    milestones: dict[str, str] = {}
    """The delivery system's ids of its contract milestones, by key."""
