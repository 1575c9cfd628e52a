"""``make chaos-smoke``: the demo's deals; every write's answer lost once, a worker killed in every step.

Zero duplicates and zero orphans, by the vendors' own records. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cli.local import deals
from runtime.lifecycle import exit_now
from tests.chaos.case import Result
from tests.chaos.cells import Cell, Fault, cell
from tests.chaos.deal_play import Deals
from tests.chaos.firm import Zygote
from tests.chaos.harness import Chaos, report
from tests.chaos.recording import Recording


def smoke_cells(seed: int, recording: Recording) -> Iterator[Cell]:
    """Every write's answer lost once; in every step one kill, before, during and after the commit in turn."""
    for step in recording.steps:
        for number in range(len(step.writes)):
            yield cell(seed, recording, step, Fault.LOST, turn=number, number=number)
    kills = (Fault.KILL_AFTER, Fault.KILL_LATE, Fault.KILL_BEFORE, Fault.KILL_ALL)
    for turn, step in enumerate(one for one in recording.steps if one.kind != "gate"):
        fault = kills[(seed + turn) % len(kills)] if step.writes else Fault.KILL_BEFORE
        yield cell(seed, recording, step, fault, turn=seed + turn)


async def smoke(work: Path, lanes: int) -> tuple[list[Cell], list[Result]]:
    """Run all cases over the demo's deals."""
    results: list[Result] = []

    def keep(result: Result) -> None:
        results.append(result)
        if len(results) % 25 == 0:
            print(f"{len(results)} done", file=sys.stderr, flush=True)
        if not result.passed:
            print(f"FAILED {result.cell.key}: {'; '.join(result.problems[:3])}", file=sys.stderr, flush=True)

    zygote = Zygote()
    try:
        runner = Chaos(work, lanes, zygote, Deals(deals.DEMO_DEALS), keep)
        await runner.record(range(len(deals.DEMO_DEALS)))
        cells = [one for seed, found in runner.recordings.items() for one in smoke_cells(seed, found)]
        print(f"{len(cells)} cells over {len(deals.DEMO_DEALS)} deals", flush=True)
        await runner.run(cells)
    finally:
        zygote.stop()
    return cells, results


def main() -> None:
    """Entry point; never returns."""
    parser = argparse.ArgumentParser(prog="tests.chaos.smoke", description=__doc__)
    parser.add_argument("--lanes", type=int, default=max(2, (os.cpu_count() or 2) + 1))
    given = parser.parse_args()
    began, work = time.monotonic(), Path(tempfile.mkdtemp(prefix="trueup-chaos-"))
    cells, results = asyncio.run(smoke(work, given.lanes))
    for seed, deal in enumerate(deals.DEMO_DEALS):
        mine = [one for one in results if one.cell.seed == seed]
        lost = [one for one in mine if one.cell.fault is Fault.LOST]
        counts = Counter(one.passed for one in mine)
        print(
            f"{deal.name:<36} {len(lost):>3} lost {len(mine) - len(lost):>3} kills {counts[False]:>3} failed"
        )
    rows = [one.dump() for one in results]
    kills = sum(one.cell.fault is not Fault.LOST for one in results)
    last = report(
        "chaos-smoke",
        rows,
        len(cells),
        time.monotonic() - began,
        answers_lost=len(results) - kills,
        kills=kills,
    )
    if all(one.passed for one in results):
        shutil.rmtree(work, ignore_errors=True)
    print(last, flush=True)
    exit_now(0)


if __name__ == "__main__":
    main()
