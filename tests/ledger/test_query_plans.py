"""What posting asks of the ledger again and again finds its index: a month may hold 100,000 items.

On SQLite, whose planner decides by the words of a query alone; PostgreSQL reads small tables whole.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from canonical.batches import BatchPurpose
from canonical.items import CostState
from ledger.store import Ledger
from tests.ledger.billing import CONTRACT, PSA, claim, line, place, send
from tests.ledger.subject import Clock

pytestmark = pytest.mark.anyio


@pytest.fixture
async def ledger(sqlite_template: Path, tmp_path: Path, clock: Clock) -> AsyncIterator[Ledger]:
    path = tmp_path / "ledger.db"
    shutil.copy(sqlite_template, path)
    ledger = await Ledger.open(f"sqlite:///{path}", clock=clock)
    yield ledger
    await ledger.close()


Statement = tuple[str, Any]


@contextmanager
def asked(ledger: Ledger) -> Iterator[list[Statement]]:
    """Statements with their parameters, as they are sent meanwhile."""
    found: list[Statement] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "UPDATE")) and not many:
            found.append((statement, parameters))

    engine = ledger._engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def scans(ledger: Ledger, statements: list[Statement]) -> list[str]:
    """Statements that read every item."""
    found = []
    async with ledger.reading() as session:
        connection = await session.connection()
        for statement, parameters in statements:
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps = [str(row._mapping["detail"]) for row in plan]
            if any(step.startswith("SCAN billable_item") and "INDEX" not in step for step in steps):
                found.append(f"{steps}: {statement}")
    return found


async def test_a_scan_would_be_noticed(ledger: Ledger) -> None:
    with asked(ledger) as statements:
        async with ledger.reading() as session:
            connection = await session.connection()
            await connection.exec_driver_sql("SELECT id FROM billable_item WHERE minutes = 7")
    assert len(await scans(ledger, statements)) == 1


async def test_no_step_of_posting_reads_every_item(ledger: Ledger) -> None:
    await ledger.take_in([line(number) for number in range(1, 4)])
    await place(ledger, 1, 2, 3)
    with asked(ledger) as statements:
        await ledger.take_in([line(number) for number in range(3, 6)])
        await ledger.taken_in_since({f"{PSA}/time_entries/1": ledger.now()})
        piece = await claim(ledger)
        await ledger.extend_piece(piece, ledger.now() + timedelta(seconds=300))
        await ledger.items(piece=piece, cost=[CostState.UNPOSTED], limit=500)
        await ledger.day_minutes([("7", line().work_date)])
        await send(ledger, piece)
        await ledger.billed_lines(withdrawn=True)
        await send(ledger, "marks", BatchPurpose.MARK)
        await send(ledger, "marks", BatchPurpose.UNMARK)
        (batch, *_) = await ledger.batches(system=PSA)
        assert [one.source.id for one in await ledger.batch_marks(batch.key)] == ["1", "2", "3"]
        await ledger.close_piece(piece)
    assert sum("billable_item" in statement for statement, _ in statements) > 20
    assert await scans(ledger, statements) == []


async def test_the_posted_work_of_an_account_is_found_by_its_contracts(ledger: Ledger) -> None:
    await ledger.take_in([line(1)])
    await place(ledger, 1)
    with asked(ledger) as statements:
        await ledger.posted_work([CONTRACT, "another"])
    assert sum("billable_item" in statement for statement, _ in statements) == 3
    assert await scans(ledger, statements) == []
