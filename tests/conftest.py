"""Fixtures that any test may use. Nothing heavy is imported until a test asks for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.temporal import TemporalServer


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio; mark them with ``pytest.mark.anyio``."""
    return "asyncio"


LOGGERS = ("", "httpx", "httpcore", "asyncio", "aiosqlite", "sqlalchemy.engine", "alembic", "temporalio")


@pytest.fixture(autouse=True)
def _levels_as_before() -> Iterator[None]:
    """A command that runs in this process sets log levels; the next test's are its own."""
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture(scope="session")
def temporal() -> Iterator[TemporalServer]:
    """A real Temporal server for the tests of this process, started when the first one asks for it."""
    from tests.support.temporal import TemporalServer

    server = TemporalServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def namespace(temporal: TemporalServer) -> str:
    """A namespace of the test's own, with the search attributes."""
    return temporal.new_namespace()
