"""Posted lines as NetSuite shows them: by external id, many at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from canonical.erp_billing import CostKind, Posting
from canonical.money import AmountRole, Money
from canonical.refs import RecordRef
from connectors.kit.together import parted, together
from connectors.netsuite import billing_queries as sql
from connectors.netsuite import mapping as to
from connectors.netsuite import wire
from connectors.netsuite.billing_plans import RECORDS, hours, reversed_stamp
from connectors.netsuite.client import NetSuiteClient
from connectors.netsuite.settings import NetSuiteMapping

CHUNK = 200
"""External ids in one query: well below any limit on its text."""


class Postings:
    """Reads posted lines of one account."""

    def __init__(self, client: NetSuiteClient, mapping: NetSuiteMapping) -> None:
        self.client = client
        self.mapping = mapping

    async def read(self, kind: CostKind, stamps: Sequence[str]) -> dict[str, Posting]:
        """Postings by stamp, with the invoice that bills each; absent: not there, also not a moment ago."""
        found = await self.by_query(kind, stamps)
        found |= await self.by_record(kind, [stamp for stamp in stamps if stamp not in found])
        billed = await self._billed(kind, [posting.ref.id for posting in found.values()])
        return {
            stamp: posting.model_copy(update={"billed_on": billed.get(posting.ref.id)})
            for stamp, posting in found.items()
        }

    async def by_query(self, kind: CostKind, stamps: Sequence[str]) -> dict[str, Posting]:
        """What SuiteQL shows; it may lag behind the latest writes."""
        query = sql.time_by_external_id if kind is CostKind.TIME else sql.expenses_by_external_id
        pages = await together(
            self.client.rows(query(self.mapping, part), what=f"Read {len(part)} posted lines")
            for part in parted(list(dict.fromkeys(stamps)), CHUNK)
        )
        build = time_of if kind is CostKind.TIME else expense_of
        rows = [row for page in pages for row in page]
        return {str(row["externalid"]): build(self.client, self.mapping, row) for row in rows}

    async def by_record(self, kind: CostKind, stamps: Sequence[str]) -> dict[str, Posting]:
        """The same by the record service, which never lags: a call for each."""
        wanted = list(dict.fromkeys(stamps))
        records = await together(
            self.client.get(RECORDS[kind], external_id=stamp, expand=kind is CostKind.EXPENSE)
            for stamp in wanted
        )
        build = time_record if kind is CostKind.TIME else expense_record
        return {
            stamp: build(self.client, self.mapping, stamp, record)
            for stamp, record in zip(wanted, records, strict=True)
            if record is not None
        }

    async def _billed(self, kind: CostKind, ids: Sequence[str]) -> dict[str, str]:
        """Invoice by posted line."""
        query = sql.invoices_of_time if kind is CostKind.TIME else sql.invoices_of_expenses
        pages = await together(
            self.client.rows(query(part), what="Look for the invoices of posted lines")
            for part in parted(list(ids), CHUNK)
        )
        return {str(row["line"]): str(row["invoice"]) for page in pages for row in page}


# --- rows and records ---------------------------------------------------------------------------------


def minutes_of(decimal_hours: Any) -> int:
    """Minutes from SuiteQL's decimal hours, which cannot hold 20 minutes exactly."""
    return int((Decimal(str(decimal_hours)) * 60).quantize(Decimal(1), ROUND_HALF_UP))


def minutes_in(duration: str) -> int:
    """Minutes of a duration ``h:mm``."""
    whole, _, rest = duration.lstrip("-").partition(":")
    minutes = int(whole) * 60 + int(rest or 0)
    return -minutes if duration.startswith("-") else minutes


def _ref(client: NetSuiteClient, kind: CostKind, id_: str) -> RecordRef:
    return client.ref(RECORDS[kind], id_)


