"""What became of an attempt: it did not send, nobody knows, or the record is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from canonical.causes import Cause
from canonical.failures import Defect, Failure, Transient
from canonical.writes import Landed, VendorWrite
from ledger.claims import Claims
from ledger.core import unbroken
from ledger.effect_rows import (
    CLOSED_STATES,
    OPEN_STATES,
    audit_entry,
    effect_for_update,
    effect_row,
    known_effect,
    landed_of,
)
from ledger.links import Links
from ledger.rows import EffectState, LinkHint, Recorded
from ledger.tables.effect import Effect

Outcome = Literal["not_sent", "unknown"]


class Outcomes(Claims, Links):
    """Recording the results of attempts."""

    @unbroken
    async def release(
        self, key: str, attempt_id: str, *, outcome: Outcome, failure: Failure | None = None
    ) -> bool:
        """End an attempt that did not succeed, so that the next need not wait for its deadline.

        Args:
            key: The effect's key.
            attempt_id: The attempt that ends.
            outcome: ``not_sent`` only when the call certainly did not reach the vendor or was refused
                by it; else ``unknown``, and every later attempt looks first.
            failure: Why.

        Returns:
            False when the attempt was not the current one any more (nothing changed).
        """
        async with self.transaction() as session:
            row = await effect_for_update(session, key)
            if row is None or row.attempt_id != attempt_id or row.landed is not None:
                return False
            if outcome == "unknown" and row.state in OPEN_STATES:
                row.state = EffectState.UNKNOWN.value
            if outcome == "unknown":
                row.uncertain = True
                if row.body_hash not in row.sent_hashes:
                    row.sent_hashes = [*row.sent_hashes, row.body_hash]
            row.released = True
            row.failure = None if failure is None else failure.model_dump(mode="json")
            row.updated_at = self.now()
            session.add(row)
            return True

    @unbroken
    async def set_before(self, key: str, attempt_id: str, before: dict[str, Any]) -> dict[str, Any]:
        """Keep the before-image of an update, before it is sent.

        Returns:
            The image in force: the first one, when an earlier attempt may already have changed the
            record; else ``before``.

        Raises:
            Transient: the attempt is not the current one any more; do not send.
        """
        async with self.transaction() as session:
            row = await known_effect(session, key)
            if row.attempt_id != attempt_id or row.state != EffectState.INTENDED:
                raise Transient(
                    f"another attempt took over {key}",
                    cause=Cause.VERSION_CONFLICT,
                    system=row.system,
                    key=key,
                )
            if row.before is None or not row.uncertain:
                row.before = before
                row.updated_at = self.now()
                session.add(row)
            return row.before

    @unbroken
    async def done(
        self,
        key: str,
        attempt_id: str,
        landed: Landed,
        *,
        created: bool,
        before: dict[str, Any] | None = None,
        write: VendorWrite | None = None,
        body_hash: str | None = None,
        links: Sequence[LinkHint] = (),
        personal: dict[str, Any] | None = None,
        person: str | None = None,
    ) -> Recorded:
        """Record that the record is there, with its links and an audit row, in one transaction.

        An attempt that was overtaken records as well: what landed, landed. Repeating it is harmless.

        Args:
            key: The effect's key.
            attempt_id: The attempt that sent or found it.
            landed: The record.
            created: False when it was there before us: it is then never deleted by an undo.
            before: An update's before-image, unless ``set_before`` kept it.
            write: The write as sent, when it differs from the one claimed.
            body_hash: Hash of the body that the record now shows, when it differs from the one claimed;
                on a done row it records an amendment.
            links: Besides those given to ``claim``.
            personal: Personal values to keep with the audit row, encrypted.
            person: Whose values these are; the actor's when empty.

        Returns:
            The row; ``closed`` when it landed during or after its undo: undo it now.

        Raises:
            Defect: it is done already with another record (both are named): there is a duplicate. The
                audit trail keeps it. Also when the key was never claimed.
        """
        async with self.transaction() as session:
            row = await known_effect(session, key)
            known = landed_of(row.landed)
            action = "written" if created else "linked"
            if known is not None and known.id != landed.id:
                action = "duplicate"
            elif known is not None:
                if body_hash is None or body_hash == row.body_hash:
                    return Recorded(effect=effect_row(row), closed=row.state in CLOSED_STATES)
                action = "amended"
            if row.kind == "update" and action == "written":
                action = "changed"
            extra: dict[str, Any]
            if action == "duplicate":
                extra = {"kept": known.id if known else None, "other": landed.id, "by": attempt_id}
            else:
                extra = {"created": created, "version": landed.version}
                self._land(row, attempt_id, landed, created, action)
                if row.before is None:
                    row.before = before
                if write is not None:
                    row.write = write.model_dump()
                row.body_hash = body_hash or row.body_hash
                hints = [LinkHint.model_validate(hint) for hint in row.links] + list(links)
                await self._link_effect(session, row, landed, hints)
            session.add(row)
            await session.flush()
            name = (await self._names(session, [row.actor_id]))[row.actor_id]
            entry = audit_entry(row, action, name, **extra)
            entry = entry.model_copy(update={"personal": personal, "person": person})
            await self._append(session, entry, row.actor_id)
            recorded = Recorded(effect=effect_row(row), closed=row.state in CLOSED_STATES)
        if action == "duplicate":
            raise Defect(
                f"{key} landed twice: {known.id if known else '?'} and {landed.id}",
                system=row.system,
                key=key,
                remedy=f"decide which of the two {row.record_type} records stays",
                survivors=tuple(
                    record.model_copy(update={"id": identity, "url": None})
                    for record in [recorded.effect.record]
                    if record is not None
                    for identity in (record.id, landed.id)
                ),
            )
        return recorded

    def _land(self, row: Effect, attempt_id: str, landed: Landed, created: bool, action: str) -> None:
        now = self.now()
        if action != "amended":
            row.created_by_us = created
            row.done_at = now
        row.landed = landed.model_dump()
        row.record_id = landed.id
        row.failure = None
        row.updated_at = now
        if row.attempt_id == attempt_id:
            row.released = True
        if row.state in CLOSED_STATES:
            row.landed_late = True
            row.state = EffectState.UNDOING.value
        else:
            row.state = EffectState.DONE.value
