"""NetSuite's drafts, issues, credits and own billing run over HTTP, judged by the account's own records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from canonical.authority import Phase
from canonical.causes import Cause
from canonical.engagement import InvoiceGrouping
from canonical.erp_billing import (
    BillingOwner,
    CostKind,
    CreditReading,
    InvoiceDraft,
    InvoiceLineDraft,
    InvoiceReading,
    InvoiceState,
    Reversal,
    UnbilledLine,
)
from canonical.failures import Defect, Refused
from canonical.feedback import Feed
from canonical.writes import Landed, VendorWrite, resolve_write
from tests.acceptance.netsuite import CONTRACT, PROJECT, Subject
from tests.connectors import netsuite_billing as bills
from tests.connectors import netsuite_samples as samples

pytestmark = pytest.mark.anyio
DAY = date(2026, 11, 30)


@dataclass
class Books:
    """An account with an active contract, and what a test has made in it."""

    subject: Subject
    values: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.erp = self.subject.connector
        self.after = self.subject.context(phase=Phase.AFTER_APPROVAL)

    async def open(self) -> None:
        self.values = await self.subject.active()

    @property
    def project(self) -> str:
        return self.values[PROJECT]

    def draft(self, *lines: InvoiceLineDraft, **changes: Any) -> InvoiceDraft:
        return self.subject.draft(self.values, *lines, **{"on": DAY, **changes})

    async def perform(self, writes: list[VendorWrite]) -> list[tuple[VendorWrite, Landed]]:
        self.values, done = await self.subject.perform(writes, self.values)
        return done

    async def posted(self, count: int = 2, **changes: Any) -> list[str]:
        """Ids of posted time lines."""
        costs = [bills.cost(n, project=self.project, **changes) for n in range(count)]
        writes = self.erp.plan_cost(self.after, costs)
        told = await self.erp.batch_outcome(await self.erp.submit_batch("B1", writes), writes)
        assert told is not None
        return [str(one.landed) for one in told]

    async def state(self, draft: InvoiceDraft) -> InvoiceReading:
        return await self.erp.invoice_state(draft, self.values)

    async def issued(self, draft: InvoiceDraft) -> str:
        """The id of an issued invoice."""
        await self.perform(
            [*self.erp.plan_invoice(self.after, draft), *self.erp.plan_issue(self.after, draft)]
        )
        return self.values[f"invoice:{draft.key}.id"]

    def close(self, **locks: bool) -> None:
        answer = self.subject.control.post("/_sim/periods", json={"name": "2026-11", **locks})
        assert answer.status_code == 200, answer.text


@pytest.fixture
async def books() -> AsyncIterator[Books]:
    books = Books(Subject())
    await books.open()
    yield books
    await books.subject.close()


# --- drafts -----------------------------------------------------------------------------------------------


async def test_a_draft_is_made_reviewed_changed_and_issued(books: Books) -> None:
    first, second = await books.posted()
    assert (await books.state(books.draft(bills.fee()))).state is InvoiceState.ABSENT
    lines = (bills.timed(first, "1125.00"), bills.timed(second, "1124.99"), bills.fee())
    draft = books.draft(*lines)
    ((write, landed),) = await books.perform(books.erp.plan_invoice(books.after, draft))
    reading = await books.state(draft)
    assert reading.state is InvoiceState.DRAFTED
    assert [(line.kind, line.posting, line.key, line.net.minor) for line in reading.lines] == [
        ("fee", None, "L2.1", 50_010),
        ("time", first, None, 112_500),
        ("time", second, None, 112_499),
    ]
    # The reviewer holds one line and writes another down: the same draft changes.
    changed = draft.model_copy(update={"lines": (bills.timed(first, "1000.00"), bills.fee())})
    (again,) = books.erp.plan_invoice(books.after, changed)
    assert again.key == write.key
    assert (await books.erp.amend(resolve_write(again, books.values), landed)).id == landed.id
    reading = await books.state(changed)
    assert [(line.posting, line.net.minor) for line in reading.lines] == [(None, 50_010), (first, 100_000)]
    held = (await books.erp.unbilled_lines("DE01", "EUR", DAY)).lines
    assert [line.ref.id for line in held] == [second], "what left the draft is unbilled again"
    ((_, issued),) = await books.perform(books.erp.plan_issue(books.after, changed))
    reading = await books.state(changed)
    assert (reading.state, issued.id) == (InvoiceState.POSTED, landed.id)
    assert reading.invoice is not None
    assert (str(reading.invoice.net), str(reading.invoice.balance)) == ("EUR 1,500.10", "EUR 1,500.10")
    assert reading.invoice.purchase_order == "PO-7"
    assert [record["tranId"] for record in books.subject.records("invoice")] == [reading.invoice.number]


async def test_asking_twice_makes_one_invoice_also_when_the_answer_is_lost(books: Books) -> None:
    draft = books.draft(bills.fee())
    (write,) = books.erp.plan_invoice(books.after, draft)
    books.subject.fault("drop_after", method="PUT", path="/invoice/")
    with pytest.raises(Exception, match="no answer"):
        await books.erp.send(write)
    assert await books.erp.find(write) is not None
    await books.perform([write])
    assert len(books.subject.records("invoice")) == 1


async def test_a_draft_can_be_withdrawn_and_frees_its_lines_but_not_its_number(books: Books) -> None:
    (first,) = await books.posted(1)
    draft = books.draft(bills.timed(first, "1125.00"))
    ((write, landed),) = await books.perform(books.erp.plan_invoice(books.after, draft))
    number = books.values[f"invoice:{draft.key}.number"]
    outcome = await books.erp.undo(write, landed, None)
    assert (outcome.result, outcome.gap) == ("deleted", number)
    assert (await books.erp.undo(write, landed, None)).result == "nothing_there"
    assert [line.ref.id for line in (await books.erp.unbilled_lines("DE01", "EUR", DAY)).lines] == [first]


async def test_an_issued_invoice_is_neither_changed_nor_deleted(books: Books) -> None:
    draft = books.draft(bills.fee())
    ((write, landed),) = await books.perform(books.erp.plan_invoice(books.after, draft))
    await books.perform(books.erp.plan_issue(books.after, draft))
    with pytest.raises(Refused) as caught:
        await books.erp.undo(write, landed, None)
    assert caught.value.failure.cause is Cause.UNDO_BLOCKED
    (more,) = books.erp.plan_invoice(books.after, books.draft(bills.fee(amount="1.00")))
    with pytest.raises(Refused, match="no draft any more"):
        await books.erp.amend(more, landed)
    assert [record["total"] for record in books.subject.records("invoice")] == [500.1]


async def test_a_draft_that_an_approver_rejects_is_told_and_can_be_withdrawn(books: Books) -> None:
    draft = books.draft(bills.fee())
    ((write, landed),) = await books.perform(books.erp.plan_invoice(books.after, draft))
    await books.subject.patch("invoice", landed.id, approvalStatus={"id": "3"})
    reading = await books.state(draft)
    assert (reading.state, "rejected" in str(reading.reason)) == (InvoiceState.REFUSED, True)
    assert (await books.erp.undo(write, landed, None)).result == "deleted"


async def test_a_period_that_closes_between_draft_and_issue_stops_the_issue(books: Books) -> None:
    draft = books.draft(bills.fee())
    ((_, landed),) = await books.perform(books.erp.plan_invoice(books.after, draft))
    books.close(arLocked=True)
    with pytest.raises(Refused) as caught:
        await books.perform(books.erp.plan_issue(books.after, draft))
    assert caught.value.failure.cause is Cause.PERIOD_CLOSED
    assert (await books.state(draft)).state is InvoiceState.DRAFTED
    books.close(arLocked=False)
    moved = draft.model_copy(update={"on": date(2026, 12, 1)})
    (again,) = books.erp.plan_invoice(books.after, moved)
    await books.erp.amend(resolve_write(again, books.values), landed)
    books.close(arLocked=True)
    await books.perform(books.erp.plan_issue(books.after, moved))
    reading = await books.state(moved)
    assert reading.invoice is not None
    assert (reading.state, reading.invoice.issued_on) == (InvoiceState.POSTED, date(2026, 12, 1))


async def test_a_line_that_somebody_has_invoiced_is_refused_by_name(books: Books) -> None:
    (first,) = await books.posted(1)
    await books.issued(books.draft(bills.timed(first, "1125.00")))
    (write,) = books.erp.plan_invoice(books.after, books.draft(bills.timed(first, "1.00"), key="G1.2"))
    with pytest.raises(Refused) as caught:
        await books.erp.send(write)
    assert caught.value.failure.cause is Cause.CHANGED_BY_SOMEBODY
    stamp = books.subject.record("timeBill", first)["externalId"]
    (posting,) = (await books.erp.postings(CostKind.TIME, [stamp])).values()
    assert posting.billed_on == books.values["invoice:G1.2026-11.1.id"]


async def test_without_approval_routing_the_invoice_is_posted_by_being_made() -> None:
    books = Books(Subject(mapping={"billing": {"invoice_approval": False}}))
    await books.open()
    assert not books.erp.billing.drafts
    draft = books.draft(bills.fee())
    await books.perform(books.erp.plan_invoice(books.after, draft))
    assert (await books.state(draft)).state is InvoiceState.POSTED
    await books.subject.close()


@pytest.mark.parametrize(
    ("currency", "amount", "taxed"),
    [("EUR", "500.10", 59_512), ("JPY", "500", 595), ("KWD", "500.125", 595_149)],
)
async def test_tax_is_the_account_s_and_net_is_ours_to_the_minor_unit(
    currency: str, amount: str, taxed: int
) -> None:
    subject = Subject()
    subject.configure(tax_rate="19")
    contract = samples.contract(samples.line(currency=currency, amount=amount), currency=currency)
    values, _ = await subject.contract(contract)
    after = subject.context(phase=Phase.AFTER_APPROVAL)
    values, _ = await subject.perform(subject.connector.plan_activation(after, contract), values)
    parties = {"bill_to": values["client:001A1.id"], "project": values[f"project:{contract.key}.id"]}
    draft = bills.draft(bills.fee(amount=amount, currency=currency), currency=currency, on=DAY, **parties)
    values, _ = await subject.perform(subject.connector.plan_invoice(after, draft), values)
    reading = await subject.connector.invoice_state(draft, values)
    assert reading.invoice is not None
    assert (reading.invoice.net.amount, reading.invoice.gross.minor) == (Decimal(amount), taxed)
    assert sum(line.tax.minor for line in reading.lines) == taxed - reading.invoice.net.minor
    await subject.close()


async def test_expenses_and_lines_of_the_contract_are_invoiced_too(books: Books) -> None:
    spent = books.erp.plan_cost(books.after, [bills.expense(1, project=books.project)])
    ((write, landed),) = await books.perform(spent)
    (agreed,) = await books.erp.contract_lines(books.values[CONTRACT])
    assert (str(agreed.amount), str(agreed.billed), agreed.key) == ("EUR 1,000.00", "EUR 0.00", "L1")
    part = bills.fee("L1.1", "250.00", order_line=agreed.order_line, order_quantity=agreed.quantity / 4)
    cost = bills.fee("exp", "108.24", kind="expense", posting=landed.id, item="4", description="Train")
    draft = books.draft(part, cost, contract=books.values[CONTRACT])
    await books.issued(draft)
    reading = await books.state(draft)
    assert [(line.kind, line.order_line, line.posting) for line in reading.lines] == [
        ("fee", 1, None),
        ("expense", None, landed.id),
    ]
    (agreed,) = await books.erp.contract_lines(books.values[CONTRACT])
    assert str(agreed.billed) == "EUR 250.00"
    (posting,) = (await books.erp.postings(CostKind.EXPENSE, [write.stamp])).values()
    assert posting.billed_on == books.values[f"invoice:{draft.key}.id"]
    assert await books.erp.unbilled_totals(DAY) == []


# --- credits ----------------------------------------------------------------------------------------------


async def test_a_credit_names_invoice_and_lines_and_splits_what_counts_as_paid(books: Books) -> None:
    books.subject.configure(tax_rate="19")
    (first,) = await books.posted(1)
    id_ = await books.issued(books.draft(bills.timed(first, "1000.00"), bills.fee(amount="500.00")))
    draft = bills.credit(id_, bills.credited("time.1", "200.00"), bills.credited("L2.1", "100.00"))
    writes = books.erp.plan_credit(books.after, draft)
    books.subject.fault("drop_after", method="POST", path="creditMemo")
    with pytest.raises(Exception, match="no answer"):
        await books.erp.send(writes[0])
    ((write, landed),) = await books.perform(writes)
    assert len(books.subject.records("creditMemo")) == 1
    reading = await books.erp.read_credit(landed.id)
    assert isinstance(reading, CreditReading)
    assert (str(reading.credit.net), str(reading.credit.gross)) == ("EUR 300.00", "EUR 357.00")
    assert (reading.credit.invoice.id, reading.applied.minor) == (id_, 35_700)
    lines = books.subject.record("creditMemo", landed.id)["item"]["items"]
    assert [line["custcol_trueup_line"] for line in lines] == ["time.1", "L2.1"]
    await pay(books, id_, 1000)
    invoice = (await books.erp.read_billed(id_)).invoice
    assert invoice is not None
    parts = (invoice.gross, invoice.paid, invoice.credited, invoice.balance)
    assert [part.minor for part in parts] == [178_500, 100_000, 35_700, 42_800]
    with pytest.raises(Refused) as caught:
        await books.erp.undo(write, landed, None)
    assert caught.value.failure.cause is Cause.UNDO_BLOCKED
    assert await books.erp.read_credit("999999") is None
    assert (await books.erp.read_billed("999999")).state is InvoiceState.ABSENT


async def pay(books: Books, invoice: str, amount: int) -> None:
    """The client pays, by somebody else's hand."""
    body = {
        "customer": {"id": books.values["client:001A1.id"]},
        "currency": {"id": "4"},
        "payment": amount,
        "tranDate": "2026-12-03",
        "apply": {"items": [{"doc": {"id": invoice}, "apply": True, "amount": amount}]},
    }
    somebody = books.subject.build()
    path = "/services/rest/record/v1/customerPayment"
    await somebody._client.call("POST", path, what="Pay", write=True, body=body)
    await somebody.close()


