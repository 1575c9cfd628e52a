"""Kantata simulator: external references, custom fields, rate cards, bulk creates."""

from __future__ import annotations

from typing import Any

import httpx

from tests.simulators.kantata_site import Site, fields_of, ids, one, running, site

__all__ = ["running", "site"]


def test_currency_of_the_rate_card_wins_and_rates_follow_its_version(site: Site) -> None:
    site.seed(
        roles=[{"id": 5, "name": "Developer"}],
        rate_card_sets=[{"id": 1, "title": "Standard"}],
        rate_card_set_versions=[
            {"id": 1, "rate_card_set_id": 1},
            {"id": 2, "rate_card_set_id": 1, "effective_date": "2026-07-01"},
        ],
        rate_cards=[{"id": 55, "rate_card_set_id": 1, "currency": "EUR"}],
        rate_card_versions=[
            {"id": 1, "rate_card_id": 55, "rate_card_set_version_id": 1, "default_rate": 9000},
            {"id": 2, "rate_card_id": 55, "rate_card_set_version_id": 2, "default_rate": 9500},
        ],
        rate_card_roles=[
            {"id": 1, "rate_card_version_id": 1, "role_id": 5, "rate": 15000},
            {"id": 2, "rate_card_version_id": 2, "role_id": 5, "rate": 16000},
        ],
    )
    made = site.workspace(currency="USD", rate_card_id=55)
    assert made["currency"] == "EUR"

    def rate(day: str, **fields: Any) -> int:
        entry = site.create(
            "time_entries",
            "time_entry",
            **{"workspace_id": int(made["id"]), "date_performed": day, "time_in_minutes": 60, **fields},
        )
        value: int = entry["rate_in_cents"]
        return value

    assert rate("2026-06-30", role_id=5) == 15000
    assert rate("2026-07-01", role_id=5) == 16000
    assert rate("2026-06-30") == 9000
    seat = site.create("workspace_resources", "workspace_resource", workspace_id=int(made["id"]), user_id=1)
    site.api.put(f"workspace_resources/{seat['id']}", json={"workspace_resource": {"bill_rate": 21000}})
    assert rate("2026-06-30", role_id=5) == 21000
    assert rate("2026-06-30", rate_in_cents=1) == 1
    again = site.api.post("rate_cards", json={"rate_card": {"rate_card_set_id": 1, "currency": "EUR"}})
    assert fields_of(again) == {"currency"}
    card = site.create("rate_cards", "rate_card", rate_card_set_id=1, currency="USD")
    shown = one(site.api.get(f"rate_cards/{card['id']}", params={"include": "rate_card_versions"}))
    assert len(shown["rate_card_version_ids"]) == 2


def test_references_are_found_through_their_subjects_and_are_not_unique(site: Site) -> None:
    nested = {"service_name": "saga", "service_model": "Opportunity", "service_model_ref": "006XX"}
    first, second = (
        site.workspace(external_reference=nested)["id"],
        site.workspace(external_reference=nested)["id"],
    )
    search = {
        "external_reference_service_name": "saga",
        "external_reference_service_model": "Opportunity",
        "external_reference_service_model_refs": "006XX,007YY",
    }
    assert set(ids(site.api.get("workspaces", params=search))) == {first, second}
    other = {**search, "external_reference_service_model": "Account"}
    assert ids(site.api.get("workspaces", params=other)) == []
    singular = {"external_reference_service_name": "saga", "external_reference_service_model_ref": "006XX"}
    assert site.api.get("workspaces", params=singular).status_code == 400
    assert ids(site.api.get("workspaces", params={"without_external_reference_service_name": "saga"})) == []
    assert len(ids(site.api.get("workspaces", params={"has_external_references": "true"}))) == 2
    too_many = {**search, "external_reference_service_model_refs": ",".join(map(str, range(201)))}
    assert site.api.get("workspaces", params=too_many).status_code == 400


