"""What the feedback saga and the polls ask, and what they are told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime

from temporalio import activity

from activities.contracts.kernel import SagaRef, StartSaga, StepOutcome
from canonical.base import Canonical
from canonical.feedback import Feed, Held, Target


class FeedbackPace(Canonical):
    """How closely invoices are followed; from settings, travels with the start: a run keeps its own."""

    gather_seconds: float = 1
    """Pause after an event, so that a burst is one reading and one write per target."""
    rounds_per_run: int = 50
    """After so many readings a run continues as new: its history stays short, however long it lives."""
    absent_seconds: float = 20
    """An event may be there before its record can be read: pause before the second and third look."""
    page: int = 500
    """Changes of one page of a poll."""
    first_days: int = 35
    """How far back the very first poll of a feed reads; a scan finds what is older."""
    scan_days: int = 400
    """How far back a scan looks for invoices that nobody ever told of."""


class StartFeedback(StartSaga):
    """Follow an invoice, or a contract's revenue. ``system`` is the ERP, ``record_id`` says which
    (``canonical.names.feedback_record``)."""

    events: tuple[str, ...] = ()
    """Ids of events to begin with; further ones come by the signal ``event``."""
    pace: FeedbackPace = FeedbackPace()


class ReadSubject(Canonical):
    """Read the record again, and take over what it says if that counts."""

    saga: SagaRef
    system: str
    record: str
    events: tuple[str, ...] = ()
    confirming: str | None = None
    """Digest of the reading before, when this one is to confirm it."""
    turn: bool = False
    """The clock alone is the reason: its targets are worked out anew even if nothing changed."""
    reason: str = ""


class SubjectRead(Canonical):
    """What a reading brought."""

    note: str
    """For people: number, status, what is open."""
    known: bool = True
    """False: there is no such record, or none that concerns us."""
    absent: bool = False
    """There is no such record, perhaps not yet."""
    digest: str = ""
    again_after: float | None = None
    """Read again after so many seconds: this reading does not count yet."""
    targets: tuple[Target, ...] = ()
    """Records that do not show everything yet."""
    held: tuple[Held, ...] = ()
    """In plan mode: what would be taken over."""
    next_turn: datetime | None = None
    """When something changes by the clock alone."""
    settled: bool = True
    codes: dict[str, str] = {}
    """Contract -> project code, for lists."""


class ShowFigures(Canonical):
    """Bring a target to what is known of it now."""

    saga: SagaRef
    step: str
    target: Target
    turn: bool = False
    overlay: tuple[Held, ...] = ()
    """In plan mode: readings that were not taken over."""


class FiguresShown(StepOutcome):
    """What a target shows now."""

    wrote: bool = False
    revision: int = 0


class StartPoll(StartSaga):
    """Ask a system what changed, and hand it over. ``system`` is an ERP or a CRM; ``record_id`` names the
    poll."""

    deals: bool = False
    """Won deals of a CRM, instead of what settles invoices in an ERP."""
    scan: bool = False
    """Compare everything instead of reading on from the cursors: what no event ever told of is found."""
    pace: FeedbackPace = FeedbackPace()


class PollFeed(Canonical):
    """One stretch of one feed; ``feed`` is empty for won deals."""

    saga: SagaRef
    system: str
    feed: Feed | None = None
    scan: bool = False
    after: str | None = None
    """Of scans: where to go on."""
    page: int = 500
    first_days: int = 35


class Polled(Canonical):
    """What a stretch brought."""

    seen: int = 0
    handed: int = 0
    """Sagas that were told; one is told once, however many changes it has."""
    more: bool = False
    after: str | None = None


class FeedbackActivities(ABC):
    """Activities of an ERP instance; on its own queue."""

    @activity.defn(name="feedback.read")
    @abstractmethod
    async def read(self, command: ReadSubject) -> SubjectRead:
        """Read a record, judge the reading, take it over."""

    @activity.defn(name="feedback.poll")
    @abstractmethod
    async def poll(self, command: PollFeed) -> Polled:
        """Read on in a feed and hand over what changed; the cursor moves after that."""


class FiguresActivities(ABC):
    """Activities of a CRM or delivery system instance; on its own queue."""

    @activity.defn(name="feedback.show")
    @abstractmethod
    async def show(self, command: ShowFigures) -> FiguresShown:
        """Bring a target to what is known of it now, in at most one write."""


class DealPollActivities(ABC):
    """Activities of a CRM instance; on its own queue."""

    @activity.defn(name="deals.poll")
    @abstractmethod
    async def poll_deals(self, command: PollFeed) -> Polled:
        """Read on in won deals and start those that nobody has started; the cursor moves after that."""
