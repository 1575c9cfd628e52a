"""The benchmarks in their shortest form, so that they cannot rot; and what one deal costs in vendor calls.

Times are not judged here: other tests run beside these. Everything that does not depend on time is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench import server
from bench.feedback import Size, soon_shown
from bench.firm import BenchFirm, bench_firm
from bench.kernel import kernel_cost
from bench.kill import killed
from bench.latency import slow_vendors
from bench.result import last_line, text_table
from bench.server import SKIPPED, StockServer, profiles
from runtime.devserver import POLL_RATE, SQLITE_PRAGMAS, DevServer
from tests.bench.counting import RECORD, committed, one_deal

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.anyio]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def firm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BenchFirm]:
    async with bench_firm(tmp_path_factory.mktemp("bench")) as firm:
        yield firm


async def test_the_vendor_calls_of_one_deal_are_as_many_as_committed(firm: BenchFirm) -> None:
    assert await one_deal(firm) == committed(), f"if that is meant: {RECORD}"


async def test_a_slow_vendor_is_what_a_deal_waits_for(firm: BenchFirm) -> None:
    part = await slow_vendors(firm, rounds=1, slow=40)
    figures = part.figures
    calls = sum(row["reads"] + row["writes"] for row in committed().values())
    assert figures["vendor_calls_per_deal"] == calls
    path, seconds = float(figures["critical_path_seconds"]), float(figures["deal_seconds_p50"])
    assert 0.04 * int(figures["critical_path_calls"]) <= path < seconds
    assert "critical path" in text_table([part])


async def test_the_saga_has_no_events_that_the_bare_workflow_lacks(firm: BenchFirm) -> None:
    part = await kernel_cost(firm, rounds=1, deals=1)
    assert part.figures["extra_events"] == 0
    assert float(part.figures["saga_cpu_ms"]) > float(part.figures["engine_cpu_ms"]) > 0
    assert '"cpu_to_bare": {"at_most": 1.15}' in last_line("bench", [part])


async def test_killed_workers_send_nothing_again_that_had_arrived(firm: BenchFirm) -> None:
    part = await killed(firm, deals=2)
    assert part.missed() == []


async def test_an_invoice_that_is_told_of_is_shown(tmp_path: Path) -> None:
    one = BenchFirm(tmp_path)
    try:
        part = await soon_shown(await one.open(), Size(seconds=2, rate=2, faster=(3,), slower=(1,)), slow=20)
    finally:
        await one.close()
    assert part.missed() == []
    figures = part.figures
    assert figures["events"] == 4
    assert int(figures["path_calls"]) >= 3
    assert (
        0.02 * int(figures["path_calls"])
        <= float(figures["path_seconds"])
        < float(figures["shown_seconds_p50"])
    )


def test_the_stock_server_lacks_our_settings_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "temporal.db"
    ours, stock = (one(database=file)._arguments(1, 2) for one in (DevServer, StockServer))
    settings = [part for pragma in SQLITE_PRAGMAS for part in ("--sqlite-pragma", pragma)]
    place = ours.index(POLL_RATE)
    without = [*ours[: place - 1], *ours[place + 1 :]]
    assert without[-len(settings) :] == settings
    assert stock == without[: -len(settings)]


async def test_both_server_profiles_run_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PAUSE", 0.1)
    part = await profiles(tmp_path, rounds=1, block=SKIPPED + 1, places=(server.MEMORY,))
    assert float(part.figures["stock_ms_p50"]) > 0
    assert float(part.figures["ours_ms_p50"]) > 0
