"""Progress that an ERP recognises revenue by, and what of it was recognised (rule 2).

The ERP computes revenue. What is here are its inputs (effort, cost, what is still to be worked, acceptance)
and readings of what it made of them, put beside what was sold, delivered and billed.
"""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from enum import StrEnum

from canonical.base import Canonical
from canonical.causes import Queue
from canonical.engagement import RevenueMethod
from canonical.failures import Finding
from canonical.money import Exact, Money
from canonical.refs import RecordRef

NEEDS_INPUTS = (RevenueMethod.OVER_TIME_INPUT, RevenueMethod.OVER_TIME_OUTPUT, RevenueMethod.POINT_IN_TIME)
"""Methods that the ERP cannot follow without being told; of the others nothing is sent."""


class MeasuredMilestone(Canonical):
    """A milestone of a contract line, as delivery has it now."""

    key: str
    reached: bool
    """Complete, and accepted where the contract asks for acceptance."""
    reached_on: date | None = None
    """Of the acceptance, else of the completion; empty where delivery tells no day."""


class MeasuredLine(Canonical):
    """How far delivery says a contract line is, read now."""

    line_key: str
    minutes_at_completion: int | None = None
    """Worked and still to be worked, as estimated; None where nobody has estimated it."""
    percent: Exact | None = None
    """Of the deliverable, 0 to 100, as delivery reports it."""
    milestones: tuple[MeasuredMilestone, ...] = ()


class LineEffort(Canonical):
    """What the ledger knows of the work on a contract line, by the day on which the ERP has it."""

    line_key: str
    minutes_to_date: int = 0
    """Posted as cost and not taken back, through the period's last day."""
    minutes_in_period: int = 0
    """Of those, with a posting date in the period."""
    costs_to_date: tuple[Money, ...] = ()
    """Expenses as incurred, one sum per currency. The cost of time is the ERP's own: it has the entries."""


class LineProgress(Canonical):
    """The inputs of one contract line at the end of a period."""

    line_key: str
    method: RevenueMethod
    minutes_to_date: int = 0
    minutes_in_period: int = 0
    """Since the inputs that were sent last for an earlier period: late corrections are in it."""
    corrections: int = 0
    """Minutes of ``minutes_in_period`` that belong to earlier periods."""
    minutes_to_complete: int | None = None
    """Still to be worked. Only of input methods."""
    costs_to_date: tuple[Money, ...] = ()
    costs_in_period: tuple[Money, ...] = ()
    milestones: int = 0
    milestones_reached: int = 0
    accepted: Money | None = None
    """Contract price of the milestones reached."""
    percent: Exact | None = None
    complete: bool = False
    """Of point in time: everything is accepted."""
    accepted_on: date | None = None
    """Of point in time: the last acceptance, once everything is accepted."""

    @property
    def digest(self) -> str:
        """What tells one set of inputs from another."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:32]


class ContractProgress(Canonical):
    """What the ERP is told of one contract for one period."""

    contract_key: str
    name: str
    currency: str
    period: str
    """Year and month, for example ``2026-10``."""
    revision: int = 1
    """Rises when other inputs are sent for the same period."""
    lines: tuple[LineProgress, ...]


class SendState(StrEnum):
    """What became of a contract's inputs in a period."""

    SENT = "sent"
    UNCHANGED = "unchanged"
    """The same inputs were sent before: nothing was written."""
    NOTHING = "nothing to send"
    """Its revenue methods need no inputs."""
    HELD = "held"
    LATER = "in a later period"
    """The period is closed, or a later one was told already: what changed goes with the open one."""


class DifferenceKind(StrEnum):
    """What stands out when sold, delivered, billed and recognised are compared."""

    RECOGNISED_ABOVE_BOOKED = "recognised above booked"
    RECOGNISED_ABOVE_DELIVERED = "recognised above delivered"
    DELIVERED_NOT_RECOGNISED = "delivered, nothing recognised"
    BILLED_ABOVE_BOOKED = "billed above booked"
    PLAN_DIFFERS = "plan is not what is booked"
    """Recognised and deferred together are another amount than the contract's."""
    CONTRACT_LIABILITY = "contract liability"
    """Billed ahead: more is billed than recognised (IFRS 15, 106)."""
    CONTRACT_ASSET = "contract asset"
    """Unbilled: more is recognised than billed (IFRS 15, 107)."""

    @property
    def is_position(self) -> bool:
        """Whether it is a balance that belongs there, and nothing to correct."""
        return self in (DifferenceKind.CONTRACT_LIABILITY, DifferenceKind.CONTRACT_ASSET)


class RevenueDifference(Canonical):
    """One difference of one contract: what it is worth, whose it is, what to type."""

    kind: DifferenceKind
    message: str
    worth: Money
    record: RecordRef | None = None
    """The contract in the ERP."""
    owner: Queue
    next: str


class RevenueFigures(Canonical):
    """One contract at the end of a period, in its own currency."""

    booked: Money
    """Agreed, net, by the terms in force at the period's end."""
    delivered_minutes: int = 0
    delivered: Money | None = None
    """Work at billing rates and milestones at contract price, as priced already; None where nothing prices
    what was delivered (fixed schedules)."""
    billed: Money
    """On issued invoices, less credits, and the opening position."""
    recognised: Money | None = None
    """None where the ERP has no revenue plan of it."""
    deferred: Money | None = None


class RevenueRow(Canonical):
    """What the ledger keeps of one contract and period."""

    contract_key: str
    name: str
    period: str
    legal_entity: str
    erp: str
    figures: RevenueFigures
    state: SendState
    revision: int = 0
    """Of the inputs that were sent last for the period; 0: none were."""
    findings: tuple[Finding, ...] = ()
    """Why its inputs are held, or what is to be known about them."""
    differences: tuple[RevenueDifference, ...] = ()
    saga_id: str
    at: datetime | None = None
