"""The commands against the whole simulated firm: real Temporal server, worker process, vendors over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.local import deals
from cli.local.deals import Deal
from cli.local.stack import Stack
from cli.output import Exit
from cli.simulators import control
from tests.cli.conftest import Answer, run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
Command = Callable[..., Answer]
WAIT = ("--wait", "--timeout", "90")
SAGA = "opportunity-to-project"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    built = Stack(tmp_path_factory.mktemp("firm"), ui=False)
    asyncio.run(built.start())
    try:
        built.add_worker()
        yield built
    finally:
        built.stop()


@pytest.fixture(scope="module")
def trueup(stack: Stack) -> Command:
    def typed(*arguments: str) -> Answer:
        return run(*arguments, "--config", str(stack.config))

    return typed


def win(stack: Stack, deal: Deal) -> str:
    """Enter a won deal in Salesforce; its id as the CRM gives it."""
    control(stack.vendors.salesforce.base_url, "POST", "seed", deal.seed())
    rows = control(stack.vendors.salesforce.base_url, "GET", "records")["Opportunity"]
    return str(next(row["Id"] for row in rows if str(row["Id"]).startswith(deal.id)))


def vendor_writes(stack: Stack) -> int:
    return sum(len(control(vendor.base_url, "GET", "writes")) for vendor in stack.vendors)


def test_a_deal_is_planned_started_shown_and_traced(stack: Stack, trueup: Command, tmp_path: Path) -> None:
    deal = win(stack, deals.NORTHWIND)
    before = vendor_writes(stack)
    missing = trueup("deals", "--without-project", "--since", "3650d", "--json").json
    assert [row["waits_for"] for row in missing["deals"] if row["deal"]["id"] == deal] == ["never started"]

    out = tmp_path / "plan.json"
    planned = trueup("plan", SAGA, deal, "--out", str(out))
    assert planned.code == Exit.DONE, planned.err
    assert "Nothing was written." in planned.first
    assert "+ netsuite-emea  customer  Create customer Northwind Trading B.V." in planned.out
    plan = json.loads(out.read_text())
    assert plan["deal"] == f"sf-main/{deal}"
    assert {write["title"] for write in plan["writes"][:2]} == {
        "Create customer Northwind Trading B.V.", "Group for client Northwind Trading B.V.",
    }  # fmt: skip
    assert vendor_writes(stack) == before

    done = trueup("start", SAGA, deal, *WAIT, "--reason", "kick-off", "--json")
    assert done.code == Exit.DONE, done.out
    (made,) = done.json["sagas"]
    code = made["view"]["project_code"]
    assert made["view"]["status"] == "complete"

    again = trueup("start", SAGA, deal)
    assert again.code == Exit.DONE
    assert f"project code {code}" in again.first
    assert "nothing was started" in again.first

    for name in (deal, code, made["saga_id"]):
        shown = trueup("show", name, "--json").json
        assert (shown["saga"]["saga_id"], shown["source"]) == (made["saga_id"], "live")
    line = trueup("trace", code, "--json").json
    assert sorted(write["title"] for write in line["writes"]) == sorted(
        write["title"] for write in plan["writes"]
    )
    assert {row["action"] for row in line["audit"]} >= {"saga_begun", "written"}
    missing = trueup("deals", "--without-project", "--json").json
    assert [row for row in missing["deals"] if row["deal"]["id"] == deal] == []
    listed = trueup("list", "--status", "complete", "--json").json["sagas"]
    assert [row["project_code"] for row in listed if row["saga_id"] == made["saga_id"]] == [code]


def test_a_parked_deal_is_found_explained_and_repaired(stack: Stack, trueup: Command) -> None:
    deal = win(stack, deals.HARBOUR)
    plan = trueup("plan", SAGA, deal)
    assert plan.code == Exit.FAILED
    assert "TAX_REGISTRATION_MISSING" in plan.out

    parked = trueup("start", SAGA, deal, *WAIT)
    assert parked.code == Exit.PARKED
    assert "is parked at 'Validate'" in parked.first
    assert "EUR 64,000.00 at stake; master-data acts." in parked.first
    assert f"trueup resolve o2p:emea:sf-main:{deal} validate --retry" in parked.out

    cases = trueup("exceptions", "--queue", "master-data", "--json").json
    assert [case["business_key"] for case in cases["cases"]] == [f"sf-main/{deal}"]
    assert cases["groups"][0]["at_stake"] == "EUR 64,000.00"
    listed = _eventually(lambda: trueup("list", "--status", "parked", "--json").json["sagas"])
    assert [(row["cause"], row["at_stake"]["amount"]) for row in listed] == [
        ("TAX_REGISTRATION_MISSING", "64000.00")
    ]

    refused = trueup("resolve", deal, "--skip", "--reason", "no time")
    assert refused.code == Exit.FAILED
    assert refused.err.startswith("Refused: This cannot be skipped")
    assert len(refused.err.splitlines()) == 2
    wrong = trueup("resolve", deal, "route", "--retry")
    assert "Step 'route' is not parked; parked now: validate." in wrong.err

    asked = trueup("resolve", "--cause", "TAX_REGISTRATION_MISSING", "--retry")
    assert asked.code == Exit.USAGE
    assert "1 saga parked with TAX_REGISTRATION_MISSING (EUR 64,000.00 at stake)" in asked.err
    bulk = trueup("resolve", "--cause", "TAX_REGISTRATION_MISSING", "--retry", "--yes")
    assert bulk.code == Exit.DONE
    assert bulk.first == "retry accepted for 1 of 1 saga."

    _eventually(lambda: _with_status(trueup("show", deal, "--json").json, "parked"))
    still = trueup("resolve", deal, "--retry", *WAIT)
    assert still.code == Exit.PARKED
    change = {"type": "Account", "id": _account(stack, deal), "fields": {"Tax_Id__c": "NL834567890B01"}}
    control(stack.vendors.salesforce.base_url, "POST", "change", change)
    healed = trueup("resolve", deal, "--retry", *WAIT, "--reason", "number entered")
    assert healed.code == Exit.DONE, healed.out
    shown = trueup("show", deal).out
    assert "number entered" in shown
    assert trueup("exceptions", "--json").json["cases"] == []


def test_a_decision_is_listed_refused_to_the_wrong_and_taken_from_the_right(
    stack: Stack, trueup: Command
) -> None:
    deal = win(stack, deals.ATLAS)
    gated = trueup("start", SAGA, deal, *WAIT)
    assert gated.code == Exit.PARKED
    assert "waits for a decision: Credit review" in gated.first
    asked = _eventually(lambda: trueup("approvals", "--json").json["approvals"])
    assert [(one["saga_id"], one["request"]["step"]) for one in asked] == [
        (f"o2p:emea:sf-main:{deal}", "gate.credit")
    ]
    back = trueup("approvals", "send-back", deal, "--reason", "which rating?", "--as", "carla")
    assert back.code == Exit.DONE
    wrong = trueup("approvals", "approve", deal, "gate.sow", "--as", "carla")
    assert wrong.code == Exit.FAILED
    assert "asks for no decision; open decisions: gate.credit" in wrong.err
    rejected = trueup("approvals", "reject", deal, "--reason", "too risky", "--as", "carla")
    assert rejected.code == Exit.DONE
    ended = _eventually(lambda: _with_status(trueup("show", deal, "--json").json, "undone"))
    assert [one["outcome"] for one in ended["decisions"]] == ["send_back", "reject"]
    assert ended["decisions"][0]["actor"]["name"] == "carla"


def test_a_cancelled_deal_is_undone_and_exits_4(stack: Stack, trueup: Command) -> None:
    deal = win(stack, deals.QUARRY)
    slow = {"kind": "delay", "method": "POST", "path": "/stories", "delay_ms": 1500, "times": 4}
    control(stack.vendors.kantata.base_url, "POST", "faults", slow)
    assert trueup("start", SAGA, deal).code == Exit.DONE
    _eventually(lambda: _made_something(trueup("show", deal, "--json").json))
    undone = trueup("cancel", deal, *WAIT, "--reason", "the client withdrew")
    assert undone.code == Exit.UNDONE, undone.out
    assert undone.first.startswith(f"Deal {deal} was undone; nothing of it remains.")
    shown = trueup("show", deal, "--json").json
    assert [(one["kind"], one["reason"]) for one in shown["decisions"]] == [("cancel", "the client withdrew")]


def test_bad_input_ends_with_1_and_a_sentence(trueup: Command) -> None:
    answer = trueup("start", SAGA, "006NOPE", *WAIT)
    assert answer.code == Exit.FAILED
    assert "There is no opportunity 006NOPE in sf-main." in answer.first


def test_doctor_finds_this_firm_in_order(trueup: Command) -> None:
    answer = trueup("doctor", "--json")
    assert answer.code == Exit.DONE, answer.out
    assert [line["check"] for line in answer.json["checks"] if line["state"] == "broken"] == []
    assert "all 6 queues are served" in {line["detail"] for line in answer.json["checks"]}


def test_existing_customers_are_proposed_with_evidence(stack: Stack, trueup: Command, tmp_path: Path) -> None:
    win(stack, deals.LUMEN)
    out = tmp_path / "proposals.csv"
    scanned = trueup("adopt", "--scan", "netsuite-emea", "--out", str(out), "--json")
    assert scanned.code == Exit.DONE, scanned.out
    sure = [one["candidate"]["name"] for one in scanned.json["proposals"] if one["confirmed"]]
    assert "Lumen Optics B.V." in sure
    reviewed = trueup("adopt", str(out))
    assert reviewed.code == Exit.DONE, reviewed.out
    assert "is Lumen Optics B.V." in reviewed.out


def _account(stack: Stack, deal: str) -> str:
    rows = control(stack.vendors.salesforce.base_url, "GET", "records")["Opportunity"]
    return str(next(row["AccountId"] for row in rows if row["Id"] == deal))


def _with_status(shown: dict[str, Any], status: str) -> dict[str, Any] | None:
    return shown if shown["saga"]["status"] == status else None


def _made_something(shown: dict[str, Any]) -> bool:
    return any(step["id"].startswith("contract.") and step["records"] for step in shown["saga"]["steps"])


def _eventually(look: Callable[[], Any], tries: int = 40) -> Any:
    """Temporal's index and a saga's next step take a moment."""
    for _ in range(tries):
        if found := look():
            return found
        asyncio.run(asyncio.sleep(0.25))
    raise AssertionError("it did not come to pass")
