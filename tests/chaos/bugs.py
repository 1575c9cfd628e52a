"""``make chaos-planted``: bugs planted one by one, and which case of the short version notices each first.

The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.local import deals
from runtime.lifecycle import exit_now
from tests.chaos import planted
from tests.chaos.case import Result
from tests.chaos.cells import Cell, Fault
from tests.chaos.deal_play import Deals
from tests.chaos.firm import SYSTEMS, WORKFLOWS, ChaosFirm, Zygote, firm
from tests.chaos.harness import TRIES, Chaos
from tests.chaos.recording import FIRST_NUMBER, Recording
from tests.chaos.short import short_cells

QUIET = 1.5
"""Seconds after a case that failed: what it left running comes to its end."""


@dataclass(frozen=True)
class Bug:
    """A bug and the cheapest case that notices it."""

    name: str
    plant: Callable[[planted.Command], None]
    fault: Fault
    step: str
    """Begins the step's id."""
    role: str
    """The worker process that has it."""

    @property
    def patch(self) -> str:
        """As a worker process is told."""
        return f"{self.plant.__module__}:{self.plant.__name__}"

    def cheapest(self, recording: Recording) -> Cell:
        """The case of the short version."""
        return next(
            one
            for one in short_cells(recording)
            if one.fault is self.fault and one.step.startswith(self.step)
        )


BUGS = (
    Bug(
        "undo registered after the step",
        planted.undo_after_the_step,
        Fault.CANCEL_PARKED,
        "contract",
        WORKFLOWS,
    ),
    Bug("key from the run id", planted.key_from_the_run, Fault.RENEWED, "contract", SYSTEMS),
    Bug("no look before a re-send", planted.no_look_before_a_resend, Fault.LOST, "delivery", SYSTEMS),
    Bug(
        "shield without the drain loop",
        planted.shield_without_the_drain_loop,
        Fault.CANCEL_DURING,
        "contract",
        WORKFLOWS,
    ),
    Bug(
        "undo without the drain loop",
        planted.undo_without_the_drain_loop,
        Fault.CANCEL_DECIDED,
        "contract",
        WORKFLOWS,
    ),
)


class Hunt:
    """One firm whose workers are replaced for every bug."""

    def __init__(self, runner: Chaos, one: ChaosFirm) -> None:
        self.runner, self.firm = runner, one
        self.number = FIRST_NUMBER + 10
        self.ill = ""

    @property
    def recording(self) -> Recording:
        """The undisturbed run that the cases are made from; no bug was planted in it."""
        return self.runner.recordings[0]

    async def plant(self, bug: Bug | None) -> None:
        """A new worker process with the bug, if any; the one before is healed."""
        ill = bug.role if bug else ""
        if self.ill and self.ill != ill:
            self.firm.patches = ()
            await self.firm.kill_and_restart(self.ill)
        if bug:
            self.firm.patches = (bug.patch,)
            await self.firm.kill_and_restart(bug.role)
        self.ill = ill

    async def run(self, cells: Sequence[Cell]) -> tuple[int, Result | None]:
        """(cases run, the first that failed)."""
        for count, cell in enumerate(cells, start=1):
            result = await self.runner.case(self.firm, cell, self.number)
            self.number += TRIES
            if not result.passed:
                await asyncio.sleep(QUIET)
                return count, result
        return len(cells), None


@asynccontextmanager
async def hunt(work: Path) -> AsyncIterator[Hunt]:
    """A firm to plant bugs in, and a recording of the product without any."""
    zygote = Zygote()
    try:
        runner = Chaos(work, 1, zygote, Deals([deals.NORTHWIND]), lambda _: None)
        await runner.record([0])
        async with firm(work / "planted", zygote) as one:
            yield Hunt(runner, one)
    finally:
        zygote.stop()


async def all_bugs(work: Path) -> dict[str, str]:
    """Plant every bug; answers what noticed it, by name."""
    caught: dict[str, str] = {}
    async with hunt(work) as one:
        cells = short_cells(one.recording)
        for bug in BUGS:
            await one.plant(bug)
            count, result = await one.run(cells)
            if result is not None:
                caught[bug.name] = f"{result.cell.step} | {result.cell.fault.value}"
                print(f"{bug.name}: caught by {caught[bug.name]!r} after {count} of {len(cells)} cells")
                print(*(f"    {problem}" for problem in result.problems[:3]), sep="\n", flush=True)
            else:
                print(f"{bug.name}: NOT CAUGHT by {count} cells", flush=True)
        await one.plant(None)
        cheapest = [bug.cheapest(one.recording) for bug in BUGS]
        count, result = await one.run(cheapest)
        words = f"FAILED {result.cell.key}: {result.problems}" if result else "pass"
        print(f"without a bug: the {len(cheapest)} cells that catch each bug first-hand {words}", flush=True)
        if result is None:
            caught["none"] = ""
    return caught


def main() -> None:
    """Entry point; never returns."""
    argparse.ArgumentParser(prog="tests.chaos.bugs", description=__doc__).parse_args()
    began, work = time.monotonic(), Path(tempfile.mkdtemp(prefix="trueup-planted-"))
    caught = asyncio.run(all_bugs(work))
    clean = caught.pop("none", None) is not None
    figures = {
        "bugs": len(BUGS),
        "caught": len(caught),
        "by": caught,
        "clean_without_a_bug": clean,
        "seconds": round(time.monotonic() - began),
    }
    goals = {"caught": len(BUGS), "clean_without_a_bug": True}
    met = all(figures[name] == goal for name, goal in goals.items())
    shutil.rmtree(work, ignore_errors=True)
    last = {"target": "chaos-planted", "figures": figures, "goals": goals, "met": met}
    print(json.dumps(last, ensure_ascii=False), flush=True)
    exit_now(0)


if __name__ == "__main__":
    main()
