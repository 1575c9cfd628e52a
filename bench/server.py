"""(c) Our profile of the development server against the server as it comes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

from bench.bare import QUEUE, Nothing
from bench.firm import BenchFirm, bench_firm
from bench.latency import WARM_UP
from bench.result import Goal, Part, Row
from bench.stats import paired, percentile
from runtime.devserver import POLL_RATE, SQLITE_PRAGMAS, DevServer

STEPS = 6
"""Activities of the saga that does nothing."""
FASTER = 2.0
"""How many times sooner the saga that does nothing must be done."""
SHOWN = {"nothing": f"{STEPS} steps that do nothing", "deal": "one deal, vendors at once"}


class StockServer(DevServer):
    """The same server with none of our settings that make it fast."""

    def _arguments(self, port: int, ui_port: int) -> list[str]:
        given = iter(super()._arguments(port, ui_port))
        kept = []
        for argument in given:
            value = next(given) if argument in ("--dynamic-config-value", "--sqlite-pragma") else None
            if value is None:
                kept.append(argument)
            elif value != POLL_RATE and value not in SQLITE_PRAGMAS:
                kept += [argument, value]
        return kept


async def nothing(firm: BenchFirm) -> float:
    """Seconds that a saga of steps that do nothing takes on an idle server."""
    began = time.monotonic()
    await firm.client.execute_workflow(Nothing.run, STEPS, id=f"nothing-{began}", task_queue=QUEUE)
    return time.monotonic() - began


async def deal(firm: BenchFirm) -> float:
    """Seconds that one deal takes with vendors that answer at once."""
    return (await firm.run(await firm.win())).seconds


Seconds = dict[str, dict[str, list[float]]]
"""What was run -> profile -> seconds of each run, in the order of the rounds."""


async def profiles(folder: Path, *, pairs: int, deals: int) -> Part:
    """Both profiles at once, one run at a time, in turn.

    Args:
        folder: for the firms' files.
        pairs: of sagas that do nothing.
        deals: pairs of deals.
    """
    memory = await _in_turn(folder / "memory", {nothing: pairs, deal: deals}, file=False)
    on_file = await _in_turn(folder / "file", {nothing: pairs}, file=True)
    return report({**memory, **{f"{what}, database in a file": found for what, found in on_file.items()}})


async def _in_turn(
    folder: Path, runs: dict[Callable[[BenchFirm], Awaitable[float]], int], *, file: bool
) -> Seconds:
    found: Seconds = defaultdict(lambda: defaultdict(list))
    async with AsyncExitStack() as stack:
        firms = {}
        for name, server in (("ours", DevServer), ("stock", StockServer)):
            place = folder / name
            database = place / "temporal.db" if file else None
            firm = await stack.enter_async_context(bench_firm(place, server=server, database=database))
            await firm.add_worker()
            firms[name] = firm
        for firm in firms.values():
            for _ in range(WARM_UP):
                await nothing(firm)
                await deal(firm)
        for run, times in runs.items():
            for number in range(times):
                order = list(firms.items())
                for name, firm in order if number % 2 == 0 else reversed(order):
                    found[SHOWN[run.__name__]][name].append(await run(firm))
    return found


def report(found: Seconds) -> Part:
    """The measurement in words and figures."""
    part = Part("server", "Our profile of the development server against the stock one, idle")
    part.goals = [Goal("stock_to_ours", at_least=FASTER)]
    for place, (what, seconds) in enumerate(found.items()):
        ours, stock = ([s * 1000 for s in seconds[name]] for name in ("ours", "stock"))
        ratio = paired(stock, ours)
        figure = "stock_to_ours" if place == 0 else ""
        if figure:
            part.figures = {
                figure: round(ratio, 2),
                "ours_ms_p50": round(percentile(ours, 0.5)),
                "stock_ms_p50": round(percentile(stock, 0.5)),
            }
        part.rows.append(
            Row(
                f"{what}: stock / ours, p50 of ms",
                f"{ratio:.2f} times: {median(stock):.0f} / {median(ours):.0f}",
                figure,
            )
        )
    return part
