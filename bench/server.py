"""(c) Our profile of the development server against the server as it comes: one saga at a time.

The stock server looks for work 20 times a second per queue processor and saves up unused looks for a moment.
A saga that comes after a pause lives on those savings and is as fast as on ours; one that follows another is
not. So sagas are run in blocks without a pause, the first of a block do not count, and the first saga after a
pause has a row of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.client import Client
from temporalio.worker import Worker

from bench.bare import QUEUE, Nothing, nothing
from bench.result import Goal, Part, Row
from bench.sandbox import sandbox
from bench.stats import percentile
from runtime.client import connect
from runtime.devserver import POLL_RATE, SQLITE_PRAGMAS, DevServer

STEPS = 6
"""Activities of the saga that does nothing."""
FASTER = 2.0
"""How many times sooner the saga that does nothing must be done."""
MEMORY, FILE = "memory", "file"
BLOCK, SKIPPED = 12, 4
"""Sagas without a pause between them, and how many of them do not count."""
PAUSE = 2.0
"""Seconds in which the stock server has saved up all it can."""


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
    """One server and how long its sagas took, in seconds."""

    client: Client
    rested: list[float] = field(default_factory=list)
    """Of sagas that came after a pause."""
    seconds: list[float] = field(default_factory=list)
    """Of sagas that followed another."""

    async def run(self) -> float:
        """Seconds of one saga, alone on the server."""
        began = time.monotonic()
        await self.client.execute_workflow(Nothing.run, STEPS, id=f"nothing-{began}", task_queue=QUEUE)
        return time.monotonic() - began

    async def block(self, length: int) -> None:
        """A pause, then sagas without one."""
        await asyncio.sleep(PAUSE)
        found = [await self.run() for _ in range(length)]
        self.rested.append(found[0])
        self.seconds += found[SKIPPED:]


async def profiles(
    folder: Path, rounds: int, block: int = BLOCK, places: Sequence[str] = (MEMORY, FILE)
) -> Part:
    """Both profiles, in memory and with a database in a file; all four are up, one works at a time, in turn.

    Args:
        folder: for the servers' files.
        rounds: of one block on each server.
        block: sagas in a block.
        places: where the servers keep their database.
    """
    found: dict[str, Profile] = {}
    async with AsyncExitStack() as stack:
        for where in places:
            for name, kind in (("ours", DevServer), ("stock", StockServer)):
                place = folder / f"{name}-{where}"
                place.mkdir(parents=True)
                database = place / "temporal.db" if where == FILE else None
                server = kind(ui=False, database=database, log_file=place / "temporal.log")
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
        for profile in found.values():
            await profile.run()
        for number in range(rounds):
            order = list(found.values())
            for profile in order if number % 2 == 0 else reversed(order):
                await profile.block(block)
    return report(found)


def report(found: Mapping[str, Profile]) -> Part:
    """The measurement in words and figures; profiles by name and place of the database."""
    part = Part("server", f"Our profile of the development server, {STEPS} steps that do nothing")
    for where in (MEMORY, FILE):
        if f"ours-{where}" not in found:
            continue
        suffix = "" if where == MEMORY else f"_{where}"
        ours, stock = found[f"ours-{where}"], found[f"stock-{where}"]
        figure = f"stock_to_ours{suffix}"
        p50 = {name: 1000 * percentile(one.seconds, 0.5) for name, one in (("ours", ours), ("stock", stock))}
        rested = [1000 * percentile(one.rested, 0.5) for one in (stock, ours)]
        part.figures |= {
            figure: round(p50["stock"] / p50["ours"], 2),
            f"ours_ms_p50{suffix}": round(p50["ours"]),
            f"stock_ms_p50{suffix}": round(p50["stock"]),
        }
        part.goals.append(Goal(figure, at_least=FASTER))
        part.rows += [
            Row(
                f"database in {where}: stock / ours, one saga after another, p50 of ms",
                f"{part.figures[figure]} times: {p50['stock']:.0f} / {p50['ours']:.0f}",
                figure,
            ),
            Row(
                f"database in {where}: the first saga after a pause of {PAUSE:.0f} s",
                f"{rested[0]:.0f} / {rested[1]:.0f}",
            ),
        ]
    return part
