"""An item's amount is always somewhere, and a part is taken once: by constraint (rule 1)."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import insert, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from canonical.batches import BatchPurpose
from canonical.causes import Cause
from canonical.failures import Conflict, Defect
from canonical.items import AllocationKind, BillingState, LimitUse, RetainerDraw
from canonical.retainers import Movement, MovementKind
from ledger.store import Ledger
from ledger.tables import Allocation, BillableItem, CapUse, RetainerMovement
from tests.ledger.billing import DAY, claim, draft, eur, get, issue, key, plan, posted, send
from tests.ledger.evidence import one_row_of_each
from tests.ledger.subject import Clock

pytestmark = pytest.mark.anyio

CAP = "cap/006A.NL01.EUR/contract/"
ACCOUNT = "retainer/006A.NL01.EUR/L1"


def use(amount: str, limit: str = "150") -> LimitUse:
    return LimitUse(key=CAP, amount=eur(amount), limit=eur(limit))


def advance(amount: str = "150", lot: str = "2026-02", on: date = DAY) -> Movement:
    return Movement(
        key=f"{ACCOUNT}/billed/{lot}",
        account=ACCOUNT,
        kind=MovementKind.BILLED,
        lot=lot,
        on=on,
        amount=eur(amount),
    )


def drawn(amount: str, lot: str = "2026-02") -> RetainerDraw:
    return RetainerDraw(account=ACCOUNT, lot=lot, amount=eur(amount))


async def where(ledger: Ledger, item: str) -> tuple[int, ...]:
    """Open, held, drafted, billed in minor units, and open minutes."""
    row = await get(ledger, item)
    assert row.open is not None
    assert row.held is not None
    assert row.drafted is not None
    assert row.billed is not None
    return row.open.minor, row.held.minor, row.drafted.minor, row.billed.minor, row.open_minutes


async def test_a_split_line_is_in_three_places(ledger: Ledger) -> None:
    await posted(ledger, 1)
    held = plan(key(), "30", 18, kind=AllocationKind.HELD, cause=Cause.OVER_CAP, reason="cap")
    document = await draft(ledger, plan(key(), "50", 30), held)
    assert (document.lines, document.net.minor, document.version) == (1, 5_000, 1)
    assert await where(ledger, key()) == (2_000, 3_000, 5_000, 0, 12)
    assert (await get(ledger, key())).billing is BillingState.UNBILLED
    await ledger.allocate([plan(key(), "20", 12, kind=AllocationKind.WRITTEN_DOWN, reason="goodwill")])
    assert (await get(ledger, key())).billing is BillingState.HELD
    await issue(ledger, document)
    assert await where(ledger, key()) == (0, 3_000, 0, 5_000, 0)
    parts = await ledger.allocations(key())
    assert [(one.part, one.kind.value, one.amount.minor) for one in parts] == [
        (1, "billed", 5_000),
        (2, "held", 3_000),
        (3, "written_down", 2_000),
    ]


async def test_what_is_not_open_is_not_allocated(ledger: Ledger) -> None:
    await posted(ledger, 1)
    await ledger.allocate([plan(key(), "60", 36, kind=AllocationKind.WRITTEN_DOWN)])
    with pytest.raises(Conflict, match="less open") as caught:
        await ledger.allocate([plan(key(), "60", 24, kind=AllocationKind.WRITTEN_DOWN)])
    assert caught.value.failure.cause is Cause.VERSION_CONFLICT
    assert await where(ledger, key()) == (4_000, 0, 0, 0, 24)


async def test_withdrawn_and_held_items_are_not_allocated(ledger: Ledger) -> None:
    await posted(ledger, 1)
    await ledger.take_out(["kantata-main/time_entries/1"])
    with pytest.raises(Conflict, match="withdrawn"):
        await ledger.allocate([plan(key(), "100", kind=AllocationKind.HELD, cause=Cause.OVER_CAP)])


async def test_a_hold_that_ends_frees_its_part_and_its_next_part_has_another_number(ledger: Ledger) -> None:
    await posted(ledger, 1)
    held = plan(key(), "100", kind=AllocationKind.HELD, cause=Cause.OVER_CAP, reason="cap")
    await ledger.allocate([held])
    assert (await get(ledger, key())).billing is BillingState.HELD
    assert await ledger.release_held(causes=[Cause.PURCHASE_ORDER_EXPIRED]) == 0
    assert await ledger.release_held(causes=[Cause.OVER_CAP]) == 1
    assert await ledger.release_held(causes=[Cause.OVER_CAP]) == 0
    assert (await get(ledger, key())).billing is BillingState.UNBILLED
    await ledger.allocate([held])
    assert [(one.part, one.release_no, one.amount.minor) for one in await ledger.allocations(key())] == [
        (1, 0, 10_000),
        (1, 1, -10_000),
        (2, 0, 10_000),
    ]


async def test_what_was_moved_to_a_later_cycle_comes_back_by_itself(ledger: Ledger) -> None:
    await posted(ledger, 1)
    moved = plan(
        key(), "100", kind=AllocationKind.HELD, cause=Cause.MOVED_TO_LATER_CYCLE, until=date(2026, 3, 1)
    )
    await ledger.allocate([moved])
    assert await ledger.release_held(due_by=date(2026, 2, 28)) == 0
    assert await ledger.release_held(due_by=date(2026, 3, 1)) == 1


# --- accounts -------------------------------------------------------------------------------------------


async def test_a_cap_is_used_in_the_same_transaction_and_never_overdrawn(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    await draft(ledger, plan(key(1), "100", uses=(use("100"),)))
    with pytest.raises(Conflict, match="used up"):
        await draft(ledger, plan(key(2), "100", uses=(use("100"),)), cycle="2026-03")
    assert await where(ledger, key(2)) == (10_000, 0, 0, 0, 60), "all of it was taken back"
    balances = await ledger.account_balances([CAP])
    assert balances.used[CAP] == eur("100")
    await draft(ledger, plan(key(2), "50", 30, uses=(use("50"),)), cycle="2026-03")


async def test_a_draft_that_is_given_up_frees_its_cap(ledger: Ledger) -> None:
    await posted(ledger, 1)
    document = await draft(ledger, plan(key(1), "100", uses=(use("100"),)))
    await ledger.abandon_document(document.key, "cancelled")
    assert (await ledger.account_balances([CAP])).used[CAP] == eur(0)
    assert await where(ledger, key()) == (10_000, 0, 0, 0, 60)


async def test_a_lowered_limit_refuses_more_and_lets_give_back(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    document = await draft(ledger, plan(key(1), "100", uses=(use("100"),)))
    with pytest.raises(Conflict):
        await draft(ledger, plan(key(2), "1", 1, uses=(use("1", limit="80"),)), cycle="2026-03")
    await ledger.abandon_document(document.key, "cancelled")
    assert (await ledger.account_balances([CAP])).used[CAP] == eur(0)


async def test_a_draw_takes_from_its_lot_and_is_returned_to_it(ledger: Ledger) -> None:
    await posted(ledger, 1)
    assert await ledger.add_movements([advance()]) == 1
    assert await ledger.add_movements([advance()]) == 0, "the same movement again"
    covered = plan(key(), "100", kind=AllocationKind.COVERED, document=ACCOUNT, draws=(drawn("100"),))
    await ledger.allocate([covered])
    (lot,) = (await ledger.account_balances(retainers=[ACCOUNT])).lots[ACCOUNT]
    assert (lot.lot, lot.balance) == ("2026-02", eur("50"))
    await ledger.take_out(["kantata-main/time_entries/1"])
    await send(ledger, await claim(ledger, 5), BatchPurpose.REVERSE_COST)
    (lot,) = (await ledger.account_balances(retainers=[ACCOUNT])).lots[ACCOUNT]
    assert lot.balance == eur("150")
    kinds = [one.kind for one in await ledger.movements(ACCOUNT)]
    assert kinds == [MovementKind.BILLED, MovementKind.DRAWN, MovementKind.RETURNED]


async def test_a_retainer_is_never_negative(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    await ledger.add_movements([advance("150")])
    one = plan(key(1), "100", kind=AllocationKind.COVERED, document=ACCOUNT, draws=(drawn("100"),))
    await ledger.allocate([one])
    two = plan(key(2), "100", kind=AllocationKind.COVERED, document=ACCOUNT, draws=(drawn("100"),))
    with pytest.raises(Conflict, match="has not"):
        await ledger.allocate([two])
    assert (await get(ledger, key(2))).open == eur("100")


async def test_lots_know_how_often_they_rolled_over(ledger: Ledger) -> None:
    await ledger.add_movements([advance()])
    rolled = advance().model_copy(update={"key": "r1", "kind": MovementKind.ROLLED_OVER, "amount": eur(0)})
    await ledger.add_movements([rolled])
    await ledger.add_movements([rolled])
    (lot,) = (await ledger.account_balances(retainers=[ACCOUNT])).lots[ACCOUNT]
    assert (lot.rolled_over, lot.balance) == (1, eur("150"))


async def test_balances_are_locked_only_inside_a_transaction(ledger: Ledger) -> None:
    with pytest.raises(Defect, match="outside a transaction"):
        await ledger.account_balances([CAP], lock=True)


# --- the database's own word ----------------------------------------------------------------------------


async def refused(ledger: Ledger, statement: object) -> None:
    """The database refuses a statement of somebody who goes round the ledger's methods."""
    with pytest.raises((Defect, IntegrityError, DBAPIError)):
        async with ledger.transaction() as session:
            await (await session.connection()).execute(statement)  # type: ignore[call-overload]


