"""``make chaos``: every step x every fault x every seed of a saga, judged from the vendors' own records.

Results are appended to ``.trueup/chaos/<saga>.jsonl``, so that a run can be continued and split into shards.
The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.local.deals import Deal
from runtime.lifecycle import exit_now
from tests.chaos.case import NotProven, Result, run
from tests.chaos.cells import Cell, Fault, cells_of
from tests.chaos.deals import SEEDS, copy
from tests.chaos.firm import ChaosFirm, Zygote, firm
from tests.chaos.recording import FIRST_NUMBER, Recording, record

SAGAS = ("opportunity-to-project",)
HOME = Path(".trueup/chaos")
PER_FIRM = 40
"""Cases until a firm is replaced by a fresh one: its vendors get slow as they fill."""
TRIES = 4
"""How often a case whose moment was missed is run again before it counts as missing."""
PHASES = {"netsuite-emea": 1, "kantata-main": 1}
"""Worker slots while recording, so that a system's calls belong to one step at a time."""


@dataclass
class Chaos:
    """Runs cases on several firms at once."""

    work: Path
    lanes: int
    zygote: Zygote
    patterns: Sequence[Deal]
    """The deal of every seed."""
    on_result: Callable[[Result], None]
    recordings: dict[int, Recording] = field(default_factory=dict)

    async def record(self, seeds: Iterable[int]) -> None:
        """Record an undisturbed run and a full undo of every seed's deal."""
        for seed in seeds:
            async with firm(self.work / f"recording-{seed}", self.zygote, slots=PHASES) as one:
                self.recordings[seed] = await record(one, self.patterns[seed])

    async def run(self, cells: Sequence[Cell]) -> None:
        """Run all cases; every lane is a firm of its own."""
        waiting = list(reversed(cells))
        await asyncio.gather(*(self._lane(number, waiting) for number in range(min(self.lanes, len(cells)))))

    async def _lane(self, lane: int, waiting: list[Cell]) -> None:
        generation = 0
        while waiting:
            generation += 1
            async with firm(self.work / f"lane-{lane}.{generation}", self.zygote) as one:
                clean, number = True, FIRST_NUMBER + 10
                while waiting and clean and number < FIRST_NUMBER + 10 + PER_FIRM * TRIES:
                    cell = waiting.pop()
                    result = await self.case(one, cell, number)
                    number += TRIES
                    self.on_result(result)
                    # What a failed case left behind must not be held against the next.
                    clean = result.passed

    async def case(self, one: ChaosFirm, cell: Cell, number: int) -> Result:
        """Run one case in a firm, again when its moment was missed; takes ``TRIES`` deal numbers."""
        missed = ""
        for attempt in range(TRIES):
            deal = copy(self.patterns[cell.seed], number + attempt)
            try:
                result = await run(one, self.recordings[cell.seed], cell, deal)
            except NotProven as reason:
                missed = str(reason)
                continue
            result.tries = attempt + 1
            return result
        return Result(cell, "not proven", [f"missed {TRIES} times: {missed}"], tries=TRIES)


# --- the run ---------------------------------------------------------------------------------------------


