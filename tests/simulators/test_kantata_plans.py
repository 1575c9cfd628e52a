"""Kantata simulator: tasks, positions, allocations, requests, pages."""

from __future__ import annotations

from tests.simulators.kantata_site import Site, fields_of, ids, one, running, site

__all__ = ["running", "site"]


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
