"""Bringing a database to this release's schema, and refusing to work with another one.

``await migrate(url)`` from code, or ``python -m ledger.migrate`` with the URL in the environment
variable ``TRUEUP__LEDGER__URL`` (what a Kubernetes job does before new workers start).
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from canonical.failures import ConfigurationError
from ledger.engine import WRITE, build
from ledger.errors import DRIVER_ERRORS, translate

URL_VARIABLE = "TRUEUP__LEDGER__URL"
_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x7472_7565_7570
"""Advisory lock of whoever migrates (PostgreSQL); SQLite locks the file."""


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; ``connection`` is used by ``migrations/env.py`` when given."""
    made = Config()
    made.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


def head() -> str:
    """The schema version that this release works with."""
    return ScriptDirectory.from_config(config()).get_current_head() or ""


async def migrate(url: str, revision: str = "head") -> str:
    """Bring the database to ``revision``. Safe to run from several processes at once.

    Returns:
        The version it has now.

    Raises:
        ConfigurationError: a bad URL.
        Transient: the database cannot be reached.
    """
    engine = build(url)
    try:
        async with engine.execution_options(**{WRITE: True}).begin() as connection:
            if engine.dialect.name == "postgresql":
                await connection.execute(text("SET LOCAL lock_timeout = 0"))
                await connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK})
            await connection.run_sync(lambda sync: command.upgrade(config(sync), revision))
            return await connection.run_sync(_version) or ""
    except DRIVER_ERRORS as error:
        raise translate(error) from error
    finally:
        await engine.dispose()


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


async def require_current(engine: AsyncEngine) -> None:
    """Refuse a database whose schema is not this release's.

    Raises:
        ConfigurationError: says what to run.
        Transient: the database cannot be reached.
    """
    try:
        async with engine.connect() as connection:
            found = await connection.run_sync(_version)
    except DRIVER_ERRORS as error:
        raise translate(error) from error
    wanted = head()
    if found != wanted:
        raise ConfigurationError(
            [
                f"ledger: the database's schema is {found or 'empty'}, this release works with {wanted}; "
                f"run `python -m ledger.migrate` with {URL_VARIABLE} set"
            ]
        )


def main() -> int:
    """Migrate the database named by the environment."""
    url = os.environ.get(URL_VARIABLE)
    if not url:
        print(f"{URL_VARIABLE} is not set", file=sys.stderr)
        return 2
    print(f"The ledger's schema is now {asyncio.run(migrate(url))}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
