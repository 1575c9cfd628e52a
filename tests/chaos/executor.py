"""Generated scenarios for the effect executor alone: attempts side by side, deaths, cancels, undos, faults,
clock steps; judged as everything else is, from the vendors' records and the ledger's rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from temporalio.exceptions import ApplicationError

from cli.local import deals
from cli.local.deals import Deal
from tests.chaos import vendors
from tests.chaos.bench import LAG, Attempt, Bench, Life, Plan, Step, undo_of
from tests.chaos.deals import copy as fresh
from tests.chaos.invariants import (
    Ended,
    effect_rows,
    judge_effects,
    judge_keys,
    judge_pivot,
    judge_records,
)
from tests.chaos.world import SHAPES, Move

SHAPES_HERE = ("plain", "yen", "group")
PER_BENCH = 40
"""Scenarios until the vendors are replaced: they get slow as they fill."""
MOVES = 14
DELAY = 1_000
"""Milliseconds: longer than a call may take, shorter than its lease."""
READS = 6
"""More than the faults that one scenario can have waiting."""
MARGIN = timedelta(seconds=0.5)
"""Of the lease; the executor's own is a second, which would be most of a scenario."""
SPOTS = (
    ("netsuite", "PUT", "/customer/"),
    ("netsuite", "PUT", "/job/"),
    ("netsuite", "PUT", "/salesOrder/"),
    ("netsuite", "POST", "/billingSchedule"),
    ("netsuite", "POST", "/customerSubsidiaryRelationship"),
    ("netsuite", "PATCH", "/"),
    ("netsuite", "DELETE", "/"),
    ("netsuite", "GET", "/"),
    ("kantata", "POST", "/workspace_groups"),
    ("kantata", "POST", "/workspaces"),
    ("kantata", "POST", "/stories"),
    ("kantata", "POST", "/workspace_resources"),
    ("kantata", "PUT", "/"),
    ("kantata", "DELETE", "/"),
    ("kantata", "GET", "/"),
)
FAULTS = (
    ("drop_after", 0),
    ("drop_before", 0),
    ("error_before", 0),
    ("error_after", 0),
    ("reset_mid_body", 0),
    ("business", 0),
    ("rate_limit", 0),
    ("stale_read", 0),
    ("delay", 30),
    ("delay", DELAY),
    ("delay_after", DELAY),
    ("slow_commit", int(LAG * 500)),
)


