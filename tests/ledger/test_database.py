"""Schema, URLs, transactions, outages: what the two databases must have in common."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from canonical.causes import Cause
from canonical.failures import ConfigurationError, Defect, Transient
from canonical.writes import VendorWrite
from ledger.engine import WRITE, build, is_sqlite, normalise
from ledger.errors import translate
from ledger.migrate import URL_VARIABLE, head, migrate
from ledger.personal import AesGcmSealer
from ledger.rows import ClaimState
from ledger.store import Ledger
from ledger.tables import METADATA
from ledger.types import canonical_json, dumps, loads
from tests.ledger.postgres import PostgresServer
from tests.ledger.subject import ANNA, SAGA, Clock, claim, land, project

pytestmark = pytest.mark.anyio


def differences(connection: Connection) -> list[object]:
    return list(
        compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), METADATA)
    )


async def test_migrations_make_exactly_the_declared_schema(empty_url: str) -> None:
    assert await migrate(empty_url) == head()
    assert await migrate(empty_url) == head(), "a second time changes nothing"
    engine = build(empty_url)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_several_processes_may_migrate_at_once(empty_url: str) -> None:
    assert set(await asyncio.gather(*(migrate(empty_url) for _ in range(8)))) == {head()}


async def test_migration_by_environment(empty_url: str) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "ledger.migrate"]
    environment = {**os.environ, URL_VARIABLE: empty_url}
    ran = await asyncio.to_thread(
        subprocess.run, command, env=environment, cwd=root, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert head() in ran.stdout
    ledger = await Ledger.open(empty_url)
    await ledger.close()


async def test_an_empty_or_foreign_schema_is_refused_with_what_to_do(empty_url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"schema is empty.*ledger\.migrate"):
        await Ledger.open(empty_url)
    await migrate(empty_url)
    engine = build(empty_url)
    async with engine.execution_options(**{WRITE: True}).begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await engine.dispose()
    with pytest.raises(ConfigurationError, match="schema is 9999"):
        await Ledger.open(empty_url)


def test_urls_get_the_asynchronous_driver() -> None:
    assert str(normalise("sqlite:///a.db")) == "sqlite+aiosqlite:///a.db"
    assert normalise("postgresql://u:secret@h/d").drivername == "postgresql+asyncpg"
    assert normalise("postgres://h/d").drivername == "postgresql+asyncpg"
    assert is_sqlite("sqlite+aiosqlite:////x/a.db")
    assert not is_sqlite("postgresql+asyncpg://h/d")


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/d", "not a url secret", "sqlite://", "sqlite:///:memory:"]
)
def test_bad_urls_are_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        normalise(url)
    assert "ledger.url" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_sqlite_is_set_up_for_durability(tmp_path: Path) -> None:
    engine = build(f"sqlite:///{tmp_path / 'new' / 'x.db'}")
    async with engine.connect() as connection:
        found = {
            name: (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "secure_delete")
        }
    await engine.dispose()
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 15_000,
        "secure_delete": 1,
    }


async def test_a_database_that_is_away_is_transient(ledger_url: str, clock: Clock) -> None:
    with pytest.raises(Transient) as caught:
        await Ledger.open("postgresql://postgres:hunter2@127.0.0.1:1/none")
    assert caught.value.failure.cause is Cause.LEDGER_UNAVAILABLE
    assert "hunter2" not in str(caught.value)


async def test_an_outage_passes_and_the_ledger_goes_on(
    postgres_server: PostgresServer, postgres_template: str, clock: Clock
) -> None:
    ledger = await Ledger.open(
        postgres_server.url(postgres_server.new_database(postgres_template)), clock=clock
    )
    await claim(ledger, project())
    postgres_server.stop_hard()
    for _ in range(3):
        with pytest.raises(Transient) as caught:
            await claim(ledger, project(), "a2")
        assert caught.value.failure.cause is Cause.LEDGER_UNAVAILABLE
    postgres_server.resume()
    assert (await claim(ledger, project(), "a2")).state is ClaimState.BUSY
    await ledger.close()


async def test_a_server_that_dies_inside_a_transaction_is_transient(
    postgres_server: PostgresServer, postgres_template: str
) -> None:
    url = postgres_server.url(postgres_server.new_database(postgres_template))
    ledger = await Ledger.open(url)

    async def land_while_it_dies() -> None:
        async with ledger.transaction() as session:
            await land(ledger, project())
            pid = (await (await session.connection()).execute(text("SELECT pg_backend_pid()"))).scalar_one()
            other = build(url)
            async with other.connect() as killer:
                await killer.execute(text(f"SELECT pg_terminate_backend({pid})"))
            await other.dispose()
            await ledger.effect(project().key)

    with pytest.raises(Transient):
        await land_while_it_dies()
    assert await ledger.effect(project().key) is None
    await ledger.close()


async def test_a_file_locked_by_somebody_else_is_transient(
    tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.engine.BUSY_SECONDS", 0.1)
    path = tmp_path / "locked.db"
    shutil.copy(sqlite_template, path)
    ledger = await Ledger.open(f"sqlite:///{path}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Transient) as caught:
        await claim(ledger, project())
    assert caught.value.failure.cause is Cause.LEDGER_UNAVAILABLE
    assert await ledger.effect(project().key) is None, "readers are not held up"
    other.execute("ROLLBACK")
    other.close()
    assert (await claim(ledger, project())).state is ClaimState.FIRST
    await ledger.close()


async def test_a_wrong_statement_is_our_defect_and_shows_no_values(ledger: Ledger) -> None:
    with pytest.raises(Defect) as caught:
        async with ledger.transaction() as session:
            await (await session.connection()).execute(
                text("SELECT * FROM no_such_table WHERE x = :x"), {"x": "anna@example.com"}
            )
    assert "anna" not in str(caught.value)
    violated = translate(IntegrityError("INSERT", {"x": "anna"}, Exception("duplicate key")))
    assert isinstance(violated, Defect)


async def test_calls_inside_a_transaction_happen_all_or_not_at_all(ledger: Ledger) -> None:
    async def both() -> None:
        await land(ledger, project("one.UK.GBP"))
        await land(ledger, project("two.UK.GBP"))
        assert len((await ledger.effects()).rows) == 2, "a read inside sees the rows"

    async def both_and_fail() -> None:
        await both()
        raise RuntimeError("the caller changed its mind")

    with pytest.raises(RuntimeError):
        await ledger.together(both_and_fail)
    assert (await ledger.effects()).rows == ()
    assert await ledger.audit_count() == 0
    await ledger.together(both)
    assert len((await ledger.effects()).rows) == 2
    assert await ledger.verify() == []


async def test_misuse_of_transactions_is_refused_instead_of_hanging(ledger: Ledger) -> None:
    async with ledger.transaction():
        task = asyncio.create_task(land(ledger, project()))
        with pytest.raises(Defect, match="a task started inside"):
            await task
    async with ledger.reading():
        with pytest.raises(Defect, match="inside a ledger read"):
            await land(ledger, project())
    await land(ledger, project())


async def test_times_come_back_aware_in_utc(ledger: Ledger) -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    deadline = datetime(2026, 3, 1, 18, 0, 0, 123_456, tzinfo=zone)
    write = project()

    async def claim_until(write: VendorWrite, deadline: datetime) -> None:
        await ledger.claim(
            write,
            saga_id=SAGA,
            actor=ANNA,
            attempt_id="a",
            deadline=deadline,
            asked_at=ledger.now(),
            body_hash="h",
            business_key="k",
            region="emea",
        )

    await claim_until(write, deadline)
    row = await ledger.effect(write.key)
    assert row is not None
    assert row.deadline == deadline
    assert row.deadline.tzinfo is UTC or row.deadline.utcoffset() == timedelta(0)
    with pytest.raises(Defect, match="has no time zone"):
        await claim_until(project("x.UK.GBP"), deadline.replace(tzinfo=None))
    assert await ledger.effect(project("x.UK.GBP").key) is None


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**80), max_value=2**80)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON_VALUES)
def test_json_is_exact(value: object) -> None:
    back = loads(dumps(value))
    assert canonical_json(back) == canonical_json(value) or back == value
    assert "float" not in {type(part).__name__ for part in _leaves(back)}


def _leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in _leaves(part)]
    if isinstance(value, list):
        return [leaf for part in value for leaf in _leaves(part)]
    return [value]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON_VALUES, number=st.integers(min_value=0, max_value=10**12))
async def test_bodies_of_any_content_survive_the_database(ledger: Ledger, body: object, number: int) -> None:
    write = project(f"deal{number}.UK.GBP", body={"value": body})
    ledger.look_always = False
    await claim(ledger, write, f"a{number}")
    row = await ledger.effect(write.key)
    assert row is not None
    assert row.write.key == write.key
    await ledger.release(write.key, f"a{number}", outcome="not_sent")
    amended = project(f"deal{number}.UK.GBP", body=body)
    await claim(ledger, amended, "other")
    row = await ledger.effect(write.key)
    assert row is not None
    assert row.write == amended
    await ledger.release(write.key, "other", outcome="not_sent")


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), float("nan"), object(), b"x"])
def test_what_has_no_json_form_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        dumps({"x": value})


def test_key_files_are_made_private_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "personal.key"
    with pytest.raises(ConfigurationError):
        AesGcmSealer.from_file(path)
    sealed = AesGcmSealer.from_file(path, create=True).encrypt(b"x", b"a")
    assert AesGcmSealer.from_file(path, create=True).decrypt(sealed, b"a") == b"x"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Defect):
        AesGcmSealer.from_file(path).decrypt(sealed, b"other row")


def test_a_bad_key_is_named_by_its_source_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRUEUP_TEST_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="is not set"):
        AesGcmSealer.from_env("TRUEUP_TEST_KEY")
    monkeypatch.setenv("TRUEUP_TEST_KEY", "c2hvcnQ=")
    with pytest.raises(ConfigurationError, match="TRUEUP_TEST_KEY: expected 32 bytes") as caught:
        AesGcmSealer.from_env("TRUEUP_TEST_KEY")
    assert "c2hvcnQ" not in str(caught.value)
