"""What the vendors must hold of a contract before and after a change order: figures worked out by hand, and
nothing touched but what the undisturbed run touches. Shares no code with sagas, rules or connectors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.chaos.vendors import NETSUITE, Change, Records, Row, change, live
from tests.chaos.verdict import Verdict

Footprint = Counter[tuple[str, str, str]]
"""(vendor, record type, field) -> how many records of the contract have another value there; of new records
the field is empty."""


def plain(records: Records) -> Records:
    """Records without order lines that were closed and are worth nothing: NetSuite takes no line away."""
    orders = records.get(NETSUITE, {}).get("salesOrder", {})
    found = {id_: _without_closed(row) for id_, row in orders.items()}
    return {**records, NETSUITE: {**records[NETSUITE], "salesOrder": found}}


def _without_closed(order: Row) -> Row:
    """An order's open lines; that a line is not closed may be said, or not."""
    lines = [one for one in order["item"]["items"] if not (one.get("isClosed") and not one.get("amount"))]
    open_ = [{name: value for name, value in one.items() if name != "isClosed" or value} for one in lines]
    return {**order, "item": {"items": open_}}


def footprint(seen: Change) -> Footprint:
    """What was touched."""
    found: Footprint = Counter()
    for vendor, kind, _, moved in seen.changed:
        found.update((vendor, kind, name) for name in moved)
    for vendor, types in seen.new.items():
        for kind, rows in types.items():
            found[vendor, kind, ""] += len(rows)
    return +found


@dataclass
class ChangeOracle:
    """Judges one copy."""

    before: Records
    wanted: Mapping[str, Any]
    """By the words of ``tests.e2e.change_arrivals.held``."""
    usual: Footprint | None
    """Of the undisturbed run; None: this is it."""

    def seen(self, now: Records) -> Change:
        """What has happened."""
        return change(plain(self.before), plain(now))

    def judge(self, now: Records, held: Mapping[str, Any]) -> Verdict:
        """The new terms everywhere, and nothing else."""
        verdict = Verdict()
        verdict.wrong += [
            f"{name}: {held.get(name)}, not {want}"
            for name, want in self.wanted.items()
            if held.get(name) != want
        ]
        seen = self.seen(now)
        if self.usual is not None:
            there = footprint(seen)
            for place in (there - self.usual).keys() | (self.usual - there).keys():
                words = f"{' '.join(place).strip()}: {there[place]} touched, {self.usual[place]} usually"
                (verdict.duplicates if not place[2] and there[place] > 1 else verdict.wrong).append(words)
        verdict.wrong += list(_gone(seen))
        return verdict

    def judge_undone(self, now: Records) -> Verdict:
        """Everything is as it was; what a vendor would not delete is out of use and says so."""
        verdict, seen = Verdict(), self.seen(now)
        verdict.orphans += [
            f"{vendor} {kind} {id_}"
            for vendor, types in live(seen).items()
            for kind, rows in types.items()
            for id_ in rows
        ]
        verdict.wrong += [
            f"{vendor} {kind} {id_} is still {moved}" for vendor, kind, id_, moved in seen.changed
        ]
        verdict.wrong += list(_gone(seen))
        return verdict

    def judge_partly(self, now: Records) -> Verdict:
        """Nothing is touched that the undisturbed run does not touch, and nothing more often."""
        verdict, seen = Verdict(), self.seen(now)
        if self.usual is not None:
            for place, times in (footprint(seen) - self.usual).items():
                words = f"{' '.join(place).strip()}: {times} more than usual"
                (verdict.orphans if not place[2] else verdict.wrong).append(words)
        verdict.wrong += list(_gone(seen))
        return verdict


def _gone(seen: Change) -> Iterator[str]:
    return (f"{vendor} {kind} {id_} is gone" for vendor, kind, id_ in seen.gone)
