"""Revenue follow-up in the ledger: effort, delivered, billed, inputs by revision, how contracts stand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from canonical.batches import BatchPurpose
from canonical.causes import Cause, Queue
from canonical.engagement import RevenueMethod
from canonical.failures import Defect, Transient
from canonical.items import ItemKind
from canonical.money import Money
from canonical.progress import (
    DifferenceKind,
    LineProgress,
    RevenueDifference,
    RevenueFigures,
    RevenueRow,
    SendState,
)
from canonical.refs import RecordRef
from ledger.items import Placed
from ledger.store import Ledger
from ledger.tables.revenue import ProgressInput
from tests.cli.billing import contract as agreed
from tests.ledger.billing import (
    CONTRACT,
    ERP,
    HOLD,
    PSA,
    claim,
    draft,
    eur,
    issue,
    key,
    line,
    milestone,
    place,
    placement,
    plan,
    posted,
    send,
)

pytestmark = pytest.mark.anyio
FIRST, LAST = date(2026, 2, 1), date(2026, 2, 28)
MARCH = date(2026, 3, 1)
SAGA, OTHER = "rfu:emea:netsuite-emea:NL01.2026-02", "rfu:emea:netsuite-emea:NL01.2026-03"


def inputs(minutes: int = 60, key_: str = "L1") -> LineProgress:
    return LineProgress(
        line_key=key_, method=RevenueMethod.OVER_TIME_INPUT, minutes_to_date=minutes, minutes_to_complete=30
    )


def standing(period: str = "2026-02", **more: Any) -> RevenueRow:
    figures: dict[str, Any] = {
        "booked": eur(1000), "billed": eur(400), "recognised": eur(300), "deferred": eur(700),
        "delivered": eur(500), "delivered_minutes": 300,
    }  # fmt: skip
    values: dict[str, Any] = {
        "contract_key": CONTRACT,
        "name": "Orchard",
        "period": period,
        "legal_entity": "NL01",
        "erp": ERP,
        "figures": RevenueFigures(**{**figures, **more.pop("figures", {})}),
        "state": SendState.SENT,
        "saga_id": SAGA,
    }
    return RevenueRow(**{**values, **more})


# --- work -------------------------------------------------------------------------------------------


async def test_effort_is_what_is_posted_by_the_day_of_its_posting(ledger: Ledger) -> None:
    await posted(ledger, 1, 2, minutes=90)
    await ledger.take_in([line(3, minutes=30, work_date=FIRST)])
    await place(ledger, 3, posting_date=MARCH)
    await send(ledger, await claim(ledger, 2))
    await ledger.take_in([line(4)])
    await place(ledger, 4)
    found = (await ledger.efforts(CONTRACT, FIRST, LAST))["L1"]
    assert (found.minutes_to_date, found.minutes_in_period) == (180, 180), "4 is not posted, 3 is of March"
    march = (await ledger.efforts(CONTRACT, MARCH, date(2026, 3, 31)))["L1"]
    assert (march.minutes_to_date, march.minutes_in_period) == (210, 30)


async def test_what_is_taken_back_is_no_effort_any_more(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    await ledger.take_in([line(1, revision="r2", approved=False)])
    piece = await claim(ledger, 2)
    await send(ledger, piece, BatchPurpose.REVERSE_COST)
    assert (await ledger.efforts(CONTRACT, FIRST, LAST))["L1"].minutes_to_date == 60


async def test_costs_are_expenses_by_currency(ledger: Ledger) -> None:
    for number, money in ((1, eur(80)), (2, Money(amount=Decimal(9000), currency="JPY"))):
        source = RecordRef(system=PSA, type="expenses", id=str(number))
        await ledger.take_in([line(number, kind=ItemKind.EXPENSE, source=source, minutes=0, incurred=money)])
        (row,) = await ledger.items_of([f"{PSA}/expenses/{number}"])
        await ledger.place([Placed(row.id, row.key, placement(price=None))])
    await send(ledger, await claim(ledger, 1))
    found = (await ledger.efforts(CONTRACT, FIRST, LAST))["L1"]
    assert [str(one) for one in found.costs_to_date] == ["EUR 80.00", "JPY 9,000"]


async def test_delivered_is_priced_work_and_milestones_that_nothing_holds(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    await ledger.take_in([line(3)])
    await ledger.take_fees([milestone(1, amount="500"), milestone(2, amount="700", hold=HOLD)], erp=ERP)
    found = await ledger.delivered(CONTRACT, LAST)
    assert (found.minutes, found.priced) == (120, {"EUR": 70_000})
    assert (await ledger.delivered(CONTRACT, date(2026, 2, 9))).minutes == 0


async def test_billed_counts_issued_invoices_through_the_day(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    first = await draft(ledger, plan(key(1), 100))
    assert await ledger.billed_through(CONTRACT, LAST) == {}
    await issue(ledger, first)
    assert await ledger.billed_through(CONTRACT, LAST) == {"EUR": 10_000}
    assert await ledger.billed_through(CONTRACT, date(2026, 2, 27)) == {}


# --- inputs -----------------------------------------------------------------------------------------


async def test_the_same_inputs_are_sent_once_and_others_are_a_new_revision(ledger: Ledger) -> None:
    assert await ledger.progress_sent(CONTRACT, "2026-02") == (0, {})
    assert await ledger.intend_progress(CONTRACT, "2026-02", [inputs()], saga_id=SAGA) == 1
    assert await ledger.intend_progress(CONTRACT, "2026-02", [inputs()], saga_id=SAGA) == 1, "again"
    assert await ledger.progress_sent(CONTRACT, "2026-02") == (0, {}), "intended is not sent"
    await ledger.settle_progress(CONTRACT, "2026-02", 1)
    assert await ledger.intend_progress(CONTRACT, "2026-02", [inputs()], saga_id=SAGA) is None
    assert await ledger.intend_progress(CONTRACT, "2026-02", [inputs(90)], saga_id=SAGA) == 2
    await ledger.settle_progress(CONTRACT, "2026-02", 2)
    await ledger.settle_progress(CONTRACT, "2026-02", 2)
    assert await ledger.progress_sent(CONTRACT, "2026-02") == (2, {"L1": inputs(90).digest})


async def test_a_later_period_builds_on_what_was_sent(ledger: Ledger) -> None:
    await ledger.intend_progress(CONTRACT, "2026-01", [inputs(60)], saga_id=SAGA)
    assert await ledger.progress_before(CONTRACT, "2026-02") == {}, "not sent yet"
    await ledger.settle_progress(CONTRACT, "2026-01", 1)
    assert await ledger.intend_progress(CONTRACT, "2026-01", [inputs(75)], saga_id=SAGA) == 2
    await ledger.settle_progress(CONTRACT, "2026-01", 2)
    assert (await ledger.progress_before(CONTRACT, "2026-02"))["L1"].minutes_to_date == 75
    assert await ledger.progress_before(CONTRACT, "2026-01") == {}
    assert await ledger.later_period(CONTRACT, "2025-12") == "2026-01"
    assert await ledger.later_period(CONTRACT, "2026-01") is None


async def test_two_runs_do_not_send_for_one_contract_at_once(ledger: Ledger, clock: Any) -> None:
    await ledger.intend_progress(CONTRACT, "2026-02", [inputs()], saga_id=SAGA)
    with pytest.raises(Transient, match=r"NL01\.2026-02 is sending the progress") as busy:
        await ledger.intend_progress(CONTRACT, "2026-03", [inputs()], saga_id=OTHER)
    assert busy.value.failure.cause is Cause.RUN_UNDER_WAY
    clock.turn(16 * 60)
    assert await ledger.intend_progress(CONTRACT, "2026-03", [inputs()], saga_id=OTHER) == 1


async def test_a_line_has_each_revision_once(ledger: Ledger) -> None:
    await ledger.intend_progress(CONTRACT, "2026-02", [inputs()], saga_id=SAGA)
    with pytest.raises(Defect):
        async with ledger.transaction() as session:
            session.add(
                ProgressInput(
                    contract_key=CONTRACT, line_key="L1", period="2026-02", revision=1, digest="x",
                    inputs={}, saga_id=SAGA, at=ledger.now(),
                )
            )  # fmt: skip


# --- standings --------------------------------------------------------------------------------------


async def test_one_row_per_contract_and_period_the_latest_counts(ledger: Ledger) -> None:
    await ledger.put_revenue(standing())
    position = RevenueDifference(
        kind=DifferenceKind.CONTRACT_LIABILITY,
        message="m",
        worth=eur(100),
        owner=Queue.BILLING,
        next="trueup",
    )
    await ledger.put_revenue(standing(figures={"billed": eur(500)}, differences=(position,), revision=2))
    await ledger.put_revenue(
        standing("2026-01", figures={"delivered": None, "recognised": None, "deferred": None})
    )
    (row,) = await ledger.revenue_rows("2026-02", legal_entity="NL01")
    assert (row.figures.billed, row.differences, row.revision) == (eur(500), (position,), 2)
    assert row.figures.delivered == eur(500)
    (before,) = await ledger.revenue_rows("2026-01")
    assert (before.figures.delivered, before.figures.recognised) == (None, None)
    assert await ledger.revenue_rows("2026-02", legal_entity="JP01") == []


async def follow(ledger: Ledger, first: date = FIRST, last: date = LAST, **more: Any) -> list[str]:
    rows, _ = await ledger.contracts_to_follow("NL01", ERP, first, last, **more)
    return [row.contract_key for row in rows]


async def test_followed_are_contracts_of_the_entity_that_are_open_or_worked_on(ledger: Ledger) -> None:
    done, other = "006B.NL01.EUR", "006C.JP01.EUR"
    for name in (CONTRACT, done, other):
        entity = name.split(".")[1]
        await ledger.add_contract_version(agreed(name, legal_entity=entity), saga_id="o2p:1")
    elsewhere = agreed("006D.NL01.EUR", erp="netsuite-apac")
    await ledger.add_contract_version(elsewhere, saga_id="o2p:1")
    future = agreed("006E.NL01.EUR", start=MARCH)
    await ledger.add_contract_version(future, saga_id="o2p:1")
    assert await follow(ledger) == [CONTRACT, done]
    over = {"billed": eur(1000), "recognised": eur(1000), "deferred": eur(0)}
    await ledger.put_revenue(standing("2026-01", contract_key=done, figures=over))
    await ledger.put_revenue(standing("2026-01", contract_key=CONTRACT, figures=over))
    await posted(ledger, 1)
    assert await follow(ledger) == [CONTRACT], "work came since"
    assert await follow(ledger, MARCH, date(2026, 3, 31)) == ["006E.NL01.EUR"]
    held = standing("2026-01", contract_key=done, figures=over, state=SendState.HELD)
    await ledger.put_revenue(held)
    assert await follow(ledger) == [CONTRACT, done], "what is held is looked at again"


async def test_contracts_come_in_pages_by_key(ledger: Ledger) -> None:
    names = [f"006{letter}.NL01.EUR" for letter in "ABCDE"]
    for name in reversed(names):
        await ledger.add_contract_version(agreed(name), saga_id="o2p:1")
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        rows, after = await ledger.contracts_to_follow("NL01", ERP, FIRST, LAST, after=after, limit=2)
        found += [row.contract_key for row in rows]
    assert found == names
