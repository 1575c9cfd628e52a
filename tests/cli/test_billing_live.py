"""The commands of time-to-billing against the simulated firm: real server, worker, vendors over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata

from cli.output import Exit
from tests.e2e.billing_firm import Month
from tests.e2e.billing_terms import ADVISORY, CARLA, ERP, PSA, Project
from tests.e2e.firm import Firm, local_firm

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]
OCTOBER = replace(
    ADVISORY,
    number=70,
    name="Orchard October",
    lines=tuple(replace(line, start="2026-10-01") for line in ADVISORY.lines),
)
"""A contract whose first month is over whenever this runs."""
WAIT = ("--wait", "--timeout", "90")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


def with_dora(text: str) -> str:
    """A colleague without a role in billing; pieces of two lines, so that few lines make several."""
    return text.replace("[actors]\n", '[billing]\npiece_lines = 2\n\n[actors]\n"dora" = ["pmo"]\n')


@pytest.fixture(scope="module")
async def month(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Month]:
    folder: Path = tmp_path_factory.mktemp("billing-cli")
    async with local_firm(folder, config=with_dora) as firm:
        yield Month(firm)


async def typed(firm: Firm, *arguments: str, code: int = Exit.DONE) -> dict[str, Any]:
    """A command's JSON, which must end with ``code``."""
    ended, out, err = await firm.trueup(*arguments, "--json")
    assert ended == code, out + err
    found: dict[str, Any] = json.loads(out)
    return found


def october(month: Month, project: Project, *days: int, **more: Any) -> list[str]:
    """A timesheet of entries on days of October."""
    return [
        entry for day in days for entry in month.time(project, 1, date_performed=f"2026-10-{day:02d}", **more)
    ]


async def test_a_month_is_started_reviewed_and_billed(month: Month) -> None:
    firm = month.firm
    project = await month.project(OCTOBER)
    october(month, project, 5, 6, 7)
    ended, out, err = await firm.trueup("start", "time-to-billing", "--cutoff", "2026-10", *WAIT)
    assert ended == Exit.PARKED, out + err
    assert "1 of its invoices waits for review." in out.splitlines()[0]
    assert "EUR 3,600.00" in out


async def typed_or_none(firm: Firm, *arguments: str) -> dict[str, Any] | None:
    ended, out, _ = await firm.trueup(*arguments, "--json")
    found: dict[str, Any] | None = json.loads(out) if ended == Exit.DONE else None
    return found


async def eventually(look: Callable[[], Awaitable[Any]], tries: int = 60) -> Any:
    """Temporal's index and a run's next step take a moment."""
    for _ in range(tries):
        if found := await look():
            return found
        await asyncio.sleep(0.25)
    raise AssertionError("it did not come to pass")


async def test_lines_of_a_draft_are_shown_held_moved_and_written_down(month: Month) -> None:
    firm = month.firm
    (asked,) = (await typed(firm, "approvals"))["approvals"]
    run = asked["saga_id"]
    shown = await typed(firm, "approvals", "show", run)
    assert [line["billed"]["amount"] for line in shown["lines"]] == ["1200.00"] * 3
    first, second, third = (line["line"] for line in shown["lines"])
    _, out, _ = await firm.trueup("approvals", "show", run)
    assert f"trueup approvals hold {run} {first}" in out
    assert "2026-10-05" in out

    refused = await firm.trueup("approvals", "hold", run, "nothing", "--reason", "x")
    assert refused[0] == Exit.USAGE
    assert "No line 'nothing' is on this draft." in refused[2]
    wrong = await firm.trueup("approvals", "write-down", run, first, "--amount", "9999", "--reason", "x")
    assert "worth EUR 1,200.00" in wrong[2]

    _, _, own = await firm.trueup("approvals", "hold", run, first, "--reason", "client asks why")
    assert "Whoever asked for it may not decide it." in own, "who started the run"
    carla = ("--as", "carla")
    held = await typed(firm, "approvals", "hold", run, first, "--reason", "client asks why", *carla)
    said, _, amounts = held["message"].partition(": ")
    assert said.startswith("1 line changed on review of the 2026-10 invoice of ")
    assert amounts == "EUR 3,600.00 before, EUR 2,400.00 now; it waits for approval."
    moved = await typed(
        firm, "approvals", "move", run, "2026-10-06", "--until", "2027-01-01", "--reason", "x", *carla
    )
    assert moved["after"]["amount"] == "1200.00"
    less = await typed(
        firm, "approvals", "write-down", run, third, "--amount", "200", "--reason", "agreed discount", *carla
    )
    assert less["after"]["amount"] == "1000.00"
    assert second != third
    _, out, _ = await firm.trueup("show", f"{PSA}/time_entries/{third}")
    places = {row.split("  ")[0]: row.split()[-1] for row in out.splitlines() if row.endswith("00.00")}
    assert (places["on a draft"], places["written down"]) == ("1,000.00", "200.00")

    _, _, err = await firm.trueup("approvals", "approve", run, "--as", "dora")
    assert "Refused: dora (unverified) has not the role" in err
    await typed(firm, "approvals", "approve", run, "--reason", "as agreed", *carla)
    done = await eventually(lambda: complete(firm, run))
    assert done["saga"]["at_stake"]["amount"] == "1000.00"
    (invoice,) = month.invoices()
    assert invoice["subtotal"] == 1000


