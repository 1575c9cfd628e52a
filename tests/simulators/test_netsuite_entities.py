"""NetSuite simulator: customers, projects and tasks: numbering, legal entities, currencies, deletion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulators.test_netsuite_account import Account, account


@pytest.fixture
def site() -> Iterator[Account]:
    with account() as found:
        yield found


CUSTOMER: dict[str, Any] = {"companyName": "Beta Ltd", "subsidiary": {"id": "3"}, "currency": {"id": "1"}}
JOB: dict[str, Any] = {
    "companyName": "Next",
    "parent": {"id": "55"},
    "subsidiary": {"id": "3"},
    "projectExpenseType": {"id": "-2"},
}


def test_mandatory_fields_are_named(site: Account) -> None:
    assert site.refused("POST", "/customer", {"subsidiary": {"id": "3"}})["o:errorPath"] == "companyName"
    assert site.refused("POST", "/customer", {"companyName": "X"})["o:errorPath"] == "subsidiary"
    person = {"isPerson": True, "subsidiary": {"id": "3"}, "firstName": "A"}
    assert site.refused("POST", "/customer", person)["o:errorPath"] == "lastName"
    assert (
        site.refused("POST", "/job", {**JOB, "projectExpenseType": None})["o:errorPath"]
        == "projectExpenseType"
    )
    assert site.refused("POST", "/projectTask", {"title": "X"})["o:errorPath"] == "project"
    assert site.refused("POST", "/billingSchedule", {"name": "X"})["o:errorPath"] == "scheduleType"


def test_without_oneworld_no_subsidiary_is_needed(site: Account) -> None:
    site.settings(oneworld=False)
    site.make("/customer", {"companyName": "X"})


def test_the_project_code_is_generated_and_read_back(site: Account) -> None:
    first = site.make("/job/eid:opp-1", JOB, "PUT")
    second = site.make("/job", JOB)
    assert site.get(f"/job/{first}?fields=entityId")["entityId"] == "PRJ-00002"
    assert site.get(f"/job/{second}?fields=entityId")["entityId"] == "PRJ-00003"
    assert site.call("DELETE", f"/job/{second}").status_code == 204
    third = site.make("/job", JOB)
    assert site.get(f"/job/{third}")["entityId"] == "PRJ-00004"
    own = site.make("/job", {**JOB, "autoName": False, "entityId": "MINE"})
    assert site.get(f"/job/{own}")["entityId"] == "MINE"
    assert (
        site.refused("POST", "/job", {**JOB, "autoName": False, "entityId": "mine"})["o:errorPath"]
        == "entityId"
    )


def test_numbering_follows_the_setting(site: Account) -> None:
    site.settings(auto_numbering={"job": "DE-{n}", "customer": "C{n:04d}"})
    job = site.make("/job", JOB)
    customer = site.make("/customer", CUSTOMER)
    assert site.get(f"/job/{job}")["entityId"].startswith("DE-")
    assert site.get(f"/customer/{customer}")["entityId"] == "C0001"
    site.settings(auto_numbering={"job": None})
    plain = site.make("/job", JOB)
    assert site.get(f"/job/{plain}")["entityId"] == "Next"


def test_parent_and_child_must_share_a_subsidiary(site: Account) -> None:
    child = {**CUSTOMER, "subsidiary": {"id": "7"}, "parent": {"externalId": "crm-55"}}
    assert site.refused("POST", "/customer", child)["o:errorPath"] == "parent"
    assert site.refused("POST", "/job", {**JOB, "subsidiary": {"id": "7"}})["o:errorPath"] == "parent"
    relation = {"entity": {"id": "55"}, "subsidiary": {"id": "7"}}
    relation_id = site.make("/customerSubsidiaryRelationship", relation)
    site.make("/customer", child)
    job = site.make("/job", {**JOB, "subsidiary": {"id": "7"}})
    assert site.refused("POST", "/customerSubsidiaryRelationship", relation)["o:errorPath"] == "subsidiary"
    rows = site.rows(
        "SELECT subsidiary, isprimarysub FROM customersubsidiaryrelationship "
        "WHERE entity = 55 ORDER BY subsidiary"
    )
    assert rows == [{"subsidiary": "3", "isprimarysub": "T"}, {"subsidiary": "7", "isprimarysub": "F"}]
    site.refused("DELETE", f"/customerSubsidiaryRelationship/{relation_id}")
    assert site.call("DELETE", f"/job/{job}").status_code == 204
    assert site.call("DELETE", f"/customerSubsidiaryRelationship/{relation_id}").status_code == 204


def test_the_currency_must_be_one_of_the_customers(site: Account) -> None:
    assert site.refused("POST", "/job", {**JOB, "currency": {"id": "3"}})["o:errorPath"] == "currency"
    invoice = {"entity": {"id": "55"}, "currency": {"id": "3"}, "item": {"items": [{"item": {"id": "31"}}]}}
    assert site.refused("POST", "/invoice", invoice)["o:errorPath"] == "currency"
    site.make("/customer/55", {"currencyList": {"items": [{"currency": {"id": "3"}}]}}, "PATCH")
    site.make("/job", {**JOB, "currency": {"id": "3"}})


def test_the_subsidiary_freezes_with_the_first_transaction(site: Account) -> None:
    site.make("/customer/55", {"subsidiary": {"id": "7"}}, "PATCH")
    site.make("/customer/55", {"subsidiary": {"id": "3"}}, "PATCH")
    site.make(
        "/timeBill",
        {"employee": {"id": "14"}, "customer": {"id": "60"}, "hours": "1:00", "tranDate": "2026-11-18"},
    )
    assert site.refused("PATCH", "/job/60", {"subsidiary": {"id": "7"}})["o:errorPath"] == "subsidiary"
    assert site.refused("PATCH", "/customer/55", {"subsidiary": {"id": "7"}})["o:errorPath"] == "subsidiary"
    site.make("/job/60", {"subsidiary": {"id": "3"}, "isInactive": True}, "PATCH")


def test_deletion_is_refused_while_something_depends_and_inactivation_is_the_way_out(site: Account) -> None:
    assert "dependent records" in site.refused("DELETE", "/customer/55")["detail"]
    assert "dependent records" in site.refused("DELETE", "/job/60")["detail"]
    assert "dependent records" in site.refused("DELETE", "/subsidiary/3")["detail"]
    site.make("/job/60", {"billingSchedule": {"id": "9"}}, "PATCH")
    assert "dependent records" in site.refused("DELETE", "/billingSchedule/9")["detail"]
    site.make("/customer/55", {"isInactive": True}, "PATCH")
    assert site.rows("SELECT isinactive FROM customer WHERE id = 55") == [{"isinactive": "T"}]
    assert site.call("DELETE", "/projectTask/70").status_code == 204
    assert site.call("DELETE", "/job/60").status_code == 204
    contact = site.make("/contact", {"firstName": "A", "lastName": "B", "company": {"id": "55"}})
    assert site.call("DELETE", "/customer/55").status_code == 204
    assert "company" not in site.get(f"/contact/{contact}")
    assert site.rows("SELECT id FROM customersubsidiaryrelationship") == []


def test_a_customer_cannot_be_above_itself(site: Account) -> None:
    child = site.make("/customer", {**CUSTOMER, "parent": {"id": "55"}})
    assert site.refused("PATCH", "/customer/55", {"parent": {"id": child}})["o:errorPath"] == "parent"
    assert site.refused("POST", "/customer", CUSTOMER)["o:errorPath"] == "entityId"


def test_tasks_stay_within_their_project_and_their_field_name_is_a_setting(site: Account) -> None:
    other = site.make("/job", JOB)
    assert (
        site.refused("POST", "/projectTask", {"title": "T", "company": {"id": "60"}})["o:errorPath"]
        == "company"
    )
    stray = {"title": "T", "project": {"id": other}, "parent": {"id": "70"}}
    assert site.refused("POST", "/projectTask", stray)["o:errorPath"] == "parent"
    site.settings(project_task_project_field="company")
    task = site.make("/projectTask", {"title": "T", "company": {"id": other}, "plannedWork": "8:00"})
    assert site.rows("SELECT project FROM projecttask WHERE title = 'T'") == [{"project": other}]
    assert (
        site.refused("PATCH", f"/projectTask/{task}", {"company": {"id": "60"}})["o:errorPath"] == "project"
    )


def test_projects_lack_what_the_browser_lacks(site: Account) -> None:
    for name in ("customer", "revenueArrangement", "primaryContact"):
        assert site.refused("PATCH", "/job/60", {name: {"id": "1"}})["o:errorPath"] == name


def test_account_lists_are_checked_when_they_are_configured(site: Account) -> None:
    site.settings(lists={"projectExpenseType": ["-1", "-2"]})
    assert (
        site.refused("POST", "/job", {**JOB, "projectExpenseType": {"id": "5"}})["o:errorPath"]
        == "projectExpenseType"
    )
    site.make("/job", JOB)


def test_a_billing_schedule_takes_its_amount_as_text_too(site: Account) -> None:
    body = {
        "name": "Acme quarterly",
        "frequency": {"id": "QUARTERLY"},
        "scheduleType": {"id": "STD"},
        "numberRemaining": 4,
        "repeatEvery": {"id": "1"},
        "initialAmount": "0",
        "inArrears": True,
    }
    id_ = site.make("/billingSchedule", body)
    assert site.get(f"/billingSchedule/{id_}")["initialAmount"] == 0
    assert site.refused("POST", "/billingSchedule", {**body, "frequency": {"id": "SOMETIMES"}})
    milestones = {"items": [{"milestoneAmount": 100, "milestoneDate": "2026-12-01"}, {"milestoneAmount": 50}]}
    site.make(f"/billingSchedule/{id_}", {"milestone": milestones}, "PATCH")
    site.make(
        f"/billingSchedule/{id_}",
        {"milestone": {"items": [{"milestoneId": 1, "milestoneCompleted": True}]}},
        "PATCH",
    )
    shown = site.get(f"/billingSchedule/{id_}?expandSubResources=true")["milestone"]["items"]
    assert [(m["milestoneId"], m.get("milestoneCompleted")) for m in shown] == [(1, True), (2, None)]
