"""The audit trail: every vendor write and every human decision, hash-chained per system instance.

A row's hash covers the row and the hash before it; writers of one chain take turns at its head row.
Database triggers refuse to change or delete rows, ``verify`` notices if somebody did it all the same.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.failures import Defect
from canonical.refs import RecordRef
from canonical.saga import Actor
from ledger.core import unbroken
from ledger.people import People, actor_facts, actor_of
from ledger.rows import AuditEntry, AuditRow, Page
from ledger.tables.audit import Audit, AuditHead, AuditPersonal
from ledger.tables.person import Person
from ledger.types import canonical_json, loads

DECISIONS_CHAIN = "trueup"
"""Chain of human decisions and of what we do to ourselves."""

GENESIS = "0" * 64
"""What the first row of a chain and its first seal stand on."""


def row_hash(row: Audit) -> str:
    """Hash of a row with the hash before it: any change to either shows."""
    content = {
        "chain": row.chain,
        "seq": row.seq,
        "at": row.at.isoformat(timespec="microseconds"),
        "action": row.action,
        "saga_id": row.saga_id,
        "effect_key": row.effect_key,
        "record": row.record,
        "actor_id": row.actor_id,
        "content": row.content,
        "personal_digest": row.personal_digest,
        "prev_hash": row.prev_hash,
    }
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def personal_digest(text: str) -> str:
    """Digest of a personal payload. The payload holds a salt, so the digest cannot be guessed from."""
    return hashlib.sha256(text.encode()).hexdigest()


def personal_aad(chain: str, seq: int) -> bytes:
    """Ties a sealed payload to its row."""
    return f"{chain}|{seq}".encode()


class AuditTrail(People):
    """Appending to and reading the audit trail."""

    @unbroken
    async def audit(self, *entries: AuditEntry) -> None:
        """Append entries, all or none.

        Raises:
            Transient: the database is away or busy.
        """
        async with self.transaction() as session:
            for entry in entries:
                actor_id = await self._put_person(session, entry.actor.name)
                await self._append(session, entry, actor_id)

    async def _append(self, session: AsyncSession, entry: AuditEntry, actor_id: str) -> None:
        """Append within a transaction. Locks the chain: do it last."""
        head = await self._head(session, entry.chain)
        seq = head.seq + 1
        digest = await self._put_personal(session, entry, seq, actor_id)
        row = Audit(
            chain=entry.chain,
            seq=seq,
            at=self.now(),
            action=entry.action,
            saga_id=entry.saga_id,
            effect_key=entry.effect_key,
            record=None if entry.record is None else str(entry.record),
            actor_id=actor_id,
            content=canonical_json({**entry.content, "actor": actor_facts(entry.actor)}),
            personal_digest=digest,
            prev_hash=head.row_hash,
            row_hash="",
        )
        row.row_hash = row_hash(row)
        head.seq, head.row_hash = seq, row.row_hash
        session.add_all([row, head])
        await session.flush()

    async def _head(self, session: AsyncSession, chain: str) -> AuditHead:
        await self.insert_ignore(session, AuditHead, {"chain": chain, "seq": 0, "row_hash": GENESIS})
        query = select(AuditHead).where(col(AuditHead.chain) == chain).with_for_update()
        return (await session.exec(query.execution_options(populate_existing=True))).one()

    async def _put_personal(
        self, session: AsyncSession, entry: AuditEntry, seq: int, actor_id: str
    ) -> str | None:
        if entry.personal is None or self._sealer is None:
            return None
        person = actor_id if entry.person is None else await self._put_person(session, entry.person)
        cipher = await self._person_cipher(session, person)
        if cipher is None:  # The system itself is nobody's data.
            return None
        text = canonical_json({"salt": secrets.token_hex(16), "values": entry.personal})
        sealed = cipher.encrypt(text.encode(), personal_aad(entry.chain, seq))
        session.add(AuditPersonal(chain=entry.chain, seq=seq, person=person, sealed=sealed, at=self.now()))
        return personal_digest(text)

    @unbroken
    async def audit_rows(
        self,
        *,
        chain: str | None = None,
        saga_id: str | None = None,
        effect_key: str | None = None,
        record: RecordRef | None = None,
        since: datetime | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Page[AuditRow]:
        """The trail, oldest first, with actors' names where they can be shown."""
        query = select(Audit).where(col(Audit.id) > after).order_by(col(Audit.id)).limit(limit + 1)
        for column, value in (
            (col(Audit.chain), chain),
            (col(Audit.saga_id), saga_id),
            (col(Audit.effect_key), effect_key),
            (col(Audit.record), None if record is None else str(record)),
        ):
            if value is not None:
                query = query.where(column == value)
        if since is not None:
            query = query.where(col(Audit.at) >= since)
        async with self.reading() as session:
            found = list(await session.exec(query))
            shown = found[:limit]
            names = await self._names(session, (row.actor_id for row in shown))
            rows = tuple([await self._audit_row(session, row, names[row.actor_id]) for row in shown])
        return Page(rows=rows, cursor=rows[-1].id if len(found) > limit else None)

    async def _audit_row(self, session: AsyncSession, row: Audit, name: str) -> AuditRow:
        content: dict[str, Any] = loads(row.content)
        return AuditRow(
            id=row.id or 0,
            chain=row.chain,
            seq=row.seq,
            at=row.at,
            action=row.action,
            saga_id=row.saga_id,
            effect_key=row.effect_key,
            record=None if row.record is None else RecordRef.parse(row.record),
            actor=actor_of(name, content.pop("actor", {})),
            content=content,
            personal=None if row.personal_digest is None else await self._open_personal(session, row),
            row_hash=row.row_hash,
        )

    async def _open_personal(self, session: AsyncSession, row: Audit) -> dict[str, Any] | None:
        try:
            text = await self._personal_text(session, row)
        except Defect:  # Another key, or changed bytes: ``verify`` says so, a list must still be shown.
            return None
        return None if text is None else dict(loads(text)["values"])

    async def _personal_text(self, session: AsyncSession, row: Audit) -> str | None:
        query = select(AuditPersonal).where(
            col(AuditPersonal.chain) == row.chain, col(AuditPersonal.seq) == row.seq
        )
        kept = (await session.exec(query)).first()
        cipher = None if kept is None else await self._person_cipher(session, kept.person)
        if kept is None or cipher is None:
            return None
        return cipher.decrypt(kept.sealed, personal_aad(row.chain, row.seq)).decode()

    @unbroken
    async def purge_personal(self, before: datetime) -> int:
        """Delete sealed personal values older than ``before`` (retention). The chain still verifies.

        Returns:
            How many were deleted.
        """
        async with self.transaction() as session:
            old = col(AuditPersonal.at) < before
            found: Sequence[int | None] = list(await session.exec(select(AuditPersonal.id).where(old)))
            await session.exec(delete(AuditPersonal).where(old))
            return len(found)

    @unbroken
    async def erase_person(self, name: str, *, ordered_by: Actor, reason: str) -> bool:
        """Destroy a person's key: name and personal audit values become unreadable for good (rule 48).

        The chain still verifies; pseudonyms and statutory amounts stay. Backups made before keep the key
        until they expire.

        Returns:
            False when nothing readable of that person is stored.
        """
        if self._sealer is None:
            return False
        pseudonym = self._sealer.pseudonym(name)
        async with self.transaction() as session:
            query = select(Person).where(col(Person.pseudonym) == pseudonym).with_for_update()
            person = (await session.exec(query)).first()
            if person is None or person.wrapped_key is None:
                return False
            person.wrapped_key, person.sealed_name, person.erased_at = None, None, self.now()
            session.add(person)
            # Noise without the key; and should the person act again, there is a new key.
            await session.exec(delete(AuditPersonal).where(col(AuditPersonal.person) == pseudonym))
            await session.flush()
            entry = AuditEntry(
                chain=DECISIONS_CHAIN,
                action="person_erased",
                actor=ordered_by,
                content={"person": pseudonym, "reason": reason},
            )
            await self._append(session, entry, await self._put_person(session, ordered_by.name))
            return True
