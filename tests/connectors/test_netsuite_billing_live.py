"""NetSuite's billing operations and bulk jobs over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal

import pytest

from canonical.authority import Phase
from canonical.billing import BillingEvent
from canonical.causes import Cause
from canonical.failures import Defect, OutcomeUnknown, Refused
from canonical.money import Money
from canonical.operations import WriteContext
from canonical.refs import RecordRef
from canonical.writes import VendorWrite
from connectors.netsuite.billing_plans import Charge, CreditRequest, InvoiceRequest, TimeBill
from tests.acceptance.netsuite import Subject
from tests.connectors import netsuite_samples as samples
from tests.connectors.test_netsuite_plans import entry

pytestmark = pytest.mark.anyio
PROJECT, CONTRACT = "project:006A1.DE01.EUR.id", "contract:006A1.DE01.EUR.id"


@pytest.fixture
async def subject() -> AsyncIterator[Subject]:
    subject = Subject()
    yield subject
    await subject.close()


@pytest.fixture
def after(subject: Subject) -> WriteContext:
    return subject.context(phase=Phase.AFTER_APPROVAL)


@pytest.fixture
async def active(subject: Subject, after: WriteContext) -> dict[str, str]:
    """Symbol values of an active contract."""
    values, _ = await subject.contract()
    values, _ = await subject.perform(subject.connector.plan_activation(after, samples.contract()), values)
    return values


def lines(subject: Subject, project: str, count: int, *, wrong: tuple[int, ...] = ()) -> list[VendorWrite]:
    """Time bills; those in ``wrong`` name an employee that is not there."""
    bills = [
        TimeBill(
            entry(ref=RecordRef(system="kx", type="time_entry", id=str(n))),
            project=project,
            employee="999" if n in wrong else "14",
            item="31",
        )
        for n in range(count)
    ]
    return subject.connector.plan_time_bills(subject.context(phase=Phase.AFTER_APPROVAL), bills)


@pytest.mark.parametrize("results", ["tasks", "items"])
async def test_bulk_outcomes_are_told_per_line(
    subject: Subject, active: dict[str, str], results: str
) -> None:
    subject.configure(list_results=results)
    writes = lines(subject, active[PROJECT], 5, wrong=(2,))
    ticket = await subject.connector.submit_batch("window-1", writes)
    outcomes = await subject.connector.batch_outcome(ticket, writes)
    assert outcomes is not None
    assert [outcome.key for outcome in outcomes] == [write.key for write in writes]
    assert [outcome.landed is None for outcome in outcomes] == [False, False, True, False, False]
    assert "employee" in str(outcomes[2].failure)
    for write, outcome in zip(writes, outcomes, strict=True):
        if outcome.landed is not None:
            record = subject.record("timeBill", outcome.landed)
            assert record["externalId"] == write.stamp
            assert record["hours"] == "7:30"


async def test_a_repeated_batch_follows_the_earlier_job(subject: Subject, active: dict[str, str]) -> None:
    writes = lines(subject, active[PROJECT], 3)
    subject.fault("drop_after", method="PUT", path="timeBill")
    with pytest.raises(OutcomeUnknown):
        await subject.connector.submit_batch("window-1", writes)
    ticket = await subject.connector.submit_batch("window-1", writes)
    assert ticket.earlier is True
    outcomes = await subject.connector.batch_outcome(ticket, writes)
    assert outcomes is not None
    assert all(outcome.landed for outcome in outcomes)
    assert len(subject.records("timeBill")) == 3


async def test_a_running_job_has_no_outcome_yet(subject: Subject, active: dict[str, str]) -> None:
    subject.configure(async_job_seconds=3600)
    writes = lines(subject, active[PROJECT], 2)
    ticket = await subject.connector.submit_batch("window-1", writes)
    assert ticket.earlier is False
    assert await subject.connector.batch_outcome(ticket, writes) is None
    again = await subject.connector.submit_batch("window-1", writes)
    assert (again.id, again.earlier) == (ticket.id, True)


async def test_lagging_queries_do_not_lose_lines(subject: Subject, active: dict[str, str]) -> None:
    subject.configure(suiteql_lag_seconds=3600)
    writes = lines(subject, active[PROJECT], 3)
    outcomes = await subject.connector.batch_outcome(
        await subject.connector.submit_batch("window-1", writes), writes
    )
    assert outcomes is not None
    assert all(outcome.landed for outcome in outcomes)


async def test_batches_are_checked_before_they_go_out(subject: Subject, active: dict[str, str]) -> None:
    writes = lines(subject, active[PROJECT], 101)
    for wrong in ([], writes, [writes[0], writes[0]], [writes[0], subject.create()]):
        with pytest.raises(Defect):
            await subject.connector.submit_batch("window-1", wrong)
    full = await subject.connector.submit_batch("window-2", writes[:100])
    outcomes = await subject.connector.batch_outcome(full, writes[:100])
    assert outcomes is not None
    assert len({outcome.landed for outcome in outcomes}) == 100


async def test_a_refused_batch_is_a_refusal(subject: Subject, active: dict[str, str]) -> None:
    subject.fault("business", method="PUT", path="timeBill", message="Time is not licensed")
    with pytest.raises(Refused, match="not licensed"):
        await subject.connector.submit_batch("window-1", lines(subject, active[PROJECT], 1))


async def test_one_time_bill_alone_is_found_and_undone(subject: Subject, active: dict[str, str]) -> None:
    ((write, landed),) = (await subject.perform(lines(subject, active[PROJECT], 1)))[1]
    assert (await subject.connector.undo(write, landed, None)).result == "deleted"


async def test_a_closed_period_is_named(
    subject: Subject, active: dict[str, str], after: WriteContext
) -> None:
    request = InvoiceRequest("G1.2026-10.1", order=active[CONTRACT], on=date(2026, 10, 15))
    with pytest.raises(Refused) as caught:
        await subject.connector.send(subject.connector.plan_invoice(after, request))
    assert caught.value.failure.cause is Cause.PERIOD_CLOSED
    (october, november, *_) = await subject.connector.periods()
    assert not october.open_for_invoices
    assert november.open_for_invoices


async def test_charge_invoice_credit_and_feedback(
    subject: Subject, active: dict[str, str], after: WriteContext
) -> None:
    event = BillingEvent(
        key="006A1.L2.1",
        contract_key="006A1.DE01.EUR",
        line_key="L2",
        kind="milestone",
        due=date(2026, 12, 31),
        amount=Money(amount=Decimal("5000.10"), currency="EUR"),
    )
    charges = subject.connector.plan_charges(
        after, [Charge(event, project=active[PROJECT], item="31", charge_type="-19")]
    )
    for _ in (1, 2):
        await subject.perform(charges)
    assert len(subject.records("charge")) == 1

    invoice = subject.connector.plan_invoice(
        after, InvoiceRequest("G1.2026-12.1", order=active[CONTRACT], on=date(2026, 12, 1))
    )
    values, _ = await subject.perform([invoice])
    assert await subject.connector.find(invoice) is not None
    id_ = values["invoice:G1.2026-12.1.id"]
    read = await subject.connector.read_invoice(id_, contract_keys=("006A1.DE01.EUR",))
    assert read is not None
    assert read.number == values["invoice:G1.2026-12.1.number"]
    assert (read.net.amount, read.balance.amount, read.seller) == (Decimal(1000), Decimal(1000), "DE01")
    assert await subject.connector.read_invoice("999999") is None

    page = await subject.connector.changed_transactions_since(None)
    assert [(change.ref.type, change.ref.id) for change in page.changes] == [("invoice", id_)]
    assert page.changes[0].modified_at == read.modified_at  # zones agree
    with pytest.raises(Defect):
        await subject.connector.changed_transactions_since("not a cursor")

    credit = subject.connector.plan_credit_memo(
        after, CreditRequest("G1.c1", invoice=id_, on=date(2026, 12, 2), reason="Wrong rate")
    )
    await subject.perform([credit])
    credited = await subject.connector.read_invoice(id_, credited=Money(amount=Decimal(1000), currency="EUR"))
    assert credited is not None
    parts = (credited.balance, credited.credited, credited.paid)
    assert [part.minor for part in parts] == [0, 100_000, 0]
    later = await subject.connector.changed_transactions_since(page.cursor)
    assert {change.ref.type for change in later.changes} == {"invoice", "creditMemo"}


async def test_a_legal_document_is_never_deleted(
    subject: Subject, active: dict[str, str], after: WriteContext
) -> None:
    invoice = subject.connector.plan_invoice(
        after, InvoiceRequest("G1.2026-12.1", order=active[CONTRACT], on=date(2026, 12, 1))
    )
    ((write, landed),) = (await subject.perform([invoice], active))[1]
    with pytest.raises(Refused) as caught:
        await subject.connector.undo(write, landed, None)
    assert caught.value.failure.cause is Cause.UNDO_BLOCKED
    assert len(subject.records("invoice")) == 1


async def test_paging_loses_nothing_while_rows_change(
    subject: Subject, active: dict[str, str], after: WriteContext
) -> None:
    issued = []
    for n in range(7):
        line = {"orderLine": 1, "quantity": "1", "amount": "100.00"}
        request = InvoiceRequest(f"G1.{n}", order=active[CONTRACT], on=date(2026, 12, 1), lines=(line,))
        values, _ = await subject.perform([subject.connector.plan_invoice(after, request)])
        issued.append(values[f"invoice:G1.{n}.id"])
    seen: list[str] = []
    page = await subject.connector.changed_transactions_since(None, limit=2)
    while True:
        seen += [change.ref.id for change in page.changes]
        if not page.more:
            break
        if len(seen) == 4:  # an invoice that was already read changes, another one is still to come
            await subject.connector._client.patch("invoice", issued[0], {"memo": "moved"}, what="Change")
        page = await subject.connector.changed_transactions_since(page.cursor, limit=2)
    assert set(issued) <= set(seen)
    again = await subject.connector.changed_transactions_since(page.cursor)
    assert issued[0] in [change.ref.id for change in again.changes]  # the overlap