async def test_a_paid_invoice_is_credited_without_being_applied(books: Books) -> None:
    id_ = await books.issued(books.draft(bills.fee(amount="500.00")))
    await pay(books, id_, 500)
    ((_, landed),) = await books.perform(
        books.erp.plan_credit(books.after, bills.credit(id_, bills.credited(amount="100.00"), apply=False))
    )
    reading = await books.erp.read_credit(landed.id)
    assert reading is not None
    assert (reading.applied.minor, reading.credit.net.minor) == (0, 10_000)
    invoice = (await books.erp.read_billed(id_)).invoice
    assert invoice is not None
    assert (invoice.paid.minor, invoice.credited.minor) == (50_000, 0)


async def test_a_credit_in_a_closed_period_is_refused_and_made_in_an_open_one(books: Books) -> None:
    id_ = await books.issued(books.draft(bills.fee()))
    books.close(closed=True)
    old = bills.credit(id_, bills.credited(), on=DAY)
    with pytest.raises(Refused) as caught:
        await books.perform(books.erp.plan_credit(books.after, old))
    assert caught.value.failure.cause is Cause.PERIOD_CLOSED
    await books.perform(books.erp.plan_credit(books.after, old.model_copy(update={"on": date(2026, 12, 1)})))
    assert len(books.subject.records("creditMemo")) == 1


