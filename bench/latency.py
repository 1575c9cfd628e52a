"""(a) One deal with slow vendors: how long it takes, and how much of that is the vendors' own time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.calls import VendorCall, count
from bench.chain import activities, critical_path
from bench.firm import BenchFirm, Run
from bench.result import Goal, Part, Row
from bench.stats import percentile, spread

SLOW = 300
"""Milliseconds that every vendor call takes."""
LONGEST = 8.0
"""Seconds for one deal with slow vendors."""
OVERHEAD = 1.3
"""A deal's time against the critical path of its own vendor calls."""


@dataclass(frozen=True)
class Deal:
    """One measured deal."""

    seconds: float
    path_seconds: float
    path_calls: int
    events: int
    calls: tuple[VendorCall, ...]

    @property
    def ratio(self) -> float:
        """Its time against its critical path."""
        return self.seconds / self.path_seconds


async def measured(firm: BenchFirm, run: Run) -> Deal:
    """A finished deal with its calls and its critical path."""
    calls = await firm.calls(run.handle.id)
    events = (await run.handle.fetch_history()).events
    path = critical_path(activities(events), calls)
    return Deal(run.seconds, path.seconds, len(path.calls), len(events), tuple(calls))


async def slow_vendors(firm: BenchFirm, rounds: int, slow: int = SLOW) -> Part:
    """Deals one at a time, in turn with vendors that answer at once and with slow ones.

    Args:
        firm: with a worker.
        rounds: pairs of deals.
        slow: milliseconds per vendor call.
    """
    found: dict[int, list[Deal]] = {0: [], slow: []}
    for _ in range(rounds):
        for milliseconds, deals in found.items():
            await firm.latency(milliseconds)
            deals.append(await measured(firm, await firm.run(await firm.win())))
    await firm.latency(0)
    return report(found[0], found[slow], slow)


def report(quick: Sequence[Deal], slow: Sequence[Deal], milliseconds: int) -> Part:
    """The measurement in words and figures."""
    per_vendor = count(slow[0].calls)
    calls = sum(sum(kinds.values()) for kinds in per_vendor.values())
    writes = sum(kinds["write"] for kinds in per_vendor.values())
    p50, p90 = (percentile([deal.seconds for deal in slow], share) for share in (0.5, 0.9))
    ratio = median(deal.ratio for deal in slow)
    path = median(deal.path_seconds for deal in slow)
    vendors = ", ".join(
        f"{vendor} {kinds['read']} + {kinds['write']}" for vendor, kinds in per_vendor.items()
    )
    part = Part("latency", f"One deal, every vendor call takes {milliseconds} ms")
    part.figures = {
        "vendor_calls_per_deal": calls,
        "vendor_writes_per_deal": writes,
        "deal_seconds_p50": round(p50, 2),
        "deal_seconds_p90": round(p90, 2),
        "critical_path_seconds": round(path, 2),
        "critical_path_calls": int(median(deal.path_calls for deal in slow)),
        "deal_to_critical_path": round(ratio, 3),
        "vendor_share": round(1 / ratio, 3),
        "deal_seconds_p50_no_latency": round(percentile([deal.seconds for deal in quick], 0.5), 2),
        "events_per_deal": int(median(deal.events for deal in slow)),
        "deals": len(slow),
    }
    part.goals = [Goal("deal_seconds_p50", at_most=LONGEST), Goal("deal_to_critical_path", at_most=OVERHEAD)]
    part.rows = [
        Row("vendor calls per deal (reads + writes)", f"{calls}: {vendors}"),
        Row("one deal, p50 / p90 of seconds", f"{p50:.2f} / {p90:.2f}", "deal_seconds_p50"),
        Row(
            "critical path of its own vendor calls (the floor), s",
            f"{path:.2f}, {part.figures['critical_path_calls']} calls one after another",
        ),
        Row(
            "time against that path",
            f"{spread([deal.ratio for deal in slow])}; vendors {1 / ratio:.0%} of the time",
            "deal_to_critical_path",
        ),
        Row(
            "the same deal, vendors at once, s (same rounds)",
            spread([deal.seconds for deal in quick]),
        ),
        Row("history events per deal", spread([deal.events for deal in slow], 0)),
    ]
    return part
