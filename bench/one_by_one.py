"""Posting without pieces and batches: one activity per line, with the guarantees of any other single write.

Each activity checks its line, reads its approval, and sends one planned write through the effect executor
(claim, look, send, read back, record), as the sagas do with single records. In the baseline's favour: what
was approved is collected by the product's own activity, projects, workers and period locks are read once for
all, and nothing is marked in delivery.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from temporalio import activity, workflow

from activities.billing.gathering import Gathering
from activities.billing.lines import cost_line, line_context
from activities.billing.preparing import Preparing
from activities.contracts import Collected, CollectPart, CollectWork, Piece, SagaRef
from activities.effects import Effects
from activities.systems import Systems
from activities.writing import attempt_under_way
from bench.bare import QUEUE
from canonical.batches import BatchPurpose
from canonical.erp_billing import AccountingPeriod
from canonical.items import CostState
from canonical.names import system_queue
from ledger.store import Ledger
from rules.approval import counts_as_approved

LONG = timedelta(minutes=10)


class Lines(BaseModel):
    """What to post: everything open on a route."""

    saga: SagaRef
    psa: str
    erp: str
    at_once: int


class Line(BaseModel):
    """One line."""

    lines: Lines
    key: str


class LineActivities:
    """The activities of the baseline, over the worker's own parts."""

    def __init__(self, systems: Systems, ledger: Ledger) -> None:
        self.systems = systems
        self.ledger = ledger
        self.effects = Effects(ledger)
        self.preparing = Preparing(systems, ledger, Gathering(systems, ledger))
        self._periods: list[AccountingPeriod] | None = None

    @activity.defn(name="bench.open_lines")
    async def open_lines(self, command: Lines) -> list[str]:
        """Keys of all lines that are not posted."""
        page = await self.ledger.items(psa=command.psa, cost=[CostState.UNPOSTED], limit=100_000)
        return [item.key for item in page.rows]

    @activity.defn(name="bench.post_line")
    async def post_line(self, command: Line) -> bool:
        """Check one line, send it, record it. False: it is not to be sent."""
        lines = command.lines
        port = await self.systems.billing(lines.erp)
        feed = await self.systems.feed(lines.psa)
        if self._periods is None:
            self._periods = list(await port.accounting_periods())
        piece = Piece(saga=lines.saga, psa=lines.psa, erp=lines.erp, number=1, limit=1)
        item = await self.ledger.item(command.key)
        assert item is not None
        assert item.line is not None
        await self.preparing.check(piece, [item], self._periods)
        item = await self.ledger.item(command.key)
        assert item is not None
        assert item.line is not None
        now = await feed.read_time([item.line.source.id])
        policy = self.systems.firm.policies.billing
        if item.hold is not None or not now or not counts_as_approved(now[0], policy, item.project_code):
            return False
        context = line_context(lines.saga.saga_id, lines.saga.region, BatchPurpose.POST_COST.value)
        (write,) = port.plan_cost(context, [cost_line(item)])
        done = await self.effects.perform(
            port,
            self.systems.roles(lines.erp),
            [write],
            saga=lines.saga,
            attempt=attempt_under_way(),
            values={},
        )
        await self.ledger.found_posted({item.key: done.records[0].id}, posted_by=piece.key)
        return True


@workflow.defn(name="OneByOne")
class OneByOne:
    """Collects, then posts line by line."""

    @workflow.run
    async def run(self, command: Lines) -> int:
        """Answers how many lines were posted."""
        part: CollectPart | None = CollectPart.TIME
        while part is not None:
            found: Collected = await workflow.execute_activity(
                "feed.collect",
                CollectWork(saga=command.saga, system=command.psa, erp=command.erp, part=part, limit=5_000),
                task_queue=system_queue(command.psa),
                start_to_close_timeout=LONG,
                result_type=Collected,
            )
            part = found.next
        keys: list[str] = await workflow.execute_activity(
            "bench.open_lines", command, start_to_close_timeout=LONG, result_type=list[str]
        )
        slots = asyncio.Semaphore(command.at_once)

        async def one(key: str) -> bool:
            async with slots:
                done: bool = await workflow.execute_activity(
                    "bench.post_line",
                    Line(lines=command, key=key),
                    start_to_close_timeout=LONG,
                    result_type=bool,
                )
                return done

        return sum(await asyncio.gather(*(one(key) for key in keys)))


def activities(systems: Any, ledger: Ledger) -> list[Any]:
    """The baseline's activities, for a worker of ``QUEUE``."""
    own = LineActivities(systems, ledger)
    return [own.open_lines, own.post_line]


__all__ = ["QUEUE", "Lines", "OneByOne", "activities"]
