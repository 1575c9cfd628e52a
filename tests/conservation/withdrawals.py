"""``make billing-exposure``: approvals are withdrawn one after another while their lines are being posted.

Delivery's own history says since when a line's approval had been gone when the ERP accepted it (rule 27); the
next run takes back what was posted and is no longer approved. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.lifecycle import exit_now
from tests.chaos.firm import Zygote
from tests.conservation.drive import Books, books
from tests.conservation.expect import Expectation
from tests.conservation.exposure import LIMIT, Exposure, exposure
from tests.conservation.generate import FIRST, Case, Event
from tests.conservation.kills import cases, one_by_one
from tests.conservation.months import judged
from tests.conservation.vendor import REVERSES, Row

SEED = 23
SHARE = 4
"""One line in so many loses its approval."""
PAUSE = 0.05
"""Seconds between two withdrawals, about, from the first batch on."""
LATENCY_MS = 100
BULK = {"method": "POST", "path": "/record/v1/timeBill"}
FAULTS: list[dict[str, Any]] = [
    {**BULK, "kind": "drop_before"},
    {**BULK, "kind": "slow_commit", "skip": 1, "delay_ms": 2_500},
    {**BULK, "kind": "rate_limit", "skip": 2, "times": 2, "retry_after": 2},
    {**BULK, "kind": "drop_after", "skip": 3},
    {**BULK, "kind": "error_before", "skip": 4, "status": 503},
    {**BULK, "kind": "delay", "skip": 5, "delay_ms": 1_000},
]
"""What makes a batch arrive late, or twice."""


@dataclass
class Outcome:
    """What was withdrawn, and what came of it."""

    lines: int
    withdrawn: int = 0
    dropped: int = 0
    """Withdrawn in time: never sent."""
    reversed: int = 0
    """Sent before, and taken back by the next run."""
    exposure: Exposure = field(default_factory=Exposure)
    findings: list[str] = field(default_factory=list)
    replayed: int = 0
    """Writes of one more run: there must be none."""
    seconds: float = 0.0


async def withdraw_while_posting(
    folder: Path, zygote: Zygote, own: Sequence[Case], patience: float
) -> Outcome:
    """Post with withdrawals in flight, post again, bill; then judge.

    Args:
        folder: for the firm.
        zygote: makes the worker processes.
        own: contracts and their work.
        patience: seconds for each run.
    """
    began, lines = time.monotonic(), [(case, entry) for case in own for entry in case.work[0]]
    done = Outcome(len(lines))
    async with books(folder, zygote, own, one_by_one) as one:
        await one.seed(own)
        await one.book([(case, case.work[0]) for case in own])
        await one.firm.control("netsuite", "POST", "settings", {"latency_ms": LATENCY_MS})
        await one.firm.control("netsuite", "POST", "faults", FAULTS)
        chosen = random.Random(SEED).sample(lines, len(lines) // SHARE)
        posting = asyncio.create_task(one.post("while-withdrawing", patience))
        for case, entry in chosen:
            await _first_batch(one, posting)
            if posting.done():
                break
            await one.happen(case, Event("reject", str(entry.id)))
            done.withdrawn += 1
            await asyncio.sleep(PAUSE)
        await posting
        first = await one.writes("netsuite")
        await one.firm.no_faults()
        await one.post("afterwards", patience)
        expected = Expectation([case.terms for case in own])
        expected.collect(await one.delivered())
        await one.bill(FIRST, {}, patience)
        expected.bill(FIRST, {})
        writes = await one.writes("netsuite")
        await one.bill(FIRST, {}, patience)
        done.replayed = len(await one.writes("netsuite")) - len(writes)
        done.exposure = exposure(writes, await one.approvals())
        report = await judged(one, list(own), expected)
        done.findings = [*(str(finding) for finding in report.findings), *one.problems]
        done.dropped = done.lines - len(_postings(first))
        done.reversed = _taken_back(writes)
    done.seconds = round(time.monotonic() - began, 1)
    return done


async def _first_batch(one: Books, posting: asyncio.Task[Any]) -> None:
    """Wait until the ERP has been handed something, or never will be."""
    while True:
        if posting.done() or await one.firm.control("netsuite", "GET", "jobs"):
            return
        await asyncio.sleep(PAUSE)


def _taken_back(writes: Sequence[Row]) -> int:
    """Postings that were removed again, or that another one offsets."""
    removed = [row for row in writes if (row["operation"], row["type"]) == ("delete", "timeBill")]
    return len(removed) + len([row for row in _postings(writes) if row["body"].get(REVERSES)])


def _postings(writes: Sequence[Row]) -> list[Row]:
    return [row for row in writes if row["operation"] == "create" and row["type"] == "timeBill"]


async def run(work: Path, lines: int, patience: float) -> Outcome:
    """One firm, so many lines."""
    zygote = Zygote()
    try:
        return await withdraw_while_posting(work / "firm", zygote, cases(lines), patience)
    finally:
        zygote.stop()


def main() -> None:
    """Entry point; never returns."""
    parser = argparse.ArgumentParser(prog="tests.conservation.withdrawals", description=__doc__)
    parser.add_argument("--lines", type=int, default=2_000)
    parser.add_argument("--patience", type=float, default=1_200, help="seconds for each run")
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="trueup-withdrawals-"))
    done = asyncio.run(run(work, given.lines, given.patience))
    shutil.rmtree(work, ignore_errors=True)
    for words in [*done.findings, *done.exposure.violations][:40]:
        print(f"    {words}", flush=True)
    figures = {
        "lines": done.lines,
        "approvals_withdrawn_while_posting": done.withdrawn,
        "dropped_before_sending": done.dropped,
        "reversed_by_the_next_run": done.reversed,
        "lines_sent": done.exposure.sent,
        "lines_exposed": len(done.exposure.exposed),
        "longest_exposure_seconds": round(done.exposure.longest, 3),
        "violations": len(done.findings) + len(done.exposure.violations),
        "replay_writes": done.replayed,
        "seconds": done.seconds,
    }
    goals = {"longest_exposure_seconds": LIMIT, "violations": 0, "replay_writes": 0}
    met = all(float(figures[name]) <= goal for name, goal in goals.items()) and done.withdrawn > 0
    last = {"target": "billing-exposure", "figures": figures, "goals": goals, "met": met}
    print(json.dumps(last), flush=True)
    exit_now(0)


if __name__ == "__main__":
    main()
