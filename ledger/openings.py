"""Opening positions: what was billed before, with the balances of caps and retainers it leaves (rule 36)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import date

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.causes import Cause
from canonical.failures import Conflict
from canonical.items import LimitUse
from canonical.money import Money
from canonical.names import movement_key
from canonical.opening import OpeningPosition
from canonical.retainers import Movement, MovementKind
from canonical.saga import Actor
from ledger.accounts import Accounts
from ledger.audit import AuditTrail
from ledger.core import unbroken
from ledger.item_rows import chunks
from ledger.tables.billable_item import BillableItem
from ledger.tables.opening_position import OpeningPositionTable
from ledger.types import canonical_json

OPENING = "opening"
"""Entry key of a cap's opening use, and lot of a retainer's opening balance."""


class Openings(Accounts, AuditTrail):
    """Opening positions."""

    @unbroken
    async def import_openings(
        self,
        positions: Sequence[OpeningPosition],
        *,
        actor: Actor,
        on: date,
        retainers: dict[str, str] | None = None,
        limits: dict[str, Money] | None = None,
    ) -> int:
        """Keep opening positions, all or none. The same again changes nothing.

        Args:
            positions: one per contract.
            actor: who imports; kept with the position.
            on: day of the take-over, for the retainers' opening lots.
            retainers: account by contract key, for positions with a retainer balance.
            limits: agreed limit by cap key; the amount used where a cap is not agreed any more.

        Returns:
            How many were new.

        Raises:
            Conflict: a contract has another position already, and something of it was billed or drawn since:
                that rests on the position.
        """
        async with self.transaction() as session:
            await self.lock(session, *(f"opening:{one.contract_key}" for one in positions))
            new = 0
            actor_id = await self._put_person(session, actor.name)
            for position in positions:
                content = position.model_dump(mode="json")
                digest = hashlib.sha256(canonical_json(content).encode()).hexdigest()
                last = await self._opening(session, position.contract_key)
                if last is not None and last.digest == digest:
                    continue
                earlier = OpeningPosition.model_validate(last.position) if last is not None else None
                if earlier is not None and await self._rests_on(session, position.contract_key):
                    raise Conflict(
                        f"Contract {position.contract_key} has another opening position, and something was "
                        f"billed or drawn since.",
                        cause=Cause.VERSION_CONFLICT,
                        system="ledger",
                        remedy="credit what was billed, or correct it by an adjustment",
                    )
                version = 1 if last is None else last.version + 1
                session.add(
                    OpeningPositionTable(
                        contract_key=position.contract_key,
                        version=version,
                        position=content,
                        digest=digest,
                        billed_minor=position.billed_to_date.minor,
                        currency=position.billed_to_date.currency,
                        last_billed_work_date=position.last_billed_work_date,
                        actor_id=actor_id,
                        at=self.now(),
                    )
                )
                await session.flush()
                await self._open_accounts(
                    session, position, earlier, version, on, retainers or {}, limits or {}
                )
                new += 1
            return new

    @unbroken
    async def opening(self, contract_key: str) -> OpeningPosition | None:
        """A contract's opening position; None: it does not bill."""
        async with self.reading() as session:
            row = await self._opening(session, contract_key)
            return None if row is None else OpeningPosition.model_validate(row.position)

    @unbroken
    async def openings(self, contract_keys: Iterable[str]) -> dict[str, OpeningPosition]:
        """The opening positions of contracts that have one."""
        found: dict[str, OpeningPosition] = {}
        async with self.reading() as session:
            for part in chunks(sorted(set(contract_keys))):
                query = select(OpeningPositionTable).where(col(OpeningPositionTable.contract_key).in_(part))
                for row in await session.exec(query.order_by(col(OpeningPositionTable.version))):
                    found[row.contract_key] = OpeningPosition.model_validate(row.position)
        return found

    @unbroken
    async def opened_and_used(self, contract_keys: Iterable[str]) -> frozenset[str]:
        """Contracts of which something was billed, drawn or held since: their position cannot be replaced."""
        found: set[str] = set()
        async with self.reading() as session:
            for part in chunks(sorted(set(contract_keys))):
                query = select(BillableItem.contract_key).where(
                    col(BillableItem.contract_key).in_(part), col(BillableItem.parts) > 0
                )
                found |= {key for key in await session.exec(query.distinct()) if key is not None}
        return frozenset(found)

    async def _opening(self, session: AsyncSession, contract_key: str) -> OpeningPositionTable | None:
        query = select(OpeningPositionTable).where(col(OpeningPositionTable.contract_key) == contract_key)
        return (await session.exec(query.order_by(col(OpeningPositionTable.version).desc()).limit(1))).first()

    async def _rests_on(self, session: AsyncSession, contract_key: str) -> bool:
        query = select(func.count()).where(
            col(BillableItem.contract_key) == contract_key, col(BillableItem.parts) > 0
        )
        return bool((await session.exec(query)).one())

    async def _open_accounts(
        self,
        session: AsyncSession,
        position: OpeningPosition,
        earlier: OpeningPosition | None,
        version: int,
        on: date,
        retainers: dict[str, str],
        limits: dict[str, Money],
    ) -> None:
        """What a corrected position changes of the accounts, as rows of their own."""
        before = {cap.cap_key: cap.used.minor for cap in earlier.caps} if earlier is not None else {}
        uses = []
        for cap in position.caps:
            change = cap.used.minor - before.pop(cap.cap_key, 0)
            if change:
                amount = Money.of_minor(change, cap.used.currency)
                # What was used before counts in full, also where it exceeds what is agreed now.
                limit = limits.get(cap.cap_key, cap.used)
                if limit.minor < cap.used.minor:
                    limit = cap.used
                uses.append(
                    (
                        f"{OPENING}/{position.contract_key}/{version}",
                        LimitUse(
                            key=cap.cap_key,
                            amount=amount,
                            limit=limit.model_copy(update={"role": amount.role}),
                        ),
                    )
                )
        await self._use_caps(session, uses)
        balance = position.retainer_balance
        known = earlier.retainer_balance if earlier is not None else None
        account = retainers.get(position.contract_key)
        if balance is not None and account is not None:
            change = balance.minor - (known.minor if known is not None else 0)
            movement = Movement(
                key=movement_key(account, MovementKind.OPENED.value, f"{position.contract_key}/{version}"),
                account=account,
                kind=MovementKind.OPENED,
                lot=OPENING,
                on=on,
                amount=Money.of_minor(change, balance.currency),
            )
            await self._move(session, [movement])
