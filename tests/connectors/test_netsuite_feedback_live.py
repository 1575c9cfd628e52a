"""How an invoice stands, read over real HTTP: payments, credits, withholding, refunds, disputes, revenue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from canonical.erp_billing import InvoiceState
from canonical.feedback import ApplicationKind, Feed, InvoiceStanding, InvoiceStatus
from canonical.refs import RecordRef
from rules.feedback import contract_finder, shares_of, status_of
from tests.acceptance.netsuite import CONTRACT, Subject
from tests.connectors import netsuite_billing as bills
from tests.connectors.test_netsuite_invoices_live import DAY, Books

pytestmark = pytest.mark.anyio
DISPUTED = "custbody_disputed"


class Desk(Books):
    """An accountant at work on an issued invoice of EUR 500.10 net and gross."""

    async def invoice(self) -> str:
        await self.open()
        return await self.issued(self.draft(bills.fee()))

    def _own(self, type_: str, invoice: str, party: str, **fields: Any) -> str:
        shown = self.subject.record("invoice", invoice)
        kinds = ("invoice", "customerPayment", "creditMemo", "customerRefund")
        number = str(9_000 + sum(len(self.subject.records(kind)) for kind in kinds))
        head = {name: {"id": shown[name]["id"]} for name in ("currency", "subsidiary")}
        owner = {party: {"id": shown["entity"]["id"]}}
        self.subject.seed(**{type_: [{"id": number, "tranDate": f"{DAY}", **head, **owner, **fields}]})
        return number

    def pay(self, invoice: str, amount: float) -> str:
        apply = {"items": [{"doc": {"id": invoice}, "apply": True, "amount": amount}]}
        return self._own("customerPayment", invoice, "customer", payment=amount, apply=apply)

    def credit(self, invoice: str, amount: float, *, item: str = "31", applied: bool = True) -> str:
        apply = {"items": [{"doc": {"id": invoice}, "apply": applied}]}
        lines = {"items": [{"item": {"id": item}, "amount": amount}]}
        origin = {"createdFrom": {"id": invoice}}
        return self._own("creditMemo", invoice, "entity", item=lines, apply=apply, **origin)

    async def standing(self, invoice: str) -> InvoiceStanding:
        return await self.erp.invoice_standing(invoice)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    rules = {"disputed_field": DISPUTED, "withholding_items": ["32"], "write_off_items": ["33"]}
    subject = Subject(mapping={"feedback": rules})
    subject.seed(serviceSaleItem=[{"id": id_, "itemId": f"Item {id_}"} for id_ in ("32", "33")])
    yield Desk(subject)
    await subject.close()


async def test_payments_and_their_reversal(desk: Desk) -> None:
    id_ = await desk.invoice()
    first = await desk.standing(id_)
    assert (first.state, status_of(first), first.complete) == (
        InvoiceState.POSTED,
        InvoiceStatus.ISSUED,
        True,
    )
    payment = desk.pay(id_, 200)
    part = await desk.standing(id_)
    assert part.invoice is not None
    assert (str(part.invoice.paid), str(part.invoice.balance)) == ("EUR 200.00", "EUR 300.10")
    assert [(one.document.id, one.kind) for one in part.applications] == [(payment, ApplicationKind.PAYMENT)]
    rest = desk.pay(id_, 300.10)
    assert (await desk.standing(id_)).settled
    assert await desk.erp._client.delete("customerPayment", rest, what="reversed")
    again = await desk.standing(id_)
    assert again.digest == part.digest, "the state counts, not the way to it"
    assert not again.settled


async def test_credits_withholding_write_off_and_refund(desk: Desk) -> None:
    id_ = await desk.invoice()
    desk.credit(id_, 100)
    desk.credit(id_, 50, item="32")
    desk.credit(id_, 25, item="33")
    stands = await desk.standing(id_)
    told = stands.invoice
    assert told is not None
    assert [str(m) for m in (told.paid, told.credited, told.withheld, told.written_off, told.balance)] == [
        "EUR 0.00", "EUR 100.00", "EUR 50.00", "EUR 25.00", "EUR 325.10",
    ]  # fmt: skip
    desk.pay(id_, 325.10)
    open_credit = desk.credit(id_, 80, applied=False)
    apply = {"items": [{"doc": {"id": open_credit}, "apply": True, "amount": 60}]}
    refund = desk._own("customerRefund", id_, "customer", apply=apply)
    stands = await desk.standing(id_)
    assert str(stands.refunded) == "EUR 60.00"
    assert stands.settled
    documents = [RecordRef(system=desk.erp.system, type="customerRefund", id=refund)]
    assert [one.id for one in await desk.erp.invoices_of(documents)] == [id_]


async def test_disputes_voids_and_what_is_not_there(desk: Desk) -> None:
    desk.subject.control.post(
        "/_sim/schema", json={"invoice": [{"name": DISPUTED, "type": "boolean"}]}
    ).raise_for_status()
    id_ = await desk.invoice()
    await desk.subject.patch("invoice", id_, **{DISPUTED: True})
    assert (await desk.standing(id_)).disputed
    assert (await desk.standing("999999")).state is InvoiceState.ABSENT
    assert (await desk.standing("not-a-number")).state is InvoiceState.ABSENT


async def test_invoices_of_other_sellers_are_nobodys_business(desk: Desk) -> None:
    id_ = await desk.invoice()
    desk.subject.seed(
        subsidiary=[{"id": "9", "name": "Somebody else", "currency": {"id": "4"}}],
        customer=[
            {
                "id": "8001",
                "companyName": "Theirs",
                "subsidiary": {"id": "9"},
                "currency": {"id": "4"},
                "currencyList": {"items": [{"currency": {"id": "4"}}]},
            }
        ],
    )
    lines = {"items": [{"item": {"id": "31"}, "amount": 5}]}
    theirs = {"entity": {"id": "8001"}, "subsidiary": {"id": "9"}, "currency": {"id": "4"}, "item": lines}
    desk.subject.seed(invoice=[{"id": "8900", "tranDate": f"{DAY}", **theirs}])
    assert (await desk.standing("8900")).foreign
    assert not (await desk.standing(id_)).foreign


async def test_a_late_search_is_noticed(desk: Desk) -> None:
    id_ = await desk.invoice()
    desk.subject.configure(suiteql_lag_seconds=60)
    desk.credit(id_, 100)
    stands = await desk.standing(id_)
    assert not stands.complete, "the record counts 100 as paid, and no document says why"
    desk.subject.configure(suiteql_lag_seconds=0)
    again = await desk.standing(id_)
    assert again.complete
    assert again.digest != stands.digest


async def test_an_invoice_over_two_projects_is_split(desk: Desk) -> None:
    id_ = await desk.invoice()
    job = desk.project
    other = str(int(job) + 5_000)
    own = desk.subject.record("job", job)
    desk.subject.seed(
        job=[{**{k: own[k] for k in ("parent", "subsidiary", "currency")}, "id": other, "companyName": "B",
              "projectExpenseType": {"id": "-2"}, "jobBillingType": {"id": "TM"}}]
    )  # fmt: skip
    lines = [
        {"item": {"id": "31"}, "quantity": 1, "amount": 100, "job": {"id": job}},
        {"item": {"id": "31"}, "quantity": 1, "amount": 50, "job": {"id": other}},
    ]
    both = desk._own("invoice", id_, "entity", item={"items": lines}, approvalStatus={"id": "2"})
    desk.pay(both, 30)
    shares = shares_of(await desk.standing(both), contract_finder({}, {job: "A", other: "B"}))
    assert [(one.contract_key, str(one.gross), str(one.paid)) for one in shares] == [
        ("A", "EUR 100.00", "EUR 20.00"),
        ("B", "EUR 50.00", "EUR 10.00"),
    ]


async def test_every_feed_has_a_cursor_of_its_own(desk: Desk) -> None:
    id_ = await desk.invoice()
    payment = desk.pay(id_, 200)
    told = {feed: (await desk.erp.feedback_changes(feed, None)).changes for feed in Feed}
    assert [one.ref.id for one in told[Feed.INVOICES]] == [id_]
    assert [one.ref.id for one in told[Feed.PAYMENTS]] == [payment]
    assert told[Feed.CREDITS] == ()
    assert {one.ref.id for one in told[Feed.REVENUE]} == {desk.values[CONTRACT]}
    assert [one.id for one in await desk.erp.invoices_of([told[Feed.PAYMENTS][0].ref])] == [id_]
    balances = await desk.erp.open_balances([id_, "999999"])
    assert {one: str(balance.balance) for one, balance in balances.items()} == {id_: "300.1"}


async def test_recognised_revenue_is_read(desk: Desk) -> None:
    await desk.invoice()
    order = desk.values[CONTRACT]
    before = await desk.erp.revenue_standing(order)
    assert before is not None
    assert not before.recognised.amount
    answer = desk.subject.control.post("/_sim/recognise", json={"order": order, "amount": "250.50"})
    assert answer.status_code == 200, answer.text
    after = await desk.erp.revenue_standing(order)
    assert after is not None
    assert str(after.recognised) == "EUR 250.50"
    assert after.recognised + after.deferred == before.deferred
    assert await desk.erp.revenue_standing("424242") is None
