"""NetSuite simulator: what close day brings: drafts and locks, the account's own run, limits, volume."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.simulators.test_netsuite_account import LIST, RECORD, Account, account
from tests.simulators.test_netsuite_billing import TIME, invoice


@pytest.fixture
def site() -> Iterator[Account]:
    with account() as found:
        yield found


def standing(site: Account, id_: str) -> str:
    return str(site.get(f"/invoice/{id_}")["status"]["id"])


# --- drafts and locks -----------------------------------------------------------------------------


def test_a_pending_invoice_posts_by_its_approval(site: Account) -> None:
    draft = invoice(site, approvalStatus={"id": "1"})
    assert standing(site, draft) == "D"
    site.make(f"/invoice/{draft}", {"memo": "reviewed"}, "PATCH")
    site.make(f"/invoice/{draft}", {"approvalStatus": {"id": "2"}}, "PATCH")
    assert standing(site, draft) == "A"
    back = site.refused("PATCH", f"/invoice/{draft}", {"approvalStatus": {"id": "1"}})
    assert back["o:errorPath"] == "approvalStatus"
    rejected = invoice(site, approvalStatus={"id": "1"})
    site.make(f"/invoice/{rejected}", {"approvalStatus": {"id": "3"}}, "PATCH")
    assert standing(site, rejected) == "E"


def test_the_lock_at_the_moment_of_approval_counts(site: Account) -> None:
    draft = invoice(site, approvalStatus={"id": "1"})
    site.control("periods", {"name": "Nov 2026", "arLocked": True})
    said = site.refused("PATCH", f"/invoice/{draft}", {"approvalStatus": {"id": "2"}})["detail"]
    assert "Nov 2026" in said
    site.make(f"/invoice/{draft}", {"memo": "posts nothing"}, "PATCH")
    site.control("periods", {"id": "11", "arLocked": False})
    site.make(f"/invoice/{draft}", {"approvalStatus": {"id": "2"}}, "PATCH")
    assert standing(site, draft) == "A"


def test_periods_close_while_a_batch_waits(site: Account) -> None:
    site.settings(async_job_seconds=3600)
    items = [{**TIME, "externalId": f"te-{n}"} for n in range(3)]
    answer = site.call("POST", "/timeBill", {"items": items}, **LIST)
    assert answer.status_code == 202
    site.control("periods", {"name": "Nov 2026", "closed": True})
    site.control("clock", {"offset_seconds": 3601})
    job = answer.headers["Location"]
    site.login()
    assert site.http.get(job).json()["progress"] == "failed"
    result = site.http.get(f"{job}/task/1/result")
    assert result.status_code == 400
    assert "Nov 2026" in result.json()["o:errorDetails"][0]["detail"]
    assert site.control("records?type=timeBill", method="GET")["timeBill"] == []


def test_locks_are_named_rightly(site: Account) -> None:
    for body in ({"name": "Feb 2031", "closed": True}, {"name": "Nov 2026", "shut": True}):
        assert site.http.post("/_sim/periods", json=body).status_code == 400
    shown = site.control("periods", {"name": "Nov 2026", "apLocked": True})
    assert (shown["apLocked"], shown["arLocked"], shown["closed"]) == (True, False, False)
    assert site.writes() == []


# --- the account's own billing run ------------------------------------------------------------------


def charge(site: Account, day: str = "2026-11-20", stage: str = "READY_FOR_BILLING") -> str:
    body = {
        "billTo": {"id": "60"},
        "stage": {"id": stage},
        "use": {"id": "Actual"},
        "chargeType": {"id": "-19"},
        "billingItem": {"id": "31"},
        "chargeDate": day,
        "rate": 500,
        "quantity": 1,
    }
    return site.make("/charge", body)


def test_the_billing_run_takes_what_is_ready_and_nothing_twice(site: Account) -> None:
    mine = site.make("/timeBill", {**TIME, "rate": 100})
    site.make("/timeBill", {**TIME, "isBillable": False})
    site.make("/timeBill", {**TIME, "approvalStatus": {"id": "1"}})
    site.make("/timeBill", {**TIME, "tranDate": "2026-11-30"})
    charge(site)
    charge(site, stage="HOLD_FOR_BILLING")
    before = len(site.writes())
    (made,) = site.control("billing-run", {"date": "2026-11-25"})
    shown = site.get(f"/invoice/{made}?expandSubResources=true")
    assert [line["doc"]["id"] for line in shown["time"]["items"]] == [mine]
    assert [line["amount"] for line in shown["item"]["items"]] == [500]
    assert shown["total"] == 1250
    assert site.control("billing-run", {"date": "2026-11-25"}) == []
    assert site.control("billing-run", {"date": "2026-11-30", "jobs": ["61"]}) == []
    assert len(site.control("billing-run", {"date": "2026-11-30", "jobs": ["60"]})) == 1
    assert len(site.writes()) == before


# --- workers of other entities ----------------------------------------------------------------------


def test_an_account_may_refuse_workers_of_another_entity(site: Account) -> None:
    site.control("seed", {"employee": [{"id": "15", "firstName": "Bo", "subsidiary": {"id": "7"}}]})
    foreign = {**TIME, "employee": {"id": "15"}}
    site.make("/timeBill", foreign)
    site.settings(intercompany_time=False)
    assert site.refused("POST", "/timeBill", foreign)["o:errorPath"] == "employee"
    site.make("/timeBill", TIME)


# --- limits and volume ------------------------------------------------------------------------------


def test_the_surplus_call_is_refused_and_not_an_earlier_one(site: Account) -> None:
    site.settings(concurrency_limit=5, latency_ms=2_000)
    started, held = threading.Barrier(5), threading.Event()

    def read(wait: bool) -> tuple[int, float]:
        if wait:
            started.wait()
        begin = time.perf_counter()
        with httpx.Client(base_url=site.base, headers=dict(site.http.headers)) as http:
            answer = http.get(f"{RECORD}/job/60")
        held.set()
        return answer.status_code, time.perf_counter() - begin

    with ThreadPoolExecutor(8) as pool:
        five = [pool.submit(read, True) for _ in range(5)]
        time.sleep(0.5)
        status, took = read(False)
        assert (status, took < 1.5) == (429, True), "refused on arrival, without waiting its turn"
        assert [f.result()[0] for f in five] == [200] * 5
    site.settings(latency_ms=0)
    assert site.control("calls", method="GET")["peak_in_flight"] == 6


def test_writes_tell_when_they_were_accepted(site: Account) -> None:
    site.settings(async_job_seconds=60)
    site.call("POST", "/timeBill", {"items": [{**TIME, "externalId": "te-1"}]}, **LIST)
    taken_on = time.time()
    site.control("clock", {"offset_seconds": 61})
    site.make("/timeBill", {**TIME, "externalId": "te-2"})
    one, two = site.writes()
    assert (one["key"], two["key"]) == ("te-1", "te-2")
    assert one["body"]["hours"] == "7:30"
    assert one["accepted_at"] < two["accepted_at"]
    assert one["accepted_at"][:16] <= time.strftime("%Y-%m-%dT%H:%M", time.gmtime(taken_on))
    assert one["at"] > one["accepted_at"], "done a minute after it was taken on"
    kinds = site.control("writes?type=invoice", method="GET")
    assert kinds == []


def test_a_key_is_found_as_fast_among_many(site: Account) -> None:
    for batch in range(40):
        items = [{**TIME, "externalId": f"te-{batch * 100 + n}"} for n in range(100)]
        key = str(uuid.uuid4())
        answer = site.call("POST", "/timeBill", {"items": items}, X_NetSuite_Idempotency_Key=key, **LIST)
        assert answer.status_code == 202

    def seconds(q: str) -> float:
        """Of the processor, the vendor's included: it runs in this process. The best of some."""
        found = []
        for _ in range(5):
            begin = time.process_time()
            site.rows(q)
            found.append(time.process_time() - begin)
        return min(found)

    wanted = ", ".join(f"'te-{n}'" for n in range(0, 4000, 40))
    select = "SELECT id, externalid, hours FROM timebill WHERE"
    by_key = f"{select} externalid IN ({wanted}) ORDER BY id"
    by_scan = f"{select} NOT externalid NOT IN ({wanted}) ORDER BY id"
    assert site.rows(by_key) == site.rows(by_scan)
    assert len(site.rows(by_key)) == 100
    call = seconds(f"{select} externalid IN ('nobody')")
    assert seconds(by_key) - call < (seconds(by_scan) - call) / 2


def test_lines_of_a_document_and_invoices_of_an_entry_are_found_by_key(site: Account) -> None:
    ids = [site.make("/timeBill", {**TIME, "rate": 100}) for _ in range(3)]
    lines: dict[str, Any] = {"time": {"items": [{"doc": {"id": i}, "apply": True} for i in ids[:2]]}}
    made = site.make("/job/60/!transform/invoice", {**lines, "tranDate": "2026-11-20"})
    listed = f"({', '.join(ids)})"
    q = f"SELECT transaction, timebill FROM transactionline WHERE timebill IN {listed} ORDER BY timebill"
    assert site.rows(q) == [{"transaction": made, "timebill": i} for i in ids[:2]]
    own = f"SELECT id, foreignamount FROM transactionline WHERE transaction = {made} ORDER BY id"
    assert [row["id"] for row in site.rows(own)] == ["0", "1", "2"]
    assert site.rows(own.replace(made, "999")) == []
