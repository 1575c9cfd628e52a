"""Between the effect table and what callers see; the small decisions both sides share."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.failures import Defect, Failure
from canonical.saga import Actor
from canonical.writes import Landed, UndoOutcome, VendorWrite
from ledger.rows import AuditEntry, EffectRow, EffectState
from ledger.tables.effect import Effect
from ledger.tables.tombstone import Tombstone

OPEN_STATES = (EffectState.INTENDED.value, EffectState.UNKNOWN.value)
CLOSED_STATES = (EffectState.UNDOING.value, EffectState.UNDONE.value)

_GENERATION = re.compile(r"\|g(\d+)\|(\d+)$")


def generation_of(key: str) -> int:
    """Generation within an effect key (``canonical.names.effect_key``).

    Raises:
        Defect: not an effect key.
    """
    found = _GENERATION.search(key)
    if found is None:
        raise Defect(f"{key!r} is not an effect key", system="ledger", key=key)
    return int(found.group(1))


async def effect_for_update(session: AsyncSession, key: str) -> Effect | None:
    """The row, locked and fresh."""
    query = select(Effect).where(col(Effect.key) == key).with_for_update()
    return (await session.exec(query.execution_options(populate_existing=True))).first()


async def known_effect(session: AsyncSession, key: str) -> Effect:
    """The row, locked and fresh.

    Raises:
        Defect: it was never claimed.
    """
    row = await effect_for_update(session, key)
    if row is None:
        raise Defect(f"no intent was recorded for {key}", system="ledger", key=key)
    return row


async def has_tombstone(session: AsyncSession, step_key: str) -> bool:
    """Whether the step is being or was undone."""
    query = select(Tombstone.id).where(col(Tombstone.step_key) == step_key)
    return (await session.exec(query)).first() is not None


def in_flight_until(row: Effect) -> datetime | None:
    """Until when an attempt may still send."""
    if row.released or row.state == EffectState.UNDONE:
        return None
    return row.deadline


def maybe_landed(row: Effect) -> bool:
    """Whether any attempt can have reached the vendor."""
    return row.landed is not None or row.uncertain or row.state == EffectState.UNKNOWN or not row.released


def failure_of(stored: dict[str, Any] | None) -> Failure | None:
    """A stored failure."""
    return None if stored is None else Failure.model_validate(stored)


def landed_of(stored: dict[str, Any] | None) -> Landed | None:
    """A stored result."""
    return None if stored is None else Landed.model_validate(stored)


def effect_row(row: Effect) -> EffectRow:
    """What callers see."""
    return EffectRow(
        id=row.id or 0,
        key=row.key,
        state=EffectState(row.state),
        system=row.system,
        operation=row.operation,
        title=row.title,
        record_type=row.record_type,
        saga_id=row.attempt_saga_id,
        step_key=row.step_key,
        business_key=row.business_key,
        region=row.region,
        shared=row.shared,
        generation=row.generation,
        forward_only=row.forward_only,
        write=VendorWrite.model_validate(row.write),
        body_hash=row.body_hash,
        attempt_id=row.attempt_id,
        attempts=row.attempts,
        deadline=row.deadline,
        in_flight_until=in_flight_until(row),
        maybe_landed=maybe_landed(row),
        before=row.before,
        landed=landed_of(row.landed),
        created_by_us=row.created_by_us,
        undo_outcome=None if row.undo_outcome is None else UndoOutcome.model_validate(row.undo_outcome),
        undo_failure=failure_of(row.undo_failure),
        failure=failure_of(row.failure),
        actor_id=row.actor_id,
        created_at=row.created_at,
        done_at=row.done_at,
        undone_at=row.undone_at,
    )


def audit_entry(row: Effect, action: str, name: str, **content: Any) -> AuditEntry:
    """An audit entry about a write: which fields, on what authority, nothing of their values.

    The values are in the effect row; the trail keeps their hash. ``name`` is the actor's.
    """
    write = VendorWrite.model_validate(row.write)
    return AuditEntry(
        chain=row.system,
        action=action,
        actor=Actor(name=name, roles=tuple(row.actor["roles"]), verified=row.actor["verified"]),
        saga_id=row.attempt_saga_id,
        effect_key=row.key,
        record=effect_row(row).record,
        content={
            "operation": row.operation,
            "step": row.attempt_step_key,
            "business_key": row.business_key,
            "region": row.region,
            "call": write.method,
            "fields": write.sets,
            "phase": write.phase.value,
            "body_hash": row.body_hash,
            "attempts": row.attempts,
            **content,
        },
    )
