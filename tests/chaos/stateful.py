"""``make chaos-stateful``: generated scenarios in several firms at once, and which invariants did not hold.

A scenario that fails is printed as one line of JSON, as ``tests/chaos/pinned.json`` has them. The last line
printed is one JSON object.
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
from pathlib import Path
from typing import Any

from cli.local.stack import ROOT
from runtime.lifecycle import exit_now
from tests.chaos.machine import Lane, generate
from tests.chaos.world import World, words

HOME = Path(".trueup/chaos")


def lane(folder: Path, examples: int, seed: int) -> None:
    """Run a share of the scenarios; one JSON object a line, one line a scenario."""
    one = Lane(folder)
    began = time.monotonic()

    def tell(world: World, problems: list[str]) -> None:
        nonlocal began
        row = {
            "moves": [name for name, _ in world.trace],
            "problems": problems,
            "scenario": words(world.trace) if problems else None,
            "seconds": round(time.monotonic() - began, 1),
            "ends": dict(one.ends),
        }
        one.ends.clear()
        began = time.monotonic()
        print(json.dumps(row, ensure_ascii=False), flush=True)

    try:
        generate(one, examples, on_end=tell, seeded=seed)
    finally:
        one.close()


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


async def stateful(examples: int, lanes: int, seed: int) -> str:
    """Generate and run; answers the last line."""
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="trueup-stateful-") as work:
        shares = [examples // lanes + (place < examples % lanes) for place in range(lanes)]
        alone = [sys.executable, "-m", "tests.chaos.stateful"]
        commands = [
            [*alone, "--lane", f"{work}/{place}", "--examples", str(share), "--seed", str(seed + place)]
            for place, share in enumerate(shares)
            if share
        ]
        codes = await asyncio.gather(*(follow(one, rows, examples) for one in commands))
    moves = Counter(name for row in rows for name in row["moves"])
    ends: Counter[str] = Counter()
    for row in rows:
        ends.update(row["ends"])
    for name, times in moves.most_common():
        print(f"  {name:<14} {times}")
    failed = [row for row in rows if row["problems"]]
    keep([row["scenario"] for row in failed])
    figures = {
        "scenarios": len(rows),
        "steps": moves.total(),
        "sagas": ends.total(),
        "ends": dict(ends),
        "violations": sum(len(row["problems"]) for row in rows),
        "failed_scenarios": len(failed),
        "lanes_that_broke": sum(code != 0 for code in codes),
        "seed": seed,
        "seconds": round(time.monotonic() - began),
    }
    goals = {"violations": 0, "lanes_that_broke": 0}
    met = all(figures[name] == goal for name, goal in goals.items())
    return json.dumps(
        {"target": "chaos-stateful", "figures": figures, "goals": goals, "met": met}, ensure_ascii=False
    )


def keep(scenarios: list[str]) -> None:
    """Append what failed to a file, so that it can be pinned later."""
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "stateful-failed.jsonl").open("a") as out:
        out.writelines(f"{one}\n" for one in scenarios)


def main() -> None:
    """Entry point; never returns."""
    parser = argparse.ArgumentParser(prog="tests.chaos.stateful", description=__doc__)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--lanes", type=int, default=max(2, (os.cpu_count() or 2) + 1))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--lane", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    # A stopped run takes its servers down as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if given.lane:
        lane(given.lane, given.examples, given.seed)
    else:
        print(asyncio.run(stateful(given.examples, given.lanes, given.seed)), flush=True)
    exit_now(0)


if __name__ == "__main__":
    main()
