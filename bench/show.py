"""``python -m bench.show``: one deal with slow vendors, call by call, with its critical path.

A ``*`` stands before every call of the critical path: what does not begin with one costs no time.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from bench.chain import activities, critical_path
from bench.firm import bench_firm
from bench.latency import SLOW
from runtime.lifecycle import exit_now

LONGEST = 120
"""Characters of a path that are shown."""


async def show(folder: Path, milliseconds: int) -> str:
    """The calls of one deal, step by step."""
    async with bench_firm(folder) as firm:
        await firm.latency(milliseconds)
        run = await firm.run(await firm.win())
        calls = await firm.calls(run.handle.id)
        steps = activities((await run.handle.fetch_history()).events)
    path = critical_path(steps, calls)
    start = min(call.began for call in calls)
    lines = [f"{run.seconds:.2f} s; critical path {path.seconds:.2f} s, {len(path.calls)} calls"]
    for step in steps:
        lines.append(f"{step.id:>3} {step.name}, after {', '.join(step.causes) or 'the start'}")
        for call in sorted((one for one in calls if one.activity == step.id), key=lambda one: one.began):
            mark = "*" if call in path.calls else " "
            lines.append(
                f"  {mark} {call.began - start:6.2f} +{call.seconds:.2f} {call.vendor} "
                f"{'write' if call.writes else 'read '} {call.method} {call.path[:LONGEST]}"
            )
    return "\n".join(lines)


def main() -> None:
    """Entry point; never returns."""
    parser = argparse.ArgumentParser(prog="python -m bench.show", description=__doc__)
    parser.add_argument("--latency", type=int, default=SLOW, help="milliseconds per vendor call")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trueup-bench-") as folder:
        print(asyncio.run(show(Path(folder), given.latency)), flush=True)
    exit_now(0)


if __name__ == "__main__":
    main()