def allocation(clock: Clock, **more: object) -> dict[str, object]:
    values: dict[str, object] = {
        "allocation_key": "x",
        "item_id": 1,
        "part": 1,
        "release_no": 0,
        "kind": "held",
        "minutes": 0,
        "amount_minor": 1,
        "currency": "EUR",
        "part_minor": 1,
        "left_minor": 1,
        "left_minutes": 0,
        "at": clock(),
    }
    return {**values, **more}


async def test_a_second_live_allocation_of_a_part_is_refused(ledger: Ledger, clock: Clock) -> None:
    await posted(ledger, 1)
    await draft(ledger, plan(key(), "100"))
    await refused(ledger, insert(Allocation).values(allocation(clock)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"part": 2, "kind": "credited"},
        {"part": 2, "release_no": 1, "kind": "billed"},
        {"part": 2, "left_minor": 2},
        {"part": 2, "left_minor": -1},
        {"part": 2, "part_minor": -1, "left_minor": 1},
        {"part": 2, "item_id": 99},
    ],
    ids=["credit of nothing", "release that takes", "more left", "negative", "signs", "no item"],
)
async def test_an_impossible_allocation_is_refused(
    ledger: Ledger, clock: Clock, wrong: dict[str, object]
) -> None:
    await posted(ledger, 1)
    await refused(ledger, insert(Allocation).values(allocation(clock, **wrong)))


