"""Kantata simulator: events, faults, seeds and volume."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from tests.simulators.kantata_site import Site, one, running, site

__all__ = ["running", "site"]


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
