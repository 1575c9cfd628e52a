"""What the vendors must hold of a month: by the independent judge of ``tests.conservation``, by what the
undisturbed run left there, and by what was there before. Shares no code with sagas, rules or connectors.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tests.chaos.billing_months import THROUGH
from tests.chaos.nodes import Node, plain
from tests.chaos.vendors import KANTATA, NETSUITE, SALESFORCE, Change, Records
from tests.chaos.verdict import Verdict, compare
from tests.conservation import seeding, vendor
from tests.conservation.expect import Expectation
from tests.conservation.generate import Case
from tests.conservation.oracle import judge

MADE_UP = frozenset(
    {
        "id",
        "externalId",
        "tranId",
        "transactionNumber",
        "refNum",
        "number",
        "lineUniqueKey",
        "createdDate",
        "lastModifiedDate",
        "links",
        "line",
        "created_at",
        "updated_at",
    }
)
"""What a vendor makes up, or our key, which holds generations: not compared."""
STAMP = re.compile(r"tu-[\w.~-]+")
REVISION = re.compile(r"(/(?:time_entries|expenses)/\S+?)@[^\s#]+")
"""A line's source with its revision, which holds the instant at which it was last touched."""
DOCUMENT = re.compile(r"-[0-9a-f]{12}/(\d{4}-\d\d(?:-advance)?)/\d+")
"""Our name of an invoice: a digest of whom it bills, and a number that may leave gaps."""
PART = re.compile(r"(@[^\s#]+)#\d+$")
"""Which part of an item a line bills: what was reserved and given back used up a number."""
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:?\d\d)?")
NUMBER = re.compile(r"(?<![\d.,])\d{5,}(?![\d.])")
MADE = {"doc", "createdFrom", "apply", "invoice", "timebill"}
"""Fields that name another record that a vendor has numbered."""


def lists(records: Mapping[str, Mapping[str, Any]]) -> vendor.Records:
    """Records as the judge reads them."""
    return {kind: list(rows.values()) for kind, rows in records.items()}


