"""(e) A month's end: approved time posted in bulk against what NetSuite allows, and against a line at a time.

Lines per second are those of whole runs, from the request to start one to the answer that it is complete:
reading what was approved, checks, posting, read-back, marks on timesheets. The floor
(``bench.billing_floor``) makes the calls to NetSuite alone, at the same cap, before and after each run.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

from activities.contracts import SagaRef
from bench import cpu
from bench.billing_firm import CAP, ERP, PSA, BillingFirm, Posted
from bench.calls import VendorCall, parse
from bench.one_by_one import QUEUE, Lines, OneByOne
from bench.result import Goal, Part, Row
from bench.stats import paired, spread
from cli.local.stack import ROOT

SLOW = 300
"""Milliseconds that every call to NetSuite takes, beside the call itself."""
TO_FLOOR = 0.8
TO_ONE_BY_ONE = 50.0
EVENTS = 25.0
FLAT = 1.15
"""Peak memory of workers that post the large run against that of those that post the small run."""
WARM_UP = 200
AT_ONCE = 10
"""Activities at once of the baseline: more than NetSuite's calls, so that none of those is idle."""


@dataclass(frozen=True)
class Size:
    """How much is measured, in lines."""

    small: int
    large: int
    floor: int
    quick: int
    sample: int
    rounds: int
    slow: int = SLOW

    @property
    def lines(self) -> int:
        """All lines of all runs together."""
        return WARM_UP + self.small + self.large + self.rounds * (self.quick + self.sample)


FULL = Size(small=10_000, large=100_000, floor=10_000, quick=10_000, sample=200, rounds=3)
SHORT = Size(small=1_000, large=5_000, floor=2_000, quick=2_000, sample=50, rounds=1)


@dataclass(frozen=True)
class Run:
    """One run of posting, measured."""

    lines: int
    seconds: float
    events: int
    posting_seconds: float
    """From the first list call that NetSuite got to the last answer that it gave."""
    calls: int
    in_flight: float
    """Calls that NetSuite had on average while lines were posted."""
    refused: int
    """Answers of NetSuite that were no success, for example beyond its cap."""
    peak_mb: float
    """Largest resident memory of the workers since they started, together."""
    worker_ms: float
    """The workers' processor time per line."""
    others: float
    """Share of the machine's processor time that neither the firm nor this program used."""

    @property
    def rate(self) -> float:
        """Lines per second."""
        return self.lines / self.seconds


@dataclass
class Found:
    """Everything measured."""

    size: Size
    small: Run
    large: Run
    floors: list[float]
    """Lines per second, in the order in which they were measured: before, between, after."""
    quick: list[float] = field(default_factory=list)
    one_by_one: list[float] = field(default_factory=list)
    quick_ms: list[float] = field(default_factory=list)
    """The workers' milliseconds of processor time per line."""
    ledger: str = "sqlite"


async def month_end(firm: BillingFirm, size: Size) -> Part:
    """Everything about bulk posting.

    Args:
        firm: with a worker, and people for ``size.lines``.
        size: how much.

    Raises:
        RuntimeError: a run did not become complete, or NetSuite does not hold each line once.
    """
    await firm.slow(0)
    await firm.book(WARM_UP)
    await firm.post()
    like = await _samples(firm, size.floor)
    await firm.slow(size.slow)
    floors = [await _floor(firm, like)]
    await firm.new_workers()
    small = await measured(firm, size.small)
    floors.append(await _floor(firm, like))
    await firm.new_workers()
    large = await measured(firm, size.large)
    floors.append(await _floor(firm, like))
    found = Found(size, small, large, floors, ledger=firm.ledger.database)
    await firm.slow(0)
    for number in range(size.rounds):
        order = (_quick, _one_by_one)
        for side in order if number % 2 == 0 else reversed(order):
            await side(firm, found)
    await _each_once(firm, size.lines)
    return report(found)


