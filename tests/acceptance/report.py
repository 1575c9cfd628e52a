"""``docs/connectors.md``, written from what a run of the suite found. No cell is written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.suite import SUBJECTS, SUITE

PAGE = Path(__file__).parents[2] / "docs" / "connectors.md"
WRITE = "TRUEUP_WRITE_CONNECTORS"
"""Environment variable that makes a complete run write the page."""
COMMAND = f"{WRITE}=1 python -m pytest tests/acceptance"


@dataclass(frozen=True)
class Cell:
    """What one row found with one vendor."""

    state: str
    """``passed``, ``failed`` or ``n/a``."""
    words: str

    def __str__(self) -> str:
        # A bar would end the cell.
        words = " ".join(self.words.replace("|", "/").split())
        return words if self.state == "passed" else f"**{self.state}**: {words}"


Found = Mapping[tuple[str, str], Cell]
"""By row id and vendor."""


def complete(found: Found) -> bool:
    """Whether every row ran with every vendor."""
    return all((row.id, vendor) in found for row in SUITE for vendor in SUBJECTS)


def line(row_id: str, found: Found) -> str:
    """One line of the table. Raises ``KeyError`` when a vendor is missing."""
    title = next(row.title for row in SUITE if row.id == row_id)
    cells = [str(found[row_id, vendor]) for vendor in SUBJECTS]
    assert all(cells), f"{row_id}: a cell without words"
    return f"| {' | '.join([title, *cells])} |"


def render(found: Found) -> str:
    """The whole page."""
    names = [subject.title for subject in SUBJECTS.values()]
    table = [f"| {' | '.join(['Behaviour', *names])} |", f"|{'---|' * (len(names) + 1)}"]
    table += [line(row.id, found) for row in SUITE]
    meanings = [f"- **{row.title}.** {row.means}" for row in SUITE]
    return "\n".join(
        [
            "# What every connector survives",
            "",
            "This page is written by the acceptance suite (`tests/acceptance/`): each cell is what the run "
            "found,",
            "over real sockets against a stateful simulator of the vendor, with the product's own effect "
            "executor",
            "and a real ledger. A test fails when the page differs from the run. To write it anew:",
            "",
            f"    {COMMAND}",
            "",
            "A connector is finished when every row passes; `n/a` needs a declared reason.",
            "",
            *table,
            "",
            "## What each row does",
            "",
            *meanings,
            "",
        ]
    )
