"""The rows that SuiteQL sees: record types as tables, lower-cased columns, account time zone.

Sources: vendor documentation: Operations (queries shown there); Traps. Column names beyond those shown are
assumed to be the field names in lower case; the tables of revenue arrangements and plans and their columns
are an assumption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from simulators.kit import Record
from simulators.netsuite import money
from simulators.netsuite.schema import Field
from simulators.netsuite.state import Books, Key, dec, fine, lines, ref_id

Row = dict[str, Any]
"""Column to value: str, int, Decimal, bool, date, datetime or None."""

TRANSACTION_TYPES = (
    "salesOrder",
    "invoice",
    "creditMemo",
    "customerPayment",
    "customerRefund",
    "expenseReport",
    "revenueArrangement",
)
ITEM_TYPES = ("serviceSaleItem", "nonInventorySaleItem")
TABLES: dict[str, tuple[str, ...]] = {
    "subsidiary": ("subsidiary",),
    "currency": ("currency",),
    "currencyrate": ("currencyRate",),
    "term": ("term",),
    "department": ("department",),
    "classification": ("classification",),
    "location": ("location",),
    "accountingperiod": ("accountingPeriod",),
    "expensecategory": ("expenseCategory",),
    "customercategory": ("customerCategory",),
    "billingschedule": ("billingSchedule",),
    "billingratecard": ("billingRateCard",),
    "item": ITEM_TYPES,
    "customer": ("customer",),
    "customersubsidiaryrelationship": ("customerSubsidiaryRelationship",),
    "contact": ("contact",),
    "employee": ("employee",),
    "vendor": ("vendor",),
    "job": ("job",),
    "projecttask": ("projectTask",),
    "timebill": ("timeBill",),
    "charge": ("charge",),
    "transaction": TRANSACTION_TYPES,
    "transactionline": TRANSACTION_TYPES,
    "nexttransactionlink": ("invoice", "creditMemo", "customerPayment", "customerRefund"),
    "revenuearrangement": ("revenueArrangement",),
    "revenueplan": ("revenuePlan",),
}
"""Table to the record types whose records are its rows."""

_TRANSACTION = [
    "id",
    "tranid",
    "type",
    "entity",
    "status",
    "trandate",
    "duedate",
    "postingperiod",
    "currency",
    "exchangerate",
    "foreigntotal",
    "total",
    "foreignamountunpaid",
    "foreignamountpaid",
    "memo",
    "externalid",
    "otherrefnum",
    "createddate",
    "lastmodifieddate",
    "terms",
    "job",
    "transactionnumber",
    "recordtype",
    "approvalstatus",
    "createdfrom",
]
_LINE = [
    "transaction",
    "id",
    "linesequencenumber",
    "mainline",
    "item",
    "quantity",
    "rate",
    "foreignamount",
    "netamount",
    "entity",
    "subsidiary",
    "department",
    "class",
    "location",
    "memo",
    "createdfrom",
    "billingschedule",
    "isclosed",
    "quantitybilled",
    "taxline",
    "uniquekey",
    "timebill",
    "isbillable",
]
_LINK = ["previousdoc", "nextdoc", "previousline", "nextline", "linktype", "foreignamount"]
_PLAN_EXTRA = ("revenuearrangement", "createdfrom")


def columns(books: Books, table: str) -> set[str]:
    """The columns of a table."""
    if table == "transaction":
        found = set(_TRANSACTION)
    elif table == "transactionline":
        return set(_LINE) | _custom_columns(books)
    elif table == "nexttransactionlink":
        return set(_LINK)
    else:
        found = {"id", "externalid"}
        if table == "item":
            found |= {"recordtype"}
    for type_ in TABLES[table]:
        for name, spec in books.type(type_).fields.items():
            usable = spec.kind not in ("sublist", "address") and (table != "transaction" or spec.custom)
            if usable and spec.tax_mode in (None, books.settings["tax_mode"]):
                found.add(name.lower())
    return found


def _custom_columns(books: Books) -> set[str]:
    found = set()
    for type_ in TRANSACTION_TYPES:
        for name in ("item", "expense"):
            host = books.type(type_).fields.get(name)
            found |= {n.lower() for n, f in (host.lines if host else {}).items() if f.custom}
    return found


@dataclass
class View:
    """Which versions of records a query sees."""

    books: Books
    cutoff: str | None
    """Only versions stored at or before this instant; None sees everything."""

    def records(self, type_: str) -> Iterator[tuple[Key, Record, int | None]]:
        """Visible records with the version number to cache by (None: do not cache)."""
        now = fine(self.books.at)
        for record in self.books.store.all(type_):
            key = (type_, record["id"])
            if self.books.visible_from.get(key, "") > (self.cutoff or now):
                continue
            if self.cutoff is None:
                yield key, record, self.books.versions.get(key, 0)
            else:
                old = self._as_of(key)
                if old is not None:
                    yield key, old, None
        if self.cutoff is not None:
            for key, at in self.books.deleted_at.items():
                if key[0] == type_ and at > self.cutoff:
                    old = self._as_of(key)
                    if old is not None:
                        yield key, old, None

    def _as_of(self, key: Key) -> Record | None:
        versions = self.books.store.history(*key)
        return next((record for at, record in reversed(versions) if at <= (self.cutoff or at)), None)


def lagging(books: Books) -> str | None:
    """The cutoff for the configured lag."""
    seconds = float(books.settings["suiteql_lag_seconds"])
    return fine(books.at - timedelta(seconds=seconds)) if seconds > 0 else None


class Tables:
    """Builds rows, keeping those of unchanged records."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.clear()

    def clear(self) -> None:
        """Forget cached rows."""
        self.cache: dict[tuple[str, Key], tuple[int, str, list[Row]]] = {}

    def rows(self, table: str, view: View) -> Iterator[Row]:
        """All rows of a table."""
        build = _BUILDERS.get(table, _plain)
        setting = (
            f"{self.books.settings['account_time_zone']}{self.books.settings['suiteql_credit_negative']}"
        )
        zone = ZoneInfo(self.books.settings["account_time_zone"])
        for type_ in TABLES[table]:
            for key, record, version in view.records(type_):
                if version is None:
                    yield from build(self.books, zone, type_, record)
                    continue
                held = self.cache.get((table, key))
                if held is None or held[0] != version or held[1] != setting:
                    held = (version, setting, list(build(self.books, zone, type_, record)))
                    self.cache[table, key] = held
                yield from held[2]

    def keyed(self, table: str, column: str, values: list[str], view: View) -> Iterator[Row] | None:
        """Rows whose internal or external id is one of ``values``; None when that takes a full scan.

        A lagging view needs the scan: it may show what is deleted by now.
        """
        if view.cutoff is not None:
            return None
        if table in _OWNER:
            if column == "timebill" and table == "transactionline":
                return self._keyed(table, "transaction", self._invoices_of(values))
            if column == "previousdoc":
                return self._keyed(table, "nextdoc", self._following(values))
            return self._keyed(table, column, values) if column == _OWNER[table] else None
        return self._keyed(table, column, values) if column in ("id", "externalid") else None

    def _following(self, documents: list[str]) -> list[str]:
        """Ids of the documents that refer to documents."""
        targets = [(type_, one) for one in documents for type_ in TRANSACTION_TYPES]
        found = (key for target in targets for key in self.books.referring(*target))
        return list(dict.fromkeys(id_ for type_, id_ in found if type_ in TABLES["nexttransactionlink"]))

    def _invoices_of(self, entries: list[str]) -> list[str]:
        """Ids of the documents that refer to time entries."""
        found = (key for entry in entries for key in self.books.referring("timeBill", entry))
        return list(dict.fromkeys(id_ for type_, id_ in found if type_ in TRANSACTION_TYPES))

    def _keyed(self, table: str, column: str, values: list[str]) -> Iterator[Row]:
        books, now = self.books, fine(self.books.at)
        build, zone = _BUILDERS.get(table, _plain), ZoneInfo(books.settings["account_time_zone"])
        for type_ in TABLES[table]:
            for value in dict.fromkeys(values):
                id_ = books.by_external(type_, value) if column == "externalid" else value
                record = books.get(type_, id_)
                if record is not None and books.visible_from.get((type_, record["id"]), "") <= now:
                    yield from build(books, zone, type_, record)


