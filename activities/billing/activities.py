"""The activities of time-to-billing, as workflows call them: each hands on to the part that knows."""

from __future__ import annotations

from temporalio import activity

from activities.billing.collecting import Collecting
from activities.billing.crediting import Crediting
from activities.billing.drafting import Drafting
from activities.billing.gathering import Gathering
from activities.billing.invoicing import Invoicing
from activities.billing.marking import Marking
from activities.billing.posting import Posting
from activities.billing.preparing import Preparing
from activities.billing.releasing import Releasing
from activities.billing.repricing import Repricing
from activities.billing.retaining import Retaining
from activities.billing.reversing import Reversing
from activities.contracts import (
    BeginRun,
    BillingActivities,
    Collected,
    CollectWork,
    Draft,
    DuePage,
    EffectActivities,
    EndRetainers,
    FeedActivities,
    InvoiceProof,
    InvoicingActivities,
    ListDue,
    MakeCredit,
    MakeInvoice,
    Marked,
    MarkExported,
    Piece,
    PostedPiece,
    PostingActivities,
    PreparedPiece,
    ProposedCredit,
    ProposedDifference,
    ProposeDifference,
    RateActivities,
    RatesSet,
    ReadStanding,
    ReleaseHeld,
    ReleasePage,
    RepricedWork,
    RepriceWork,
    RetainersEnded,
    ReversalSelection,
    ReviewDraft,
    RunBegun,
    SelectDraft,
    SelectReversals,
    SetRates,
    SettledDifference,
    SettleDifference,
    ShapeCredit,
    Standing,
    StepOutcome,
    UndoStep,
    UndoStepResult,
)
from activities.effects import Effects
from activities.failures import guarded
from activities.systems import Systems
from canonical.invoicing import DocumentKind
from ledger.store import Ledger


class FeedActivitiesOver(FeedActivities):
    """Reads from and marks in delivery systems."""

    def __init__(self, systems: Systems, ledger: Ledger, gathering: Gathering) -> None:
        self._collecting = Collecting(systems, ledger, gathering)
        self._marking = Marking(systems, ledger)

    @activity.defn(name="feed.collect")
    @guarded
    async def collect(self, command: CollectWork) -> Collected:
        """Read what changed into the ledger."""
        return await self._collecting.collect(command)

    @activity.defn(name="feed.mark")
    @guarded
    async def mark(self, command: MarkExported) -> Marked:
        """Mark posted lines, and take marks off reversed ones."""
        return await self._marking.mark(command)


class PostingActivitiesOver(PostingActivities):
    """Posts to ERPs."""

    def __init__(self, systems: Systems, ledger: Ledger, gathering: Gathering) -> None:
        self._preparing = Preparing(systems, ledger, gathering)
        self._posting = Posting(systems, ledger, gathering)
        self._reversing = Reversing(systems, ledger)
        self._releasing = Releasing(systems, ledger, gathering)

    @activity.defn(name="posting.prepare")
    @guarded
    async def prepare(self, command: Piece) -> PreparedPiece:
        """Claim a piece and check its lines."""
        return await self._preparing.prepare(command)

    @activity.defn(name="posting.reverse")
    @guarded
    async def reverse(self, command: Piece) -> PostedPiece:
        """Take postings back."""
        return await self._reversing.reverse(command)

    @activity.defn(name="posting.post")
    @guarded
    async def post(self, command: Piece) -> PostedPiece:
        """Post the piece's lines."""
        return await self._posting.post(command)

    @activity.defn(name="posting.select_reversals")
    @guarded
    async def select_reversals(self, command: SelectReversals) -> ReversalSelection:
        """What of a scope can be taken back."""
        return await self._reversing.select(command)

    @activity.defn(name="posting.release_held")
    @guarded
    async def release_held(self, command: ReleaseHeld) -> ReleasePage:
        """Check held items again."""
        return await self._releasing.release(command)


