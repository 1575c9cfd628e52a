"""Rates of contracts, each content once (rules 7, 9)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from sqlmodel import col, func, select

from canonical.rates import PricingAuthority, RateCard, RateVersion
from ledger.core import Core, unbroken
from ledger.item_rows import chunks
from ledger.tables.rate_version import RateVersion as RateVersionTable
from ledger.types import canonical_json


class RateVersions(Core):
    """Versions of rate cards."""

    @unbroken
    async def add_rate_version(
        self,
        contract_key: str,
        card: RateCard,
        *,
        authority: PricingAuthority = PricingAuthority.CONTRACT,
    ) -> RateVersion:
        """Keep the rates of a contract. The same content as the latest is the same version."""
        content = card.model_dump(mode="json")
        digest = hashlib.sha256(canonical_json([authority.value, content]).encode()).hexdigest()
        async with self.transaction() as session:
            await self.lock(session, f"rates:{contract_key}")
            query = select(RateVersionTable).where(col(RateVersionTable.contract_key) == contract_key)
            latest = query.order_by(col(RateVersionTable.number).desc()).limit(1)
            last = (await session.exec(latest)).first()
            if last is not None and last.digest == digest:
                return _version(last)
            row = RateVersionTable(
                contract_key=contract_key,
                number=1 if last is None else last.number + 1,
                authority=authority.value,
                label=card.version,
                card=content,
                digest=digest,
                at=self.now(),
            )
            session.add(row)
            await session.flush()
            return _version(row)

    @unbroken
    async def rate_version(self, contract_key: str, number: int | None = None) -> RateVersion | None:
        """The latest version of a contract's rates, or the one named."""
        query = select(RateVersionTable).where(col(RateVersionTable.contract_key) == contract_key)
        if number is not None:
            query = query.where(col(RateVersionTable.number) == number)
        async with self.reading() as session:
            latest = query.order_by(col(RateVersionTable.number).desc()).limit(1)
            row = (await session.exec(latest)).first()
            return None if row is None else _version(row)

    @unbroken
    async def latest_rates(self, contract_keys: Iterable[str]) -> dict[str, RateVersion]:
        """The latest versions of many contracts' rates, by contract; those without any are missing."""
        found: dict[str, RateVersion] = {}
        async with self.reading() as session:
            for part in chunks(sorted(set(contract_keys))):
                key = col(RateVersionTable.contract_key)
                last = (
                    select(key.label("key"), func.max(RateVersionTable.number).label("number"))
                    .where(key.in_(part))
                    .group_by(key)
                    .subquery()
                )
                query = select(RateVersionTable).join(
                    last, (key == last.c.key) & (col(RateVersionTable.number) == last.c.number)
                )
                found |= {row.contract_key: _version(row) for row in await session.exec(query)}
        return found


def _version(row: RateVersionTable) -> RateVersion:
    return RateVersion(
        contract_key=row.contract_key,
        number=row.number,
        authority=PricingAuthority(row.authority),
        label=row.label,
        card=RateCard.model_validate(row.card),
    )