# --- the account's own run, books, master data ------------------------------------------------------------


def run(books: Books, day: str = "2026-11-30") -> list[str]:
    answer = books.subject.control.post("/_sim/billing-run", json={"date": day})
    assert answer.status_code == 200, answer.text
    made: list[str] = answer.json()
    return made


async def test_the_account_s_own_run_is_released_waited_for_and_read(books: Books) -> None:
    first, second = await books.posted()
    lines = (bills.timed(first, "1125.00"), bills.timed(second, "1125.00"), bills.fee())
    draft = books.draft(*lines, owner=BillingOwner.ERP_RUN)
    for _ in (1, 2):
        await books.perform(books.erp.plan_invoice(books.after, draft))
    assert len(books.subject.records("charge")) == 1
    assert (await books.state(draft)).state is InvoiceState.PENDING
    (made,) = run(books)
    reading = await books.state(draft)
    assert reading.invoice is not None
    assert (reading.state, reading.invoice.ref.id) == (InvoiceState.POSTED, made)
    assert reading.invoice.net == draft.net
    late = books.draft(bills.timed(first, "1.00"), bills.fee("L3"), owner=BillingOwner.ERP_RUN, key="G1.2")
    await books.perform(books.erp.plan_invoice(books.after, late))
    pending = await books.state(late)
    assert (pending.state, pending.reason) == (InvoiceState.PENDING, "the billing run has taken 1 of 2 lines")
    run(books)
    apart = await books.state(late)
    assert (apart.state, "2 invoices" in str(apart.reason)) == (InvoiceState.REFUSED, True)


