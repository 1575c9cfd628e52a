"""What a contract itself makes billable: milestones and when they are due (rule 33)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from canonical.causes import Cause
from canonical.engagement import (
    BillingMethod,
    BillingSchedule,
    Contract,
    ContractLine,
    RevenueMethod,
    ScheduleDate,
)
from canonical.money import Money
from canonical.opening import OpeningPosition
from canonical.parties import PartyRole
from canonical.refs import Dimensions
from rules.fees import Acceptance, FeeFacts, MilestoneState, Progress, fees_of

CUTOFF = date(2026, 11, 30)
ACCEPTED = Acceptance(date(2026, 11, 18), "J. Client", "ACC-1")


def eur(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def contract(due: date, **line: Any) -> Contract:
    """One milestone of 1,000."""
    one = ScheduleDate(key="L1.1", title="Blueprint", due=due, amount=eur("1000"), milestone_key="L1.1")
    values: dict[str, Any] = {
        "key": "L1",
        "service_code": "IMPL",
        "item": "31",
        "description": "Implementation",
        "quantity": Decimal(1),
        "amount": eur("1000"),
        "deal_amount": eur("1000"),
        "billing_method": BillingMethod.MILESTONE,
        "revenue_method": RevenueMethod.AS_INVOICED,
        "schedule": BillingSchedule(key="S1", name="Schedule", dates=(one,)),
        "delivery_region": "emea",
    }
    return Contract(
        key="C1",
        name="Contract",
        engagement_key="E1",
        legal_entity="NL01",
        currency="EUR",
        erp="netsuite-emea",
        dimensions=Dimensions(region="emea", legal_entity="NL01"),
        parties={PartyRole.BILL_TO: "K1"},
        lines=(ContractLine(**{**values, **line}),),
        start=date(2026, 11, 1),
    )


def facts(state: MilestoneState) -> FeeFacts:
    return FeeFacts(
        region="emea",
        project_code="PRJ-1",
        through=CUTOFF,
        at=datetime(2026, 11, 30, tzinfo=UTC),
        milestones={"L1.1": state},
    )


@pytest.mark.parametrize(
    ("due", "state", "day"),
    [
        (date(2027, 4, 1), MilestoneState(complete=True), CUTOFF),
        (date(2026, 11, 5), MilestoneState(complete=True), date(2026, 11, 5)),
        (
            date(2027, 4, 1),
            MilestoneState(complete=True, completed_on=date(2026, 11, 12)),
            date(2026, 11, 12),
        ),
        (date(2027, 4, 1), MilestoneState(complete=False), date(2027, 4, 1)),
    ],
)
def test_a_milestone_is_due_when_it_is_complete_not_when_it_was_planned(
    due: date, state: MilestoneState, day: date
) -> None:
    (fee,) = fees_of(contract(due), facts(state))
    assert fee.day == day
    assert (fee.hold.cause if fee.hold else None) == (
        None if state.complete else Cause.MILESTONE_NOT_COMPLETE
    )


def test_an_accepted_milestone_is_due_on_the_day_of_its_acceptance() -> None:
    state = MilestoneState(complete=True, acceptance=ACCEPTED)
    (fee,) = fees_of(contract(date(2027, 4, 1), acceptance_required=True), facts(state))
    assert (fee.day, fee.hold) == (date(2026, 11, 18), None)


# --- progress -----------------------------------------------------------------------------------------


def by_progress(amount: str = "40000") -> Contract:
    base = contract(CUTOFF)
    line = base.lines[0].model_copy(
        update={"billing_method": BillingMethod.PROGRESS, "schedule": None, "amount": eur(amount)}
    )
    return base.model_copy(update={"lines": (line,)})


def progressed(percent: str | None, **more: Any) -> FeeFacts:
    told = Progress(percent=None if percent is None else Decimal(percent))
    base = facts(MilestoneState(complete=False))
    return replace(base, progress={"L1": told}, **more)


def test_progress_bills_the_lines_amount_in_proportion_less_what_is_billed() -> None:
    (first,) = fees_of(by_progress(), progressed("25"))
    assert (first.amount, first.day, first.hold) == (eur("10000"), CUTOFF, None)
    billed = {"L1": {"2026-10": eur("4000")}}
    (second,) = fees_of(by_progress(), progressed("25", progress_billed=billed))
    assert second.amount == eur("6000")


def test_a_cycle_that_is_invoiced_keeps_its_amount_and_no_progress_bills_nothing() -> None:
    used = frozenset({("L1", "2026-11")})
    made = {"L1": {"2026-11": eur("10000")}}
    assert fees_of(by_progress(), progressed("50", progress_billed=made, progress_used=used)) == []
    assert fees_of(by_progress(), progressed("25", progress_billed={"L1": {"2026-10": eur("10000")}})) == []


def test_a_later_cycle_that_is_on_no_invoice_gives_way_to_the_one_that_is_billed_first() -> None:
    made = {"L1": {"2026-12": eur("10000")}}
    own, later = fees_of(by_progress(), progressed("25", progress_billed=made))
    assert (own.source.id.rsplit(".")[-1], own.amount, own.hold) == ("2026-11", eur("10000"), None)
    assert (later.source.id.rsplit(".")[-1], later.amount) == ("2026-12", eur("0"))
    assert later.hold is not None
    used = frozenset({("L1", "2026-12")})
    assert fees_of(by_progress(), progressed("25", progress_billed=made, progress_used=used)) == []
    (rest,) = fees_of(by_progress(), progressed("30", progress_billed=made, progress_used=used))
    assert rest.amount == eur("2000")


def test_progress_that_nobody_reports_holds_all_that_is_left_of_the_line() -> None:
    (fee,) = fees_of(by_progress(), progressed(None, progress_billed={"L1": {"2026-10": eur("10000")}}))
    assert fee.hold is not None
    assert (fee.hold.cause, fee.amount) == (Cause.PROGRESS_UNKNOWN, eur("30000"))


def test_progress_below_what_is_billed_is_never_a_negative_fee() -> None:
    billed = {"L1": {"2026-10": eur("10000"), "2026-11": eur("500")}}
    (fee,) = fees_of(by_progress(), progressed("20", progress_billed=billed))
    assert fee.hold is not None
    assert (fee.hold.cause, fee.amount) == (Cause.CREDIT_PENDING, eur("0"))


def test_what_was_billed_before_the_opening_position_counts_as_billed() -> None:
    opening = OpeningPosition(contract_key="C1", billed_to_date=eur("8000"))
    (fee,) = fees_of(by_progress(), progressed("25", opening=opening))
    assert fee.amount == eur("2000")
