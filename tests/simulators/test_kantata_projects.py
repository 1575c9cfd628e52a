"""Kantata simulator: envelope, authentication, writes, templates, projects."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulators.kantata_site import Site, fields_of, ids, one, running, site

__all__ = ["running", "site"]


TREE = {
    "stories": [
        {
            "title": "Phase 1",
            "story_type": "deliverable",
            "sub_stories": [
                {"title": "Kick-off", "start_offset_days": 0, "due_offset_days": 1},
                {"title": "Build", "start_offset_days": 2, "due_offset_days": 10, "billable": False},
            ],
        },
        {"title": "Go live", "story_type": "milestone", "due_offset_days": 30},
    ]
}


def with_template(site: Site) -> None:
    site.seed(
        users=[{"id": 77, "full_name": "Ann Lee"}],
        roles=[{"id": 5, "name": "Developer"}, {"id": 6, "name": "Lead"}],
        project_templates=[{"id": 300, "title": "Implementation", "currency": "EUR", "raw_json": TREE}],
        project_template_assignments=[
            {"id": 31, "name": "Dev seat", "project_template_id": 300, "role_id": 5},
            {"id": 32, "name": "Lead seat", "project_template_id": 300, "role_id": 6},
        ],
    )


def test_token_is_demanded_and_an_expired_one_is_forgotten(site: Site) -> None:
    body = {"errors": [{"type": "oauth", "message": "Invalid OAuth 2 Request"}]}
    for headers in ({"Authorization": "Bearer nope"}, {"Authorization": "Basic a2FudGF0YS10b2tlbg=="}):
        answer = site.api.get("workspaces", headers=headers)
        assert (answer.status_code, answer.json()) == (401, body)
    site.fault(kind="expired_token", path="workspaces")
    assert site.api.get("workspaces").status_code == 401
    assert site.api.get("workspaces").status_code == 401
    site.setting(tokens=["kantata-token", "new"])
    assert site.api.get("workspaces", headers={"Authorization": "Bearer new"}).status_code == 200


def test_create_answers_200_in_the_envelope_with_string_ids_and_delete_204(site: Site) -> None:
    answer = site.api.post("workspaces.json", json={"workspace": {"title": "Größe 東京 🚀"}})
    body = answer.json()
    assert answer.status_code == 200
    assert "x-request-id" in answer.headers
    id_ = body["results"][0]["id"]
    assert isinstance(id_, str)
    assert body["workspaces"][id_]["title"] == "Größe 東京 🚀"
    assert body["meta"] == {"count": 1, "page_count": 1, "page_number": 1, "page_size": 20}
    assert body["workspaces"][id_]["created_at"].endswith("-08:00")
    deleted = site.api.delete(f"workspaces/{id_}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert site.api.get(f"workspaces/{id_}").status_code == 404
    assert site.api.delete(f"workspaces/{id_}").json()["errors"][0]["type"] == "system"


def test_id_attributes_need_their_include_and_ids_may_be_numeric_text(site: Site) -> None:
    site.seed(users=[{"id": 77, "full_name": "Ann Lee"}])
    id_ = site.workspace(approver_id="77")["id"]
    bare = one(site.api.get(f"workspaces/{id_}"))
    assert "approver_id" not in bare
    answer = site.api.get(f"workspaces/{id_}", params={"include": "approver"})
    assert one(answer)["approver_id"] == "77"
    assert answer.json()["users"]["77"]["full_name"] == "Ann Lee"


def test_side_loaded_records_of_the_same_type_are_not_hits(site: Site) -> None:
    workspace = int(site.workspace()["id"])
    parent = site.create("stories", "story", title="P", story_type="deliverable", workspace_id=workspace)
    child = site.create(
        "stories", "story", title="C", story_type="task", workspace_id=workspace, parent_id=int(parent["id"])
    )
    answer = site.api.get("stories", params={"only": child["id"], "include": "parent"})
    assert ids(answer) == [child["id"]]
    assert set(answer.json()["stories"]) == {parent["id"], child["id"]}
    assert one(answer)["parent_id"] == parent["id"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "title"),
        ({"title": "  "[:0]}, "title"),
        ({"title": 5}, "title"),
        ({"title": "x", "colour": "red"}, "colour"),
        ({"title": "x", "id": 9}, "id"),
        ({"title": "x", "currency": "XXQ"}, "currency"),
        ({"title": "x", "approver_id": 999}, "approver_id"),
        ({"title": "x", "approver_id": "abc"}, "approver_id"),
        ({"title": "x", "budgeted": "maybe"}, "budgeted"),
        ({"title": "x", "budgeted": True}, "price"),
        ({"title": "x", "stage": "won"}, "stage"),
        ({"title": "x", "status_key": 1}, "status_key"),
        ({"title": "x", "start_date": "12.01.2026"}, "start_date"),
        ({"title": "x", "start_date": "2026-02-02", "due_date": "2026-02-01"}, "due_date"),
        ({"title": "x", "creator_role": "owner"}, "creator_role"),
        ({"title": "x", "currency": "JPY", "price": 10.5}, "price"),
        ({"title": "x", "external_reference": {"service_name": "s"}}, "external_reference.service_model"),
        ({"title": "x", "custom_fields": [{"custom_field_id": 1, "value": "x"}]}, "custom_fields[0]"),
        ({"title": "x", "participations": [{"user_id": 999}]}, "participations[0]"),
    ],
)
def test_wrong_project_is_refused_naming_the_field(site: Site, body: dict[str, Any], field: str) -> None:
    answer = site.api.post("workspaces", json={"workspace": {**body, "description": "d"}})
    assert field in fields_of(answer)
    assert all(e["type"] == "validation" and e["message"] for e in answer.json()["errors"])
    assert ids(site.api.get("workspaces")) == []
    assert site.writes() == []


def test_unknown_attributes_and_parameters_can_be_ignored_by_setting(site: Site) -> None:
    assert site.api.get("workspaces", params={"colour": "red"}).status_code == 400
    assert site.api.get("workspaces", params={"include": "nothing"}).status_code == 400
    assert site.api.get("workspaces", params={"order": "colour:asc"}).status_code == 400
    site.setting(unknown_attributes="ignore", unknown_parameters="ignore")
    assert "colour" not in site.workspace(colour="red")
    assert len(ids(site.api.get("workspaces", params={"colour": "red", "include": "nothing"}))) == 1


def test_wrong_wrappers_content_types_and_paths(site: Site) -> None:
    assert site.api.post("workspaces", json={"title": "x"}).status_code == 400
    assert (
        site.api.post("workspaces", content=b"{", headers={"Content-Type": "application/json"}).status_code
        == 400
    )
    assert (
        site.api.post("workspaces", content=b"<a/>", headers={"Content-Type": "text/xml"}).status_code == 400
    )
    for method, path in (
        ("GET", "nothing"),
        ("DELETE", "users/1"),
        ("POST", "users"),
        ("PATCH", "workspaces/1"),
    ):
        answer = site.api.request(method, path, json={})
        assert answer.status_code == 404, (method, path)
        assert answer.json()["errors"][0]["type"] == "system"


def test_rails_style_forms_are_read(site: Site) -> None:
    form = (
        "workspace[title]=Form&workspace[budgeted]=true&workspace[price]=12.50"
        "&workspace[external_reference][service_name]=saga&workspace[external_reference][service_model]=Deal"
        "&workspace[external_reference][service_model_ref]=D-1&workspace[participations][][user_id]=1"
    )
    answer = site.api.post(
        "workspaces", content=form, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 200, answer.text
    assert one(answer)["price_in_cents"] == 1250
    assert site.writes()[-1]["key"] == "D-1"


@pytest.mark.parametrize(
    ("code", "price", "cents", "unit"),
    [("JPY", 5000, 5000, 1), ("KWD", 1.234, 1234, 1000), ("USD", "9.99", 999, 100)],
)
def test_price_is_in_whole_units_and_read_in_the_smallest(
    site: Site, code: str, price: Any, cents: int, unit: int
) -> None:
    made = site.workspace(currency=code, budgeted=True, price=price)
    assert (made["price_in_cents"], made["currency_base_unit"], made["currency"]) == (cents, unit, code)


def test_template_is_applied_in_the_create_call(site: Site) -> None:
    with_template(site)
    found = site.api.get("project_templates", params={"by_title": "implement", "optional_fields": "raw_json"})
    assert one(found)["item_count"] == 4
    assert one(found)["raw_json"] == TREE
    assert "raw_json" not in one(site.api.get("project_templates"))
    made = site.workspace(
        start_date="2026-01-12",
        project_tracker_template_id=300,
        project_template_start_date="2026-02-02",
        project_template_create_unnamed_resources=True,
        participations=[{"user_id": 77}],
        project_template_assignment_mappings=[{"resource_id": 31, "user_id": 77}],
    )
    answer = site.api.get(
        "stories", params={"workspace_id": made["id"], "include": "parent", "order": "created_at:asc"}
    )
    stories = {s["title"]: s for s in answer.json()["stories"].values()}
    assert set(stories) == {"Phase 1", "Kick-off", "Build", "Go live"}
    assert stories["Build"]["parent_id"] == stories["Phase 1"]["id"]
    assert (stories["Build"]["start_date"], stories["Build"]["due_date"]) == ("2026-02-04", "2026-02-12")
    assert stories["Go live"]["story_type"] == "milestone"
    assert stories["Build"]["billable"] is False
    seats = site.api.get(
        "workspace_resources", params={"workspace_id": made["id"], "include": "user,role"}
    ).json()["workspace_resources"]
    assert {(s["user_id"], s["role_id"], s["full_name"]) for s in seats.values()} == {
        ("77", None, "Ann Lee"),
        (None, "6", None),
    }
    named = one(site.api.get(f"workspaces/{made['id']}", params={"include": "workspace_resources"}))
    assert len(named["workspace_resource_ids"]) == 1


def test_mapped_people_must_participate_and_template_must_exist(site: Site) -> None:
    with_template(site)
    mapping = [{"resource_id": 31, "user_id": 77}]
    body = {"title": "x", "project_tracker_template_id": 300, "project_template_assignment_mappings": mapping}
    assert fields_of(site.api.post("workspaces", json={"workspace": body})) == {
        "project_template_assignment_mappings[0]"
    }
    unknown = {"title": "x", "project_tracker_template_id": 301}
    assert fields_of(site.api.post("workspaces", json={"workspace": unknown})) == {
        "project_tracker_template_id"
    }
    old_name = {"title": "x", "project_template_id": 300}
    assert fields_of(site.api.post("workspaces", json={"workspace": old_name})) == {"project_template_id"}


def test_template_may_take_time_and_its_parts_appear_gradually(site: Site) -> None:
    with_template(site)
    site.setting(template_seconds=60)
    id_ = site.workspace(project_tracker_template_id=300, project_template_create_unnamed_resources=True)[
        "id"
    ]

    def count() -> int:
        stories = site.api.get("stories", params={"workspace_id": id_}).json()["count"]
        seats = site.api.get("workspace_resources", params={"workspace_id": id_}).json()["count"]
        return int(stories) + int(seats)

    assert count() == 0
    site.sim.post("clock", json={"offset_seconds": 35})
    half = count()
    assert 0 < half < 6
    site.sim.post("clock", json={"offset_seconds": 61})
    assert count() == 6


def test_apply_template_and_its_dry_run(site: Site) -> None:
    with_template(site)
    id_ = site.workspace()["id"]
    body = {
        "workspace": {"project_tracker_template_id": 300, "project_template_create_unnamed_resources": True}
    }
    dry = site.api.put(f"workspaces/{id_}/apply_template", params={"edit_stories": "true"}, json=body)
    assert [s["title"] for s in dry.json()["template_stories_json"]] == [
        "Phase 1",
        "Kick-off",
        "Build",
        "Go live",
    ]
    assert site.api.get("stories").json()["count"] == 0
    assert site.api.get("workspace_resources").json()["count"] == 2
    assert site.api.put(f"workspaces/{id_}/apply_template", json=body).status_code == 200
    assert site.api.get("stories").json()["count"] == 4
    wrong = {"workspace": {"title": "no"}}
    assert fields_of(site.api.put(f"workspaces/{id_}/apply_template", json=wrong)) == {"title"}


def test_archived_projects_vanish_and_come_back(site: Site) -> None:
    id_ = site.workspace(
        external_reference={"service_name": "s", "service_model": "m", "service_model_ref": "r"}
    )["id"]
    site.create(
        "time_entries", "time_entry", workspace_id=int(id_), date_performed="2026-01-12", time_in_minutes=30
    )
    site.api.put(f"workspaces/{id_}", json={"workspace": {"archived": True}})
    search = {"external_reference_service_name": "s", "external_reference_service_model_refs": "r"}
    assert ids(site.api.get("workspaces", params=search)) == []
    assert ids(site.api.get("workspaces", params={**search, "archived": "include"})) == [id_]
    assert ids(site.api.get("workspaces", params={"archived": "only"})) == [id_]
    assert site.api.get(f"workspaces/{id_}").status_code == 404
    assert site.api.get(f"workspaces/{id_}", params={"include_archived": "true"}).status_code == 200
    assert ids(site.api.get("workspaces", params={"only": f"{id_},99999"})) == []
    assert ids(site.api.get("time_entries")) == []
    assert len(ids(site.api.get("time_entries", params={"from_archived_workspaces": "true"}))) == 1
    site.api.put(f"workspaces/{id_}", json={"workspace": {"archived": False}})
    assert ids(site.api.get("workspaces")) == [id_]


def test_project_with_time_or_invoices_cannot_be_deleted(site: Site) -> None:
    id_ = site.workspace()["id"]
    story = site.create("stories", "story", title="T", story_type="task", workspace_id=int(id_))
    entry = site.create(
        "time_entries", "time_entry", workspace_id=int(id_), date_performed="2026-01-12", time_in_minutes=30
    )
    refused = site.api.delete(f"workspaces/{id_}")
    assert refused.status_code == 422
    assert "time entries" in refused.json()["errors"][0]["message"]
    assert site.api.get(f"stories/{story['id']}").status_code == 200
    site.api.delete(f"time_entries/{entry['id']}")
    assert site.api.delete(f"workspaces/{id_}").status_code == 204
    assert site.api.get(f"stories/{story['id']}").status_code == 404


def test_activation_by_status_key_and_stage(site: Site) -> None:
    id_ = site.workspace(stage="estimate", status_key=305)["id"]
    site.setting(
        statuses=[
            {"key": 305, "message": "New", "color": "grey"},
            {"key": 9, "message": "Läuft", "color": "g"},
        ]
    )
    answer = site.api.put(f"workspaces/{id_}", json={"workspace": {"status_key": 9, "stage": "project"}})
    assert one(answer)["status"] == {"key": 9, "message": "Läuft", "color": "g"}
    assert one(answer)["stage"] == "project"


def test_hidden_projects_are_silently_missing_and_money_needs_permission(site: Site) -> None:
    seen, hidden = site.workspace()["id"], site.workspace(budgeted=True, price=5)["id"]
    site.setting(hidden_workspace_ids=[hidden])
    assert ids(site.api.get("workspaces")) == [seen]
    assert site.api.get(f"workspaces/{hidden}").status_code == 404
    assert site.api.put(f"workspaces/{hidden}", json={"workspace": {"title": "x"}}).status_code == 404
    site.setting(hidden_workspace_ids=[], financial_access=False)
    assert "price_in_cents" not in one(site.api.get(f"workspaces/{hidden}"))


def test_groups_can_be_deleted_and_leave_their_projects(site: Site) -> None:
    group = site.create("workspace_groups", "workspace_group", name="ACME Corp", company=True)
    id_ = site.workspace(workspace_group_ids=[int(group["id"])], primary_workspace_group_id=int(group["id"]))[
        "id"
    ]
    answer = site.api.get(f"workspaces/{id_}", params={"include": "workspace_groups,primary_workspace_group"})
    assert one(answer)["workspace_group_ids"] == [group["id"]]
    assert site.api.delete(f"workspace_groups/{group['id']}").status_code == 204
    answer = site.api.get(f"workspaces/{id_}", params={"include": "workspace_groups,primary_workspace_group"})
    assert (one(answer)["workspace_group_ids"], one(answer)["primary_workspace_group_id"]) == ([], None)


def test_participations_need_a_project_on_this_tenant(site: Site) -> None:
    site.seed(users=[{"id": 77, "full_name": "Ann Lee"}])
    id_ = site.workspace()["id"]
    assert fields_of(site.api.get("participations")) == {"workspace_id"}
    assert len(ids(site.api.get("participations", params={"workspace_id": id_}))) == 1
    site.create("participations", "participation", workspace_id=int(id_), user_id=77)
    twice = site.api.post("participations", json={"participation": {"workspace_id": int(id_), "user_id": 77}})
    assert fields_of(twice) == {"user_id"}
    site.setting(participations_need_workspace=False)
    assert len(ids(site.api.get("participations"))) == 2