async def test_the_unbilled_balance_is_told_by_entity_currency_and_line(books: Books) -> None:
    ids = await books.posted(5, minutes=20, bill_rate=Decimal("100"))
    await books.perform(books.erp.plan_cost(books.after, [bills.expense(1, project=books.project)]))
    released = books.draft(bills.fee(), owner=BillingOwner.ERP_RUN)
    await books.perform(books.erp.plan_invoice(books.after, released))
    assert await books.erp.unbilled_totals(date(2026, 11, 17)) == []
    totals = {one.kind: one for one in await books.erp.unbilled_totals(DAY)}
    # 20 minutes at 100 an hour are 33.33 a line, rounded line by line.
    assert {kind: (str(one.amount), one.lines) for kind, one in totals.items()} == {
        "time": ("EUR 166.65", 5),
        "expense": ("EUR 98.40", 1),
        "fee": ("EUR 500.10", 1),
    }
    lines: list[UnbilledLine] = []
    cursor: str | None = None
    while True:
        page = await books.erp.unbilled_lines("DE01", "EUR", DAY, cursor)
        lines += page.lines
        if (cursor := page.cursor) is None:
            break
    assert sorted(line.ref.id for line in lines if line.kind == "time") == sorted(ids)
    assert sum(line.amount.minor for line in lines) == sum(one.amount.minor for one in totals.values())
    assert (await books.erp.unbilled_lines("UK01", "EUR", DAY)).lines == ()
    for wrong in ("x", "[9,0]", "{}"):
        with pytest.raises(Defect, match="cursor"):
            await books.erp.unbilled_lines("DE01", "EUR", DAY, wrong)


