"""Writes, claims and a clock for the ledger's tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from canonical.names import effect_key, shared_key, stamp, step_key
from canonical.saga import Actor
from canonical.writes import KeyStyle, Landed, UndoOutcome, UndoResult, VendorWrite, WriteKind
from ledger.rows import Claim
from ledger.store import Ledger

ANNA = Actor(name="anna@example.com", roles=("finance",), verified=True)
SAGA = "o2p:emea:sf-main:006A"
OTHER = "o2p:emea:sf-main:006B"
CLIENT = shared_key("ns-emea", "ensure_client", "001X")
NOTHING = UndoOutcome(result=UndoResult.NOTHING_THERE)
DELETED = UndoOutcome(result=UndoResult.DELETED)


class Clock:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def turn(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def project(
    identity: str = "006A.UK.GBP", *, saga: str = SAGA, generation: int = 1, **more: Any
) -> VendorWrite:
    """A create that belongs to one saga."""
    key = effect_key("ns-emea", "set_up_project", identity, generation)
    return make(key, step_key(saga, generation, "erp-project"), **more)


def client(saga: str = SAGA, *, generation: int = 1, ordinal: int = 1, **more: Any) -> VendorWrite:
    """A create of a client that several sagas rely on."""
    key = effect_key("ns-emea", "ensure_client", "001X", generation, ordinal)
    return make(key, step_key(saga, 1, "erp-client"), shared=CLIENT, **more)


def make(key: str, step: str, **more: Any) -> VendorWrite:
    values: dict[str, Any] = {
        "system": "ns-emea",
        "operation": key.split("|")[1],
        "title": f"create {key}",
        "record_type": "job",
        "kind": WriteKind.CREATE,
        "key": key,
        "step_key": step,
        "stamp": stamp(key),
        "symbol": "project:x",
        "method": "POST",
        "path": "/record/v1/job",
        "body": {"companyName": "Müller & Söhne"},
        "sets": {"companyName": "project.name"},
        "key_style": KeyStyle.STAMPED,
    }
    return VendorWrite(**{**values, **more})


async def claim(
    ledger: Ledger,
    write: VendorWrite,
    attempt: str = "a1",
    *,
    saga: str = SAGA,
    seconds: float = 60,
    body_hash: str = "h1",
    asked_at: datetime | None = None,
    **more: Any,
) -> Claim:
    return await ledger.claim(
        write,
        saga_id=saga,
        actor=ANNA,
        attempt_id=attempt,
        deadline=ledger.now() + timedelta(seconds=seconds),
        asked_at=asked_at or ledger.now(),
        body_hash=body_hash,
        business_key="006A",
        region="emea",
        **more,
    )


async def land(
    ledger: Ledger, write: VendorWrite, record: str = "77", attempt: str = "a1", *, saga: str = SAGA
) -> None:
    """Claim and record as created."""
    await claim(ledger, write, attempt, saga=saga)
    await ledger.done(write.key, attempt, Landed(id=record), created=True)


async def may_send(ledger: Ledger, key: str, attempt: str) -> bool:
    """Whether an attempt at a write could send now; its lease stays as it is."""
    row = await ledger.effect(key)
    return row is not None and await ledger.extend(key, attempt, row.deadline)
