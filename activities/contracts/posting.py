"""Inputs, outputs and activities of posting approved time: collect, prepare, post, mark, take back, let go.

Workflows carry references, never lines. A *piece* is a part of a route's open work that one run has claimed:
the ledger knows its lines, the workflow knows its number. Every activity over a piece goes on from what the
ledger says is committed, so a second attempt, a killed worker or a lost answer changes nothing in the result.

An activity writes to one connected system. Posting also *asks* the delivery system whether each line is still
approved: that answer is worth nothing unless it is given right before the batch is sent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import date
from enum import StrEnum

from temporalio import activity

from activities.contracts.kernel import SagaRef, StartSaga
from canonical.base import Canonical
from canonical.causes import Cause
from canonical.names import piece_key
from canonical.saga import HeldItems, Tally, Throughput


class Pace(Canonical):
    """How the work is cut; from settings, travels with the start so that a run keeps its own."""

    piece_lines: int = 5_000
    """Lines of a piece: some twenty events of history each, and what a killed worker looks at again."""
    pieces_at_once: int = 3
    """One piece's last batches run beside the next one's first, so that no call slot of the ERP is idle."""
    batches_at_once: int = 12
    """Batches in flight of one piece. The connector's own limit decides how many calls that are; more batches
    than calls keep the calls busy while others read approvals or commit."""
    approval_seconds: float = 3
    """How old the reading of an approval may be when its batch goes out (rule 27)."""
    job_poll: float = 0.3
    """Pause before the first look at an accepted batch; later looks wait longer."""
    pieces_per_run: int = 200
    """After so many pieces a run continues as new: its history stays short, whatever the volume."""


class StartPosting(StartSaga):
    """Post what is approved on one route: ``system`` is the delivery system, ``record_id`` names the run."""

    erp: str
    through: date | None = None
    """Last work date to post; everything approved when empty."""
    pace: Pace = Pace()


# --- collect -------------------------------------------------------------------------------------


class CollectPart(StrEnum):
    """What is read of a delivery system, in this order (rules 27, 28, 33)."""

    TIME = "time"
    APPROVALS = "approvals"
    EXPENSES = "expenses"
    DELETIONS = "deletions"
    MILESTONES = "milestones"


class CollectWork(Canonical):
    """Read what changed into the ledger. Where it goes on from is a cursor of the ledger's."""

    saga: SagaRef
    system: str
    erp: str
    part: CollectPart = CollectPart.TIME
    limit: int
    """Lines after which it answers, so that posting begins while the rest is read."""
    through: date | None = None


class Collected(Canonical):
    """What one stretch of reading brought."""

    seen: int = 0
    new: int = 0
    """Revisions that the ledger did not know."""
    vanished: int = 0
    open: bool = False
    """Whether there is work that no piece has claimed. An attempt that failed half-way has taken in what its
    successor then finds known."""
    next: CollectPart | None = None
    """Where to go on; None when everything is read."""
    stopped: bool = False


# --- pieces --------------------------------------------------------------------------------------


class Piece(Canonical):
    """A part of the route's open work. ``number`` is business identity within the run."""

    saga: SagaRef
    psa: str
    erp: str
    number: int
    limit: int
    through: date | None = None
    pace: Pace = Pace()
    on_purpose: bool = False
    """Its postings are taken back by explicit command, whatever their source says."""
    hold: bool = False
    """Held after that, else open to be posted anew."""
    reason: str = ""

    @property
    def key(self) -> str:
        """What the ledger knows it by."""
        return piece_key(self.saga.saga_id, self.saga.generation, self.number)


class PreparedPiece(Canonical):
    """A piece after every check of every line. A bad line is held; the others go on."""

    claimed: int = 0
    """Lines of the piece; 0 when nothing is open."""
    ready: int = 0
    reversals: int = 0
    """Postings to take back before their replacements are sent (rule 29)."""
    held: tuple[HeldItems, ...] = ()
    credits: tuple[str, ...] = ()
    """Invoices for which a credit is proposed, because a billed line changed (rule 39)."""
    tallies: tuple[Tally, ...] = ()
    more: bool = False
    """The limit was reached: there may be further open work."""
    stopped: bool = False


class PostedPiece(Canonical):
    """What became of a piece's lines in the ERP. Per-line outcomes are in the ledger."""

    posted: int = 0
    earlier: int = 0
    """Of these: the ERP had them already, from an attempt whose answer was lost."""
    refused: int = 0
    """Held with the vendor's reason."""
    withdrawn: int = 0
    """Not sent: the approval was gone or the line had changed when it was read again."""
    reversed: int = 0
    left: int = 0
    """Neither posted nor held: let go of, open for the next piece."""
    held: tuple[HeldItems, ...] = ()
    tallies: tuple[Tally, ...] = ()
    rate: Throughput | None = None
    stopped: bool = False
    """Cancelled: it stopped at the next batch; what is not posted stays open for the next run (rule 23)."""