async def complete(firm: Firm, saga: str) -> dict[str, Any] | None:
    found = await typed_or_none(firm, "show", saga)
    return found if found and found["saga"]["status"] == "complete" else None


async def test_what_is_not_billed_has_reasons_hours_and_money(month: Month) -> None:
    firm = month.firm
    found = await typed(firm, "unbilled", "--entity", "NL01")
    rows = {row["key"]: (row["items"], row["minutes"], row["money"][0]["amount"]) for row in found["rows"]}
    assert rows == {
        "UNDER_REVIEW": (1, 480, "1200.00"),
        "MOVED_TO_LATER_CYCLE": (1, 480, "1200.00"),
    }
    exceptions = await typed(firm, "exceptions", "--cause", "UNDER_REVIEW")
    (group,) = exceptions["items"]
    assert (group["minutes"], group["amount"]["amount"]) == (480, "1200.00")
    assert group["next"] == "trueup resolve --cause UNDER_REVIEW"


async def test_all_of_a_cause_is_shown_before_it_is_let_go(month: Month) -> None:
    firm = month.firm
    asked = await firm.trueup("resolve", "--cause", "UNDER_REVIEW")
    assert asked[0] == Exit.USAGE
    assert "UNDER_REVIEW holds 1 item: 0 would post" in asked[2]
    assert "Add --yes." in asked[2]
    await typed(firm, "resolve", "--cause", "UNDER_REVIEW", "--yes", *WAIT)
    found = await typed(firm, "unbilled")
    assert {row["key"] for row in found["rows"]} == {"ready", "MOVED_TO_LATER_CYCLE"}


async def test_lines_that_are_still_not_in_order_are_not_let_go(month: Month) -> None:
    firm = month.firm
    project = await month.project(OCTOBER, number=71)
    october(month, project, 12, 13, user=CARLA, role=None)
    await typed(firm, "start", "post-approved-time", *WAIT)
    (held,) = (await typed(firm, "exceptions", "--cause", "ROLE_MISSING"))["items"]
    assert (held["items"], held["minutes"], held["project_code"]) == (2, 960, project.code)
    refused = await typed(firm, "resolve", "--cause", "ROLE_MISSING", "--yes", code=Exit.FAILED)
    assert refused["message"].startswith("ROLE_MISSING holds 2 items: 0 would post")
    assert [one["tally"]["items"] for one in refused["still_held"]] == [2]
    assert refused["started"] == []


async def test_postings_are_taken_back_after_a_preview(month: Month) -> None:
    firm = month.firm
    project = await month.project(OCTOBER, number=72)
    october(month, project, 19, 20, 21)
    await typed(firm, "start", "post-approved-time", *WAIT)
    assert len(month.posted(project)) == 3
    looked = await typed(firm, "reverse", "--project", project.code)
    assert looked["message"] == (
        "3 lines would be taken back (24:00 h, EUR 3,600.00). Nothing was taken back yet."
    )
    assert len(month.posted(project)) == 3
    unsaid = await firm.trueup("reverse", "--project", project.code, "--yes")
    assert "Taking back needs --reason." in unsaid[2]
    await typed(firm, "reverse", "--project", project.code, "--reason", "wrong project", "--yes")
    assert month.posted(project) == []
    again = await typed(firm, "reverse", "--project", project.code)
    assert again["message"] == "Nothing that is posted fits. Nothing was taken back."
    back = await typed(firm, "resolve", "--cause", "UNDER_REVIEW", "--project", project.code, "--yes", *WAIT)
    assert back["would"][0]["items"] == 3
    await eventually(lambda: posted_again(month, project, 3))
    await eventually(lambda: settled(firm))