def results_of(path: Path) -> dict[str, dict[str, Any]]:
    """Earlier results by case; the last one counts."""
    if not path.exists():
        return {}
    return {row["key"]: row for row in map(json.loads, path.read_text().splitlines())}


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Steps down, faults across: passed/all; a dash where a fault makes no sense for a step."""
    counts: dict[tuple[str, str], Counter[bool]] = defaultdict(Counter)
    order: dict[str, None] = {}
    for row in rows:
        order.setdefault(row["step"])
        counts[row["step"], row["fault"]][row["passed"]] += 1
    faults = [fault.value for fault in Fault]
    wide = max(len(step) for step in order) + 1 if order else 10
    lines = [" " * wide + " ".join(f"{name.replace(' ', '/'):>9.9}" for name in faults)]
    for step in order:
        marks = []
        for name in faults:
            count = counts.get((step, name))
            marks.append("-" if count is None else f"{count[True]}/{count.total()}")
        lines.append(f"{step:<{wide}}" + " ".join(f"{mark:>9}" for mark in marks))
    lines.append(
        "A dash: the fault makes no sense there. Steps without writes get errors, kills and cancels on their "
        "reads; steps without vendor calls (rules, ledger, HR file) kills and cancels; only what is built "
        "has an undo."
    )
    return "\n".join(lines)


def report(target: str, rows: Sequence[dict[str, Any]], cells: int, seconds: float, **more: Any) -> str:
    """The last line: figures, goals, and whether they are met."""
    failed = [row for row in rows if not row["passed"]]
    figures = {
        "cells": cells,
        "run": len(rows),
        "missing": cells - len(rows),
        "passed": len(rows) - len(failed),
        "failed": len(failed),
        "duplicates": sum(row["duplicates"] for row in rows),
        "orphans": sum(row["orphans"] for row in rows),
        "seconds": round(seconds),
        **more,
    }
    goals = {"missing": 0, "failed": 0, "duplicates": 0, "orphans": 0}
    met = all(figures[name] == goal for name, goal in goals.items())
    return json.dumps({"target": target, "figures": figures, "goals": goals, "met": met}, ensure_ascii=False)


class Progress:
    """Appends every result and says what failed."""

    def __init__(self, path: Path, todo: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.todo, self.done = path, todo, 0

    def __call__(self, result: Result) -> None:
        """Keep one result."""
        self.done += 1
        with self.path.open("a") as out:
            out.write(json.dumps(result.dump(), ensure_ascii=False) + "\n")
        if not result.passed:
            print(f"FAILED {result.cell.key}: {'; '.join(result.problems[:3])}", file=sys.stderr)
        elif self.done % 25 == 0:
            print(f"{self.done}/{self.todo}", file=sys.stderr)


async def chaos(saga: str, *, seeds: int, shard: tuple[int, int], lanes: int, again: bool) -> str:
    """Run what is missing of a saga's table and say how it stands."""
    path = HOME / f"{saga}.jsonl"
    if again:
        path.unlink(missing_ok=True)
    began, zygote = time.monotonic(), Zygote()
    try:
        patterns = [SEEDS[seed % len(SEEDS)] for seed in range(seeds)]
        runner = Chaos(HOME / "work", lanes, zygote, patterns, lambda _: None)
        await runner.record(range(seeds))
        cells = [cell for seed in range(seeds) for cell in cells_of(seed, runner.recordings[seed])]
        mine = cells[shard[0] :: shard[1]]
        done = {key for key, row in results_of(path).items() if row["passed"]}
        todo = [cell for cell in mine if cell.key not in done]
        steps = {seed: len(runner.recordings[seed].steps) for seed in range(seeds)}
        print(
            f"{len(cells)} cells = steps {steps} x faults x {seeds} seed(s); {len(todo)} to run here",
            flush=True,
        )
        runner.on_result = Progress(path, len(todo))
        await runner.run(todo)
    finally:
        zygote.stop()
    keys = {cell.key for cell in mine}
    rows = [row for key, row in results_of(path).items() if key in keys]
    print(table(rows))
    return report(
        "chaos", rows, len(mine), time.monotonic() - began, saga=saga, seeds=seeds, all_cells=len(cells)
    )


def shard_of(text: str) -> tuple[int, int]:
    """``2/5``, counted from one, as (1, 5)."""
    number, _, of = text.partition("/")
    first, all_ = int(number) - 1, int(of)
    if not 0 <= first < all_:
        raise argparse.ArgumentTypeError(f"{text!r}: a shard is for example 1/4, up to 4/4")
    return first, all_


def main() -> None:
    """Entry point of ``make chaos``; never returns."""
    parser = argparse.ArgumentParser(prog="tests.chaos.harness", description=__doc__)
    parser.add_argument("saga", choices=SAGAS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shard", type=shard_of, default=(0, 1), metavar="I/N")
    parser.add_argument("--lanes", type=int, default=max(2, (os.cpu_count() or 2) + 1))
    parser.add_argument("--again", action="store_true", help="forget earlier results")
    given = parser.parse_args()
    # A stopped run takes its servers down as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    last = asyncio.run(
        chaos(given.saga, seeds=given.seeds, shard=given.shard, lanes=given.lanes, again=given.again)
    )
    print(last, flush=True)
    exit_now(0)


if __name__ == "__main__":
    main()
