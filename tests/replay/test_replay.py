"""Histories of sagas replay under the code as it is: a release never strands what it finds running."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory

from tests.replay.fingerprint import fingerprints, sources
from tests.replay.record import HISTORIES, NAMES
from tests.support.replaying import replayer

BASELINE = Path(__file__).parent / "fingerprints.json"
WHAT_TO_DO = """
The commands of a workflow changed. Sagas that started under the old code replay under the new one, so:

1. Run `pytest tests/replay`: do all recorded histories still replay?
2. If they do, and the change can only be reached by steps that no running saga has passed, write the new
   fingerprints: `python -m tests.replay.test_replay`, and say in the commit why running sagas are safe.
3. If they do not, guard the change with `workflow.patched("name")`, record a history that runs through the
   new branch (`python -m tests.replay.record NAME`) and keep the old ones.
4. A parked saga can be moved to current code with the update `renew` (it continues as new).

Changed:
"""


def events_of(name: str) -> list[dict[str, object]]:
    """Events of a recorded history."""
    events: list[dict[str, object]] = json.loads((HISTORIES / f"{name}.json").read_text())["events"]
    return events


@pytest.mark.anyio
@pytest.mark.parametrize("name", NAMES)
async def test_a_recorded_history_replays(name: str) -> None:
    text = (HISTORIES / f"{name}.json").read_text()
    await replayer().replay_workflow(WorkflowHistory.from_json(name, text))


def test_every_recorded_history_has_its_story() -> None:
    assert {file.stem for file in HISTORIES.glob("*.json")} == set(NAMES)


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("complete", "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"),
        ("undone", "EVENT_TYPE_WORKFLOW_EXECUTION_FAILED"),
        ("cancelled_while_parked", "EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED"),
        ("continued_as_new_while_parked", "EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW"),
        ("continued_as_new_then_complete", "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"),
        ("change_order_applied", "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"),
        ("change_order_rejected", "EVENT_TYPE_WORKFLOW_EXECUTION_FAILED"),
        ("change_order_refused", "EVENT_TYPE_WORKFLOW_EXECUTION_FAILED"),
        ("contract_changes_waited", "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"),
        ("close_project_asked_then_closed", "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"),
        ("close_project_rejected", "EVENT_TYPE_WORKFLOW_EXECUTION_FAILED"),
        ("close_project_given_up", "EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED"),
        ("reopen_project_opened", "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"),
        ("billing_month", "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"),
        ("billing_parked_and_repaired", "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"),
        ("billing_group_rejected", "EVENT_TYPE_WORKFLOW_EXECUTION_FAILED"),
        ("billing_cancelled_while_parked", "EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED"),
        ("billing_posting_stopped", "EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED"),
        ("billing_posting_continued_as_new", "EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW"),
        ("billing_posting_after_continuing", "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"),
        ("billing_new_rates", "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"),
        ("billing_retainer_ended", "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"),
        ("revenue_followed", "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"),
        ("revenue_parked_and_repaired", "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"),
        ("revenue_stopped", "EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED"),
        ("revenue_planned", "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"),
    ],
)
def test_a_history_is_what_its_name_says(name: str, last: str) -> None:
    assert events_of(name)[-1]["eventType"] == last


@pytest.mark.anyio
async def test_a_replay_notices_another_order_of_commands() -> None:
    """The judge itself: a history whose first activity is another one does not replay."""
    text = (HISTORIES / "complete.json").read_text().replace('"crm.read_deal"', '"crm.read_something"', 1)
    with pytest.raises(Exception, match=r"(?i)nondeterminism"):
        await replayer().replay_workflow(WorkflowHistory.from_json("complete", text))


def changed(now: Mapping[str, str], then: Mapping[str, str]) -> list[str]:
    """Functions whose fingerprints differ, that are new, or that are gone."""
    return [name for name in sorted(now.keys() | then.keys()) if now.get(name) != then.get(name)]


def test_the_commands_of_the_workflows_are_those_of_the_baseline() -> None:
    found = changed(fingerprints(sources()), json.loads(BASELINE.read_text()))
    assert not found, WHAT_TO_DO + "\n".join(f"  {name}" for name in found)


if __name__ == "__main__":
    BASELINE.write_text(json.dumps(fingerprints(sources()), indent=1, sort_keys=True) + "\n")
    print(f"{BASELINE} written")
