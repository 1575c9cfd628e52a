"""Field mappings by digest: what a run is pinned to can be loaded by any worker."""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from typing import Any

from sqlmodel import col, select

from canonical.failures import Defect
from ledger.core import Core, unbroken
from ledger.rows import MappingRow
from ledger.tables.mapping import Mapping
from ledger.types import canonical_json


class Mappings(Core):
    """Storing and loading mappings."""

    @unbroken
    async def put_mapping(self, digest: str, system: str, content: MappingType[str, Any]) -> None:
        """Store a mapping once.

        Raises:
            Defect: the digest is known with another content: it was not made from the content.
        """
        async with self.transaction() as session:
            values = {"digest": digest, "system": system, "content": dict(content), "at": self.now()}
            await self.insert_ignore(session, Mapping, values)
            row = (await session.exec(select(Mapping).where(col(Mapping.digest) == digest))).one()
            if canonical_json(row.content) != canonical_json(dict(content)):
                raise Defect(f"mapping {digest} of {system} is known with another content", system="ledger")

    @unbroken
    async def mapping(self, digest: str) -> MappingRow | None:
        """A mapping by its digest."""
        async with self.reading() as session:
            row = (await session.exec(select(Mapping).where(col(Mapping.digest) == digest))).first()
            if row is None:
                return None
            return MappingRow(digest=row.digest, system=row.system, content=row.content, at=row.at)
