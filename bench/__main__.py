"""``make bench`` (``-billing``, ``-feedback``): measure, print the table and, last, one JSON object."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench import billing, feedback
from bench.billing_firm import billing_firm
from bench.firm import BenchFirm, bench_firm
from bench.kept import RESULTS, keep, places
from bench.kernel import kernel_cost
from bench.kill import ROLES, killed
from bench.latency import slow_vendors
from bench.machine import busy, shape
from bench.result import Part, last_line, text_table
from bench.server import profiles
from runtime.lifecycle import exit_now

BILLING, FEEDBACK = "billing", "feedback"
NAMED = (BILLING, FEEDBACK)
"""Other sagas' measurements, long ones: measured only when they are named."""
Measure = Callable[[Path], Awaitable[Part]]


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    latency_rounds: int
    kernel_rounds: int
    kernel_deals: int
    server_rounds: int
    killed_deals: int
    billing: billing.Size
    feedback: feedback.Size


FULL = Size(
    9,
    kernel_rounds=10,
    kernel_deals=10,
    server_rounds=5,
    killed_deals=200,
    billing=billing.FULL,
    feedback=feedback.FULL,
)
SHORT = Size(
    3,
    kernel_rounds=2,
    kernel_deals=8,
    server_rounds=2,
    killed_deals=20,
    billing=billing.SHORT,
    feedback=feedback.SHORT,
)


def measures(size: Size) -> dict[str, Measure]:
    """The measurements by name."""

    async def latency(folder: Path) -> Part:
        async with bench_firm(folder) as firm:
            return await slow_vendors(firm, size.latency_rounds)

    async def kernel(folder: Path) -> Part:
        async with bench_firm(folder) as firm:
            return await kernel_cost(firm, size.kernel_rounds, size.kernel_deals)

    async def server(folder: Path) -> Part:
        return await profiles(folder, size.server_rounds)

    async def kill(folder: Path) -> Part:
        async with bench_firm(folder, ROLES) as firm:
            return await killed(firm, size.killed_deals)

    async def month_end(folder: Path) -> Part:
        async with billing_firm(folder, size.billing.lines) as firm:
            return await billing.month_end(firm, size.billing)

    async def shown(folder: Path) -> Part:
        firm = BenchFirm(folder)
        try:
            return await feedback.soon_shown(await firm.open(), size.feedback)
        finally:
            await firm.close()

    return {
        "latency": latency,
        "kernel": kernel,
        "server": server,
        "kill": kill,
        BILLING: month_end,
        FEEDBACK: shown,
    }


async def bench(parts: dict[str, Measure], work: Path) -> list[Part]:
    """Run the measurements one after another; nothing else may run beside them."""
    found = []
    for name, measure in parts.items():
        began = time.monotonic()
        print(f"{name} ...", file=sys.stderr, flush=True)
        machine = shape()
        if busy(machine):
            print(f"The machine is busy (load {machine['load']}): times will be too long.", file=sys.stderr)
        part = await measure(work / name)
        part.machine = machine
        found.append(part)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Entry point; never returns."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--keep", action="store_true", help=f"write what was found to {RESULTS.name}")
    parser.add_argument("--short", action="store_true", help="fewer rounds: a look, not a measurement")
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help="latency, kernel, server, kill (all four by default), billing, feedback",
    )
    given = parser.parse_args()
    known = measures(SHORT if given.short else FULL)
    if unknown := set(given.parts) - set(known):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    wanted = given.parts or [name for name in known if name not in NAMED]
    chosen = {name: known[name] for name in known if name in wanted}
    began, work = time.monotonic(), Path(tempfile.mkdtemp(prefix="trueup-bench-"))
    try:
        parts = asyncio.run(bench(chosen, work))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if given.keep:
        keep(parts)
    print("\n".join(places(parts)))
    print()
    print(text_table(parts))
    print()
    alone = wanted[0] if len(wanted) == 1 and wanted[0] in NAMED else ""
    target = "-".join(word for word in ("bench", alone, "short" if given.short else "") if word)
    seconds = round(time.monotonic() - began)
    print(last_line(target, parts, seconds=seconds, **parts[0].machine), flush=True)
    exit_now(0)


if __name__ == "__main__":
    main()
