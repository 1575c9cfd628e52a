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

    @property
    def part(self) -> str:
        """Name of the module that it stands in."""
        return self.check.__module__


ROWS: list[Row] = []


def row(title: str, means: str, *, id: str | None = None) -> Callable[[Check], Check]:
    """Register a check as a row; its id is the function's name, unless several rows share the check."""

    def register(check: Check) -> Check:
        name = id or check.__name__
        assert name not in {known.id for known in ROWS}, name
        ROWS.append(Row(name, title, means, check))
        return check

    return register
