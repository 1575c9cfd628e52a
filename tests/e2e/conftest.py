"""One local firm per test module: Temporal, vendors and worker start once and serve all its tests."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Asyncio; for the whole module, so that its firm's connections live as long."""
    return "asyncio"
