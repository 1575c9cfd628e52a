"""Kantata simulator: time, expenses, approvals, locks, invoices, payments, accounting records."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.simulators.kantata_site import Site, fields_of, ids, one, running, site

__all__ = ["running", "site"]


def sheet_status(site: Site, sheet: int) -> str:
    return str(site.read(f"timesheet_submissions/{sheet}")["status"])


def test_approved_filter_is_a_presence_flag_and_counts_projects_without_approval(site: Site) -> None:
    strict, free = site.project(require_time_approvals=True), site.project()
    pending, automatic = site.time(strict), site.time(free)
    for value in ("true", "false", ""):
        assert site.listed("time_entries", approved=value) == [str(automatic)]
    sheet = site.sheet(strict, pending)
    site.api.put(f"timesheet_submissions/{sheet}/approve")
    assert set(site.listed("time_entries", approved="false")) == {str(pending), str(automatic)}
    assert site.read(f"time_entries/{pending}")["approved"] is True
    site.create("invoices", "invoice", workspace_id=free, payment_schedule=30, time_entry_ids=[automatic])
    assert site.listed("time_entries", invoiced="no") == [str(automatic)]
    assert site.listed("time_entries", uninvoiced="no") == [str(pending)]


def test_approval_moves_the_submission_and_not_the_entry(site: Site) -> None:
    workspace = site.project(require_time_approvals=True)
    entry = site.time(workspace)
    sheet = site.sheet(workspace, entry)
    site.sim.post("clock", json={"offset_seconds": 3600})
    before = site.read(f"time_entries/{entry}")["updated_at"]
    changed_before = site.read(f"timesheet_submissions/{sheet}")["updated_at"]
    site.api.put(f"timesheet_submissions/{sheet}/approve", json={"resolution": {"description": "ok"}})
    assert site.read(f"time_entries/{entry}")["updated_at"] == before
    assert site.read(f"timesheet_submissions/{sheet}")["updated_at"] > changed_before
    assert site.listed(
        "timesheet_submissions", statuses="approved,rejected", updated_after=changed_before
    ) == [str(sheet)]
    assert site.listed("time_entries", updated_after=changed_before) == []
    assert (site.writes()[-1]["operation"], site.writes()[-1]["id"]) == ("approve", str(sheet))
    site.setting(approval_touches_lines=True)
    site.api.put(f"timesheet_submissions/{sheet}/cancel")
    assert site.listed("time_entries", updated_after=changed_before) == [str(entry)]


def test_rejected_and_resubmitted_time_gets_a_new_submission(site: Site) -> None:
    workspace = site.project(require_time_approvals=True)
    entry = site.time(workspace)
    first = site.sheet(workspace, entry)
    twice = {"title": "x", "workspace_id": workspace, "line_item_ids": [entry]}
    assert fields_of(site.api.post("timesheet_submissions", json={"timesheet_submission": twice})) == {
        "line_item_ids"
    }
    rejected = site.api.put(
        f"timesheet_submissions/{first}/reject", json={"resolution": {"description": "no"}}
    )
    assert (one(rejected)["status"], one(rejected)["resolution_description"]) == ("rejected", "no")
    link = {"include": "active_submission,recent_submission"}
    shown = site.read(f"time_entries/{entry}", **link)
    assert (shown["active_submission_id"], shown["recent_submission_id"]) == (None, str(first))
    second = site.sheet(workspace, entry)
    assert second != first
    shown = site.read(f"time_entries/{entry}", **link)
    assert (shown["active_submission_id"], shown["recent_submission_id"]) == (str(second), str(second))
    assert site.read(f"timesheet_submissions/{first}", include="time_entries")["time_entry_ids"] == []
    assert sheet_status(site, first) == "rejected"
    again = site.api.put(f"timesheet_submissions/{first}/approve")
    assert (again.status_code, again.json()["errors"][0]["type"]) == (422, "system")


def test_bulk_resolution_is_all_or_nothing(site: Site) -> None:
    workspace = site.project(require_time_approvals=True)
    sheets = [site.sheet(workspace, site.time(workspace)) for _ in range(3)]
    site.api.put(f"timesheet_submissions/{sheets[2]}/reject")
    body = {"resolution": {"submission_ids": sheets, "description": "month end"}}
    assert fields_of(site.api.post("timesheet_approvals", json=body)) == {"submission_ids"}
    assert [sheet_status(site, s) for s in sheets] == ["new", "new", "rejected"]
    body["resolution"]["submission_ids"] = sheets[:2]
    answer = site.api.post("timesheet_approvals", json=body)
    made = answer.json()["resolutions"]
    assert [(r["type"], r["target_id"], r["current"]) for r in made] == [
        ("approval", sheets[0], True),
        ("approval", sheets[1], True),
    ]
    body["resolution"]["submission_ids"] = sheets[:1]
    assert site.api.post("timesheet_rejections", json=body).json()["resolutions"][0]["type"] == "rejection"
    body["resolution"]["submission_ids"] = sheets[1:2]
    assert (
        site.api.post("timesheet_cancellations", json=body).json()["resolutions"][0]["type"] == "cancellation"
    )
    assert [sheet_status(site, s) for s in sheets] == ["rejected", "cancelled", "rejected"]
    assert fields_of(site.api.post("timesheet_approvals", json={"resolution": {}})) == {"submission_ids"}
    assert [w["operation"] for w in site.writes()[-4:]] == ["approve", "approve", "reject", "cancel"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"time_in_minutes": None}, "time_in_minutes"),
        ({"time_in_minutes": 1.5}, "time_in_minutes"),
        ({"time_in_minutes": -1}, "time_in_minutes"),
        ({"date_performed": "2026-13-01"}, "date_performed"),
        ({"workspace_id": 999}, "workspace_id"),
        ({"user_id": 999}, "user_id"),
        ({"story_id": 999}, "story_id"),
        ({"role_id": 999}, "role_id"),
        ({"approved": True}, "approved"),
        ({"currency": "EUR"}, "currency"),
    ],
)
def test_wrong_time_is_refused(site: Site, body: dict[str, Any], field: str) -> None:
    good = {"workspace_id": site.project(), "date_performed": "2026-01-12", "time_in_minutes": 60}
    assert fields_of(site.api.post("time_entries", json={"time_entry": {**good, **body}})) == {field}


def test_time_must_fit_its_project(site: Site) -> None:
    workspace, other = site.project(require_notes_on_time_entries=True), site.project(time_trackable=False)
    story = site.create("stories", "story", title="T", story_type="task", workspace_id=other)
    body = {"workspace_id": workspace, "date_performed": "2026-01-12", "time_in_minutes": 5}
    refused = site.api.post("time_entries", json={"time_entry": {**body, "story_id": int(story["id"])}})
    assert fields_of(refused) == {"story_id", "notes"}
    refused = site.api.post("time_entries", json={"time_entry": {**body, "workspace_id": other}})
    assert fields_of(refused) == {"workspace_id"}


def test_time_entries_of_zero_decimal_currency(site: Site) -> None:
    workspace = site.project(currency="JPY")
    entry = site.read(f"time_entries/{site.time(workspace, rate_in_cents=9001, time_in_minutes=20)}")
    assert (entry["currency"], entry["currency_base_unit"], entry["currency_symbol"]) == ("JPY", 1, "¥")
    invoice = site.create(
        "invoices", "invoice", workspace_id=workspace, payment_schedule=0, time_entry_ids=[int(entry["id"])]
    )
    assert (invoice["balance_in_cents"], invoice["currency_base_unit"]) == (3000, 1)


def test_time_can_be_deleted_unless_locked_or_invoiced(site: Site) -> None:
    workspace = site.project()
    locked, billed, free = (
        site.time(workspace, date_performed="2026-01-05"),
        site.time(workspace),
        site.time(workspace),
    )
    site.create("line_item_locks", "line_item_lock", locked_to="2026-01-10")
    site.create("invoices", "invoice", workspace_id=workspace, payment_schedule=30, time_entry_ids=[billed])
    for entry in (locked, billed):
        assert site.api.delete(f"time_entries/{entry}").status_code == 422
        assert fields_of(site.put(f"time_entries/{entry}", "time_entry", notes="x")) == {"base"}
    answer = site.api.delete("time_entries", params={"ids": f"{free},{billed},{locked},999"})
    assert len(answer.json()["errors"]) == 3
    assert {str(n) for n in (billed, locked, 999)} <= set(
        " ".join(e["message"] for e in answer.json()["errors"]).split()
    )
    assert site.read(f"time_entries/{free}")["id"] == str(free)
    too_many = ",".join(map(str, range(1, 102)))
    assert site.api.delete("time_entries", params={"ids": too_many}).status_code == 422
    assert site.api.delete("time_entries", params={"ids": str(free)}).status_code == 204
    assert site.api.get(f"time_entries/{free}").status_code == 404
    early = {"workspace_id": workspace, "date_performed": "2026-01-10", "time_in_minutes": 1}
    assert fields_of(site.api.post("time_entries", json={"time_entry": early})) == {"date_performed"}


def test_date_lock_is_a_later_saturday_after_approval_and_cannot_be_undone(site: Site) -> None:
    workspace = site.project(require_time_approvals=True)
    entry = site.time(workspace)

    def lock(day: str) -> httpx.Response:
        return site.api.post("line_item_locks", json={"line_item_lock": {"locked_to": day}})

    assert fields_of(lock("2026-01-16")) == {"locked_to"}
    assert fields_of(lock("2026-01-17")) == {"locked_to"}
    site.api.put(f"timesheet_submissions/{site.sheet(workspace, entry)}/approve")
    made = lock("2026-01-17")
    assert made.status_code == 200
    assert fields_of(lock("2026-01-10")) == {"locked_to"}
    assert site.api.delete(f"line_item_locks/{one(made)['id']}").status_code == 404


def test_expenses_their_reports_and_locked_references(site: Site) -> None:
    workspace = site.project(require_expense_approvals=True)
    first = site.expense(workspace, billable=False)
    answer = site.api.post(
        "expenses",
        json={
            "expenses": [
                {"workspace_id": workspace, "date": "2026-01-13", "category": "Food", "amount_in_cents": 5},
            ]
        },
    )
    second = int(ids(answer)[0])
    shown = site.read(f"expenses/{first}")
    assert (shown["is_billable"], shown["amount_in_cents"], shown["currency"]) == (False, 1999, "USD")
    assert "invoice_id" not in shown
    assert site.api.get("expenses", params={"order": "updated_at:asc"}).status_code == 400
    assert site.listed("expenses", order="amount:asc") == [str(second), str(first)]
    assert site.listed("expenses", approved="true") == []
    body = {"title": "Trip", "workspace_id": workspace, "line_item_ids": [first]}
    report = site.create("expense_report_submissions", "expense_report_submission", **body)
    assert report["line_item_total_formatted"] == "$19.99"
    reference = {
        "subject_type": "Expense",
        "subject_id": first,
        "service_name": "erp",
        "service_model": "Bill",
        "service_model_ref": "B1",
        "locked": True,
    }
    site.api.post("external_references/create_or_update", json={"external_reference": reference})
    assert site.api.put(f"expense_report_submissions/{report['id']}/reject").status_code == 422
    assert site.api.put(f"expense_report_submissions/{report['id']}/approve").status_code == 200
    assert site.listed("expenses", approved="true") == [str(first)]
    assert site.listed("expenses", submitted="true") == [str(first)]
    assert site.api.delete(f"expenses/{second}").status_code == 204


def test_invoice_from_draft_to_cancelled_frees_its_lines(site: Site) -> None:
    workspace = site.project(invoice_preference={"project_code": "PRJ-7", "purchase_order": "PO1"})
    entry, other = site.time(workspace, rate_in_cents=10000, time_in_minutes=50), site.time(workspace)
    expense = site.expense(workspace)
    milestone = site.create(
        "billing_milestones", "billing_milestone", title="M", amount_in_cents=500, workspace_id=workspace
    )
    assert site.api.get("invoices/next_invoice_number").json() == {"next_invoice_number": "1"}
    invoice = site.create(
        "invoices",
        "invoice",
        workspace_id=workspace,
        payment_schedule=30,
        invoice_date="2026-02-01",
        time_entry_ids=[entry],
        expense_ids=[expense],
        billing_milestone_ids=[int(milestone["id"])],
        fixed_fee_items=[{"amount": 12.5, "notes": "Setup"}],
        user_invoice_number=10045,
        draft=True,
    )
    path = f"invoices/{invoice['id']}"
    assert invoice["balance_in_cents"] == 8333 + 1999 + 500 + 1250
    assert (invoice["title"], invoice["due_date"]) == ("Draft Invoice #10045", "2026-03-03")
    assert (invoice["project_code"], invoice["purchase_order"], invoice["status"]) == ("PRJ-7", "PO1", "new")
    assert site.listed("invoices", user_invoice_number="10045,9") == [invoice["id"]]
    assert site.listed("invoices", without_drafts="true") == []
    taken = {"workspace_id": workspace, "payment_schedule": 30, "time_entry_ids": [entry]}
    assert fields_of(site.api.post("invoices", json={"invoice": taken})) == {"time_entry_ids"}
    assert site.api.put(f"{path}/cancel").status_code == 422
    changed = site.put(path, "invoice", time_entry_ids=[other], draft=False)
    assert one(changed)["balance_in_cents"] == 1999 + 500 + 1250
    shown = site.read(path, include="time_entries,expenses,billing_milestones,workspaces")
    assert (shown["time_entry_ids"], shown["expense_ids"]) == ([str(other)], [str(expense)])
    assert shown["workspace_ids"] == [str(workspace)]
    assert site.read(f"time_entries/{entry}")["is_invoiced"] is False
    assert site.read(f"billing_milestones/{milestone['id']}", include="invoices")["invoice_ids"] == [
        invoice["id"]
    ]
    assert site.api.delete(f"billing_milestones/{milestone['id']}").status_code == 422
    assert site.api.delete(path).status_code == 422
    assert one(site.api.put(f"{path}/cancel"))["status"] == "cancelled"
    assert set(site.listed("time_entries", uninvoiced="1")) == {str(entry), str(other)}
    assert fields_of(site.put(path, "invoice", message="x")) == {"base"}
    assert site.api.put(f"{path}/cancel").status_code == 422
    assert site.api.get("invoices/next_invoice_number").json() == {"next_invoice_number": "10046"}
    draft = site.create("invoices", "invoice", **taken, draft=True)
    assert site.api.delete(f"invoices/{draft['id']}").status_code == 204
    assert site.read(f"time_entries/{entry}")["is_invoiced"] is False
    assert site.writes()[-1]["operation"] == "delete"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"user_invoice_number": "INV-2026-045"}, "user_invoice_number"),
        ({"payment_schedule": None}, "payment_schedule"),
        ({"time_entry_ids": []}, "base"),
        ({"time_entry_ids": [999]}, "time_entry_ids"),
        ({"workspace_id": None}, "workspace_id"),
        ({"status": "new"}, "status"),
        ({"fixed_fee_items": [{"amount": "1.005"}]}, "fixed_fee_items[0].amount"),
    ],
)
def test_wrong_invoice_is_refused(site: Site, body: dict[str, Any], field: str) -> None:
    workspace = site.project()
    good = {"workspace_id": workspace, "payment_schedule": 30, "time_entry_ids": [site.time(workspace)]}
    assert field in fields_of(site.api.post("invoices", json={"invoice": {**good, **body}}))
    assert site.listed("invoices") == []


def test_external_payment_always_pays_in_full(site: Site) -> None:
    first, second = site.project(), site.project()

    def invoice(**fields: Any) -> int:
        body = {"payment_schedule": 30, "additional_items": [{"amount_in_cents": 700}], **fields}
        return int(site.create("invoices", "invoice", **body)["id"])

    def pay(invoice_id: int | None, **fields: Any) -> httpx.Response:
        body = {"workspace_id": first, "invoice_id": invoice_id, **fields}
        return site.api.post("external_payments", json={"external_payment": body})

    due, draft, joint = (
        invoice(workspace_id=first),
        invoice(workspace_id=first, draft=True),
        invoice(workspace_ids=[first, second]),
    )
    assert fields_of(pay(draft)) == {"invoice_id"}
    assert fields_of(pay(joint)) == {"invoice_id"}
    assert fields_of(pay(None)) == {"amount_in_cents"}
    assert fields_of(pay(due, message="x" * 256)) == {"message"}
    assert site.listed("invoices", pending="true", workspace_id=second) == [str(joint)]
    assert one(pay(due, amount_in_cents=1, message="ERP receipt 88"))["amount_in_cents"] == 700
    assert site.listed("invoices", paid="true") == [str(due)]
    assert site.read(f"invoices/{due}")["balance_in_cents"] == 0
    assert site.read(f"invoices/{due}")["status"] == "accepted payment"
    assert fields_of(pay(due)) == {"invoice_id"}
    assert site.api.put(f"invoices/{due}/cancel").status_code == 422
    assert len(site.listed("external_payments", invoice_id=due)) == 1


def test_accounting_records_singly_and_in_bulk(site: Site) -> None:
    workspace = site.project()
    row = {
        "workspace_id": workspace,
        "start_date": "2026-01-01",
        "end_date": "2026-01-31",
        "currency": "EUR",
        "amount": "1234.50",
    }
    made = site.create("project_accounting_records", "project_accounting_record", **row)
    path = f"project_accounting_records/{made['id']}"
    shown = site.read(path)
    assert (shown["type"], shown["status"], shown["amount"]) == ("Recognition", "Draft", "1234.50")
    bulk = site.api.post(
        "project_accounting_records", json={"project_accounting_records": [row, {**row, "currency": None}]}
    )
    assert fields_of(bulk) == {"currency"}
    assert len(site.listed("project_accounting_records")) == 1
    assert (
        one(site.put(path, "project_accounting_record", status="Pending Approval"))["status"]
        == "Pending Approval"
    )
    assert fields_of(site.put(path, "project_accounting_record", status="Done")) == {"status"}
    assert site.api.delete(path).status_code == 204


def test_time_of_other_accounts_is_hidden_by_default(site: Site) -> None:
    site.seed(users=[{"id": 88, "full_name": "Sub Contractor", "account_id": "777"}])
    workspace = site.project()
    own, foreign = site.time(workspace), site.time(workspace, user_id=88)
    assert site.listed("time_entries") == [str(own)]
    assert set(site.listed("time_entries", on_my_account="false")) == {str(own), str(foreign)}


def test_time_filters(site: Site) -> None:
    site.seed(users=[{"id": 88, "full_name": "Ann"}])
    first, second = site.project(require_time_approvals=True), site.project()
    a = site.time(first, date_performed="2026-01-12")
    b = site.time(second, date_performed="2026-02-02", user_id=88, billable=False)
    sheet = site.sheet(first, a)
    site.api.post(
        "external_references/create_or_update",
        json={
            "external_reference": {
                "subject_type": "TimeEntry",
                "subject_id": a,
                "service_name": "saga",
                "service_model": "Line",
                "service_model_ref": "L1",
            }
        },
    )
    only_a: list[dict[str, Any]] = [
        {"workspace_id": first},
        {"workspace_ids": str(first)},
        {"date_performed_between": "2026-01-01:2026-01-31"},
        {"with_timesheet_id": sheet},
        {"with_recent_timesheet_ids": str(sheet)},
        {"in_active_submission": "true"},
        {"billable": "true"},
        {"only": str(a)},
        {"has_external_references": "true"},
        {"external_reference_service_name": "saga", "external_reference_service_model_refs": "L1"},
    ]
    for params in only_a:
        assert site.listed("time_entries", **params) == [str(a)], params
    for params in ({"with_user_ids": "88"}, {"without_external_reference_service_name": "saga"}):
        assert site.listed("time_entries", **params) == [str(b)], params
    for params in (
        {"date_performed_between": "2026"},
        {"updated_after": "yesterday"},
        {"with_user_ids": "ann"},
    ):
        assert site.api.get("time_entries", params=params).status_code == 400, params
    assert site.listed("time_entries", order="date_performed:asc") == [str(a), str(b)]
    assert site.listed("time_entries") == [str(b), str(a)]
