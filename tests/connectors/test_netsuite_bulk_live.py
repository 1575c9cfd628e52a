"""NetSuite's batches over HTTP: outcomes per line, earlier jobs, lost answers, lag, changes, removals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from canonical.authority import Phase
from canonical.causes import Cause
from canonical.erp_billing import CostKind, CostLine, Reversal, ReversalOrder
from canonical.failures import Defect, OutcomeUnknown, RateLimited, Refused
from canonical.operations import BatchTicket, LineOutcome, WriteContext
from canonical.writes import VendorWrite
from tests.acceptance.netsuite import PROJECT, Subject
from tests.acceptance.subject import Route
from tests.connectors import netsuite_billing as bills

pytestmark = pytest.mark.anyio


@pytest.fixture
async def subject() -> AsyncIterator[Subject]:
    subject = Subject()
    yield subject
    await subject.close()


@pytest.fixture
def after(subject: Subject) -> WriteContext:
    return subject.context(phase=Phase.AFTER_APPROVAL)


@pytest.fixture
async def project(subject: Subject) -> str:
    """The project of an active contract."""
    return (await subject.active())[PROJECT]


def lines(project: str, count: int, *, wrong: tuple[int, ...] = (), **changes: Any) -> list[CostLine]:
    """Time; those in ``wrong`` name an employee that is not there."""
    return [
        bills.cost(n, project=project, worker="999" if n in wrong else "14", **changes) for n in range(count)
    ]


async def outcomes(subject: Subject, ticket: BatchTicket, writes: list[VendorWrite]) -> list[LineOutcome]:
    found = await subject.connector.batch_outcome(ticket, writes)
    assert found is not None
    assert [one.key for one in found] == [write.key for write in writes]
    assert all((one.landed is None) != (one.failure is None) for one in found)
    return found


async def post(
    subject: Subject, after: WriteContext, costs: list[CostLine], key: str = "B1"
) -> tuple[list[VendorWrite], list[LineOutcome]]:
    writes = subject.connector.plan_cost(after, costs)
    return writes, await outcomes(subject, await subject.connector.submit_batch(key, writes), writes)


# --- outcomes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("results", ["tasks", "items"])
async def test_outcomes_are_told_per_line(
    subject: Subject, after: WriteContext, project: str, results: str
) -> None:
    subject.configure(list_results=results)
    writes, told = await post(subject, after, lines(project, 5, wrong=(2,)))
    assert [one.landed is None for one in told] == [False, False, True, False, False]
    assert "employee" in str(told[2].failure)
    assert not told[2].retry
    for write, one in zip(writes, told, strict=True):
        if one.landed is not None:
            record = subject.record("timeBill", one.landed)
            assert (record["externalId"], record["hours"], record["rate"]) == (write.stamp, "7:30", 150)
    assert subject.landed_lines(writes) == [1, 1, 0, 1, 1]


async def test_a_batch_that_went_well_costs_three_calls(
    subject: Subject, after: WriteContext, project: str
) -> None:
    before = len(subject.calls())
    _, told = await post(subject, after, lines(project, 100))
    assert all(one.landed and not one.differs for one in told)
    made = subject.calls()[before:]
    assert [call["method"] for call in made] == ["POST", "GET", "POST"]
    assert len({one.landed for one in told}) == 100


async def test_different_refusals_are_each_laid_at_their_line(
    subject: Subject, after: WriteContext, project: str
) -> None:
    costs = lines(project, 6, wrong=(1,))
    costs[3] = costs[3].model_copy(update={"item": "998"})
    costs[4] = costs[4].model_copy(
        update={"work_date": date(2026, 10, 15), "posting_date": date(2026, 10, 15)}
    )
    _, told = await post(subject, after, costs)
    assert [one.landed is None for one in told] == [False, True, False, True, True, False]
    assert "999" in str(told[1].failure)
    assert told[3].cause is Cause.SERVICE_ITEM_MISSING
    # The refusal of a period names no line: it is told among the possible ones, never guessed.
    assert "2026-10" in str(told[4].failure)


async def test_lines_of_a_batch_that_closed_its_period_half_way_are_told_apart(
    subject: Subject, after: WriteContext, project: str
) -> None:
    """November closes while the batch waits: its lines are refused, December's lines land."""
    subject.configure(async_job_seconds=2)
    december = {"work_date": date(2026, 12, 1), "posting_date": date(2026, 12, 1)}
    costs = [*lines(project, 3), *(one.model_copy(update=december) for one in lines(project, 6)[3:])]
    writes = subject.connector.plan_cost(after, costs)
    ticket = await subject.connector.submit_batch("B1", writes)
    assert await subject.connector.batch_outcome(ticket, writes) is None
    subject.control.post("/_sim/periods", json={"name": "2026-11", "closed": True})
    subject.control.post("/_sim/clock", json={"offset_seconds": 3})
    told = await outcomes(subject, ticket, writes)
    assert [one.landed is None for one in told] == [True] * 3 + [False] * 3
    assert {one.cause for one in told[:3]} == {Cause.PERIOD_CLOSED}
    assert not any(one.retry for one in told[:3])


