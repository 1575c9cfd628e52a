"""Reading and marking in delivery: what an attempt before this one did is not lost, nor undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.billing.collecting import Collecting
from activities.billing.gathering import Gathering
from activities.billing.marking import Marking
from activities.contracts import Collected, CollectWork, Marked, MarkExported, SagaRef
from canonical.batches import BatchPurpose
from canonical.delivered import (
    DeletionSource,
    ExportMark,
    FeedCapabilities,
    HeldMark,
    LineKind,
    TimePage,
)
from canonical.items import CostState
from canonical.operations import BatchTicket, ChangePage, LineOutcome, WriteContext
from canonical.refs import RecordRef
from canonical.saga import Actor
from canonical.writes import KeyStyle, VendorWrite, WriteKind
from ledger.store import Ledger
from tests.activities.firm import FakeSystems
from tests.ledger.billing import DAY, ERP, PSA, RUN, claim, line, place, posted, rows, send
from tests.ledger.subject import Clock

pytestmark = pytest.mark.anyio
REF = SagaRef(
    saga_id=RUN, region="emea", business_key="post", trace_id="t", actor=Actor(name="root"), mapping={}
)


@dataclass
class QuietDelivery:
    """A delivery system in which nothing changes any more, with the marks that it was given."""

    system: str = PSA
    held: dict[str, HeldMark] = field(default_factory=dict)
    """By the line's id: each holds one mark of ours."""
    batch_limit: int = 50
    feed: FeedCapabilities = field(
        default_factory=lambda: FeedCapabilities(deletions=DeletionSource.LISTING, read_limit=100)
    )

    async def time_changes(self, cursor: str | None, **_: Any) -> TimePage:
        return TimePage(entries=(), cursor="behind everything", more=False)

    async def approval_changes(self, cursor: str | None, **_: Any) -> ChangePage:
        return ChangePage(changes=(), cursor="behind everything", more=False)

    async def expenses(self, first: date, last: date) -> list[Any]:
        return []

    async def present(self, kind: LineKind, first: date, last: date) -> frozenset[str]:
        return frozenset({"1", "2", "3"})

    async def projects(self, ids: Sequence[str]) -> list[Any]:
        return []

    async def milestones(self, projects: Sequence[str]) -> list[Any]:
        return []

    async def marks(self, kind: LineKind, ids: Sequence[str]) -> list[HeldMark]:
        return [mark for id_, mark in self.held.items() if id_ in ids and mark.kind is kind]

    def plan_marks(self, context: WriteContext, marks: Sequence[ExportMark]) -> list[VendorWrite]:
        return [self._write("set", mark) for mark in marks]

    def plan_unmarks(self, context: WriteContext, marks: Sequence[HeldMark]) -> list[VendorWrite]:
        return [self._write("take off", mark) for mark in marks]

    def _write(self, operation: str, mark: ExportMark) -> VendorWrite:
        return VendorWrite(
            system=PSA,
            operation=operation,
            title=f"{operation} the mark of {mark.id}",
            record_type="external_references",
            kind=WriteKind.UPDATE,
            key=f"{operation} {mark.id} {mark.document}",
            step_key="marks",
            stamp=mark.id,
            symbol=f"mark:{mark.id}",
            method="POST",
            path="external_references",
            body={"id": mark.id, "document": mark.document},
            key_style=next(iter(KeyStyle)),
        )

    async def submit_batch(self, key: str, writes: Sequence[VendorWrite]) -> BatchTicket:
        for write in writes:
            assert isinstance(write.body, dict)
            id_, document = str(write.body["id"]), str(write.body["document"])
            self.held.pop(id_, None)
            if write.operation == "set":
                self.held[id_] = HeldMark(kind=LineKind.TIME, id=id_, document=document, reference=f"r{id_}")
        return BatchTicket(id=key)

    async def batch_outcome(self, ticket: BatchTicket, writes: Sequence[VendorWrite]) -> list[LineOutcome]:
        return [LineOutcome(key=write.key, landed=write.stamp) for write in writes]


async def mark(ledger: Ledger, delivery: QuietDelivery) -> Marked:
    marking = Marking(FakeSystems(ports={PSA: delivery}), ledger, clock=Clock())
    command = MarkExported(saga=REF, system=PSA, erp=ERP, limit=100)
    marked: Marked = await ActivityEnvironment().run(marking.mark, command)
    return marked


async def collect(ledger: Ledger) -> Collected:
    systems = FakeSystems(ports={PSA: QuietDelivery()})
    collecting = Collecting(systems, ledger, Gathering(systems, ledger), clock=Clock())
    command = CollectWork(saga=REF, system=PSA, erp=ERP, limit=100, through=DAY)
    collected: Collected = await ActivityEnvironment().run(collecting.collect, command)
    return collected


async def test_what_a_failed_attempt_took_in_is_told_by_its_successor(ledger: Ledger) -> None:
    """It read time, and failed at the listing: to the second attempt nothing is new."""
    assert not (await collect(ledger)).open
    await ledger.take_in([line(1)])
    told = await collect(ledger)
    assert (told.new, told.open) == (0, True)
    await claim(ledger, 1)
    assert not (await collect(ledger)).open, "it is in somebody's piece"


async def test_a_posting_to_take_back_is_open_work_too(ledger: Ledger) -> None:
    await posted(ledger, 1)
    assert not (await collect(ledger)).open
    await ledger.take_out([f"{PSA}/time_entries/1"])
    assert (await collect(ledger)).open


async def test_work_behind_the_cutoff_is_not_this_runs(ledger: Ledger) -> None:
    await ledger.take_in([line(1, work_date=DAY.replace(day=DAY.day + 1))])
    assert not await ledger.unclaimed(PSA, ERP, DAY)
    assert await ledger.unclaimed(PSA, ERP)


async def test_a_successors_mark_stays_when_its_predecessors_is_taken_off(ledger: Ledger) -> None:
    """An edited entry is one record in delivery, with one mark: both turns may come in one pass."""
    delivery = QuietDelivery()
    await posted(ledger, 1)
    assert (await mark(ledger, delivery)).marked == 1
    (before,) = delivery.held.values()
    await ledger.take_in([line(1, minutes=30, revision="r2")])
    piece = await claim(ledger, 2)
    await send(ledger, piece, BatchPurpose.REVERSE_COST)
    await place(ledger, 1)
    await send(ledger, piece)
    assert {row.cost for row in await rows(ledger)} == {CostState.REVERSED, CostState.POSTED}
    await mark(ledger, delivery)
    (after,) = delivery.held.values()
    assert after.document != before.document, "it names the new posting"
    assert [bool(row.marked) for row in await rows(ledger)] == [False, True]


async def test_a_mark_is_taken_off_what_was_taken_back(ledger: Ledger) -> None:
    delivery = QuietDelivery()
    await posted(ledger, 1, 2)
    await mark(ledger, delivery)
    await ledger.take_out([str(RecordRef(system=PSA, type="time_entries", id="1"))])
    await send(ledger, await claim(ledger, 2), BatchPurpose.REVERSE_COST)
    await mark(ledger, delivery)
    assert set(delivery.held) == {"2"}
