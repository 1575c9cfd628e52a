"""NetSuite's invoices, credits, posted lines and periods in canonical words, from its own JSON and rows."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from canonical.erp_billing import Book, CostKind, InvoiceLineKind, InvoiceState
from canonical.refs import RecordRef
from connectors.netsuite.billing_readings import (
    to_contract_lines,
    to_credit,
    to_invoice,
    to_period,
    to_project,
    to_worker,
)
from connectors.netsuite.client import NetSuiteClient
from connectors.netsuite.postings import (
    expense_of,
    expense_record,
    minutes_in,
    minutes_of,
    shown,
    time_of,
    time_record,
)
from tests.connectors import netsuite_samples as samples

MAPPING = samples.mapping(custom={"line_key": "custcol_key"})
REF = RecordRef(system=samples.SYSTEM, type="invoice", id="880")
INVOICE: dict[str, Any] = {
    "id": "880",
    "tranId": "INV12",
    "entity": {"id": "55", "refName": "Acme GmbH"},
    "subsidiary": {"id": "3"},
    "currency": {"id": "4"},
    "exchangeRate": Decimal("1.0"),
    "postingPeriod": {"id": "11", "refName": "Dec 2026"},
    "status": {"id": "A", "refName": "Open"},
    "approvalStatus": {"id": "2", "refName": "Approved"},
    "tranDate": "2026-12-31",
    "dueDate": "2027-01-30",
    "otherRefNum": "PO-7",
    "amountPaid": Decimal("119.00"),
    "amountRemaining": Decimal("1071.00"),
    "lastModifiedDate": "2027-01-02T10:00:00Z",
    "item": {
        "items": [
            {"line": 1, "amount": Decimal("700.00"), "taxAmount": Decimal("133.00"), "custcol_key": "L2.1"},
            {"line": 2, "amount": Decimal("200.00"), "taxAmount": Decimal("38.00"), "orderLine": 4},
        ]
    },
    "time": {
        "items": [
            {"apply": True, "amount": 80, "taxAmount": Decimal("15.2"), "doc": {"id": "700"}},
            {"apply": False, "amount": 5, "doc": {"id": "701"}},
        ]
    },
    "expCost": {"items": [{"apply": True, "amount": 20, "doc": {"id": "702"}, "line": 1}]},
    "taxDetails": {
        "items": [
            {"taxCode": {"id": "VAT19"}, "taxAmount": Decimal("133.00")},
            {"taxCode": {"id": "VAT19"}, "taxAmount": Decimal("57.00")},
        ]
    },
}


@pytest.fixture(scope="module")
def client() -> NetSuiteClient:
    return NetSuiteClient(samples.SYSTEM, samples.settings())


# --- invoices ---------------------------------------------------------------------------------------------


def test_an_invoice_balances_and_tells_every_line() -> None:
    links = [{"type": "CustCred", "amount": "-19.00"}, {"type": "CustPymt", "amount": "100"}]
    reading = to_invoice(MAPPING, INVOICE, REF, links)
    invoice = reading.invoice
    assert invoice is not None
    figures = (invoice.net, invoice.gross, invoice.paid, invoice.credited, invoice.balance)
    assert [str(one) for one in figures] == [
        "EUR 1,000.00",
        "EUR 1,190.00",
        "EUR 100.00",
        "EUR 19.00",
        "EUR 1,071.00",
    ]
    assert [(tax.code, str(tax.amount)) for tax in invoice.tax] == [("VAT19", "EUR 190.00")]
    assert (invoice.seller, invoice.purchase_order) == ("DE01", "PO-7")
    assert invoice.modified_at == datetime(2027, 1, 2, 10, tzinfo=UTC)
    assert (reading.state, reading.posting_period) == (InvoiceState.POSTED, "11")
    assert [(line.kind, line.key, line.posting, line.order_line) for line in reading.lines] == [
        (InvoiceLineKind.FEE, "L2.1", None, None),
        (InvoiceLineKind.FEE, None, None, 4),
        (InvoiceLineKind.TIME, None, "700", None),
        (InvoiceLineKind.EXPENSE, None, "702", None),
    ]
    assert sum(line.net.minor for line in reading.lines) == invoice.net.minor


@pytest.mark.parametrize(
    ("status", "approval", "state"),
    [
        ("D", "1", InvoiceState.DRAFTED),
        ("D", "11", InvoiceState.DRAFTED),
        ("A", "2", InvoiceState.POSTED),
        ("B", "2", InvoiceState.POSTED),
        ("E", "3", InvoiceState.REFUSED),
        ("V", "2", InvoiceState.REFUSED),
    ],
)
def test_approval_tells_a_draft_from_an_issued_invoice(
    status: str, approval: str, state: InvoiceState
) -> None:
    record = {**INVOICE, "status": {"id": status}, "approvalStatus": {"id": approval}}
    reading = to_invoice(MAPPING, record, REF)
    assert reading.state is state
    assert (reading.reason is not None) == (state is InvoiceState.REFUSED)


def test_tax_that_does_not_add_up_by_code_is_told_in_one_sum() -> None:
    one = {"items": [{"taxCode": {"id": "VAT19"}, "taxAmount": Decimal("1.00")}]}
    for details in (one, None):
        reading = to_invoice(MAPPING, {**INVOICE, "taxDetails": details}, REF)
        assert reading.invoice is not None
        assert [(tax.code, tax.amount.minor) for tax in reading.invoice.tax] == [("total", 19_000)]


def test_an_impossible_credit_is_refused() -> None:
    with pytest.raises(ValueError, match="exceeds"):
        to_invoice(MAPPING, INVOICE, REF, [{"type": "CustCred", "amount": "500"}])


@pytest.mark.parametrize(("currency", "net"), [("6", "1000"), ("8", "1000.125")])
def test_invoices_in_other_currencies(currency: str, net: str) -> None:
    amounts = {"amountPaid": 0, "amountRemaining": Decimal(net), "currency": {"id": currency}}
    bare = {"item": {"items": [{"line": 1, "amount": Decimal(net)}]}, "time": None, "expCost": None}
    reading = to_invoice(MAPPING, {**INVOICE, **amounts, **bare, "taxDetails": None}, REF)
    assert reading.invoice is not None
    assert (reading.invoice.net.amount, reading.invoice.tax) == (Decimal(net), ())
    # An account that keeps other decimals than the currency has is noticed, not rounded away.
    odd = {"item": {"items": [{"line": 1, "amount": Decimal("0.0005")}]}}
    with pytest.raises(ValueError, match="decimals"):
        to_invoice(MAPPING, {**INVOICE, **amounts, **bare, **odd, "taxDetails": None}, REF)


def test_a_credit_tells_its_invoice_and_what_it_settles(client: NetSuiteClient) -> None:
    record = {
        "id": "900",
        "tranId": "CM3",
        "createdFrom": {"id": "880"},
        "currency": {"id": "4"},
        "subsidiary": {"id": "3"},
        "tranDate": "2027-01-05",
        "memo": "Wrong rate",
        "total": Decimal("119.00"),
        "exchangeRate": Decimal("1.0"),
        "item": {"items": [{"line": 1, "amount": Decimal("100.00")}]},
        "apply": {"items": [{"apply": True, "amount": Decimal("19.00"), "doc": {"id": "880"}}]},
    }
    ref = RecordRef(system=samples.SYSTEM, type="creditMemo", id="900")
    reading = to_credit(client, MAPPING, record, ref)
    credit = reading.credit
    assert (credit.number, credit.invoice.id, credit.reason) == ("CM3", "880", "Wrong rate")
    assert (str(credit.net), str(credit.gross), str(reading.applied)) == (
        "EUR 100.00",
        "EUR 119.00",
        "EUR 19.00",
    )
    with pytest.raises(ValueError, match="not made from an invoice"):
        to_credit(client, MAPPING, {**record, "createdFrom": None}, ref)


def test_lines_of_a_contract_tell_what_is_billed() -> None:
    line = {"line": 2, "item": {"id": "31"}, "quantity": 4, "quantityBilled": 1, "amount": Decimal("1000.00")}
    record = {"id": "5", "currency": {"id": "4"}, "item": {"items": [{**line, "custcol_key": "L2"}]}}
    (one,) = to_contract_lines(MAPPING, record)
    assert (one.order_line, one.key, one.item) == (2, "L2", "31")
    assert (str(one.amount), str(one.billed)) == ("EUR 1,000.00", "EUR 250.00")


# --- posted lines -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "minutes"), [("7.5", 450), ("0.3333333", 20), ("-0.3333", -20), ("8", 480)]
)
def test_decimal_hours_are_minutes_again(hours: str, minutes: int) -> None:
    assert minutes_of(hours) == minutes


@pytest.mark.parametrize(
    ("duration", "minutes"), [("7:30", 450), ("0:20", 20), ("-7:30", -450), ("12:00", 720)]
)
def test_durations_are_minutes(duration: str, minutes: int) -> None:
    assert minutes_in(duration) == minutes


def test_a_time_entry_reads_the_same_by_query_and_by_record(client: NetSuiteClient) -> None:
    row = {
        "id": "700",
        "externalid": "tu-1",
        "employee": "14",
        "customer": "77",
        "day": "2026-11-18",
        "hours": "-0.3333333333",
        "isbillable": "T",
        "approvalstatus": "3",
        "memo": "Reverses tu-0. Rejected",
    }
    record = {
        "id": "700",
        "employee": {"id": "14"},
        "customer": {"id": "77"},
        "tranDate": "2026-11-18",
        "hours": "-0:20",
        "isBillable": True,
        "approvalStatus": {"id": "3"},
        "memo": "Reverses tu-0. Rejected",
    }
    one = time_of(client, MAPPING, row)
    assert one == time_record(client, MAPPING, "tu-1", record)
    assert (one.minutes, one.reverses, one.approved) == (-20, "tu-0", True)
    assert shown(one) == {
        "hours": "-0:20",
        "posted_on": "2026-11-18",
        "project": "77",
        "worker": "14",
        "billable": True,
    }
    custom = samples.mapping(custom={"time_reverses": "custcol_Back"})
    assert time_of(client, custom, {**row, "custcol_back": "tu-9"}).reverses == "tu-9"


def test_an_expense_reads_the_same_by_query_and_by_record(client: NetSuiteClient) -> None:
    row = {
        "id": "702",
        "externalid": "tu-2",
        "worker": "14",
        "project": "77",
        "day": "2026-11-18",
        "amount": "9840",
        "currency": "6",
        "isbillable": "F",
        "approvalstatus": "2",
    }
    line = {"customer": {"id": "77"}, "amount": 9840, "isBillable": False}
    record = {
        "id": "702",
        "entity": {"id": "14"},
        "tranDate": "2026-11-18",
        "expensereportcurrency": {"id": "6"},
        "approvalStatus": {"id": "2"},
        "expense": {"items": [line]},
    }
    one = expense_of(client, MAPPING, row)
    assert one == expense_record(client, MAPPING, "tu-2", record)
    assert (one.kind, str(one.amount), one.billable) == (CostKind.EXPENSE, "JPY 9,840", False)
    assert shown(one)["amount"] == "9840"
    strange = expense_of(client, MAPPING, {**row, "currency": "99"})
    assert (strange.amount, shown(strange)["amount"]) == (None, None)


# --- periods, workers, projects ---------------------------------------------------------------------------


def test_periods_are_months_with_a_lock_for_each_book() -> None:
    row = {"id": "1", "periodname": "Nov 2026", "startdate": "2026-11-01", "enddate": "2026-11-30"}
    locks = {
        "arlocked": {Book.RECEIVABLES},
        "aplocked": {Book.PAYABLES},
        "alllocked": set(Book),
        "closed": set(Book),
    }
    for name, shut in locks.items():
        month = to_period({**row, name: "T"})
        assert month is not None
        assert {book for book in Book if not month.open_for(book)} == shut
    assert to_period({**row, "isyear": "T"}) is None
    assert to_period({**row, "isquarter": "T"}) is None
    assert to_period({"id": "1"}) is None


def test_workers_and_projects(client: NetSuiteClient) -> None:
    row = {"id": "14", "email": "ann@firm.test", "entityid": "E-14", "subsidiary": "3", "isinactive": "F"}
    worker = to_worker(client, MAPPING, "employee", row)
    assert (worker.legal_entity, worker.number, worker.subcontractor) == ("DE01", "E-14", False)
    assert to_worker(client, MAPPING, "vendor", row).subcontractor
    job = {"id": "77", "entityid": "PRJ1", "parent": "55", "subsidiary": "3", "currency": "4"}
    states = [
        ({"entitystatus": "2"}, True),
        ({"entitystatus": "2", "allowtime": "F"}, False),
        ({"entitystatus": "4"}, False),
        ({"entitystatus": "2", "isinactive": "T"}, False),
    ]
    for state, open_ in states:
        project = to_project(client, MAPPING, {**job, **state})
        assert (project.code, project.legal_entity, project.currency) == ("PRJ1", "DE01", "EUR")
        assert (project.open, project.client) == (open_, "55")