async def test_lagging_queries_do_not_lose_lines(subject: Subject, after: WriteContext, project: str) -> None:
    subject.configure(suiteql_lag_seconds=3600)
    _, told = await post(subject, after, lines(project, 12, wrong=(5,)))
    assert [one.landed is None for one in told] == [n == 5 for n in range(12)]


async def test_what_somebody_changed_after_posting_is_told_as_different(
    subject: Subject, after: WriteContext, project: str
) -> None:
    writes, told = await post(subject, after, lines(project, 2))
    await subject.patch("timeBill", str(told[0].landed), hours="1:00")
    again = await outcomes(subject, await subject.connector.submit_batch("B2", writes), writes)
    assert again[0].landed == told[0].landed
    assert again[0].differs == {"hours": "1:00"}
    assert again[1].differs == {}
    assert subject.record("timeBill", str(told[0].landed))["hours"] == "1:00", "never overwritten"


# --- earlier jobs -----------------------------------------------------------------------------------------


async def test_a_lost_answer_is_found_by_the_key(subject: Subject, after: WriteContext, project: str) -> None:
    writes = subject.connector.plan_cost(after, lines(project, 3))
    subject.fault("drop_after", method="POST", path="/timeBill")
    with pytest.raises(OutcomeUnknown):
        await subject.connector.submit_batch("B1", writes)
    ticket = await subject.connector.submit_batch("B1", writes)
    assert ticket.earlier
    assert all(one.landed for one in await outcomes(subject, ticket, writes))
    assert subject.landed_lines(writes) == [1, 1, 1]


async def test_an_earlier_job_that_still_runs_has_no_outcome_yet(
    subject: Subject, after: WriteContext, project: str
) -> None:
    subject.configure(async_job_seconds=60)
    writes = subject.connector.plan_cost(after, lines(project, 2))
    ticket = await subject.connector.submit_batch("B1", writes)
    again = await subject.connector.submit_batch("B1", writes)
    assert (again.id, ticket.earlier, again.earlier) == (ticket.id, False, True)
    assert await subject.connector.batch_outcome(again, writes) is None
    subject.control.post("/_sim/clock", json={"offset_seconds": 61})
    assert all(one.landed for one in await outcomes(subject, again, writes))


@pytest.mark.parametrize("wrong", [(0, 1, 2), (1,)])
async def test_an_earlier_job_that_failed_in_whole_or_part_tells_its_reasons(
    subject: Subject, after: WriteContext, project: str, wrong: tuple[int, ...]
) -> None:
    writes = subject.connector.plan_cost(after, lines(project, 3, wrong=wrong))
    await subject.connector.submit_batch("B1", writes)
    ticket = await subject.connector.submit_batch("B1", writes)
    assert ticket.earlier
    told = await outcomes(subject, ticket, writes)
    assert [one.landed is None for one in told] == [n in wrong for n in range(3)]
    assert all("employee" in str(told[n].failure) for n in wrong)


