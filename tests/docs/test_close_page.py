"""``docs/close-project.md`` says what closings do: steps, writes, facts, refusals."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import activities.contracts as contracts
from canonical.authority import Phase
from canonical.causes import Cause
from canonical.operations import WriteContext
from canonical.project_closing import DealClosure, DealStatus, DeliveryClosure, ErpClosure
from canonical.refs import RecordRef
from canonical.writes import VendorWrite
from rules.authority import unauthorised
from tests.docs import facts
from tests.docs.tables import ROOT
from wiring.systems import build
from workflows.kernel.core import activity_name

PAGE = ROOT / "docs" / "close-project.md"
SYSTEMS = {"sf-main": "Salesforce", "netsuite-emea": "NetSuite", "kantata-main": "Kantata"}
KEY = "006000000000001AAA.NL01.EUR"


def _rows(heading: str) -> list[list[str]]:
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@pytest.mark.parametrize(
    ("heading", "module"),
    [
        ("Steps of a closing", "workflows.closing.close_project"),
        ("Steps of a re-opening", "workflows.closing.reopen_project"),
    ],
)
def test_steps_are_those_of_the_processes(heading: str, module: str) -> None:
    # The word to sales is the same step of both.
    shared = "workflows.closing.writing"
    source = "".join(inspect.getsource(importlib.import_module(one)) for one in (module, shared))
    performed = set(re.findall(r"\b(\w+Activities)\.(\w+)", source))
    named = {activity_name(getattr(getattr(contracts, owner), method)) for owner, method in performed}
    shown = {row[4].strip("` |") for row in _rows(heading)} - {"none"}
    assert shown == named
    for row in _rows(heading):
        name = re.split(r"<", row[0].strip("` |"))[0]
        assert f'"{name}' in source or f'"{name.rstrip(".")}"' in source, f"no step begins with {name!r}"


def test_writes_are_those_that_are_planned(tmp_path: Path) -> None:
    planned = {
        (SYSTEMS[one.system], one.operation, one.record_type, one.method, one.key_style.value)
        for one in planned_writes(tmp_path)
    }
    rows = _rows("Writes, keys and undo")
    shown = {(row[0], row[1].strip("`"), row[2].strip("`"), row[3], row[4]) for row in rows}
    assert shown == planned


def test_we_may_write_all_of_it(tmp_path: Path) -> None:
    settings = facts.settings_of(tmp_path)
    for write in planned_writes(tmp_path):
        assert unauthorised(write, settings.systems[write.system].roles) is None


def test_every_closing_has_keys_of_its_own(tmp_path: Path) -> None:
    writes = [
        *planned_writes(tmp_path),
        *planned_writes(tmp_path, number=2),
        *planned_writes(tmp_path, round=2),
    ]
    told = [one.key for one in writes if one.operation == "project_status"]
    keys = {one.key for one in writes if one.operation != "project_status"}
    assert len(keys) == 12
    assert len(set(told)) == 6


def planned_writes(folder: Path, *, number: int = 1, round: int = 1) -> list[VendorWrite]:
    """Every kind of write that a closing or a re-opening can plan."""
    settings = facts.settings_of(folder)
    crm, erp, psa = (_any(build(name, settings.systems[name])) for name in SYSTEMS)
    context = WriteContext(
        saga_id=f"close:emea:netsuite-emea:{KEY}.1", generation=1, step="s", region="emea",
        phase=Phase.AFTER_APPROVAL,
    )  # fmt: skip
    delivery = DeliveryClosure(
        contract_key=KEY, delivery_key=f"{KEY}.emea.ADV", project_id="901", title="Advisory",
        number=number, round=round,
    )  # fmt: skip
    job = ErpClosure(contract_key=KEY, project_id="7", name="Advisory", number=number, round=round)
    deal = RecordRef(system="sf-main", type="Opportunity", id="006000000000001AAA")
    found: list[VendorWrite] = []
    found += psa.plan_close(context, delivery)
    found += psa.plan_reopen(context, delivery, {"archived": False, "status_key": "310"})
    found += erp.plan_close(context, job)
    found += erp.plan_reopen(context, job, {"entityStatus": {"id": "2", "refName": "In Progress"}})
    for status in (DealStatus.CLOSED, DealStatus.PARTLY_CLOSED, None):
        former = {} if status is not None else {"Project_Status__c": "Active"}
        closure = DealClosure(deal=deal, contract_key=KEY, number=number, status=status, former=former)
        found += crm.plan_project_status(context, closure)
    return found


def _any(port: Any) -> Any:
    return port


def test_facts_on_the_page_are_those_of_the_rule() -> None:
    source = inspect.getsource(importlib.import_module("rules.project_closing"))
    used = set(re.findall(r"Cause\.([A-Z_]+)", source)) - {"CLOSE_BLOCKED", "BEFORE_OPENING_POSITION"}
    named = {name for row in _rows("What stands in the way") for name in re.findall(r"`([A-Z_]+)`", row[2])}
    assert named == used
    assert named <= {cause.value for cause in Cause}