async def test_periods_tell_each_lock(books: Books) -> None:
    books.close(apLocked=True)
    october, november, *_ = await books.erp.accounting_periods()
    assert (october.closed, november.closed) == (True, False)
    assert (november.payables_locked, november.receivables_locked) == (True, False)
    books.close(allLocked=True)
    assert (await books.erp.accounting_periods())[1].general_locked, "never remembered"


async def test_workers_are_found_by_what_identifies_them(books: Books) -> None:
    books.subject.seed(vendor=[{"id": "90", "companyName": "Bo Ltd", "email": "bo@sub.test",
                                "subsidiary": {"id": "3"}}])  # fmt: skip
    found = await books.erp.workers(["ANN@firm.test", "bo@sub.test", "nobody@firm.test", ""])
    assert [(one.ref.id, one.subcontractor, one.legal_entity) for one in found] == [
        ("14", False, "DE01"),
        ("90", True, "DE01"),
    ]
    assert [one.ref.id for one in await books.erp.workers(["W-14"])] == ["14"]
    assert await books.erp.workers([]) == []
    await books.subject.patch("employee", "14", isInactive=True)
    assert (await books.erp.workers(["W-14"]))[0].inactive


async def test_projects_tell_whether_they_take_work(books: Books) -> None:
    (project,) = await books.erp.projects([books.project, "999999"])
    assert (project.code, project.legal_entity, project.currency) == ("PRJ-00001", "DE01", "EUR")
    assert project.open
    await books.subject.patch("job", books.project, allowTime=False)
    assert not (await books.erp.projects([books.project]))[0].open