async def test_a_job_that_is_forgotten_is_told_by_its_records(
    subject: Subject, after: WriteContext, project: str
) -> None:
    """Lines that are there landed; the others go out again, since nothing refused them."""
    writes, told = await post(subject, after, lines(project, 3, wrong=(1,)))
    found = await outcomes(subject, BatchTicket(id="987654"), writes)
    assert [one.landed for one in found] == [one.landed for one in told]
    assert found[1].retry


async def test_a_line_that_failed_for_a_passing_reason_goes_out_again(
    subject: Subject, after: WriteContext, project: str
) -> None:
    """The result of a line is the vendor's own fault: it is not the line's."""
    writes, told = await post(subject, after, lines(project, 1, wrong=(0,)))
    body = {"status": 500, "o:errorDetails": [{"detail": "Oops", "o:errorCode": "UNEXPECTED_ERROR"}]}
    subject.fault("error_before", method="GET", path="/result", status=500, body=body)
    again = await outcomes(subject, await subject.connector.submit_batch("B1", writes), writes)
    assert (told[0].retry, again[0].retry) == (False, True)


async def test_a_line_that_somebody_deleted_after_posting_never_goes_out_again_by_itself(
    subject: Subject, after: WriteContext, project: str
) -> None:
    writes, told = await post(subject, after, lines(project, 3))
    assert await subject.connector._client.delete("timeBill", str(told[1].landed), what="Somebody deletes it")
    again = await outcomes(subject, await subject.connector.submit_batch("B1", writes), writes)
    assert [one.landed is None for one in again] == [False, True, False]
    assert (again[1].cause, again[1].retry) == (Cause.RECORD_VANISHED, False)


async def test_refusals_cost_a_call_each_and_no_search(
    subject: Subject, after: WriteContext, project: str
) -> None:
    before = len(subject.calls())
    _, told = await post(subject, after, lines(project, 30, wrong=tuple(range(20))))
    assert [one.landed is None for one in told] == [n < 20 for n in range(30)]
    # Submit, state, query, tasks, and the results of the twenty.
    assert len(subject.calls()) - before == 4 + 20


async def test_duplicates_that_the_query_does_not_show_yet_are_found_by_record(
    subject: Subject, after: WriteContext, project: str
) -> None:
    """The ledger was lost: the same lines go out under another key while the query still lags."""
    costs = lines(project, 3, wrong=(1,))
    _, told = await post(subject, after, costs)
    subject.configure(suiteql_lag_seconds=3600)
    writes, again = await post(subject, after, costs, "B2")
    assert [one.landed for one in again] == [one.landed for one in told]
    assert "employee" in str(again[1].failure)
    assert subject.landed_lines(writes) == [1, 0, 1]


# --- handing over -----------------------------------------------------------------------------------------


async def test_batches_are_checked_before_they_go_out(
    subject: Subject, after: WriteContext, project: str
) -> None:
    erp = subject.connector
    writes = erp.plan_cost(after, lines(project, 101))
    spent = erp.plan_cost(after, [bills.expense(project=project)])
    for wrong in ([], writes, [writes[0], writes[0]], [writes[0], spent[0]], [subject.create()]):
        with pytest.raises(Defect):
            await erp.submit_batch("B1", wrong)
    assert subject.records("timeBill") == []


async def test_a_refused_batch_is_a_refusal_and_a_full_house_waits(
    subject: Subject, after: WriteContext, project: str
) -> None:
    writes = subject.connector.plan_cost(after, lines(project, 1))
    subject.fault("business", method="POST", path="/timeBill", message="Time is not licensed")
    with pytest.raises(Refused, match="not licensed"):
        await subject.connector.submit_batch("B1", writes)
    subject.fault("rate_limit", method="POST", path="/timeBill")
    with pytest.raises(RateLimited):
        await subject.connector.submit_batch("B1", writes)
    assert not (await subject.connector.submit_batch("B1", writes)).earlier


