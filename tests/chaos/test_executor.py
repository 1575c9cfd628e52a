"""The effect executor alone: attempts that overlap, die, are cancelled and undone, while vendors misbehave.

``make chaos-stateful`` generates many more; here some, always the same, and those that once failed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.executor import Benches, generate
from tests.chaos.world import Move, line

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
EXAMPLES = 12
PINNED: dict[str, Any] = json.loads((Path(__file__).parent / "pinned_executor.json").read_text())
"""By what it showed: a scenario that once violated an invariant."""


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Benches]:
    """One bench for all scenarios."""
    one = Benches(tmp_path_factory.mktemp("executor"))
    try:
        yield one
    finally:
        one.close()


@pytest.mark.parametrize("name", sorted(PINNED))
def test_a_scenario_that_once_failed(benches: Benches, name: str) -> None:
    assert benches.run([(move, arguments) for move, arguments in PINNED[name]]) == []


def test_attempts_in_any_order(benches: Benches) -> None:
    found: list[str] = []

    def keep(scenario: Sequence[Move], problems: list[str]) -> None:
        if problems:
            found.extend([*problems, f"pin it as: {line(scenario)}"])

    before = benches.scenarios
    generate(benches, EXAMPLES, on_end=keep)
    assert not found, "\n".join(found)
    assert benches.scenarios == before + EXAMPLES