async def posted_again(month: Month, project: Project, wanted: int) -> bool:
    return len(month.posted(project)) == wanted


async def settled(firm: Firm) -> bool:
    """Whether the ledger knows what has become of everything that was sent."""
    found = await typed(firm, "close-check", "2026-10", "--entity", "NL01", code=Exit.FAILED)
    return all(one["ok"] for one in found["checks"] if one["check"] == "in flight")


async def test_a_period_is_red_with_owners_or_green(month: Month) -> None:
    firm = month.firm
    green = await typed(firm, "close-check", "2026-10", "--entity", "UK01")
    assert green["message"] == "2026-10 of UK01 is green: it can be closed."
    red = await typed(firm, "close-check", "2026-10", "--entity", "NL01", code=Exit.FAILED)
    checks = {(one["check"], one["ok"]) for one in red["checks"]}
    assert ("read", True) in checks
    assert ("roll-forward", True) in checks
    (roll,) = red["roll_forward"]
    assert roll["closing"]["amount"] == roll["computed"]["amount"] == "6000.00"
    assert (roll["billed"]["amount"], roll["written"]["amount"]) == ("1000.00", "200.00")
    assert ("against the ERP", True) in checks, red["balances"]
    assert ("unbilled", False) in checks
    (balance,) = red["balances"]
    assert balance["ours"]["amount"] == balance["erp"]["amount"]
    assert balance["differences"] == []


async def test_a_line_that_only_the_erp_knows_turns_the_period_red(month: Month) -> None:
    firm = month.firm
    theirs = {name: value for name, value in firm.records(ERP, "timeBill")[0].items() if name != "externalId"}
    firm.control(ERP, "POST", "seed", {"timeBill": [{**theirs, "id": "90001"}]})
    red = await typed(firm, "close-check", "2026-10", "--entity", "NL01", code=Exit.FAILED)
    (line,) = [one for one in red["checks"] if one["check"] == "against the ERP"]
    assert not line["ok"]
    ((difference,),) = [one["differences"] for one in red["balances"]]
    assert (difference["posting"], difference["reason"]) == ("90001", "not known to us as open")
    assert line["amount"]["amount"] == "-1200.00"
    _, out, _ = await firm.trueup("close-check", "2026-10", "--entity", "NL01")
    assert "look at it in the ERP" in out


async def page(firm: Firm, saga: str) -> str:
    """A run's page in the Web UI, as Temporal gives it out."""
    handle = firm.client.get_workflow_handle(saga)
    metadata: WorkflowMetadata = await handle.query("__temporal_workflow_metadata")
    return metadata.current_details


async def test_the_web_page_of_a_run_shows_items_money_and_pace(month: Month) -> None:
    firm = month.firm
    project = await month.project(OCTOBER, number=73)
    october(month, project, 26, 27, 28)
    october(month, project, 29, role=None)
    done = await typed(firm, "start", "time-to-billing", "--cutoff", "2026-10", *WAIT, code=Exit.PARKED)
    posting = await page(firm, f"pat:emea:{PSA}:{ERP}.2026-10-31")
    assert "- posted · 3 lines, 24.0 h, EUR 3,600.00" in posting
    assert "- **ROLE_MISSING** · delivery" in posting
    assert "pending" not in posting
    assert "of 5 calls in flight at netsuite-emea" in posting
    whole = await page(firm, done["saga_id"])
    assert whole.startswith("## Billing up to 2026-10-31: ")
    assert "under way" in whole.splitlines()[0]
    assert "of 5 calls in flight at netsuite-emea" in whole
    (group,) = [saga for saga, status in done["groups"].items() if project.contract in saga]
    review = await page(firm, group)
    assert f"trueup approvals show {group}" in review
    assert "- on the draft · 3 lines, 24.0 h, EUR 3,600.00" in review
