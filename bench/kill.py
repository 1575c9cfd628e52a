"""(d) All workers killed with many deals in flight: what is sent again, what is there twice."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.calls import VendorCall
from bench.firm import BenchFirm, Handle
from bench.result import Goal, Part, Row
from canonical.saga import SagaStatus, SagaView
from cli.local.deals import Deal
from tests.chaos import vendors
from tests.chaos.nodes import graph
from tests.chaos.oracle import Oracle
from tests.chaos.verdict import Verdict, compare

ROLES = ("workflows", "ledger", "sf-main,netsuite-emea,hr-export", "kantata-main")
"""One worker process each, as a larger installation runs them."""
LATENCY = 100
"""Milliseconds per vendor call: enough for calls to be in flight at any moment."""
PATIENCE = 1500.0
"""Seconds within which everything must have ended."""
STARTS_AT_ONCE = 20
SPARE = 0.1
"""More deals than are to be in flight at the kill: the first are complete by then."""


@dataclass(frozen=True)
class Moments:
    """When what happened, in seconds since 1970."""

    started: float
    killed: float
    serving: float
    """The first new worker took work: calls that arrived before are a dead worker's."""
    ended: float


async def killed(firm: BenchFirm, deals: int) -> Part:
    """Start deals at once, kill every worker when half of their writes are done, start them anew.

    Args:
        firm: with a worker for each of ``ROLES``.
        deals: so many are to be in flight at the kill.

    Raises:
        TimeoutError: not all deals have ended in time.
    """
    accepted = firm.accepted()
    usual = await firm.calls((await firm.run(await firm.win())).handle.id)
    per_deal = firm.accepted() - accepted
    won = [await firm.win() for _ in range(deals + round(deals * SPARE))]
    before = await firm.records()
    await firm.latency(LATENCY)
    started, accepted = time.time(), firm.accepted()
    tasks = [asyncio.create_task(_result(handle)) for handle in await _start(firm, won)]
    async with asyncio.timeout(PATIENCE):
        await _until(lambda: firm.accepted() - accepted >= len(won) * per_deal / 2)
        in_flight = sum(not task.done() for task in tasks)
        first, *others = firm.workers
        killed_at = firm.kill_workers()
        await firm.add_worker(first)
        serving = time.time()
        for one in others:
            await firm.add_worker(one)
        views = await asyncio.gather(*tasks)
    moments = Moments(started, killed_at, serving, time.time())
    await firm.latency(0)
    verdict = judge(firm, won, before, await firm.records())
    calls = [call for call in await firm.calls() if call.began >= started]
    return report(views, calls, usual, moments, verdict, in_flight, deals)


async def _until(so: Callable[[], bool]) -> None:
    while not so():  # noqa: ASYNC110 - what it waits for happens in the vendors' threads
        await asyncio.sleep(0.005)


async def _start(firm: BenchFirm, won: Sequence[Deal]) -> list[Handle]:
    slots = asyncio.Semaphore(STARTS_AT_ONCE)

    async def one(deal: Deal) -> Handle:
        async with slots:
            return await firm.start(deal)

    return await asyncio.gather(*(one(deal) for deal in won))


async def _result(handle: Handle) -> SagaView:
    return await handle.result()


def judge(firm: BenchFirm, won: Sequence[Deal], before: vendors.Records, after: vendors.Records) -> Verdict:
    """The vendors' records against what an independent oracle derives from all the deals together."""
    wanted = [node for deal in won for node in Oracle(firm.stack.config, before, deal.seed()).expected()]
    return compare(wanted, graph(vendors.change(before, after)))


def in_flight_at(calls: Iterable[VendorCall], moments: Moments) -> list[VendorCall]:
    """Calls not answered when the workers died, with those that were still on the wire."""
    return [
        call
        for call in calls
        if call.began < moments.serving and (call.ended is None or call.ended > moments.killed)
    ]


def again(calls: Iterable[VendorCall], usual: int) -> int:
    """Writes that arrived beyond the ``usual`` number of their saga: those that were sent again."""
    per_saga = Counter(call.saga for call in calls if call.writes)
    return sum(max(0, times - usual) for times in per_saga.values())


def report(
    views: Sequence[SagaView],
    calls: Sequence[VendorCall],
    usual: Sequence[VendorCall],
    moments: Moments,
    verdict: Verdict,
    in_flight: int,
    wanted: int,
) -> Part:
    """The measurement in words and figures."""
    deals = len(views)
    pending = in_flight_at(calls, moments)
    writes = sum(call.writes for call in usual)
    reads = sum(not call.writes and not call.signs_in for call in usual)
    resent = again(calls, writes)
    reread = sum(not call.writes and not call.signs_in for call in calls) - reads * deals
    first = sum(call.writes for call in calls if call.began <= moments.killed)
    rate = first / writes / (moments.killed - moments.started)
    after = sum(call.writes for call in calls if call.began > moments.serving)
    rate_after = after / writes / (moments.ended - moments.serving)
    doubled = len(verdict.duplicates)
    other = len(verdict.problems) - doubled
    unfinished = sum(view.status is not SagaStatus.COMPLETE for view in views)
    part = Part("kill", f"All workers killed with -9 while {in_flight} deals are in flight")
    part.figures = {
        "deals_in_flight_at_kill": in_flight,
        "calls_in_flight_at_kill": len(pending),
        "writes_in_flight_at_kill": sum(call.writes for call in pending),
        "writes_sent_again": resent,
        "reads_made_again": reread,
        "effects_doubled": doubled,
        "records_wrong_or_missing": other,
        "deals_not_complete": unfinished,
        "deals_per_second": round(deals / (moments.ended - moments.started), 2),
        "kill_seconds": round(moments.ended - moments.started),
    }
    part.goals = [
        Goal("deals_in_flight_at_kill", at_least=wanted),
        Goal("writes_sent_again", at_most=len(pending)),
        Goal("effects_doubled", at_most=0),
        Goal("records_wrong_or_missing", at_most=0),
        Goal("deals_not_complete", at_most=0),
    ]
    part.rows = [
        Row("deals in flight at the kill", f"{in_flight} of {deals}", "deals_in_flight_at_kill"),
        Row(
            "vendor calls in flight at the kill",
            f"{len(pending)}, {part.figures['writes_in_flight_at_kill']} of them writes",
        ),
        Row("writes sent again", f"{resent} of {writes * deals}", "writes_sent_again"),
        Row("reads made again (they change nothing)", f"{reread} of {reads * deals}"),
        Row("records that are there twice, by the vendors' own lists", str(doubled), "effects_doubled"),
        Row("records that lack or differ", str(other), "records_wrong_or_missing"),
        Row("deals that did not become complete", str(unfinished), "deals_not_complete"),
        Row(
            f"deals a second, kill included (vendors at {LATENCY} ms a call)",
            f"{part.figures['deals_per_second']} ({rate:.2f} before the kill, {rate_after:.2f} after)",
        ),
        Row("from the kill to workers that serve / to the last deal's end, s", _lost(moments)),
    ]
    return part


def _lost(moments: Moments) -> str:
    return f"{moments.serving - moments.killed:.1f} / {moments.ended - moments.killed:.0f}"
