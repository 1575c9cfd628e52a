"""Saga rows by generation, exception cases, decisions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canonical.causes import Cause, Queue
from canonical.failures import Defect, Failure, FailureKind
from canonical.money import AmountRole, Money
from canonical.refs import RecordRef
from canonical.saga import CaseState, ExceptionCase, SagaStatus, SagaView
from ledger.rows import SagaBegun
from ledger.store import Ledger
from tests.ledger.subject import ANNA, SAGA, Clock

pytestmark = pytest.mark.anyio


async def begin(ledger: Ledger, start_id: str = "run1", saga_id: str = SAGA, **more: Any) -> SagaBegun:
    values: dict[str, Any] = {
        "saga": "opportunity-to-project",
        "region": "emea",
        "business_key": "006A",
        "actor": ANNA,
        "reason": "won",
        "mapping": {"ns-emea": "d1"},
    }
    return await ledger.begin_saga(saga_id, start_id=start_id, **{**values, **more})


def view(status: SagaStatus = SagaStatus.RUNNING, **more: Any) -> SagaView:
    values: dict[str, Any] = {"saga_id": SAGA, "saga": "opportunity-to-project", "headline": "x"}
    return SagaView(**values, status=status, business_key="006A", region="emea", **more)


def case(number: int = 1, at_stake: Money | None = None, **more: Any) -> ExceptionCase:
    failure = Failure(
        kind=FailureKind.REPAIR,
        cause=more.pop("cause", Cause.BILL_TO_MISSING),
        message="no bill-to",
        queue=more.pop("queue", Queue.MASTER_DATA),
        at_stake=at_stake,
    )
    values: dict[str, Any] = {
        "id": f"{SAGA}|g1|step{number}",
        "saga_id": SAGA,
        "step": f"step{number}",
        "business_key": "006A",
        "region": "emea",
        "state": CaseState.OPEN,
        "failure": failure,
        "opened_at": Clock().time,
        "links": (RecordRef(system="ns-emea", type="customer", id="5", url="https://erp/5"),),
    }
    return ExceptionCase(**{**values, **more})


async def test_generation_rises_only_after_an_undo(ledger: Ledger) -> None:
    assert (await begin(ledger)).generation == 1
    assert await begin(ledger) == await begin(ledger)
    assert (await begin(ledger, "run2")).generation == 1
    await ledger.finish_saga(SAGA, 1, SagaStatus.FAILED)
    third = await begin(ledger, "run3")
    assert (third.generation, third.status) == (1, SagaStatus.RUNNING)
    await ledger.finish_saga(SAGA, 1, SagaStatus.UNDONE)
    again = await begin(ledger, "run3")
    assert (again.generation, again.status) == (1, SagaStatus.UNDONE), "the same start, not a new one"
    fourth = await begin(ledger, "run4")
    assert (fourth.generation, fourth.accepted) == (2, True)
    starts = await ledger.audit_rows(chain="trueup")
    assert [row.content["generation"] for row in starts.rows] == [1, 1, 1, 2]
    assert {row.actor for row in starts.rows} == {ANNA}


async def test_a_complete_saga_is_not_begun_again(ledger: Ledger) -> None:
    await begin(ledger)
    last = view(SagaStatus.COMPLETE, project_code="P-1")
    await ledger.finish_saga(SAGA, 1, SagaStatus.COMPLETE, view=last, figures={"total_seconds": 12})
    await ledger.finish_saga(SAGA, 1, SagaStatus.FAILED, view=view(SagaStatus.FAILED))
    refused = await begin(ledger, "run2")
    assert refused == SagaBegun(
        saga_id=SAGA, generation=1, accepted=False, status=SagaStatus.COMPLETE, view=last
    )
    row = await ledger.saga(SAGA)
    assert row is not None
    assert (row.start_id, row.figures, row.actor, row.mapping) == (
        "run1",
        {"total_seconds": 12},
        ANNA,
        {"ns-emea": "d1"},
    )
    assert row.finished_at == ledger.now()


async def test_late_views_are_ignored(ledger: Ledger) -> None:
    await begin(ledger)
    await ledger.save_view(view(SagaStatus.PARKED, revision=5))
    await ledger.save_view(view(SagaStatus.RUNNING, revision=4))
    row = await ledger.saga(SAGA)
    assert row is not None
    assert row.status is SagaStatus.PARKED
    await ledger.finish_saga(SAGA, 1, SagaStatus.COMPLETE)
    await ledger.save_view(view(SagaStatus.RUNNING, revision=9))
    row = await ledger.saga(SAGA, generation=1)
    assert row is not None
    assert row.status is SagaStatus.COMPLETE


async def test_a_saga_does_not_end_in_a_state_that_is_no_end(ledger: Ledger) -> None:
    await begin(ledger)
    with pytest.raises(Defect):
        await ledger.finish_saga(SAGA, 1, SagaStatus.PARKED)
    with pytest.raises(Defect):
        await ledger.finish_saga(SAGA, 2, SagaStatus.COMPLETE)
    assert await ledger.saga("o2p:emea:sf-main:nobody") is None


async def test_sagas_by_status_region_and_start(ledger: Ledger, clock: Clock) -> None:
    for n, region in enumerate(("emea", "apac", "emea", "emea")):
        await begin(ledger, f"run{n}", f"o2p:{region}:sf-main:deal{n}", region=region)
        clock.turn(60)
    await ledger.finish_saga("o2p:emea:sf-main:deal0", 1, SagaStatus.COMPLETE)
    page = await ledger.sagas(region="emea", limit=2)
    assert [row.saga_id[-1] for row in page.rows] == ["3", "2"]
    page = await ledger.sagas(region="emea", limit=2, before=page.cursor)
    assert [row.saga_id[-1] for row in page.rows] == ["0"]
    assert page.cursor is None
    assert len((await ledger.sagas(statuses=[SagaStatus.COMPLETE])).rows) == 1
    assert len((await ledger.sagas(since=clock() - timedelta(seconds=120))).rows) == 2


async def test_a_case_opens_closes_and_opens_again(ledger: Ledger, clock: Clock) -> None:
    first = await ledger.open_case(case())
    assert first.case == case()
    clock.turn(10)
    await ledger.open_case(case(opened_at=clock()))
    assert (await ledger.cases()).rows == (first,), "an open case keeps its age"
    escalated = await ledger.escalate_case(case().id, to="head of finance")
    assert (escalated.escalated_to, escalated.escalations, escalated.case.state) == (
        "head of finance",
        1,
        CaseState.OPEN,
    )
    closed = await ledger.close_case(case().id, "bill-to added")
    assert closed is not None
    assert (closed.case.state, closed.case.closed_at) == (CaseState.CLOSED, clock())
    repeated = await ledger.close_case(case().id, "something else")
    assert repeated is not None
    assert repeated.case.resolution == "bill-to added"
    assert (await ledger.cases()).rows == ()
    again = await ledger.open_case(case(opened_at=clock()))
    assert (again.times_opened, again.case.opened_at, again.case.resolution) == (2, clock(), None)
    assert (again.escalated_at, again.escalations) == (None, 1)
    assert again.first_opened_at == case().opened_at


async def test_cases_that_never_reached_the_ledger(ledger: Ledger) -> None:
    assert await ledger.close_case("nothing", "x") is None
    assert await ledger.case("nothing") is None
    with pytest.raises(Defect):
        await ledger.escalate_case("nothing", to="x")


async def test_case_lists_and_closing_with_the_saga(ledger: Ledger) -> None:
    await ledger.open_case(case(1))
    await ledger.open_case(
        case(2, cause=Cause.VENDOR_UNAVAILABLE, queue=Queue.INFRASTRUCTURE, transient=True)
    )
    await ledger.open_case(case(3, id="other|g1|s", saga_id="other", region="apac"))
    assert len((await ledger.cases(queues=[Queue.MASTER_DATA])).rows) == 2
    assert len((await ledger.cases(cause=Cause.VENDOR_UNAVAILABLE)).rows) == 1
    assert len((await ledger.cases(transient=False, region="apac")).rows) == 1
    page = await ledger.cases(limit=2)
    assert len((await ledger.cases(limit=2, after=page.cursor or 0)).rows) == 1
    assert await ledger.close_cases_of(SAGA, "saga undone") == 2
    assert await ledger.close_cases_of(SAGA, "saga undone") == 0
    assert [row.case.saga_id for row in (await ledger.cases()).rows] == ["other"]
    assert len((await ledger.cases(state=None)).rows) == 3


async def test_money_at_stake_is_summed_per_cause_currency_and_role(ledger: Ledger) -> None:
    def money(minor: int, currency: str, role: AmountRole = AmountRole.CONTRACT) -> Money:
        return Money.of_minor(minor, currency, role)

    for n, stake in enumerate(
        (
            money(12_345, "EUR"),
            money(55, "EUR"),
            money(7, "JPY"),
            money(1_001, "KWD"),
            money(100, "EUR", AmountRole.BILLING),
            None,
        )
    ):
        await ledger.open_case(case(n, stake))
    await ledger.open_case(case(9, money(1, "EUR")))
    await ledger.close_case(case(9).id, "done")
    found = await ledger.at_stake()
    assert sorted((str(row.money), row.money.role if row.money else "", row.cases) for row in found) == [
        ("EUR 1.00", "billing", 1),
        ("EUR 124.00", "contract", 2),
        ("JPY 7", "contract", 1),
        ("KWD 1.001", "contract", 1),
        ("None", "", 1),
    ]
    assert await ledger.at_stake(region="apac") == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    minor=st.integers(min_value=-(2**62), max_value=2**62), currency=st.sampled_from(["JPY", "EUR", "KWD"])
)
async def test_any_amount_comes_back_to_the_last_unit(ledger: Ledger, minor: int, currency: str) -> None:
    money = Money.of_minor(minor, currency)
    await ledger.close_cases_of(SAGA, "next example")
    await ledger.open_case(case(1, money))
    (row,) = await ledger.at_stake()
    assert row.money == money


async def test_a_decision_is_recorded_once_with_its_actor(ledger: Ledger) -> None:
    async def decide(outcome: str) -> bool:
        return await ledger.decide(
            command_id="c1",
            kind="gate",
            saga_id=SAGA,
            step="credit-review",
            outcome=outcome,
            actor=ANNA,
            reason="within limit",
            before={"amount": "EUR 100.00"},
            after={"limit": 5},
        )

    assert await decide("approve")
    assert not await decide("reject")
    (row,) = (await ledger.decisions(saga_id=SAGA)).rows
    assert (row.outcome, row.actor, row.before) == ("approve", ANNA, {"amount": "EUR 100.00"})
    assert (await ledger.decisions(kind="repair")).rows == ()
    (trail,) = (await ledger.audit_rows(chain="trueup")).rows
    assert (trail.action, trail.content["outcome"], trail.actor) == ("decided", "approve", ANNA)
