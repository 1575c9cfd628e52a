"""(c) Our profile of the development server against the server as it comes, idle."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.client import Client
from temporalio.worker import Worker

from bench.bare import QUEUE, Nothing, nothing
from bench.result import Goal, Part, Row
from bench.sandbox import sandbox
from bench.stats import paired, percentile
from runtime.client import connect
from runtime.devserver import POLL_RATE, SQLITE_PRAGMAS, DevServer

STEPS = 6
"""Activities of the saga that does nothing."""
FASTER = 2.0
"""How many times sooner the saga that does nothing must be done."""
WARM_UP = 3
"""Sagas that do not count."""


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


@dataclass
class Profile:
    """One server and how long its sagas took."""

    client: Client
    seconds: list[float] = field(default_factory=list)

    async def run(self) -> float:
        """Seconds of one saga, alone on the server."""
        began = time.monotonic()
        await self.client.execute_workflow(Nothing.run, STEPS, id=f"nothing-{began}", task_queue=QUEUE)
        return time.monotonic() - began


async def profiles(folder: Path, pairs: int) -> Part:
    """Both profiles in memory and with a database in a file, all four up at once, one saga at a time.

    Args:
        folder: for the servers' files.
        pairs: sagas on each server.
    """
    found: dict[str, Profile] = {}
    async with AsyncExitStack() as stack:
        for where, file in (("memory", None), ("file", "temporal.db")):
            for name, kind in (("ours", DevServer), ("stock", StockServer)):
                place = folder / f"{name}-{where}"
                place.mkdir(parents=True)
                server = kind(
                    ui=False, database=place / file if file else None, log_file=place / "temporal.log"
                )
                await stack.enter_async_context(server)
                client = await connect(server.section())
                await stack.enter_async_context(
                    Worker(
                        client,
                        task_queue=QUEUE,
                        workflows=[Nothing],
                        activities=[nothing],
                        workflow_runner=sandbox(),
                        build_id="bench",
                    )
                )
                found[f"{name}-{where}"] = Profile(client)
        for number in range(WARM_UP + pairs):
            order = list(found.values())
            for profile in order if number % 2 == 0 else reversed(order):
                seconds = await profile.run()
                if number >= WARM_UP:
                    profile.seconds.append(seconds)
    return report({name: profile.seconds for name, profile in found.items()})


def report(seconds: Mapping[str, list[float]]) -> Part:
    """The measurement in words and figures; ``seconds`` by profile and place of the database."""
    part = Part("server", "Our profile of the development server against the stock one, idle")
    for where, suffix in (("memory", ""), ("file", "_file")):
        ours, stock = seconds[f"ours-{where}"], seconds[f"stock-{where}"]
        p50 = {name: percentile(one, 0.5) * 1000 for name, one in (("ours", ours), ("stock", stock))}
        figure = f"stock_to_ours{suffix}"
        part.figures |= {
            figure: round(paired(stock, ours), 2),
            f"ours_ms_p50{suffix}": round(p50["ours"]),
            f"stock_ms_p50{suffix}": round(p50["stock"]),
        }
        part.goals.append(Goal(figure, at_least=FASTER))
        part.rows.append(
            Row(
                f"{STEPS} steps that do nothing, database in {where}: stock / ours, p50 of ms",
                f"{part.figures[figure]} times: {p50['stock']:.0f} / {p50['ours']:.0f}",
                figure,
            )
        )
    return part
