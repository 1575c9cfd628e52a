"""Two writers for one cap, retainer, item, piece or invoice: never both, never more than there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date

import pytest

from canonical.batches import BatchPurpose
from canonical.failures import Conflict
from canonical.invoicing import Freed
from canonical.items import AllocationKind, LimitUse, PlannedAllocation, RetainerDraw
from canonical.retainers import Movement, MovementKind
from ledger.billing_rows import BatchClaimState
from ledger.personal import AesGcmSealer
from ledger.store import Ledger
from tests.ledger.billing import (
    DAY,
    ERP,
    GROUP,
    GROUP_KEY,
    PSA,
    billed,
    claim,
    draft,
    eur,
    get,
    issue,
    key,
    line,
    place,
    plan,
    posted,
    rows,
    told,
)
from tests.ledger.subject import Clock
from tests.ledger.test_documents import proposal

pytestmark = pytest.mark.anyio

CAP, ACCOUNT = "cap/c/contract/", "retainer/c/l"
MANY = 12


@pytest.fixture
async def pair(ledger: Ledger, ledger_url: str, clock: Clock) -> AsyncIterator[tuple[Ledger, Ledger]]:
    """Two ledgers on one database: they share no lock but the database's."""
    second = await Ledger.open(ledger_url, clock=clock, sealer=AesGcmSealer(b"k" * 32))
    yield ledger, second
    await second.close()


async def all_of(*work: object) -> list[object]:
    """Everybody at once; a conflict is an answer."""
    answers = await asyncio.gather(*work, return_exceptions=True)  # type: ignore[call-overload]
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, Conflict):
            raise answer
    return list(answers)


def won(answers: list[object]) -> int:
    return sum(not isinstance(answer, Conflict) for answer in answers)


async def test_one_cap_for_many_lines_is_used_to_the_cent(pair: tuple[Ledger, Ledger]) -> None:
    numbers = range(1, MANY + 1)
    await posted(pair[0], *numbers)
    use = LimitUse(key=CAP, amount=eur("100"), limit=eur("500"))

    def one(number: int) -> PlannedAllocation:
        return plan(key(number), "100", kind=AllocationKind.COVERED, uses=(use,))

    answers = await all_of(*(pair[number % 2].allocate([one(number)]) for number in numbers))
    assert won(answers) == 5
    assert (await pair[0].account_balances([CAP])).used[CAP] == eur("500")
    covered = [row for row in await rows(pair[0]) if row.open == eur(0)]
    assert len(covered) == 5, "who was refused has nothing allocated"


async def test_one_retainer_for_many_lines_is_never_negative(pair: tuple[Ledger, Ledger]) -> None:
    numbers = range(1, MANY + 1)
    await posted(pair[0], *numbers)
    billed_in_advance = Movement(
        key="adv", account=ACCOUNT, kind=MovementKind.BILLED, lot="2026-02", on=DAY, amount=eur("450")
    )
    answers = await all_of(*(pair[n % 2].add_movements([billed_in_advance]) for n in range(6)))
    assert sorted(answers) == [0, 0, 0, 0, 0, 1]  # type: ignore[type-var]
    draw = RetainerDraw(account=ACCOUNT, lot="2026-02", amount=eur("100"))

    def one(number: int) -> PlannedAllocation:
        return plan(key(number), "100", kind=AllocationKind.COVERED, document=ACCOUNT, draws=(draw,))

    answers = await all_of(*(pair[number % 2].allocate([one(number)]) for number in numbers))
    assert won(answers) == 4
    (lot,) = (await pair[0].account_balances(retainers=[ACCOUNT])).lots[ACCOUNT]
    assert lot.balance == eur("50")


async def test_one_item_is_allocated_once(pair: tuple[Ledger, Ledger]) -> None:
    await posted(pair[0], 1)
    wanted = plan(key(1), "100", kind=AllocationKind.WRITTEN_DOWN)
    answers = await all_of(*(pair[n % 2].allocate([wanted]) for n in range(MANY)))
    assert won(answers) == 1
    assert len(await pair[0].allocations(key(1))) == 1


