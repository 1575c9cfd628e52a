"""Kantata: marks on exported lines, copies of invoices, payments and recognised revenue, over HTTP."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from canonical.causes import Cause
from canonical.delivered import ExportMark, LineKind
from canonical.failures import Conflict, Defect, OutcomeUnknown, Refused
from canonical.money import Money
from canonical.operations import BatchTicket
from canonical.writes import UndoResult, VendorWrite
from connectors.kantata import billing_plans
from tests.acceptance.kantata import SYSTEM
from tests.connectors.kantata_time import Site, after, anyio_backend, site
from tests.support.moves import reading_of

__all__ = ["anyio_backend", "site"]

pytestmark = pytest.mark.anyio


def marks(*entries: str, document: str = "timeBill 1") -> list[ExportMark]:
    return [ExportMark(kind=LineKind.TIME, id=entry, document=document) for entry in entries]


async def test_marks_are_set_changed_and_taken_back_one_by_one(site: Site) -> None:
    kantata, entries = site.subject.connector, [site.time(), site.time(16)]
    writes = kantata.plan_marks(after(site), marks(*entries))
    landed = [await site.make(write) for write in writes]
    assert (await kantata.send(writes[0])).id == landed[0].id
    assert {one.id: one.document for one in await kantata.marks(LineKind.TIME, entries)} == dict.fromkeys(
        entries, "timeBill 1"
    )
    (moved,) = kantata.plan_marks(after(site), marks(entries[0], document="timeBill 2"))
    assert await kantata.find(moved) is None
    assert (await kantata.amend(moved, landed[0])).id == landed[0].id
    held = await kantata.marks(LineKind.TIME, entries)
    assert {one.id: one.document for one in held} == {entries[0]: "timeBill 2", entries[1]: "timeBill 1"}
    assert (await kantata.undo(writes[1], landed[1], None)).result is UndoResult.DELETED
    assert (await kantata.undo(writes[1], landed[1], None)).result is UndoResult.NOTHING_THERE
    (off,) = kantata.plan_unmarks(after(site), [one for one in held if one.id == entries[0]])
    await site.make(off)
    assert (await kantata.send(off)).id == off.target
    assert await kantata.marks(LineKind.TIME, entries) == []


async def test_a_batch_of_marks_tells_every_line(site: Site) -> None:
    kantata, entries = site.subject.connector, [site.time(day) for day in range(5, 9)]
    writes = kantata.plan_marks(after(site), marks(*entries, "424242"))
    ticket = await kantata.submit_batch("batch-1", writes)
    outcomes = await kantata.batch_outcome(ticket, writes)
    assert outcomes is not None
    assert [outcome.key for outcome in outcomes] == [write.key for write in writes]
    assert [outcome.landed is not None for outcome in outcomes] == [True] * 4 + [False]
    assert "Subject does not exist" in str(outcomes[-1].failure)
    assert not outcomes[-1].retry
    held = await kantata.marks(LineKind.TIME, entries)
    off = kantata.plan_unmarks(after(site), held)
    gone = await kantata.batch_outcome(await kantata.submit_batch("batch-2", off), off)
    assert gone is not None
    assert all(outcome.landed for outcome in gone)
    assert await kantata.marks(LineKind.TIME, entries) == []
    for wrong in ([], [*writes, *off], [writes[0]] * 101):
        with pytest.raises(Defect):
            await kantata.submit_batch("batch-3", wrong)


async def test_a_batch_of_marks_whose_answer_was_lost_is_handed_over_again(site: Site) -> None:
    kantata, entries = site.subject.connector, [site.time(day) for day in range(5, 9)]
    writes = kantata.plan_marks(after(site), marks(*entries))
    site.subject.fault("drop_after", method="POST", path="external_references", skip=1)
    site.subject.fault("drop_before", method="POST", path="external_references", skip=1)
    with pytest.raises(OutcomeUnknown):
        await kantata.submit_batch("batch-1", writes)
    lost = await kantata.batch_outcome(BatchTicket(id="batch-1"), writes)
    assert lost is not None
    assert [outcome.retry for outcome in lost if outcome.landed is None] == [True]
    ticket = await kantata.submit_batch("batch-1", writes)
    outcomes = await kantata.batch_outcome(ticket, writes)
    assert outcomes is not None
    assert all(outcome.landed for outcome in outcomes)
    assert len(site.subject.records("external_references")) == 4 + site.references


async def test_a_whole_timesheet_is_marked_by_one_call(site: Site) -> None:
    kantata, sheet = site.subject.connector, site.submit(site.time(), site.time(16))
    mark = ExportMark(kind=LineKind.TIMESHEET, id=sheet, document="batch 7")
    await site.make(kantata.plan_marks(after(site), [mark])[0])
    assert [(one.id, one.document) for one in await kantata.marks(LineKind.TIMESHEET, [sheet])] == [
        (sheet, "batch 7")
    ]


def invoice(site: Site, *entries: str) -> VendorWrite:
    copy = billing_plans.InvoiceCopy(
        key="INV-2026-045",
        number="INV-2026-045",
        project=site.project,
        time_entry_ids=entries,
        issued_on=date(2026, 2, 1),
        payment_days=30,
        purchase_order="PO 1",
        project_code="PRJ-1",
    )
    return billing_plans.plan_invoice(SYSTEM, site.settings, after(site), copy)


async def test_an_invoice_locks_its_lines_and_is_cancelled_by_the_undo(site: Site) -> None:
    entry = site.time(rate_in_cents=21050)
    site.resolve(site.submit(entry), "approve")
    write = invoice(site, entry)
    landed = await site.make(write)
    assert (await site.subject.connector.undo(write, landed, None)).result is UndoResult.INACTIVATED
    assert site.subject.record("invoices", landed.id)["status"] == "cancelled"
    assert (await site.subject.connector.undo(write, landed, None)).result is UndoResult.INACTIVATED
    with pytest.raises(Refused, match="not changed"):
        await site.subject.connector.amend(write, landed)


async def test_a_full_payment_is_forward_only(site: Site) -> None:
    entry = site.time(rate_in_cents=21050)
    site.resolve(site.submit(entry), "approve")
    write = invoice(site, entry)
    landed = await site.make(write)
    paid = billing_plans.plan_payment(
        SYSTEM,
        site.settings,
        after(site),
        billing_plans.FullPayment(
            key="R88", project=site.project, invoice=landed.id, receipt="ERP receipt 88"
        ),
    )
    payment = await site.make(paid)
    with pytest.raises(Refused) as refusal:
        await site.subject.connector.undo(paid, payment, None)
    assert refusal.value.failure.cause is Cause.UNDO_BLOCKED
    with pytest.raises(Conflict, match="status"):
        await site.subject.connector.undo(write, landed, None)


async def test_recognised_revenue_is_recorded_and_taken_back(site: Site) -> None:
    amount = Money(amount=Decimal("1234.50"), currency="EUR")
    revenue = billing_plans.Recognition(
        key="DE01.2026-01",
        project=site.project,
        first=date(2026, 1, 1),
        last=date(2026, 1, 31),
        amount=amount,
        to_date=amount,
    )
    write = billing_plans.plan_revenue(SYSTEM, site.settings, after(site), revenue)
    landed = await site.make(write)
    more = revenue.model_copy(update={"amount": Money(amount=Decimal("2000"), currency="EUR")})
    changed = billing_plans.plan_revenue(SYSTEM, site.settings, after(site), more)
    await site.subject.connector.amend(changed, landed)
    assert await reading_of(site.subject.connector, changed, landed) == changed.expect
    assert (await site.subject.connector.undo(write, landed, None)).result is UndoResult.DELETED
    assert (await site.subject.connector.undo(write, landed, None)).result is UndoResult.NOTHING_THERE