async def measured(firm: BillingFirm, lines: int) -> Run:
    """Book lines, post them, and say how that went."""
    await firm.book(lines)
    before, machine = _used(firm), cpu.machine()
    worker_before, began = _workers_used(firm), time.monotonic()
    print(f"  {lines:,} lines ...", file=sys.stderr, flush=True)
    posted = await firm.post()
    elapsed = time.monotonic() - began
    worker_ms = (_workers_used(firm) - worker_before) * 1000 / lines
    others = (cpu.machine() - machine) - (_used(firm) - before)
    calls = [call for call in await _calls(firm, "netsuite") if call.began >= posted.began]
    first = min(call.began for call in calls if call.writes and "timeBill" in call.path)
    mine = [call for call in calls if call.began >= first and call.ended is not None]
    last = max(call.ended or 0 for call in mine)
    _complete(posted, lines)
    return Run(
        lines=lines,
        seconds=posted.seconds,
        events=posted.events,
        posting_seconds=last - first,
        calls=len(calls),
        in_flight=sum(call.seconds for call in mine) / (last - first),
        refused=sum(not call.status.startswith("2") for call in calls),
        peak_mb=sum(map(_peak_mb, firm.worker_pids)),
        worker_ms=worker_ms,
        others=max(0.0, others) / (elapsed * (os.cpu_count() or 1)),
    )


async def _quick(firm: BillingFirm, found: Found) -> None:
    await firm.book(found.size.quick)
    before = _workers_used(firm)
    posted = await firm.post()
    _complete(posted, found.size.quick)
    found.quick.append(found.size.quick / posted.seconds)
    found.quick_ms.append((_workers_used(firm) - before) * 1000 / found.size.quick)


async def _one_by_one(firm: BillingFirm, found: Found) -> None:
    await firm.book(found.size.sample)
    start = firm.starts.posting(PSA, ERP, f"one-by-one-{time.monotonic_ns()}")
    saga = SagaRef(
        saga_id=start.saga_id,
        generation=1,
        region=start.region,
        business_key=f"{PSA}/{start.record_id}",
        trace_id=start.trace_id,
        actor=start.actor,
        call_seconds=start.timings.call,
        mapping=start.mapping,
    )
    began = time.monotonic()
    done = await firm.client.execute_workflow(
        OneByOne.run,
        Lines(saga=saga, psa=PSA, erp=ERP, at_once=AT_ONCE),
        id=start.saga_id,
        task_queue=QUEUE,
    )
    seconds = time.monotonic() - began
    if done != found.size.sample:
        raise RuntimeError(f"line by line {done} of {found.size.sample} lines were posted")
    found.one_by_one.append(done / seconds)


async def _samples(firm: BillingFirm, lines: int) -> Path:
    """Records as posting makes them, for the bare script."""
    made = [row["body"] for row in await firm.control("netsuite", "GET", "writes?type=timeBill")]
    bodies = [{name: value for name, value in body.items() if name != "externalId"} for body in made]
    file = firm.folder / "like.json"
    file.write_text(json.dumps([bodies[number % len(bodies)] for number in range(lines)]))
    return file