_OWNER = {"transactionline": "transaction", "nexttransactionlink": "nextdoc"}
"""Tables whose rows are parts of a record: the column that names it."""


def _id(value: str | None) -> int | str | None:
    return int(value) if value is not None and value.lstrip("-").isdigit() else value


def cell(spec: Field | None, value: Any, zone: ZoneInfo) -> Any:
    """A stored value as a column's value."""
    if value is None:
        return None
    kind = spec.kind if spec is not None else "string"
    match kind:
        case "ref":
            return _id(ref_id(value))
        case "enum":
            return ref_id(value)
        case "date":
            return date.fromisoformat(value)
        case "datetime":
            return local(value, zone)
        case "duration":
            return money.hours(value)
        case "number" | "integer":
            return dec(value)
    return value


def local(text: str, zone: ZoneInfo) -> datetime:
    """A stored instant in the account's time zone, without offset."""
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None)


def _plain(books: Books, zone: ZoneInfo, type_: str, record: Record) -> Iterator[Row]:
    spec = books.type(type_)
    row: Row = {"id": _id(record["id"])}
    for name, value in record.items():
        one = spec.fields.get(name)
        if name == "externalId" or (one is not None and one.kind not in ("sublist", "address")):
            row[name.lower()] = cell(one, value, zone)
    if type_ in ITEM_TYPES:
        row["itemtype"] = "Service" if type_ == "serviceSaleItem" else "NonInvtPart"
        row["recordtype"] = type_.lower()
    yield row


