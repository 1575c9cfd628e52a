"""Contract versions and baselines: terms as agreed, and what all systems held. Both append-only (rule 9)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from sqlmodel import col, func, select

from canonical.causes import Cause
from canonical.engagement import Contract
from canonical.failures import Conflict
from canonical.money import Money
from ledger.core import Core, unbroken
from ledger.item_rows import chunks
from ledger.rows import BaselineRow, ContractVersionRow
from ledger.tables.baseline import Baseline
from ledger.tables.contract_version import ContractVersion
from ledger.types import canonical_json


def _digest(content: Any) -> str:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


class Contracts(Core):
    """Versions of contract terms, and baselines."""

    @unbroken
    async def add_contract_version(
        self,
        contract: Contract,
        *,
        saga_id: str,
        effective_on: date | None = None,
        base_version: int | None = None,
        version: int | None = None,
    ) -> ContractVersionRow:
        """Append the complete terms as the next version. The same terms again are the same version.

        Args:
            contract: Complete resulting terms.
            saga_id: Which saga agreed them.
            effective_on: From which day they hold; the contract's start when empty.
            base_version: The version these terms build on (rule 43); not checked when empty.
            version: Its number where a change order names it; the next one when empty. Versions that were
                refused leave gaps.

        Raises:
            Conflict: ``base_version`` is not the latest, or there is a ``version`` of other terms, or a later
                one.
        """
        terms = contract.model_dump(mode="json")
        digest = _digest(terms)
        async with self.transaction() as session:
            await self.lock(session, f"contract:{contract.key}")
            query = select(ContractVersion).where(col(ContractVersion.contract_key) == contract.key)
            last = (await session.exec(query.order_by(col(ContractVersion.version).desc()).limit(1))).first()
            if last is not None and last.digest == digest and version in (None, last.version):
                return _version_row(last)
            latest = 0 if last is None else last.version
            wrong = base_version is not None and base_version != latest
            if wrong or (version is not None and version <= latest):
                built_on = f"build on {base_version}" if wrong else f"are to be version {version}"
                raise Conflict(
                    f"contract {contract.key} is at version {latest}, these terms {built_on}",
                    cause=Cause.VERSION_CONFLICT,
                    system="ledger",
                    remedy="build the change on the latest version",
                )
            row = ContractVersion(
                contract_key=contract.key,
                version=latest + 1 if version is None else version,
                effective_on=effective_on or contract.start,
                terms=terms,
                digest=digest,
                amount_minor=contract.amount.minor,
                currency=contract.currency,
                saga_id=saga_id,
                at=self.now(),
            )
            session.add(row)
            await session.flush()
            return _version_row(row)

    @unbroken
    async def contract_version(
        self, contract_key: str, *, version: int | None = None, on: date | None = None
    ) -> ContractVersionRow | None:
        """The latest version, the one named, or the one in force on a day."""
        query = select(ContractVersion).where(col(ContractVersion.contract_key) == contract_key)
        if version is not None:
            query = query.where(col(ContractVersion.version) == version)
        if on is not None:
            effective = col(ContractVersion.effective_on)
            query = query.where((effective <= on) | effective.is_(None))
        async with self.reading() as session:
            latest = query.order_by(col(ContractVersion.version).desc()).limit(1)
            row = (await session.exec(latest)).first()
            return None if row is None else _version_row(row)

    @unbroken
    async def latest_contracts(self, contract_keys: Iterable[str]) -> dict[str, ContractVersionRow]:
        """The latest versions of many contracts, by key; those that were never agreed are missing."""
        found: dict[str, ContractVersionRow] = {}
        async with self.reading() as session:
            for part in chunks(sorted(set(contract_keys))):
                key = col(ContractVersion.contract_key)
                last = (
                    select(key.label("key"), func.max(ContractVersion.version).label("version"))
                    .where(key.in_(part))
                    .group_by(key)
                    .subquery()
                )
                query = select(ContractVersion).join(
                    last, (key == last.c.key) & (col(ContractVersion.version) == last.c.version)
                )
                found |= {row.contract_key: _version_row(row) for row in await session.exec(query)}
        return found

    @unbroken
    async def contract_keys(self) -> list[str]:
        """Keys of all contracts that were ever agreed, in order."""
        query = select(ContractVersion.contract_key).distinct().order_by(col(ContractVersion.contract_key))
        async with self.reading() as session:
            return list(await session.exec(query))

    @unbroken
    async def contract_versions(self, contract_key: str) -> list[ContractVersionRow]:
        """All versions, oldest first."""
        query = select(ContractVersion).where(col(ContractVersion.contract_key) == contract_key)
        async with self.reading() as session:
            return [_version_row(r) for r in await session.exec(query.order_by(col(ContractVersion.version)))]

    @unbroken
    async def add_baseline(
        self, contract_key: str, systems: Mapping[str, Any], *, saga_id: str, contract_version: int
    ) -> BaselineRow:
        """Append what all systems hold, as JSON by system instance. The same again is the same row."""
        content = dict(systems)
        digest = _digest(content)
        async with self.transaction() as session:
            await self.lock(session, f"baseline:{contract_key}")
            query = select(Baseline).where(col(Baseline.contract_key) == contract_key)
            last = (await session.exec(query.order_by(col(Baseline.version).desc()).limit(1))).first()
            if last is not None and (last.digest, last.contract_version) == (digest, contract_version):
                return _baseline_row(last)
            row = Baseline(
                contract_key=contract_key,
                version=1 if last is None else last.version + 1,
                contract_version=contract_version,
                systems=content,
                digest=digest,
                saga_id=saga_id,
                at=self.now(),
            )
            session.add(row)
            await session.flush()
            return _baseline_row(row)

    @unbroken
    async def baselines(self, contract_key: str) -> list[BaselineRow]:
        """All baselines of a contract, oldest first."""
        query = select(Baseline).where(col(Baseline.contract_key) == contract_key)
        async with self.reading() as session:
            return [_baseline_row(r) for r in await session.exec(query.order_by(col(Baseline.version)))]

    @unbroken
    async def baseline(self, contract_key: str, *, version: int | None = None) -> BaselineRow | None:
        """The latest baseline, or the one named."""
        query = select(Baseline).where(col(Baseline.contract_key) == contract_key)
        if version is not None:
            query = query.where(col(Baseline.version) == version)
        async with self.reading() as session:
            row = (await session.exec(query.order_by(col(Baseline.version).desc()).limit(1))).first()
            return None if row is None else _baseline_row(row)


def _version_row(row: ContractVersion) -> ContractVersionRow:
    return ContractVersionRow(
        id=row.id or 0,
        contract_key=row.contract_key,
        version=row.version,
        effective_on=row.effective_on,
        terms=row.terms,
        digest=row.digest,
        amount=Money.of_minor(row.amount_minor, row.currency),
        saga_id=row.saga_id,
        at=row.at,
    )


def _baseline_row(row: Baseline) -> BaselineRow:
    return BaselineRow(
        id=row.id or 0,
        contract_key=row.contract_key,
        version=row.version,
        contract_version=row.contract_version,
        systems=row.systems,
        digest=row.digest,
        saga_id=row.saga_id,
        at=row.at,
    )
