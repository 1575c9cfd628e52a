"""What the billing sagas may ask of a delivery system: approved work, and marks on it.

Reads tell what is, never what to do: approval, project and worker are judged per item by the rules. Every
entry comes as it is now; a cursor only says which ones to look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Protocol

from canonical.delivered import (
    DeletionPage,
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
from canonical.operations import ChangePage, WriteContext
from canonical.writes import VendorWrite
from connectors.ports import BulkPort, Writer


class DeliveryFeed(BulkPort, Writer, Protocol):
    """Approved time and expenses, milestones, projects, marks (rules 27, 28, 33).

    ``submit_batch`` takes marks: setting one again is harmless, so a batch whose outcome is unknown is handed
    over again.
    """

    @property
    def feed(self) -> FeedCapabilities:
        """What this system's feed can and cannot do."""
        ...

    async def time_changes(
        self, cursor: str | None, *, since: datetime | None = None, limit: int = 2_000
    ) -> TimePage:
        """First cursor: entries whose own record changed, approved or not, archived projects included.

        ``since`` is where a poll without a cursor begins. ``limit`` is a wish: a page may hold somewhat more.
        An entry may come again in the version that is known; none is left out, also when entries change
        while the pages are read. A cursor is text of up to some 25 kB and belongs into the ledger, not into
        a workflow's history.

        Raises:
            Defect: ``cursor`` is not one of this connector's.
        """
        ...

    async def approval_changes(
        self, cursor: str | None, *, since: datetime | None = None, limit: int = 2_000
    ) -> ChangePage:
        """Second cursor: approvals, rejections and cancellations, as hints that an entry is to be read again
        (``read_time``): an approval need not touch the entry itself. Otherwise as ``time_changes``.

        Raises:
            Transient: the list kept shifting while it was read.
        """
        ...

    async def expenses(self, first: date, last: date) -> list[DeliveredExpense]:
        """All expenses incurred in an open window, both days included, approved or not, whole each time."""
        ...

    async def deletions(self, cursor: str | None) -> DeletionPage:
        """Hard deletes of entries and expenses since ``cursor``, where the vendor tells them."""
        ...

    async def present(self, kind: LineKind, first: date, last: date) -> frozenset[str]:
        """Ids of all entries (or expenses) of a period, archived projects included: what the ledger knows and
        this does not name is gone. A complete listing or a failure, never a part.

        Raises:
            Transient: the list kept shifting while it was read.
        """
        ...

    async def read_time(self, ids: Sequence[str]) -> list[DeliveredTime]:
        """Entries by id as they are now, in any number; vanished ones are missing.

        Called right before a batch is sent: ``approved`` and ``substance`` must still be what they were.
        """
        ...

    async def read_expenses(self, ids: Sequence[str]) -> list[DeliveredExpense]:
        """Expenses by id as they are now; vanished ones are missing."""
        ...

    async def milestones(self, projects: Sequence[str]) -> list[DeliveredMilestone]:
        """All milestones of these delivery projects, complete or not (rule 33)."""
        ...

    async def projects(self, ids: Sequence[str]) -> list[DeliveredProject]:
        """These delivery projects, archived ones included; vanished ones are missing."""
        ...

    async def marks(self, kind: LineKind, ids: Sequence[str]) -> list[HeldMark]:
        """Our marks on these lines."""
        ...

    def plan_marks(self, context: WriteContext, marks: Sequence[ExportMark]) -> list[VendorWrite]:
        """Mark lines as taken by the ERP; marking again changes the document. Fit for ``submit_batch``."""
        ...

    def plan_unmarks(self, context: WriteContext, marks: Sequence[HeldMark]) -> list[VendorWrite]:
        """Take marks off, for lines that were reversed. Fit for ``submit_batch``."""
        ...