async def test_the_concurrency_of_the_account_is_never_exceeded(
    subject: Subject, after: WriteContext, project: str
) -> None:
    from connectors.kit.together import together

    subject.configure(concurrency_limit=5, latency_ms=20)
    writes = subject.connector.plan_cost(after, lines(project, 60))
    parts = [writes[n : n + 5] for n in range(0, 60, 5)]
    tickets = await together(subject.connector.submit_batch(f"B{n}", part) for n, part in enumerate(parts))
    for ticket, part in zip(tickets, parts, strict=True):
        assert all(one.landed for one in await outcomes(subject, ticket, part))
    statuses = {call["status"] for call in subject.calls()}
    assert 429 not in statuses


# --- one line alone, other kinds --------------------------------------------------------------------------


async def test_one_line_alone_is_found_and_undone(
    subject: Subject, after: WriteContext, project: str
) -> None:
    writes = subject.connector.plan_cost(after, lines(project, 1))
    ((write, landed),) = (await subject.perform(writes))[1]
    assert (await subject.connector.undo(write, landed, None)).result == "deleted"


@pytest.mark.parametrize(
    ("currency", "amount", "minor"),
    [("EUR", "98.40", 98.4), ("JPY", "9840", 9840), ("KWD", "98.405", 98.405)],
)
async def test_expenses_are_cost_and_never_a_payable(
    subject: Subject, after: WriteContext, project: str, currency: str, amount: str, minor: float
) -> None:
    spent = [bills.expense(n, amount=amount, currency=currency, project=project) for n in range(2)]
    writes, told = await post(subject, after, spent)
    assert all(one.landed and not one.differs for one in told)
    record = subject.record("expenseReport", str(told[0].landed))
    assert (record["total"], record["reimbursable"]) == (minor, 0)
    shown = await subject.connector.postings(CostKind.EXPENSE, [write.stamp for write in writes])
    assert {one.amount and one.amount.amount for one in shown.values()} == {Decimal(amount)}
    owed = bills.expense(9, amount=amount, currency=currency, project=project, payable_to_worker=True)
    _, told = await post(subject, after, [owed], "B2")
    assert subject.record("expenseReport", str(told[0].landed))["reimbursable"] == minor


async def test_a_worker_of_another_entity_is_refused_where_the_account_wants_that(
    subject: Subject, after: WriteContext, project: str
) -> None:
    subject.configure(intercompany_time=False)
    foreign = [bills.cost(1, project=project, worker="15"), bills.cost(2, project=project)]
    _, told = await post(subject, after, foreign)
    assert [one.landed is None for one in told] == [True, False]
    assert told[0].cause is Cause.WORKER_NOT_IN_ENTITY


# --- postings, reversals ----------------------------------------------------------------------------------


async def test_postings_are_read_by_stamp_also_a_moment_after(
    subject: Subject, after: WriteContext, project: str
) -> None:
    subject.configure(suiteql_lag_seconds=3600)
    writes, told = await post(subject, after, lines(project, 2))
    shown = await subject.connector.postings(CostKind.TIME, [*(w.stamp for w in writes), "tu-unknown"])
    assert {stamp: one.ref.id for stamp, one in shown.items()} == {
        write.stamp: one.landed for write, one in zip(writes, told, strict=True)
    }
    one = shown[writes[0].stamp]
    assert (one.minutes, one.project, one.worker, one.billable) == (450, project, "14", True)
    assert (one.approved, one.billed_on, one.reverses) == (True, None, None)


async def reversal(
    subject: Subject, costs: list[CostLine], writes: list[VendorWrite], form: Reversal
) -> list[ReversalOrder]:
    shown = await subject.connector.postings(CostKind.TIME, [write.stamp for write in writes])
    return [
        ReversalOrder(
            line=line, posting=shown[write.stamp], form=form, on=date(2026, 12, 1), reason="Rejected"
        )
        for line, write in zip(costs, writes, strict=True)
    ]