async def test_two_runs_of_one_group_share_one_draft(pair: tuple[Ledger, Ledger]) -> None:
    await posted(pair[0], 1)

    async def open_it(ledger: Ledger, run: int) -> str:
        document = await ledger.open_document(
            GROUP,
            GROUP_KEY,
            "2026-02",
            target=ERP,
            region="emea",
            saga_id=f"bill:{run}",
            on=date(2026, 2, 28),
        )
        return document.key

    keys = await asyncio.gather(*(open_it(pair[n % 2], n) for n in range(8)))
    assert len(set(keys)) == 1
    lines = [plan(key(1), "100", document=keys[0])]
    answers = await all_of(
        *(pair[n % 2].fill_document(keys[0], lines, command_id=f"run-{n}") for n in range(6))
    )
    assert won(answers) == 1
    document = await pair[0].document(keys[0])
    assert document is not None
    assert document.net == billed("100")


async def test_a_draft_is_released_or_changed_and_not_both(pair: tuple[Ledger, Ledger]) -> None:
    await posted(pair[0], *range(1, 9))
    for number in range(1, 9):
        document = await draft(pair[0], plan(key(number), "100"))
        await pair[0].record_draft(document.key, 1, told(billed("100")))
        withdrawn, released = await all_of(
            pair[0].take_out([f"{PSA}/time_entries/{number}"]), pair[1].release_document(document.key, 1)
        )
        assert not isinstance(withdrawn, Conflict)
        row = await get(pair[0], key(number))
        assert row.withdrawn == "deleted"
        if isinstance(released, Conflict):
            assert await pair[0].drop_withdrawn(document.key) == 1
        else:
            issued = await pair[0].issue_document(document.key, told(billed("100")))
            assert issued.net == billed("100")
            (due,) = await pair[0].billed_lines([key(number)], withdrawn=True)
            assert due.billed == billed("100"), "released before: a credit is due"


async def test_issued_twice_at_once_is_billed_once(pair: tuple[Ledger, Ledger]) -> None:
    await posted(pair[0], 1)
    document = await draft(pair[0], plan(key(1), "100"))
    await pair[0].record_draft(document.key, 1, told(billed("100")))
    await pair[0].release_document(document.key, 1)
    answers = await all_of(*(pair[n % 2].issue_document(document.key, told(billed("100"))) for n in range(6)))
    assert won(answers) == 6
    row = await get(pair[0], key(1))
    assert (row.billed, row.drafted, row.open) == (eur("100"), eur(0), eur(0))


async def test_pieces_of_one_route_share_no_item(pair: tuple[Ledger, Ledger]) -> None:
    await pair[0].take_in([line(number) for number in range(1, 101)])
    pieces = await asyncio.gather(*(claim(pair[n % 2], n, limit=30) for n in range(1, 6)))
    members = [[row.key for row in await rows(pair[0], piece=piece)] for piece in pieces]
    everything = [item for piece in members for item in piece]
    assert len(everything) == len(set(everything)) == 100
    assert max(len(piece) for piece in members) <= 30


async def test_batches_formed_by_two_at_once_are_the_same(pair: tuple[Ledger, Ledger]) -> None:
    await pair[0].take_in([line(number) for number in range(1, 41)])
    await place(pair[0], *range(1, 41))
    piece = await claim(pair[0])
    formed = await asyncio.gather(
        *(pair[n % 2].form_batches(piece, BatchPurpose.POST_COST, ERP, size=10) for n in range(6))
    )
    assert all(batches == formed[0] for batches in formed)
    assert sum(batch.lines for batch in formed[0]) == 40
    key_ = formed[0][0].key
    until = pair[0].now().replace(hour=13)
    claims = await asyncio.gather(*(pair[n % 2].submit_batch(key_, f"a{n}", until) for n in range(10)))
    states = [one.state for one in claims]
    assert states.count(BatchClaimState.SEND) == 1
    assert states.count(BatchClaimState.BUSY) == 9


async def test_one_page_taken_in_by_two_at_once_makes_each_item_once(pair: tuple[Ledger, Ledger]) -> None:
    page = [line(number) for number in range(1, 51)]
    answers = await asyncio.gather(
        *(pair[n % 2].take_in(page, cursor=("kantata|time", f"c{n}")) for n in range(6))
    )
    assert sum(one.new for one in answers) == 50
    assert len(await rows(pair[0])) == 50


async def test_one_credit_of_an_invoice_wins(pair: tuple[Ledger, Ledger]) -> None:

    await posted(pair[0], 1)
    invoice = await issue(pair[0], await draft(pair[0], plan(key(1), "100")))
    wanted = [
        await proposal(pair[0], invoice, key(1), "60", 36, Freed.UNBILLED, number) for number in range(1, 7)
    ]
    answers = await all_of(
        *(pair[n % 2].propose_credit(one, saga_id=f"cr:{n}") for n, one in enumerate(wanted))
    )
    assert won(answers) == 1
