"""A real SQLite ledger per test, copied from one that was migrated once."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ledger.migrate import migrate
from ledger.store import Ledger
from tests.activities.fakes import Bench, FakeVendor
from tests.ledger.subject import Clock


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "template.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ledger(migrated: Path, tmp_path: Path, clock: Clock) -> AsyncIterator[Ledger]:
    path = tmp_path / "ledger.db"
    shutil.copy(migrated, path)
    ledger = await Ledger.open(f"sqlite:///{path}", clock=clock)
    yield ledger
    await ledger.close()


@pytest.fixture
def bench(ledger: Ledger, clock: Clock) -> Bench:
    return Bench(ledger, FakeVendor(clock), clock)
