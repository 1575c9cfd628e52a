"""A vendor in memory that does what it is told to do wrong, and the writes that tests send to it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from activities.contracts import SagaRef
from activities.effects import Effects, Performed
from activities.sending import Attempt
from canonical.causes import Cause
from canonical.failures import TIMED_OUT, Conflict, OutcomeUnknown, SystemFailure
from canonical.names import effect_key, shared_key, stamp, step_key
from canonical.operations import HealthCheck
from canonical.refs import SystemRole
from canonical.saga import Actor
from canonical.writes import KeyStyle, Landed, Shown, UndoOutcome, UndoResult, VendorWrite, WriteKind
from connectors.ports import PERMIT, Permit
from ledger.store import Ledger
from tests.ledger.subject import Clock

ANNA = Actor(name="anna@example.com", roles=("finance",), verified=True)
SAGA, OTHER = "o2p:emea:crm:006A", "o2p:emea:crm:006B"
ERP = "erp"
LEASE = 36.0
"""Seconds that an attempt may take: one call and the margin."""

Move = Callable[[VendorWrite], Awaitable[None]]


@dataclass
class Record:
    id: str
    stamp: str
    fields: dict[str, Any]
    active: bool = True


@dataclass
class FakeVendor:
    """Keeps records by stamp. Faults are queued per call and used up one by one."""

    clock: Clock
    system: str = ERP
    mapping_digest: str = ""
    records: dict[str, Record] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    """``send``, ``find``, ``amend``, ``undo``, ``read_back``, ``before_image`` in order."""
    faults: dict[str, list[SystemFailure | Move]] = field(default_factory=lambda: defaultdict(list))
    late: list[VendorWrite] = field(default_factory=list)
    """Creates that the vendor has accepted and not carried out yet."""
    blind: int = 0
    """How many look-ups to come miss what is there: the search lags behind."""
    undo_leaves: UndoResult = UndoResult.DELETED
    shows: dict[str, Any] = field(default_factory=dict)
    """What a read-back shows instead of the truth."""
    numbers: int = 100

    def count(self, call: str) -> int:
        return self.calls.count(call)

    @property
    def live(self) -> list[Record]:
        return [record for record in self.records.values() if record.active]

    def commit(self, write: VendorWrite) -> Record:
        self.numbers += 1
        record = Record(str(self.numbers), write.stamp, dict(write.body))
        self.records[record.id] = record
        return record

    def deliver(self) -> None:
        """Carry out what was accepted late."""
        for write in self.late:
            self.commit(write)
        self.late.clear()

    async def _take(self, call: str, write: VendorWrite) -> None:
        self.calls.append(call)
        if self.faults[call]:
            fault = self.faults[call].pop(0)
            if isinstance(fault, SystemFailure):
                raise fault
            await fault(write)

    # --- faults of a send -------------------------------------------------------------------------

    async def loses_the_answer(self, write: VendorWrite) -> None:
        """Commits, then the connection breaks."""
        self._apply(write)
        raise OutcomeUnknown("connection lost", system=self.system)

    async def never_hears_it(self, write: VendorWrite) -> None:
        raise OutcomeUnknown("connection lost", system=self.system)

    async def commits_late(self, write: VendorWrite) -> None:
        self.late.append(write)
        raise OutcomeUnknown("connection lost", system=self.system)

    async def hangs(self, write: VendorWrite) -> None:
        await asyncio.sleep(3600)

    async def commits_and_hangs(self, write: VendorWrite) -> None:
        self._apply(write)
        await asyncio.sleep(3600)

    # --- the port -----------------------------------------------------------------------------------

    def _apply(self, write: VendorWrite) -> Record:
        if write.kind is WriteKind.CREATE:
            return self.commit(write)
        record = self.records[write.target]
        record.fields.update(write.body)
        return record

    async def _in_time(self, permit: Permit, call: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(permit.seconds):
                await call
        except TimeoutError:
            raise OutcomeUnknown("no answer in time", system=self.system, vendor_code=TIMED_OUT) from None

    async def _permitted(self, write: VendorWrite) -> Permit:
        permit = PERMIT.get()
        assert permit is not None, "a write without the executor's permit"
        for waiting in self.faults.pop("connect", ()):
            assert not isinstance(waiting, SystemFailure)
            await waiting(write)  # for a free connection
        await permit.confirm()
        return permit

    async def send(self, write: VendorWrite) -> Landed:
        permit = await self._permitted(write)
        await self._in_time(permit, self._take("send", write))
        if write.kind is WriteKind.CREATE and any(one.stamp == write.stamp for one in self.live):
            raise Conflict("there is a record with this key already", system=self.system)
        return landed(self._apply(write))

    async def find(self, write: VendorWrite) -> Landed | None:
        await self._take("find", write)
        if self.blind:
            self.blind -= 1
            return None
        if write.kind is WriteKind.UPDATE:
            record = self.records.get(write.target)
            shown = record is not None and write.body.items() <= record.fields.items()
            return landed(record) if record is not None and shown else None
        return next((landed(one) for one in self.records.values() if one.stamp == write.stamp), None)

    async def find_all(self, writes: Sequence[VendorWrite]) -> list[Landed | None]:
        return [await self.find(write) for write in writes]

    async def read_back(self, landed: Sequence[tuple[VendorWrite, Landed]]) -> list[Shown]:
        return [await self._shown(write, one) for write, one in landed]

    async def _shown(self, write: VendorWrite, landed: Landed) -> Shown:
        await self._take("read_back", write)
        shown = {**self.records[landed.id].fields, **self.shows}
        return Shown(landed=landed, values={name: shown.get(name) for name in write.expect})

    async def amend(self, write: VendorWrite, landed: Landed) -> Landed:
        permit = await self._permitted(write)
        await self._in_time(permit, self._take("amend", write))
        self.records[landed.id].fields.update(write.body)
        return landed

    async def before_image(self, write: VendorWrite) -> dict[str, Any]:
        await self._take("before_image", write)
        return {name: self.records[write.target].fields.get(name) for name in write.restore}

    async def undo(self, write: VendorWrite, landed: Landed, before: dict[str, Any] | None) -> UndoOutcome:
        await self._take("undo", write)
        record = self.records.get(landed.id)
        if record is None:
            return UndoOutcome(result=UndoResult.NOTHING_THERE)
        if write.kind is WriteKind.UPDATE:
            if not write.body.items() <= record.fields.items():
                raise Conflict("changed", cause=Cause.CHANGED_BY_SOMEBODY, system=self.system)
            record.fields.update(before or {})
            return UndoOutcome(result=UndoResult.RESTORED)
        if self.undo_leaves is UndoResult.DELETED:
            del self.records[landed.id]
        else:
            record.active = False
        return UndoOutcome(result=self.undo_leaves, gap=record.fields.get("number"))

    def link(self, record_type: str, record_id: str) -> str | None:
        return None

    async def check(self) -> list[HealthCheck]:
        return []

    async def close(self) -> None:
        return None


def landed(record: Record) -> Landed:
    return Landed(id=record.id, values={"code": f"P{record.id}"})


@dataclass
class Bench:
    """Executor, ledger, vendor and clock together; waiting turns the clock."""

    ledger: Ledger
    vendor: FakeVendor
    clock: Clock
    slept: list[float] = field(default_factory=list)
    on_sleep: Callable[[], None] = lambda: None
    attempts: int = 0

    @property
    def effects(self) -> Effects:
        return Effects(self.ledger, clock=self.clock, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.turn(seconds)
        self.on_sleep()
        await asyncio.sleep(0)

    async def perform(
        self,
        *writes: VendorWrite,
        saga: str = SAGA,
        values: Mapping[str, str] | None = None,
        call_seconds: float = LEASE - 1,
        attempt: str | None = None,
        asked_at: datetime | None = None,
        absent: Sequence[str] = (),
    ) -> Performed:
        """One activity attempt."""
        self.attempts += 1
        return await self.effects.perform(
            self.vendor,
            (SystemRole.ERP,),
            writes,
            saga=ref(saga, call_seconds=call_seconds),
            attempt=Attempt(attempt or f"attempt-{self.attempts}", asked_at or self.clock()),
            values=values or {},
            absent=absent,
        )

    async def undo(self, step: str = "contract", saga: str = SAGA) -> tuple[str, ...]:
        """One undo activity; answers its words."""
        result = await self.effects.undo_step(self.vendor, step_key(saga, 1, step), saga=ref(saga))
        return result.done


def ref(saga: str = SAGA, **more: Any) -> SagaRef:
    values: dict[str, Any] = {
        "saga_id": saga,
        "region": "emea",
        "business_key": f"crm/{saga[-4:]}",
        "trace_id": "t",
        "actor": ANNA,
        "call_seconds": LEASE - 1,
        **more,
    }
    return SagaRef(**values)


def create(
    identity: str = "006A.NL01.EUR",
    *,
    saga: str = SAGA,
    step: str = "contract",
    ordinal: int = 1,
    title: str = "Northwind",
    **more: Any,
) -> VendorWrite:
    """A create that belongs to one saga."""
    key = effect_key(ERP, "set_up", identity, 1, ordinal)
    values: dict[str, Any] = {
        "system": ERP,
        "operation": "set_up",
        "title": f"Create {identity}",
        "record_type": "job",
        "kind": WriteKind.CREATE,
        "key": key,
        "step_key": step_key(saga, 1, step),
        "stamp": stamp(key),
        "symbol": f"project:{identity}",
        "produces": ("id", "code"),
        "method": "POST",
        "path": "/job",
        "body": {"companyName": title},
        "sets": {"companyName": "project.title"},
        "key_style": KeyStyle.STAMPED,
        **more,
    }
    return VendorWrite(**values)


def client(saga: str = SAGA, *, generation: int = 1, ordinal: int = 1, **more: Any) -> VendorWrite:
    """A create of a client that several sagas rely on."""
    key = effect_key(ERP, "ensure_client", "001X", generation, ordinal)
    return create(
        saga=saga,
        step="clients",
        **{
            "key": key,
            "stamp": stamp(key),
            "operation": "ensure_client",
            "symbol": "client:001X",
            "record_type": "customer",
            "body": {"companyName": "Northwind"},
            "sets": {"companyName": "client.name"},
            "shared": CLIENT,
            **more,
        },
    )


CLIENT = shared_key(ERP, "ensure_client", "001X")


def update(target: Any, *, saga: str = SAGA, step: str = "contract", **more: Any) -> VendorWrite:
    """A change of a record that is there; ``target`` is its id or a symbol."""
    values: dict[str, Any] = {
        "kind": WriteKind.UPDATE,
        "target": target,
        "symbol": "status:x",
        "produces": ("id",),
        "body": {"status": "approved"},
        "sets": {"status": "contract.status"},
        "restore": ("status",),
        **more,
    }
    return create("006A.approve", saga=saga, step=step, **values)
