"""What other rates for days that are past make of a contract's work, worked out a second time from rules 7
and 39: work that is on no invoice is worth the new rate; of work that is on one, the difference is billed or
given up where it is worth more, and credited where it is worth less. Earlier changes count: only ever the
rest is asked for, and what was never billed is not given back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from tests.conservation.expect import Credit, Expectation, Item, Part
from tests.conservation.pricing import time_worth
from tests.conservation.terms import Agreement

ADJUSTMENT = "contract/adjustment/"


def reprice(books: Expectation, terms: Agreement, *, bills: bool, on: date) -> None:
    """A contract's rates are others from now on.

    Args:
        books: of the judge.
        terms: with the new rates.
        bills: whether what billed work is worth more is billed; it is given up otherwise.
        on: the day on which it was decided: from then on a difference is billed.
    """
    books.agreements[terms.key] = books.by_project[terms.project] = terms
    memos: dict[int, Credit] = {}
    for item in list(books.items):
        if item.contract != terms.key or item.kind != "time" or item.gone or item.work is None:
            continue
        rate = terms.rate_of(item.role or "", item.day)
        assert rate is not None, f"no rate for {item.source}"
        worth = time_worth(terms, item.work.minutes, rate)
        if item.amount("billed"):
            _billed(books, item, worth, bills, on, memos)
        else:
            for part in item.parts:
                part.minor += worth - item.worth
            item.worth = worth
    books.credits += [memos[number] for number in sorted(memos)]


def _billed(
    books: Expectation, item: Item, worth: int, bills: bool, on: date, memos: dict[int, Credit]
) -> None:
    """An item that is on an invoice as a whole."""
    differences = [one for one in books.items if one.adjusts is item and not one.gone]
    due = worth - item.amount("billed")
    if due > 0:
        due = max(0, due - item.given_up)
    _lower(differences, max(0, due))
    if due < 0:
        _credit(item, -due, memos)
    more = due - sum(one.worth for one in differences)
    if more > 0 and bills:
        source = f"{ADJUSTMENT}{item.contract}/{item.source}"
        books.items.append(Item(source, item.contract, on, "adjustment", more, item.role, adjusts=item))
    elif more > 0:
        item.given_up += more


def _lower(differences: Sequence[Item], most: int) -> None:
    """Differences that are not billed yet come to ``most`` together; the latest give way first."""
    over = sum(one.worth for one in differences) - most
    for one in reversed(differences):
        less = min(max(0, over), one.open)
        one.worth -= less
        over -= less


def _credit(item: Item, minor: int, memos: dict[int, Credit]) -> None:
    (part,) = [part for part in item.parts if part.kind == "billed"]
    assert part.invoice is not None
    part.minor -= minor
    item.worth -= minor
    item.parts.append(Part("credited", minor, part.invoice))
    memo = memos.setdefault(part.invoice, Credit(part.invoice))
    memo.lines[item.source] = memo.lines.get(item.source, 0) + minor


def folded(net: dict[str, int], contract: str) -> dict[str, int]:
    """Amounts by source, with differences counted to the work that they belong to."""
    prefix, found = f"{ADJUSTMENT}{contract}/", dict[str, int]()
    for source, minor in net.items():
        work = source.removeprefix(prefix)
        found[work] = found.get(work, 0) + minor
    return found
