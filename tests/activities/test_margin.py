"""Margin on an account: real activities, a real ledger and the HR file, a CRM in memory (rule 42)."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from activities.feedback.margins import AWAY_SECONDS, Margins
from canonical.delivery import Worker
from canonical.items import ItemKind
from canonical.money import Money
from canonical.names import worker_address_key
from canonical.refs import RecordRef
from connectors.hr_file import HrFileConnector
from connectors.hr_file.settings import HrFileSettings
from ledger.items import Placed
from ledger.links import NewLink
from ledger.store import Ledger
from rules.margin import FEW, UNRATED
from tests.activities.feedback_world import ACCOUNT, HR, PSA, World, _id
from tests.ledger.billing import claim, line, placement, send

pytestmark = pytest.mark.anyio
HEADER = "worker_id,name,email,role,cost_rate,cost_currency,effective_from,effective_to"
ROWS = (
    "W1,Anna,anna@x.example,consultant,97.13,EUR,,2026-02-09",
    "W1,Anna,anna@x.example,consultant,98.77,EUR,2026-02-10,",
    "W2,Bram,bram@x.example,consultant,61.37,EUR,,",
    "W3,Carla,carla@x.example,consultant,58.79,EUR,,",
)
PAY = ("97.13", "98.77", "61.37", "58.79", "9713", "9877", "6137", "5879")
ADDRESSES = {"71": "anna@x.example", "72": "bram@x.example", "73": "carla@x.example", "74": "new@x.example"}
COST = Decimal("98.77") + Decimal("61.37") + Decimal("58.79")


class CountedHr(HrFileConnector):
    """Counts how often it is asked; may never answer."""

    asked = 0
    hangs = False

    async def workers_between(self, first: date, last: date) -> list[Worker]:
        self.asked += 1
        if self.hangs:
            await asyncio.sleep(60)
        return await super().workers_between(first, last)


def export(path: Path, *rows: str) -> None:
    path.write_text("\n".join((HEADER, *rows)) + "\n")


@pytest.fixture
def hr(tmp_path: Path) -> CountedHr:
    path = tmp_path / "hr.csv"
    export(path, *ROWS)
    absent = {"practice": "", "region": "", "legal_entity": ""}
    return CountedHr(HR, HrFileSettings.model_validate({"path": path, "columns": absent}))


@pytest.fixture
async def world(ledger: Ledger, hr: CountedHr) -> World:
    """One deal of the account, with a delivery project; workers are known by their addresses."""
    found = World(ledger, random.Random(1), hr=hr)
    await found.sell(1)
    await ledger.link_many(
        [
            NewLink(
                kind="worker-address",
                key=worker_address_key(address),
                record=RecordRef(system=PSA, type="users", id=user),
                created_by_us=False,
            )
            for user, address in ADDRESSES.items()
        ]
    )
    found.erp.issue("1", [("j1", 100_000)])
    return found


_NUMBERS = iter(range(1, 10_000))


async def work(world: World, user: str, *, minutes: int = 60, **more: Any) -> None:
    """Time, or an expense, of somebody: approved, placed and posted."""
    number = next(_NUMBERS)
    one = line(number, minutes=minutes, worker=RecordRef(system=PSA, type="users", id=user), **more)
    await world.ledger.take_in([one])
    (row,) = await world.ledger.items_of([one.source_key])
    await world.ledger.place([Placed(row.id, row.key, placement(minutes=minutes, contract_key="C1"))])
    await send(world.ledger, await claim(world.ledger, number))


async def told(world: World) -> dict[str, Any]:
    """Something happens to the invoice; what the account shows then."""
    if world.erp.invoices["1"].version or world.crm.records:
        assert world.erp.change("1", "pay", 0.1)
    world.events["1"].append("changed")
    await world.follow("1")
    return world.crm.records[ACCOUNT]


async def test_three_workers_are_a_margin_and_two_are_none(world: World, hr: CountedHr) -> None:
    await work(world, "71")
    await work(world, "72")
    shown = await told(world)
    assert (shown["Margin__c"], shown["Margin_Percent__c"], hr.asked) == (None, None, 0), "nobody is asked"
    assert f"no margin: {FEW}" in shown["Summary__c"]
    await work(world, "73")
    shown = await told(world)
    assert shown["Margin__c"] == 1000 - COST
    assert shown["Margin_Percent__c"] == Decimal("78.11")
    assert "margin" not in shown["Summary__c"]
    assert "Margin__c" not in world.crm.records[_id("006", 1)], "a deal never tells it"
    message = world.psa.records["1"]["external_message"]
    assert message.startswith(f"margin EUR {1000 - COST} (78.11 %); invoiced EUR 1,000.00")


async def test_rates_by_day_and_expenses(world: World) -> None:
    await work(world, "71", work_date=date(2026, 2, 9))
    await work(world, "72")
    await work(world, "73")
    spent = Money(amount=Decimal("30.50"), currency="EUR")
    await work(world, "72", minutes=0, kind=ItemKind.EXPENSE, incurred=spent, category="Travel")
    before = Decimal("97.13") + Decimal("61.37") + Decimal("58.79") + Decimal("30.50")
    assert (await told(world))["Margin__c"] == 1000 - before


async def test_one_person_with_two_users_is_one(world: World, hr: CountedHr) -> None:
    one_after_the_other = (
        "W2,Bram,new@x.example,consultant,61.37,EUR,2020-01-01,2020-12-31",
        "W2,Bram,bram@x.example,consultant,61.37,EUR,2021-01-01,",
    )
    export(hr.settings.path, *ROWS[:2], *one_after_the_other, ROWS[3])
    await work(world, "71", work_date=date(2020, 5, 4))
    await work(world, "72")
    await work(world, "74")
    shown = await told(world)
    assert (shown["Margin__c"], hr.asked) == (None, 2), "the account and the project"
    assert f"no margin: {FEW}" in shown["Summary__c"]


@pytest.mark.parametrize(
    "row", ["", "W4,New,new@x.example,consultant,,,,", "W4,New,new@x.example,c,5,EUR,2026-03-01,"]
)
async def test_without_a_cost_rate_of_everybody_there_is_none(world: World, hr: CountedHr, row: str) -> None:
    export(hr.settings.path, *ROWS, *([row] if row else []))
    for user in ("71", "72", "73", "74"):
        await work(world, user)
    shown = await told(world)
    assert shown["Margin__c"] is None
    assert f"no margin: {UNRATED}" in shown["Summary__c"]


async def test_hr_that_is_away_leaves_margin_as_it_was(world: World, hr: CountedHr) -> None:
    for user in ("71", "72", "73"):
        await work(world, user)
    assert (await told(world))["Margin__c"] == 1000 - COST
    hr.settings.path.unlink()
    shown = await told(world)
    assert shown["Margin__c"] == 1000 - COST
    assert shown["Paid__c"] == 100, "the other figures are told"
    assert "Margin__c" not in world.crm.writes[ACCOUNT][-1]
    assert await world.ledger.stale_targets() == []
    export(hr.settings.path, *ROWS)
    assert world.showing._margins is not None
    world.showing._margins._away.clear()
    await work(world, "73")
    assert (await told(world))["Margin__c"] == 1000 - COST - Decimal("58.79")


async def test_hr_that_does_not_answer_is_left_alone_for_a_while(
    world: World, hr: CountedHr, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in ("71", "72", "73"):
        await work(world, user)
    await told(world)
    monkeypatch.setattr("activities.feedback.margins.PATIENCE", 0.05)
    now = [0.0]
    margins = Margins(world.systems, ledger, clock=lambda: now[0])
    (target,) = await ledger.targets_of([f"sf-main/Account/{ACCOUNT}"])
    facts = await ledger.facts_of(target.target)
    hr.asked, hr.hangs = 0, True
    for moment, asked in ((0.0, 1), (AWAY_SECONDS - 1, 1), (AWAY_SECONDS + 1, 2)):
        now[0] = moment
        assert await margins.of(facts, "EUR", lambda _: "") is None
        assert hr.asked == asked
    monkeypatch.undo()
    hr.hangs, now[0] = False, 3 * AWAY_SECONDS
    found = await margins.of(facts, "EUR", lambda _: "")
    assert found is not None
    assert found.amount is not None


async def test_switched_off_hr_is_not_asked_and_what_was_told_is_taken_back(
    world: World, hr: CountedHr
) -> None:
    for user in ("71", "72", "73"):
        await work(world, user)
    assert (await told(world))["Margin__c"] == 1000 - COST
    hr.asked, world.showing._margins = 0, None
    shown = await told(world)
    assert (shown["Margin__c"], shown["Margin_Percent__c"], hr.asked) == (None, None, 0)
    assert "margin" not in shown["Summary__c"]


async def test_subcontractors_bills_are_not_known(world: World, ledger: Ledger) -> None:
    for user in ("71", "72", "73"):
        await work(world, user)
    number = next(_NUMBERS)
    one = line(number, worker=RecordRef(system=PSA, type="users", id="79"))
    await ledger.take_in([one])
    (row,) = await ledger.items_of([one.source_key])
    await ledger.place([Placed(row.id, row.key, placement(contract_key="C1", posts_cost=False))])
    shown = await told(world)
    assert shown["Margin__c"] is None
    assert "what subcontractors bill" in shown["Summary__c"]


async def test_no_cost_rate_is_kept(world: World) -> None:
    for user in ("71", "72", "73"):
        await work(world, user, minutes=77)
    shown = await told(world)
    assert shown["Margin__c"] is not None
    rows: list[str] = []
    async with world.ledger.reading() as session:
        connection = await session.connection()
        names = await connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (name,) in names.all():
            found = await connection.exec_driver_sql(f'SELECT * FROM "{name}"')
            rows += [str(tuple(row)) for row in found.all()]
    assert len(rows) > 20
    kept = json.dumps(rows)
    assert str(shown["Margin__c"]) in kept, "the sum is, like every figure"
    assert [pay for pay in PAY if pay in kept] == []