async def test_what_the_account_cannot_do_is_declared(books: Books) -> None:
    here = books.erp.billing
    assert here.groupings == (InvoiceGrouping.PROJECT, InvoiceGrouping.CONTRACT)
    assert (here.reversals, here.voids, here.credits_by_line) == ((Reversal.DELETE,), False, True)
    told = " ".join(here.limitations)
    for word in ("void", "one date", "whole account", "cannot be started", "negative", "intercompany"):
        assert word in told
    able = books.subject.build(
        mapping={"billing": {"negative_time": True, "intercompany_time": True}, "custom": {}}
    )
    assert able.billing.reversals == (Reversal.DELETE, Reversal.NEGATIVE_LINE)
    assert able.billing.foreign_workers
    assert not able.billing.credits_by_line
    await able.close()


# --- the feedback saga's poll -----------------------------------------------------------------------------


async def test_changed_invoices_and_credits_are_told(books: Books) -> None:
    id_ = await books.issued(books.draft(bills.fee()))
    page = await books.erp.feedback_changes(Feed.INVOICES, None)
    assert [(change.ref.type, change.ref.id) for change in page.changes] == [("invoice", id_)]
    invoice = (await books.erp.read_billed(id_)).invoice
    assert invoice is not None
    assert page.changes[0].modified_at == invoice.modified_at, "zones agree"
    with pytest.raises(Defect):
        await books.erp.feedback_changes(Feed.INVOICES, "not a cursor")
    await books.perform(books.erp.plan_credit(books.after, bills.credit(id_, bills.credited())))
    later = await books.erp.feedback_changes(Feed.INVOICES, page.cursor)
    assert {change.ref.type for change in later.changes} == {"invoice"}
    (memo,) = (await books.erp.feedback_changes(Feed.CREDITS, None)).changes
    assert [one.id for one in await books.erp.invoices_of([memo.ref])] == [id_]


async def test_paging_loses_nothing_while_rows_change() -> None:
    books = Books(Subject())
    ids = await books.subject.moving()
    seen: list[str] = []
    page = await books.erp.feedback_changes(Feed.INVOICES, None, limit=2)
    while True:
        seen += [change.ref.id for change in page.changes]
        if not page.more:
            break
        if len(seen) == 4:  # an invoice that was already read changes, another one is still to come
            await books.subject.patch("invoice", ids[0], memo="moved")
        page = await books.erp.feedback_changes(Feed.INVOICES, page.cursor, limit=2)
    assert set(ids) <= set(seen)
    again = await books.erp.feedback_changes(Feed.INVOICES, page.cursor)
    assert ids[0] in [change.ref.id for change in again.changes]  # the overlap
    await books.subject.close()
