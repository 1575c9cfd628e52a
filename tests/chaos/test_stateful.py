"""Anything in any order: deals, decisions, repairs, changes, faults, deaths, clocks; then all is judged.

``make chaos-stateful`` generates hundreds of scenarios; here a few, always the same, and those that once
failed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.machine import Lane, generate
from tests.chaos.world import World, line

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(400)]
EXAMPLES = 2
PINNED: dict[str, Any] = json.loads((Path(__file__).parent / "pinned.json").read_text())
"""By what it showed: a scenario that once violated an invariant."""


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    """One firm for all scenarios."""
    one = Lane(tmp_path_factory.mktemp("stateful"))
    try:
        yield one
    finally:
        one.close()


@pytest.mark.parametrize("name", sorted(PINNED))
def test_a_scenario_that_once_failed(lane: Lane, name: str) -> None:
    problems, _ = lane.replay([(move, arguments) for move, arguments in PINNED[name]])
    assert problems == []


def test_anything_in_any_order(lane: Lane) -> None:
    found: list[str] = []

    def keep(world: World, problems: list[str]) -> None:
        if problems:
            found.extend([*problems, f"pin it as: {line(world.trace)}"])

    before = lane.scenarios
    generate(lane, EXAMPLES, on_end=keep)
    assert not found, "\n".join(found)
    assert lane.scenarios == before + EXAMPLES
    assert lane.moves["finish"] >= EXAMPLES
