"""Inputs of revenue: never guessed, never negative, and nothing lost or counted twice over the periods."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.causes import Cause
from canonical.engagement import BillingMethod, BillingSchedule, Contract, RevenueMethod, ScheduleDate
from canonical.failures import Finding
from canonical.money import Money
from canonical.opening import OpeningPosition
from canonical.progress import LineEffort, LineProgress, MeasuredLine, MeasuredMilestone
from rules.progress import corrected, hours, less, needs_inputs, progress_of
from tests.cli.billing import contract as agreed
from tests.cli.billing import line as sold
from tests.ledger.billing import eur

LAST = date(2026, 2, 28)
INPUT, OUTPUT = RevenueMethod.OVER_TIME_INPUT, RevenueMethod.OVER_TIME_OUTPUT
POINT = RevenueMethod.POINT_IN_TIME


def contract(method: RevenueMethod, *, stones: int = 0, **more: Any) -> Contract:
    """One line of 5,000, with so many milestones of 1,000."""
    dates = tuple(
        ScheduleDate(key=f"L1.{n}", title=f"M{n}", due=LAST, amount=eur(1000), milestone_key=f"m{n}")
        for n in range(1, stones + 1)
    )
    schedule = BillingSchedule(key="L1", name="Milestones", dates=dates) if dates else None
    one = sold(
        "L1", BillingMethod.MILESTONE if dates else BillingMethod.TIME_AND_MATERIALS, schedule=schedule
    )
    return agreed(lines=(one.model_copy(update={"revenue_method": method, **more}),))


def effort(to_date: int, within: int = 0, *costs: Money) -> dict[str, LineEffort]:
    told = LineEffort(line_key="L1", minutes_to_date=to_date, minutes_in_period=within, costs_to_date=costs)
    return {"L1": told}


def measured(**told: Any) -> dict[str, MeasuredLine]:
    return {"L1": MeasuredLine(line_key="L1", **told)}


def reached(*keys: str, on: date | None = LAST) -> tuple[MeasuredMilestone, ...]:
    return tuple(MeasuredMilestone(key=key, reached=True, reached_on=on) for key in keys)


def only(found: tuple[list[LineProgress], list[Finding]]) -> LineProgress:
    lines, problems = found
    assert problems == []
    (line,) = lines
    return line


def held(found: tuple[list[LineProgress], list[Finding]]) -> Finding:
    lines, problems = found
    assert lines == [], "a line with a finding is not guessed at"
    (problem,) = problems
    return problem


# --- the methods ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [RevenueMethod.AS_INVOICED, RevenueMethod.STRAIGHT_LINE])
def test_of_what_the_erp_can_follow_by_itself_nothing_is_sent(method: RevenueMethod) -> None:
    one = contract(method)
    assert not needs_inputs(one)
    assert progress_of(one, effort(600), measured(minutes_at_completion=900), {}, LAST) == ([], [])


def test_by_input_effort_and_what_is_left_of_the_estimate_are_told() -> None:
    line = only(
        progress_of(contract(INPUT), effort(600, 120, eur(80)), measured(minutes_at_completion=900), {}, LAST)
    )
    assert (line.minutes_to_date, line.minutes_to_complete, line.corrections) == (600, 300, 480)
    assert line.costs_to_date == (eur(80),)


def test_without_an_estimate_it_is_held_and_says_what_is_at_stake() -> None:
    problem = held(progress_of(contract(INPUT), effort(600), {}, {}, LAST))
    assert problem.cause is Cause.ESTIMATE_MISSING
    assert problem.at_stake == eur(5000)
    assert "Advisory" in problem.message


def test_an_estimate_below_what_is_worked_is_never_a_negative_rest() -> None:
    problem = held(progress_of(contract(INPUT), effort(960), measured(minutes_at_completion=900), {}, LAST))
    assert problem.cause is Cause.ESTIMATE_EXCEEDED
    assert "16:00 h are worked" in problem.message
    assert "1:00 h less than nothing" in problem.message
    exact = only(progress_of(contract(INPUT), effort(900), measured(minutes_at_completion=900), {}, LAST))
    assert exact.minutes_to_complete == 0


def test_hours_from_before_the_ledger_are_not_guessed() -> None:
    opening = OpeningPosition(
        contract_key="x", billed_to_date=eur(100), last_billed_work_date=date(2026, 1, 31)
    )
    told = measured(minutes_at_completion=900)
    problem = held(progress_of(contract(INPUT), effort(60), told, {}, LAST, opening))
    assert problem.cause is Cause.PROGRESS_UNKNOWN
    new = OpeningPosition(contract_key="x", billed_to_date=eur(0))
    assert only(progress_of(contract(INPUT), effort(60), told, {}, LAST, new)).minutes_to_complete == 840


def test_two_lines_of_one_delivery_project_have_no_estimate_of_their_own() -> None:
    lines = tuple(sold(key).model_copy(update={"revenue_method": INPUT}) for key in ("L1", "L2"))
    found, problems = progress_of(agreed(lines=lines), {}, measured(minutes_at_completion=9), {}, LAST)
    assert found == []
    assert {one.cause for one in problems} == {Cause.CONTRACT_LINE_UNCLEAR}


def test_by_output_milestones_count_from_the_day_they_were_reached() -> None:
    one = contract(OUTPUT, stones=3)
    late = reached("m2", on=date(2026, 3, 1))
    line = only(progress_of(one, {}, measured(milestones=(*reached("m1"), *late)), {}, LAST))
    assert (line.milestones, line.milestones_reached, line.accepted) == (3, 1, eur(1000))
    later = only(progress_of(one, {}, measured(milestones=(*reached("m1"), *late)), {}, date(2026, 3, 31)))
    assert later.milestones_reached == 2
    assert only(progress_of(one, {}, {}, {}, LAST)).accepted == eur(0)


def test_by_output_without_milestones_delivery_reports_a_percentage() -> None:
    line = only(progress_of(contract(OUTPUT), {}, measured(percent=Decimal("37.5")), {}, LAST))
    assert line.percent == Decimal("37.5")
    for told in ({}, measured(percent=Decimal(101)), measured(percent=Decimal(-1))):
        assert held(progress_of(contract(OUTPUT), {}, told, {}, LAST)).cause is Cause.PROGRESS_UNKNOWN


def test_at_a_point_in_time_all_of_it_is_accepted_or_nothing_is() -> None:
    one = contract(POINT, stones=2)
    part = only(progress_of(one, {}, measured(milestones=reached("m1")), {}, LAST))
    assert (part.complete, part.accepted_on) == (False, None)
    first = reached("m1", on=date(2026, 2, 3))
    whole = only(progress_of(one, {}, measured(milestones=(*first, *reached("m2"))), {}, LAST))
    assert (whole.complete, whole.accepted_on) == (True, LAST)
    undated = only(progress_of(one, {}, measured(milestones=reached("m1", "m2", on=None)), {}, LAST))
    assert undated.accepted_on == LAST, "where no day is told, it is the period's end"
    assert held(progress_of(contract(POINT), {}, {}, {}, LAST)).cause is Cause.PROGRESS_UNKNOWN


def test_milestones_of_nobody_count_for_nothing() -> None:
    line = only(progress_of(contract(OUTPUT, stones=1), {}, measured(milestones=reached("other")), {}, LAST))
    assert line.milestones_reached == 0


# --- over the periods -------------------------------------------------------------------------------

ENTRIES = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 1440), st.booleans()), min_size=1, max_size=30)
"""(period that the entry is posted in, minutes, whether it is taken back in the end)."""


def run(entries: list[tuple[int, int, bool]], period: int, before: LineProgress | None) -> LineProgress:
    """What is sent for a period: everything posted through it, taken back entries gone from period 3 on."""
    standing = [
        (when, minutes) for when, minutes, back in entries if when <= period and not (back and period >= 3)
    ]
    to_date = sum(minutes for _, minutes in standing)
    within = sum(minutes for when, minutes in standing if when == period)
    earlier = {} if before is None else {"L1": before}
    return only(
        progress_of(
            contract(INPUT), effort(to_date, within), measured(minutes_at_completion=10**6), earlier, LAST
        )
    )


@given(ENTRIES, st.sets(st.integers(0, 5), min_size=1))
def test_periods_add_up_to_the_last_sum_to_date_whatever_was_corrected_or_left_out(
    entries: list[tuple[int, int, bool]], told: set[int]
) -> None:
    """Also where periods were closed before anything was sent for them: the next one has all of it."""
    sent: list[LineProgress] = []
    for period in sorted(told):
        sent.append(run(entries, period, sent[-1] if sent else None))
    assert sum(one.minutes_in_period for one in sent) == sent[-1].minutes_to_date
    for one in sent:
        assert one.minutes_to_date >= 0
        assert one.minutes_to_complete is not None
        assert one.minutes_to_complete >= 0
        assert one.minutes_to_date + one.minutes_to_complete == 10**6
    assert corrected(sent) == sum(one.corrections for one in sent)


@given(ENTRIES, st.randoms(use_true_random=False))
def test_the_order_of_entries_and_lines_makes_no_difference(
    entries: list[tuple[int, int, bool]], chance: Any
) -> None:
    shuffled = list(entries)
    chance.shuffle(shuffled)
    assert run(entries, 5, None).digest == run(shuffled, 5, None).digest


AMOUNTS = st.lists(
    st.tuples(st.sampled_from(["EUR", "JPY", "KWD"]), st.integers(-(10**9), 10**9)), max_size=8
)


@given(AMOUNTS, AMOUNTS)
def test_costs_are_taken_apart_by_currency_and_come_together_again(
    now: list[tuple[str, int]], then: list[tuple[str, int]]
) -> None:
    these, those = ([Money.of_minor(minor, currency) for currency, minor in one] for one in (now, then))
    difference = less(these, those)
    assert less((*those, *difference), ()) == less(these, ())
    assert len({one.currency for one in difference}) == len(difference)


def test_hours_are_read_as_on_a_clock() -> None:
    assert [hours(one) for one in (0, 59, 61, -90)] == ["0:00", "0:59", "1:01", "-1:30"]
