"""Kantata as the feed of approved work: ``DeliveryFeed`` beside the writer's moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from canonical.delivered import (
    DeletionPage,
    DeletionSource,
    DeliveredExpense,
    DeliveredMilestone,
    DeliveredProject,
    DeliveredTime,
    ExportMark,
    FeedCapabilities,
    HeldMark,
    LineKind,
    TimePage,
)
from canonical.feedback import Figure, TargetCurrencies
from canonical.operations import BatchTicket, ChangePage, LineOutcome, WriteContext
from canonical.refs import RecordRef
from canonical.writes import VendorWrite
from connectors.kantata import billing_plans, feedback, marking
from connectors.kantata.client import FILTER_LIMIT, KantataClient
from connectors.kantata.estimates import Estimates
from connectors.kantata.feeds import Feeds
from connectors.kantata.records import read_record
from connectors.kantata.settings import KantataSettings
from connectors.ports import Traffic

EXPENSES = (
    "Expenses cannot be ordered by change: every open window is listed whole, and a change in a closed one "
    "is not noticed."
)
DELETIONS = (
    "Hard deletes show only in subscribed events (paid add-on, kept for nine days), which this account is "
    "not set up for: every open period is listed whole and compared."
)
MARKS = (
    "A mark is a call per line, and a mark locks nothing: an entry can be edited after it was exported, "
    "which comes back as a changed revision. Marking whole timesheets needs a tenth of the calls."
)
ACCEPTANCE = (
    "Milestones have no acceptance in Kantata, and no custom fields are named for it: where a contract asks "
    "for acceptance, it is given at our own gate."
)
PROGRESS = (
    "Progress is the percentage that Kantata works out over a project's tasks. Effort still to be worked is "
    "not told: a contract whose progress is measured by effort is held until somebody reports it."
)
ESTIMATES = (
    "No source of estimates is named (mapping.estimate_field or mapping.task_estimates): contracts whose "
    "revenue follows the effort are held by revenue follow-up."
)
COMPLETED = "The day on which a milestone was completed is not told; it counts from when it is first seen so."


class DeliverySide:
    """The feed's operations, each handed to the part that knows it."""

    def __init__(self, system: str, settings: KantataSettings, client: KantataClient) -> None:
        self._system = system
        self._settings = settings
        self._feeds = Feeds(system, settings, client)
        self._estimates = Estimates(system, settings.mapping, client)
        self._api = client
        self._marking = marking.Marking(system, client, self._feeds)
        self._traffic = client.http.traffic

    @property
    def feed(self) -> FeedCapabilities:
        """What this account's feed can and cannot do."""
        acceptance = self._settings.mapping.acceptance is not None
        events = self._settings.subscribed_events
        limits = [EXPENSES, MARKS, COMPLETED, PROGRESS]
        if self._settings.mapping.estimate_field is None and not self._settings.mapping.task_estimates:
            limits.append(ESTIMATES)
        limits += ([] if events else [DELETIONS]) + ([] if acceptance else [ACCEPTANCE])
        return FeedCapabilities(
            deletions=DeletionSource.EVENTS if events else DeletionSource.LISTING,
            acceptance=acceptance,
            read_limit=FILTER_LIMIT,
            limitations=tuple(limits),
        )

    # --- reads --------------------------------------------------------------------------------------

    async def time_changes(
        self, cursor: str | None, *, since: datetime | None = None, limit: int = 2_000
    ) -> TimePage:
        """First cursor: entries whose own record changed."""
        return await self._feeds.time_changes(cursor, since=since, limit=limit)

    async def approval_changes(
        self, cursor: str | None, *, since: datetime | None = None, limit: int = 2_000
    ) -> ChangePage:
        """Second cursor: submissions."""
        return await self._feeds.approval_changes(cursor, since=since, limit=limit)

    async def expenses(self, first: date, last: date) -> list[DeliveredExpense]:
        """All expenses of an open window."""
        return await self._feeds.expenses(first, last)

    async def deletions(self, cursor: str | None) -> DeletionPage:
        """Hard deletes, where the account has the event feed."""
        return await self._feeds.deletions(cursor)

    async def present(self, kind: LineKind, first: date, last: date) -> frozenset[str]:
        """Ids of all lines of a period."""
        return await self._feeds.present(kind, first, last)

    async def read_time(self, ids: Sequence[str]) -> list[DeliveredTime]:
        """Entries as they are now."""
        return await self._feeds.read_time(ids)

    async def read_expenses(self, ids: Sequence[str]) -> list[DeliveredExpense]:
        """Expenses as they are now."""
        return await self._feeds.read_expenses(ids)

    async def milestones(self, projects: Sequence[str]) -> list[DeliveredMilestone]:
        """All milestones of these workspaces."""
        return await self._feeds.milestones(projects)

    async def projects(self, ids: Sequence[str]) -> list[DeliveredProject]:
        """These workspaces, archived or not."""
        return await self._feeds.projects(ids)

    async def estimates(self, projects: Sequence[str]) -> dict[str, int | None]:
        """Minutes of all of a workspace's work, from its custom field or its tasks."""
        return await self._estimates.read(projects)

    # --- figures ------------------------------------------------------------------------------------

    async def target_currencies(self, ref: RecordRef) -> TargetCurrencies | None:
        """None where the project is gone. The reference holds text: amounts keep their own currency."""
        found = await read_record(self._api, ref.type, ref.id, what=f"Looking for {ref}")
        return None if found is None else TargetCurrencies()

    def shows_margin(self, ref: RecordRef) -> bool:
        """Whether the line of figures on a project is to tell it."""
        mapping = self._settings.mapping
        return mapping.finance_margin and mapping.finance_service is not None

    def plan_invoice_feedback(
        self, context: WriteContext, ref: RecordRef, figures: Mapping[str, Figure], *, revision: str = ""
    ) -> list[VendorWrite]:
        """Finance's figures on a project, in one line."""
        return feedback.plan_figures(self._system, self._settings, context, ref, figures, revision=revision)

    # --- marks --------------------------------------------------------------------------------------

    async def marks(self, kind: LineKind, ids: Sequence[str]) -> list[HeldMark]:
        """Our marks on these lines."""
        return await self._feeds.marks(kind, ids)

    def plan_marks(self, context: WriteContext, marks: Sequence[ExportMark]) -> list[VendorWrite]:
        """One upsert of an external reference per line."""
        return billing_plans.plan_marks(self._system, self._settings, context, marks)

    def plan_unmarks(self, context: WriteContext, marks: Sequence[HeldMark]) -> list[VendorWrite]:
        """One delete per mark."""
        return billing_plans.plan_unmarks(self._system, context, marks)

    @property
    def traffic(self) -> Traffic:
        """Calls to the account so far."""
        return self._traffic

    @property
    def batch_limit(self) -> int:
        """Most marks of one batch."""
        return marking.LIMIT

    async def submit_batch(self, key: str, writes: Sequence[VendorWrite]) -> BatchTicket:
        """Set (or take off) the marks of a batch, one call each."""
        return await self._marking.submit(key, writes)

    async def batch_outcome(
        self, ticket: BatchTicket, writes: Sequence[VendorWrite]
    ) -> list[LineOutcome] | None:
        """What the lines show now."""
        return await self._marking.outcome(ticket, writes)
