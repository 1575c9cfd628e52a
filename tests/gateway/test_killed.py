"""The gateway killed with -9 under 50 requests a second, in its short form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gateway.killed import run

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]


async def test_every_event_that_got_a_2xx_takes_effect_exactly_once(tmp_path: Path) -> None:
    verdict = await run(tmp_path, seconds=8, rate=50, kills=2)
    assert verdict.good, verdict
    assert verdict.unanswered > 0, "nobody noticed the kills: they proved nothing"
    assert verdict.accepted > 20, "there was nothing to lose"
