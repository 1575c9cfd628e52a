"""NetSuite simulator: asynchronous calls, batches, idempotency keys, bulk size."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.simulators.test_netsuite_account import LIST, RECORD, Account, account

TIME: dict[str, Any] = {
    "employee": {"id": "14"},
    "customer": {"id": "60"},
    "hours": "1:00",
    "tranDate": "2026-11-18",
}
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
def site() -> Iterator[Account]:
    with account() as found:
        yield found


def send(
    site: Account, method: str, items: list[Any], path: str = "/timeBill", **headers: str
) -> httpx.Response:
    sent = {
        **LIST,
        "X-NetSuite-PropertyNameValidation": "Error",
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    return site.http.request(method, RECORD + path, content=json.dumps({"items": items}), headers=sent)


def results(site: Account, job: str) -> list[httpx.Response]:
    tasks = site.http.get(f"{job}/task").json()["items"]
    return [site.http.get(task["links"][0]["href"] + "/result") for task in tasks]


def entry(number: int, **changes: Any) -> dict[str, Any]:
    return {**TIME, "externalId": f"te-{number}", **changes}


def test_a_single_call_becomes_a_job_with_the_answer_of_the_plain_call(site: Account) -> None:
    answer = site.call("POST", "/timeBill", entry(1), Prefer="respond-async")
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "respond-async")
    job = answer.headers["Location"]
    assert job.startswith(f"{site.base}/services/rest/async/v1/job/")
    shown = site.http.get(job).json()
    assert (shown["completed"], shown["progress"]) == (True, "succeeded")
    assert shown["task"]["links"][0]["href"] == f"{job}/task"
    (task,) = site.http.get(f"{job}/task").json()["items"]
    detail = site.http.get(task["links"][0]["href"]).json()
    assert detail["links"][0] == {"rel": "related", "href": f"{job}/task/1/result"}
    assert (detail["progress"], detail["endTime"][-1]) == ("succeeded", "Z")
    (result,) = results(site, job)
    assert (result.status_code, result.headers["Location"]) == (204, f"{site.base}{RECORD}/timeBill/1")
    bad = site.call("POST", "/timeBill", entry(1), Prefer="respond-async").headers["Location"]
    assert site.http.get(bad).json()["progress"] == "failed"
    (result,) = results(site, bad)
    assert (result.status_code, result.json()["o:errorDetails"][0]["o:errorPath"]) == (400, "externalId")
    assert site.http.get(f"{site.base}/services/rest/async/v1/job/999").status_code == 404


def test_a_batch_answers_per_record_and_one_failure_spares_the_others(site: Account) -> None:
    answer = send(site, "PUT", [entry(1), entry(2, hours="nonsense"), entry(3)])
    assert answer.status_code == 202
    found = results(site, answer.headers["Location"])
    assert [r.status_code for r in found] == [204, 400, 204]
    assert found[1].json()["o:errorDetails"][0]["o:errorPath"] == "hours"
    assert site.get("/timeBill/eid:te-3")["id"] == found[2].headers["Location"].rsplit("/", 1)[1]
    site.refused("GET", "/timeBill/eid:te-2", status=404)
    writes = site.writes()
    assert sorted((w["key"], w["operation"]) for w in writes) == [("te-1", "create"), ("te-3", "create")]
    assert all(w["body"]["hours"] == "1:00" for w in writes)
    send(site, "PUT", [entry(1, hours="2:00")])
    assert site.rows("SELECT COUNT(*) n FROM timebill") == [{"n": "2"}]


def test_results_may_come_as_items_of_one_task(site: Account) -> None:
    site.settings(list_results="items")
    answer = send(site, "POST", [entry(1), entry(2, hours=1)])
    (result,) = results(site, answer.headers["Location"])
    items = result.json()["items"]
    assert [i["status"] for i in items] == [204, 400]
    assert items[0]["id"] == site.get("/timeBill/eid:te-1")["id"]
    assert items[1]["o:errorDetails"][0]["o:errorPath"] == "hours"


def test_the_records_of_a_batch_are_handled_in_no_particular_order(site: Account) -> None:
    send(site, "PUT", [entry(n) for n in range(50)])
    ids = [int(site.get(f"/timeBill/eid:te-{n}")["id"]) for n in range(50)]
    assert sorted(ids) == list(range(1, 51))
    assert ids != sorted(ids)


def test_batches_patch_and_delete_by_either_id(site: Account) -> None:
    send(site, "POST", [entry(n) for n in range(4)])
    first = site.get("/timeBill/eid:te-0")["id"]
    found = send(
        site,
        "PATCH",
        [{"id": first, "memo": "a"}, {"externalId": "te-1", "memo": "b"}, {"id": "99", "memo": "c"}],
    )
    assert [r.status_code for r in results(site, found.headers["Location"])] == [204, 204, 404]
    assert [site.get(f"/timeBill/eid:te-{n}")["memo"] for n in (0, 1)] == ["a", "b"]
    gone = site.http.delete(f"{RECORD}/timeBill", params={"ids": f"{first},eid:te-1,eid:none"}, headers=ASYNC)
    assert [r.status_code for r in results(site, gone.headers["Location"])] == [204, 204, 404]
    assert site.rows("SELECT externalid FROM timebill ORDER BY externalid") == [
        {"externalid": "te-2"},
        {"externalid": "te-3"},
    ]


def test_batches_are_checked_before_they_are_taken_on(site: Account) -> None:
    too_many = send(site, "PUT", [entry(n) for n in range(101)])
    assert (too_many.status_code, too_many.json()["o:errorDetails"][0]["o:errorCode"]) == (
        400,
        "INVALID_PARAMETER",
    )
    assert send(site, "PUT", []).status_code == 400
    assert send(site, "PUT", [entry(1)], Content_Type="application/json").status_code == 415
    assert send(site, "PUT", [entry(1)], Prefer="").status_code == 400
    assert send(site, "PUT", [entry(1)], path="/nonsense").status_code == 404
    nameless = send(site, "PUT", [TIME])
    assert [r.status_code for r in results(site, nameless.headers["Location"])] == [400]
    assert site.writes() == []


def test_a_job_takes_its_time(site: Account) -> None:
    site.settings(async_job_seconds=60)
    job = send(site, "PUT", [entry(1)]).headers["Location"]
    assert site.http.get(job).json()["progress"] == "pending"
    assert site.writes() == []
    assert site.http.get(f"{job}/task/1/result").status_code == 404
    site.control("clock", {"offset_seconds": 45})
    assert site.http.get(job).json() | {"links": []} == {
        "links": [],
        "completed": False,
        "id": "1",
        "progress": "processing",
        "task": {"links": [{"rel": "self", "href": f"{job}/task"}]},
    }
    site.control("clock", {"offset_seconds": 61})
    assert len(site.writes()) == 1
    assert site.http.get(job).json()["completed"] is True


def test_a_replayed_key_is_a_conflict_that_names_the_earlier_job(site: Account) -> None:
    key = str(uuid.uuid4())
    first = send(site, "POST", [entry(1)], X_NetSuite_Idempotency_Key=key)
    again = send(site, "POST", [entry(1)], X_NetSuite_Idempotency_Key=key)
    assert (again.status_code, again.json()["title"]) == (400, "Conflict")
    assert again.json()["o:errorDetails"][0]["o:errorCode"] == "IDEMPOTENCY_ERROR"
    assert again.headers["Location"] == first.headers["Location"]
    assert len(site.writes()) == 1
    bad = send(site, "POST", [entry(2)], X_NetSuite_Idempotency_Key="not-a-uuid")
    assert bad.json()["o:errorDetails"][0]["o:errorHeader"] == "X-NetSuite-Idempotency-Key"


def test_a_jobs_address_may_be_relative(site: Account) -> None:
    site.settings(async_location="relative")
    answer = send(site, "PUT", [entry(1)])
    assert answer.headers["Location"] == "/services/rest/async/v1/job/1"
    assert site.http.get(answer.headers["Location"]).json()["completed"] is True


def test_a_key_on_a_synchronous_call_is_ignored(site: Account) -> None:
    key = str(uuid.uuid4())
    for _ in range(2):
        assert site.call("POST", "/timeBill", TIME, X_NetSuite_Idempotency_Key=key).status_code == 204
    assert len(site.writes()) == 2


def test_a_lost_answer_leaves_a_job_that_its_key_finds_again(site: Account) -> None:
    key = str(uuid.uuid4())
    site.control("faults", {"kind": "drop_after", "method": "PUT", "path": "/timeBill"})
    with pytest.raises(httpx.TransportError):
        send(site, "PUT", [entry(1)], X_NetSuite_Idempotency_Key=key)
    again = send(site, "PUT", [entry(1)], X_NetSuite_Idempotency_Key=key)
    assert again.json()["o:errorDetails"][0]["o:errorCode"] == "IDEMPOTENCY_ERROR"
    assert [r.status_code for r in results(site, again.headers["Location"])] == [204]
    site.control("faults", {"kind": "drop_after", "method": "PUT", "path": "eid:te-2"})
    with pytest.raises(httpx.TransportError):
        site.call("PUT", "/timeBill/eid:te-2", TIME)
    site.make("/timeBill/eid:te-2", TIME, "PUT")
    assert site.rows("SELECT COUNT(*) n FROM timebill WHERE externalid = 'te-2'") == [{"n": "1"}]


def test_thousands_of_entries_stay_usable(site: Account) -> None:
    site.control("seed", {"timeBill": [entry(n) for n in range(5000)]})
    started = time.monotonic()
    for batch in range(10):
        send(site, "PUT", [entry(10_000 + batch * 100 + n) for n in range(100)])
    assert site.rows("SELECT COUNT(*) n FROM timebill") == [{"n": "6000"}]
    late = [site.rows(f"SELECT id FROM timebill WHERE externalid = 'te-{10_000 + n}'") for n in range(5)]
    assert all(len(rows) == 1 for rows in late)
    assert time.monotonic() - started < 20
