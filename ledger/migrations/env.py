"""How Alembic reaches the database: over the connection it is given, else by the environment's URL."""

from __future__ import annotations

import asyncio
import os

from alembic import context
from sqlalchemy import Connection

from ledger.engine import WRITE, build
from ledger.migrate import URL_VARIABLE
from ledger.tables import METADATA


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=METADATA, compare_type=True, transactional_ddl=True
    )
    with context.begin_transaction():
        context.run_migrations()


async def _connect() -> None:
    engine = build(os.environ[URL_VARIABLE])
    async with engine.execution_options(**{WRITE: True}).begin() as connection:
        await connection.run_sync(_run)
    await engine.dispose()


_given = context.config.attributes.get("connection")
if _given is None:
    asyncio.run(_connect())
else:
    _run(_given)
