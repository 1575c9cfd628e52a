"""Collects what the rows of the acceptance suite find, for ``docs/connectors.md``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import pytest

from ledger.migrate import migrate
from tests.acceptance.bench import Bench
from tests.acceptance.report import Cell
from tests.acceptance.subject import Site
from tests.acceptance.suite import SUBJECTS
from tests.contracts.exchanges import Recording

FOUND = pytest.StashKey[dict[tuple[str, str], Cell]]()
"""On the session's config: the cells so far. All rows are in one module, hence in one process."""
PASSED_BY = pytest.StashKey[dict[str, Recording]]()
"""By vendor: every request and answer so far, for its contract."""


def pytest_configure(config: pytest.Config) -> None:
    """Begin with an empty board."""
    config.stash[FOUND] = {}
    config.stash[PASSED_BY] = {vendor: Recording() for vendor in SUBJECTS}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the outcome of a row: in its own words when it passed, with its reason when not."""
    report = yield
    told = dict(item.user_properties)
    if "row" not in told or (call.when != "call" and report.passed):
        return report
    key = (str(told["row"]), str(told["vendor"]))
    words = str(told.get("found", ""))
    if "n/a" in told:
        item.config.stash[FOUND][key] = Cell("n/a", str(told["n/a"]))
    elif report.passed:
        item.config.stash[FOUND].setdefault(key, Cell("passed", words))
    else:
        item.config.stash[FOUND][key] = Cell("failed", f"see `{item.name}`")
    return report


@pytest.fixture
def found(request: pytest.FixtureRequest) -> dict[tuple[str, str], Cell]:
    """What the rows of this run found so far."""
    return request.config.stash[FOUND]


@pytest.fixture
def recording(request: pytest.FixtureRequest, vendor: str) -> Recording:
    """What passed between the vendor's connectors and simulators so far."""
    return request.config.stash[PASSED_BY][vendor]


@pytest.fixture(scope="session")
def ledger_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite ledger to copy."""
    path = tmp_path_factory.mktemp("acceptance") / "template.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture
async def bench(
    vendor: str,
    recording: Recording,
    ledger_template: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Bench]:
    """A bench with one vendor's subject."""
    # Subjects put their secrets into the environment; the next test must not find them.
    monkeypatch.setattr(os, "environ", os.environ.copy())
    bench = Bench(SUBJECTS[vendor], tmp_path, ledger_template, Site(around=recording.around))
    await bench.open()
    yield bench
    await bench.close()
