"""``make bench``: measure, print the table and, last, one JSON object."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.kernel import kernel_cost
from bench.kill import killed
from bench.latency import slow_vendors
from bench.machine import in_words, shape
from bench.result import Part, last_line, text_table
from bench.server import profiles
from runtime.lifecycle import exit_now

Measure = Callable[[Path], Awaitable[Part]]
FULL: dict[str, Measure] = {
    "latency": lambda folder: slow_vendors(folder, rounds=9),
    "kernel": lambda folder: kernel_cost(folder, rounds=10, deals=10),
    "server": lambda folder: profiles(folder, pairs=25, deals=7),
    "kill": lambda folder: killed(folder, deals=200),
}
SHORT: dict[str, Measure] = {
    "latency": lambda folder: slow_vendors(folder, rounds=3),
    "kernel": lambda folder: kernel_cost(folder, rounds=2, deals=8),
    "server": lambda folder: profiles(folder, pairs=7, deals=2),
    "kill": lambda folder: killed(folder, deals=20),
}


async def bench(parts: dict[str, Measure], work: Path) -> list[Part]:
    """Run the measurements one after another; nothing else may run beside them."""
    found = []
    for name, measure in parts.items():
        began = time.monotonic()
        print(f"{name} ...", file=sys.stderr, flush=True)
        found.append(await measure(work / name))
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Entry point; never returns."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer rounds: a look, not a measurement")
    parser.add_argument("parts", nargs="*", choices=[*FULL, []], help="which; all by default")
    given = parser.parse_args()
    known = SHORT if given.short else FULL
    chosen = {name: measure for name, measure in known.items() if not given.parts or name in given.parts}
    began, work = time.monotonic(), Path(tempfile.mkdtemp(prefix="trueup-bench-"))
    try:
        parts = asyncio.run(bench(chosen, work))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    machine, seconds = shape(), round(time.monotonic() - began)
    print(in_words(machine))
    print()
    print(text_table(parts))
    print()
    print(last_line("bench-short" if given.short else "bench", parts, seconds=seconds, **machine), flush=True)
    exit_now(0)


if __name__ == "__main__":
    main()