async def test_a_possible_row_is_accepted(ledger: Ledger, clock: Clock) -> None:
    """The refusals above and below are about what is wrong, not about how the row is written."""
    await posted(ledger, 1)
    async with ledger.transaction() as session:
        connection = await session.connection()
        await connection.execute(insert(Allocation).values(allocation(clock)))
        await connection.execute(insert(CapUse).values(cap_row(clock)))
        await connection.execute(insert(RetainerMovement).values(movement_row(clock)))
        await connection.execute(update(BillableItem).values(open_minor=9_999, billed_minor=1))


async def test_an_amount_that_is_nowhere_or_in_two_places_is_refused(ledger: Ledger) -> None:
    await posted(ledger, 1)
    for values in ({"open_minor": 9_999}, {"billed_minor": 1}, {"open_minor": 10_001, "held_minor": -1}):
        await refused(ledger, update(BillableItem).values(values))


async def test_an_overdrawn_account_is_refused(ledger: Ledger, clock: Clock) -> None:
    await refused(ledger, insert(CapUse).values(cap_row(clock, limit_minor=9)))
    await refused(ledger, insert(CapUse).values(cap_row(clock, amount_minor=-1, used_minor=-1)))
    await refused(ledger, insert(RetainerMovement).values(movement_row(clock, lot_minor=-1)))
    await refused(ledger, insert(RetainerMovement).values(movement_row(clock, balance_minor=-1)))


async def test_two_rows_of_one_number_are_refused(ledger: Ledger, clock: Clock) -> None:
    async with ledger.transaction() as session:
        connection = await session.connection()
        await connection.execute(insert(CapUse).values(cap_row(clock)))
        await connection.execute(insert(RetainerMovement).values(movement_row(clock)))
    await refused(ledger, insert(CapUse).values(cap_row(clock, entry_key="b")))
    await refused(ledger, insert(RetainerMovement).values(movement_row(clock, movement_key="n")))


def cap_row(clock: Clock, **more: object) -> dict[str, object]:
    values: dict[str, object] = {
        "cap_key": CAP,
        "number": 1,
        "entry_key": "a",
        "amount_minor": 10,
        "used_minor": 10,
        "limit_minor": 10,
        "currency": "EUR",
        "at": clock(),
    }
    return {**values, **more}


def movement_row(clock: Clock, **more: object) -> dict[str, object]:
    values: dict[str, object] = {
        "account": ACCOUNT,
        "number": 1,
        "movement_key": "m",
        "kind": "drawn",
        "lot": "2026-02",
        "lot_opened_on": DAY,
        "on_day": DAY,
        "amount_minor": -1,
        "lot_minor": 0,
        "balance_minor": 0,
        "currency": "EUR",
        "at": clock(),
    }
    return {**values, **more}


@pytest.mark.parametrize(
    "table",
    [
        "allocation",
        "cap_use",
        "opening_position",
        "posting",
        "rate_version",
        "repricing",
        "retainer_movement",
    ],
)
async def test_evidence_is_neither_changed_nor_deleted(ledger: Ledger, table: str) -> None:
    await one_row_of_each(ledger)
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET id = id"):
        with pytest.raises((Defect, DBAPIError), match="append-only"):
            async with ledger.transaction() as session:
                await (await session.connection()).execute(text(statement))


async def test_two_current_revisions_of_a_source_are_refused(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    await refused(ledger, update(BillableItem).values(source="kantata-main/time_entries/1"))
