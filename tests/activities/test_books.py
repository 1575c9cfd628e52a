"""Cases, decisions, ends; failures on their way to Temporal; options of every call."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.testing import ActivityEnvironment

from activities.books import LedgerActivitiesOver
from activities.contracts import CloseCase, EscalateCase, FinishSaga, OpenCase, RecordDecision
from activities.failures import PATIENCE, application_error, guarded
from activities.options import CallClass, Timings, activity_config
from canonical.causes import Cause, Queue
from canonical.failures import Failure, FailureKind, Refused, Transient, Unauthorised
from canonical.money import Money
from canonical.refs import RecordRef
from canonical.saga import (
    CaseState,
    GateDecision,
    GateOutcome,
    GateRequest,
    RepairAction,
    RepairCommand,
    SagaStatus,
    SagaView,
)
from ledger.store import Ledger
from tests.activities.fakes import ANNA, SAGA, ref
from tests.activities.firm import FakeNotifier, FakeSystems

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def systems() -> FakeSystems:
    return FakeSystems()


@pytest.fixture
def books(ledger: Ledger, systems: FakeSystems) -> LedgerActivitiesOver:
    return LedgerActivitiesOver(systems, ledger)


async def run(method: Any, command: Any) -> Any:
    return await ActivityEnvironment().run(method, command)


def case(**more: Any) -> OpenCase:
    failure = Failure(
        kind=FailureKind.REPAIR,
        cause=Cause.TAX_REGISTRATION_MISSING,
        message="no tax registration",
        queue=Queue.MASTER_DATA,
        at_stake=Money.of_minor(12_000_000, "EUR"),
    )
    return OpenCase(saga=ref(), step="validate", failure=failure, transient=False, opened_at=NOON, **more)


async def test_a_case_has_an_owner_and_is_opened_once(books: LedgerActivitiesOver, ledger: Ledger) -> None:
    link = RecordRef(system="sf-main", type="Account", id="001")
    for _ in range(2):
        await run(books.open_case, case(links=(link,)))
    rows = (await ledger.cases()).rows
    assert len(rows) == 1
    found = rows[0].case
    assert (found.owner, found.state, found.step) == ("Finance master data", CaseState.OPEN, "validate")
    assert found.failure.at_stake == Money.of_minor(12_000_000, "EUR")
    assert found.links == (link,)
    assert found.business_key == "crm/006A"


async def test_a_case_is_closed_with_its_resolution_and_opens_again(
    books: LedgerActivitiesOver, ledger: Ledger
) -> None:
    await run(books.open_case, case())
    await run(books.close_case, CloseCase(saga=ref(), step="validate", resolution="retried"))
    row = await ledger.case(f"{SAGA}|g1|validate")
    assert row is not None
    assert (row.case.state, row.case.resolution) == (CaseState.CLOSED, "retried")
    await run(books.open_case, case())
    row = await ledger.case(f"{SAGA}|g1|validate")
    assert row is not None
    assert row.case.state is CaseState.OPEN


async def test_an_overdue_case_is_escalated_to_its_owner_with_a_message(
    books: LedgerActivitiesOver, systems: FakeSystems, ledger: Ledger
) -> None:
    mail = FakeNotifier()
    systems.mail.append(mail)
    await run(books.open_case, case())
    for _ in range(2):
        await run(books.escalate_case, EscalateCase(saga=ref(), step="validate", message="still parked"))
    row = await ledger.case(f"{SAGA}|g1|validate")
    assert row is not None
    assert row.escalations == 2
    assert [notice.facts["Owner"] for notice in mail.sent] == ["Finance master data"] * 2
    assert len({notice.key for notice in mail.sent}) == 2


@pytest.mark.parametrize("fault", [Refused("no such recipient"), Unauthorised("bad password")])
async def test_a_broken_channel_does_not_hold_up_the_escalation(
    books: LedgerActivitiesOver, systems: FakeSystems, ledger: Ledger, fault: Exception
) -> None:
    systems.mail.append(FakeNotifier(fault=fault))
    await run(books.open_case, case())
    await run(books.escalate_case, EscalateCase(saga=ref(), step="validate", message="still parked"))
    row = await ledger.case(f"{SAGA}|g1|validate")
    assert row is not None
    assert row.escalations == 1


async def test_an_overdue_gate_has_no_case_and_is_still_told(
    books: LedgerActivitiesOver, systems: FakeSystems
) -> None:
    mail = FakeNotifier()
    systems.mail.append(mail)
    await run(books.escalate_case, EscalateCase(saga=ref(), step="gate.credit", message="decision overdue"))
    assert [notice.facts["Owner"] for notice in mail.sent] == ["operations"]


async def test_who_decided_what_and_why_is_kept_once(books: LedgerActivitiesOver, ledger: Ledger) -> None:
    repair = RepairCommand(
        command_id="r1", step="validate", action=RepairAction.RETRY_AMENDED, actor=ANNA, reason="corrected",
        amended_input={"deal": {"amount": "1"}},
    )  # fmt: skip
    gate = GateDecision(command_id="g1", step="gate.sow", outcome=GateOutcome.APPROVE, actor=ANNA, choice="7")
    request = GateRequest(gate="sow", step="gate.sow", title="t", question="q", roles=("pmo-lead",))
    for _ in range(2):
        await run(books.record_decision, RecordDecision(saga=ref(), repair=repair))
        await run(books.record_decision, RecordDecision(saga=ref(), gate=gate, request=request))
    rows = (await ledger.decisions(saga_id=SAGA)).rows
    kept = {row.command_id: row for row in rows}
    assert set(kept) == {"r1", "g1"}
    assert len(rows) == 2
    assert (kept["r1"].kind, kept["r1"].outcome, kept["r1"].reason) == (
        "repair",
        "retry_amended",
        "corrected",
    )
    assert kept["r1"].after == {"amended_input": {"deal": {"amount": "1"}}, "result": None}
    assert kept["g1"].after == {"choice": "7"}
    assert await ledger.verify() == []


async def test_a_saga_that_ended_before_it_was_registered_has_a_row_all_the_same(
    books: LedgerActivitiesOver, ledger: Ledger
) -> None:
    view = SagaView(
        saga_id=SAGA, saga="opportunity-to-project", status=SagaStatus.FAILED, headline="no such deal",
        business_key="crm/006A", region="emea", human_seconds=7,
    )  # fmt: skip
    for _ in range(2):
        await run(books.finish_saga, FinishSaga(saga=ref(), view=view))
    row = await ledger.saga(SAGA)
    assert row is not None
    assert (row.status, row.generation) == (SagaStatus.FAILED, 1)
    assert row.view == view
    assert row.figures == {"human_seconds": 7, "steps": 0}


# --- failures on their way to Temporal ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "delay", "retried", "benign"),
    [
        (FailureKind.RETRY, None, True, True),
        (FailureKind.WAIT, 5, True, True),
        (FailureKind.WAIT, PATIENCE, True, True),
        (FailureKind.WAIT, PATIENCE + 1, False, True),
        (FailureKind.REAUTHORISE, None, False, True),
        (FailureKind.UNKNOWN_OUTCOME, None, True, False),
        (FailureKind.REPAIR, None, False, False),
        (FailureKind.CONFLICT, None, False, False),
        (FailureKind.DEFECT, None, False, False),
    ],
)
def test_the_server_retries_only_where_that_helps(
    kind: FailureKind, delay: int | None, retried: bool, benign: bool
) -> None:
    failure = Failure(kind=kind, cause=Cause.VENDOR_REFUSED, message="words", retry_after_seconds=delay)
    error = application_error(failure)
    assert error.non_retryable is not retried
    assert error.next_retry_delay == (timedelta(seconds=delay) if delay is not None and retried else None)
    assert (error.category is ApplicationErrorCategory.BENIGN) is benign
    assert error.type == "VENDOR_REFUSED"
    assert Failure.model_validate(error.details[0]) == failure


async def test_an_unforeseen_error_is_a_defect_of_ours_that_may_have_written() -> None:
    @guarded
    async def broken(command: str) -> None:
        raise KeyError("tax")

    with pytest.raises(ApplicationError) as found:
        await run(broken, "x")
    failure = Failure.model_validate(found.value.details[0])
    assert (failure.kind, failure.cause, failure.maybe_landed) == (FailureKind.DEFECT, Cause.DEFECT, True)
    assert "KeyError" in failure.message
    assert found.value.non_retryable


async def test_a_cancelled_activity_stays_cancelled() -> None:
    """Turned into a failure, it would be retried by a worker that is shutting down."""

    @guarded
    async def slow(command: str) -> None:
        await asyncio.sleep(3600)

    environment = ActivityEnvironment()
    task = asyncio.create_task(environment.run(slow, "x"))
    await asyncio.sleep(0.01)
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_working_activity_gives_signs_of_life() -> None:
    @guarded
    async def slow(command: str) -> str:
        await asyncio.sleep(0.2)
        return command

    environment = ActivityEnvironment()
    environment.info = replace(environment.info, heartbeat_timeout=timedelta(seconds=0.15))
    beats: list[tuple[Any, ...]] = []
    environment.on_heartbeat = lambda *details: beats.append(details)
    assert await environment.run(slow, "x") == "x"
    assert len(beats) >= 2


async def test_our_failures_keep_their_words() -> None:
    @guarded
    async def away(command: str) -> None:
        raise Transient("503", system="erp", retry_after_seconds=3)

    with pytest.raises(ApplicationError, match="503") as found:
        await run(away, "x")
    assert found.value.next_retry_delay == timedelta(seconds=3)


# --- options -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(CallClass))
def test_no_call_waits_without_bound_or_forgets_its_queue(kind: CallClass) -> None:
    options = activity_config("q", kind, Timings())
    assert options["task_queue"] == "q"
    assert options["start_to_close_timeout"]
    assert "schedule_to_close_timeout" not in options
    assert "schedule_to_start_timeout" not in options
    retry = options["retry_policy"]
    assert retry is not None
    assert retry.maximum_attempts == Timings().attempts > 0


@pytest.mark.parametrize("kind", [CallClass.WRITE, CallClass.LONG, CallClass.UNDO])
def test_a_dead_worker_is_noticed_by_its_missing_heartbeat(kind: CallClass) -> None:
    options = activity_config("q", kind, Timings(heartbeat=7))
    assert options["heartbeat_timeout"] == timedelta(seconds=7)


def test_one_step_has_time_for_several_calls() -> None:
    assert Timings().write > 2 * Timings().call
    assert Timings().call > 0
