"""``trueup demo``, the first sight of all: it ends by itself, its claims hold, its figures are right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.firm import program

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.anyio]

PATIENCE = 240.0
"""Seconds on two busy cores; a quiet machine needs less than a minute."""


async def test_the_demo_ends_by_itself_and_every_claim_holds(tmp_path: Path) -> None:
    code, out, err = await program(
        "cli.main", "demo", "--json", "--keep", str(tmp_path / "firm"), patience=PATIENCE
    )
    assert code == 0, f"{out}{err}"
    told = json.loads(out)
    assert told["problems"] == []
    assert len(told["codes"]) == 5
    assert len(told["healed"]) == 4
    # Ten days, and one after its repair, at 8 h of EUR 150; a month of managed service; a write-down of 600.
    assert list(told["invoices"]) == ["Lumen advisory retainer"]
    assert told["invoices"]["Lumen advisory retainer"].endswith(", EUR 16,600.00 net")
    assert list(told["paid"]) == ["Lumen advisory retainer"]
    assert told["paid"]["Lumen advisory retainer"].endswith(", EUR 10,000.00 and 6,600.00")
    assert "Traceback" not in err