class BillingActivitiesOver(BillingActivities, EffectActivities):
    """What ledger and rules do for billing; undoes steps that changed only the ledger."""

    def __init__(
        self, drafting: Drafting, crediting: Crediting, retaining: Retaining, ledger: Ledger
    ) -> None:
        self._drafting = drafting
        self._crediting = crediting
        self._retaining = retaining
        self._ledger = ledger

    @activity.defn(name="billing.begin_run")
    @guarded
    async def begin_run(self, command: BeginRun) -> RunBegun:
        """Register a run."""
        return await self._drafting.begin_run(command)

    @activity.defn(name="billing.list_due")
    @guarded
    async def list_due(self, command: ListDue) -> DuePage:
        """Groups that are due."""
        return await self._drafting.list_due(command)

    @activity.defn(name="billing.select")
    @guarded
    async def select(self, command: SelectDraft) -> Draft:
        """Select, price and reserve."""
        return await self._drafting.select(command)

    @activity.defn(name="billing.review")
    @guarded
    async def review(self, command: ReviewDraft) -> Draft:
        """Carry out a reviewer's decisions."""
        return await self._drafting.review(command)

    @activity.defn(name="billing.shape_credit")
    @guarded
    async def shape_credit(self, command: ShapeCredit) -> ProposedCredit:
        """What is to be credited."""
        return await self._crediting.shape(command)

    @activity.defn(name="billing.end_retainers")
    @guarded
    async def end_retainers(self, command: EndRetainers) -> RetainersEnded:
        """End periods of retainers."""
        return await self._retaining.end(command)

    @activity.defn(name="billing.standing")
    @guarded
    async def standing(self, command: ReadStanding) -> Standing:
        """How a route stands."""
        return await self._drafting.standing(command)

    @activity.defn(name="effects.undo_step")
    @guarded
    async def undo_step(self, command: UndoStep) -> UndoStepResult:
        """Give back what a run of ours has reserved; nothing reserved is done."""
        done: list[str] = []
        for row in await self._ledger.documents(saga_id=command.saga.saga_id):
            if not row.state.is_open:
                continue
            if row.kind is DocumentKind.CREDIT:
                await self._crediting.keep_invoice(row.key, command.reason)
                done.append(f"credit {row.key}: not issued, the invoice stands")
            else:
                await self._ledger.abandon_document(row.key, command.reason or "taken back")
                done.append(f"invoice {row.key}: {row.lines} lines are unbilled again")
        return UndoStepResult(done=tuple(done))


class RateActivitiesOver(RateActivities):
    """Changes rates."""

    def __init__(self, repricing: Repricing) -> None:
        self._repricing = repricing

    @activity.defn(name="rates.set")
    @guarded
    async def set_rates(self, command: SetRates) -> RatesSet:
        """Put rates in force."""
        return await self._repricing.set_rates(command)

    @activity.defn(name="rates.reprice")
    @guarded
    async def reprice(self, command: RepriceWork) -> RepricedWork:
        """Price a page anew."""
        return await self._repricing.reprice(command)

    @activity.defn(name="rates.propose")
    @guarded
    async def propose_difference(self, command: ProposeDifference) -> ProposedDifference:
        """What is kept back, as a question."""
        return await self._repricing.propose(command)

    @activity.defn(name="rates.settle")
    @guarded
    async def settle_difference(self, command: SettleDifference) -> SettledDifference:
        """Let it go, or write it down."""
        return await self._repricing.settle(command)


class InvoicingActivitiesOver(InvoicingActivities):
    """Makes invoices and credits in ERPs."""

    def __init__(self, invoicing: Invoicing, crediting: Crediting) -> None:
        self._invoicing = invoicing
        self._crediting = crediting

    @activity.defn(name="invoicing.draft")
    @guarded
    async def draft(self, command: MakeInvoice) -> StepOutcome:
        """The draft in the ERP."""
        return await self._invoicing.draft(command)

    @activity.defn(name="invoicing.issue")
    @guarded
    async def issue(self, command: MakeInvoice) -> StepOutcome:
        """Issue it."""
        return await self._invoicing.issue(command)

    @activity.defn(name="invoicing.prove")
    @guarded
    async def prove(self, command: MakeInvoice) -> InvoiceProof:
        """Read it back; its items are billed."""
        return await self._invoicing.prove(command)

    @activity.defn(name="invoicing.credit")
    @guarded
    async def credit(self, command: MakeCredit) -> StepOutcome:
        """Credit an invoice."""
        return await self._crediting.credit(command)

    @activity.defn(name="invoicing.prove_credit")
    @guarded
    async def prove_credit(self, command: MakeCredit) -> InvoiceProof:
        """Read the credit back."""
        return await self._crediting.prove(command)


class BillingParts:
    """All activities of time-to-billing, over one set of parts."""

    def __init__(self, systems: Systems, effects: Effects) -> None:
        ledger, gathering = effects.ledger, Gathering(systems, effects.ledger)
        drafting = Drafting(systems, ledger, gathering)
        repricing = Repricing(systems, ledger, gathering, drafting)
        retaining = Retaining(systems, ledger, gathering)
        crediting = Crediting(systems, effects, gathering, drafting, repricing, retaining)
        self.feed = FeedActivitiesOver(systems, ledger, gathering)
        self.posting = PostingActivitiesOver(systems, ledger, gathering)
        self.billing = BillingActivitiesOver(drafting, crediting, retaining, ledger)
        self.rates = RateActivitiesOver(repricing)
        self.invoicing = InvoicingActivitiesOver(Invoicing(systems, effects, gathering), crediting)