async def _floor(firm: BillingFirm, like: Path) -> float:
    """Lines per second of the bare script, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.billing_floor", "--config", str(firm.config), "--system", ERP),
        *("--like", str(like), "--cap", str(CAP)),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the bare script failed: {err.decode()[-2000:]}")
    told = json.loads(out)
    return float(told["lines"]) / float(told["seconds"])


async def _calls(firm: BillingFirm, vendor: str) -> list[VendorCall]:
    return parse(vendor, (await firm.control(vendor, "GET", "calls"))["calls"])


def _used(firm: BillingFirm) -> float:
    """Processor seconds of everything that belongs to the measurement."""
    return sum(cpu.used(pid) for pid in (*firm.pids, os.getpid()))


def _workers_used(firm: BillingFirm) -> float:
    """Processor seconds of the worker processes."""
    return sum(map(cpu.used, firm.worker_pids))


def _peak_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) / 1024
    raise RuntimeError("this system does not tell a process's peak memory")


def _complete(posted: Posted, lines: int) -> None:
    found = {tally.state: tally.items for tally in posted.view.tallies}
    if found.get("posted") != lines:
        raise RuntimeError(f"{found.get('posted', 0)} of {lines} lines were posted: {posted.view.headline}")


async def _each_once(firm: BillingFirm, lines: int) -> None:
    """Whether NetSuite holds every line, and none twice."""
    rows: list[dict[str, Any]] = (await firm.control("netsuite", "GET", "records?type=timeBill"))["timeBill"]
    stamps = Counter(str(row.get("externalId")) for row in rows)
    ours = [stamp for stamp in stamps if not stamp.startswith("floor-")]
    twice = [stamp for stamp in ours if stamps[stamp] > 1]
    if len(ours) != lines or twice:
        raise RuntimeError(f"NetSuite holds {len(ours)} of {lines} lines, {len(twice)} of them twice")


def report(found: Found) -> Part:
    """The measurement in words and figures."""
    size, small, large = found.size, found.small, found.large
    around = {"small": mean(found.floors[:2]), "large": mean(found.floors[1:])}
    ratio = large.rate / around["large"]
    posting = large.lines / large.posting_seconds / around["large"]
    times = paired(found.quick, found.one_by_one)
    events = large.events * 1000 / large.lines
    memory = large.peak_mb / small.peak_mb
    part = Part(
        "billing",
        f"{size.large:,} approved lines to an ERP that takes {CAP} calls at once of {size.slow} ms each",
    )
    part.figures = {
        "lines_to_floor": round(ratio, 3),
        "posting_to_floor": round(posting, 3),
        "lines_per_second": round(large.rate, 1),
        "floor_lines_per_second": round(around["large"], 1),
        "small_to_floor": round(small.rate / around["small"], 3),
        "calls_in_flight": round(large.in_flight, 2),
        "refused_calls": small.refused + large.refused,
        "to_one_by_one": round(times, 1),
        "quick_lines_per_second": round(median(found.quick), 1),
        "one_by_one_lines_per_second": round(median(found.one_by_one), 1),
        "events_per_1000_lines": round(events, 2),
        "memory_growth": round(memory, 3),
        "peak_mb": round(large.peak_mb),
        "worker_ms_per_line": round(large.worker_ms, 2),
        "others_share": round(large.others, 2),
        "billing_lines": size.lines,
        "ledger": found.ledger,
    }
    part.goals = [
        Goal("lines_to_floor", at_least=TO_FLOOR),
        Goal("to_one_by_one", at_least=TO_ONE_BY_ONE),
        Goal("events_per_1000_lines", at_most=EVENTS),
        Goal("memory_growth", at_most=FLAT),
        Goal("refused_calls", at_most=0),
    ]
    part.rows = [
        Row(
            "lines/s of the whole run / a bare script making the same calls to the ERP",
            f"{ratio:.2f}: {large.rate:.0f} / {spread(found.floors, 0)}",
            "lines_to_floor",
        ),
        Row(
            f"the same from the first to the last call to the ERP; for {size.small:,} lines, whole run",
            f"{posting:.2f}, {large.in_flight:.1f} calls in flight; {part.figures['small_to_floor']}",
        ),
        Row(
            "calls that the ERP refused (its cap is enforced)",
            str(part.figures["refused_calls"]),
            "refused_calls",
        ),
        Row(
            "without latency: lines/s in bulk / an activity per line",
            f"{times:.0f} times: {spread(found.quick, 0)} / {spread(found.one_by_one, 1)}",
            "to_one_by_one",
        ),
        Row("history events per 1,000 lines", f"{events:.1f}", "events_per_1000_lines"),
        Row(
            f"peak memory of the workers, {size.large:,} / {size.small:,} lines",
            f"{memory:.2f}: {large.peak_mb:.0f} / {small.peak_mb:.0f} MB",
            "memory_growth",
        ),
        Row(
            "CPU of the workers per line, ms: with latency / without",
            f"{large.worker_ms:.2f} / {spread(found.quick_ms)}",
        ),
        Row(
            "share of the machine that other programs used meanwhile",
            f"{large.others:.0%} ({small.others:.0%} of the small run)",
        ),
        Row(
            "left out: latency of delivery, expenses, refused lines",
            f"ledger: {found.ledger}; marks on timesheets, not on each entry",
        ),
    ]
    return part
