"""Inputs, outputs and activities of billing: select, price, draft, review, issue, read back, credit.

A draft is known by its invoice key (group, cycle, sequence); its lines are allocations in the ledger and
never travel through a workflow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import date

from temporalio import activity

from activities.contracts.kernel import SagaRef, StartSaga, StepOutcome
from activities.contracts.posting import Pace, ReadStanding, Standing
from canonical.base import Canonical
from canonical.failures import Finding
from canonical.invoicing import Freed, LineDecision
from canonical.money import Money
from canonical.refs import RecordRef
from canonical.saga import GateDecision, GateRequest, HeldItems, Tally


class StartTimeToBilling(StartSaga):
    """Everything approved up to a cutoff, posted and billed. ``system`` is the delivery system."""

    erp: str
    through: date
    """The cutoff: the last work date that counts, in each legal entity's own zone (rule 30)."""
    pace: Pace = Pace()


class StartBilling(StartSaga):
    """Bill one group for one cycle. ``system`` is the ERP, ``record_id`` names group and cycle."""

    psa: str
    group: str
    cycle: str
    through: date
    pace: Pace = Pace()
    report_to: str | None = None
    """Workflow that wants to know when this one ends."""


class StartCredit(StartSaga):
    """Propose a credit of one invoice. ``system`` is the ERP, ``record_id`` names the invoice."""

    psa: str
    invoice: str
    requested: bool = False
    """Somebody asks for it, for ``reason``. False: what was withdrawn since the issue is to be credited."""
    lines: tuple[str, ...] = ()
    """Of a requested credit: keys of the lines (allocations); the whole invoice when empty."""
    rates: bool = False
    """What a rate that fell makes of its lines is to be credited: the difference, nothing else."""
    refund: bool = False
    """What the retainer that it billed in advance has left is to be given back."""


class GroupEnded(Canonical):
    """Signal: a billing group's run came to its end."""

    saga_id: str
    status: str
    headline: str
    invoice: str | None = None
    net: Money | None = None


# --- the run itself ---------------------------------------------------------------------------------


class BeginRun(Canonical):
    """A run to register in the ledger: who started it, why, and that it may be started again."""

    saga: SagaRef
    name: str
    reason: str = ""


class RunBegun(Canonical):
    """What the ledger knows of it."""

    generation: int = 1
    """Rises after an undone run, whose keys are closed."""
    pieces: int = 0
    """Pieces that earlier runs of this id have claimed: numbers go on after them."""


# --- which groups --------------------------------------------------------------------------------


class ListDue(Canonical):
    """Which groups have something to bill for a cutoff."""

    saga: SagaRef
    psa: str
    erp: str
    through: date
    after: str | None = None
    limit: int = 200


class DueGroup(Canonical):
    """A billing group with open work in a cycle (rule 25)."""

    group: str
    cycle: str
    title: str
    """For people: seller, client, what it groups."""
    in_advance: bool = False
    """A retainer's advance: the group's work draws on it, and is billed after it."""


class DuePage(Canonical):
    """A page of due groups; ``after`` is empty at the end."""

    groups: tuple[DueGroup, ...] = ()
    after: str | None = None


# --- a draft -------------------------------------------------------------------------------------


class SelectDraft(Canonical):
    """Select and price what a group has open, and reserve it (rules 31, 32)."""

    saga: SagaRef
    step: str
    psa: str
    erp: str
    group: str
    cycle: str
    through: date


class Draft(Canonical):
    """A draft invoice as the ledger holds it, without its lines."""

    generation: int = 1
    """Of the run: an undone one closed its keys."""
    invoice: str | None = None
    """Its key; None when the group has nothing to bill."""
    title: str = ""
    lines: int = 0
    net: Money | None = None
    tallies: tuple[Tally, ...] = ()
    held: tuple[HeldItems, ...] = ()
    findings: tuple[Finding, ...] = ()
    """Tax inputs and the like that must be in order before issue (rule 38)."""
    review: GateRequest | None = None
    """What is to be decided; None when the contract releases it without review (rule 24)."""
    sent_after_review: bool = False
    """The ERP has no drafts: making the invoice posts it, so the review comes first."""


class ReviewEdits(Canonical):
    """What a reviewer's ``amend`` carries: lines without a decision stay as they are."""

    decisions: tuple[LineDecision, ...]


class ReviewDraft(Canonical):
    """Change a draft as its reviewer wants it."""

    saga: SagaRef
    step: str
    invoice: str
    decision: GateDecision


class MakeInvoice(Canonical):
    """Draft, issue or read one invoice in the ERP."""

    saga: SagaRef
    step: str
    system: str
    invoice: str
    values: dict[str, str] = {}


