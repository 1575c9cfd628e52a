"""Invoices: drafted, reviewed, issued, credited; net is the sum of the live parts (rules 24, 38, 39)."""

from __future__ import annotations

from datetime import date

import pytest

from canonical.batches import BatchPurpose
from canonical.causes import Cause, Queue
from canonical.failures import Conflict, Defect
from canonical.invoicing import (
    AdjustmentCause,
    CreditPart,
    CreditProposal,
    DocumentState,
    Freed,
)
from canonical.items import AllocationKind, BillingState, CostState, Hold, ItemKind, LimitUse, Price
from canonical.names import credit_key, item_key
from ledger.billing_rows import DocumentRow
from ledger.drafts import PartChange
from ledger.fees import NewPrice
from ledger.store import Ledger
from tests.ledger.billing import (
    DAY,
    ERP,
    GROUP,
    GROUP_KEY,
    HOLD,
    PSA,
    billed,
    claim,
    draft,
    eur,
    get,
    issue,
    key,
    line,
    milestone,
    place,
    placement,
    plan,
    posted,
    send,
    told,
)
from tests.ledger.test_allocations import CAP, use, where

pytestmark = pytest.mark.anyio

THROUGH = date(2026, 2, 28)


async def test_an_open_draft_is_found_again_and_an_issued_one_has_a_next_sequence(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    first = await draft(ledger, plan(key(1), "100"))
    assert (first.key, first.sequence) == (f"{GROUP_KEY}/2026-02/1", 1)
    assert (
        await ledger.open_document(
            GROUP, GROUP_KEY, "2026-02", target=ERP, region="emea", saga_id="bill:2", on=THROUGH
        )
    ).key == first.key
    assert await ledger.invoiced_cycles(GROUP_KEY) == frozenset()
    await issue(ledger, first)
    assert await ledger.invoiced_cycles(GROUP_KEY) == {"2026-02"}
    assert (await draft(ledger, plan(key(2), "100"))).sequence == 2


async def test_filling_again_changes_nothing(ledger: Ledger) -> None:
    await posted(ledger, 1)
    first = await draft(ledger, plan(key(1), "100"))
    assert await draft(ledger, plan(key(1), "100")) == first
    assert [one.key for one in await ledger.documents(group_key=GROUP_KEY)] == [first.key]


async def test_a_draft_without_lines_is_given_up(ledger: Ledger) -> None:
    await posted(ledger, 1)
    held = plan(key(1), "100", kind=AllocationKind.HELD, cause=Cause.OVER_CAP)
    assert (await draft(ledger, held)).state is DocumentState.ABANDONED


async def test_from_draft_to_issue(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    document = await draft(ledger, plan(key(1), "100"), plan(key(2), "40", 24))
    assert document.state is DocumentState.DRAFTING
    drafted = await ledger.record_draft(document.key, document.version, told(billed("140")))
    assert (drafted.state, drafted.in_step, drafted.record_id) == (DocumentState.DRAFTED, True, "880")
    released = await ledger.release_document(document.key, drafted.version)
    assert released.state is DocumentState.RELEASED
    issued = await ledger.issue_document(document.key, told(billed("140")))
    assert (issued.state, issued.number, issued.net) == (DocumentState.ISSUED, "INV-1", billed("140"))
    assert await ledger.issue_document(document.key, told(billed("140"))) == issued
    assert (await get(ledger, key(1))).billing is BillingState.BILLED
    assert await where(ledger, key(2)) == (6_000, 0, 0, 4_000, 36)
    lines = await ledger.document_lines(document.key)
    assert [(one.item.key, one.billed.minor) for one in lines] == [(key(1), 10_000), (key(2), 4_000)]


async def test_what_is_on_a_draft_is_not_selected_again(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    await draft(ledger, plan(key(1), "100"))
    assert [row.key for row in await ledger.billable_items(GROUP_KEY, THROUGH)] == [key(2)]
    (group,) = await ledger.due_groups(ERP, THROUGH)
    assert (group.group_key, group.group, group.days[0].items) == (GROUP_KEY, GROUP, 1)
    assert await ledger.due_groups(ERP, date(2026, 2, 9)) == []
    assert await ledger.due_groups(ERP, THROUGH, after=GROUP_KEY) == []


# --- review ---------------------------------------------------------------------------------------------


async def part_of(ledger: Ledger, document: DocumentRow, item: str) -> str:
    lines = await ledger.document_lines(document.key)
    return next(one.allocation.key for one in lines if one.item.key == item)


async def test_a_review_holds_writes_down_and_keeps(ledger: Ledger) -> None:
    await posted(ledger, 1, 2, 3)
    document = await draft(
        ledger,
        *(plan(key(number), "100", uses=(use("100", limit="1000"),)) for number in (1, 2, 3)),
    )
    hold = plan(key(1), "100", kind=AllocationKind.HELD, cause=Cause.UNDER_REVIEW, reason="check")
    keep = plan(key(2), "70", 42, document=document.key, uses=(use("70", limit="1000"),))
    down = plan(key(2), "30", 18, kind=AllocationKind.WRITTEN_DOWN, reason="goodwill")
    changes = [
        PartChange(await part_of(ledger, document, key(1)), (hold,)),
        PartChange(await part_of(ledger, document, key(2)), (keep, down)),
    ]
    reviewed = await ledger.change_document(document.key, changes, command_id="c1", expected_version=1)
    assert (reviewed.version, reviewed.lines, reviewed.net) == (2, 2, billed("170"))
    assert await ledger.change_document(document.key, changes, command_id="c1") == reviewed
    assert (await ledger.account_balances([CAP])).used[CAP] == eur("170")
    assert await where(ledger, key(1)) == (0, 10_000, 0, 0, 0)
    assert await where(ledger, key(2)) == (0, 0, 7_000, 0, 0)
    with pytest.raises(Conflict, match="is at version 2"):
        await ledger.change_document(document.key, [], command_id="c2", expected_version=1)
    with pytest.raises(Conflict, match="not on draft"):
        await ledger.change_document(document.key, changes[:1], command_id="c3")


async def test_parts_that_do_not_add_up_are_refused(ledger: Ledger) -> None:
    await posted(ledger, 1)
    document = await draft(ledger, plan(key(1), "100"))
    change = PartChange(await part_of(ledger, document, key(1)), (plan(key(1), "99"),))
    with pytest.raises(Defect, match="do not add up"):
        await ledger.change_document(document.key, [change], command_id="c1")
    assert await where(ledger, key(1)) == (0, 0, 10_000, 0, 0)


async def test_a_draft_that_changed_is_drafted_again_before_it_is_released(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    document = await draft(ledger, plan(key(1), "100"), plan(key(2), "100"))
    drafted = await ledger.record_draft(document.key, 1, told(billed("200")))
    await ledger.take_in([line(2, minutes=30, revision="r2")])
    with pytest.raises(Conflict, match="lines were withdrawn"):
        await ledger.release_document(document.key, drafted.version)
    assert await ledger.drop_withdrawn(document.key) == 1
    assert await ledger.drop_withdrawn(document.key) == 0
    changed = await ledger.document(document.key)
    assert changed is not None
    assert (changed.state, changed.version, changed.net, changed.in_step) == (
        DocumentState.DRAFTING,
        2,
        billed("100"),
        False,
    )
    stale = await ledger.record_draft(document.key, 1, told(billed("200")))
    assert stale.state is DocumentState.DRAFTING
    again = await ledger.record_draft(document.key, 2, told(billed("100")))
    assert (await ledger.release_document(document.key, again.version)).state is DocumentState.RELEASED
    with pytest.raises(Conflict, match="is released"):
        await ledger.change_document(document.key, [], command_id="c9")


async def test_a_posting_that_is_taken_back_leaves_an_open_draft(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    document = await draft(ledger, plan(key(1), "100"), plan(key(2), "100"))
    await ledger.take_out([f"{PSA}/time_entries/2"])
    await send(ledger, await claim(ledger, 3), BatchPurpose.REVERSE_COST)
    changed = await ledger.document(document.key)
    assert changed is not None
    assert (changed.version, changed.net) == (2, billed("100"))
    row = await get(ledger, key(2))
    assert (row.cost, row.billing, row.drafted) == (CostState.REVERSED, BillingState.NOT_BILLABLE, eur(0))


async def test_a_refused_issue_goes_back_to_the_reviewer(ledger: Ledger) -> None:
    await posted(ledger, 1)
    document = await draft(ledger, plan(key(1), "100"))
    drafted = await ledger.record_draft(document.key, 1, told(billed("100")))
    await ledger.release_document(document.key, drafted.version)
    assert (await ledger.hold_release(document.key)).state is DocumentState.DRAFTED


async def test_an_issued_invoice_is_not_given_up(ledger: Ledger) -> None:
    await posted(ledger, 1)
    document = await issue(ledger, await draft(ledger, plan(key(1), "100")))
    with pytest.raises(Conflict, match="is issued"):
        await ledger.abandon_document(document.key, "no")


async def test_an_abandoned_invoice_that_is_posted_all_the_same_is_a_conflict(ledger: Ledger) -> None:
    await posted(ledger, 1)
    document = await draft(ledger, plan(key(1), "100"))
    given_up = await ledger.abandon_document(document.key, "cancelled")
    assert (given_up.state, given_up.lines, given_up.net) == (DocumentState.ABANDONED, 0, billed(0))
    with pytest.raises(Conflict, match="posted in netsuite-emea all the same"):
        await ledger.issue_document(document.key, told(billed("100")))


# --- credits --------------------------------------------------------------------------------------------


async def proposal(
    ledger: Ledger, invoice: DocumentRow, item: str, amount: str, minutes: int, freed: Freed, number: int = 1
) -> CreditProposal:
    lines = await ledger.billed_lines([item])
    (one,) = [found for found in lines if found.allocation.document == invoice.key]
    return CreditProposal(
        key=credit_key(invoice.key, number),
        invoice_key=invoice.key,
        cause=AdjustmentCause.REQUESTED,
        reason="agreed with the client",
        parts=(
            CreditPart(
                allocation_key=one.allocation.key,
                item_key=item,
                part=one.allocation.part,
                minutes=minutes,
                amount=eur(amount),
                billed=billed(amount),
                proposed=freed,
            ),
        ),
    )


@pytest.mark.parametrize(
    ("freed", "expected", "state"),
    [
        (Freed.UNBILLED, (3_000, 0, 0, 7_000, 18), BillingState.UNBILLED),
        (Freed.HELD, (0, 3_000, 0, 7_000, 0), BillingState.HELD),
        (Freed.WRITTEN_OFF, (0, 0, 0, 7_000, 0), BillingState.BILLED),
    ],
)
async def test_a_partial_credit_goes_where_the_approver_says(
    ledger: Ledger, freed: Freed, expected: tuple[int, ...], state: BillingState
) -> None:
    await posted(ledger, 1)
    invoice = await issue(ledger, await draft(ledger, plan(key(1), "100", uses=(use("100"),))))
    wanted = await proposal(ledger, invoice, key(1), "30", 18, freed)
    credit = await ledger.propose_credit(wanted, saga_id="cr:1")
    assert await ledger.propose_credit(wanted, saga_id="cr:1") == credit
    assert await where(ledger, key(1)) == (0, 0, 0, 10_000, 0), "until it is read back it stays billed"
    await ledger.approve_credit(wanted)
    issued = await ledger.issue_credit(wanted.key, told(billed("30"), "CM-1", "990"))
    assert (issued.state, issued.corrects, issued.number) == (DocumentState.ISSUED, invoice.key, "CM-1")
    assert await ledger.issue_credit(wanted.key, told(billed("30"), "CM-1", "990")) == issued
    assert await where(ledger, key(1)) == expected
    assert (await get(ledger, key(1))).billing is state
    assert (await ledger.account_balances([CAP])).used[CAP] == eur("70"), "a credit frees what it credits"
    (left,) = await ledger.billed_lines([key(1)])
    assert (left.billed, left.allocation.minutes) == (billed("70"), 42)


async def test_credits_go_to_the_end_of_a_part_and_no_further(ledger: Ledger) -> None:
    await posted(ledger, 1)
    invoice = await issue(ledger, await draft(ledger, plan(key(1), "100", uses=(use("100"),))))
    for number, amount in enumerate(("30", "70"), 1):
        wanted = await proposal(ledger, invoice, key(1), amount, 30, Freed.UNBILLED, number)
        await ledger.propose_credit(wanted, saga_id="cr:1")
        await ledger.approve_credit(wanted)
        await ledger.issue_credit(wanted.key, told(billed(amount), f"CM-{number}"))
    assert await where(ledger, key(1)) == (10_000, 0, 0, 0, 60)
    assert (await ledger.account_balances([CAP])).used[CAP] == eur(0)
    assert await ledger.billed_lines([key(1)]) == []
    rebilled = await draft(ledger, plan(key(1), "100", uses=(use("100"),)))
    assert (rebilled.sequence, rebilled.net) == (2, billed("100"))


async def test_a_posting_is_billed_by_the_first_invoice_of_its_line_alone(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    held = plan(key(1), "40", 24, kind=AllocationKind.HELD, cause=Cause.OVER_CAP)
    first = await issue(ledger, await draft(ledger, plan(key(1), "60", 36), held, plan(key(2), "100")))
    assert [one.first for one in await ledger.document_lines(first.key)] == [True, True]
    await ledger.release_held(causes=[Cause.OVER_CAP])
    rest = await draft(ledger, plan(key(1), "40", 24))
    (line_,) = await ledger.document_lines(rest.key)
    assert (line_.first, line_.again) == (False, False), "the ERP has billed the posting"
    wanted = await proposal(ledger, first, key(2), "100", 60, Freed.UNBILLED)
    await ledger.propose_credit(wanted, saga_id="cr:1")
    await ledger.approve_credit(wanted)
    await ledger.issue_credit(wanted.key, told(billed("100"), "CM-1"))
    await issue(ledger, rest)
    again = await draft(ledger, plan(key(2), "100"))
    (line_,) = await ledger.document_lines(again.key)
    assert (line_.first, line_.again) == (False, True), "a credit frees no posting"


async def test_what_a_review_took_off_a_draft_is_billed_as_if_for_the_first_time(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    document = await draft(ledger, plan(key(1), "100"), plan(key(2), "100"))
    taken, _ = await ledger.document_lines(document.key)
    hold = plan(key(1), "100", kind=AllocationKind.HELD, cause=Cause.UNDER_REVIEW)
    await ledger.change_document(
        document.key, [PartChange(taken.allocation.key, (hold,))], command_id="review"
    )
    row = await ledger.document(document.key)
    assert row is not None
    await issue(ledger, row)
    await ledger.release_held(causes=[Cause.UNDER_REVIEW])
    (line_,) = await ledger.document_lines((await draft(ledger, plan(key(1), "100"))).key)
    assert line_.first


async def test_an_invoice_that_stands_by_decision_is_not_proposed_again(ledger: Ledger) -> None:
    await posted(ledger, 1)
    invoice = await issue(ledger, await draft(ledger, plan(key(1), "100")))
    await ledger.take_in([line(1, minutes=90, revision="r2")])
    (due,) = await ledger.billed_lines(withdrawn=True)
    wanted = await proposal(ledger, invoice, due.item.key, "100", 60, Freed.WITHDRAWN)
    await ledger.propose_credit(wanted, saga_id="cr:1")
    await ledger.abandon_document(wanted.key, "not agreed")
    assert await ledger.billed_lines(withdrawn=True) == []
    assert len(await ledger.billed_lines([key(1)])) == 1, "it can still be asked for"


async def test_a_milestone_that_is_opened_again_is_to_be_credited(ledger: Ledger) -> None:
    stone = milestone()
    await ledger.take_fees([stone], erp=ERP)
    item = item_key(stone.source, stone.revision)
    await issue(ledger, await draft(ledger, plan(item, "5000", 0)))
    assert await ledger.billed_lines(withdrawn=True) == []
    waiting = HOLD.model_copy(update={"cause": Cause.MILESTONE_NOT_COMPLETE})
    taken = await ledger.take_fees([stone.model_copy(update={"hold": waiting})], erp=ERP)
    assert taken.reopened == (item,)
    (due,) = await ledger.billed_lines(withdrawn=True)
    assert due.item.key == item


async def test_one_credit_of_an_invoice_at_a_time(ledger: Ledger) -> None:
    await posted(ledger, 1, 2)
    invoice = await issue(ledger, await draft(ledger, plan(key(1), "100"), plan(key(2), "100")))
    first = await proposal(ledger, invoice, key(1), "100", 60, Freed.UNBILLED)
    second = await proposal(ledger, invoice, key(2), "100", 60, Freed.UNBILLED, 2)
    await ledger.propose_credit(first, saga_id="cr:1")
    with pytest.raises(Conflict, match="under way"):
        await ledger.propose_credit(second, saga_id="cr:2")
    rejected = await ledger.abandon_document(first.key, "not agreed")
    assert rejected.state is DocumentState.ABANDONED
    assert await where(ledger, key(1)) == (0, 0, 0, 10_000, 0)
    assert (await ledger.propose_credit(second, saga_id="cr:2")).state is DocumentState.DRAFTING


async def test_an_edit_after_issue_waits_for_the_credit_and_is_then_billed(ledger: Ledger) -> None:
    await posted(ledger, 1)
    invoice = await issue(ledger, await draft(ledger, plan(key(1), "100")))
    await ledger.take_in([line(1, minutes=90, revision="r2")])
    await place(ledger, 1)
    piece = await claim(ledger, 2)
    await send(ledger, piece, BatchPurpose.REVERSE_COST)
    await send(ledger, piece)
    new = key(1, "r2")
    assert await ledger.billable_items(GROUP_KEY, THROUGH) == [], "it would be billed twice"
    (due,) = await ledger.billed_lines(withdrawn=True)
    assert (due.item.key, due.billed, due.allocation.document) == (key(1), billed("100"), invoice.key)
    wanted = await proposal(ledger, invoice, key(1), "100", 60, Freed.UNBILLED)
    await ledger.propose_credit(wanted, saga_id="cr:1")
    assert await ledger.billed_lines(withdrawn=True) == [], "its credit is under way"
    await ledger.approve_credit(wanted)
    await ledger.issue_credit(wanted.key, told(billed("100"), "CM-1"))
    old = await get(ledger, key(1))
    assert (old.open, old.billing) == (eur(0), BillingState.NOT_BILLABLE), "its source is gone"
    assert [row.key for row in await ledger.billable_items(GROUP_KEY, THROUGH)] == [new]


async def test_an_invoice_that_stands_covers_the_replacement(ledger: Ledger) -> None:
    await posted(ledger, 1)
    invoice = await issue(ledger, await draft(ledger, plan(key(1), "100")))
    await ledger.take_in([line(1, minutes=90, revision="r2")])
    await place(ledger, 1)
    piece = await claim(ledger, 2)
    await send(ledger, piece, BatchPurpose.REVERSE_COST)
    await send(ledger, piece)
    assert await ledger.keep_billed([key(1, "r2")], invoice.key, "agreed") == 1
    assert await ledger.keep_billed([key(1, "r2")], invoice.key, "agreed") == 0
    assert (await get(ledger, key(1, "r2"))).billing is BillingState.COVERED


# --- fees and new prices --------------------------------------------------------------------------------


async def test_a_fee_follows_its_contract_until_something_of_it_is_allocated(ledger: Ledger) -> None:
    waiting = Hold(cause=Cause.MILESTONE_NOT_ACCEPTED, message="m", remedy="r", queue=Queue.DELIVERY)
    taken = await ledger.take_fees([milestone(1, hold=waiting), milestone(2)], erp=ERP)
    assert (taken.new, taken.same) == (2, 0)
    assert (await ledger.take_fees([milestone(1, hold=waiting), milestone(2)])).same == 2
    one, two = "contract/milestone/006A.NL01.EUR/L2.1@1", "contract/milestone/006A.NL01.EUR/L2.2@1"
    assert [row.key for row in await ledger.billable_items(GROUP_KEY, THROUGH)] == [two]
    assert (await ledger.take_fees([milestone(1), milestone(2, "6000")])).changed == 2
    assert (await get(ledger, two)).priced == eur("6000")
    assert [trace.after for trace in await ledger.repricings(two)] == [eur("6000")]
    document = await draft(ledger, plan(one, "5000", 0), plan(two, "6000", 0))
    await issue(ledger, document)
    again = await ledger.take_fees([milestone(1, hold=waiting), milestone(2, "7000")])
    assert again.reopened == (one,)
    assert (await get(ledger, two)).priced == eur("6000"), "what is billed keeps its amount"


async def test_progress_is_worked_out_again_when_some_of_it_was_billed_meanwhile(ledger: Ledger) -> None:
    progress = {"kind": ItemKind.PROGRESS_PERIOD}
    await ledger.take_fees([milestone(1).model_copy(update=progress)], erp=ERP)
    (row,) = await ledger.billable_items(GROUP_KEY, THROUGH)
    smaller = milestone(1, "4000").model_copy(update=progress)
    assert (await ledger.take_fees([smaller])).changed == 1
    await draft(ledger, plan(row.key, "4000", 0))
    with pytest.raises(Conflict):
        await ledger.take_fees([milestone(1, "0").model_copy(update=progress), milestone(2, "4000")])
    assert [one.key for one in await ledger.billable_items(GROUP_KEY, THROUGH)] == [], "all or nothing"


async def test_a_milestone_in_part_and_the_rest_later(ledger: Ledger) -> None:
    await ledger.take_fees([milestone(1, limit=eur("2000"))], erp=ERP)
    (row,) = await ledger.billable_items(GROUP_KEY, THROUGH)
    assert (row.limit, row.open) == (eur("2000"), eur("5000"))
    await issue(ledger, await draft(ledger, plan(row.key, "2000", 0)))
    await ledger.take_fees([milestone(1)])
    row = await get(ledger, row.key)
    assert (row.limit, row.open, row.billed) == (None, eur("3000"), eur("2000"))


async def test_a_new_price_loosens_holds_and_drafts_and_leaves_a_trace(ledger: Ledger) -> None:
    await posted(ledger, 1)
    held = plan(key(1), "40", 24, kind=AllocationKind.HELD, cause=Cause.OVER_CAP)
    document = await draft(ledger, plan(key(1), "60", 36), held)
    old = placement().price
    assert old is not None
    assert old.rate is not None
    price = Price(
        amount=eur("120"), rate=old.rate.model_copy(update={"amount": eur("120").amount, "version": 2})
    )
    with pytest.raises(Conflict, match="60 unbilled minutes, 30 were priced"):
        await ledger.reprice([NewPrice(key(1), 30, price, "backdated")])
    assert await ledger.reprice([NewPrice(key(1), 60, price, "backdated")]) == 1
    assert await ledger.reprice([NewPrice(key(1), 60, price, "backdated")]) == 0
    assert await where(ledger, key(1)) == (12_000, 0, 0, 0, 60)
    row = await get(ledger, key(1))
    assert row.rate is not None
    assert row.rate.version == 2
    (trace,) = await ledger.repricings(key(1))
    assert (trace.before, trace.after, trace.version_before, trace.version_after) == (
        eur("100"),
        eur("120"),
        1,
        2,
    )
    changed = await ledger.document(document.key)
    assert changed is not None
    assert changed.state is DocumentState.ABANDONED


async def test_only_what_is_not_billed_is_repriced(ledger: Ledger) -> None:
    await posted(ledger, 1)
    await issue(ledger, await draft(ledger, plan(key(1), "40", 24)))
    old = placement().price
    assert old is not None
    price = Price(amount=eur("72"), rate=old.rate)
    await ledger.reprice([NewPrice(key(1), 36, price, "backdated")])
    row = await get(ledger, key(1))
    assert (row.priced, row.open, row.billed) == (eur("112"), eur("72"), eur("40"))


async def test_a_limit_is_used_by_date_whoever_comes_first(ledger: Ledger) -> None:
    """``use`` decides inside the transaction that allocates; the balances it sees are locked."""
    await posted(ledger, 1)

    async def decide() -> DocumentRow:
        balances = await ledger.account_balances([CAP], lock=True)
        assert balances.used == {}
        limit = LimitUse(key=CAP, amount=eur("100"), limit=eur("100"))
        return await draft(ledger, plan(key(1), "100", uses=(limit,)))

    document = await ledger.together(decide)
    assert document.lines == 1
    assert (await ledger.account_balances([CAP])).used[CAP] == eur("100")
    assert DAY <= THROUGH