def _transaction(books: Books, zone: ZoneInfo, type_: str, record: Record) -> Iterator[Row]:
    spec = books.type(type_)
    row: Row = {"id": _id(record["id"]), "type": spec.prefix, "recordtype": type_.lower()}
    for name, value in record.items():
        one = spec.fields.get(name)
        usable = name.lower() in _TRANSACTION or (one is not None and one.custom)
        if usable and (one is None or one.kind not in ("sublist", "address")):
            row[name.lower()] = cell(one, value, zone)
    if type_ in ("customerPayment", "customerRefund"):
        row["entity"] = _id(ref_id(record["customer"]))
    if type_ == "expenseReport":
        row["currency"] = _id(ref_id(record.get("expensereportcurrency")))
    total = dec(record.get("total"))
    sign = (
        -1 if type_ in ("creditMemo", "customerPayment") and books.settings["suiteql_credit_negative"] else 1
    )
    row["foreigntotal"] = sign * total
    row["total"] = sign * money.rounded(books, total * dec(record.get("exchangeRate", 1)), None)
    if "amountRemaining" in record:
        row["foreignamountunpaid"] = sign * dec(record["amountRemaining"])
        row["foreignamountpaid"] = sign * dec(record["amountPaid"])
    if type_ == "customerPayment":
        row["foreignamountunpaid"] = sign * dec(record["unapplied"])
    yield row


def _transaction_lines(books: Books, zone: ZoneInfo, type_: str, record: Record) -> Iterator[Row]:
    spec = books.type(type_)
    rate = dec(record.get("exchangeRate", 1))
    head: Row = {
        "transaction": _id(record["id"]),
        "subsidiary": _id(ref_id(record.get("subsidiary"))),
        "createdfrom": _id(ref_id(record.get("createdFrom"))),
    }
    payer = record.get("job") or record.get("entity") or record.get("customer")
    total = dec(record.get("total"))
    yield {
        **head,
        "id": 0,
        "linesequencenumber": 0,
        "mainline": True,
        "taxline": False,
        "entity": _id(ref_id(payer)),
        "foreignamount": total,
        "netamount": money.rounded(books, total * rate, None),
    }
    number = 0
    for name in ("item", "time", "expCost", "expense"):
        host = spec.fields.get(name)
        for line in lines(record, name) if host is not None else ():
            number += 1
            row: Row = {**head, "linesequencenumber": number, "mainline": False, "taxline": False}
            for field_name, value in line.items():
                one = host.lines.get(field_name) if host is not None else None
                if field_name.lower() in _LINE or (one is not None and one.custom):
                    row[field_name.lower()] = cell(one, value, zone)
            owner = line.get("job") if isinstance(line.get("job"), dict) else line.get("customer") or payer
            row["id"] = line.get("line", number) if name in ("item", "expense") else number
            row["entity"] = _id(ref_id(owner))
            row["memo"] = line.get("description") or line.get("memo")
            row["uniquekey"] = line.get("lineUniqueKey")
            amount = dec(line.get("amount"))
            row["foreignamount"], row["netamount"] = amount, money.rounded(books, amount * rate, None)
            if name == "time":
                row["timebill"] = _id(ref_id(line["doc"]))
                row["quantity"] = money.hours(line["quantity"])
            if "orderDoc" in line:
                row["createdfrom"] = _id(ref_id(line["orderDoc"]))
            yield row


def _links(books: Books, zone: ZoneInfo, type_: str, record: Record) -> Iterator[Row]:
    next_doc = _id(record["id"])
    for line in lines(record, "apply"):
        yield {
            "previousdoc": _id(ref_id(line["doc"])),
            "nextdoc": next_doc,
            "previousline": 0,
            "nextline": 0,
            "linktype": "Payment",
            "foreignamount": dec(line["amount"]),
        }
    for line in lines(record, "item"):
        if "orderDoc" in line:
            yield {
                "previousdoc": _id(ref_id(line["orderDoc"])),
                "nextdoc": next_doc,
                "previousline": line.get("orderLine"),
                "nextline": line["line"],
                "linktype": "OrdBill",
                "foreignamount": dec(line["amount"]),
            }
    for number, line in enumerate(lines(record, "expCost"), 1):
        yield {
            "previousdoc": _id(ref_id(line["doc"])),
            "nextdoc": next_doc,
            "previousline": line["line"],
            "nextline": number,
            "linktype": "ExpBill",
            "foreignamount": dec(line["amount"]),
        }


_BUILDERS: dict[str, Callable[[Books, ZoneInfo, str, Record], Iterator[Row]]] = {
    "transaction": _transaction,
    "transactionline": _transaction_lines,
    "nexttransactionlink": _links,
}


def shown(value: Any, settings: dict[str, Any]) -> str | None:
    """A value as SuiteQL answers it: strings throughout, T and F for booleans."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, datetime):
        return value.strftime(settings["suiteql_timestamp_format"])
    if isinstance(value, date):
        return value.strftime(settings["suiteql_date_format"])
    if isinstance(value, Decimal):
        plain = f"{value:f}"
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return str(value)