class InvoiceProof(Canonical):
    """An issued invoice as the ERP shows it, compared with what we sent."""

    record: RecordRef
    number: str
    net: Money
    gross: Money
    differences: tuple[Finding, ...] = ()
    """Net must equal our allocations exactly (rule 38)."""


# --- credits (rule 39) ---------------------------------------------------------------------------


class ShapeCredit(Canonical):
    """Work out what of an invoice is to be credited."""

    saga: SagaRef
    step: str
    psa: str
    erp: str
    invoice: str
    requested: bool = False
    lines: tuple[str, ...] = ()
    rates: bool = False
    refund: bool = False
    reason: str = ""


class ProposedCredit(Canonical):
    """A credit to be decided, without its lines."""

    generation: int = 1
    credit: str | None = None
    """Its key; None when nothing is to be credited any more."""
    title: str = ""
    lines: int = 0
    net: Money | None = None
    review: GateRequest | None = None


class MakeCredit(Canonical):
    """Credit an invoice in the ERP, or read the credit back."""

    saga: SagaRef
    step: str
    system: str
    credit: str
    freed: Freed | None = None
    """What becomes of the credited parts; as proposed for each when empty."""
    values: dict[str, str] = {}


# --- retainers (rule 32) -------------------------------------------------------------------------


class EndRetainers(Canonical):
    """End the periods of a route's retainers that are over by a cutoff."""

    saga: SagaRef
    step: str
    erp: str
    through: date


class RetainersEnded(Canonical):
    """What became of what they had left."""

    tallies: tuple[Tally, ...] = ()
    refunds: tuple[str, ...] = ()
    """Invoices of advances that have something left to be given back."""
    by_hand: tuple[str, ...] = ()
    """Contracts with what is left of an opening balance, which no invoice of ours has billed."""
    waiting: int = 0
    """Retainers with work that may still draw: their periods are not over yet."""


# --- activities ----------------------------------------------------------------------------------


class BillingActivities(ABC):
    """What the ledger and the rules do for billing; on the ledger's queue."""

    @activity.defn(name="billing.begin_run")
    @abstractmethod
    async def begin_run(self, command: BeginRun) -> RunBegun:
        """Register the run."""

    @activity.defn(name="billing.list_due")
    @abstractmethod
    async def list_due(self, command: ListDue) -> DuePage:
        """Groups that have something open for the cutoff."""

    @activity.defn(name="billing.select")
    @abstractmethod
    async def select(self, command: SelectDraft) -> Draft:
        """Register the run, select, price and reserve; answers the same draft when asked again."""

    @activity.defn(name="billing.review")
    @abstractmethod
    async def review(self, command: ReviewDraft) -> Draft:
        """Carry out a reviewer's edits; answers the draft as it is now."""

    @activity.defn(name="billing.shape_credit")
    @abstractmethod
    async def shape_credit(self, command: ShapeCredit) -> ProposedCredit:
        """Register the run; what is to be credited of an invoice, reserved until decided."""

    @activity.defn(name="billing.end_retainers")
    @abstractmethod
    async def end_retainers(self, command: EndRetainers) -> RetainersEnded:
        """Unused balances roll over or expire; what is to be given back is named."""

    @activity.defn(name="billing.standing")
    @abstractmethod
    async def standing(self, command: ReadStanding) -> Standing:
        """Items and money of a route by state."""


class InvoicingActivities(ABC):
    """Invoices and credits in an ERP instance; on its own queue."""

    @activity.defn(name="invoicing.draft")
    @abstractmethod
    async def draft(self, command: MakeInvoice) -> StepOutcome:
        """The draft in the ERP with exactly these lines; asked again, it is changed."""

    @activity.defn(name="invoicing.issue")
    @abstractmethod
    async def issue(self, command: MakeInvoice) -> StepOutcome:
        """Issue it: the pivot of this invoice (rule 15)."""

    @activity.defn(name="invoicing.prove")
    @abstractmethod
    async def prove(self, command: MakeInvoice) -> InvoiceProof:
        """Read the posted invoice back; when it is what we sent, its items are billed. Not posted yet is a
        passing reason: the workflow waits and asks again.
        """

    @activity.defn(name="invoicing.credit")
    @abstractmethod
    async def credit(self, command: MakeCredit) -> StepOutcome:
        """Credit lines of an issued invoice, linked to it, at its rate, in an open period."""

    @activity.defn(name="invoicing.prove_credit")
    @abstractmethod
    async def prove_credit(self, command: MakeCredit) -> InvoiceProof:
        """Read the credit back; when it is what we sent, its parts go where the approver said."""
