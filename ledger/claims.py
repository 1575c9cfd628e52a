"""Claiming a vendor write: no intent row, no call.

One transaction decides which attempt may send. What an attempt left behind decides whether the next
one has to look first: only an attempt that said it did not send leaves nothing to look for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.failures import Defect
from canonical.saga import Actor
from canonical.writes import VendorWrite
from ledger.core import unbroken
from ledger.effect_rows import (
    OPEN_STATES,
    effect_for_update,
    failure_of,
    generation_of,
    has_tombstone,
    landed_of,
)
from ledger.people import actor_facts
from ledger.rows import Claim, ClaimState, EffectState, LinkHint
from ledger.shared import SharedRecords
from ledger.tables.effect import Effect

UNDOING_POLL = timedelta(seconds=10)
"""When to ask again about a shared record that another saga is undoing: no deadline is known for that."""


class Claims(SharedRecords):
    """Claiming writes and checking that a claim still holds."""

    @unbroken
    async def claim(
        self,
        write: VendorWrite,
        *,
        saga_id: str,
        actor: Actor,
        attempt_id: str,
        deadline: datetime,
        asked_at: datetime,
        body_hash: str,
        business_key: str,
        region: str,
        links: Sequence[LinkHint] = (),
    ) -> Claim:
        """Ask whether ``write`` may be sent; see ``ClaimState`` for the answers.

        A claim whose answer got lost may be repeated with the same ``attempt_id``: the answer is then
        ``LOOK`` instead of ``FIRST``, which is safe.

        Args:
            write: The write with its symbols resolved; it is stored, because undo and find need it.
            saga_id: Who wants to write.
            actor: On whose authority; goes to the audit trail.
            attempt_id: Unique per attempt (workflow, activity and attempt number). Never part of a key.
            deadline: After it this attempt will not send any more. Aware datetime.
            asked_at: When the saga asked for it, the same for every attempt at one asking. Aware datetime.
            body_hash: Hash of the resolved body, to notice an amended input.
            business_key: For lists, for example the deal.
            region: The partition.
            links: What the record is in canonical terms; becomes link rows once the write is done.

        Raises:
            Transient: the database is away or busy (``LEDGER_UNAVAILABLE``).
        """
        async with self.transaction() as session:
            await self.lock(session, f"step:{write.step_key}", f"effect:{write.shared or write.key}")
            if await has_tombstone(session, write.step_key):
                return await self._closed(session, write)
            row = await effect_for_update(session, write.key)
            if row is not None and _overtaken(row, saga_id, write.step_key, asked_at):
                return Claim(state=ClaimState.OVERTAKEN, key=write.key, attempts=row.attempts)
            refusal = await self._refusal(session, write, row)
            if refusal is not None:
                return refusal
            if row is not None and row.state in OPEN_STATES and self._in_use(row, attempt_id):
                return Claim(state=ClaimState.BUSY, key=write.key, attempts=row.attempts, until=row.deadline)
            if write.shared is not None:
                await self._hold(session, write.shared, saga_id, write.step_key)
            if row is not None and row.state == EffectState.DONE:
                if write.shared is None and row.asked_at != asked_at:
                    row.asked_at = asked_at
                    session.add(row)
                return Claim(
                    state=ClaimState.DONE,
                    key=write.key,
                    attempts=row.attempts,
                    landed=landed_of(row.landed),
                    created_by_us=row.created_by_us,
                    body_hash_matches=row.body_hash == body_hash,
                    before=row.before,
                )
            attempt: dict[str, Any] = {
                "attempt_id": attempt_id,
                "attempt_saga_id": saga_id,
                "attempt_step_key": write.step_key,
                "actor_id": await self._put_person(session, actor.name),
                "actor": actor_facts(actor),
                "deadline": deadline,
                "asked_at": asked_at,
                "body_hash": body_hash,
                "write": write.model_dump(),
                "links": [link.model_dump() for link in links],
            }
            if row is None:
                row = self._first(write, business_key, region, attempt)
            else:
                self._take_over(row, write, attempt)
            session.add(row)
            await session.flush()
            look = row.uncertain or self.look_always
            return Claim(
                state=ClaimState.LOOK if look else ClaimState.FIRST,
                key=write.key,
                attempts=row.attempts,
                body_hash_matches=all(sent == body_hash for sent in row.sent_hashes),
                before=row.before,
                failure=failure_of(row.failure),
            )

    def _in_use(self, row: Effect, attempt_id: str) -> bool:
        return row.attempt_id != attempt_id and not row.released and self.now() < row.deadline

    def _first(self, write: VendorWrite, business_key: str, region: str, attempt: dict[str, Any]) -> Effect:
        now = self.now()
        return Effect(
            key=write.key,
            system=write.system,
            operation=write.operation,
            record_type=write.record_type,
            kind=write.kind.value,
            title=write.title,
            state=EffectState.INTENDED.value,
            saga_id=attempt["attempt_saga_id"],
            step_key=write.step_key,
            business_key=business_key,
            region=region,
            shared=write.shared,
            generation=generation_of(write.key),
            forward_only=write.forward_only,
            attempts=1,
            created_at=now,
            updated_at=now,
            **attempt,
        )

    def _take_over(self, row: Effect, write: VendorWrite, attempt: dict[str, Any]) -> None:
        if (row.system, row.shared) != (write.system, write.shared):
            raise Defect(f"{row.key} was claimed for another system or shared record", key=row.key)
        # An attempt that did not report back may have sent; so may one that reported it does not know.
        if not row.released or row.state == EffectState.UNKNOWN:
            row.uncertain = True
            if row.body_hash not in row.sent_hashes:
                row.sent_hashes = [*row.sent_hashes, row.body_hash]
        for field, value in attempt.items():
            setattr(row, field, value)
        row.title, row.forward_only = write.title, write.forward_only
        row.state = EffectState.INTENDED.value
        row.released = False
        row.attempts += 1
        row.updated_at = self.now()

    async def _refusal(self, session: AsyncSession, write: VendorWrite, row: Effect | None) -> Claim | None:
        """CLOSED or BUSY when the key, or the shared record's generation, is undone or being undone."""
        if write.shared is None:
            closed = row is not None and row.state in (EffectState.UNDOING, EffectState.UNDONE)
            return Claim(state=ClaimState.CLOSED, key=write.key) if closed else None
        undoing = await self._being_undone(session, write.shared)
        if undoing is not None:
            return Claim(
                state=ClaimState.BUSY,
                key=write.key,
                until=self.now() + UNDOING_POLL,
                failure=failure_of(undoing.undo_failure),
            )
        if generation_of(write.key) in await self._undone_generations(session, write.shared):
            return await self._closed(session, write)
        return None

    async def _closed(self, session: AsyncSession, write: VendorWrite) -> Claim:
        next_generation = None
        if write.shared is not None:
            next_generation = 1 + len(await self._undone_generations(session, write.shared))
        return Claim(state=ClaimState.CLOSED, key=write.key, next_generation=next_generation)

    @unbroken
    async def may_change(self, key: str, asked_at: datetime) -> bool:
        """The last word before a record of ours that is done is changed to show an amended input.

        Returns:
            False when the saga has asked again since, or the record is being undone: nothing may be sent.
        """
        async with self.transaction() as session:
            row = await effect_for_update(session, key)
            return row is not None and row.state == EffectState.DONE and row.asked_at == asked_at

    @unbroken
    async def extend(self, key: str, attempt_id: str, deadline: datetime) -> bool:
        """The last word before the wire: may this attempt send now, and is its lease as long as the call?

        Looking, reading a before-image and waiting for a free connection all take time from the lease
        that the claim gave. Only a lease that begins when the call does covers the call.

        Args:
            key: the effect's key.
            attempt_id: the attempt that is about to send.
            deadline: until when it may be sending. Aware datetime.

        Returns:
            False when another attempt took over, the lease ran out, or the step is being undone:
            nothing may be sent.
        """
        async with self.transaction() as session:
            row = await effect_for_update(session, key)
            if row is None or row.attempt_id != attempt_id or row.state != EffectState.INTENDED:
                return False
            if row.released or self.now() >= row.deadline:
                return False
            if await has_tombstone(session, row.attempt_step_key):
                return False
            row.deadline = deadline
            row.updated_at = self.now()
            session.add(row)
            return True


def _overtaken(row: Effect, saga_id: str, step_key: str, asked_at: datetime) -> bool:
    """Whether the same step has asked for the write again, later: a worker that froze may come back with
    what it was told before. Between steps and sagas that share a record nobody overtakes anybody.
    """
    if (row.attempt_saga_id, row.attempt_step_key) != (saga_id, step_key):
        return False
    return row.asked_at is not None and asked_at < row.asked_at