async def test_lines_are_removed_in_a_batch_that_may_be_repeated(
    subject: Subject, after: WriteContext, project: str
) -> None:
    costs = lines(project, 3)
    writes, _ = await post(subject, after, costs)
    gone = subject.connector.plan_reversals(after, await reversal(subject, costs, writes, Reversal.DELETE))
    subject.fault("drop_after", method="DELETE", path="/timeBill")
    with pytest.raises(OutcomeUnknown):
        await subject.connector.submit_batch("R1", gone)
    for _ in (1, 2):
        told = await outcomes(subject, await subject.connector.submit_batch("R1", gone), gone)
        assert all(one.landed for one in told)
    assert subject.landed_lines(writes) == [0, 0, 0]
    assert await subject.connector.postings(CostKind.TIME, [write.stamp for write in writes]) == {}
    assert await subject.connector.find(gone[0]) is not None
    await subject.perform(gone[:1])


async def test_a_line_that_cannot_be_removed_says_why(
    subject: Subject, after: WriteContext, project: str
) -> None:
    costs = lines(project, 2)
    writes, _ = await post(subject, after, costs)
    gone = subject.connector.plan_reversals(after, await reversal(subject, costs, writes, Reversal.DELETE))
    subject.control.post("/_sim/periods", json={"name": "2026-11", "closed": True})
    told = await outcomes(subject, await subject.connector.submit_batch("R1", gone), gone)
    assert {one.cause for one in told} == {Cause.PERIOD_CLOSED}
    assert subject.landed_lines(writes) == [1, 1]


async def test_a_line_of_a_closed_period_is_reversed_in_an_open_one(after: WriteContext) -> None:
    subject = Subject(mapping={"billing": {"negative_time": True}})
    subject.configure(negative_hours=True)
    project = (await subject.active())[PROJECT]
    costs = lines(project, 2, bill_rate=Decimal("99.99"))
    writes, _ = await post(subject, after, costs)
    subject.control.post("/_sim/periods", json={"name": "2026-11", "closed": True})
    back = subject.connector.plan_reversals(
        after, await reversal(subject, costs, writes, Reversal.NEGATIVE_LINE)
    )
    for key in ("R1", "R1", "R2"):
        told = await outcomes(subject, await subject.connector.submit_batch(key, back), back)
        assert all(one.landed and not one.differs for one in told)
    shown = await subject.connector.postings(CostKind.TIME, [write.stamp for write in back])
    assert [one.minutes for one in shown.values()] == [-450, -450]
    assert {one.reverses for one in shown.values()} == {write.stamp for write in writes}
    assert {one.posted_on for one in shown.values()} == {date(2026, 12, 1)}
    (total,) = await subject.connector.unbilled_totals(date(2026, 12, 31))
    assert (str(total.amount), total.lines) == ("EUR 0.00", 4)
    await subject.close()


async def test_written_off_lines_leave_the_unbilled_balance(
    subject: Subject, after: WriteContext, project: str
) -> None:
    writes, _ = await post(subject, after, lines(project, 3))
    spent, _ = await post(subject, after, [bills.expense(1, project=project)], "B2")
    erp, day = subject.connector, date(2026, 11, 30)
    before = {one.kind: (str(one.amount), one.lines) for one in await erp.unbilled_totals(day)}
    assert before == {"time": ("EUR 3,375.00", 3), "expense": ("EUR 98.40", 1)}
    time = await erp.postings(CostKind.TIME, [writes[0].stamp, writes[1].stamp])
    cost = await erp.postings(CostKind.EXPENSE, [spent[0].stamp])
    off = erp.plan_not_billable(after, list(time.values()))
    for key in ("N1", "N2"):
        told = await outcomes(subject, await erp.submit_batch(key, off), off)
        assert all(one.landed for one in told)
    await subject.perform(erp.plan_not_billable(after, list(cost.values())))
    assert [(one.kind, str(one.amount)) for one in await erp.unbilled_totals(day)] == [
        ("time", "EUR 1,125.00")
    ]
    assert len(subject.records("timeBill")) == 3, "the cost stays"


def test_the_batch_goes_out_where_the_suite_looks_for_it() -> None:
    assert Subject.batching == Route("POST", "/timeBill")