class MarkExported(Canonical):
    """Mark posted lines in the delivery system."""

    saga: SagaRef
    system: str
    erp: str
    limit: int
    pace: Pace = Pace()


class Marked(Canonical):
    """What was marked. ``more``: the limit was reached."""

    marked: int = 0
    refused: int = 0
    """Delivery did not take the mark: the next run tries again."""
    more: bool = False
    stopped: bool = False


class ReadStanding(Canonical):
    """How a route stands: for the last page of a run."""

    saga: SagaRef
    psa: str
    erp: str
    through: date | None = None


class Standing(Canonical):
    """Items and money by state, held ones by cause."""

    tallies: tuple[Tally, ...] = ()
    held: tuple[HeldItems, ...] = ()


# --- take back (rule 23) and let go --------------------------------------------------------------


class ReversalScope(Canonical):
    """Which postings to take back. Conditions narrow one another; at least one must be given."""

    items: tuple[str, ...] = ()
    """Source records, as ``system/type/id``."""
    project_code: str | None = None
    run: str | None = None
    """What one run of ours posted."""
    first_day: date | None = None
    last_day: date | None = None


class StartReversal(StartSaga):
    """Take posted lines back: explicit, with a preview (``plan``). ``system`` is the ERP."""

    psa: str
    scope: ReversalScope
    hold: bool = True
    """The lines are held after it (else they are open, and the next run posts them again)."""
    pace: Pace = Pace()


class SelectReversals(Canonical):
    """Find what the scope covers; in plan mode nothing is claimed."""

    saga: SagaRef
    psa: str
    erp: str
    scope: ReversalScope
    number: int
    limit: int
    hold: bool = True
    pace: Pace = Pace()
    after: str | None = None
    """The last item of the page before."""


class ReversalSelection(Canonical):
    """What can be taken back, and what cannot."""

    reversals: int = 0
    """Claimed for this piece; in plan mode: what would be."""
    by_form: tuple[Tally, ...] = ()
    """``delete`` or ``negative_line``: the form that the ERP allows today."""
    billed: Tally | None = None
    """On an issued invoice: only a credit takes them back."""
    absent: Tally | None = None
    """Not in the ERP any more: somebody else removed them."""
    more: bool = False
    after: str | None = None
    """Where the next page begins."""


class StartRelease(StartSaga):
    """Let all held items of a cause go on. ``system`` is the delivery system."""

    erp: str
    causes: tuple[Cause, ...]
    project_code: str | None = None
    pace: Pace = Pace()


class ReleaseHeld(Canonical):
    """Check held items again with today's data; those in order are open again."""

    saga: SagaRef
    psa: str
    erp: str
    causes: tuple[Cause, ...]
    project_code: str | None = None
    after: str | None = None
    """The last item of the page before."""
    limit: int = 5_000


class ReleasePage(Canonical):
    """What a page of held items would do, or did."""

    would_post: Tally
    in_erp: Tally
    """The ERP has them already: they are recorded as posted, not sent again."""
    still_held: tuple[HeldItems, ...] = ()
    after: str | None = None
    """Where the next page begins; None at the end."""


# --- activities ----------------------------------------------------------------------------------


class FeedActivities(ABC):
    """Activities of a delivery system instance; on its own queue."""

    @activity.defn(name="feed.collect")
    @abstractmethod
    async def collect(self, command: CollectWork) -> Collected:
        """Read what changed into the ledger, with its cursor in the same transaction."""

    @activity.defn(name="feed.mark")
    @abstractmethod
    async def mark(self, command: MarkExported) -> Marked:
        """Mark posted lines as exported, and take marks off reversed ones."""


class PostingActivities(ABC):
    """Activities of an ERP instance; on its own queue."""

    @activity.defn(name="posting.prepare")
    @abstractmethod
    async def prepare(self, command: Piece) -> PreparedPiece:
        """Claim a piece of the open work, check and enrich each line."""

    @activity.defn(name="posting.reverse")
    @abstractmethod
    async def reverse(self, command: Piece) -> PostedPiece:
        """Take back the postings that the piece's lines replace or withdraw, and read that back."""

    @activity.defn(name="posting.post")
    @abstractmethod
    async def post(self, command: Piece) -> PostedPiece:
        """Post the piece's lines in batches; each batch's approvals are read again right before it."""

    @activity.defn(name="posting.select_reversals")
    @abstractmethod
    async def select_reversals(self, command: SelectReversals) -> ReversalSelection:
        """What of a scope can be taken back; claimed as a piece unless it is a plan."""

    @activity.defn(name="posting.release_held")
    @abstractmethod
    async def release_held(self, command: ReleaseHeld) -> ReleasePage:
        """Check held items again; in a plan only count."""
