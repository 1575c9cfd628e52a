"""Reviews, and what changes after it was posted or billed: edits, rejections, credits, late time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal

import pytest

from activities.contracts import ReviewEdits
from canonical.engagement import BillingMethod
from canonical.invoicing import Freed, LineAction, LineDecision
from canonical.saga import GateOutcome, SagaStatus
from canonical.terms import LateTime
from tests.e2e.billing_firm import Month
from tests.e2e.billing_terms import ERP, PSA, eur, line, net, schedule
from tests.e2e.firm import Json, local_firm
from wiring.start_billing import start_run

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]
DECEMBER = date(2026, 12, 31)


@pytest.fixture(scope="module")
async def month(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Month]:
    async with local_firm(tmp_path_factory.mktemp("changes")) as firm:
        month = Month(firm)
        month.periods()
        yield month


def writes(month: Month, type_: str) -> list[Json]:
    """Accepted writes of a record type in NetSuite, in order."""
    return [row for row in month.firm.control(ERP, "GET", "writes") if row["type"] == type_]


# --- review -------------------------------------------------------------------------------------------


async def test_a_reviewer_holds_moves_and_writes_down_lines(month: Month) -> None:
    project = await month.contract()
    month.time(project, 2, 3, 4, 5)
    run = await month.start()
    group = await month.group_of(project)
    await month.until(group, SagaStatus.GATED)
    lines = await month.lines(project)
    edits = ReviewEdits(
        decisions=(
            LineDecision(allocation_key=lines[2], action=LineAction.HOLD, reason="the client asks"),
            LineDecision(
                allocation_key=lines[3], action=LineAction.MOVE, reason="later", until=date(2026, 12, 5)
            ),
            LineDecision(
                allocation_key=lines[4], action=LineAction.WRITE_DOWN, reason="goodwill", amount=eur("300")
            ),
        )
    )
    await month.decide(group, GateOutcome.AMEND, amendment=edits.model_dump(mode="json"))
    await month.release_drafts(run)
    (invoice,) = month.invoices(project)
    assert net(invoice) == 900 + 1200
    assert month.hours(project) == 4 * 480, "a review changes no cost"


async def test_a_rejected_draft_is_removed_and_its_lines_are_billed_by_the_next_run(month: Month) -> None:
    project = await month.contract()
    month.time(project, 9)
    run = await month.start()
    group = await month.group_of(project)
    await month.decide(group, GateOutcome.REJECT, reason="wrong month")
    await month.release_drafts(run)
    assert (await month.view(group)).status is SagaStatus.UNDONE
    assert month.invoices(project) == []
    await month.close()
    (invoice,) = month.invoices(project)
    assert net(invoice) == 1200


# --- changed after posting ------------------------------------------------------------------------------


async def test_what_is_edited_after_posting_is_taken_back_and_posted_anew(month: Month) -> None:
    project = await month.contract()
    (entry,) = month.time(project, 10)
    await month.posting("edit-1")
    (first,) = month.posted(project)
    month.edit(entry, time_in_minutes=420)
    await month.posting("edit-2")
    (second,) = month.posted(project)
    assert (first["hours"], second["hours"]) == ("8:00", "7:00")
    assert first["id"] != second["id"]
    own = [row for row in writes(month, "timeBill") if row["id"] in (first["id"], second["id"])]
    assert [(row["operation"], row["id"]) for row in own] == [
        ("create", first["id"]),
        ("delete", first["id"]),
        ("create", second["id"]),
    ]
    (old, _) = await month.firm.ledger.items_of([f"{PSA}/time_entries/{entry}"])
    assert old.withdrawn == "edited"


async def test_what_is_rejected_after_posting_is_taken_back(month: Month) -> None:
    project = await month.contract()
    (entry,) = month.time(project, 11)
    await month.posting("reject-1")
    assert month.hours(project) == 480
    month.resolve_sheet(entry, "reject")
    await month.posting("reject-2")
    assert month.posted(project) == []


async def test_an_approval_withdrawn_between_reading_and_posting_is_not_posted(month: Month) -> None:
    project = await month.contract()
    (entry,) = month.time(project, 12)
    month.firm.fault(ERP, kind="delay", method="POST", path="suiteql", delay_ms=2500)
    run = await month.post("withdrawn")
    await month.fired(ERP)
    month.resolve_sheet(entry, "reject")
    await month.until(run, SagaStatus.COMPLETE)
    assert month.posted(project) == []
    assert [
        row for row in writes(month, "timeBill") if (row["body"] or {}).get("customer") == {"id": project.job}
    ] == []
    month.firm.calm()


async def test_an_entry_that_vanishes_before_it_is_posted_is_not_posted(month: Month) -> None:
    project = await month.contract()
    (entry, other) = month.time(project, 16, 17)
    month.firm.fault(ERP, kind="delay", method="POST", path="suiteql", delay_ms=2500)
    run = await month.post("vanished")
    await month.fired(ERP)
    month.kantata("DELETE", f"time_entries/{entry}")
    await month.until(run, SagaStatus.COMPLETE)
    assert [row["tranDate"] for row in month.posted(project)] == ["2026-11-17"]
    month.kantata("DELETE", f"time_entries/{other}")
    await month.close()
    assert month.posted(project) == [], "deleted after posting: the listing before a cutoff tells"
    month.firm.calm()


async def test_a_page_that_shifts_while_it_is_read_loses_and_doubles_nothing(month: Month) -> None:
    project = await month.contract()
    for day in range(2, 28):
        month.time(project, *[day] * 10, minutes=6, user=73)
    entries = [row for row in month.firm.records(PSA, "time_entries") if row["user_id"] == "73"]
    month.firm.fault(PSA, kind="delay", method="GET", path=r"time_entries\?", delay_ms=1500, skip=1)
    run = await month.post("shift")
    await month.fired(PSA)
    for row in entries[:20]:
        month.edit(str(row["id"]), notes="shifted")
    month.edit(str(entries[0]["id"]), time_in_minutes=12)
    await month.until(run, SagaStatus.COMPLETE)
    await month.posting("shift-2")
    assert month.hours(project) == 260 * 6 + 6
    assert len(month.posted(project)) == 260
    assert month.twice() == []
    month.firm.calm()


async def test_a_period_that_closes_half_way_moves_the_rest_and_keeps_the_work_date(month: Month) -> None:
    project = await month.contract()
    month.time(project, *[18] * 10, minutes=30)
    month.firm.control(ERP, "POST", "settings", {"async_job_seconds": 2})
    run = await month.post("closing")
    await month.handed_over()
    month.period("Nov 2026", closed=True)
    await month.until(run, SagaStatus.COMPLETE)
    month.period("Nov 2026", closed=False)
    month.firm.control(ERP, "POST", "settings", {"async_job_seconds": 0})
    posted = month.posted(project)
    assert len(posted) == 10
    assert {(row["tranDate"], row.get("custcol_trueup_worked")) for row in posted} == {
        ("2026-12-01", "2026-11-18")
    }


# --- changed after issue -------------------------------------------------------------------------------


async def test_a_line_changed_after_issue_is_credited_at_a_gate_and_billed_anew(month: Month) -> None:
    month.rate("GBP", "2026-11-01", "1.15")
    project = await month.contract(currency="GBP")
    entries = month.time(project, 19, 20, rate_in_cents=13_000)
    await month.close()
    (invoice,) = month.invoices(project)
    assert net(invoice) == 2080
    month.rate("GBP", "2026-11-28", "1.30")
    month.edit(entries[0], time_in_minutes=240)
    await month.posting("credit-1")
    credit = await month.credit_of(project)
    view = await month.until(credit, SagaStatus.GATED)
    (gate,) = view.gates
    assert gate.gate is not None
    assert gate.gate.figures["Credited"] == "GBP 1,040.00"
    assert gate.gate.figures["Billed again"] == "GBP 520.00"
    assert month.credits(project) == []
    month.period("Nov 2026", arLocked=True)
    await month.decide(credit, choice=Freed.UNBILLED.value)
    await month.until(credit, SagaStatus.COMPLETE)
    month.period("Nov 2026", arLocked=False)
    (memo,) = month.credits(project)
    assert net(memo) == 1040
    assert Decimal(str(memo["exchangeRate"])) == Decimal(str(invoice["exchangeRate"])) == Decimal("1.15")
    assert memo["tranDate"] == "2026-12-01"


async def test_a_credit_that_is_refused_leaves_the_invoice_and_is_not_proposed_again(month: Month) -> None:
    project = await month.contract()
    (entry,) = month.time(project, 23)
    await month.close()
    month.edit(entry, time_in_minutes=450)
    await month.posting("refuse-1")
    credit = await month.credit_of(project)
    await month.decide(credit, GateOutcome.REJECT, reason="agreed with the client")
    await month.until(credit, SagaStatus.UNDONE)
    await month.posting("refuse-2")
    again = await month.credit_of(project)
    assert (await again.describe()).run_id == (await credit.describe()).run_id
    assert month.credits(project) == []


@pytest.mark.parametrize("freed", [Freed.UNBILLED, Freed.HELD, Freed.WRITTEN_OFF])
async def test_credited_parts_go_where_the_approver_says(month: Month, freed: Freed) -> None:
    project = await month.contract()
    month.time(project, 24, 25)
    await month.close()
    lines = await month.lines(project)
    (invoice,) = [row for row in await month.documents(project) if row.corrects is None]
    starts = month.starts_as("carla")
    run = await start_run(
        month.firm.client, starts.credit(PSA, ERP, invoice.key, "the client disputes the day", [lines[24]])
    )
    await month.decide(run, choice=freed.value)
    await month.until(run, SagaStatus.COMPLETE)
    (memo,) = month.credits(project)
    assert net(memo) == 1200
    left = await month.left(project, 24)
    assert (
        left
        == {
            Freed.UNBILLED: {"open": eur("1200")},
            Freed.HELD: {"held": eur("1200")},
            Freed.WRITTEN_OFF: {"written": eur("1200")},
        }[freed]
    )


async def test_a_milestone_that_is_opened_again_after_its_invoice_is_credited(month: Month) -> None:
    stones = schedule("EUR", ("Blueprint", date(2026, 11, 20), "5000"), milestones=True)
    project = await month.contract(line(BillingMethod.MILESTONE, "5000", schedule=stones))
    month.milestone(project, "Blueprint", accepted=False)
    await month.close()
    (invoice,) = month.invoices(project)
    assert net(invoice) == 5000
    month.milestone(project, "Blueprint", complete=False, accepted=False)
    await month.posting("reopened")
    credit = await month.credit_of(project)
    await month.decide(credit, choice=Freed.UNBILLED.value)
    await month.until(credit, SagaStatus.COMPLETE)
    (memo,) = month.credits(project)
    assert net(memo) == 5000
    await month.close()
    assert len(month.invoices(project)) == 1, "it is not complete"


# --- late, and the next month -----------------------------------------------------------------------------


async def test_late_time_goes_to_a_further_invoice_or_to_the_next_cycle(month: Month) -> None:
    further = await month.contract(late_time=LateTime.SUPPLEMENTARY)
    later = await month.contract(late_time=LateTime.NEXT_CYCLE)
    for project in (further, later):
        month.time(project, 3)
    await month.close()
    for project in (further, later):
        month.time(project, 4, minutes=60)
    await month.close()
    assert [net(one) for one in month.invoices(further)] == [1200, 150]
    assert [net(one) for one in month.invoices(later)] == [1200]
    await month.close(DECEMBER)
    assert [net(one) for one in month.invoices(later)] == [1200, 150]
    assert month.twice() == []
    assert month.billed_twice() == []


async def test_the_next_month_bills_what_was_moved_and_replaced(month: Month) -> None:
    """December was closed by the test before: the moved line, and the replacement of the credited one."""
    nets = sorted(net(one) for one in month.invoices() if one["tranDate"] == "2026-12-31")
    assert Decimal("1200") in nets, "moved by its reviewer"
    assert Decimal("520") in nets, "billed anew after the credit"


async def test_an_expense_is_credited_and_billed_again_as_a_line_of_its_own(month: Month) -> None:
    project = await month.contract(late_time=LateTime.SUPPLEMENTARY)
    month.expense(project, 5, 25_000)
    await month.close()
    (invoice,) = [row for row in await month.documents(project) if row.corrects is None]
    starts = month.starts_as("carla")
    run = await start_run(month.firm.client, starts.credit(PSA, ERP, invoice.key, "wrong addressee"))
    await month.decide(run, choice=Freed.UNBILLED.value)
    await month.until(run, SagaStatus.COMPLETE)
    await month.close()
    first, second = month.invoices(project)
    assert [net(first), net(second)] == [Decimal(250)] * 2
    assert [line["item"]["id"] for line in second["item"]["items"]] == ["32"]
    assert len(month.credits(project)) == 1
