"""What rates find in the ledger, and what repricing leaves alone: what people hold, what is billed."""

from __future__ import annotations

from datetime import date

import pytest

from canonical.causes import Cause
from canonical.items import AllocationKind, FeeItem, ItemKind, Price
from canonical.names import fee_source, item_key
from ledger.fees import NewPrice
from ledger.store import Ledger
from tests.ledger.billing import (
    CONTRACT,
    DAY,
    ERP,
    GROUP,
    GROUP_KEY,
    PSA,
    draft,
    eur,
    get,
    issue,
    key,
    line,
    plan,
    posted,
    rows,
)

pytestmark = pytest.mark.anyio


def adjustment(item: str, amount: str = "10") -> FeeItem:
    return FeeItem(
        kind=ItemKind.ADJUSTMENT,
        source=fee_source("adjustment", CONTRACT, f"{item}/rate-2"),
        region="emea",
        contract_key=CONTRACT,
        line_key="L1",
        project_code="PRJ-1",
        legal_entity="NL01",
        day=DAY,
        amount=eur(amount),
        title="Rate",
        group=GROUP,
        group_key=GROUP_KEY,
        adjusts=item,
    )


async def price(ledger: Ledger, item: str, minutes: int, amount: str) -> int:
    old = (await get(ledger, item)).rate
    return await ledger.reprice([NewPrice(item, minutes, Price(amount=eur(amount), rate=old), "backdated")])


async def test_unbilled_and_billed_parts_of_an_item_are_told_apart(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    document = await draft(ledger, plan(key(1), "40", 24))
    (one, other) = (await ledger.rated(CONTRACT)).rows
    assert (one.unbilled_minutes, one.unbilled, one.billed, one.busy) == (60, eur("100"), (), False)
    await issue(ledger, document)
    (one, other) = (await ledger.rated(CONTRACT)).rows
    assert (one.unbilled_minutes, one.unbilled, one.settled) == (36, eur("60"), eur("40"))
    (part,) = one.billed
    assert (part.allocation.minutes, part.allocation.amount) == (24, eur("40"))
    assert (other.unbilled_minutes, other.billed) == (60, ())
    page = await ledger.rated(CONTRACT, limit=1)
    assert [row.item.key for row in page.rows] == [key(1)]
    assert page.cursor is not None


async def test_a_part_on_an_invoice_that_is_being_issued_is_left_alone(ledger: Ledger) -> None:
    await posted(ledger, 1)
    document = await draft(ledger, plan(key(1), "100"))
    drafted = await ledger.record_draft(document.key, document.version, None)
    await ledger.release_document(document.key, drafted.version)
    (one,) = (await ledger.rated(CONTRACT)).rows
    assert (one.busy, one.unbilled_minutes, one.billed) == (True, 0, ())


async def test_what_a_person_holds_stays_held_at_its_new_worth(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    await ledger.allocate(
        [
            plan(
                key(1),
                "40",
                24,
                kind=AllocationKind.HELD,
                cause=Cause.MOVED_TO_LATER_CYCLE,
                reason="later",
                until=date(2026, 3, 1),
            ),
            plan(key(2), "100", kind=AllocationKind.HELD, cause=Cause.OVER_CAP),
        ]
    )
    assert await price(ledger, key(1), 60, "150") == 1
    assert await price(ledger, key(2), 60, "150") == 1
    moved, capped = await get(ledger, key(1)), await get(ledger, key(2))
    assert (moved.open, moved.held, moved.open_minutes) == (eur("90"), eur("60"), 36)
    last = (await ledger.allocations(key(1)))[-1]
    assert (last.cause, last.reason, last.until) == (
        Cause.MOVED_TO_LATER_CYCLE,
        "later",
        date(2026, 3, 1),
    )
    assert (capped.open, capped.held) == (eur("150"), eur("0")), "limits are decided anew"


async def test_an_adjustment_goes_with_the_work_that_it_adjusts(ledger: Ledger) -> None:
    """What adjusts withdrawn work is not billed, or credited with it; it comes back with the work."""
    await posted(ledger, 1, 2)
    await issue(ledger, await draft(ledger, plan(key(1), "100"), plan(key(2), "100")))
    fees = [adjustment(key(1)), adjustment(key(2))]
    await ledger.take_fees(fees, erp=ERP)
    mine, other = (item_key(fee.source, fee.revision) for fee in fees)
    found = await ledger.adjustments(CONTRACT)
    assert {item: [one.item.key for one in own] for item, own in found.items()} == {
        key(1): [mine],
        key(2): [other],
    }
    await issue(ledger, await draft(ledger, plan(mine, "10", 0), cycle="2026-03"))
    edited = line(1, minutes=30, revision="r2")
    await ledger.take_in([edited])
    assert (await get(ledger, mine)).withdrawn == "edited"
    assert (await get(ledger, other)).withdrawn is None
    credited = {row.item.key for row in await ledger.billed_lines(withdrawn=True)}
    assert credited == {key(1), mine}
    back = line(1, revision="r3", changed_at=edited.changed_at.replace(hour=10))
    await ledger.take_in([back])
    assert (await get(ledger, key(1))).withdrawn is None
    assert (await get(ledger, mine)).withdrawn is None


async def test_an_adjustment_that_is_not_billed_goes_too(ledger: Ledger) -> None:
    await posted(ledger, 1)
    await issue(ledger, await draft(ledger, plan(key(1), "100")))
    await ledger.take_fees([adjustment(key(1))], erp=ERP)
    await ledger.take_out([f"{PSA}/time_entries/1"])
    (one,) = await rows(ledger, kinds=[ItemKind.ADJUSTMENT])
    assert (one.withdrawn, one.open) == ("deleted", eur("0"))


async def test_how_far_the_erps_value_is_behind(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    await price(ledger, key(1), 60, "125")
    await price(ledger, key(1), 60, "130")
    ids = {row.key: row.id for row in await rows(ledger)}
    assert await ledger.repriced_since_posting(ids.values()) == {ids[key(1)]: 3000}
