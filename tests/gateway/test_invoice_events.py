"""Events of an ERP at the door: which invoices a record concerns, and what becomes of events of others."""

from __future__ import annotations

from datetime import UTC, date, datetime

import httpx
import pytest

from canonical.billing import Invoice
from canonical.erp_billing import InvoiceState
from canonical.feedback import Application, ApplicationKind, InvoiceStanding, InvoiceStatus
from canonical.money import AmountRole, Money
from canonical.names import SagaName, feedback_record, saga_id
from canonical.refs import RecordRef
from ledger.feedback import NewStanding
from ledger.inbox import InboxRow, InboxState
from tests.gateway.deliveries import signed
from tests.gateway.house import House
from wiring.events import LOOKS_FOR_INVOICES

pytestmark = pytest.mark.anyio
ERP = "netsuite-emea"


def saga(record: str) -> str:
    return saga_id(SagaName.INVOICE_FEEDBACK, "emea", ERP, record)


async def told(home: House, type_: str, id_: str, *, event: str = "e-1") -> httpx.Response:
    body = {"type": f"{type_}.changed", "data": {"type": type_, "id": id_}}
    raw, headers = signed(event, home.clock(), body)
    answer = await home.http.post("/hooks/finance", content=raw, headers=headers)
    assert answer.status_code == 200, answer.text
    await home.settle()
    return answer


async def row(home: House) -> InboxRow:
    return (await home.rows())[-1]


async def later(home: House, times: int) -> None:
    for _ in range(times):
        home.clock.turn(minutes=16)
        await home.front.dispatcher.sweep()


async def known(home: House, invoice: str, *, paid_by: str) -> None:
    """An invoice that was read when a payment still settled a part of it."""
    ref, at = RecordRef(system=ERP, type="invoice", id=invoice), datetime(2026, 11, 20, tzinfo=UTC)

    def eur(minor: int) -> Money:
        return Money.of_minor(minor, "EUR", AmountRole.BILLING)

    payment = RecordRef(system=ERP, type="customerPayment", id=paid_by)
    standing = InvoiceStanding(
        ref=ref,
        state=InvoiceState.POSTED,
        invoice=Invoice(
            ref=ref, number="INV1", seller="DE01", bill_to="55", contract_keys=(),
            issued_on=date(2026, 11, 20), net=eur(100), gross=eur(100), paid=eur(40), credited=eur(0),
            withheld=eur(0), written_off=eur(0), balance=eur(60), modified_at=at,
        ),
        applications=(Application(document=payment, kind=ApplicationKind.PAYMENT, amount=eur(40)),),
        modified_at=at,
    )  # fmt: skip
    await home.ledger.apply_standing(
        NewStanding(
            standing=standing, status=InvoiceStatus.PART_PAID, region="emea", saga_id=saga(invoice),
            shares=(), reaches=(), targets=(),
        )
    )  # fmt: skip


async def test_an_invoice_is_handed_to_the_saga_that_follows_it_by_the_events_id(home: House) -> None:
    home.erp.invoices.add("880")
    await told(home, "invoice", "880")
    found = await row(home)
    assert (found.state, found.saga_id) == (InboxState.HANDED, saga("880"))
    assert home.temporal.signals == [(saga("880"), f"finance/{found.id}")]
    (start,) = home.temporal.started
    assert (start.system, start.record_id, start.trace_id) == (ERP, "880", found.trace_id)


async def test_a_payment_is_handed_to_all_invoices_that_it_settles_or_settled(home: House) -> None:
    home.erp.settles["77"] = ["880", "881"]
    await known(home, "882", paid_by="77")
    await told(home, "customerpayment", "77")
    found = await row(home)
    assert (found.state, found.reason) == (InboxState.HANDED, "it concerns 3 invoices")
    assert [name for name, _ in home.temporal.signals] == [saga(one) for one in ("880", "881", "882")]


async def test_a_contract_whose_revenue_is_recognised(home: House) -> None:
    home.erp.revenue.add("500")
    await told(home, "salesorder", "500")
    assert [name for name, _ in home.temporal.signals] == [saga(feedback_record("500", revenue=True))]


async def test_an_invoice_that_is_not_there_yet_waits_and_then_parks(home: House) -> None:
    await told(home, "invoice", "880")
    assert (await row(home)).state is InboxState.WAITING
    await later(home, 200)
    found = await row(home)
    assert (found.state, found.reason) == (InboxState.PARKED, f"{ERP} has no such record")
    assert home.temporal.started == []


async def test_a_deleted_invoice_is_told_of_when_it_was_read_before(home: House) -> None:
    await known(home, "880", paid_by="77")
    await told(home, "invoice", "880")
    assert (await row(home)).state is InboxState.HANDED


async def test_what_settles_nothing_is_looked_for_some_times_and_then_let_go(home: House) -> None:
    await told(home, "creditmemo", "99")
    for _ in range(LOOKS_FOR_INVOICES):
        assert (await row(home)).state is InboxState.WAITING
        await later(home, 1)
    found = await row(home)
    assert (found.state, found.reason) == (InboxState.IGNORED, "it settles no invoice")
    # The search was behind: a payment is found by a later look.
    await told(home, "customerpayment", "78", event="e-2")
    home.erp.settles["78"] = ["880"]
    await later(home, 1)
    assert [name for name, _ in home.temporal.signals] == [saga("880")]


async def test_other_records_of_the_erp_mean_nothing(home: House) -> None:
    await told(home, "vendorbill", "5")
    found = await row(home)
    assert (found.state, found.reason) == (
        InboxState.IGNORED,
        "records of type 'vendorbill' settle no invoice",
    )


async def test_an_outage_of_the_erp_is_outlived(home: House) -> None:
    home.erp.invoices.add("880")
    home.erp.away = True
    await told(home, "invoice", "880")
    assert (await row(home)).state is InboxState.WAITING
    home.erp.away = False
    await later(home, 1)
    assert (await row(home)).state is InboxState.HANDED


async def test_an_event_of_what_is_no_erp_parks(home: House) -> None:
    raw, headers = signed(
        "e-1", home.clock(), {"type": "invoice.paid", "data": {"type": "invoice", "id": "7"}}
    )
    await home.http.post("/hooks/deals", content=raw, headers=headers)
    await home.settle()
    found = await row(home)
    assert (found.state, found.reason) == (InboxState.PARKED, "sf-main is not connected as an ERP")
    assert home.temporal.started == []
