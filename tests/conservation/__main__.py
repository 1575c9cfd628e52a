"""``make conservation``: generated months until there are enough of them or the time is up.

The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from runtime.lifecycle import exit_now
from tests.chaos.firm import Zygote
from tests.conservation.drive import books
from tests.conservation.exposure import exposure
from tests.conservation.generate import KINDS, Generator
from tests.conservation.months import Result, two_months

ROUND = 3 * len(KINDS)
"""Contracts at a time: three of each kind."""
NAMES = [kind.__name__ for kind in KINDS]
ROUNDS_PER_FIRM = 4
"""A new firm after so many: the vendors' records are read in full after every month."""


async def run(
    work: Path, months: int, seed: int, seconds: float, disturbed: bool, only: Collection[str] = ()
) -> dict[str, Any]:
    """Rounds of contracts on one firm after another.

    Args:
        work: for the firms' files.
        months: contract-months to judge.
        seed: of the first round; each has its own.
        seconds: no new round after that.
        disturbed: two rounds of three have faults at the vendors.
        only: names of kinds of contracts; all when empty.

    Returns:
        Figures.
    """
    kinds_of = [kind for kind in KINDS if not only or kind.__name__ in only]
    figures: Counter[str] = Counter()
    by: dict[str, Counter[str]] = {name: Counter() for name in BY}
    longest, began, rounds = 0.0, time.monotonic(), 0
    zygote = Zygote()
    try:
        while figures["cases"] < months and time.monotonic() < began + seconds:
            sizes = _sizes((months - figures["cases"] + 1) // 2)
            rounds_of = [
                Generator(seed + rounds + n, 1 + (rounds + n) * ROUND).of_kinds(
                    itertools.islice(itertools.cycle(kinds_of), size)
                )
                for n, size in enumerate(sizes)
            ]
            everybody = [case for cases in rounds_of for case in cases]
            folder = work / f"firm-{rounds}"
            async with books(folder, zygote, everybody) as one:
                for cases in rounds_of:
                    if rounds and time.monotonic() > began + seconds:
                        break
                    rounds += 1
                    result = await two_months(one, cases, disturbed=disturbed and rounds % 3 > 0)
                    _add(figures, by, result)
                    _say(rounds, result)
                seen = exposure(await one.writes("netsuite"), await one.approvals())
                figures["lines_sent"] += seen.sent
                figures["lines_exposed"] += len(seen.exposed)
                figures["violations"] += len(seen.violations)
                longest = max(longest, seen.longest)
                for words in seen.violations:
                    print(f"    {words}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        zygote.stop()
    return {
        "cases": figures["cases"],
        **{name: figures[name] for name in COUNTED},
        **{name: dict(sorted(counts.items())) for name, counts in by.items()},
        "lines_sent": figures["lines_sent"],
        "lines_exposed": figures["lines_exposed"],
        "longest_exposure_seconds": round(longest, 3),
        "replay_writes": figures["replay_writes"],
        "violations": figures["violations"],
        "seconds": round(time.monotonic() - began),
    }


def _sizes(contracts: int) -> list[int]:
    """Contracts of the rounds of one firm."""
    full, rest = divmod(contracts, ROUND)
    return ([ROUND] * full + ([rest] if rest else []))[:ROUNDS_PER_FIRM]


BY = ("kinds", "methods", "currencies", "faults")
COUNTED = ("contracts", "revisions", "postings", "invoices", "invoice_lines", "credits")


def _add(figures: Counter[str], by: dict[str, Counter[str]], result: Result) -> None:
    last = result.last
    figures["cases"] += result.cases
    figures["contracts"] += result.contracts
    figures["revisions"] += last.revisions
    figures["postings"] += last.postings
    figures["invoices"] += last.invoices
    figures["invoice_lines"] += last.lines
    figures["credits"] += last.credits
    figures["violations"] += len(result.findings)
    figures["replay_writes"] += len(result.replayed)
    for name, counts in by.items():
        counts += getattr(result, name)


def _say(number: int, result: Result) -> None:
    last = result.last
    faults = f", {sum(result.faults.values())} faults" if result.faults else ""
    print(
        f"round {number}: {result.cases} cases of {result.contracts} contracts, {last.postings:,} postings, "
        f"{last.invoices} invoices, {last.credits} credits{faults}: {len(result.findings)} violations "
        f"({', '.join(f'{name} {took} s' for name, took in result.seconds.items())})",
        flush=True,
    )
    for words in sorted(set(result.findings)):
        print(f"    {words}", flush=True)


def main() -> None:
    """Entry point; never returns."""
    parser = argparse.ArgumentParser(prog="tests.conservation", description=__doc__)
    parser.add_argument("--months", type=int, default=840, help="contract-months to judge")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3_600, help="no new round after that")
    parser.add_argument("--calm", action="store_true", help="without faults at the vendors")
    parser.add_argument("--only", default="", help=f"kinds of contracts, with commas: {', '.join(NAMES)}")
    given = parser.parse_args()
    only = [name for name in given.only.split(",") if name]
    if unknown := set(only) - set(NAMES):
        parser.error(f"no such kind: {', '.join(sorted(unknown))}")
    work = Path(tempfile.mkdtemp(prefix="trueup-conservation-"))
    figures = asyncio.run(run(work, given.months, given.seed, given.seconds, not given.calm, only))
    shutil.rmtree(work, ignore_errors=True)
    goals = {"violations": 0, "replay_writes": 0}
    met = all(figures[name] == goal for name, goal in goals.items())
    last = {"target": "conservation", "figures": figures, "goals": goals, "met": met}
    print(json.dumps(last, ensure_ascii=False), flush=True)
    exit_now(0)


if __name__ == "__main__":
    main()
