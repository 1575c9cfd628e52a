"""The arithmetic behind the benchmarks: chains of calls, what belongs to whom, goals."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory

from bench.calls import VendorCall, count, parse
from bench.chain import Activity, activities, critical_path, within
from bench.kernel import names, without_tasks
from bench.kill import Moments, again, in_flight_at
from bench.result import Goal, Part, Row, last_line, table
from bench.stats import paired, percentile

HISTORY = Path(__file__).parents[1] / "replay" / "histories" / "complete.json"


def call(
    began: float, ended: float | None, activity: str = "1", *, method: str = "GET", saga: str = "s"
) -> VendorCall:
    return VendorCall("v", method, "/x", began, ended, "200", saga, activity, 1)


# --- the critical path -------------------------------------------------------------------------------


def test_calls_side_by_side_count_once() -> None:
    assert within([call(0, 3), call(1, 5), call(2, 4)]).seconds == 4


def test_calls_one_after_another_add_up_without_the_pauses_between_them() -> None:
    chain = within([call(0, 3), call(4, 5), call(5, 7)])
    assert chain.seconds == 6
    assert len(chain.calls) == 3


def test_the_longest_chain_wins_not_the_one_with_most_calls() -> None:
    assert within([call(0, 1), call(1, 2), call(2, 3), call(0, 10)]).seconds == 10


def test_a_call_without_an_answer_is_in_no_chain() -> None:
    assert within([call(0, None), call(1, 2)]).seconds == 1


def test_the_path_follows_what_woke_the_workflow() -> None:
    steps = [
        Activity("1", "first", ()),
        Activity("2", "long beside", ("1",)),
        Activity("3", "short beside", ("1",)),
        Activity("4", "after both", ("2", "3")),
    ]
    calls = [call(0, 1, "1"), call(1, 6, "2"), call(1, 2, "3"), call(7, 8, "4")]
    path = critical_path(steps, calls)
    assert [one.activity for one in path.calls] == ["1", "2", "4"]
    assert path.seconds == 7


def test_a_step_that_only_happened_to_end_before_is_no_cause() -> None:
    steps = [Activity("1", "a", ()), Activity("2", "b", ()), Activity("3", "after a", ("1",))]
    calls = [call(0, 2, "1"), call(0, 1.9, "2"), call(2, 3, "3")]
    assert [one.activity for one in critical_path(steps, calls).calls] == ["1", "3"]


def test_a_call_of_no_known_activity_is_an_error() -> None:
    with pytest.raises(ValueError, match="'9'"):
        critical_path([Activity("1", "a", ())], [call(0, 1, "9")])


def test_causes_are_read_out_of_a_history() -> None:
    events = WorkflowHistory.from_json("complete", HISTORY.read_text()).events
    found = activities(events)
    assert len(found) == names(events)["ACTIVITY_TASK_SCHEDULED"]
    first, second = found[:2]
    assert (first.name, first.causes) == ("crm.read_deal", ())
    assert (second.name, second.causes) == ("rules.route_deal", (first.id,))
    known: set[str] = set()
    for step in found:
        assert set(step.causes) <= known
        assert step.causes or step is first
        known.add(step.id)


# --- calls -------------------------------------------------------------------------------------------


def test_calls_are_read_out_of_a_simulators_log() -> None:
    row = {
        "at": "2026-01-01T00:00:00+00:00",
        "until": "2026-01-01T00:00:02+00:00",
        "method": "PUT",
        "path": "/record/1",
        "status": 204,
        "note": "saga:1 7 2",
    }
    found, strange = parse("netsuite", [row, {**row, "note": None, "until": None}])
    assert (found.saga, found.activity, found.attempt, found.seconds) == ("saga:1", "7", 2, 2.0)
    assert (strange.saga, strange.ended) == ("", None)


def test_queries_by_post_read_and_signing_in_does_not_count() -> None:
    def one(method: str, path: str) -> VendorCall:
        return VendorCall("v", method, path, 0, 1, "200", "s", "1", 1)

    calls = [one("POST", "/query/v1/suiteql"), one("POST", "/auth/oauth2/v1/token"), one("POST", "/job")]
    assert count(calls) == {"v": {"read": 1, "write": 1}}


def test_what_was_in_flight_is_what_had_no_answer_when_the_workers_died() -> None:
    moments = Moments(started=0, killed=10, serving=13, ended=20)
    answered, waiting, open_, on_the_wire, new = (
        call(8, 9.9),
        call(8, 10.2),
        call(9, None),
        call(10.1, 10.4),
        call(13.1, 13.4),
    )
    found = in_flight_at([answered, waiting, open_, on_the_wire, new], moments)
    assert found == [waiting, open_, on_the_wire]


def test_writes_beyond_the_usual_number_were_sent_again() -> None:
    writes = [call(0, 1, method="PUT", saga=saga) for saga in ("a", "a", "a", "b", "b", "c")]
    assert again([*writes, call(0, 1, saga="a")], usual=2) == 1


# --- figures -----------------------------------------------------------------------------------------


def test_percentiles_are_values_that_occurred() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [percentile(values, share) for share in (0.5, 0.9, 1.0)] == [3.0, 5.0, 5.0]
    assert percentile([1.0, 2.0], 0.5) == 1.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    assert paired([2, 30, 8], [1, 10, 2]) == 3
    with pytest.raises(ValueError, match=r"zip\(\)"):
        paired([1], [1, 2])


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        (Goal("x", at_most=1.3), 1.3, True),
        (Goal("x", at_most=1.3), 1.31, False),
        (Goal("x", at_least=2), 2, True),
        (Goal("x", at_least=2), 1.9, False),
        (Goal("x", at_most=0), 0, True),
        (Goal("x", at_most=0), 1, False),
    ],
)
def test_goals(goal: Goal, value: float, met: bool) -> None:
    part = Part("p", "Part", [Row("what", "shown", "x")], {"x": value}, [goal])
    assert (part.missed() == []) is met
    assert table([part])[1][3] == ("yes" if met else "**no**")
    assert f'"met": {str(met).lower()}' in last_line("bench", [part])
    assert Part.load(part.dump()) == part


def test_workflow_tasks_are_told_from_other_events() -> None:
    events = WorkflowHistory.from_json("complete", HISTORY.read_text()).events
    found = names(events)
    assert found["WORKFLOW_TASK_COMPLETED"] > 0
    assert not [name for name in without_tasks(found) if name.startswith("WORKFLOW_TASK")]
    assert without_tasks(found)["UPSERT_WORKFLOW_SEARCH_ATTRIBUTES"] == 1
