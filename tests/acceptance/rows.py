"""The rows of the suite: behaviours that every connector must show, each a check on a ``Bench``.

A check asserts what no vendor may lack and returns what it found, in words: the cell of
``docs/connectors.md``. Cells hold no counts and no times, so that two runs find the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.acceptance.bench import Bench

Check = Callable[[Bench], Awaitable[str]]


@dataclass(frozen=True)
class Row:
    """A behaviour."""

    id: str
    title: str
    means: str
    """What is done to the connector and what must come of it."""
    check: Check


ROWS: list[Row] = []


def row(title: str, means: str) -> Callable[[Check], Check]:
    """Register a check as a row; its id is the function's name."""

    def register(check: Check) -> Check:
        assert check.__name__ not in {known.id for known in ROWS}, check.__name__
        ROWS.append(Row(check.__name__, title, means, check))
        return check

    return register
