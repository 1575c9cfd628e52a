"""``make conservation-planted``: plants each known bug of billing in the workers, bills a contract that it
spoils, and says what the judge notices. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.lifecycle import exit_now
from tests.chaos.firm import ROLES, Zygote
from tests.conservation import planted
from tests.conservation.drive import Books, books
from tests.conservation.generate import Case, Generator
from tests.conservation.months import two_months

SEED = 7
FIRST_CONTRACT = 900


@dataclass(frozen=True)
class Bug:
    """A bug, and where it shows."""

    plant: Callable[[planted.Command], None]
    kind: Callable[[Generator], Case]
    """The kind of contract that it spoils."""
    months: int
    """How many months it takes."""
    noticed_by: str
    """What the judge calls it."""

    @property
    def name(self) -> str:
        """For people."""
        return self.plant.__name__


BUGS = (
    Bug(planted.drop_a_line, Generator.reviewed, 1, "invoice differs"),
    Bug(planted.bill_a_milestone_twice, Generator.milestones, 2, "billed more than agreed"),
    Bug(planted.ignore_a_credit, Generator.plain, 2, "credit missing"),
)


def spoiled() -> list[Case]:
    """A contract for each bug. Much of each is ordered: the ERP itself lets nobody bill more than that."""
    found = []
    for number, bug in enumerate(BUGS):
        case = bug.kind(Generator(SEED + number, FIRST_CONTRACT + number))
        case.terms = replace(case.terms, amount=10 * case.terms.amount)
        found.append(case)
    return found


async def hunt(one: Books, cases: list[Case]) -> dict[str, list[str]]:
    """What the judge finds with each bug in turn.

    Args:
        one: the firm, which knows the workers of these cases.
        cases: as ``spoiled`` makes them.
    """
    found: dict[str, list[str]] = {}
    for bug, case in zip(BUGS, cases, strict=True):
        await _plant(one, (f"{planted.__name__}:{bug.name}",))
        found[bug.name] = (await two_months(one, [case], months=bug.months, again=False)).findings
    return found


async def _plant(one: Books, patches: tuple[str, ...]) -> None:
    one.firm.patches = patches
    await one.firm.kill_and_restart(*ROLES)


def noticed(bug: Bug, findings: list[str]) -> bool:
    """Whether it was seen for what it is."""
    return any(words.startswith(bug.noticed_by) for words in findings)


async def run(folder: Path) -> dict[str, list[str]]:
    """All bugs on one firm: what the judge finds, by bug."""
    zygote, cases = Zygote(), spoiled()
    try:
        async with books(folder, zygote, cases) as one:
            return await hunt(one, cases)
    finally:
        zygote.stop()


def main() -> None:
    """Entry point; never returns."""
    argparse.ArgumentParser(prog="tests.conservation.bugs", description=__doc__).parse_args()
    began, work = time.monotonic(), Path(tempfile.mkdtemp(prefix="trueup-planted-"))
    found = asyncio.run(run(work / "firm"))
    shutil.rmtree(work, ignore_errors=True)
    for bug in BUGS:
        print(f"{bug.name}: {'noticed' if noticed(bug, found[bug.name]) else 'MISSED'}", flush=True)
        for words in found[bug.name]:
            print(f"    {words}", flush=True)
    figures = {
        "planted": len(BUGS),
        "noticed": sum(noticed(bug, found[bug.name]) for bug in BUGS),
        "by": {bug.name: sorted({words.split(" | ")[0] for words in found[bug.name]}) for bug in BUGS},
        "seconds": round(time.monotonic() - began),
    }
    goals = {"noticed": len(BUGS)}
    met = figures["noticed"] == goals["noticed"]
    last = {"target": "conservation-planted", "figures": figures, "goals": goals, "met": met}
    print(json.dumps(last), flush=True)
    exit_now(0)


if __name__ == "__main__":
    main()
