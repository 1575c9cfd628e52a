"""Posted work for margin: what stands as cost, by worker and day (rule 42)."""

from __future__ import annotations

from datetime import date

import pytest

from canonical.batches import BatchPurpose
from canonical.items import ItemKind
from canonical.margin import PostedWork, WorkedTime
from canonical.refs import RecordRef
from ledger.items import Placed
from ledger.store import Ledger
from tests.ledger.billing import (
    CONTRACT,
    DAY,
    ERP,
    PSA,
    claim,
    eur,
    line,
    place,
    placement,
    posted,
    send,
)

pytestmark = pytest.mark.anyio


def worked(worker: str, minutes: int, day: date = DAY) -> WorkedTime:
    return WorkedTime(CONTRACT, PSA, ERP, worker, day, minutes)


async def test_posted_time_counts_by_worker_and_work_date(ledger: Ledger) -> None:
    await posted(ledger, 1, 2, minutes=90)
    march = date(2026, 3, 1)
    await ledger.take_in([line(3, minutes=30, work_date=march)])
    await ledger.take_in([line(4, minutes=20, worker=RecordRef(system=PSA, type="users", id="8"))])
    await place(ledger, 3, 4)
    await send(ledger, await claim(ledger, 2))
    await ledger.take_in([line(5)])
    await place(ledger, 5)
    found = await ledger.posted_work([CONTRACT, "another"])
    assert set(found.time) == {worked("7", 180), worked("7", 30, march), worked("8", 20)}, "5 is not posted"
    assert not found.billed_by_others
    assert await ledger.posted_work(["another"]) == await ledger.posted_work([]) == PostedWork()


async def test_what_is_taken_back_costs_nothing_any_more(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    await ledger.take_in([line(1, revision="r2", approved=False)])
    assert (await ledger.posted_work([CONTRACT])).time == (worked("7", 120),), "it still stands in the ERP"
    await send(ledger, await claim(ledger, 2), BatchPurpose.REVERSE_COST)
    assert (await ledger.posted_work([CONTRACT])).time == (worked("7", 60),)


async def test_expenses_by_currency_and_work_that_others_bill(ledger: Ledger) -> None:
    for number in (1, 2):
        source = RecordRef(system=PSA, type="expenses", id=str(number))
        one = line(number, kind=ItemKind.EXPENSE, source=source, minutes=0, incurred=eur(80))
        await ledger.take_in([one])
        (row,) = await ledger.items_of([one.source_key])
        await ledger.place([Placed(row.id, row.key, placement(price=None))])
    await send(ledger, await claim(ledger, 1))
    found = await ledger.posted_work([CONTRACT])
    assert [(key, str(amount)) for key, amount in found.expenses] == [(CONTRACT, "EUR 160.00")]
    assert (found.time, found.billed_by_others) == ((), False)
    await ledger.take_in([line(3)])
    await place(ledger, 3, posts_cost=False)
    found = await ledger.posted_work([CONTRACT])
    assert (found.time, found.billed_by_others) == ((), True)
