"""Kantata simulator: tasks, staffing, pages, subscribed events, faults, seeding, volume."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from simulators.kantata import build
from simulators.kit import serve


class Site:
    """A served simulator with a vendor client and a control client."""

    def __init__(self, base: str) -> None:
        self.api = httpx.Client(
            base_url=f"{base}/api/v1/", headers={"Authorization": "Bearer kantata-token"}, timeout=20
        )
        self.sim = httpx.Client(base_url=f"{base}/_sim/", timeout=60)

    def seed(self, **records: list[dict[str, Any]]) -> None:
        answer = self.sim.post("seed", json=records)
        assert answer.status_code == 204, answer.text

    def setting(self, **changes: Any) -> None:
        assert self.sim.post("settings", json=changes).status_code == 200

    def fault(self, **fault: Any) -> None:
        assert self.sim.post("faults", json=fault).status_code == 201

    def create(self, type_: str, singular: str, **fields: Any) -> dict[str, Any]:
        answer = self.api.post(type_, json={singular: fields})
        assert answer.status_code == 200, answer.text
        return one(answer)

    def put(self, path: str, singular: str, **fields: Any) -> httpx.Response:
        return self.api.put(path, json={singular: fields})

    def listed(self, type_: str, **params: Any) -> list[str]:
        return ids(self.api.get(type_, params=params))

    def read(self, path: str, **params: Any) -> dict[str, Any]:
        answer = self.api.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return one(answer)

    def project(self, **fields: Any) -> int:
        return int(self.create("workspaces", "workspace", **{"title": "ACME", **fields})["id"])

    def time(self, workspace: int, **fields: Any) -> int:
        body = {"workspace_id": workspace, "date_performed": "2026-01-12", "time_in_minutes": 60, **fields}
        return int(self.create("time_entries", "time_entry", **body)["id"])

    def expense(self, workspace: int, **fields: Any) -> int:
        body = {
            "workspace_id": workspace,
            "date": "2026-01-12",
            "category": "Travel",
            "amount_in_cents": 1999,
        }
        return int(self.create("expenses", "expense", **{**body, **fields})["id"])

    def sheet(self, workspace: int, *lines: int) -> int:
        body = {"title": "Week 3", "workspace_id": workspace, "line_item_ids": list(lines)}
        return int(self.create("timesheet_submissions", "timesheet_submission", **body)["id"])

    def writes(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.sim.get("writes").json()
        return rows


def one(answer: httpx.Response) -> dict[str, Any]:
    body = answer.json()
    hit = body["results"][0]
    record: dict[str, Any] = body[hit["key"]][hit["id"]]
    return record


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["results"]]


def fields_of(answer: httpx.Response) -> set[str]:
    assert answer.status_code == 422, answer.text
    return {e["field"] for e in answer.json()["errors"]}


@pytest.fixture(scope="module")
def running() -> Iterator[str]:
    with serve(build()) as run:
        yield run.base_url


@pytest.fixture
def site(running: str) -> Iterator[Site]:
    site = Site(running)
    site.sim.post("settings", json=build().settings)
    site.sim.delete("schema")
    site.sim.post("reset")
    yield site
    site.api.close()
    site.sim.close()


def test_tasks_form_a_tree_with_positions_and_limits(site: Site) -> None:
    workspace = site.project(budgeted=True, price=100)
    plan = {
        "title": "Phase",
        "story_type": "deliverable",
        "workspace_id": workspace,
        "sub_stories": [
            {"title": "A", "story_type": "task", "sub_stories": [{"title": "A1", "story_type": "issue"}]},
            {"title": "B", "story_type": "milestone"},
        ],
    }
    top = site.create("stories", "story", **plan)
    answer = site.api.get("stories", params={"include": "parent,root,ancestors,descendants,sub_stories"})
    by_title = {s["title"]: s for s in answer.json()["stories"].values()}
    assert by_title["A1"]["root_id"] == top["id"]
    assert by_title["A1"]["ancestor_ids"] == [by_title["A"]["id"], top["id"]]
    assert set(by_title["Phase"]["descendant_ids"]) == {by_title[t]["id"] for t in ("A", "A1", "B")}
    assert [by_title[t]["position"] for t in ("Phase", "A", "A1", "B")] == [1, 2, 3, 4]
    assert by_title["Phase"]["sub_story_count"] == 2
    assert site.listed("stories", story_type="milestone") == [by_title["B"]["id"]]
    good = {"title": "x", "story_type": "task", "workspace_id": workspace}
    other = site.project()
    for body, field in (
        ({"title": "ü" * 201}, "title"),
        ({"description": "x" * 1001}, "description"),
        ({"story_type": "epic"}, "story_type"),
        ({"state": "paused"}, "state"),
        ({"percentage_complete": 101}, "percentage_complete"),
        ({"workspace_id": other, "parent_id": int(top["id"])}, "parent_id"),
        ({"workspace_id": other, "time_estimate_in_minutes": 60}, "time_estimate_in_minutes"),
        ({"sub_stories": [{"title": "y"}]}, "sub_stories[0].story_type"),
        ({"assignments": [{"assignee_id": 999}]}, "assignments[0].assignee_id"),
    ):
        assert fields_of(site.api.post("stories", json={"story": {**good, **body}})) == {field}, body
    assert site.create("stories", "story", **{**good, "title": "ü" * 200})["title"] == "ü" * 200
    loop = site.put(f"stories/{top['id']}", "story", parent_id=int(by_title["A1"]["id"]))
    assert fields_of(loop) == {"parent_id"}
    done = site.put(f"stories/{by_title['B']['id']}", "story", state="completed", percentage_complete=100)
    assert one(done)["state"] == "completed"


def test_task_with_time_stays_and_others_go_with_their_children(site: Site) -> None:
    workspace = site.project()
    top = site.create(
        "stories",
        "story",
        title="P",
        story_type="task",
        workspace_id=workspace,
        sub_stories=[{"title": "C", "story_type": "task"}],
    )
    child = next(i for i in site.listed("stories") if i != top["id"])
    entry = site.time(workspace, story_id=int(child), rate_in_cents=6000, time_in_minutes=90)
    used = site.read(f"stories/{child}")
    assert (used["logged_billable_time_in_minutes"], used["budget_used_in_cents"]) == (90, 9000)
    assert site.api.delete(f"stories/{top['id']}").status_code == 422
    site.api.delete(f"time_entries/{entry}")
    assert site.api.delete(f"stories/{top['id']}").status_code == 204
    assert site.listed("stories") == []


def test_next_milestone_of_a_project(site: Site) -> None:
    workspace = site.project()
    for title, due in (("late", "2026-09-01"), ("soon", "2026-03-01")):
        site.create(
            "stories", "story", title=title, story_type="milestone", workspace_id=workspace, due_date=due
        )
    site.create("status_reports", "status_report", workspace_id=workspace, color="yellow", description="late")
    answer = site.api.get(
        "workspaces", params={"include": "next_uncompleted_milestone,current_status_report"}
    )
    next_id = one(answer)["next_uncompleted_milestone_id"]
    assert answer.json()["stories"][next_id]["title"] == "soon"
    assert answer.json()["status_reports"][one(answer)["current_status_report_id"]]["color"] == "yellow"


def test_placeholders_are_named_later(site: Site) -> None:
    site.seed(roles=[{"id": 5, "name": "Developer"}], users=[{"id": 77, "full_name": "Ann"}])
    workspace = site.project()
    nameless = site.api.post("workspace_resources", json={"workspace_resource": {"workspace_id": workspace}})
    assert fields_of(nameless) == {"role_id"}
    rows = [{"workspace_id": workspace, "role_id": 5}] * 200
    assert len(ids(site.api.post("workspace_resources", json={"workspace_resources": rows}))) == 200
    too_many = {"workspace_resources": [*rows, rows[0]]}
    assert site.api.post("workspace_resources", json=too_many).status_code == 422
    seat = site.listed("workspace_resources", per_page=1)[0]
    path = f"workspace_resources/{seat}"
    named = one(site.put(path, "workspace_resource", user_id=77, bill_rate=15000, cost_rate=8000))
    assert (named["full_name"], named["resource_bill_rate"], named["resource_cost_rate"]) == (
        "Ann",
        15000,
        8000,
    )
    people = site.read(f"workspaces/{workspace}", include="participants")["participant_ids"]
    assert set(people) == {"1", "77"}
    assert site.api.delete(path).status_code == 204


def test_allocations(site: Site) -> None:
    site.seed(roles=[{"id": 5, "name": "Developer"}])
    workspace = site.project()
    seat = site.create("workspace_resources", "workspace_resource", workspace_id=workspace, role_id=5)
    body = {
        "resource_id": int(seat["id"]),
        "start_date": "2026-01-12",
        "end_date": "2026-01-16",
        "minutes": 1200,
    }
    made = site.create("workspace_allocations", "workspace_allocation", **body)
    assert (made["percentage"], made["hard"]) == ("50.00", False)
    shown = site.read(f"workspace_allocations/{made['id']}", include="workspace_resource,workspace")
    assert (shown["workspace_resource_id"], shown["workspace_id"]) == (seat["id"], str(workspace))
    backwards = {**body, "end_date": "2026-01-01"}
    assert fields_of(site.api.post("workspace_allocations", json={"workspace_allocation": backwards})) == {
        "end_date"
    }
    assert site.read(f"workspace_resources/{seat['id']}")["total_allocated_minutes"] == 1200
    assert site.api.delete(f"workspace_allocations/{made['id']}").status_code == 204


def test_resource_request_is_resolved_once_and_may_name_somebody(site: Site) -> None:
    site.seed(roles=[{"id": 5, "name": "Developer"}], users=[{"id": 77, "full_name": "Ann"}])
    workspace = site.project()
    made = site.create(
        "resource_requests",
        "resource_request",
        resource_workspace_id=workspace,
        resource_role_id=5,
        approver_ids=[1],
        workspace_allocation_start_date="2026-01-12",
        workspace_allocation_end_date="2026-01-16",
        workspace_allocation_percentage=50,
    )
    path = f"resource_requests/{made['id']}"
    seat = site.read(path, include="resource,approvers")["resource_id"]
    assert site.read(f"workspace_resources/{seat}")["total_allocated_minutes"] == 1200
    assert fields_of(site.put(path, "resource_request", user_id=77)) == {"request_resolution_status"}
    assert fields_of(site.put(path, "resource_request", request_resolution_status="done")) == {
        "request_resolution_status"
    }
    approved = site.put(path, "resource_request", request_resolution_status="approve", user_id=77)
    assert one(approved)["status"] == "approved"
    assert site.read(f"workspace_resources/{seat}")["full_name"] == "Ann"
    assert fields_of(site.put(path, "resource_request", request_resolution_status="cancel")) == {
        "request_resolution_status"
    }
    assert fields_of(
        site.api.post("resource_requests", json={"resource_request": {"approver_ids": [1]}})
    ) == {"resource_id"}


def test_pages(site: Site) -> None:
    site.seed(roles=[{"id": n, "name": f"R{n}"} for n in range(1, 251)])
    first = site.api.get("roles").json()
    assert first["meta"] == {"count": 250, "page_count": 13, "page_number": 1, "page_size": 20}
    clamped = site.api.get("roles", params={"per_page": 500, "page": 2}).json()
    assert clamped["meta"] == {"count": 250, "page_count": 2, "page_number": 2, "page_size": 200}
    assert [h["id"] for h in clamped["results"]] == [str(n) for n in range(201, 251)]
    window = site.listed("roles", limit=3, offset=247, page=1, per_page=50)
    assert window == ["248", "249", "250"]
    assert site.listed("roles", page=99) == []
    assert set(site.listed("roles", only="7,9,99999")) == {"7", "9"}
    for params in ({"page": 0}, {"per_page": "x"}, {"only": "a"}):
        assert site.api.get("roles", params=params).status_code == 400
    site.setting(over_max_per_page="refuse")
    assert site.api.get("roles", params={"per_page": 201}).status_code == 400


def test_instants_are_compared_in_whole_seconds(site: Site) -> None:
    workspace = site.project()
    entry = site.time(workspace)
    at = site.read(f"time_entries/{entry}")["updated_at"]
    assert site.listed("time_entries", updated_after=at) == []
    site.setting(after_is_inclusive=True)
    assert site.listed("time_entries", updated_after=at) == [str(entry)]
    assert site.listed("time_entries", updated_before="2020-01-01T00:00:00Z") == []


def events(site: Site, **params: Any) -> list[dict[str, Any]]:
    answer = site.api.get("subscribed_events", params={"order": "created_at:asc", "per_page": 200, **params})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return [body["subscribed_events"][h["id"]] for h in body["results"]]


def test_events_report_changes_and_hard_deletes(site: Site) -> None:
    workspace = site.project()
    entry = site.time(workspace)
    site.put(f"time_entries/{entry}", "time_entry", time_in_minutes=90)
    site.api.delete(f"time_entries/{entry}")
    found = events(
        site,
        event_types="time_entry:created,time_entry:updated,time_entry:deleted",
        optional_fields="payload_changes,current_payload,previous_payload",
    )
    assert [e["event_type"] for e in found] == [
        "time_entry:created",
        "time_entry:updated",
        "time_entry:deleted",
    ]
    assert found[1]["payload_changes"]["time_in_minutes"] == [60, 90]
    assert (found[2]["current_payload"], found[2]["subject_id"]) == (None, str(entry))
    assert found[2]["previous_payload"]["time_in_minutes"] == 90
    assert "payload_changes" not in events(site)[0]
    assert len(events(site, subject_type="TimeEntry", most_recent="true")) == 1
    assert len(events(site, subject_type="TimeEntry", most_recent_by_event_type="true")) == 3
    assert events(site, user_ids="2") == []
    with_subject = site.api.get(
        "subscribed_events", params={"event_types": "workspace:created", "include": "subject"}
    )
    assert one(with_subject)["subject_ref"] == {"key": "workspaces", "id": str(workspace)}
    assert with_subject.json()["workspaces"][str(workspace)]["title"] == "ACME"
    types = {t["event_type"] for t in site.api.get("subscribed_events/event_types").json()["event_types"]}
    assert {"timesheet:updated", "expense:deleted", "invoice:created", "story:updated"} <= types


def test_events_may_be_duplicated_disordered_and_expire(site: Site) -> None:
    workspace = site.project()
    site.fault(kind="reorder_event", method="POST", path="time_entries")
    first = site.time(workspace)
    assert events(site, event_types="time_entry:created") == []
    second = site.time(workspace)
    found = events(site, event_types="time_entry:created")
    assert [e["subject_id"] for e in found] == [str(second), str(first)]
    site.fault(kind="duplicate_event", method="PUT", path="time_entries")
    site.put(f"time_entries/{first}", "time_entry", notes="x")
    twice = events(site, event_types="time_entry:updated")
    assert [e["id"] for e in twice] == [twice[0]["id"]] * 2
    site.fault(kind="duplicate_event", method="PUT", path="time_entries", options={"as_new": True})
    site.put(f"time_entries/{second}", "time_entry", notes="x")
    again = events(site, event_types="time_entry:updated", subject_id=str(second))
    assert len({e["id"] for e in again}) == 2
    site.sim.post("clock", json={"offset_seconds": 9 * 86400 + 60})
    assert events(site) == []


def test_events_need_the_add_on_and_an_administrator(site: Site) -> None:
    for setting in ({"subscribed_events": False}, {"administrator": False}):
        site.setting(subscribed_events=True, administrator=True)
        assert site.api.get("subscribed_events").status_code == 200
        site.setting(**setting)
        answer = site.api.get("subscribed_events")
        assert (answer.status_code, answer.json()["errors"][0]["type"]) == (403, "system")


def test_rate_limit_has_no_retry_after(site: Site) -> None:
    site.fault(kind="rate_limit", path="roles")
    limited = site.api.get("roles")
    assert limited.status_code == 429
    assert "retry-after" not in limited.headers
    assert limited.json()["errors"][0]["type"] == "system"
    site.setting(rate_limits=[{"method": "POST", "path": "/workspaces$", "count": 2, "seconds": 60}])
    codes = [site.api.post("workspaces", json={"workspace": {"title": "x"}}).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    assert site.api.get("workspaces").status_code == 200
    site.sim.post("clock", json={"offset_seconds": 61})
    assert site.api.post("workspaces", json={"workspace": {"title": "x"}}).status_code == 200


def test_lost_answer_duplicates_on_retry_and_is_found_by_reference(site: Site) -> None:
    reference = {"service_name": "saga", "service_model": "Opportunity", "service_model_ref": "006"}
    body = {"workspace": {"title": "x", "external_reference": reference}}
    site.fault(kind="drop_after", method="POST", path="workspaces")
    with pytest.raises(httpx.TransportError):
        site.api.post("workspaces", json=body)
    search = {"external_reference_service_name": "saga", "external_reference_service_model_refs": "006"}
    assert len(site.listed("workspaces", **search)) == 1
    site.api.post("workspaces", json=body)
    assert len(site.listed("workspaces", **search)) == 2
    assert [w["key"] for w in site.writes()] == ["006", "006"]


def test_injected_errors_speak_the_vendors_language(site: Site) -> None:
    site.fault(kind="error_before", method="POST", path="workspaces", status=503)
    site.fault(kind="business", method="POST", path="workspaces", message="no more projects", skip=0)
    first = site.api.post("workspaces", json={"workspace": {"title": "x"}})
    assert (first.status_code, first.json()["errors"][0]["type"]) == (503, "system")
    second = site.api.post("workspaces", json={"workspace": {"title": "x"}})
    assert (second.status_code, second.json()["errors"][0]["message"]) == (422, "no more projects")
    assert site.writes() == []


def test_stale_reads_miss_what_was_just_written(site: Site) -> None:
    site.seed(roles=[{"id": 5, "name": "Seeded"}])
    id_ = site.project(title="old")
    site.fault(kind="stale_read", method="GET", path="workspaces", times=2)
    assert site.listed("workspaces") == []
    assert site.api.get(f"workspaces/{id_}").status_code == 404
    site.put(f"workspaces/{id_}", "workspace", title="new")
    site.fault(kind="stale_read", method="GET", path="workspaces")
    assert site.read(f"workspaces/{id_}")["title"] == "old"
    assert site.read(f"workspaces/{id_}")["title"] == "new"
    site.api.delete(f"workspaces/{id_}")
    site.fault(kind="stale_read", method="GET", path="workspaces")
    assert site.listed("workspaces") == [str(id_)]
    site.fault(kind="stale_read", method="GET", path="roles")
    assert site.listed("roles") == ["5"]
    again = site.project(title="again")
    site.sim.post("clock", json={"offset_seconds": 120})
    site.fault(kind="stale_read", method="GET", path="workspaces")
    assert site.listed("workspaces") == [str(again)]


def test_seed_refuses_nonsense_and_takes_back_what_records_answers(site: Site) -> None:
    wrong: list[dict[str, Any]] = [
        {"projects": [{}]},
        {"roles": [{"id": 1, "name": "x", "colour": "red"}]},
        {"roles": [{"id": 1}]},
        {"workspaces": [{"id": 1, "title": "x", "approver_id": 999}]},
        {"workspaces": [{"id": 1, "title": "x", "start_date": "soon"}]},
        {"project_templates": [{"id": 1, "title": "x", "currency": "EUR", "raw_json": [{"name": "x"}]}]},
    ]
    for records in wrong:
        answer = site.sim.post("seed", json=records)
        assert answer.status_code == 400, records
        assert answer.json()["error"].startswith("ValueError")
    site.seed(
        time_entries=[
            {
                "id": 4,
                "workspace_id": 3,
                "date_performed": "2026-01-12",
                "time_in_minutes": 60,
                "updated_at": "2026-01-13T10:00:00+01:00",
                "rate_in_cents": 100,
            }
        ],
        workspaces=[
            {
                "id": 3,
                "title": "Seeded",
                "currency": "JPY",
                "price": 5000,
                "external_reference": {"service_name": "s", "service_model": "m", "service_model_ref": "r"},
            }
        ],
        invoices=[{"id": 8, "workspace_id": 3, "payment_schedule": 30, "time_entry_ids": [4]}],
    )
    assert site.read("time_entries/4")["updated_at"] == "2026-01-13T01:00:00-08:00"
    assert site.read("workspaces/3")["price_in_cents"] == 5000
    assert site.read("invoices/8")["balance_in_cents"] == 100
    assert site.project() > 3
    before: dict[str, Any] = site.sim.get("records").json()
    site.sim.post("reset")
    before["users"] = [u for u in before["users"] if u["id"] != "1"]
    for derived in ("custom_fields", "custom_field_sets", "custom_field_choices"):
        before.pop(derived, None)
    site.seed(**before)
    after = site.sim.get("records").json()
    assert {t: sorted(r["id"] for r in after[t]) for t in ("workspaces", "time_entries", "invoices")} == {
        t: sorted(r["id"] for r in before[t]) for t in ("workspaces", "time_entries", "invoices")
    }
    assert site.writes() == []


def test_a_hundred_thousand_time_entries_stay_usable(site: Site) -> None:
    site.seed(workspaces=[{"id": 3, "title": "Big"}])
    for start in range(1, 100_001, 25_000):
        site.seed(
            time_entries=[
                {
                    "id": n,
                    "workspace_id": 3,
                    "date_performed": "2026-01-12",
                    "time_in_minutes": 60,
                    "user_id": 1,
                }
                for n in range(start, start + 25_000)
            ]
        )
    site.listed("time_entries", order="updated_at:asc", per_page=200)
    began = time.monotonic()
    for page in range(2, 22):
        site.listed(
            "time_entries", order="updated_at:asc", per_page=200, page=page, approved="1", uninvoiced="1"
        )
    for n in range(1, 51):
        body = {
            "subject_type": "TimeEntry",
            "subject_id": n,
            "service_name": "saga",
            "service_model": "Line",
            "service_model_ref": f"L{n}",
        }
        site.api.post("external_references/create_or_update", json={"external_reference": body})
    for n in range(1, 51):
        found = site.listed(
            "time_entries",
            external_reference_service_name="saga",
            external_reference_service_model_refs=f"L{n}",
        )
        assert found == [str(n)]
    assert time.monotonic() - began < 20
