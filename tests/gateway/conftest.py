"""A gateway for every test of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.house import House, house, template


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated ledger to copy."""
    return template(tmp_path_factory.mktemp("gateway"))


@pytest.fixture
async def home(tmp_path: Path, database: Path) -> AsyncIterator[House]:
    """A gateway of the test's own."""
    async with house(tmp_path, database) as made:
        yield made
