"""Stub activities of revenue follow-up over a small world of contracts."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from temporalio import activity

from activities.contracts import (
    ContractPage,
    FollowedContract,
    ListContracts,
    MeasureContract,
    MeasuredContract,
    ProgressSent,
    ReadRevenue,
    RevenuePace,
    RevenueRead,
    SagaRef,
    SendProgress,
    StartRevenueFollowUp,
)
from activities.options import Timings
from canonical.causes import Cause, Queue
from canonical.names import SagaName, run_name, saga_id
from canonical.progress import MeasuredLine, SendState
from canonical.saga import Actor, HeldItems, Tally
from tests.workflows import billing
from tests.workflows.billing import euros
from tests.workflows.stubs import Desk

ERP, PSA = "netsuite-emea", "kantata-main"


@dataclass
class World:
    """One test's contracts, told apart by its region."""

    contracts: tuple[str, ...] = ()
    plain: frozenset[str] = frozenset()
    """Contracts that need no inputs."""
    held: frozenset[str] = frozenset()
    at_once: int = 0
    most_at_once: int = 0
    desk: Desk = field(default_factory=Desk)


WORLDS: dict[str, World] = {}


def world(saga: SagaRef) -> World:
    return WORLDS[saga.region]


class RevenueStubs:
    """All activities of revenue follow-up."""

    @activity.defn(name="revenue.list")
    async def list_contracts(self, command: ListContracts) -> ContractPage:
        mine = world(command.saga)
        await mine.desk.take(f"list {command.after}".strip(), command)
        rest = [key for key in mine.contracts if key > command.after]
        page = rest[: command.limit]
        return ContractPage(
            contracts=tuple(FollowedContract(key=key, inputs=key not in mine.plain) for key in page),
            after=page[-1] if len(rest) > len(page) else None,
        )

    @activity.defn(name="revenue.measure")
    async def measure(self, command: MeasureContract) -> MeasuredContract:
        mine = world(command.saga)
        mine.at_once += 1
        mine.most_at_once = max(mine.most_at_once, mine.at_once)
        try:
            await mine.desk.take(f"measure {command.contract}", command)
        finally:
            mine.at_once -= 1
        return MeasuredContract(lines=(MeasuredLine(line_key="L1", minutes_at_completion=60),))

    @activity.defn(name="revenue.send")
    async def send_progress(self, command: SendProgress) -> ProgressSent:
        mine = world(command.saga)
        await mine.desk.take(f"send {command.contract}", command)
        assert command.measured[0].minutes_at_completion == 60
        if command.saga.plan:
            return ProgressSent(state=SendState.SENT, writes=({"key": command.step, "title": "tell"},))
        state = SendState.HELD if command.contract in mine.held else SendState.SENT
        return ProgressSent(state=state, revision=1)

    @activity.defn(name="revenue.read")
    async def read_revenue(self, command: ReadRevenue) -> RevenueRead:
        mine = world(command.saga)
        await mine.desk.take(f"read {command.contract}", command)
        tally = Tally(state=command.state.value, items=1, amounts=(euros(100),))
        held: tuple[HeldItems, ...] = ()
        if command.state is SendState.HELD:
            held = (HeldItems(cause=Cause.ESTIMATE_MISSING, queue=Queue.DELIVERY, tally=tally),)
        return RevenueRead(tallies=(tally,), held=held, differences=int(command.contract == "c2"))


class Follow:
    """A test's contracts and the start of their follow-up."""

    def __init__(self, *contracts: str, **more: Any) -> None:
        self.region = f"r{uuid.uuid4().hex[:8]}"
        self.world = WORLDS[self.region] = World(contracts=contracts, **more)
        self.desk = self.world.desk
        # Runs of finance register themselves alike.
        billing.WORLDS[self.region] = billing.World(desk=self.desk)

    def start(self, *, plan: bool = False, **pace: int) -> StartRevenueFollowUp:
        record = run_name("NL01", "2026-10")
        return StartRevenueFollowUp(
            saga_id=saga_id(SagaName.REVENUE_FOLLOW_UP, self.region, ERP, record, plan=plan),
            region=self.region,
            system=ERP,
            record_id=record,
            actor=Actor(name="anna"),
            trace_id="t",
            plan=plan,
            timings=Timings(attempts=1, wait_first=1, wait_ceiling=2),
            psa=PSA,
            entity="NL01",
            period="2026-10",
            first=date(2026, 10, 1),
            last=date(2026, 10, 31),
            pace=RevenuePace(**pace),
        )
