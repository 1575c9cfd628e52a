"""The command line in this process, on a ledger of the test's own; Temporal only where a test asks for it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from typer.testing import CliRunner

from canonical.causes import Cause, Queue
from canonical.failures import Failure, FailureKind
from canonical.money import Money
from canonical.refs import RecordRef
from canonical.saga import Actor, CaseState, ExceptionCase, SagaStatus, SagaView
from cli.main import app
from ledger.migrate import migrate
from ledger.personal import AesGcmSealer
from ledger.store import Ledger

T = TypeVar("T")
NOBODY = "127.0.0.1:9"
"""An address where no Temporal server answers."""
ANNA = Actor(name="anna", roles=("finance",))
CONFIG = """
[firm]
name = "Acme Consulting"
region = "emea"

[temporal]
address = "{temporal}"
namespace = "{namespace}"
connect_seconds = 0.5
ui_url = "http://temporal.example"

[ledger]
url = "sqlite:///{folder}/ledger.db"
personal_key_file = "{folder}/personal.key"

[systems.hr-export]
vendor = "hr_file"
roles = ["hr"]
path = "{folder}/hr.csv"

[systems.sf-main]
vendor = "salesforce"
roles = ["crm"]
base_url = "http://127.0.0.1:9"
[systems.sf-main.auth]
kind = "client_credentials"
client_id = {{ env = "TRUEUP_TEST_ID" }}
client_secret = {{ env = "TRUEUP_TEST_SECRET" }}

[policies]
repair_roles = {{ master-data = ["finance"] }}

[actors]
anna = ["finance"]
bert = ["pmo"]
"""


@dataclass
class Answer:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def first(self) -> str:
        """The sentence."""
        return self.out.split("\n", 1)[0]

    @property
    def json(self) -> dict[str, Any]:
        """The one object of ``--json``."""
        found: dict[str, Any] = json.loads(self.out)
        return found


@dataclass
class Cli:
    """The command line on one configuration."""

    config: Path
    ledger_url: str
    key: Path

    def __call__(self, *arguments: str) -> Answer:
        return run(*arguments, "--config", str(self.config))

    def write(self, work: Callable[[Ledger], Awaitable[T]]) -> T:
        """Let ``work`` use the ledger behind the commands."""

        async def inside() -> T:
            ledger = await Ledger.open(self.ledger_url, sealer=AesGcmSealer.from_file(self.key))
            try:
                return await work(ledger)
            finally:
                await ledger.close()

        return asyncio.run(inside())


def run(*arguments: str) -> Answer:
    """One command, as typed."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


@pytest.fixture(scope="session")
def ledger_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "template.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture
def make_cli(
    tmp_path: Path, ledger_template: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], Cli]:
    monkeypatch.setenv("TRUEUP_TEST_ID", "id")
    monkeypatch.setenv("TRUEUP_TEST_SECRET", "secret")
    monkeypatch.delenv("TRUEUP_CONFIG", raising=False)

    def make(temporal: str, namespace: str) -> Cli:
        config = tmp_path / "trueup.toml"
        config.write_text(CONFIG.format(temporal=temporal, namespace=namespace, folder=tmp_path))
        (tmp_path / "hr.csv").write_text("worker_id,role,region\n")
        shutil.copy(ledger_template, tmp_path / "ledger.db")
        AesGcmSealer.from_file(tmp_path / "personal.key", create=True)
        return Cli(config, f"sqlite:///{tmp_path}/ledger.db", tmp_path / "personal.key")

    return make


@pytest.fixture
def cli(make_cli: Callable[[str, str], Cli]) -> Cli:
    """Without Temporal."""
    return make_cli(NOBODY, "default")


def saga(deal: str) -> str:
    return f"o2p:emea:sf-main:{deal}"


def failure(cause: Cause = Cause.TAX_REGISTRATION_MISSING, amount: str | None = "64000.00") -> Failure:
    return Failure(
        kind=FailureKind.REPAIR,
        cause=cause,
        message="Account Harbour has no tax registration.",
        queue=Queue.MASTER_DATA,
        system="sf-main",
        record=RecordRef(system="sf-main", type="Account", id="001", url="https://crm.example/001"),
        remedy="Enter it, then retry.",
        at_stake=Money(amount=amount, currency="EUR") if amount else None,
    )


async def begin(ledger: Ledger, deal: str, status: SagaStatus | None = None, **view: Any) -> None:
    """A saga in the ledger; ended when ``status`` is given."""
    await ledger.begin_saga(
        saga(deal),
        saga="opportunity-to-project",
        region="emea",
        business_key=f"sf-main/{deal}",
        actor=ANNA,
        reason="kick-off on Monday",
        start_id=f"run-{deal}",
    )
    if status is not None:
        row = await ledger.saga(saga(deal))
        assert row is not None
        seen = SagaView(
            saga_id=saga(deal),
            saga="opportunity-to-project",
            status=status,
            headline=f"{status.value}.",
            business_key=f"sf-main/{deal}",
            region="emea",
            started_at=row.started_at,
            **view,
        )
        await ledger.finish_saga(saga(deal), 1, status, view=seen)


async def open_case(
    ledger: Ledger, deal: str, found: Failure, *, transient: bool = False, **more: Any
) -> None:
    """An open exception of a saga."""
    case = ExceptionCase(
        id=f"{saga(deal)}|g1|validate",
        saga_id=saga(deal),
        step="validate",
        business_key=f"sf-main/{deal}",
        region="emea",
        state=CaseState.OPEN,
        transient=transient,
        failure=found,
        opened_at=ledger.now(),
        **more,
    )
    await ledger.open_case(case)
