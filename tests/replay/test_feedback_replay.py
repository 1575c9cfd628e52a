"""Histories of invoice feedback and its polls replay under the code as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory

from tests.replay.record_feedback import HISTORIES, STORIES
from tests.support.replaying import replayer
from workflows.kernel import core

NAMES = [story.__name__ for story in STORIES]
pytestmark = pytest.mark.anyio


def text(name: str) -> str:
    return (HISTORIES / f"{name}.json").read_text()


def events(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text(name))["events"]
    return found


@pytest.mark.parametrize("name", NAMES)
async def test_a_recorded_history_replays(name: str) -> None:
    await replayer().replay_workflow(WorkflowHistory.from_json(name, text(name)))


@pytest.mark.parametrize("name", NAMES)
async def test_another_activity_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = core.activity_name
    monkeypatch.setattr(core, "activity_name", lambda method: f"{honest(method)}_differently")
    with pytest.raises(workflow.NondeterminismError):
        await replayer(changed=True).replay_workflow(WorkflowHistory.from_json(name, text(name)))


async def test_every_recorded_history_has_its_story() -> None:
    assert {file.stem for file in HISTORIES.glob("*.json")} == set(NAMES)


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("settled", "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"),
        ("confirmed", "EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED"),
        ("continued_as_new", "EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW"),
        ("polled", "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"),
    ],
)
async def test_a_history_is_what_its_name_says(name: str, last: str) -> None:
    assert events(name)[-1]["eventType"] == last