class Rig:
    """One scenario at a bench."""

    def __init__(self, bench: Bench, numbers: Iterator[int]) -> None:
        self.bench, self.numbers = bench, numbers
        self.plans: list[Plan] = []
        self.running: list[Attempt] = []
        self.made: list[tuple[Plan, Step, bool, Any]] = []
        """Everything that was attempted, with its input."""
        self.late = False

    async def open(self) -> Rig:
        """Remember what the vendors hold."""
        self.before = await self.bench.records()
        self.marks = {v: len(await self.bench.control(v, "GET", "writes")) for v in self.bench.urls}
        return self

    async def play(self, name: str, **arguments: Any) -> None:
        """Make one move; what makes no sense now does nothing."""
        await getattr(self, f"move_{name}")(**arguments)

    async def move_win(self, shape: str, client: bool) -> None:
        """A deal is won and read."""
        if len(self.plans) >= 2:
            return
        number = next(self.numbers)
        deal = fresh(SHAPES[shape], number)
        seeded = copy.deepcopy(deal.seed())
        if client and shape == "plain" and self.plans and self.plans[0].deal.entity == "NL01":
            first = self.plans[0]
            deal = _of_client(deal, first.deal)
            seeded = {**copy.deepcopy(deal.seed()), "Account": first.seed["Account"]}
        await self.bench.control(vendors.SALESFORCE, "POST", "seed", deal.seed())
        self.plans.append(await self._read(deal, seeded))

    async def _read(self, deal: Deal, seeded: Any) -> Plan:
        """Read a deal as the server would: again after a fault that was meant for something else."""
        for _ in range(READS):
            with contextlib.suppress(ApplicationError):
                return await self.bench.plan(deal, seeded)
        return await self.bench.plan(deal, seeded)

    async def move_attempt(self, which: int, step: int, ms: int) -> None:
        """An attempt of a step begins, whose turn it is or which is being tried already, and runs a while."""
        plan = self._plan(which)
        if plan is None:
            return
        ready = [one for one in plan.steps if self._ready(plan, one)]
        if not ready:
            return
        # Mostly the furthest one: an attempt of an earlier step is one that the server believed dead.
        chosen = ready[-1 - min(step, len(ready) - 1)]
        plan.pivot |= not chosen.undoable
        self._begin(plan, chosen)
        await asyncio.sleep(ms / 1000)

    async def move_undo(self, which: int, step: int, ms: int) -> None:
        """The undo of a step begins: last first, but a repeated one comes at any time."""
        plan = self._plan(which)
        if plan is None or plan.pivot:
            return
        plan.unwinding = True
        left = [one for one in plan.steps if one.undoable and one.id not in plan.undone]
        if left:
            self._begin(plan, left[-1], undo=True)
            if step:
                self._begin(plan, left[-1], undo=True)
            await asyncio.sleep(ms / 1000)

    async def move_die(self, which: int) -> None:
        """A process dies with its attempt."""
        attempt = self._running(which)
        if attempt is not None:
            attempt.life.dead = True
            attempt.task.cancel()
            await asyncio.gather(attempt.task, return_exceptions=True)
            self.running.remove(attempt)

    async def move_cancel(self, which: int) -> None:
        """An attempt is told to stop: it may still say what it knows."""
        attempt = self._running(which)
        if attempt is not None:
            attempt.task.cancel()
            await asyncio.gather(attempt.task, return_exceptions=True)
            self.running.remove(attempt)

    async def move_fault(self, vendor: str, method: str, path: str, kind: str, skip: int, ms: int) -> None:
        """A vendor will misbehave once."""
        self.late |= ms > 0
        rule = {"kind": kind, "method": method, "path": path, "skip": skip, "times": 1, "delay_ms": ms}
        await self.bench.control(vendor, "POST", "faults", {**rule, "retry_after": 1})

    async def move_clock(self, ms: int) -> None:
        """The host's clock is stepped, under running calls and leases; less than a lease's margin."""
        self.bench.offset = timedelta(milliseconds=ms)

    async def move_breathe(self, ms: int) -> None:
        """Nothing new happens."""
        await asyncio.sleep(ms / 1000)

    def _plan(self, which: int) -> Plan | None:
        return self.plans[which % len(self.plans)] if self.plans else None

    def _running(self, which: int) -> Attempt | None:
        self.running = [one for one in self.running if not one.task.done()]
        return self.running[which % len(self.running)] if self.running else None

    def _begin(self, plan: Plan, step: Step, *, undo: bool = False) -> None:
        command = undo_of(plan, step) if undo else step.command(dict(plan.values))
        self.made.append((plan, step, undo, command))
        self.running.append(self.bench.start(plan, step, undo=undo))

    @staticmethod
    def _ready(plan: Plan, step: Step) -> bool:
        if not step.undoable and plan.unwinding:
            return False
        earlier = plan.steps[: plan.steps.index(step)]
        return all(one.id in plan.done for one in earlier)

    # --- the end ------------------------------------------------------------------------------------

    async def finish(self) -> list[str]:
        """Everything comes to its end: built and active, or undone; what does not hold."""
        await asyncio.gather(*(one.task for one in self.running), return_exceptions=True)
        for vendor in self.bench.urls:
            await self.bench.control(vendor, "DELETE", "faults")
        if self.late:
            await asyncio.sleep(DELAY / 1000)
        self.bench.offset = timedelta(0)
        problems = [one for plan in self.plans for one in await self._complete(plan)]
        problems += [f"in the end: {one}" for one in await self._judge()]
        if not problems:
            problems += await self._again()
        problems += [f"audit: {one}" for one in await self.bench.ledger.verify()]
        return problems

    async def _complete(self, plan: Plan) -> list[str]:
        back = plan.unwinding
        steps = [one for one in plan.steps if one.undoable or not back]
        problems = []
        for step in reversed(steps) if back else steps:
            if step.id in (plan.undone if back else plan.done):
                continue
            command = undo_of(plan, step) if back else step.command(dict(plan.values))
            self.made.append((plan, step, back, command))
            work = self.bench.undo if back else self.bench.perform
            failure = await self.bench.insist(functools.partial(work, plan, step, Life()))
            if failure:
                problems.append(f"{'undo of ' if back else ''}{step.id} never went through: {failure}")
        return problems

    async def _judge(self) -> list[str]:
        bench = self.bench
        seen = vendors.change(self.before, await bench.records())
        writes = {v: await bench.control(v, "GET", f"writes?since={self.marks[v]}") for v in bench.urls}
        sagas = [
            Ended(
                saga=plan.saga.saga_id,
                status="undone" if plan.unwinding else "complete",
                account=plan.deal.account_id,
                candidates=(plan.seed,),
                earlier=(),
                licence_only=False,
                skipped=frozenset({"write-back"}),
                named=frozenset(),
                cases=0,
            )
            for plan in self.plans
        ]
        return [
            *judge_records(bench.config, self.before, seen, sagas, set()),
            *judge_keys(seen),
            *judge_effects(effect_rows(bench.folder / "ledger.db"), seen, writes),
            *judge_pivot(seen, writes[vendors.NETSUITE]),
        ]

    async def _again(self) -> list[str]:
        """Every attempt once more with its very input: no vendor accepts anything."""
        before = {v: len(await self.bench.control(v, "GET", "writes")) for v in self.bench.urls}
        for _, step, undo, command in self.made:
            try:
                await self.bench.call("effects.undo_step" if undo else step.activity, command)
            except Exception:
                continue  # refused: what was undone is closed
        found = []
        for vendor, mark in before.items():
            for one in await self.bench.control(vendor, "GET", f"writes?since={mark}"):
                found.append(f"a replay made {vendor} accept {one['operation']} of {one['type']} {one['id']}")
        return found


