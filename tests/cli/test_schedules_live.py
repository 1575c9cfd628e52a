"""``trueup schedules`` on a real server: applied, listed, run, paused, changed, removed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import ScheduleOverlapPolicy

from cli.output import Exit
from rules.cutoffs import cutoff_day
from runtime.settings import load
from tests.e2e.billing_terms import ERP, PSA
from tests.e2e.firm import Firm, local_firm
from wiring.schedules import handle

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]
HOURLY = f"""
[[schedules]]
name = "hourly-posting"
run = "post-approved-time"
psa = "{PSA}"
erp = "{ERP}"
cron = "5 * * * *"
timezone = "Europe/Amsterdam"
catch_up_minutes = 90
"""
MONTHLY = f"""
[[schedules]]
name = "month-end"
run = "time-to-billing"
psa = "{PSA}"
erp = "{ERP}"
cron = "0 6 1 * *"
timezone = "Europe/Amsterdam"
cutoff = "last_month"
overlap = "skip"
catch_up_minutes = 1440
"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def firm(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Firm]:
    folder: Path = tmp_path_factory.mktemp("schedules")
    async with local_firm(folder, config=lambda text: text + HOURLY + MONTHLY) as firm:
        yield firm


async def typed(firm: Firm, *arguments: str, code: int = Exit.DONE) -> dict[str, Any]:
    ended, out, err = await firm.trueup("schedules", *arguments, "--json")
    assert ended == code, out + err
    found: dict[str, Any] = json.loads(out)
    return found


async def by_name(firm: Firm) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in (await typed(firm, "list"))["schedules"]}


async def eventually(look: Callable[[], Awaitable[Any]], tries: int = 80) -> Any:
    for _ in range(tries):
        if found := await look():
            return found
        await asyncio.sleep(0.25)
    raise AssertionError("it did not come to pass")


async def test_declared_schedules_are_applied_once(firm: Firm) -> None:
    before = await by_name(firm)
    assert {name: one["standing"] for name, one in before.items()} == {
        "hourly-posting": "not applied",
        "month-end": "not applied",
    }
    done = await typed(firm, "apply")
    assert done["done"] == {"hourly-posting": "created", "month-end": "created"}
    again = await typed(firm, "apply")
    assert (again["message"], again["done"]) == ("2 schedules, all as the configuration says.", {})
    after = await by_name(firm)
    assert {one["standing"] for one in after.values()} == {"as declared"}
    assert after["hourly-posting"]["next_at"] is not None
    found = await handle(firm.client, firm.settings, "hourly-posting").describe()
    assert found.schedule.policy.overlap is ScheduleOverlapPolicy.BUFFER_ONE
    assert found.schedule.policy.catchup_window == timedelta(minutes=90)
    assert found.schedule.spec.time_zone_name == "Europe/Amsterdam"
    _, out, _ = await firm.trueup("schedules", "list")
    assert "cron 5 * * * * (Europe/Amsterdam); the next waits; caught up within 90 min" in out


async def test_a_schedule_starts_a_run_with_todays_settings(firm: Firm) -> None:
    await handle(firm.client, firm.settings, "hourly-posting").trigger()

    async def run() -> dict[str, Any] | None:
        _, out, _ = await firm.trueup("list", "--json")
        found = [one for one in json.loads(out)["sagas"] if "hourly-posting" in one["saga_id"]]
        return found[0] if found and found[0]["status"] == "complete" else None

    done = await eventually(run)
    assert done["saga_id"].startswith(f"pat:emea:{PSA}:{ERP}.hourly-posting-")
    row = await firm.ledger.saga(done["saga_id"])
    assert row is not None
    assert (row.actor.name, row.reason) == ("trueup", "schedule hourly-posting")
    assert row.mapping == firm.mapping
    (schedule,) = [one for one in (await by_name(firm)).values() if one["last_run"]]
    assert schedule["last_run"].startswith("schedule.emea.hourly-posting-")


async def test_the_monthly_run_bills_up_to_the_end_of_the_month_before(firm: Firm) -> None:
    await handle(firm.client, firm.settings, "month-end").trigger()
    through = cutoff_day("last_month", datetime.now(UTC), "Europe/Amsterdam")
    wanted = f"t2b:emea:{PSA}:{ERP}.{through.isoformat()}"

    async def ended() -> bool:
        row = await firm.ledger.saga(wanted)
        return row is not None and row.status.is_final

    assert await eventually(ended)


async def test_pausing_needs_a_reason_and_stays_over_a_change(firm: Firm) -> None:
    ended, _, err = await firm.trueup("schedules", "pause", "hourly-posting")
    assert (ended, err) == (Exit.USAGE, "pause needs --reason.\n")
    unknown = await firm.trueup("schedules", "pause", "nightly", "--reason", "x")
    assert unknown[0] == Exit.USAGE
    assert "There is no schedule 'nightly' on the server; there: hourly-posting, month-end." in unknown[2]
    paused = await typed(firm, "pause", "hourly-posting", "--reason", "audit week", "--as", "carla")
    assert paused["note"] == "paused by carla (unverified): audit week"
    twice = await typed(firm, "pause", "hourly-posting", "--reason", "again")
    assert twice["message"] == "hourly-posting is paused already: paused by carla (unverified): audit week"

    text = firm.stack.config.read_text()
    firm.stack.config.write_text(text.replace('cron = "5 * * * *"', 'cron = "10 * * * *"'))
    assert (await by_name(firm))["hourly-posting"]["standing"] == "changed since it was applied"
    assert (await typed(firm, "apply"))["done"] == {"hourly-posting": "changed"}
    after = (await by_name(firm))["hourly-posting"]
    assert (after["standing"], after["paused"]) == ("as declared", True)

    await typed(firm, "resume", "hourly-posting", "--reason", "audit is over")
    assert (await by_name(firm))["hourly-posting"]["paused"] is False
    rows = (await firm.ledger.audit_rows(chain="trueup", limit=500)).rows
    assert [row.action for row in rows if row.action.startswith("schedule_")][-3:] == [
        "schedule_paused",
        "schedule_changed",
        "schedule_resumed",
    ]


async def test_what_the_configuration_lacks_is_removed_when_confirmed(firm: Firm) -> None:
    text = firm.stack.config.read_text()
    firm.stack.config.write_text(text.replace(MONTHLY, ""))
    assert (await by_name(firm))["month-end"]["standing"] == "not in the configuration any more"
    ended, _, err = await firm.trueup("schedules", "apply")
    assert ended == Exit.USAGE
    assert "Remove 1 schedule that the configuration lacks: month-end" in err
    assert (await typed(firm, "apply", "--yes"))["done"] == {"month-end": "removed"}

    async def gone() -> bool:
        return set(await by_name(firm)) == {"hourly-posting"}

    assert await eventually(gone)


async def test_a_rhythm_that_the_server_does_not_understand_is_one_sentence(firm: Firm) -> None:
    text = firm.stack.config.read_text()
    firm.stack.config.write_text(text.replace('cron = "10 * * * *"', 'cron = "whenever"'))
    ended, _, err = await firm.trueup("schedules", "apply")
    firm.stack.config.write_text(text)
    assert ended == Exit.USAGE
    assert err.startswith("Schedule hourly-posting (cron whenever (Europe/Amsterdam)")
    assert "Correct its section [[schedules]]" in err
    assert load(firm.stack.config).schedules[0].cron == "10 * * * *"