class MonthOracle:
    """Judges one copy of a month."""

    def __init__(self, cases: Sequence[Case], wanted: Iterable[Node] | None = None) -> None:
        self.cases = cases
        self._began = datetime.now(UTC).date()
        self.wanted = list(wanted) if wanted is not None else None
        self._names = _names(cases)
        self._pattern = re.compile(
            r"(?<![0-9A-Za-z])("
            + "|".join(sorted(map(re.escape, self._names), key=len, reverse=True))
            + r")(?![0-9A-Za-z])"
        )
        self.expected = Expectation([case.terms for case in cases])

    # --- what there must be -----------------------------------------------------------------------------

    def bill(self, now: Records, through: date = THROUGH) -> None:
        """A run up to the cutoff read delivery as it is now."""
        seen = vendor.delivered(lists(now[KANTATA]))
        self.expected.collect(seen)
        self.expected.fees(seen, through)
        self.expected.bill(through, {})

    def credit(self, now: Records, through: date = THROUGH) -> None:
        """What changed after it was billed is credited, as somebody approved."""
        seen = vendor.delivered(lists(now[KANTATA]))
        self.expected.collect(seen)
        self.expected.fees(seen, through)
        self.expected.credit()

    def stand(self, now: Records, through: date = THROUGH) -> None:
        """The same, but the invoices stand: what replaces their lines is covered by them."""
        seen = vendor.delivered(lists(now[KANTATA]))
        self.expected.collect(seen)
        self.expected.fees(seen, through)
        gone = {one.source for one in self.expected.items if one.gone}
        self.expected.items = [one for one in self.expected.items if one.gone or one.source not in gone]

    # --- what there is ----------------------------------------------------------------------------------

    def judge(self, seen: Change) -> Verdict:
        """Everything must be there, exactly once, for the right amounts; and nothing else has moved."""
        verdict = Verdict()
        if self.wanted is not None:
            verdict = compare(self.wanted, self.nodes(seen))
        self._rest(seen, verdict)
        terms = [case.terms for case in self.cases]
        erp = vendor.erp(lists(seen.now[NETSUITE]))
        mine = vendor.only(erp, (one.job for one in terms), (one.customer for one in terms))
        report = judge(self.expected, vendor.delivered(lists(seen.now[KANTATA])), mine)
        verdict.wrong += [str(one) for one in report.findings]
        return verdict

    def judge_partly(self, seen: Change) -> Verdict:
        """What is there is wanted, and is there no more often."""
        verdict = compare(self.wanted or [], self.nodes(seen), partly=True)
        self._rest(seen, verdict)
        return verdict

    def drafts(self, seen: Change) -> list[str]:
        """Invoices that are there and not issued."""
        mine = {case.terms.customer for case in self.cases}
        return [
            one.id
            for one in vendor.erp(lists(seen.now[NETSUITE])).invoices
            if one.entity in mine and not one.issued
        ]

    def _rest(self, seen: Change, verdict: Verdict) -> None:
        verdict.missing += [f"{v} {kind} {id_}, which was there before" for v, kind, id_ in seen.gone]
        verdict.orphans += [
            f"{SALESFORCE} {kind} {id_}" for kind, rows in seen.new[SALESFORCE].items() for id_ in rows
        ]

    # --- nodes ------------------------------------------------------------------------------------------

    def nodes(self, seen: Change) -> list[Node]:
        """All that is new or changed at the vendors, by what it stands for."""
        found = []
        for vendor_ in (NETSUITE, KANTATA):
            for kind, rows in seen.new[vendor_].items():
                for row in rows.values():
                    marked = _marked(row, seen.now[NETSUITE]) if kind == "external_references" else row
                    found.append(self._node(kind, marked))
        for vendor_, kind, id_, moved in seen.changed:
            facts = {name: after for name, (_, after) in moved.items() if name not in MADE_UP}
            if facts and vendor_ != SALESFORCE:
                found.append(Node(f"changed {kind}", self.plain(str(id_)), self._facts(facts)))
        return found

    def _node(self, kind: str, row: Mapping[str, Any]) -> Node:
        facts = self._facts(row)
        match kind:
            case "timeBill":
                back = " taken back" if row.get(vendor.REVERSES) else ""
                name = self.plain(str(row.get(vendor.SOURCE)).partition("@")[0]) + back
            case "expenseReport":
                name = self.plain(str(row.get(vendor.EXPENSE_SOURCE)).partition("@")[0])
            case "invoice" | "creditMemo":
                name = self.plain(f"{row['entity']['id']} {row['subtotal']}")
            case "external_references":
                name = self.plain(f"{row['subject_type']} {row['subject_id']}")
            case _:
                name = facts
        return Node(kind, name, facts)

    def _facts(self, value: Any) -> str:
        return json.dumps(self._plain(plain(value)), sort_keys=True)

    def _plain(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            if name in MADE and "id" in value:
                return "*"
            inner = MADE_UP - {"id"} if name else MADE_UP
            return {key: self._plain(part, key) for key, part in value.items() if key not in inner}
        if isinstance(value, list):
            return sorted(
                (self._plain(one, name or "list") for one in value),
                key=lambda one: json.dumps(one, sort_keys=True),
            )
        return self.plain(value) if isinstance(value, str) else value

    def plain(self, text: str) -> str:
        """A text with every id of this copy by its name and every other by none."""
        text = INSTANT.sub("@", REVISION.sub(r"\1@*", STAMP.sub("tu-*", text)))
        text = PART.sub(r"\1#*", DOCUMENT.sub(r"-*/\1/*", text))
        # The recording and the case may lie on two sides of midnight.
        text = re.sub("|".join(days_since(self._began)), "<the day of the run>", text)
        text = self._pattern.sub(lambda found: f"<{self._names[found[1]]}>", text)
        return NUMBER.sub("#", text)


def _marked(mark: Mapping[str, Any], erp: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A mark in delivery that names a posting of the ERP: with what was posted instead of its number."""
    system, _, id_ = str(mark["service_model_ref"]).partition("/")
    kind = "timeBill" if mark["subject_type"] == "TimeEntry" else "expenseReport"
    posting = erp.get(kind, {}).get(id_)
    if not id_:
        return dict(mark)
    shown = "nothing" if posting is None else f"{posting.get('hours')} {posting.get('total')}"
    return {**mark, "service_model_ref": f"{system}: {shown}"}


def _names(cases: Sequence[Case]) -> dict[str, str]:
    """Every id of a copy with what it stands for."""
    names: dict[str, str] = {}
    for place, case in enumerate(cases):
        terms, letter = case.terms, chr(ord("A") + place)
        for word, id_ in (
            ("key", terms.key),
            ("project", terms.project),
            ("job", terms.job),
            ("customer", terms.customer),
            ("line", terms.line),
            ("order", seeding.order_of(terms)),
            ("code", seeding.code_of(terms)),
            ("worker", str(seeding.WORKERS + int(case.worker))),
            ("worker", str(seeding.EMPLOYEES + int(case.worker))),
            ("worker", f"X{case.worker}"),
            ("worker", seeding.email(case)),
        ):
            names[id_] = f"{letter}.{word}"
        names |= {story: f"{letter}.story {number}" for number, story in enumerate(terms.story.values())}
        for number, entry in enumerate(case.work[0]):
            names[str(entry.id)] = f"{letter}.{number}"
            names[str(seeding.sheet_of(entry.id))] = f"{letter}.sheet {number}"
    return names


def days_since(began: date) -> list[str]:
    """The days on which something may have been written that was begun on a day."""
    today = datetime.now(UTC).date()
    return [(began + timedelta(days=number)).isoformat() for number in range((today - began).days + 1)]


def once(nodes: Iterable[Node]) -> list[str]:
    """Names that more than one node has."""
    counts = Counter(one.identity for one in nodes)
    return [f"{kind} {name}" for (kind, name), count in counts.items() if count > 1]
