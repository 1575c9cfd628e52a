"""What the simulated vendors hold, read from their own record format: revisions and approvals in delivery;
postings, drafts, invoices and credits in the ERP. Reads no ledger of ours and none of the product's code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from tests.conservation.terms import DECIMALS

Row = dict[str, Any]
Records = dict[str, list[Row]]

PSA = "kantata-main"
DRAFT, APPROVED = "1", "2"
"""Approval states of an invoice in the ERP."""
SOURCE, WORKED, REVERSES, LINE_KEY = (
    "custcol_trueup_source",
    "custcol_trueup_worked",
    "custcol_trueup_reverses",
    "custcol_trueup_key",
)
EXPENSE_SOURCE = "custbody_trueup_source"
ROLES = {"5": "solution-architect", "6": "consultant", "7": "project-manager"}
"""Roles of the simulated firm by delivery's id."""


def parse(text: str) -> Any:
    """JSON with exact decimals."""
    return json.loads(text, parse_float=Decimal)


# --- delivery ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """A time entry or expense as delivery holds it now."""

    source: str
    kind: str
    """``time`` or ``expense``."""
    project: str
    worker: str
    day: date
    minutes: int
    minor: int
    """Of expenses, in ``currency``."""
    currency: str
    role: str | None
    billable: bool
    approved: bool

    @property
    def substance(self) -> tuple[object, ...]:
        """What cost and billing depend on; an approval that comes and goes is no part of it."""
        return (
            self.project,
            self.worker,
            self.day,
            self.minutes,
            self.minor,
            self.currency,
            self.role,
            self.billable,
        )


@dataclass(frozen=True)
class Delivered:
    """Delivery at one instant."""

    work: Mapping[str, Work]
    complete: Mapping[str, bool]
    """Whether a milestone's task is complete, by its id."""
    percent: Mapping[str, int] = field(default_factory=dict)
    """How far tasks are, by id: 0 to 100."""
    accepted: frozenset[str] = frozenset()
    """Tasks whose acceptance is recorded with date, person and document."""


ACCEPTANCE_FIELDS = ("11", "12", "13")
"""Custom fields of delivery's milestones: accepted on, by whom, document."""


def delivered(records: Records) -> Delivered:
    """Delivery's records as facts."""
    spaces = {row["id"]: row for row in records.get("workspaces", [])}
    found: dict[str, Work] = {}
    for kind, type_, sheets in (
        ("time", "time_entries", "timesheet_submissions"),
        ("expense", "expenses", "expense_report_submissions"),
    ):
        status = {row["id"]: row["status"] for row in records.get(sheets, [])}
        for row in records.get(type_, []):
            source = f"{PSA}/{type_}/{row['id']}"
            space = spaces.get(row["workspace_id"], {})
            found[source] = Work(
                source=source,
                kind=kind,
                project=row["workspace_id"],
                worker=str(row.get("user_id")),
                day=date.fromisoformat(row["date_performed" if kind == "time" else "date"]),
                minutes=int(row.get("time_in_minutes", 0)),
                minor=int(row.get("amount_in_cents", 0)),
                currency=str(row.get("currency_code") or space.get("currency")),
                role=ROLES.get(str(row.get("role_id"))),
                billable=bool(row.get("billable" if kind == "time" else "is_billable")),
                approved=status.get(str(row.get("recent_submission_id"))) == "approved",
            )
    stories = {row["id"]: row for row in records.get("stories", [])}
    told: dict[str, set[str]] = {}
    for row in records.get("custom_field_values", []):
        if row.get("value") not in (None, "") and row.get("subject_type") == "Story":
            told.setdefault(str(row["subject_id"]), set()).add(str(row["custom_field_id"]))
    return Delivered(
        work=found,
        complete={id_: row.get("state") == "completed" for id_, row in stories.items()},
        percent={id_: int(row.get("percentage_complete") or 0) for id_, row in stories.items()},
        accepted=frozenset(id_ for id_, fields in told.items() if fields >= set(ACCEPTANCE_FIELDS)),
    )


# --- ERP --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Posting:
    """A posted cost line; minutes and amounts are negative where it takes another back."""

    id: str
    kind: str
    source: str
    revision: str
    job: str
    day: date
    worked: date
    minutes: int
    minor: int
    currency: str | None


@dataclass(frozen=True)
class Line:
    """A line of an invoice or credit memo, by what it bills."""

    source: str
    key: str
    """Our key on the line, or the posting that it takes."""
    minor: int


@dataclass(frozen=True)
class Document:
    """An invoice, or a credit memo of one."""

    id: str
    job: str
    entity: str
    currency: str
    day: date
    issued: bool
    order: str | None
    lines: tuple[Line, ...]
    net: int
    corrects: str | None = None
    strays: tuple[str, ...] = ()
    """Amounts with more decimals than the currency, lines that name nothing."""


@dataclass(frozen=True)
class Erp:
    """The ERP at one instant."""

    postings: tuple[Posting, ...]
    invoices: tuple[Document, ...]
    credits: tuple[Document, ...]
    stamps: tuple[str, ...] = field(default=())


