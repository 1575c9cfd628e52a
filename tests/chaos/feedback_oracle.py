"""What the vendors must show of invoices that were issued and settled: derived from what was done to them and
from nothing else. Shares no code with sagas, rules or connectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.chaos.vendors import KANTATA, SALESFORCE, Change, Row
from tests.chaos.verdict import Verdict

SERVICE = "trueup-finance"
"""Under this name a delivery project shows what finance says."""
AMOUNTS = {
    "Invoiced__c": "invoiced",
    "Paid__c": "paid",
    "Credited__c": "credited",
    "Withheld__c": "withheld",
    "Written_Off__c": "written_off",
    "Invoice_Balance__c": "balance",
}
WORDS = ("Last_Invoice__c", "Last_Invoice_Status__c", "Collection_Status__c", "Invoice_Due__c")
"""What is shown in words: what the undisturbed run shows, but for what names the copy."""
Figures = Mapping[str, Decimal]


@dataclass(frozen=True)
class Wanted:
    """One copy's records and what they must show."""

    account: str
    deals: Mapping[str, Figures]
    """Opportunity -> its share of the invoice."""
    workspaces: Mapping[str, str]
    """Delivery project -> opportunity."""


def share(
    invoiced: Decimal, *, credited: Decimal = Decimal(0), withheld: Decimal = Decimal(0)
) -> dict[str, Decimal]:
    """What a deal shows of a settled invoice: what was neither credited nor withheld was paid."""
    return {
        "invoiced": invoiced,
        "paid": invoiced - credited - withheld,
        "credited": credited,
        "withheld": withheld,
        "written_off": Decimal(0),
        "balance": Decimal(0),
    }


class FeedbackOracle:
    """Judges one copy."""

    def __init__(self, wanted: Wanted, words: Sequence[Any] | None) -> None:
        self.wanted = wanted
        self.words = words
        """What the undisturbed run showed in words, per record; None: this is it."""

    def judge(self, seen: Change) -> Verdict:
        """Everything is shown, once, and nothing else has happened."""
        verdict = self.judge_partly(seen)
        for id_, figures in self._figures().items():
            row = self._row(seen, id_)
            for name, what in AMOUNTS.items():
                if _amount(row.get(name)) != figures[what]:
                    verdict.wrong.append(f"{id_} {name} shows {row.get(name)}, not {figures[what]}")
        for workspace in self.wanted.workspaces:
            if not any(row["subject_id"] == workspace for row in self._references(seen)):
                verdict.missing.append(f"workspace {workspace} shows nothing")
        if self.words is not None and (shown := self.shown(seen)) != list(self.words):
            verdict.wrong.append(f"it says {shown}, the undisturbed run {list(self.words)}")
        return verdict

    def judge_partly(self, seen: Change) -> Verdict:
        """What is shown is right or not there yet; nothing is there twice; nothing else has happened."""
        verdict = Verdict()
        figures, references = self._figures(), list(self._references(seen))
        for workspace in self.wanted.workspaces:
            times = sum(row["subject_id"] == workspace for row in references)
            if times > 1:
                verdict.duplicates.append(f"workspace {workspace}: {times} references of {SERVICE}")
        ours = {str(row["id"]) for row in references if row["subject_id"] in self.wanted.workspaces}
        for vendor, types in seen.new.items():
            for kind, rows in types.items():
                verdict.orphans += [f"{vendor} {kind} {id_}" for id_ in rows if id_ not in ours]
        for vendor, kind, id_, moved in seen.changed:
            if vendor != SALESFORCE or id_ not in figures:
                verdict.wrong.append(f"{vendor} {kind} {id_} changed: {sorted(moved)}")
                continue
            for name, what in AMOUNTS.items():
                if name in moved and _amount(moved[name][1]) not in (0, figures[id_][what]):
                    verdict.wrong.append(f"{id_} {name} shows {moved[name][1]}: it never was that")
        verdict.wrong += [f"{vendor} {kind} {id_} is gone" for vendor, kind, id_ in seen.gone]
        return verdict

    def shown(self, seen: Change) -> list[Any]:
        """What records say in words, by place: opportunities, account, delivery projects."""
        ids = [*self.wanted.deals, self.wanted.account]
        found: list[Any] = [tuple(_word(self._row(seen, id_).get(name)) for name in WORDS) for id_ in ids]
        references = {row["subject_id"]: row for row in self._references(seen)}
        for workspace in self.wanted.workspaces:
            row = references.get(workspace, {})
            found.append((row.get("external_status"), row.get("status")))
        return found

    def _figures(self) -> dict[str, Figures]:
        """What opportunities and their account must show."""
        deals = self.wanted.deals
        whole = {
            what: sum((figures[what] for figures in deals.values()), Decimal(0)) for what in AMOUNTS.values()
        }
        return {**deals, self.wanted.account: whole}

    def _row(self, seen: Change, id_: str) -> Row:
        kind = "Account" if id_ == self.wanted.account else "Opportunity"
        return seen.now[SALESFORCE][kind][id_]

    def _references(self, seen: Change) -> Iterable[Row]:
        return (
            row
            for row in seen.now[KANTATA].get("external_references", {}).values()
            if row["service_name"] == SERVICE
        )


def _amount(value: Any) -> Decimal:
    return Decimal(str(value or 0))


def _word(value: Any) -> Any:
    """A word without the number that tells copies apart."""
    return value if not isinstance(value, str) or not value.startswith("INV") else "INV"
