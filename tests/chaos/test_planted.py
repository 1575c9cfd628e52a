"""The harness notices the bugs that it is there for: each planted, each caught; without any, all is well."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.chaos.bugs import BUGS, hunt
from tests.chaos.case import Result

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Result | None, Result | None]]:
    """By bug: what its cheapest case found with the bug planted, and what without."""
    work = tmp_path_factory.mktemp("planted")

    async def run() -> dict[str, tuple[Result | None, Result | None]]:
        async with hunt(work) as one:
            with_bug = {}
            for bug in BUGS:
                await one.plant(bug)
                _, with_bug[bug.name] = await one.run([bug.cheapest(one.recording)])
            await one.plant(None)
            without = {bug.name: (await one.run([bug.cheapest(one.recording)]))[1] for bug in BUGS}
        return {name: (with_bug[name], without[name]) for name in with_bug}

    return asyncio.run(run())


@pytest.mark.parametrize("name", [bug.name for bug in BUGS])
def test_a_planted_bug_is_caught(
    found: dict[str, tuple[Result | None, Result | None]], name: str, tmp_path: Path
) -> None:
    caught, control = found[name]
    assert control is None, f"fails without the bug: {control.problems}"
    assert caught is not None, "the bug went unnoticed"
    assert caught.end != "not proven"
    assert caught.orphans + caught.duplicates > 0 or "legal" in " ".join(caught.problems)
