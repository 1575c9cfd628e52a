"""Sealing and verifying the audit trail.

A seal is one hash over a batch's row hashes and the seal before it. Published elsewhere (a mail, a
ticket, a write-once store), it shows a history that was re-written as a whole, which no chain inside
one database can show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.failures import Defect
from ledger.audit import GENESIS, AuditTrail, personal_digest, row_hash
from ledger.core import unbroken
from ledger.rows import SealRow
from ledger.tables.audit import Audit, AuditHead, AuditSeal

_PAGE = 1_000


def seal_hash(prev_seal: str, hashes: Iterable[str]) -> str:
    """Hash of a batch."""
    return hashlib.sha256("\n".join([prev_seal, *hashes]).encode()).hexdigest()


class Verification(AuditTrail):
    """Seals and checks."""

    @unbroken
    async def seal(self, *, batch: int = 1_000) -> list[SealRow]:
        """Seal every row that is not sealed yet, in batches of at most ``batch`` rows per chain."""
        async with self.reading() as session:
            chains = sorted(await session.exec(select(AuditHead.chain)))
        made: list[SealRow] = []
        for chain in chains:
            while (sealed := await self._seal_one(chain, batch)) is not None:
                made.append(sealed)
        return made

    async def _seal_one(self, chain: str, batch: int) -> SealRow | None:
        async with self.transaction() as session:
            await self.lock(session, f"seal:{chain}")
            query = select(AuditSeal).where(col(AuditSeal.chain) == chain)
            last = (await session.exec(query.order_by(col(AuditSeal.seq_to).desc()).limit(1))).first()
            start, prev = (1, GENESIS) if last is None else (last.seq_to + 1, last.seal)
            hashes = await self._hashes(session, chain, start, start + batch - 1)
            if not hashes:
                return None
            row = AuditSeal(
                chain=chain,
                seq_from=start,
                seq_to=start + len(hashes) - 1,
                prev_seal=prev,
                seal=seal_hash(prev, hashes),
                at=self.now(),
            )
            session.add(row)
            return SealRow(chain=chain, seq_from=row.seq_from, seq_to=row.seq_to, seal=row.seal, at=row.at)

    async def _hashes(self, session: AsyncSession, chain: str, start: int, end: int) -> list[str]:
        query = select(Audit.row_hash).where(
            col(Audit.chain) == chain, col(Audit.seq) >= start, col(Audit.seq) <= end
        )
        return list(await session.exec(query.order_by(col(Audit.seq))))

    @unbroken
    async def verify(self, system: str | None = None) -> list[str]:
        """Check one chain, or all: hashes, order, gaps, a cut-off tail, seals, personal digests.

        Returns:
            The problems in words; empty when the trail is whole. An erased person is no problem.
        """
        async with self.reading() as session:
            heads = {head.chain: head for head in await session.exec(select(AuditHead))}
            chains = set(heads) | set(await session.exec(select(Audit.chain).distinct()))
            chains |= set(await session.exec(select(AuditSeal.chain).distinct()))
        problems: list[str] = []
        for chain in sorted(chains) if system is None else [system]:
            problems += await self._verify_rows(chain, heads.get(chain))
            problems += await self._verify_seals(chain)
        return problems

    async def _verify_rows(self, chain: str, head: AuditHead | None) -> list[str]:
        problems: list[str] = []
        expected, prev = 1, GENESIS
        while True:
            async with self.reading() as session:
                query = select(Audit).where(col(Audit.chain) == chain, col(Audit.seq) >= expected)
                rows = list(await session.exec(query.order_by(col(Audit.seq)).limit(_PAGE)))
                for row in rows:
                    where = f"{chain} #{row.seq}"
                    if row.seq != expected:
                        problems.append(f"{chain}: rows {expected} to {row.seq - 1} are missing")
                    if row.prev_hash != prev:
                        problems.append(f"{where}: does not follow on the row before it")
                    if row.row_hash != row_hash(row):
                        problems.append(f"{where}: was changed after it was written")
                    if not await self._personal_whole(session, row):
                        problems.append(f"{where}: its personal values were changed, or need another key")
                    expected, prev = row.seq + 1, row.row_hash
            if len(rows) < _PAGE:
                break
        if head is None:
            if expected > 1:
                problems.append(f"{chain}: its head is missing")
        # The head was read first: rows appended since are fine, rows missing below it are not.
        elif head.seq >= expected:
            problems.append(f"{chain}: rows {expected} to {head.seq} are missing at the end")
        elif head.seq == expected - 1 and head.row_hash != prev:
            problems.append(f"{chain}: its head does not match the last row")
        return problems

    async def _personal_whole(self, session: AsyncSession, row: Audit) -> bool:
        if row.personal_digest is None:
            return True
        try:
            text = await self._personal_text(session, row)
        except Defect:
            return False
        return text is None or personal_digest(text) == row.personal_digest

    async def _verify_seals(self, chain: str) -> list[str]:
        problems: list[str] = []
        async with self.reading() as session:
            query = select(AuditSeal).where(col(AuditSeal.chain) == chain)
            expected, prev = 1, GENESIS
            for seal in await session.exec(query.order_by(col(AuditSeal.seq_to))):
                where = f"{chain}: seal of rows {seal.seq_from} to {seal.seq_to}"
                if (seal.seq_from, seal.prev_seal) != (expected, prev):
                    problems.append(f"{where} does not follow on the seal before it")
                hashes = await self._hashes(session, chain, seal.seq_from, seal.seq_to)
                if seal.seal != seal_hash(seal.prev_seal, hashes):
                    problems.append(f"{where} does not match the rows")
                expected, prev = seal.seq_to + 1, seal.seal
        return problems

    @unbroken
    async def audit_count(self, chain: str | None = None) -> int:
        """Number of rows of a chain, or of all."""
        query = select(func.count()).select_from(Audit)
        if chain is not None:
            query = query.where(col(Audit.chain) == chain)
        async with self.reading() as session:
            return (await session.exec(query)).one()
