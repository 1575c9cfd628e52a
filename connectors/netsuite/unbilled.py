"""What NetSuite itself has not billed yet: the other side of the unbilled roll-forward (rule 37).

Read page by page behind the last internal id, valued as NetSuite would: hours times the entry's rate, each
line rounded. Lines on a pending invoice are on it, and so not unbilled.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from canonical.erp_billing import InvoiceLineKind, UnbilledLine, UnbilledPage, UnbilledTotal
from canonical.failures import Defect
from canonical.money import AmountRole, Money, round_to
from connectors.netsuite import billing_queries as sql
from connectors.netsuite import mapping as to
from connectors.netsuite import wire
from connectors.netsuite.client import PAGE, NetSuiteClient
from connectors.netsuite.postings import minutes_of
from connectors.netsuite.settings import NetSuiteMapping

Query = Callable[[NetSuiteMapping, date, int, str], str]
SOURCES: tuple[tuple[InvoiceLineKind, str, str, Query], ...] = (
    (InvoiceLineKind.TIME, "timeBill", "j.currency", sql.unbilled_time),
    (InvoiceLineKind.EXPENSE, "expenseReport", "t.currency", sql.unbilled_expenses),
    (InvoiceLineKind.FEE, "charge", "j.currency", sql.unbilled_charges),
)
"""Kind, record type, column of the currency, and the query."""


class Unbilled:
    """The unbilled balance of one account."""

    def __init__(self, client: NetSuiteClient, mapping: NetSuiteMapping) -> None:
        self.client = client
        self.mapping = mapping

    async def totals(self, through: date) -> list[UnbilledTotal]:
        """Sums per entity, currency and kind."""
        sums: dict[tuple[str, str, InvoiceLineKind], tuple[Decimal, int]] = {}
        for place, (kind, *_) in enumerate(SOURCES):
            async for entity, line in self._all(place, through):
                group = (entity, line.amount.currency, kind)
                amount, count = sums.get(group, (Decimal(0), 0))
                sums[group] = (amount + line.amount.amount, count + 1)
        return [
            UnbilledTotal(
                legal_entity=entity,
                kind=kind,
                amount=Money(amount=amount, currency=currency, role=AmountRole.BILLING),
                lines=count,
            )
            for (entity, currency, kind), (amount, count) in sorted(sums.items())
        ]

    async def _all(self, place: int, through: date) -> AsyncIterator[tuple[str, UnbilledLine]]:
        after: int | None = 0
        while after is not None:
            rows, after = await self._page(place, through, after, "")
            for row in rows:
                yield self._entity(row), self._line(place, row)

    async def lines(self, entity: str, currency: str, through: date, cursor: str | None) -> UnbilledPage:
        """The lines behind the totals of one entity and currency, source after source."""
        place, after = self._position(cursor)
        kind_currency = SOURCES[place][2]
        narrow = (
            f" AND j.subsidiary = {int(to.subsidiary_id(self.mapping, entity))}"
            f" AND {kind_currency} = {int(to.currency_id(self.mapping, currency))}"
        )
        rows, further = await self._page(place, through, after, narrow)
        following = (place, further) if further is not None else (place + 1, 0)
        return UnbilledPage(
            lines=tuple(self._line(place, row) for row in rows),
            cursor=json.dumps(following) if following[0] < len(SOURCES) else None,
        )

    def _position(self, cursor: str | None) -> tuple[int, int]:
        if cursor is None:
            return 0, 0
        try:
            place, after = json.loads(cursor)
            SOURCES[place]
            return int(place), int(after)
        except (ValueError, TypeError, IndexError) as error:
            raise Defect(
                f"{cursor!r} is not a cursor of unbilled lines.", system=self.client.system
            ) from error

    async def _page(
        self, place: int, through: date, after: int, narrow: str
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Rows behind an id, and the id to go on behind; None at the end."""
        kind, _, _, query = SOURCES[place]
        page = await self.client.page(
            query(self.mapping, through, after, narrow), what=f"Read unbilled {kind.value}", limit=PAGE
        )
        rows = page.items
        if not page.has_more or not rows:
            return rows, None
        # A report's lines may go on in the next page: all of it is read there.
        last = int(str(rows[-1]["id"]))
        whole = [row for row in rows if int(str(row["id"])) != last]
        if not whole:
            return rows, last
        return whole, int(str(whole[-1]["id"]))

    def _entity(self, row: Mapping[str, Any]) -> str:
        return to.our_code(self.mapping.subsidiaries, wire.ref_id(row.get("subsidiary")), "subsidiary")

    def _line(self, place: int, row: Mapping[str, Any]) -> UnbilledLine:
        kind, record_type, _, _ = SOURCES[place]
        currency = to.our_code(self.mapping.currencies, wire.ref_id(row.get("currency")), "currency")
        if currency not in self.mapping.currencies:
            raise Defect(
                f"{record_type} {row['id']} is unbilled in {currency}, which this instance's mapping does "
                "not know: complete its currencies.",
                system=self.client.system,
            )
        if kind is InvoiceLineKind.TIME:
            worth = wire.decimal(row.get("rate", 0)) * minutes_of(row["hours"]) / 60
        else:
            worth = wire.decimal(row.get("amount", 0))
        return UnbilledLine(
            ref=self.client.ref(record_type, str(row["id"])),
            stamp=str(row.get("externalid") or ""),
            kind=kind,
            project=str(row.get("project") or ""),
            day=date.fromisoformat(str(row["day"])),
            amount=Money(amount=round_to(worth, currency), currency=currency, role=AmountRole.BILLING),
        )
