"""Anything in any order, generated: one firm for many scenarios, each with deals of its own."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.chaos.ending import finish
from tests.chaos.firm import LEDGER, SYSTEMS, WORKFLOWS, ChaosFirm, Zygote
from tests.chaos.world import ACTIONS, CHANGES, LAG, RETRY, SHAPES, Move, World

T = TypeVar("T")
PER_FIRM = 25
"""Scenarios until a firm is replaced by a fresh one: its vendors get slow as they fill."""
STEPS = 9
"""Most moves of one scenario, its end not counted."""
MOST = {
    "trigger": 2,
    "change": 3,
    "cancel": 2,
    "decide": 3,
    "repair": 4,
    "renew": 2,
    "reset": 2,
    "fault": 6,
    "outage": 2,
    "kill": 2,
    "freeze": 1,
    "vendor_clock": 2,
    "host_clock": 2,
    "night": 1,
    "breathe": 2,
}
"""How often one scenario makes each move."""
VENDORS = ("salesforce", "netsuite", "kantata")
SPOTS = (
    ("netsuite", "PUT", "/customer/"),
    ("netsuite", "PUT", "/job/"),
    ("netsuite", "PUT", "/salesOrder/"),
    ("netsuite", "POST", "/billingSchedule"),
    ("netsuite", "PATCH", "/salesOrder/"),
    ("netsuite", "PATCH", "/"),
    ("netsuite", "DELETE", "/"),
    ("netsuite", "GET", "/"),
    ("netsuite", "POST", "/suiteql"),
    ("netsuite", "POST", "/oauth2/"),
    ("kantata", "POST", "/workspace_groups"),
    ("kantata", "POST", "/workspaces"),
    ("kantata", "POST", "/stories"),
    ("kantata", "POST", "/workspace_resources"),
    ("kantata", "PUT", "/"),
    ("kantata", "DELETE", "/"),
    ("kantata", "GET", "/"),
    ("salesforce", "PATCH", "/Opportunity/"),
    ("salesforce", "GET", "/query"),
    ("salesforce", "*", "/"),
)
"""Where a vendor can misbehave."""
FAULTS: dict[str, tuple[int, ...]] = {
    "error_before": (0,),
    "error_after": (0,),
    "drop_before": (0,),
    "drop_after": (0,),
    "reset_mid_body": (0,),
    "delay": (300, 2600),
    "delay_after": (300, 2600),
    "rate_limit": (0,),
    "business": (0,),
    "stale_read": (0,),
    "expired_token": (0,),
    "slow_commit": (int(LAG * 500),),
}
"""Every kind that a simulator has for calls, with milliseconds: shorter and longer than a call may take."""


class Lane:
    """A firm that is replaced when it has got slow or has failed, and what is found in it."""

    def __init__(self, folder: Path, first: int = 20) -> None:
        self.folder, self.zygote = folder, Zygote()
        self.loop = asyncio.new_event_loop()
        self.numbers = itertools.cycle(range(first, 990))
        self.generation = itertools.count(1)
        self.firm: ChaosFirm | None = None
        self.used = self.scenarios = 0
        self.moves: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the lane's loop."""
        return self.loop.run_until_complete(work)

    async def world(self) -> World:
        """A scenario's beginning, in a fresh firm where that is due."""
        if self.firm is not None and self.used >= PER_FIRM:
            await self.drop()
        if self.firm is None:
            self.used = 0
            folder = self.folder / f"firm-{next(self.generation)}"
            self.firm = await ChaosFirm(
                folder,
                self.zygote,
                retry=RETRY,
                patches=("tests.chaos.hostclock:follow",),
                lag_seconds=LAG,
                config_more=(("[systems.sf-main]", "limit_wait_seconds = 1"),),
            ).open()
        self.used += 1
        return await World(self.firm, self.numbers).open()

    async def end(self, world: World) -> list[str]:
        """Finish a scenario and count it."""
        problems = world.broken
        if not problems:
            try:
                problems = await finish(world)
                self.ends.update(won.end for won in world.won)
            except Exception as error:
                world.broken = problems = [f"could not be judged: {type(error).__name__}: {error}"]
        world.unplayed = bool(world.broken)
        self.scenarios += 1
        self.moves.update(name for name, _ in world.trace)
        if problems:
            await self.drop()  # what it left behind must not be held against the next
        return problems

    async def drop(self) -> None:
        """Close the firm, if there is one."""
        if self.firm is not None:
            await self.firm.close()
            self.firm = None

    def close(self) -> None:
        """Take everything down."""
        self.do(self.drop())
        self.zygote.stop()
        self.loop.close()

    def replay(self, moves: Sequence[Move]) -> tuple[list[str], World]:
        """Play a scenario that is known; answers what does not hold."""

        async def play() -> tuple[list[str], World]:
            world = await self.world()
            for name, arguments in moves:
                if name != "finish":
                    await world.play(name, **arguments)
            return await self.end(world), world

        return self.do(play())


