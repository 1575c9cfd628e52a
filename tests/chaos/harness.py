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
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.lifecycle import exit_now
from tests.chaos.billing_play import MonthSubject
from tests.chaos.case import Result, run
from tests.chaos.cells import Cell, Fault, why_not
from tests.chaos.change_play import ChangeSubject
from tests.chaos.deal_play import Deals
from tests.chaos.feedback_play import FeedbackSubject
from tests.chaos.firm import ChaosFirm, Zygote
from tests.chaos.plays import NotProven, Subject
from tests.chaos.recording import FIRST_NUMBER, Recording

SAGAS: dict[str, Callable[[], Subject]] = {
    one.name: one for one in (Deals, MonthSubject, FeedbackSubject, ChangeSubject)
}
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
    subject: Subject
    """The saga."""
    on_result: Callable[[Result], None]
    recordings: dict[int, Recording] = field(default_factory=dict)

    async def record(self, seeds: Iterable[int]) -> None:
        """Record an undisturbed run and a full undo of every seed, each in a firm of its own."""
        limit = asyncio.Semaphore(self.lanes)

        async def one(seed: int) -> None:
            folder = self.work / f"recording-{seed}"
            async with limit, self.subject.firm(folder, self.zygote, slots=PHASES) as firm:
                self.recordings[seed] = await self.subject.record(firm, seed)

        wanted = list(seeds)
        async with asyncio.TaskGroup() as group:
            for seed in wanted:
                group.create_task(one(seed))
        self.recordings = {seed: self.recordings[seed] for seed in sorted(self.recordings)}

    async def run(self, cells: Sequence[Cell]) -> None:
        """Run all cases; every lane is a firm of its own."""
        waiting = list(reversed(cells))
        await asyncio.gather(*(self._lane(number, waiting) for number in range(min(self.lanes, len(cells)))))

    async def _lane(self, lane: int, waiting: list[Cell]) -> None:
        generation = 0
        while waiting:
            generation += 1
            async with self.subject.firm(self.work / f"lane-{lane}.{generation}", self.zygote) as one:
                clean, number = True, FIRST_NUMBER + 10
                while waiting and clean and number < FIRST_NUMBER + 10 + PER_FIRM * TRIES:
                    cell = waiting.pop()
                    try:
                        result = await self.case(one, cell, number)
                    except Exception as error:
                        # It proves nothing, and the other cases are none the worse for it.
                        trace = traceback.format_exc()
                        result = Result(cell, "broken", [f"{type(error).__name__}: {error}", trace])
                    number += TRIES
                    self.on_result(result)
                    # What a failed case left behind must not be held against the next.
                    clean = result.passed

    async def case(self, one: ChaosFirm, cell: Cell, number: int) -> Result:
        """Run one case in a firm, again when its moment was missed; takes ``TRIES`` numbers."""
        missed, recording = "", self.recordings[cell.seed]
        for attempt in range(TRIES):
            play = self.subject.play(one, recording, cell, number + attempt)
            try:
                result = await run(play, recording, cell)
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
    return "\n".join(lines)


def whole(subject: Subject, cells: Sequence[Cell]) -> None:
    """Make sure that the table has every step that the saga is known to have.

    Raises:
        RuntimeError: a step was in no recording.
    """
    by_seed: dict[int, set[str]] = defaultdict(set)
    for cell in cells:
        by_seed[cell.seed // subject.variants].add(cell.step)
    for seed, steps in by_seed.items():
        if lost := [name for name in subject.must if not any(step.startswith(name) for step in steps)]:
            raise RuntimeError(f"seed {seed} has no case for {', '.join(lost)}: no recording has the step")


def reasons(recordings: Iterable[Recording], cells: Iterable[Cell]) -> tuple[int, str]:
    """How many pairs of step and fault of the recordings have no case, and why: the table's dashes.

    Raises:
        RuntimeError: a pair has neither a case nor a reason against it.
    """
    there = {(cell.step, cell.fault) for cell in cells}
    found: dict[str, dict[str, dict[str, None]]] = {}
    pairs = {
        (step.id, fault): why_not(step, fault, one)
        for one in recordings
        for step in one.steps
        for fault in Fault
    }
    dashes = {pair: why for pair, why in pairs.items() if pair not in there}
    if bare := [f"{step}: {fault.value}" for (step, fault), why in dashes.items() if why is None]:
        raise RuntimeError(f"neither a case nor a reason against it: {bare}")
    for (step, fault), why in dashes.items():
        assert why is not None
        found.setdefault(why, {}).setdefault(step, {})[fault.value] = None
    lines = ["Dashes, and why:"]
    for why, steps in found.items():
        lines.append(f"- {why}:")
        by_faults: dict[str, list[str]] = {}
        for step, faults in steps.items():
            by_faults.setdefault("; ".join(faults), []).append(step)
        lines += [f"    {', '.join(names)} x {{{faults}}}" for faults, names in by_faults.items()]
    return len(dashes), "\n".join(lines)


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
        runner = Chaos(
            HOME / "work" / f"{saga}-{shard[0] + 1}.{shard[1]}", lanes, zygote, SAGAS[saga](), lambda _: None
        )
        recorded = range(seeds * runner.subject.variants)
        await runner.record(recorded)
        cells = [cell for seed in recorded for cell in runner.subject.cells(seed, runner.recordings[seed])]
        whole(runner.subject, cells)
        mine = cells[shard[0] :: shard[1]]
        done = {key for key, row in results_of(path).items() if row["passed"]}
        todo = [cell for cell in mine if cell.key not in done]
        steps = {seed: len(runner.recordings[seed].steps) for seed in recorded}
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
    dashes, why = reasons(runner.recordings.values(), cells)
    print(why)
    return report(
        "chaos",
        rows,
        len(mine),
        time.monotonic() - began,
        saga=saga,
        seeds=seeds,
        all_cells=len(cells),
        dashes=dashes,
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