def time_of(client: NetSuiteClient, mapping: NetSuiteMapping, row: Mapping[str, Any]) -> Posting:
    """A time entry from a query's row."""
    field = mapping.custom.time_reverses
    custom = None if field is None else row.get(field.lower())
    return Posting(
        ref=_ref(client, CostKind.TIME, str(row["id"])),
        stamp=str(row["externalid"]),
        kind=CostKind.TIME,
        project=str(row.get("customer") or ""),
        worker=str(row.get("employee") or ""),
        posted_on=date.fromisoformat(str(row["day"])),
        minutes=minutes_of(row["hours"]),
        billable=wire.flag(row.get("isbillable")),
        approved=str(row.get("approvalstatus")) == mapping.billing.time_approved,
        reverses=str(custom) if custom else reversed_stamp(row.get("memo")),
    )


def time_record(
    client: NetSuiteClient, mapping: NetSuiteMapping, stamp: str, record: Mapping[str, Any]
) -> Posting:
    """A time entry from its record."""
    field = mapping.custom.time_reverses
    custom = None if field is None else record.get(field)
    return Posting(
        ref=_ref(client, CostKind.TIME, str(record["id"])),
        stamp=stamp,
        kind=CostKind.TIME,
        project=wire.ref_id(record.get("customer")) or "",
        worker=wire.ref_id(record.get("employee")) or "",
        posted_on=date.fromisoformat(str(record["tranDate"])[:10]),
        minutes=minutes_in(str(record["hours"])),
        billable=wire.flag(record.get("isBillable")),
        approved=wire.ref_id(record.get("approvalStatus")) == mapping.billing.time_approved,
        reverses=str(custom) if custom else reversed_stamp(record.get("memo")),
    )


def expense_of(client: NetSuiteClient, mapping: NetSuiteMapping, row: Mapping[str, Any]) -> Posting:
    """An expense report of one line from a query's row."""
    return Posting(
        ref=_ref(client, CostKind.EXPENSE, str(row["id"])),
        stamp=str(row["externalid"]),
        kind=CostKind.EXPENSE,
        project=str(row.get("project") or ""),
        worker=str(row.get("worker") or ""),
        posted_on=date.fromisoformat(str(row["day"])),
        amount=_amount(mapping, row.get("amount"), str(row.get("currency") or "")),
        billable=wire.flag(row.get("isbillable")),
        approved=str(row.get("approvalstatus")) == mapping.billing.expense_approved,
    )


def expense_record(
    client: NetSuiteClient, mapping: NetSuiteMapping, stamp: str, record: Mapping[str, Any]
) -> Posting:
    """An expense report of one line from its record."""
    line = next(iter(wire.items(record.get("expense"))), {})
    currency = wire.ref_id(record.get("expensereportcurrency")) or ""
    return Posting(
        ref=_ref(client, CostKind.EXPENSE, str(record["id"])),
        stamp=stamp,
        kind=CostKind.EXPENSE,
        project=wire.ref_id(line.get("customer")) or "",
        worker=wire.ref_id(record.get("entity")) or "",
        posted_on=date.fromisoformat(str(record["tranDate"])[:10]),
        amount=_amount(mapping, line.get("amount"), currency),
        billable=wire.flag(line.get("isBillable")),
        approved=wire.ref_id(record.get("approvalStatus")) == mapping.billing.expense_approved,
    )


def _amount(mapping: NetSuiteMapping, amount: Any, currency_id: str) -> Money | None:
    """The amount; None in a currency that the mapping does not know: it then differs from what was sent."""
    code = to.our_code(mapping.currencies, currency_id, "currency")
    if code not in mapping.currencies:
        return None
    return Money(amount=wire.decimal(amount), currency=code, role=AmountRole.TRANSACTION)


def shown(posting: Posting) -> dict[str, Any]:
    """A posting under the names that the writes of ``billing_plans`` expect."""
    amount = posting.amount
    values: dict[str, Any] = {
        "posted_on": posting.posted_on.isoformat(),
        "project": posting.project,
        "worker": posting.worker,
        "billable": posting.billable,
    }
    if posting.kind is CostKind.TIME:
        return {**values, "hours": hours(posting.minutes)}
    return {**values, "amount": None if amount is None else wire.number(amount.amount, amount.currency)}
