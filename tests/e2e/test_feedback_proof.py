"""The short form of ``make feedback-proof``: the same play with a dozen invoices."""

from __future__ import annotations

import pytest

from tests.e2e.feedback_proof import prove

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.slow]


async def test_told_at_random_ends_as_told_in_order() -> None:
    found = await prove(invoices=12, seed=7)
    assert found["met"], found["figures"]
    assert found["figures"]["events at random"] > found["figures"]["events in order"]
