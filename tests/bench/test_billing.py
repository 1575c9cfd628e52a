"""The billing benchmark in its smallest form, so that it cannot rot.

Times are not judged here: other tests run beside it. What does not depend on time is.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.billing import Found, Run, Size, month_end, report
from bench.billing_firm import billing_firm
from bench.result import last_line, text_table

SMALLEST = Size(small=200, large=400, floor=200, quick=200, sample=10, rounds=1, slow=20)


def run(lines: int, seconds: float, **more: float) -> Run:
    values = {"events": 40, "posting_seconds": seconds / 2, "calls": 3, "in_flight": 4.5, "refused": 0}
    figures = {"peak_mb": 200.0, "worker_ms": 1.0, "others": 0.1}
    return Run(lines=lines, seconds=seconds, **{**values, **figures, **more})  # type: ignore[arg-type]


def test_ratios_are_taken_to_the_floors_beside_each_run() -> None:
    found = Found(
        Size(small=100, large=1_000, floor=100, quick=100, sample=10, rounds=2),
        small=run(100, 10),
        large=run(1_000, 20, events=100, peak_mb=240),
        floors=[20, 40, 60],
        quick=[900, 1_100],
        one_by_one=[9, 11],
        quick_ms=[1.0, 1.2],
    )
    part = report(found)
    figures = part.figures
    assert figures["lines_to_floor"] == 1.0, "50 a second, floors of 40 and 60 beside it"
    assert figures["posting_to_floor"] == 2.0
    assert figures["small_to_floor"] == round(10 / 30, 3)
    assert figures["to_one_by_one"] == 100
    assert figures["events_per_1000_lines"] == 100
    assert figures["memory_growth"] == 1.2
    assert [goal.split(" is ")[0] for goal in part.missed()] == ["events_per_1000_lines", "memory_growth"]


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_smallest_form_posts_every_line_once(tmp_path: Path, anyio_backend: str) -> None:
    async with billing_firm(tmp_path, SMALLEST.lines) as firm:
        part = await month_end(firm, SMALLEST)
    figures = part.figures
    assert figures["refused_calls"] == 0, "the cap on NetSuite's calls is kept"
    assert float(figures["calls_in_flight"]) <= 5.05
    assert float(figures["lines_per_second"]) > 0
    assert float(figures["floor_lines_per_second"]) > 0
    assert float(figures["one_by_one_lines_per_second"]) > 0
    assert "line" in text_table([part])
    assert '"to_one_by_one": {"at_least": 50.0}' in last_line("bench-billing", [part])