def duration(text: str) -> int:
    """``h:mm`` in minutes."""
    sign = -1 if text.startswith("-") else 1
    hours, minutes = text.lstrip("-").split(":")
    return sign * (60 * int(hours) + int(minutes))


def split_key(key: str) -> tuple[str, str]:
    """(source, revision) of an item's key as it stands in the ERP: ``SYSTEM/TYPE/ID@REVISION``, with
    ``#PART`` behind it on lines.
    """
    source, _, rest = key.partition("@")
    return source, rest.partition("#")[0]


def erp(records: Records) -> Erp:
    """The ERP's records as facts."""
    symbols = {row["id"]: row["symbol"] for row in records["currency"]}
    postings = [*_times(records.get("timeBill", [])), *_expenses(records.get("expenseReport", []), symbols)]
    by_id = {(one.kind, one.id): one for one in postings}
    invoices = [_document(row, symbols, by_id) for row in records.get("invoice", [])]
    jobs = {one.id: one for one in invoices}
    credits = []
    for row in records.get("creditMemo", []):
        made = row.get("createdFrom", {}).get("id")
        invoice = jobs.get(str(made))
        credits.append(_document(row, symbols, by_id, str(made), invoice.job if invoice else ""))
    stamps = [
        str(row["externalId"])
        for type_ in ("timeBill", "expenseReport", "invoice", "creditMemo")
        for row in records.get(type_, [])
        if "externalId" in row
    ]
    return Erp(tuple(postings), tuple(invoices), tuple(credits), tuple(stamps))


def _times(rows: Iterable[Row]) -> Iterable[Posting]:
    for row in rows:
        source, revision = split_key(str(row.get(SOURCE, "")))
        day = date.fromisoformat(row["tranDate"])
        yield Posting(
            id=row["id"],
            kind="time",
            source=source,
            revision=revision,
            job=row["customer"]["id"],
            day=day,
            worked=date.fromisoformat(row[WORKED]) if WORKED in row else day,
            minutes=duration(row["hours"]),
            minor=0,
            currency=None,
        )


def _expenses(rows: Iterable[Row], symbols: Mapping[str, str]) -> Iterable[Posting]:
    for row in rows:
        source, revision = split_key(str(row.get(EXPENSE_SOURCE, "")))
        for line in row["expense"]["items"]:
            currency = symbols[row["expensereportcurrency"]["id"]]
            yield Posting(
                id=row["id"],
                kind="expense",
                source=source,
                revision=revision,
                job=line["customer"]["id"],
                day=date.fromisoformat(row["tranDate"]),
                worked=date.fromisoformat(line["expensedate"]),
                minutes=0,
                minor=_minor(line["amount"], currency)[0],
                currency=currency,
            )


def _minor(amount: Any, currency: str) -> tuple[int, bool]:
    """(minor units, whether the amount fits them)."""
    exact = Decimal(str(amount)).scaleb(DECIMALS[currency])
    return int(exact), exact == int(exact)


def _document(
    row: Row,
    symbols: Mapping[str, str],
    postings: Mapping[tuple[str, str], Posting],
    corrects: str | None = None,
    job: str | None = None,
) -> Document:
    currency = symbols[row["currency"]["id"]]
    lines: list[Line] = []
    strays: list[str] = []
    for sublist, kind in (("item", "item"), ("time", "time"), ("expCost", "expense")):
        for line in row.get(sublist, {}).get("items", []):
            minor, fits = _minor(line["amount"], currency)
            if not fits:
                strays.append(f"{line['amount']} has more decimals than {currency}")
            if kind == "item":
                key = str(line.get(LINE_KEY, ""))
                source = split_key(key)[0]
            else:
                posting = postings.get((kind, line["doc"]["id"]))
                key = f"{kind} {line['doc']['id']}"
                source = posting.source if posting is not None else ""
            if not source:
                strays.append(f"a line of {line['amount']} names nothing that it bills")
            lines.append(Line(source, key, minor))
    net, fits = _minor(row["subtotal"], currency)
    if not fits:
        strays.append(f"net {row['subtotal']} has more decimals than {currency}")
    where = job if job is not None else str(row.get("job", {}).get("id", ""))
    return Document(
        id=row["id"],
        job=where,
        entity=row["entity"]["id"],
        currency=currency,
        day=date.fromisoformat(row["tranDate"]),
        issued=corrects is not None or row.get("approvalStatus", {}).get("id") == APPROVED,
        order=row.get("otherRefNum"),
        lines=tuple(lines),
        net=net,
        corrects=corrects,
        strays=tuple(strays),
    )


def only(seen: Erp, jobs: Iterable[str], customers: Iterable[str]) -> Erp:
    """What concerns some projects and clients; everything else of the ERP left out."""
    mine, clients = set(jobs), set(customers)
    return Erp(
        postings=tuple(one for one in seen.postings if one.job in mine),
        invoices=tuple(one for one in seen.invoices if one.entity in clients),
        credits=tuple(one for one in seen.credits if one.entity in clients),
        stamps=seen.stamps,
    )
