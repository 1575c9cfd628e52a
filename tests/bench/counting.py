"""How many vendor calls one plain deal makes, step by step; the committed numbers and how to record them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.calls import VendorCall
from bench.chain import Activity, activities
from bench.firm import BenchFirm

TABLE = Path(__file__).parent / "calls_per_deal.json"
RECORD = "python -m tests.bench.record"
Numbers = dict[str, dict[str, int]]
"""Activity -> how often it is called, how many vendor calls of it read and how many write."""


def numbers(steps: Sequence[Activity], calls: Iterable[VendorCall]) -> Numbers:
    """Calls by activity; signing in apart, which a worker does once an hour."""
    names = {step.id: step.name for step in steps}
    found: Numbers = {
        name: {"times": times, "reads": 0, "writes": 0}
        for name, times in sorted(Counter(step.name for step in steps).items())
    }
    for call in calls:
        if not call.signs_in:
            found[names[call.activity]]["writes" if call.writes else "reads"] += 1
    return found


async def one_deal(firm: BenchFirm) -> Numbers:
    """Carry one plain deal to its end and count."""
    handle = (await firm.run(await firm.win())).handle
    steps = activities((await handle.fetch_history()).events)
    return numbers(steps, await firm.calls(handle.id))


def committed() -> Numbers:
    """The numbers under version control."""
    found: Numbers = json.loads(TABLE.read_text())
    return found


def dump(found: Any) -> str:
    """One activity a line."""
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in found.items())
    return f"{{\n{rows}\n}}\n"
