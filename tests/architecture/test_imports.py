"""Which package may import what. The table is the architecture; everything else follows from it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.architecture.source import (
    PACKAGES,
    ROOT,
    STANDARD,
    SUPPORT,
    Module,
    modules,
    parse,
    top_level,
    where,
)

CLOCK_CALLS = ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")
IO = (
    "aiosmtplib", "aiosqlite", "alembic", "asyncio", "asyncpg", "ftplib", "http", "httpx", "io",
    "multiprocessing", "os", "pathlib", "requests", "shutil", "smtplib", "socket", "sqlalchemy", "sqlite3",
    "sqlmodel", "starlette", "subprocess", "tempfile", "threading", "urllib.request", "uvicorn",
)  # fmt: skip
SIMULATOR_USERS = ("cli.demo", "cli.demo_billing", "cli.dev", "cli.simulators")
VENDOR_NEUTRAL = ("connectors.ports", "connectors.kit")


@dataclass(frozen=True)
class Row:
    """One row of the table: modules ``applies`` to, which of ours they may import, what they may never."""

    title: str
    applies: Callable[[Module], bool]
    ours: tuple[str, ...]
    never: tuple[str, ...] = ()
    only_others: tuple[str, ...] | None = None
    """The only third-party packages allowed, where that is fixed."""


def package(name: str) -> Callable[[Module], bool]:
    return lambda module: module.package == name


def _seen_by_workflows(module: Module) -> bool:
    return module.name in ("activities", "activities.contracts", "activities.options")


def _activity_implementation(module: Module) -> bool:
    return module.package == "activities" and not _seen_by_workflows(module)


def _vendor_folder(module: Module) -> bool:
    return module.name.startswith("connectors.") and not _within(module.name, VENDOR_NEUTRAL)


def _plain_cli(module: Module) -> bool:
    return module.package == "cli" and not _within(module.name, SIMULATOR_USERS)


def _local_cli(module: Module) -> bool:
    return module.package == "cli" and _within(module.name, SIMULATOR_USERS)


FRONT = (
    "canonical",
    "rules",
    "workflows",
    # What a saga is started with is part of its typed handle.
    "activities.contracts",
    "activities.options",
    "runtime",
    "wiring",
    "ledger",
)
TABLE = (
    Row("canonical", package("canonical"), ours=("canonical",), never=(*IO, "time", "temporalio")),
    Row("rules", package("rules"), ours=("rules", "canonical"), never=(*IO, "time", "temporalio")),
    Row("connectors", package("connectors"), ours=("connectors", "canonical"), never=("temporalio",)),
    Row("ledger", package("ledger"), ours=("ledger", "canonical"), never=("temporalio",)),
    Row(
        "activities.contracts / options",
        _seen_by_workflows,
        ours=("canonical", "activities.contracts", "activities.options"),
        never=("httpx", "sqlmodel", "sqlalchemy", *IO),
        only_others=("temporalio", "pydantic"),
    ),
    Row(
        "workflows",
        package("workflows"),
        ours=("workflows", "canonical", "activities.contracts", "activities.options"),
        # asyncio is the workflow's own event loop here.
        never=(*(name for name in IO if name != "asyncio"), "random", "secrets", "time", "uuid"),
        only_others=("temporalio", "pydantic"),
    ),
    Row(
        "activities (implementations)",
        _activity_implementation,
        ours=("activities", "canonical", "rules", "ledger", "connectors.ports"),
    ),
    Row("runtime", package("runtime"), ours=("runtime", "canonical")),
    Row(
        "wiring",
        package("wiring"),
        ours=("wiring", "canonical", "rules", "workflows", "activities", "connectors", "ledger", "runtime"),
    ),
    Row("gateway", package("gateway"), ours=("gateway", *FRONT)),
    Row("cli", _plain_cli, ours=("cli", *FRONT)),
    Row("cli: demo, dev, simulators", _local_cli, ours=("cli", "simulators", "worker", *FRONT)),
    Row("simulators", package("simulators"), ours=("simulators",), never=("temporalio",)),
    Row("worker", package("worker"), ours=("runtime", "wiring", "workflows", "activities", "canonical")),
)


def _within(name: str, parents: tuple[str, ...]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def offences(row: Row, module: Module) -> list[str]:
    """Imports of ``module`` that ``row`` forbids, each with place and reason."""
    found = []
    for name, line in module.imports():
        top = name.split(".")[0]
        place = f"{where(module.path, line)} imports {name}"
        if top in PACKAGES or top in SUPPORT:
            if not _within(name, row.ours):
                found.append(f"{place}: {row.title} may import of ours only {', '.join(row.ours)}")
        elif _within(name, row.never):
            found.append(f"{place}: never in {row.title}")
        elif row.only_others is not None and top not in STANDARD and top not in row.only_others:
            found.append(
                f"{place}: {row.title} may use the standard library and {', '.join(row.only_others)}"
            )
    return found


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.title)
def test_imports_follow_the_table(row: Row) -> None:
    found = [o for module in modules() if row.applies(module) for o in offences(row, module)]
    assert not found, "\n".join(found)


def test_every_module_is_in_exactly_one_row() -> None:
    unclear = {m.name: [r.title for r in TABLE if r.applies(m)] for m in modules()}
    assert {name: rows for name, rows in unclear.items() if len(rows) != 1} == {}


def test_every_package_has_a_row() -> None:
    assert set(top_level()) <= {*PACKAGES, *SUPPORT}


def test_vendor_folders_are_known_to_wiring_only() -> None:
    found = [
        f"{where(module.path, line)} imports {name}"
        for module in modules()
        if module.package not in ("wiring", "connectors")
        for name, line in module.imports()
        if _within(name, ("connectors",)) and not _within(name, VENDOR_NEUTRAL) and name != "connectors"
    ]
    assert not found, "\n".join(found)


def test_vendor_folders_do_not_know_each_other() -> None:
    found = [
        f"{where(module.path, line)} imports {name}"
        for module in modules()
        if _vendor_folder(module)
        for name, line in module.imports()
        if _within(name, ("connectors",))
        and not _within(name, (*VENDOR_NEUTRAL, ".".join(module.name.split(".")[:2])))
        and name != "connectors"
    ]
    assert not found, "\n".join(found)


def test_ports_and_kit_do_not_know_the_vendors() -> None:
    found = [
        f"{where(module.path, line)} imports {name}"
        for module in modules()
        if _within(module.name, VENDOR_NEUTRAL)
        for name, line in module.imports()
        if _within(name, ("connectors",)) and not _within(name, VENDOR_NEUTRAL)
    ]
    assert not found, "\n".join(found)


def test_pure_packages_never_ask_the_clock() -> None:
    found = []
    for module in modules():
        if module.package in ("canonical", "rules", "workflows"):
            found += [f"{where(module.path, line)} calls {call}" for call, line in clock_calls(module.path)]
    assert not found, "\n".join(found)


def clock_calls(path: Path) -> list[tuple[str, int]]:
    """Calls of a wall clock in a file. ``workflow.now`` and ``workflow.time`` are the replayed one."""
    found = []
    for node in ast.walk(parse(path)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = node.func.value
        name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
        call = f"{name}.{node.func.attr}"
        if call in CLOCK_CALLS or name == "time":
            found.append((call, node.lineno))
    return found


def test_the_activities_package_is_empty() -> None:
    init = ROOT / "activities" / "__init__.py"
    assert init.is_file()
    assert init.read_text().strip() == "", "the workflow sandbox runs it: nothing may stand there"


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("canonical.probe", "import httpx", "never in canonical"),
        ("canonical.probe", "from rules import match", "may import of ours only canonical"),
        ("rules.probe", "import temporalio.workflow", "never in rules"),
        ("rules.probe", "from canonical import refs\nimport ledger", "may import of ours only"),
        ("connectors.acme.client", "from temporalio import activity", "never in connectors"),
        ("connectors.acme.client", "from ledger import store", "may import of ours only"),
        ("ledger.probe", "from connectors import ports", "may import of ours only"),
        ("activities.contracts", "import httpx", "never in activities.contracts"),
        ("activities.options", "import structlog", "may use the standard library"),
        ("workflows.probe", "import rules", "may import of ours only"),
        ("workflows.probe", "from activities import effects", "may import of ours only"),
        ("workflows.probe", "def f():\n    import sqlmodel", "never in workflows"),
        ("activities.probe", "import connectors.netsuite", "may import of ours only"),
        ("runtime.probe", "from wiring import build", "may import of ours only"),
        ("wiring.probe", "import simulators", "may import of ours only"),
        ("cli.show", "from simulators.kit import serve", "may import of ours only"),
        ("cli.show", "import worker", "may import of ours only"),
        ("cli.show", "from connectors.netsuite import client", "may import of ours only"),
        ("simulators.acme", "from canonical.money import Money", "may import of ours only"),
        ("worker", "import simulators", "may import of ours only"),
        ("worker", 'import importlib\nimportlib.import_module("simulators.kit")', "may import of ours only"),
    ],
)
def test_the_table_notices(tmp_path: Path, module: str, source: str, reason: str) -> None:
    """Each rule catches a module made to break it, whether or not the package is there yet."""
    probe = Module(module, tmp_path / "probe.py")
    probe.path.write_text(source)
    found = [o for row in TABLE if row.applies(probe) for o in offences(row, probe)]
    assert len(found) == 1
    assert reason in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cli.demo", "from simulators.kit import serve\nimport worker"),
        ("wiring.build", "from connectors.netsuite import NetSuiteConnector"),
        ("workflows.saga", "import asyncio\nfrom datetime import timedelta\nfrom temporalio import workflow"),
        (
            "activities.effects",
            "from connectors.ports import ErpPort\nfrom rules import routing\nimport structlog",
        ),
    ],
)
def test_the_table_allows(tmp_path: Path, module: str, source: str) -> None:
    probe = Module(module, tmp_path / "probe.py")
    probe.path.write_text(source)
    rows = [row for row in TABLE if row.applies(probe)]
    assert len(rows) == 1
    assert offences(rows[0], probe) == []
