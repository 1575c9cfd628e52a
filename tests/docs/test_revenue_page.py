"""``docs/revenue-follow-up.md`` says what the saga does: steps, writes, causes, differences."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import activities.contracts as contracts
from canonical.authority import Phase
from canonical.causes import Cause
from canonical.engagement import RevenueMethod
from canonical.operations import WriteContext
from canonical.progress import ContractProgress, DifferenceKind, LineProgress
from canonical.writes import VendorWrite
from rules.authority import unauthorised
from tests.docs import facts
from tests.docs.tables import ROOT
from wiring.systems import build
from workflows.kernel.core import activity_name

PAGE = ROOT / "docs" / "revenue-follow-up.md"
ERP = "netsuite-emea"


def _rows(heading: str) -> list[list[str]]:
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_steps_are_those_of_the_process() -> None:
    source = inspect.getsource(importlib.import_module("workflows.revenue.revenue_follow_up"))
    performed = set(re.findall(r"\b(\w+Activities)\.(\w+)", source))
    named = {activity_name(getattr(getattr(contracts, owner), method)) for owner, method in performed}
    rows = _rows("Steps")[1:]
    assert {row[4].strip("` |") for row in rows} == named
    for row in rows:
        assert f'"{re.split(r"[.]<", row[0].strip("` "))[0]}' in source, row[0]


def test_writes_are_those_that_are_planned_and_we_may_write_all_of_it(tmp_path: Path) -> None:
    settings = facts.settings_of(tmp_path)
    write = _planned(settings)
    assert unauthorised(write, settings.systems[ERP].roles) is None
    (row,) = _rows("Writes, keys and undo")[1:]
    assert row[:5] == [
        "NetSuite", f"`{write.operation}`", f"`{write.record_type}`", write.method, write.key_style.value,
    ]  # fmt: skip
    assert write.forward_only


def _planned(settings: Any) -> VendorWrite:
    erp: Any = build(ERP, settings.systems[ERP])
    line = LineProgress(
        line_key="L1", method=RevenueMethod.OVER_TIME_INPUT, minutes_to_date=60, minutes_to_complete=30
    )
    one = ContractProgress(contract_key="C", name="C", currency="EUR", period="2026-10", lines=(line,))
    assert erp.progress_gaps(one) == []
    context = WriteContext(
        saga_id=f"rfu:emea:{ERP}:NL01.2026-10",
        generation=1,
        step="send.C",
        region="emea",
        phase=Phase.AFTER_APPROVAL,
    )
    (write,) = erp.plan_progress(context, one)
    found: VendorWrite = write
    return found


def test_causes_and_differences_on_the_page_are_those_of_the_rules() -> None:
    named = {
        name for row in _rows("When something goes wrong") for name in re.findall(r"`([A-Z_]+)`", row[-1])
    }
    assert named <= {cause.value for cause in Cause}
    assert {"ESTIMATE_MISSING", "ESTIMATE_EXCEEDED", "PROGRESS_NOT_MAPPED", "PERIOD_CLOSED"} <= named
    shown = {row[0] for row in _rows("What is compared")}
    assert {kind.value for kind in DifferenceKind} <= shown
