"""NetSuite simulator: time, expenses, charges, orders, invoices, tax."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.simulators.test_netsuite_account import Account, account

TIME: dict[str, Any] = {
    "employee": {"id": "14"},
    "customer": {"id": "60"},
    "caseTaskEvent": {"id": "70"},
    "item": {"id": "31"},
    "hours": "7:30",
    "tranDate": "2026-11-18",
    "isBillable": True,
    "approvalStatus": {"id": "3"},
}


@pytest.fixture
def site() -> Iterator[Account]:
    with account() as found:
        found.make("/accountingPeriod/11", {"periodName": "Nov 2026"}, "PATCH")
        yield found


def order(site: Account, **changes: Any) -> str:
    lines = [
        {"item": {"id": "31"}, "quantity": 10, "rate": 100.5, "billingSchedule": {"id": "9"}},
        {
            "item": {"id": "31"},
            "amount": 333.33,
            "revRecStartDate": "2026-11-01",
            "revRecEndDate": "2027-01-31",
        },
    ]
    body = {"tranDate": "2026-11-20", "orderStatus": {"id": "B"}, "item": {"items": lines}, **changes}
    return site.make("/job/60/!transform/salesOrder", body)


def invoice(site: Account, amount: Any = 100, **changes: Any) -> str:
    body = {
        "entity": {"id": "55"},
        "job": {"id": "60"},
        "tranDate": "2026-11-20",
        "item": {"items": [{"item": {"id": "31"}, "amount": amount}]},
        **changes,
    }
    return site.make("/invoice", body)


# --- time -----------------------------------------------------------------------------------------


def test_time_goes_through_its_approval_states(site: Account) -> None:
    id_ = site.make("/timeBill/eid:te-1", {**TIME, "approvalStatus": None}, "PUT")

    def act(action: str, status: int = 204) -> None:
        assert site.call("POST", f"/timeBill/{id_}/@{action}").status_code == status

    def state() -> str:
        return str(site.get(f"/timeBill/{id_}")["approvalStatus"]["id"])

    assert state() == "1"
    act("retract", 400)
    act("submit")
    assert state() == "2"
    act("reject")
    assert state() == "4"
    act("submit")
    act("approve")
    assert state() == "3"
    act("approve", 400)
    act("dance", 404)
    assert [w["operation"] for w in site.writes()][-4:] == ["submit", "reject", "submit", "approve"]
    assert site.writes()[-1]["key"] == "te-1"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"hours": "7.5"}, "hours"),
        ({"hours": "7:75"}, "hours"),
        ({"hours": 7}, "hours"),
        ({"hours": "-1:00"}, "hours"),
        ({"hours": None}, "hours"),
        ({"employee": {"id": "99"}}, "employee"),
        ({"item": None}, "item"),
        ({"caseTaskEvent": {"id": "70"}, "customer": {"id": "55"}}, "caseTaskEvent"),
        ({"approvalStatus": {"id": "9"}}, "approvalStatus"),
    ],
)
def test_time_that_cannot_be_is_refused(site: Account, change: dict[str, Any], path: str) -> None:
    assert site.refused("POST", "/timeBill", {**TIME, **change})["o:errorPath"] == path


def test_time_needs_an_active_worker_and_an_open_project(site: Account) -> None:
    site.make("/job/60", {"allowTime": False}, "PATCH")
    assert site.refused("POST", "/timeBill", TIME)["o:errorPath"] == "customer"
    site.make("/job/60", {"allowTime": True}, "PATCH")
    site.make("/employee/14", {"isInactive": True}, "PATCH")
    assert site.refused("POST", "/timeBill", TIME)["o:errorPath"] == "employee"


def test_invoiced_time_is_fixed_and_is_billed_once(site: Account) -> None:
    first = site.make("/timeBill", TIME)
    second = site.make("/timeBill", {**TIME, "hours": "0:20", "rate": 100})
    draft = site.make("/timeBill", {**TIME, "approvalStatus": {"id": "1"}})
    free = site.make("/timeBill", {**TIME, "isBillable": False})

    def bill(*ids: str) -> dict[str, Any]:
        return {"time": {"items": [{"doc": {"id": i}, "apply": True} for i in ids]}, "tranDate": "2026-11-20"}

    assert "not approved" in site.refused("POST", "/job/60/!transform/invoice", bill(draft))["detail"]
    assert "not billable" in site.refused("POST", "/job/60/!transform/invoice", bill(free))["detail"]
    assert site.refused("POST", "/job/60/!transform/invoice", {})["o:errorPath"] == "item"
    id_ = site.make("/job/60/!transform/invoice", bill(first, second))
    shown = site.get(f"/invoice/{id_}?expandSubResources=true")
    assert [line["amount"] for line in shown["time"]["items"]] == [Decimal(1125), Decimal("33.33")]
    assert shown["total"] == Decimal("1158.33")
    assert shown["entity"]["id"] == "55"
    again = site.refused("POST", "/job/60/!transform/invoice", bill(first))
    assert "already been invoiced" in again["detail"]
    site.refused("PATCH", f"/timeBill/{first}", {"hours": "1:00"})
    site.refused("DELETE", f"/timeBill/{first}")
    site.make(f"/timeBill/{first}", {"memo": "still editable"}, "PATCH")
    assert site.call("DELETE", f"/invoice/{id_}").status_code == 204
    assert site.call("DELETE", f"/timeBill/{first}").status_code == 204


# --- orders ---------------------------------------------------------------------------------------


def test_an_order_waits_for_approval_before_revenue_and_billing(site: Account) -> None:
    id_ = order(site, orderStatus=None, externalId="so-1")
    assert site.get(f"/salesOrder/{id_}")["status"]["id"] == "A"
    assert site.rows("SELECT id FROM revenuearrangement") == []
    assert "pending approval" in site.refused("POST", f"/salesOrder/{id_}/!transform/invoice", {})["detail"]
    site.make(f"/salesOrder/{id_}", {"orderStatus": {"id": "B"}}, "PATCH")
    shown = site.get(f"/salesOrder/{id_}?expandSubResources=true")
    assert (shown["status"]["id"], shown["total"]) == ("B", Decimal("1338.33"))
    assert [line["amount"] for line in shown["item"]["items"]] == [Decimal(1005), Decimal("333.33")]
    assert shown["item"]["items"][0]["billingSchedule"]["id"] == "9"
    (arrangement,) = site.rows(f"SELECT id, total, entity FROM revenuearrangement WHERE createdfrom = {id_}")
    assert (arrangement["total"], arrangement["entity"]) == ("1338.33", "55")
    plans = site.rows(
        "SELECT amount, revrecstartdate FROM revenueplan "
        f"WHERE revenuearrangement = {arrangement['id']} ORDER BY id"
    )
    assert plans == [{"amount": "1005"}, {"amount": "333.33", "revrecstartdate": "2026-11-01"}]
    assert [w["operation"] for w in site.writes() if w["type"] == "salesOrder"] == [
        "transform from job",
        "update",
    ]


def test_revenue_arrangements_can_come_late_or_not_at_all(site: Account) -> None:
    site.settings(revenue_arrangement_seconds=60)
    order(site)
    assert site.rows("SELECT id FROM revenuearrangement") == []
    assert site.rows("SELECT id FROM revenueplan") == []
    site.control("clock", {"offset_seconds": 61})
    assert len(site.rows("SELECT id FROM revenuearrangement")) == 1
    assert len(site.rows("SELECT id FROM revenueplan")) == 2
    site.settings(revenue_management=False)
    order(site)
    assert len(site.rows("SELECT id FROM revenuearrangement")) == 1


def test_an_order_is_billed_in_parts_and_never_beyond(site: Account) -> None:
    id_ = order(site)
    part = {
        "externalId": "inv-1",
        "tranDate": "2026-11-20",
        "item": {"items": [{"orderLine": 1, "quantity": 4}]},
    }
    first = site.make(f"/salesOrder/{id_}/!transform/invoice", part)
    assert site.get(f"/invoice/{first}")["total"] == 402
    assert site.get(f"/salesOrder/{id_}")["status"]["id"] == "F"
    over = {"item": {"items": [{"orderLine": 1, "quantity": 7}]}}
    assert "only 6" in site.refused("POST", f"/salesOrder/{id_}/!transform/invoice", over)["detail"]
    site.refused("DELETE", f"/salesOrder/{id_}")
    site.refused("PATCH", f"/salesOrder/{id_}", {"item": {"items": [{"line": 1, "quantity": 3}]}})
    rest = site.make(f"/salesOrder/{id_}/!transform/invoice", {"tranDate": "2026-11-20"})
    assert site.get(f"/invoice/{rest}")["total"] == Decimal("936.33")
    assert site.get(f"/salesOrder/{id_}")["status"]["id"] == "G"
    assert "nothing left" in site.refused("POST", f"/salesOrder/{id_}/!transform/invoice", {})["detail"]
    assert site.call("DELETE", f"/invoice/{rest}").status_code == 204
    assert site.get(f"/salesOrder/{id_}")["status"]["id"] == "F"
    links = site.rows(f"SELECT nextdoc, linktype FROM nexttransactionlink WHERE previousdoc = {id_}")
    assert links == [{"nextdoc": first, "linktype": "OrdBill"}]
    repeated = site.refused("POST", f"/salesOrder/{id_}/!transform/invoice", {"externalId": "inv-1"})
    assert repeated["o:errorPath"] == "externalId"


def test_an_unbilled_order_can_be_deleted_or_closed_line_by_line(site: Account) -> None:
    closed = order(site)
    lines = {"items": [{"line": 1, "isClosed": True}, {"line": 2, "isClosed": True}]}
    site.make(f"/salesOrder/{closed}", {"item": lines}, "PATCH")
    assert site.get(f"/salesOrder/{closed}")["status"]["id"] == "H"
    gone = order(site)
    assert site.call("DELETE", f"/salesOrder/{gone}").status_code == 204
    assert site.rows(f"SELECT id FROM revenuearrangement WHERE createdfrom = {gone}") == []
    assert (
        "!transform"
        not in site.refused("POST", f"/salesOrder/{closed}/!transform/estimate", {}, status=404)["detail"]
    )


def test_changing_a_line_reprices_it(site: Account) -> None:
    id_ = order(site)
    site.make(f"/salesOrder/{id_}", {"item": {"items": [{"line": 1, "quantity": 20}]}}, "PATCH")
    assert site.get(f"/salesOrder/{id_}")["total"] == Decimal("2343.33")
    (plan, _) = site.rows("SELECT amount FROM revenueplan ORDER BY id")
    assert plan == {"amount": "2010"}


# --- invoices, tax, currency ----------------------------------------------------------------------


def test_tax_due_date_and_number_are_computed(site: Account) -> None:
    site.settings(tax_rates={"3": "19"})
    lines = [{"item": {"id": "31"}, "amount": 10.01}, {"item": {"id": "31"}, "quantity": 3, "rate": 33.335}]
    id_ = invoice(site, item={"items": lines})
    shown = site.get(f"/invoice/{id_}?expandSubResources=true")
    assert [line["amount"] for line in shown["item"]["items"]] == [Decimal("10.01"), Decimal("100.01")]
    assert (shown["subtotal"], shown["taxTotal"], shown["total"]) == (
        Decimal("110.02"),
        Decimal("20.9"),
        Decimal("130.92"),
    )
    assert sum(line["taxAmount"] for line in shown["taxDetails"]["items"]) == shown["taxTotal"]
    assert (shown["dueDate"], shown["tranId"], shown["status"]["id"]) == ("2026-12-20", "INV1", "A")
    assert shown["amountRemaining"] == shown["total"]
    assert (
        site.refused("POST", "/invoice", {"entity": {"id": "55"}, "taxItem": {"id": "1"}})["o:errorPath"]
        == "taxItem"
    )


def test_legacy_accounts_tax_by_code(site: Account) -> None:
    site.settings(tax_mode="legacy", tax_codes={"8": "7"})
    id_ = invoice(site, item={"items": [{"item": {"id": "31"}, "amount": 100, "taxCode": {"id": "8"}}]})
    assert site.get(f"/invoice/{id_}")["taxTotal"] == 7
    with pytest.raises(AssertionError, match="taxDetailsOverride"):
        invoice(site, taxDetailsOverride=True)


def test_the_exchange_rate_comes_from_the_rates_and_the_currency_is_fixed(site: Account) -> None:
    job = {
        "companyName": "US",
        "parent": {"id": "55"},
        "subsidiary": {"id": "3"},
        "projectExpenseType": {"id": "-2"},
    }
    usd = site.make("/job", {**job, "currency": {"id": "2"}})
    id_ = invoice(site, job={"id": usd})
    shown = site.get(f"/invoice/{id_}")
    assert (shown["currency"]["id"], shown["exchangeRate"]) == ("2", Decimal("0.9"))
    assert site.rows(f"SELECT foreigntotal, total FROM transaction WHERE id = {id_}") == [
        {"foreigntotal": "100", "total": "90"}
    ]
    assert site.refused("PATCH", f"/invoice/{id_}", {"currency": {"id": "1"}})["o:errorPath"] == "currency"
    early = invoice(site, job={"id": usd}, exchangeRate=0.85)
    assert site.get(f"/invoice/{early}")["exchangeRate"] == Decimal("0.85")
    credit = site.make(f"/invoice/{early}/!transform/creditMemo", {"tranDate": "2026-11-20"})
    assert site.get(f"/creditMemo/{credit}")["exchangeRate"] == Decimal("0.85")


def test_a_project_of_another_customer_or_entity_is_refused(site: Account) -> None:
    other = site.make(
        "/customer", {"companyName": "Beta", "subsidiary": {"id": "3"}, "currency": {"id": "1"}}
    )
    lines = {"items": [{"item": {"id": "31"}, "amount": 1}]}
    body = {"entity": {"id": other}, "job": {"id": "60"}, "item": lines}
    assert site.refused("POST", "/invoice", body)["o:errorPath"] == "job"
    body = {"entity": {"id": "55"}, "subsidiary": {"id": "7"}, "item": lines}
    assert site.refused("POST", "/invoice", body)["o:errorPath"] == "subsidiary"
    negative = {"entity": {"id": "55"}, "item": {"items": [{"item": {"id": "31"}, "amount": -1}]}}
    assert site.refused("POST", "/invoice", negative)["o:errorPath"] == "total"


# --- charges and expenses -------------------------------------------------------------------------


def test_ready_charges_are_pulled_by_the_invoice_and_released_with_it(site: Account) -> None:
    charge = {
        "billTo": {"id": "60"},
        "stage": {"id": "READY_FOR_BILLING"},
        "use": {"id": "Actual"},
        "chargeType": {"id": "-19"},
        "billingItem": {"id": "31"},
        "chargeDate": "2026-11-19",
        "rate": 5000,
        "quantity": 1,
        "externalId": "ms-1",
    }
    assert site.refused("POST", "/charge", {**charge, "stage": None})["o:errorPath"] == "stage"
    ready = site.make("/charge", charge)
    held = site.make("/charge", {**charge, "externalId": "ms-2", "stage": {"id": "HOLD_FOR_BILLING"}})
    later = site.make("/charge", {**charge, "externalId": "ms-3", "chargeDate": "2026-12-31"})
    body = {"whichChargesToAdd": {"id": "TRANSACTION_DATE"}, "tranDate": "2026-11-20"}
    id_ = site.make("/job/60/!transform/invoice", body)
    assert site.get(f"/invoice/{id_}")["total"] == 5000
    assert site.get(f"/charge/{ready}")["invoice"]["id"] == id_
    assert "invoice" not in site.get(f"/charge/{held}")
    assert "invoice" not in site.get(f"/charge/{later}")
    site.refused("DELETE", f"/charge/{ready}")
    site.refused("PATCH", f"/charge/{ready}", {"stage": {"id": "HOLD_FOR_BILLING"}})
    site.make(f"/charge/{held}", {"quantity": 2}, "PATCH")
    assert site.get(f"/charge/{held}")["amount"] == 10000
    assert site.call("DELETE", f"/invoice/{id_}").status_code == 204
    assert "invoice" not in site.get(f"/charge/{ready}")
    assert site.call("DELETE", f"/charge/{ready}").status_code == 204


def test_billable_expenses_are_billed_once_after_approval(site: Account) -> None:
    line = {"category": {"id": "4"}, "amount": 80.5, "customer": {"id": "60"}, "isBillable": True}
    body = {"entity": {"id": "14"}, "tranDate": "2026-11-18", "expense": {"items": [line]}}
    assert (
        site.refused("POST", "/expenseReport", {**body, "expense": {"items": []}})["o:errorPath"] == "expense"
    )
    missing = {**body, "expense": {"items": [{"amount": 5}]}}
    assert site.refused("POST", "/expenseReport", missing)["o:errorPath"] == "expense.items[0].category"
    report = site.make("/expenseReport/eid:exp-1", body, "PUT")
    bill = {
        "tranDate": "2026-11-20",
        "expCost": {"items": [{"doc": {"id": report}, "line": 1, "apply": True}]},
    }
    assert "not approved" in site.refused("POST", "/job/60/!transform/invoice", bill)["detail"]
    site.make(f"/expenseReport/{report}", {"approvalStatus": {"id": "2"}}, "PATCH")
    id_ = site.make("/job/60/!transform/invoice", bill)
    assert site.get(f"/invoice/{id_}")["total"] == Decimal("80.5")
    assert "already been invoiced" in site.refused("POST", "/job/60/!transform/invoice", bill)["detail"]
    site.refused("DELETE", f"/expenseReport/{report}")
