"""The feedback saga's polls: changed invoices, payments, credits and revenue plans."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from canonical.failures import Defect
from canonical.feedback import Feed
from canonical.operations import ChangePage
from connectors.netsuite import events, feedback_queries, queries
from connectors.netsuite.client import PAGE, NetSuiteClient
from connectors.netsuite.settings import NetSuiteSettings

BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
"""Where a poll without a cursor starts: before any transaction of interest."""

TYPES: dict[Feed, tuple[str, ...]] = {
    Feed.INVOICES: ("CustInvc",),
    Feed.PAYMENTS: ("CustPymt",),
    Feed.CREDITS: ("CustCred", "CustRfnd"),
}
"""SuiteQL's transaction types by feed."""


class TransactionFeed:
    """Changed transactions of one account."""

    def __init__(self, client: NetSuiteClient, settings: NetSuiteSettings) -> None:
        self.client = client
        self.settings = settings
        self.zone = ZoneInfo(settings.mapping.account_timezone)

    async def changes(
        self, feed: Feed, cursor: str | None, *, since: datetime | None = None, limit: int = 500
    ) -> ChangePage:
        """What changed in one feed after ``cursor``, oldest first; each feed has a cursor of its own.

        Between polls the configured overlap is read again, so the same change may come twice: a change is
        a hint to read the record, never an order.
        """
        try:
            position = (
                events.Cursor.decode(cursor)
                if cursor
                else events.Cursor.starting(since or BEGINNING, self.zone)
            )
        except ValueError as error:
            raise Defect(str(error), system=self.client.system) from error
        overlap = timedelta(minutes=self.settings.cursor_overlap_minutes)
        at, after_id = position.lower_bound(self.zone, overlap)
        if feed is Feed.REVENUE:
            sql = feedback_queries.revenue_since(at, after_id)
        else:
            sql = queries.transactions_since(TYPES[feed], at, after_id)
        page = await self.client.page(sql, what=f"Read changed {feed.value}", limit=min(limit, PAGE))
        # A poll that pages never falls back to the overlap before it has reached the end.
        ahead = events.advance(position, page.items, more=page.has_more)
        return ChangePage(
            changes=events.to_changes(self.client.system, page.items, self.zone),
            cursor=ahead.encode(),
            more=page.has_more,
        )