def whiches() -> st.SearchStrategy[int]:
    """One of the scenario's deals."""
    return st.integers(0, 2)


class Anything(RuleBasedStateMachine):
    """Deals, decisions, repairs, changes, faults, deaths and clocks, in any order."""

    lane: Lane
    on_end: Callable[[World, list[str]], None]

    def may(self, name: str) -> bool:
        """Whether a move may be made once more: some take long and show nothing new the fourth time."""
        return sum(move == name for move, _ in self.world.trace) < MOST[name]

    def play(self, name: str, **arguments: Any) -> None:
        """Make a move."""
        self.lane.do(self.world.play(name, **arguments))

    @initialize(shape=st.sampled_from(sorted(SHAPES)))
    def begin(self, shape: str) -> None:
        """Every scenario begins with a deal."""
        self.world = self.lane.do(self.lane.world())
        self.play("win", shape=shape, client=False)

    @precondition(lambda self: len(self.world.won) < 3)
    @rule(shape=st.sampled_from(sorted(SHAPES)), client=st.booleans())
    def win(self, shape: str, client: bool) -> None:
        """Another deal, perhaps of the same client."""
        self.play("win", shape=shape, client=client)

    @precondition(lambda self: self.may("trigger"))
    @rule(which=whiches())
    def trigger(self, which: int) -> None:
        """A repeated trigger."""
        self.play("trigger", which=which)

    @precondition(lambda self: self.may("change"))
    @rule(which=whiches(), what=st.sampled_from(CHANGES))
    def change(self, which: int, what: str) -> None:
        """The deal changes in the CRM."""
        self.play("change", which=which, what=what)

    @precondition(lambda self: self.may("cancel"))
    @rule(which=whiches(), after=st.sampled_from((0.0, 0.3, 0.8, 1.6)))
    def cancel(self, which: int, after: float) -> None:
        """A cancel."""
        self.play("cancel", which=which, after=after)

    @precondition(lambda self: self.may("decide"))
    @rule(which=whiches(), outcome=st.sampled_from(("approve", "reject", "send_back")))
    def decide(self, which: int, outcome: str) -> None:
        """A decision at a gate."""
        self.play("decide", which=which, outcome=outcome)

    @precondition(lambda self: self.may("repair"))
    @rule(which=whiches(), action=st.sampled_from(ACTIONS))
    def repair(self, which: int, action: str) -> None:
        """A decision about what is parked."""
        self.play("repair", which=which, action=action)

    @precondition(lambda self: self.may("renew"))
    @rule(which=whiches())
    def renew(self, which: int) -> None:
        """Continue as new while waiting for a person."""
        self.play("renew", which=which)

    @precondition(lambda self: self.may("reset"))
    @rule(which=whiches())
    def reset(self, which: int) -> None:
        """A reset to the beginning."""
        self.play("reset", which=which)

    @precondition(lambda self: self.may("fault"))
    @rule(
        spot=st.sampled_from(SPOTS),
        kind=st.sampled_from(sorted(FAULTS)),
        skip=st.integers(0, 3),
        data=st.data(),
    )
    def fault(self, spot: tuple[str, str, str], kind: str, skip: int, data: st.DataObject) -> None:
        """A vendor will misbehave."""
        vendor, method, path = spot
        ms = data.draw(st.sampled_from(FAULTS[kind]))
        self.play("fault", vendor=vendor, method=method, path=path, kind=kind, skip=skip, ms=ms)

    @rule(
        spot=st.sampled_from(SPOTS),
        kind=st.sampled_from(("business", "drop_after", "error_before")),
        skip=st.integers(0, 2),
    )
    def refuse(self, spot: tuple[str, str, str], kind: str, skip: int) -> None:
        """The faults that lead furthest, more often."""
        vendor, method, path = spot
        self.play("fault", vendor=vendor, method=method, path=path, kind=kind, skip=skip, ms=0)

    @precondition(lambda self: self.may("outage"))
    @rule(vendor=st.sampled_from(VENDORS), seconds=st.sampled_from((0.3, 1.5)))
    def outage(self, vendor: str, seconds: float) -> None:
        """A vendor is away."""
        self.play("outage", vendor=vendor, seconds=seconds)

    @precondition(lambda self: self.may("kill"))
    @rule(role=st.sampled_from((SYSTEMS, SYSTEMS, LEDGER, WORKFLOWS)))
    def kill(self, role: str) -> None:
        """A worker dies."""
        self.play("kill", role=role)

    @precondition(lambda self: self.may("freeze"))
    @rule(seconds=st.sampled_from((0.5, 2.5)))
    def freeze(self, seconds: float) -> None:
        """A worker stands still."""
        self.play("freeze", seconds=seconds)

    @precondition(lambda self: self.may("vendor_clock"))
    @rule(vendor=st.sampled_from(VENDORS), seconds=st.sampled_from((-20.0, 20.0, 90.0)))
    def vendor_clock(self, vendor: str, seconds: float) -> None:
        """A vendor's clock is off."""
        self.play("vendor_clock", vendor=vendor, seconds=seconds)

    @precondition(lambda self: self.may("host_clock"))
    @rule(seconds=st.sampled_from((-1.0, -0.3, 0.3, 1.0)))
    def host_clock(self, seconds: float) -> None:
        """The workers' clock is stepped."""
        self.play("host_clock", seconds=seconds)

    @precondition(lambda self: self.may("night"))
    @rule()
    def night(self) -> None:
        """A day passes."""
        self.play("night")

    @precondition(lambda self: self.may("breathe"))
    @rule(seconds=st.sampled_from((0.1, 0.4, 1.2)))
    def breathe(self, seconds: float) -> None:
        """Time for the sagas to get somewhere."""
        self.play("breathe", seconds=seconds)

    def teardown(self) -> None:
        """The end, and the judgement."""
        if hasattr(self, "world"):
            self.on_end(self.world, self.lane.do(self.lane.end(self.world)))


def generate(
    lane: Lane,
    examples: int,
    *,
    on_end: Callable[[World, list[str]], None],
    seeded: int | None = None,
    steps: int = STEPS,
) -> None:
    """Generate and run so many scenarios.

    Args:
        lane: where.
        examples: how many.
        on_end: what to do with each one's problems.
        seeded: decides which; always the same ones without.
        steps: most moves of one.
    """
    machine: Any = type("Machine", (Anything,), {"lane": lane, "on_end": staticmethod(on_end)})
    if seeded is not None:
        machine = seed(seeded)(machine)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=seeded is None,
            database=None,
            # A scenario takes seconds and no two runs of it are the same to the millisecond: it is pinned
            # as it is, not shrunk.
            phases=(Phase.generate,),
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