def test_reference_upsert_keeps_one_per_service_and_object(site: Site) -> None:
    id_ = int(site.workspace()["id"])
    body = {
        "subject_type": "Workspace",
        "subject_id": id_,
        "service_name": "saga",
        "service_model": "Job",
        "service_model_ref": "J-1",
        "status": "pending",
    }

    def upsert(**changes: Any) -> httpx.Response:
        return site.api.post(
            "external_references/create_or_update", json={"external_reference": {**body, **changes}}
        )

    first = one(upsert())
    again = one(upsert(service_model_ref="J-2", status="successful"))
    assert (again["id"], again["service_model_ref"], again["subject_id"]) == (first["id"], "J-2", str(id_))
    other = one(upsert(service_name="erp"))
    assert other["id"] != first["id"]
    assert [(w["operation"], w["key"]) for w in site.writes()[-3:]] == [
        ("create", "J-1"),
        ("update", "J-2"),
        ("create", "J-1"),
    ]
    assert "subject_id" in fields_of(upsert(subject_id=999))
    assert "subject_type" in fields_of(upsert(subject_type="Nothing"))
    assert "service_model_ref" in fields_of(upsert(service_model_ref=None))
    assert "status" in fields_of(upsert(status="done"))
    assert fields_of(site.api.get("external_references")) == {"subject_type"}
    listed = site.api.get("external_references", params={"subject_type": "Workspace", "subject_id": id_})
    assert len(ids(listed)) == 2
    assert site.api.delete(f"external_references/{first['id']}").status_code == 204
    assert site.writes()[-1]["key"] == "J-2"


def test_custom_fields_are_typed_chosen_by_id_and_survive_a_reset(site: Site) -> None:
    declared = site.sim.post(
        "schema",
        json={
            "workspaces": [
                {"name": "Code", "type": "string", "unique": True, "id": 9},
                {"name": "Region", "type": "single", "choices": ["EMEA", "APAC"]},
                {"name": "Margin", "type": "number"},
                {"name": "Signed", "type": "date"},
            ],
            "stories": [{"name": "Gate", "type": "string"}],
        },
    ).json()
    _, region, margin, signed = declared["workspaces"]
    emea = int(region["choice_ids"]["EMEA"])
    site.sim.post("reset")
    good = [
        {"custom_field_id": 9, "value": "PRJ-1"},
        {"custom_field_id": int(region["id"]), "value": [emea]},
        {"custom_field_id": int(margin["id"]), "value": 12.5},
        {"custom_field_id": signed["id"], "value": "2026-01-31"},
    ]
    id_ = site.workspace(custom_fields=good)["id"]
    answer = site.api.get(f"workspaces/{id_}", params={"include": "custom_field_values"})
    shown = {v["custom_field_name"]: v for v in answer.json()["custom_field_values"].values()}
    assert shown["Region"]["value"] == [emea]
    assert shown["Region"]["display_value"] == "EMEA"
    assert shown["Margin"]["value"] == "12.5"
    assert site.api.get("workspaces", params={"by_custom_text_value": "(9:PRJ-1)"}).json()["count"] == 1
    assert site.api.get("workspaces", params={"by_custom_text_value": "(9:PRJ-2)"}).json()["count"] == 0
    for wrong in (
        {"custom_field_id": 9, "value": "PRJ-1"},
        {"custom_field_id": int(region["id"]), "value": "EMEA"},
        {"custom_field_id": int(signed["id"]), "value": "soon"},
        {"custom_field_id": int(declared["stories"][0]["id"]), "value": "x"},
    ):
        answer = site.api.post("workspaces", json={"workspace": {"title": "x", "custom_fields": [wrong]}})
        assert fields_of(answer) == {"custom_fields[0]"}
    value = {"subject_type": "Workspace", "subject_id": int(id_), "custom_field_id": 9, "value": "PRJ-2"}
    assert fields_of(site.api.post("custom_field_values", json={"custom_field_value": value})) == {
        "custom_field_id"
    }
    changed = site.api.put(
        f"custom_field_values/{shown['Code']['id']}", json={"custom_field_value": {"value": "PRJ-3"}}
    )
    assert one(changed)["value"] == "PRJ-3"
    assert site.api.delete(f"custom_field_values/{shown['Code']['id']}").status_code == 204
    assert one(site.api.post("custom_field_values", json={"custom_field_value": value}))["value"] == "PRJ-2"


