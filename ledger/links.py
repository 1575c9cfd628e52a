"""The cross-reference: which records in which systems are the same thing, with the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.base import Canonical
from canonical.causes import Cause
from canonical.failures import Conflict
from canonical.refs import RecordRef
from canonical.writes import Landed
from ledger.core import Core, unbroken
from ledger.rows import LinkHint, LinkRow, Page
from ledger.tables.effect import Effect
from ledger.tables.link import Link

IDS_AT_ONCE = 500
"""Values of one IN list: few enough that a statement is not parsed for longer than it runs."""


class NewLink(Canonical):
    """A link to be made."""

    kind: str
    key: str
    record: RecordRef
    evidence: dict[str, Any] = {}
    created_by_us: bool
    adopted: bool = False
    """Was there before us and was confirmed (rule 22): never undone."""
    effect_key: str | None = None
    saga_id: str | None = None


class Links(Core):
    """Making and looking up links."""

    @unbroken
    async def link(
        self,
        kind: str,
        key: str,
        record: RecordRef,
        *,
        evidence: dict[str, Any] | None = None,
        created_by_us: bool,
        adopted: bool = False,
        effect_key: str | None = None,
        saga_id: str | None = None,
    ) -> LinkRow:
        """Link a canonical object (``client``, ``contract``, ...) to its record. Idempotent.

        Raises:
            Conflict: the object is linked to another record of that type in that system.
        """
        new = NewLink(
            kind=kind,
            key=key,
            record=record,
            evidence=evidence or {},
            created_by_us=created_by_us,
            adopted=adopted,
            effect_key=effect_key,
            saga_id=saga_id,
        )
        return (await self.link_many([new]))[0]

    @unbroken
    async def link_many(self, links: Sequence[NewLink]) -> list[LinkRow]:
        """Make many links in one go, all or none; those already there are left as they are.

        Raises:
            Conflict: one of the objects is linked to another record.
        """
        if not links:
            return []
        async with self.transaction() as session:
            await self.insert_ignore(session, Link, [self._values(new) for new in links])
            keys = {new.key for new in links}
            found = {
                (row.kind, row.key, row.system, row.type): row
                for row in await session.exec(select(Link).where(col(Link.key).in_(keys)))
            }
            rows = []
            for new in links:
                row = found[new.kind, new.key, new.record.system, new.record.type]
                if row.record_id != new.record.id:
                    raise Conflict(
                        f"{new.kind} {new.key} is already linked to {link_row(row).record}, not {new.record}",
                        cause=Cause.VERSION_CONFLICT,
                        system=new.record.system,
                        record=link_row(row).record,
                        remedy="decide which of the two records is the right one",
                    )
                rows.append(link_row(row))
            return rows

    def _values(self, new: NewLink) -> dict[str, Any]:
        return {
            **new.model_dump(exclude={"record"}),
            "system": new.record.system,
            "type": new.record.type,
            "record_id": new.record.id,
            "url": new.record.url,
            "at": self.now(),
        }

    async def _link_effect(
        self, session: AsyncSession, effect: Effect, landed: Landed, hints: Sequence[LinkHint]
    ) -> None:
        """Links of a write that landed. What landed is a fact, so an older link of ours gives way to it;
        an adopted one stays, a person confirmed it."""
        record = RecordRef(system=effect.system, type=effect.record_type, id=landed.id, url=landed.url)
        for hint in hints:
            query = select(Link).where(
                col(Link.kind) == hint.kind,
                col(Link.key) == hint.key,
                col(Link.system) == record.system,
                col(Link.type) == record.type,
            )
            row = (await session.exec(query.with_for_update())).first()
            values = self._values(
                NewLink(
                    kind=hint.kind,
                    key=hint.key,
                    record=record,
                    evidence=hint.evidence,
                    created_by_us=bool(effect.created_by_us),
                    effect_key=effect.key,
                    saga_id=effect.attempt_saga_id,
                )
            )
            if row is None:
                await self.insert_ignore(session, Link, values)
            elif not row.adopted and row.record_id != record.id:
                for field, value in values.items():
                    setattr(row, field, value)
                session.add(row)

    async def _unlink_effect(self, session: AsyncSession, effect_key: str) -> None:
        """Remove what an undone write linked; adopted links stay."""
        mine = col(Link.effect_key) == effect_key
        await session.exec(delete(Link).where(mine, col(Link.adopted).is_(False)))

    @unbroken
    async def links_of(self, kind: str, key: str, *, system: str | None = None) -> list[LinkRow]:
        """Records of a canonical object, in one system or all."""
        query = select(Link).where(col(Link.kind) == kind, col(Link.key) == key).order_by(col(Link.id))
        if system is not None:
            query = query.where(col(Link.system) == system)
        async with self.reading() as session:
            return [link_row(row) for row in await session.exec(query)]

    @unbroken
    async def links_to(self, record: RecordRef) -> list[LinkRow]:
        """Canonical objects that a record stands for."""
        query = select(Link).where(
            col(Link.system) == record.system,
            col(Link.type) == record.type,
            col(Link.record_id) == record.id,
        )
        async with self.reading() as session:
            return [link_row(row) for row in await session.exec(query.order_by(col(Link.id)))]

    @unbroken
    async def links_to_all(self, system: str, type_: str, ids: Iterable[str]) -> dict[str, list[LinkRow]]:
        """Canonical objects that records of one type stand for, by record id; records without one are left
        out.
        """
        found: dict[str, list[LinkRow]] = {}
        async with self.reading() as session:
            for part in batched(sorted(set(ids)), IDS_AT_ONCE):
                query = select(Link).where(
                    col(Link.system) == system, col(Link.type) == type_, col(Link.record_id).in_(part)
                )
                for row in await session.exec(query.order_by(col(Link.id))):
                    found.setdefault(row.record_id, []).append(link_row(row))
        return found

    @unbroken
    async def objects_of(self, kind: str, system: str, ids: Iterable[str]) -> dict[str, str]:
        """Keys of the canonical objects of one kind that a system's records stand for, by record id."""
        found: dict[str, str] = {}
        async with self.reading() as session:
            for part in batched(sorted(set(ids)), IDS_AT_ONCE):
                query = select(Link).where(
                    col(Link.kind) == kind, col(Link.system) == system, col(Link.record_id).in_(part)
                )
                for row in await session.exec(query.order_by(col(Link.id))):
                    found[row.record_id] = row.key
        return found

    @unbroken
    async def links_of_kinds(
        self, kinds: Sequence[str], system: str, ids: Iterable[str]
    ) -> dict[str, list[LinkRow]]:
        """Canonical objects of some kinds that a system's records stand for, by record id; records without
        one are left out.
        """
        found: dict[str, list[LinkRow]] = {}
        async with self.reading() as session:
            for part in batched(sorted(set(ids)), IDS_AT_ONCE):
                query = select(Link).where(
                    col(Link.kind).in_(kinds), col(Link.system) == system, col(Link.record_id).in_(part)
                )
                for row in await session.exec(query.order_by(col(Link.id))):
                    found.setdefault(row.record_id, []).append(link_row(row))
        return found

    @unbroken
    async def links_of_all(self, kind: str, keys: Iterable[str], *, system: str) -> dict[str, list[LinkRow]]:
        """Records of canonical objects in one system, by key; objects without one are left out."""
        found: dict[str, list[LinkRow]] = {}
        async with self.reading() as session:
            for part in batched(sorted(set(keys)), IDS_AT_ONCE):
                query = select(Link).where(
                    col(Link.kind) == kind, col(Link.system) == system, col(Link.key).in_(part)
                )
                for row in await session.exec(query.order_by(col(Link.id))):
                    found.setdefault(row.key, []).append(link_row(row))
        return found

    @unbroken
    async def links(
        self,
        *,
        kind: str | None = None,
        system: str | None = None,
        adopted: bool | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Page[LinkRow]:
        """All links, oldest first."""
        query = select(Link).where(col(Link.id) > after).order_by(col(Link.id)).limit(limit + 1)
        if kind is not None:
            query = query.where(col(Link.kind) == kind)
        if system is not None:
            query = query.where(col(Link.system) == system)
        if adopted is not None:
            query = query.where(col(Link.adopted).is_(adopted))
        async with self.reading() as session:
            found = [link_row(row) for row in await session.exec(query)]
        return Page(rows=tuple(found[:limit]), cursor=found[limit - 1].id if len(found) > limit else None)


def batched(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """``values`` in parts of at most ``size``."""
    for first in range(0, len(values), size):
        yield values[first : first + size]


def link_row(row: Link) -> LinkRow:
    """What callers see."""
    return LinkRow(
        id=row.id or 0,
        kind=row.kind,
        key=row.key,
        record=RecordRef(system=row.system, type=row.type, id=row.record_id, url=row.url),
        evidence=row.evidence,
        created_by_us=row.created_by_us,
        adopted=row.adopted,
        effect_key=row.effect_key,
        saga_id=row.saga_id,
        at=row.at,
    )
