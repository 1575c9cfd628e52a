"""``docs/opportunity-to-project.md`` says what the saga does: steps, writes, keys, undo."""

from __future__ import annotations

import re
from pathlib import Path

from canonical.causes import Cause
from rules.causes import CATALOGUE
from tests.docs import facts
from tests.docs.tables import ROOT

PAGE = ROOT / "docs" / "opportunity-to-project.md"


def _rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_steps_are_those_of_the_process() -> None:
    shown = {(row[4].strip("` |"), row[2].strip()) for row in _rows("Steps") if row[4].strip(" |") != "none"}
    assert shown == facts.steps()


def test_step_names_are_those_of_the_process() -> None:
    source = facts.literals()
    for row in _rows("Steps"):
        name = re.split(r"[.<]", row[0].strip("` |"))[0]
        assert f'"{name}' in source, f"no step begins with {name!r}"


def test_writes_are_those_that_are_planned(tmp_path: Path) -> None:
    planned = {
        (
            one.operation,
            one.record_type,
            one.method,
            one.key_style.value,
            "yes" if one.shared else "no",
        )
        for one in facts.writes(tmp_path)
    }
    shown = {
        (row[1].strip("`"), row[2].strip("`"), row[3], row[4], row[5].strip(" |"))
        for row in _rows("Writes, keys and undo")
    }
    assert shown == planned


def test_causes_of_the_findings_table_are_in_the_catalogue() -> None:
    named = [name for row in _rows("Findings") for name in re.findall(r"`([A-Z_]+)`", row[1])]
    assert named
    assert set(named) <= {cause.value for cause in CATALOGUE}
    assert Cause.TAX_REGISTRATION_MISSING.value in named
