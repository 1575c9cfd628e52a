"""NetSuite simulator: payments, credit memos, period locks, deletion of what is posted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulators.test_netsuite_account import Account, account
from tests.simulators.test_netsuite_billing import TIME, invoice


@pytest.fixture
def site() -> Iterator[Account]:
    with account() as found:
        yield found


def pay(site: Account, doc: str, amount: Any, **changes: Any) -> str:
    body = {
        "customer": {"id": "55"},
        "currency": {"id": "1"},
        "tranDate": "2026-11-20",
        "payment": amount,
        "apply": {"items": [{"doc": {"id": doc}, "apply": True, "amount": amount}]},
        **changes,
    }
    return site.make("/customerPayment", body)


# --- payments and credits -------------------------------------------------------------------------


def test_payments_and_credits_change_what_remains_and_the_status(site: Account) -> None:
    id_ = invoice(site)
    first = pay(site, id_, 60)
    shown = site.get(f"/invoice/{id_}")
    assert (shown["amountPaid"], shown["amountRemaining"], shown["status"]["id"]) == (60, 40, "A")
    assert (
        "between 0 and 40"
        in site.refused(
            "POST",
            "/customerPayment",
            {
                "customer": {"id": "55"},
                "currency": {"id": "1"},
                "payment": 50,
                "apply": {"items": [{"doc": {"id": id_}, "apply": True, "amount": 50}]},
            },
        )["detail"]
    )
    credit = site.make(f"/invoice/{id_}/!transform/creditMemo", {"tranDate": "2026-11-20"})
    memo = site.get(f"/creditMemo/{credit}")
    assert (memo["total"], memo["applied"], memo["amountRemaining"], memo["status"]["id"]) == (
        100,
        40,
        60,
        "A",
    )
    assert site.get(f"/invoice/{id_}")["status"]["id"] == "B"
    rows = site.rows("SELECT type, status, foreigntotal, foreignamountunpaid FROM transaction ORDER BY id")
    assert [r["type"] for r in rows] == ["CustInvc", "CustPymt", "CustCred"]
    assert rows[0]["foreignamountunpaid"] == "0"
    site.refused("DELETE", f"/invoice/{id_}")
    assert site.call("DELETE", f"/customerPayment/{first}").status_code == 204
    assert site.get(f"/invoice/{id_}")["amountRemaining"] == 60
    assert site.call("DELETE", f"/creditMemo/{credit}").status_code == 204
    assert site.get(f"/invoice/{id_}")["amountRemaining"] == 100
    assert site.call("DELETE", f"/invoice/{id_}").status_code == 204


def test_unapplying_by_patch_reopens_the_invoice(site: Account) -> None:
    id_ = invoice(site)
    payment = pay(site, id_, 100)
    assert site.get("/customer/55")["balance"] == 0
    site.make(
        f"/customerPayment/{payment}", {"apply": {"items": [{"doc": {"id": id_}, "apply": False}]}}, "PATCH"
    )
    assert site.get(f"/customerPayment/{payment}")["unapplied"] == 100
    assert site.get(f"/invoice/{id_}")["status"]["id"] == "A"
    assert site.get("/customer/55")["balance"] == 100


def test_whether_a_payment_moves_the_invoices_stamp_is_a_setting(site: Account) -> None:
    for bumps in (True, False):
        site.settings(payment_bumps_invoice=bumps)
        id_ = invoice(site)
        before = site.get(f"/invoice/{id_}")["lastModifiedDate"]
        site.control("clock", {"offset_seconds": 100 if bumps else 200})
        pay(site, id_, 100)
        assert (site.get(f"/invoice/{id_}")["lastModifiedDate"] != before) is bumps


def test_a_credit_memo_can_take_some_lines_and_stay_unapplied(site: Account) -> None:
    site.settings(credit_auto_apply=False)
    lines = [{"item": {"id": "31"}, "amount": 70}, {"item": {"id": "31"}, "quantity": 3, "rate": 10}]
    id_ = invoice(site, item={"items": lines})
    body = {"externalId": "cm-1", "tranDate": "2026-11-20", "item": {"items": [{"line": 2, "quantity": 1}]}}
    credit = site.make(f"/invoice/{id_}/!transform/creditMemo", body)
    memo = site.get(f"/creditMemo/{credit}")
    assert (memo["total"], memo["amountRemaining"], memo["createdFrom"]["id"]) == (10, 10, id_)
    assert site.get(f"/invoice/{id_}")["amountRemaining"] == 100
    unknown = {"item": {"items": [{"line": 9}]}}
    assert "no line 9" in site.refused("POST", f"/invoice/{id_}/!transform/creditMemo", unknown)["detail"]
    assert site.refused("DELETE", f"/invoice/{id_}")["o:errorCode"] == "USER_ERROR"


def test_a_refund_pays_a_credit_memo_back(site: Account) -> None:
    id_ = invoice(site)
    pay(site, id_, 100)
    credit = site.make(f"/invoice/{id_}/!transform/creditMemo", {"tranDate": "2026-11-20"})
    assert site.get(f"/creditMemo/{credit}")["amountRemaining"] == 100

    def refund(amount: Any) -> dict[str, Any]:
        apply = {"items": [{"doc": {"id": credit}, "apply": True, "amount": amount}]}
        return {
            "customer": {"id": "55"},
            "currency": {"id": "1"},
            "tranDate": "2026-11-20",
            "apply": apply,
        }

    assert "between 0 and 100" in site.refused("POST", "/customerRefund", refund(101))["detail"]
    made = site.make("/customerRefund", refund(60))
    assert site.get(f"/creditMemo/{credit}")["amountRemaining"] == 40
    site.refused("DELETE", f"/creditMemo/{credit}")
    (row,) = site.rows(
        "SELECT k.previousdoc, k.foreignamount FROM nexttransactionlink k JOIN transaction t ON "
        "t.id = k.nextdoc WHERE t.type = 'CustRfnd' ORDER BY k.nextdoc"
    )
    assert (row["previousdoc"], row["foreignamount"]) == (credit, "60")
    assert site.call("DELETE", f"/customerRefund/{made}").status_code == 204
    memo = site.get(f"/creditMemo/{credit}")
    assert (memo["amountRemaining"], memo["status"]["id"]) == (100, "A")
    bare = {key: value for key, value in refund(10).items() if key != "apply"}
    assert "apply the refund" in site.refused("POST", "/customerRefund", bare)["detail"]


def test_unapproved_invoices_take_no_payment(site: Account) -> None:
    site.settings(invoice_approval=True)
    id_ = invoice(site)
    assert site.get(f"/invoice/{id_}")["status"]["id"] == "D"
    with pytest.raises(AssertionError, match="not approved"):
        pay(site, id_, 10)
    site.make(f"/invoice/{id_}", {"approvalStatus": {"id": "2"}}, "PATCH")
    pay(site, id_, 10)


# --- periods and deletion -------------------------------------------------------------------------


def test_closed_and_locked_periods_refuse_postings_by_ledger(site: Account) -> None:
    with pytest.raises(AssertionError, match="Oct 2026 is closed"):
        invoice(site, tranDate="2026-10-15")
    with pytest.raises(AssertionError, match="Dec 2026 is locked"):
        invoice(site, tranDate="2026-12-15")
    with pytest.raises(AssertionError, match="not within any accounting period"):
        invoice(site, tranDate="2027-05-01")
    explicit = invoice(site, tranDate="2026-12-15", postingPeriod={"id": "11"})
    assert site.get(f"/invoice/{explicit}")["postingPeriod"]["id"] == "11"
    site.make("/timeBill", {**TIME, "tranDate": "2026-12-01"})
    assert "Oct 2026" in site.refused("POST", "/timeBill", {**TIME, "tranDate": "2026-10-01"})["detail"]
    expense = {"items": [{"category": {"id": "4"}, "amount": 5}]}
    site.make("/expenseReport", {"entity": {"id": "14"}, "tranDate": "2026-12-02", "expense": expense})
    id_ = invoice(site)
    site.make("/accountingPeriod/11", {"arLocked": True}, "PATCH")
    assert "Nov 2026 is locked" in site.refused("DELETE", f"/invoice/{id_}")["detail"]
    assert (
        "Nov 2026"
        in site.refused("PATCH", f"/invoice/{id_}", {"item": {"items": [{"line": 1, "amount": 9}]}})["detail"]
    )
    site.make(f"/invoice/{id_}", {"memo": "not a posting"}, "PATCH")


def test_a_deletion_reason_may_be_required(site: Account) -> None:
    site.settings(deletion_reason_required=True)
    id_ = invoice(site)
    assert site.refused("DELETE", f"/invoice/{id_}")["o:errorPath"] == "deletionReason"
    site.make(f"/invoice/{id_}", {"deletionReason": {"id": "1"}, "deletionReasonMemo": "undo"}, "PATCH")
    assert site.call("DELETE", f"/invoice/{id_}").status_code == 204