def _of_client(deal: Deal, first: Deal) -> Deal:
    changes: dict[str, Any] = {"account_number": first.number}
    for name in ("account", "tax_number", "country", "city"):
        changes[name] = getattr(first, name)
    return deals.Deal(**{**vars(deal), **changes})


# --- generating --------------------------------------------------------------------------------------------


def moves() -> st.SearchStrategy[list[Move]]:
    """A scenario: it begins with a deal; attempts are the most frequent move."""
    which, step = st.integers(0, 1), st.sampled_from((0, 0, 0, 1, 2))
    ms = st.sampled_from((0, 3, 10, 25, 60))

    def move(name: str, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Move]:
        return st.tuples(st.just(name), st.fixed_dictionaries(arguments))

    faults = st.builds(_fault, st.sampled_from(SPOTS), st.sampled_from(FAULTS), st.integers(0, 2))
    win = move("win", shape=st.sampled_from(SHAPES_HERE), client=st.booleans())
    attempt = move("attempt", which=which, step=step, ms=ms)
    fault = st.tuples(st.just("fault"), faults)
    rest = st.one_of(
        attempt,
        attempt,
        attempt,
        attempt,
        fault,
        fault,
        win,
        move("die", which=st.integers(0, 2)),
        move("cancel", which=st.integers(0, 2)),
        move("undo", which=which, step=st.integers(0, 1), ms=ms),
        move("clock", ms=st.sampled_from((-300, -50, 50, 300))),
        move("breathe", ms=st.sampled_from((20, 80))),
    )
    return st.tuples(win, st.lists(rest, min_size=4, max_size=MOVES)).map(lambda both: [both[0], *both[1]])


def _fault(spot: tuple[str, str, str], fault: tuple[str, int], skip: int) -> dict[str, Any]:
    vendor, method, path = spot
    kind, ms = fault
    return {"vendor": vendor, "method": method, "path": path, "kind": kind, "skip": skip, "ms": ms}


class Benches:
    """Benches one after another, and what was found at them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = asyncio.new_event_loop()
        self.bench: Bench | None = None
        self.numbers = itertools.cycle(range(20, 990))
        self.generation = itertools.count(1)
        self.used = self.scenarios = self.steps = self.attempts = 0
        self.moves: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()

    def run(self, scenario: Sequence[Move]) -> list[str]:
        """Play one scenario; answers what does not hold."""
        with patch("activities.sending.LEASE_MARGIN", MARGIN):
            return self.loop.run_until_complete(self._run(scenario))

    async def _run(self, scenario: Sequence[Move]) -> list[str]:
        if self.bench is not None and self.used >= PER_BENCH:
            await self._drop()
        if self.bench is None:
            self.used = 0
            self.bench = await Bench(self.folder / f"bench-{next(self.generation)}").open()
        self.used += 1
        rig = await Rig(self.bench, self.numbers).open()
        begun = self.bench.attempts
        try:
            for name, arguments in scenario:
                await rig.play(name, **arguments)
            problems = await rig.finish()
        except Exception as error:
            problems = [f"could not be played: {type(error).__name__}: {error}"]
        self.attempts += self.bench.attempts - begun
        self.scenarios += 1
        self.steps += len(scenario)
        self.moves.update(name for name, _ in scenario)
        self.ends.update("undone" if plan.unwinding else "complete" for plan in rig.plans)
        if problems:
            await self._drop()
        return problems

    async def _drop(self) -> None:
        if self.bench is not None:
            await self.bench.close()
            self.bench = None

    def close(self) -> None:
        """Take everything down."""
        self.loop.run_until_complete(self._drop())
        self.loop.close()


def generate(
    benches: Benches,
    examples: int,
    *,
    on_end: Callable[[Sequence[Move], list[str]], None],
    seeded: int | None = None,
) -> None:
    """Generate and run so many scenarios; always the same ones without ``seeded``."""

    @given(moves())
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=seeded is None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    def play(scenario: list[Move]) -> None:
        on_end(scenario, benches.run(scenario))

    (play if seeded is None else seed(seeded)(play))()
