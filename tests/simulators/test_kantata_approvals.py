"""Kantata simulator: approval over time, and lists that are followed by their last change."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.simulators.kantata_site import Site, running, site

__all__ = ["running", "site"]


def story(site: Site, entry: int, type_: str = "time_entries") -> list[tuple[bool, str]]:
    answer = site.sim.get("approvals", params={"type": type_, "ids": str(entry)})
    assert answer.status_code == 200, answer.text
    rows = answer.json()[str(entry)]
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    return [(row["approved"], row["why"]) for row in rows]


def resolve(site: Site, sheet: int, word: str, kind: str = "timesheet_submissions") -> None:
    assert site.api.put(f"{kind}/{sheet}/{word}", json={"resolution": {}}).status_code == 200


def test_approval_is_told_as_it_came_and_went(site: Site) -> None:
    workspace = site.project(require_time_approvals=True)
    entry = site.time(workspace)
    first = site.sheet(workspace, entry)
    resolve(site, first, "approve")
    resolve(site, first, "reject")
    second = site.sheet(workspace, entry)
    resolve(site, second, "approve")
    site.put(f"time_entries/{entry}", "time_entry", time_in_minutes=90)
    assert site.api.delete(f"time_entries/{entry}").status_code == 204
    assert story(site, entry) == [
        (False, "not submitted"),
        (False, f"submission {first} new"),
        (True, f"submission {first} approved"),
        (False, f"submission {first} rejected"),
        (False, f"submission {second} new"),
        (True, f"submission {second} approved"),
        (False, "deleted"),
    ]


def test_approval_follows_what_the_project_asks_for(site: Site) -> None:
    workspace = site.project(require_time_approvals=False)
    entry = site.time(workspace)
    site.put(f"workspaces/{workspace}", "workspace", require_time_approvals=True)
    assert story(site, entry) == [(True, "no approval required"), (False, "not submitted")]


def test_approval_of_expenses_and_of_seeded_lines_is_told_too(site: Site) -> None:
    workspace = site.project(require_expense_approvals=True, require_time_approvals=True)
    expense = site.expense(workspace)
    body = {"title": "Trip", "workspace_id": workspace, "line_item_ids": [expense]}
    report = int(site.create("expense_report_submissions", "expense_report_submission", **body)["id"])
    resolve(site, report, "approve", "expense_report_submissions")
    assert story(site, expense, "expenses")[-1] == (True, f"submission {report} approved")
    site.seed(
        timesheet_submissions=[
            {"id": 9000, "title": "W", "workspace_id": workspace, "status": "approved"},
        ],
        time_entries=[
            {
                "id": 8000,
                "workspace_id": workspace,
                "date_performed": "2026-01-12",
                "time_in_minutes": 5,
                "recent_submission_id": 9000,
            }
        ],
    )
    assert story(site, 8000)[-1] == (True, "submission 9000 approved")
    everything = site.sim.get("approvals").json()
    assert set(everything) == {"8000"}
    assert site.sim.get("approvals", params={"type": "stories"}).status_code == 400


def entries(count: int, workspace: int, first: int = 10_000) -> list[dict[str, Any]]:
    return [
        {
            "id": first + n,
            "workspace_id": workspace,
            "date_performed": "2026-01-12",
            "time_in_minutes": 5,
            "updated_at": f"2026-01-13T{n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d}Z",
        }
        for n in range(count)
    ]


@pytest.mark.parametrize("inclusive", [False, True])
def test_what_lies_behind_an_instant_is_the_same_by_index_and_by_scan(site: Site, inclusive: bool) -> None:
    workspace = site.project()
    site.seed(time_entries=entries(50, workspace))
    site.setting(after_is_inclusive=inclusive)
    common = {"per_page": 200, "from_archived_workspaces": "true"}
    for second in (0, 17, 49, 50):
        after = {"updated_after": f"2026-01-13T00:00:{second:02d}Z", **common}
        by_index = site.listed("time_entries", order="updated_at:asc", **after)
        by_scan = site.listed("time_entries", order="updated_at:desc", **after)
        assert by_index == by_scan[::-1]
        assert len(by_index) == max(0, 50 - second - (0 if inclusive else 1))
    answer = site.api.get("time_entries", params={"updated_after": "x", "order": "updated_at:asc"})
    assert answer.status_code == 400


def test_a_followed_list_sees_every_change(site: Site) -> None:
    workspace = site.project(require_time_approvals=True)
    site.seed(time_entries=entries(3, workspace))
    params = {"order": "updated_at:asc", "updated_after": "2026-01-13T00:00:00Z", "per_page": 200}
    assert site.listed("time_entries", **params) == ["10001", "10002"]
    site.put("time_entries/10000", "time_entry", notes="moved to the end")
    assert site.listed("time_entries", **params) == ["10001", "10002", "10000"]
    assert site.listed("time_entries", approved="true", **params) == []
    site.put(f"workspaces/{workspace}", "workspace", require_time_approvals=False)
    assert site.listed("time_entries", approved="true", **params) == ["10001", "10002", "10000"]
    site.put(f"workspaces/{workspace}", "workspace", archived=True)
    assert site.listed("time_entries", **params) == []
    mine = {**params, "from_archived_workspaces": "true", "without_external_reference_service_name": "x"}
    assert len(site.listed("time_entries", **mine)) == 3
    site.create(
        "external_references/create_or_update",
        "external_reference",
        subject_type="TimeEntry",
        subject_id=10001,
        service_name="x",
        service_model="m",
        service_model_ref="r",
    )
    assert site.listed("time_entries", **mine) == ["10002", "10000"]
    assert site.api.delete("time_entries/10002").status_code == 204
    assert site.listed("time_entries", **mine) == ["10000"]


def test_what_is_worked_out_about_a_project_moves_with_its_time(site: Site) -> None:
    workspace = site.project()
    for n in (1, 2):
        site.time(workspace, rate_in_cents=6000, billable=True)
        assert site.read(f"workspaces/{workspace}")["budget_used_in_cents"] == n * 6000
    site.setting(financial_access=False)
    assert "budget_used_in_cents" not in site.read(f"workspaces/{workspace}")
    assert site.read(f"workspaces/{workspace}")["has_budget_access"] is False


@pytest.mark.slow
def test_a_hundred_thousand_entries_are_listed_in_steady_pages(site: Site) -> None:
    """Pages far behind cost what the first ones cost, whether turned or followed by their last change."""
    workspace = site.project()
    for first in range(0, 100_000, 20_000):
        site.seed(time_entries=entries(20_000, workspace, 10_000 + first))
    query = {"order": "updated_at:asc", "per_page": 200, "include": "user,workspace,recent_submission"}

    def seconds(**more: Any) -> float:
        begin = time.perf_counter()
        assert len(site.listed("time_entries", **query, **more)) == 200
        return time.perf_counter() - begin

    seconds(page=1)
    early = min(seconds(page=n) for n in range(2, 6))
    late = min(seconds(page=n) for n in range(490, 494))
    followed = min(seconds(updated_after=f"2026-01-13T05:{n:02d}:00Z") for n in range(10, 14))
    assert late < 5 * early
    assert followed < 10 * early
