"""``make chaos-stateful``: generated scenarios in several firms at once, and which invariants did not hold.

Some run against everything real (``tests.chaos.machine``), more of them, faster, against the effect executor
alone (``tests.chaos.executor``). One that fails is printed as a line of JSON, as ``tests/chaos/pinned.json``
and ``pinned_executor.json`` have them. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cli.local.stack import ROOT
from runtime.lifecycle import exit_now
from tests.chaos import executor, machine
from tests.chaos.machine import Lane
from tests.chaos.world import Move, World, line

HOME = Path(".trueup/chaos")
REAL, EXECUTOR = "real", "executor"


class Told:
    """One line a scenario, as JSON."""

    def __init__(self, kind: str) -> None:
        self.kind, self.began = kind, time.monotonic()

    def __call__(
        self, moves: Sequence[Move], problems: list[str], unplayed: bool, ends: Counter[str]
    ) -> None:
        """Tell what came of a scenario."""
        row = {
            "kind": self.kind,
            "moves": [name for name, _ in moves],
            "problems": problems,
            "unplayed": unplayed,
            "scenario": line(moves) if problems else None,
            "ends": dict(ends),
        }
        ends.clear()
        print(json.dumps(row, ensure_ascii=False), flush=True)


def real_lane(folder: Path, examples: int, seed: int) -> None:
    """A share of the scenarios against everything real."""
    one, tell = Lane(folder), Told(REAL)

    def on_end(world: World, problems: list[str]) -> None:
        if world.unplayed:
            # The machine, not the product: once more, in a firm of its own.
            problems, world = one.replay(world.trace)
        tell(world.trace, problems, world.unplayed, one.ends)

    try:
        machine.generate(one, examples, on_end=on_end, seeded=seed)
    finally:
        one.close()


def executor_lane(folder: Path, examples: int, seed: int) -> None:
    """A share of the scenarios for the effect executor alone."""
    one, tell = executor.Benches(folder), Told(EXECUTOR)

    def on_end(scenario: Sequence[Move], problems: list[str]) -> None:
        tell(scenario, problems, False, one.ends)

    try:
        executor.generate(one, examples, on_end=on_end, seeded=seed)
    finally:
        one.close()


LANES = {REAL: real_lane, EXECUTOR: executor_lane}


async def follow(command: list[str], rows: list[dict[str, Any]], all_: int) -> int:
    """Run one lane and take its rows as they come; answers its exit code."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=subprocess.PIPE, limit=2**24, env=os.environ
    )
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            row = json.loads(line)
            rows.append(row)
            if row["problems"]:
                print(*(f"VIOLATED {one}" for one in row["problems"]), sep="\n")
                print(f"  {row['scenario']}", flush=True)
            elif len(rows) % 10 == 0:
                print(f"{len(rows)}/{all_}", file=sys.stderr, flush=True)
        return await process.wait()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            await process.wait()


async def stateful(examples: int, per_example: int, lanes: int, seed: int) -> str:
    """Generate and run; answers the last line."""
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    shares = [(REAL, examples // lanes + (place < examples % lanes)) for place in range(lanes)]
    shares.append((EXECUTOR, examples * per_example))
    with tempfile.TemporaryDirectory(prefix="trueup-stateful-", ignore_cleanup_errors=True) as work:
        alone = [sys.executable, "-m", "tests.chaos.stateful"]
        commands = [
            [
                *alone,
                "--lane",
                f"{kind}:{work}/{place}",
                "--examples",
                str(share),
                "--seed",
                str(seed + place),
            ]
            for place, (kind, share) in enumerate(shares)
            if share
        ]
        all_ = examples * (1 + per_example)
        codes = await asyncio.gather(*(follow(one, rows, all_) for one in commands))
    keep([row["scenario"] for row in rows if row["problems"]])
    figures = {
        "real": _figures([row for row in rows if row["kind"] == REAL]),
        "executor": _figures([row for row in rows if row["kind"] == EXECUTOR]),
    }
    totals: dict[str, Any] = {
        name: sum(part[name] for part in figures.values())
        for name in ("scenarios", "steps", "sagas", "violations", "unplayed")
    }
    totals["lanes_that_broke"] = sum(code != 0 for code in codes)
    goals = {"violations": 0, "unplayed": 0, "lanes_that_broke": 0}
    met = all(totals[name] == goal for name, goal in goals.items())
    totals |= {**figures, "seed": seed, "seconds": round(time.monotonic() - began)}
    last = {"target": "chaos-stateful", "figures": totals, "goals": goals, "met": met}
    return json.dumps(last, ensure_ascii=False)


def _figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    moves = Counter(name for row in rows for name in row["moves"])
    ends: Counter[str] = Counter()
    for row in rows:
        ends.update(row["ends"])
    return {
        "scenarios": len(rows),
        "steps": moves.total(),
        "sagas": ends.total(),
        "ends": dict(ends),
        "moves": dict(moves.most_common()),
        "violations": sum(len(row["problems"]) for row in rows if not row["unplayed"]),
        "unplayed": sum(row["unplayed"] for row in rows),
    }


def keep(scenarios: list[str]) -> None:
    """Append what failed to a file, so that it can be pinned later."""
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "stateful-failed.jsonl").open("a") as out:
        out.writelines(f"{one}\n" for one in scenarios)


def main() -> None:
    """Entry point; never returns."""
    parser = argparse.ArgumentParser(prog="tests.chaos.stateful", description=__doc__)
    parser.add_argument("--examples", type=int, default=200, help="scenarios against everything real")
    parser.add_argument("--per-example", type=int, default=2, help="for each: so many for the executor alone")
    parser.add_argument("--lanes", type=int, default=max(2, (os.cpu_count() or 2) + 1))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--lane", help=argparse.SUPPRESS)
    given = parser.parse_args()
    # A stopped run takes its servers down as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if given.lane:
        kind, _, folder = given.lane.partition(":")
        LANES[kind](Path(folder), given.examples, given.seed)
    else:
        work = stateful(given.examples, given.per_example, given.lanes, given.seed)
        print(asyncio.run(work), flush=True)
    exit_now(0)


if __name__ == "__main__":
    main()
