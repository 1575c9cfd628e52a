"""A start that cannot be read fails with a clear error; it never hangs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from tests.workflows.driver import PATIENCE, Kernel

pytestmark = pytest.mark.anyio

GOOD: dict[str, Any] = {
    "saga_id": "o2p:emea:sf-main:006",
    "region": "emea",
    "system": "sf-main",
    "record_id": "006",
    "actor": {"name": "test"},
    "trace_id": "t",
}
NOTHING = object()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({name: value for name, value in GOOD.items() if name != "saga_id"}, "saga_id"),
        ({**GOOD, "actor": "anna"}, "actor"),
        ({**GOOD, "timings": {"attempts": "many"}}, "timings.attempts"),
        ({**GOOD, "plan": "perhaps"}, "plan"),
        ({**GOOD, "state": {"steps": "none"}}, "saga"),
        ("006000000000001", "StartSaga"),
        (None, "StartSaga"),
        (NOTHING, "StartSaga"),
    ],
)
async def test_a_start_that_cannot_be_read_fails_and_names_the_field(
    kernel: Kernel, given: object, named: str
) -> None:
    handle = await kernel.start_raw("OpportunityToProject", *([] if given is NOTHING else [given]))
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(handle.result(), PATIENCE)
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == "ValidationError"
    assert named in cause.message


async def test_unknown_fields_of_a_newer_release_are_ignored(kernel: Kernel) -> None:
    """They reach an older worker during a roll-out; refusing them would fail sagas."""
    handle = await kernel.start_raw("Probe", {**GOOD, "reason": "[]", "saga_id": "x", "invented_later": 1})
    view = await asyncio.wait_for(handle.result(), PATIENCE)
    assert view["status"] == "complete"
