"""``docs/change-order.md`` says what change orders do: steps, writes, causes."""

from __future__ import annotations

import importlib
import inspect
import re
from datetime import date
from pathlib import Path
from typing import Any

from canonical.authority import Phase
from canonical.causes import Cause
from canonical.change_orders import ContractScope, DeliveryChange, OrderChange
from canonical.operations import WriteContext
from canonical.refs import RecordRef
from canonical.writes import VendorWrite
from rules.authority import unauthorised
from rules.change_impact import impact_of
from tests.docs import facts
from tests.docs.tables import ROOT
from tests.rules.changes import ADVICE, DELIVERIES, KEY, ROLLOUT, advice, card, contract, rollout
from tests.rules.examples import money
from wiring.systems import build
from workflows.kernel.core import activity_name

PAGE = ROOT / "docs" / "change-order.md"
SYSTEMS = {"sf-main": "Salesforce", "netsuite-emea": "NetSuite", "kantata-main": "Kantata"}


def _rows(heading: str) -> list[list[str]]:
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def _source() -> str:
    names = ("workflows.changes.change_order", "workflows.changes.contract_changes", "rules.change_gate")
    return "\n".join(inspect.getsource(importlib.import_module(name)) for name in names)


def test_steps_are_those_of_the_processes() -> None:
    source = _source()
    performed = set(re.findall(r"\b(\w+Activities)\.(\w+)", source))
    named = {activity_name(getattr(_contracts(owner), method)) for owner, method in performed}
    shown = {row[4].strip("` |") for row in _rows("Steps")} - {"none"}
    assert shown == named
    for row in _rows("Steps"):
        name = re.split(r"\.<", row[0].strip("` |"))[0]
        assert f'"{name}' in source, f"no step begins with {name!r}"


def _contracts(owner: str) -> Any:
    for module in ("activities.contracts.changes", "activities.contracts"):
        if (found := getattr(importlib.import_module(module), owner, None)) is not None:
            return found
    raise AssertionError(owner)


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


def planned_writes(folder: Path) -> list[VendorWrite]:
    """Every kind of write that a change order can plan. None adds an order line."""
    settings = facts.settings_of(folder)
    crm, erp, psa = (build(name, settings.systems[name]) for name in SYSTEMS)
    before = contract()
    after = contract(
        advice(amount="38000"),
        rollout("40000", "70000", "5000"),
        rate_card=card("160"),
        end=date(2027, 8, 31),
    )
    # Of the milestones the second changes and the third is new.
    impact = impact_of(before, after, DELIVERIES, date(2027, 1, 1))
    context = WriteContext(
        saga_id="co:emea:netsuite-emea:x", generation=1, step="s", region="emea", phase=Phase.AFTER_APPROVAL
    )
    change = OrderChange(
        before=before, after=after, version=2, impact=impact, places={ADVICE: "1", ROLLOUT: "2"}
    )
    scope = ContractScope(
        deal=RecordRef(system="sf-main", type="deal", id="006000000000001AAA"),
        contract_key=KEY, version=2, versions="v2", value=money("1"), lines="", status="Proposed",
    )  # fmt: skip
    found: list[VendorWrite] = []
    for agreed in (False, True):
        found += _any(crm).plan_scope(context, scope, agreed=agreed)
    found += _any(erp).plan_hold(context, change) + _any(erp).plan_change(context, change)
    for one in impact.deliveries:
        found += _any(psa).plan_change(
            context,
            DeliveryChange(
                version=2, contract_key=KEY, impact=one, project_id="901",
                positions={"consultant": ("7",)}, milestones={f"{ROLLOUT}.2": "55"},
            ),
        )  # fmt: skip
    return found


def _any(port: Any) -> Any:
    return port


def test_causes_on_the_page_are_those_of_the_rules() -> None:
    named = {name for row in _rows("What comes of one") for name in re.findall(r"`([A-Z_]+)`", row[-1])}
    assert named <= {cause.value for cause in Cause}
    assert {Cause.CHANGE_ORDER_INVALID.value, Cause.CHANGE_BELOW_BILLED.value} <= named
