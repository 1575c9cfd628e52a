"""``make conservation-planted`` as a test: each planted bug is noticed for what it is."""

from __future__ import annotations

import asyncio

import pytest

from tests.conservation.bugs import BUGS, Bug, noticed, run

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(400)]
Findings = dict[str, list[str]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """What the judge says of each bug."""

    return asyncio.run(run(tmp_path_factory.mktemp("planted") / "firm"))


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_noticed(found: Findings, bug: Bug) -> None:
    """Of honest workers nothing is found: that is what ``test_conservation`` says."""
    assert noticed(bug, found[bug.name]), found[bug.name]
