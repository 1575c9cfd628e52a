"""NetSuite's planned writes of cost, invoices and credits: what is sent, under which key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from canonical.authority import Phase
from canonical.erp_billing import AccountingPeriod, BillingOwner, Book, Reversal, ReversalOrder, posting_date
from canonical.failures import Defect, Refused
from canonical.writes import KeyStyle, VendorWrite, WriteKind, symbol
from connectors.netsuite.billing_plans import CostPlanner, hours, reversed_stamp, worked_on
from connectors.netsuite.invoice_plans import InvoicePlanner
from connectors.netsuite.plans import Planner
from tests.connectors import netsuite_billing as bills
from tests.connectors import netsuite_samples as samples

AFTER = samples.context("post", phase=Phase.AFTER_APPROVAL)


def costs(**mapping: Any) -> CostPlanner:
    return CostPlanner(Planner(samples.SYSTEM, samples.settings(mapping=mapping)))


def invoices(**mapping: Any) -> InvoicePlanner:
    return InvoicePlanner(Planner(samples.SYSTEM, samples.settings(mapping=mapping)))


def the(writes: list[VendorWrite]) -> VendorWrite:
    (write,) = writes
    if write.body is not None:
        samples.assert_authorised(write)
    return write


# --- cost -------------------------------------------------------------------------------------------------


def test_time_is_posted_in_hours_and_minutes_per_revision() -> None:
    write = the(costs().cost(AFTER, [bills.cost(task="5")]))
    assert write.key == "netsuite-emea|post_time|kx.991.r2|g1|1"
    assert (write.record_type, write.kind, write.key_style) == (
        "timeBill",
        WriteKind.CREATE,
        KeyStyle.NATIVE,
    )
    assert write.body == {
        "employee": {"id": "14"},
        "customer": {"id": "77"},
        "caseTaskEvent": {"id": "5"},
        "item": {"id": "31"},
        "hours": "7:30",
        "tranDate": "2026-11-18",
        "isBillable": True,
        "rate": "150",
        "approvalStatus": {"id": "3"},
        "memo": "Workshop",
    }
    again = the(costs().cost(AFTER, [bills.cost(revision="r3")]))
    assert again.key != write.key
    assert the(costs().cost(AFTER, [bills.cost(part=2)])).key == "netsuite-emea|post_time|kx.991.r2.p2|g1|1"


def test_work_that_is_covered_is_cost_and_has_no_rate() -> None:
    write = the(costs().cost(AFTER, [bills.cost(billable=False, item=None)]))
    assert write.body["isBillable"] is False
    assert {"rate", "item"}.isdisjoint(write.body)
    with pytest.raises(Defect, match="service item"):
        costs().cost(AFTER, [bills.cost(item=None)])


@pytest.mark.parametrize(("minutes", "text"), [(20, "0:20"), (60, "1:00"), (605, "10:05"), (-90, "-1:30")])
def test_minutes_are_exact(minutes: int, text: str) -> None:
    assert hours(minutes) == text


def test_a_line_of_a_closed_period_keeps_the_day_it_was_worked_on() -> None:
    late = bills.cost(work_date=date(2026, 10, 30), posting_date=date(2026, 11, 1))
    write = the(costs().cost(AFTER, [late]))
    assert (write.body["tranDate"], write.body["memo"]) == ("2026-11-01", "Worked 2026-10-30. Workshop")
    assert worked_on(write.body["memo"], date(2026, 11, 1)) == date(2026, 10, 30)
    assert worked_on("Worked all night", date(2026, 11, 1)) == date(2026, 11, 1)
    custom = {"custom": {"time_work_date": "custcol_worked"}}
    write = the(costs(**custom).cost(AFTER, [late]))
    assert (write.body["custcol_worked"], write.body["memo"]) == ("2026-10-30", "Workshop")
    assert "custcol_worked" not in the(costs(**custom).cost(AFTER, [bills.cost()])).body


@pytest.mark.parametrize(
    ("currency", "id_", "amount"), [("EUR", "4", "98.40"), ("JPY", "6", "9840"), ("KWD", "8", "98.405")]
)
def test_an_expense_is_a_report_of_one_line(currency: str, id_: str, amount: str) -> None:
    write = the(costs().cost(AFTER, [bills.expense(amount=amount, currency=currency)]))
    assert write.record_type == "expenseReport"
    assert write.body["expensereportcurrency"] == {"id": id_}
    assert write.expect["amount"] == amount
    (line,) = write.body["expense"]["items"]
    assert line == {
        "category": {"id": "4"},
        "customer": {"id": "77"},
        "amount": amount,
        "expensedate": "2026-11-18",
        "isBillable": True,
        "isnonreimbursable": True,
        "memo": "Train",
    }


def test_a_posting_names_its_source_where_the_account_has_a_field_for_it() -> None:
    named = costs(custom={"time_source": "custcol_source", "expense_source": "custbody_source"})
    assert the(named.cost(AFTER, [bills.cost()])).body["custcol_source"] == "kx/time_entries/991@r2"
    assert the(named.cost(AFTER, [bills.expense()])).body["custbody_source"] == "kx/expenses/5@r2"


def test_who_reimburses_decides_whether_anything_is_owed_to_the_worker() -> None:
    ours = the(costs().cost(AFTER, [bills.expense(payable_to_worker=True)]))
    assert ours.body["expense"]["items"][0]["isnonreimbursable"] is False
    for wrong, words in (({"amount": None}, "amount"), ({"item": None}, "category")):
        with pytest.raises(Defect, match=words):
            costs().cost(AFTER, [bills.expense().model_copy(update=wrong)])


# --- taking back ------------------------------------------------------------------------------------------


def order(form: Reversal, **changes: Any) -> ReversalOrder:
    fields: dict[str, Any] = {
        "line": bills.cost(),
        "posting": bills.posting(),
        "form": form,
        "on": date(2026, 12, 1),
        "reason": "Rejected after posting",
        **changes,
    }
    return ReversalOrder(**fields)


def test_a_line_is_removed_by_its_id() -> None:
    write = the(costs().reversals(AFTER, [order(Reversal.DELETE)]))
    assert (write.method, write.target, write.expect) == ("DELETE", "700", {"gone": True})
    assert write.forward_only
    billed = order(Reversal.DELETE, posting=bills.posting(billed_on="880"))
    with pytest.raises(Refused, match="invoice 880"):
        costs().reversals(AFTER, [billed])


def test_a_negative_line_names_what_it_takes_back_and_stays_out_of_billing_when_that_is_billed() -> None:
    negative = {"billing": {"negative_time": True}}
    write = the(costs(**negative).reversals(AFTER, [order(Reversal.NEGATIVE_LINE)]))
    assert (write.body["hours"], write.body["tranDate"]) == ("-7:30", "2026-12-01")
    assert write.body["isBillable"] is True
    assert write.key == "netsuite-emea|reverse_time|kx.991.r2|g1|1"
    assert reversed_stamp(write.body["memo"]) == "tu-x"
    assert write.body["memo"] == "Worked 2026-11-18. Reverses tu-x. Rejected after posting"
    billed = order(Reversal.NEGATIVE_LINE, posting=bills.posting(billed_on="880"))
    assert the(costs(**negative).reversals(AFTER, [billed])).body["isBillable"] is False
    custom = {**negative, "custom": {"time_reverses": "custcol_back"}}
    assert (
        the(costs(**custom).reversals(AFTER, [order(Reversal.NEGATIVE_LINE)])).body["custcol_back"] == "tu-x"
    )
    assert reversed_stamp("Workshop") is None
    assert reversed_stamp(None) is None


def test_what_an_account_cannot_take_back_is_said_with_what_to_do() -> None:
    with pytest.raises(Refused, match="negative duration") as caught:
        costs().reversals(AFTER, [order(Reversal.NEGATIVE_LINE)])
    assert "journal" in str(caught.value.failure.remedy)
    spent = order(Reversal.NEGATIVE_LINE, line=bills.expense())
    with pytest.raises(Refused, match="no expense of negative amount"):
        costs(billing={"negative_time": True}).reversals(AFTER, [spent])


def test_lines_leave_the_unbilled_balance_only_while_on_no_invoice() -> None:
    write = the(costs().not_billable(AFTER, [bills.posting()]))
    assert (write.method, write.body) == ("PATCH", {"isBillable": False})
    with pytest.raises(Refused, match="invoice 880"):
        costs().not_billable(AFTER, [bills.posting(billed_on="880")])


# --- invoices ---------------------------------------------------------------------------------------------


def test_a_draft_has_exactly_these_lines_and_waits_for_approval() -> None:
    lines = (bills.fee(), bills.timed("700", "1124.99"))
    write = the(invoices().invoice(AFTER, bills.draft(*lines)))
    assert (write.method, write.path) == ("PUT", "/services/rest/record/v1/invoice/eid:{external_id}")
    assert write.body["approvalStatus"] == {"id": "1"}
    assert write.body["otherRefNum"] == "PO-7"
    assert write.body["time"] == {
        "items": [{"doc": {"id": "700"}, "apply": True, "amount": "1124.99", "memo": "Consulting"}]
    }
    assert write.body["item"]["items"] == [
        {"item": {"id": "31"}, "description": "Go live", "quantity": "1", "amount": "500.10"}
    ]
    assert write.body["expCost"] == {"items": []}
    assert write.expect == {
        "client": "55",
        "legal_entity": "DE01",
        "currency": "EUR",
        "amount": "1625.09",
        "lines": 2,
        "state": "drafted",
    }
    assert not write.forward_only, "a draft can be withdrawn"
    issue = the(invoices().issue(AFTER, bills.draft(*lines)))
    assert (issue.method, issue.body) == ("PATCH", {"approvalStatus": {"id": "2"}})
    assert issue.target == symbol("invoice:G1.2026-11.1")
    assert issue.forward_only
    assert issue.key != write.key


def test_without_approval_the_invoice_is_posted_by_being_made() -> None:
    direct = invoices(billing={"invoice_approval": False})
    write = the(direct.invoice(AFTER, bills.draft(bills.fee())))
    assert write.body["approvalStatus"] == {"id": "2"}
    assert (write.forward_only, write.expect["state"]) == (True, "posted")
    assert direct.issue(AFTER, bills.draft(bills.fee())) == []


def test_lines_of_the_contract_come_by_transforming_it() -> None:
    part = bills.fee(order_line=2, order_quantity=Decimal("0.25"))
    write = the(invoices().invoice(AFTER, bills.draft(part, contract=symbol("contract:K"))))
    assert write.path == "/services/rest/record/v1/salesOrder/{order}/!transform/invoice"
    assert write.body["externalId"] == write.stamp
    (line,) = write.body["item"]["items"]
    assert (line["orderDoc"], line["orderLine"], line["quantity"]) == (
        {"id": symbol("contract:K")},
        2,
        "0.25",
    )
    with pytest.raises(Refused, match="names none"):
        invoices().invoice(AFTER, bills.draft(part))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lines": ()}, "needs a line"),
        ({"lines": (bills.fee(amount="-1.00"),)}, "negative"),
        ({"lines": (bills.fee(amount="1", currency="JPY"),)}, "not all in its currency"),
        ({"owner": BillingOwner.DELIVERY}, "delivery system"),
    ],
)
def test_what_cannot_be_an_invoice_is_refused_before_anything_is_sent(
    changes: Mapping[str, Any], words: str
) -> None:
    wrong = bills.draft(bills.fee()).model_copy(update=dict(changes))
    with pytest.raises(Refused, match=words):
        invoices().invoice(AFTER, wrong)


def test_the_account_s_own_run_gets_charges_and_what_is_posted_is_ready_already() -> None:
    released = bills.draft(bills.fee(), bills.timed("700", "1"), owner=BillingOwner.ERP_RUN)
    write = the(invoices().invoice(AFTER, released))
    assert (write.record_type, write.body["stage"]) == ("charge", {"id": "READY_FOR_BILLING"})
    assert (write.body["rate"], write.body["quantity"]) == ("500.10", "1")
    assert write.body["runId"] == write.stamp
    assert write.options["find_filter"] == f'runId IS "{write.stamp}"'
    assert invoices().issue(AFTER, released) == []


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "500"), ("KWD", "500.125")])
def test_amounts_have_their_currency_s_own_decimals(currency: str, amount: str) -> None:
    line = bills.fee(amount=amount, currency=currency)
    write = the(invoices().invoice(AFTER, bills.draft(line, currency=currency)))
    assert write.body["item"]["items"][0]["amount"] == write.expect["amount"] == amount


def test_lines_carry_our_key_where_the_account_has_a_column_for_it() -> None:
    keyed = invoices(custom={"line_key": "custcol_key"})
    write = the(keyed.invoice(AFTER, bills.draft(bills.fee())))
    assert write.body["item"]["items"][0]["custcol_key"] == "L2.1"
    credit = the(keyed.credit(AFTER, bills.credit("880", bills.credited())))
    assert credit.body["item"]["items"][0]["custcol_key"] == "L2.1"


def test_a_credit_is_linked_dated_and_at_the_invoice_s_rate() -> None:
    draft = bills.credit("880", bills.credited(), exchange_rate=Decimal("1.085"))
    write = the(invoices().credit(AFTER, draft))
    assert write.path == "/services/rest/record/v1/invoice/{invoice}/!transform/creditMemo"
    assert (write.body["exchangeRate"], write.body["memo"]) == ("1.085", "Wrong rate")
    assert write.body["apply"] == {"items": [{"doc": {"id": "880"}, "apply": True}]}
    assert write.expect == {"invoice": "880", "currency": "EUR", "amount": "100.10", "lines": 1}
    assert write.forward_only
    assert write.key_style is KeyStyle.STAMPED
    paid = the(invoices().credit(AFTER, bills.credit("880", bills.credited(), apply=False)))
    assert "apply" not in paid.body


# --- periods ----------------------------------------------------------------------------------------------


def period(month: int, **locks: bool) -> AccountingPeriod:
    return AccountingPeriod(name=f"{month}", start=date(2026, month, 1), end=date(2026, month, 28), **locks)


def test_something_of_a_closed_period_is_posted_on_the_first_open_day_after() -> None:
    periods = [
        period(4),
        period(1, closed=True),
        period(2, general_locked=True),
        period(3, payables_locked=True),
    ]
    january = date(2026, 1, 15)
    assert posting_date(periods, january, Book.GENERAL) == date(2026, 3, 1)
    assert posting_date(periods, january, Book.PAYABLES) == date(2026, 4, 1)
    assert posting_date(periods, date(2026, 4, 9), Book.PAYABLES) == date(2026, 4, 9)
    assert posting_date(periods, date(2026, 5, 1), Book.GENERAL) is None
    assert posting_date([], january, Book.GENERAL) == january
    assert not period(3, receivables_locked=True).open_for(Book.RECEIVABLES)
    assert period(3, receivables_locked=True).open_for(Book.GENERAL)