def test_bulk_create_is_all_or_nothing_and_limited(site: Site) -> None:
    rows = [{"title": "a"}, {"title": "b", "currency": "no"}, {"title": "c"}]
    assert fields_of(site.api.post("workspaces", json={"workspaces": rows})) == {"currency"}
    assert site.api.get("workspaces").json()["count"] == 0
    assert site.writes() == []
    made = site.api.post("workspaces", json={"workspaces": [rows[0], rows[2]]})
    assert len(ids(made)) == 2
    assert [w["body"] for w in site.writes()] == [rows[0], rows[2]]
    assert site.api.post("workspaces", json={"workspaces": [{"title": "x"}] * 101}).status_code == 422
    assert site.api.post("stories", json={"stories": [{"title": "x"}]}).status_code == 400
    site.setting(bulk_failure="rows")
    partly = site.api.post("workspaces", json={"workspaces": rows})
    assert len(ids(partly)) == 2
    assert [(e["index"], e["field"]) for e in partly.json()["errors"]] == [(1, "currency")]


def test_custom_fields_and_their_choices_are_made_and_changed(site: Site) -> None:
    group = site.create("custom_field_sets", "custom_field_set", name="Tasks", subject_type="Story")
    rows = [{"label": "Red"}, {"label": "Blue"}]
    body = {"name": "Colour", "value_type": "multi", "choices": rows, "custom_field_set_id": int(group["id"])}
    made = site.create("custom_fields", "custom_field", **body)
    path = f"custom_fields/{made['id']}"
    answer = site.api.get(path, params={"include": "choices,custom_field_set"})
    assert one(answer)["custom_field_set_id"] == group["id"]
    red, blue = (answer.json()["custom_field_choices"][c] for c in one(answer)["choice_ids"])
    kept = {"choices": [{"id": red["id"], "label": "Crimson"}, {"label": "Green"}]}
    site.api.put(path, json={"custom_field": kept})
    labels = [
        c["label"] for c in site.api.get("custom_field_choices").json()["custom_field_choices"].values()
    ]
    assert sorted(labels) == ["Crimson", "Green"]
    workspace = site.workspace()["id"]
    story = site.create("stories", "story", title="T", story_type="task", workspace_id=int(workspace))
    value = {"subject_type": "Story", "subject_id": int(story["id"]), "custom_field_id": int(made["id"])}
    gone = site.api.post(
        "custom_field_values", json={"custom_field_value": {**value, "value": [int(blue["id"])]}}
    )
    assert fields_of(gone) == {"value"}
    stored = site.create("custom_field_values", "custom_field_value", **value, value=[int(red["id"])])
    assert (stored["display_value"], stored["type"]) == ("Crimson", "multi")
    wrong = {"name": "x", "value_type": "string", "choices": rows}
    assert fields_of(site.api.post("custom_fields", json={"custom_field": wrong})) == {"choices"}


def test_rate_card_set_can_be_cloned_with_its_rates(site: Site) -> None:
    role = site.create("roles", "role", name="Developer")
    first = site.create("rate_card_sets", "rate_card_set", title="2026")
    card = site.create("rate_cards", "rate_card", rate_card_set_id=int(first["id"]), currency="EUR")
    shown = one(site.api.get(f"rate_cards/{card['id']}", params={"include": "effective_rate_card_version"}))
    rate = {
        "rate_card_version_id": int(shown["effective_rate_card_version_id"]),
        "role_id": int(role["id"]),
        "rate": 15000,
    }
    site.create("rate_card_roles", "rate_card_role", **rate)
    assert fields_of(site.api.post("rate_card_roles", json={"rate_card_role": rate})) == {"role_id"}
    versions = one(
        site.api.get(f"rate_card_sets/{first['id']}", params={"include": "rate_card_set_versions"})
    )["rate_card_set_version_ids"]
    clone = site.create("rate_card_sets", "rate_card_set", title="2027", clone_version_id=int(versions[0]))
    cards = one(site.api.get(f"rate_card_sets/{clone['id']}", params={"include": "rate_cards"}))[
        "rate_card_ids"
    ]
    assert len(cards) == 1
    assert cards != [card["id"]]
    rates = site.api.get("rate_card_roles", params={"include": "role"}).json()["rate_card_roles"].values()
    assert [(r["rate"], r["role_id"]) for r in rates] == [(15000, role["id"])] * 2
