"""Events in any order, doubled, late or lost, readings that are old, answers that get lost: the end is the
same, nothing older is ever put over something newer, nothing is written more often than the ERP changed.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.store import Ledger
from tests.activities.feedback_world import ACCOUNT, OPERATIONS, FakeTarget, World, _id

CASES = int(os.environ.get("FEEDBACK_CASES", "25"))
"""Cases of the suite; ``make feedback-cases`` plays more."""
MEMORY = Path("/dev/shm")
"""Where databases that live for a second are quick."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
INVOICES = (
    ("1", [("j1", 50_000)]),
    ("2", [("j2", 30_001), ("j2", 11)]),
    ("3", [("j1", 3_333), ("j2", 3_333), ("j3", 3_334)]),
)
"""One on a deal of its own, one of two lines, one over three deals."""
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "3"]), st.sampled_from(OPERATIONS), st.floats(0.05, 1), st.integers(0, 5)
    ),
    min_size=1,
    max_size=14,
)
"""(invoice, what happens, how much of it, how many events tell of it)."""


async def play(path: Path, steps: list[tuple[str, str, float, int]], seed: int, *, ordered: bool) -> World:
    """What happens to the invoices, told in order and one at a time, or at random."""
    ledger = await Ledger.open(f"sqlite:///{path}")
    try:
        chance = random.Random(seed)
        world = World(ledger, chance) if ordered else World(ledger, chance, stale=0.4, losses=0.25)
        await world.sell(3)
        if ordered:
            await _in_order(world, steps)
        else:
            await _at_random(world, steps, chance)
        assert await ledger.stale_targets() == []
        return world
    finally:
        await ledger.close()


async def _in_order(world: World, steps: list[tuple[str, str, float, int]]) -> None:
    for id_, lines in INVOICES:
        world.erp.issue(id_, lines)
        world.events[id_].append("issued")
        await world.follow(id_)
    for id_, what, part, _ in steps:
        if world.erp.change(id_, what, part):
            world.events[id_].append(what)
            await world.follow(id_)


async def _at_random(world: World, steps: list[tuple[str, str, float, int]], chance: random.Random) -> None:
    late: list[tuple[str, str]] = []
    running: dict[str, asyncio.Task[None]] = {}

    def tell(invoice: str, event: str) -> None:
        """Signal-with-start: the entity that runs takes it, else one begins."""
        world.events[invoice].append(event)
        if invoice not in running or running[invoice].done():
            running[invoice] = asyncio.create_task(world.follow(invoice))

    for id_, lines in INVOICES:
        world.erp.issue(id_, lines)
        late.append((id_, "issued"))
    for number, (id_, what, part, copies) in enumerate(steps):
        if world.erp.change(id_, what, part):
            late += [(id_, f"{what} {number}")] * copies
        chance.shuffle(late)
        for _ in range(chance.randrange(3)):
            if late:
                tell(*late.pop())
        for _ in range(chance.randrange(6)):
            await asyncio.sleep(0)
    # The poll behind every event source tells of everything once more, after its overlap.
    late += [(id_, "poll") for id_, _ in INVOICES]
    chance.shuffle(late)
    for id_, event in late:
        tell(id_, event)
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
    while pending := [task for task in running.values() if not task.done()]:
        await asyncio.gather(*pending)
    for task in running.values():
        task.result()
    for id_, _ in INVOICES:
        world.erp.catch_up(id_)
        world.events[id_].append("the next poll")
        await world.follow(id_)


def never_older(target: FakeTarget) -> None:
    """On every deal the state of the last invoice only moves forward."""
    for id_, writes in target.writes.items():
        seen: dict[str, int] = {}
        for write in writes:
            told = re.match(r"I(\d)\.v(\d+)", str(write.get("Invoice_Number__c")))
            if told is None or id_ == ACCOUNT:
                continue
            invoice, version = told[1], int(told[2])
            assert version >= seen.get(invoice, 0), f"{id_}: version {version} over {seen[invoice]}"
            seen[invoice] = version


def sparing(world: World) -> None:
    """No target is written more often than the ERP showed different states of its invoices."""
    invoices = {
        _id("006", 1): "13", _id("006", 2): "23", _id("006", 3): "3", ACCOUNT: "123",
        "1": "13", "2": "23", "3": "3",
    }  # fmt: skip
    for port in (world.crm, world.psa):
        for id_, writes in port.writes.items():
            states = sum(len(world.erp.read[invoice]) for invoice in invoices[id_])
            assert len(writes) <= states, f"{id_}: {len(writes)} writes for {states} states"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ledger.migrate import migrate

    path = tmp_path_factory.mktemp("feedback") / "template.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    return path


@settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(STEPS, st.integers(0, 2**32))
def test_the_end_is_that_of_the_ordered_run(
    template: Path, steps: list[tuple[str, str, float, int]], seed: int
) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        paths = [Path(folder) / f"{name}.db" for name in ("ordered", "random")]
        for path in paths:
            shutil.copy(template, path)
        ordered = asyncio.run(play(paths[0], steps, seed, ordered=True))
        world = asyncio.run(play(paths[1], steps, seed, ordered=False))
    assert world.shown() == ordered.shown()
    for one in (ordered, world):
        never_older(one.crm)
        sparing(one)
    sums = [world.crm.records[_id("006", number)] for number in (1, 2, 3)]
    for name in ("Invoiced__c", "Paid__c", "Credited__c", "Withheld__c", "Written_Off__c", "Balance__c"):
        assert sum(row[name] for row in sums) == world.crm.records[ACCOUNT][name], name
