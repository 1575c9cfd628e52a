"""Change orders: received once, decided once, agreed together with the terms that they make (rule 43)."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.causes import Cause
from canonical.change_orders import ChangeOrder, ChangeOrderState, Floor
from canonical.engagement import Contract
from canonical.failures import Conflict, Defect, Finding
from canonical.items import ItemKind
from canonical.money import Money
from canonical.project_closing import ClosingState
from canonical.saga import Actor
from ledger.audit import DECISIONS_CHAIN, AuditTrail
from ledger.contracts import Contracts
from ledger.core import unbroken
from ledger.openings import Openings
from ledger.people import actor_facts, actor_of
from ledger.rows import AuditEntry, ChangeOrderRow, ContractVersionRow
from ledger.tables.billable_item import BillableItem
from ledger.tables.change_order import ChangeOrderTable
from ledger.tables.contract_version import ContractVersion
from ledger.tables.project_closing import ProjectClosing
from ledger.types import canonical_json

Row = ChangeOrderTable
_SETTLED = [state.value for state in ChangeOrderState if state.takes_its_version]
_OPEN = [state.value for state in ChangeOrderState if state.is_open]
_BY_DATE = (ItemKind.MILESTONE, ItemKind.SCHEDULE_DATE)


class ChangeOrders(Contracts, Openings, AuditTrail):
    """Change orders, and what a contract cannot go below."""

    @unbroken
    async def receive_change_order(
        self, order: ChangeOrder, *, actor: Actor, reason: str = ""
    ) -> ChangeOrderRow:
        """Keep a change order. The same again is the same row; one that was undone is open again.

        Args:
            order: as it was sent.
            actor: who sent it.
            reason: why.

        Raises:
            Conflict: one of its key was received with other content (``CHANGE_ORDER_REPEATED``): what is
                received is never changed; or the contract's projects are closed (``PROJECT_CLOSED``).
        """
        content = order.model_dump(mode="json")
        digest = hashlib.sha256(canonical_json(content).encode()).hexdigest()
        async with self.transaction() as session:
            await self.lock(session, f"changes:{order.contract_key}")
            row = await self._of_key(session, order.contract_key, order.key)
            if row is not None and row.digest != digest:
                raise Conflict(
                    f"Change order {order.key} of contract {order.contract_key} was received before, on "
                    f"{row.received_at:%Y-%m-%d}, with other content.",
                    cause=Cause.CHANGE_ORDER_REPEATED,
                    system="ledger",
                    remedy="Send the correction as a change order of its own, on the version in force.",
                )
            if row is not None and row.state != ChangeOrderState.UNDONE:
                return await self._shown(session, row)
            await self._still_open(session, order.contract_key)
            if row is None:
                row = Row(
                    contract_key=order.contract_key,
                    order_key=order.key,
                    base=order.base,
                    version=order.version,
                    form=order.form,
                    effective_on=order.effective_on,
                    content=content,
                    digest=digest,
                    state="",
                    actor_id="",
                    actor={},
                    received_at=self.now(),
                )
            row.actor_id, row.actor = await self._put_person(session, actor.name), actor_facts(actor)
            row.sent_because = reason
            row.state, row.cause, row.reason = ChangeOrderState.RECEIVED.value, None, ""
            row.findings, row.decided_at = [], None
            session.add(row)
            await session.flush()
            await self._note(session, row, "change_order_received", actor, {"reason": reason})
            return await self._shown(session, row)

    @unbroken
    async def change_orders(
        self,
        contract_key: str | None = None,
        *,
        states: Iterable[ChangeOrderState] | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> list[ChangeOrderRow]:
        """Change orders in the order in which they were received, those behind the row ``after``."""
        query = select(Row).where(col(Row.id) > after).order_by(col(Row.id)).limit(limit)
        if contract_key is not None:
            query = query.where(col(Row.contract_key) == contract_key)
        if states is not None:
            query = query.where(col(Row.state).in_([state.value for state in states]))
        async with self.reading() as session:
            rows = list(await session.exec(query))
            people = [row.actor_id for row in rows] + [row.decided_by for row in rows if row.decided_by]
            names = await self._names(session, people)
            return [_row(row, names) for row in rows]

    @unbroken
    async def change_order(self, contract_key: str, order_key: str) -> ChangeOrderRow | None:
        """One change order."""
        async with self.reading() as session:
            row = await self._of_key(session, contract_key, order_key)
            return None if row is None else await self._shown(session, row)

    @unbroken
    async def reached_version(self, contract_key: str) -> int:
        """The highest version of a contract that was decided: agreed, refused or given up; 0: none."""
        agreed = select(func.max(ContractVersion.version)).where(
            col(ContractVersion.contract_key) == contract_key
        )
        decided = select(func.max(Row.version)).where(
            col(Row.contract_key) == contract_key, col(Row.state).in_(_SETTLED)
        )
        async with self.reading() as session:
            return max((await session.exec(agreed)).one() or 0, (await session.exec(decided)).one() or 0)

    @unbroken
    async def carry_change_order(self, contract_key: str, order_key: str, *, saga_id: str) -> ChangeOrderRow:
        """A saga carries it from now on. Idempotent; one that is decided stays as it is."""
        async with self.transaction() as session:
            row = await self._known(session, contract_key, order_key)
            if row.state in _OPEN:
                row.state, row.saga_id = ChangeOrderState.UNDER_WAY.value, saga_id
                session.add(row)
            return await self._shown(session, row)

    @unbroken
    async def settle_change_order(
        self,
        contract_key: str,
        order_key: str,
        state: ChangeOrderState,
        *,
        cause: Cause | None,
        reason: str,
        findings: Sequence[Finding] = (),
        actor: Actor,
    ) -> ChangeOrderRow:
        """Decide a change order other than by agreeing it. Idempotent: what is decided stays decided.

        Args:
            contract_key: the contract.
            order_key: the change order.
            state: refused, undone or withdrawn.
            cause: why.
            reason: in a sentence.
            findings: all that was found wrong with it.
            actor: who decided; the audit trail keeps it.

        Raises:
            Conflict: a saga carries it, and it is to be withdrawn.
        """
        async with self.transaction() as session:
            await self.lock(session, f"changes:{contract_key}")
            row = await self._known(session, contract_key, order_key)
            if row.state not in _OPEN:
                return await self._shown(session, row)
            if state is ChangeOrderState.WITHDRAWN and row.state != ChangeOrderState.RECEIVED:
                raise Conflict(
                    f"Change order {order_key} is under way; it cannot be withdrawn any more.",
                    cause=Cause.VERSION_CONFLICT,
                    system="ledger",
                    remedy=f"Cancel its saga: `trueup cancel {row.saga_id}`.",
                )
            row.state, row.cause, row.reason = state.value, cause.value if cause else None, reason
            row.findings = [one.model_dump(mode="json") for one in findings]
            row.decided_at = self.now()
            session.add(row)
            await self._note(session, row, f"change_order_{state.value}", actor, {"cause": row.cause})
            return await self._shown(session, row)

    @unbroken
    async def agree_change_order(
        self,
        order: ChangeOrder,
        terms: Contract,
        systems: Mapping[str, Any],
        *,
        saga_id: str,
        treatment: str | None = None,
        decider: Actor | None = None,
        actor: Actor,
    ) -> ContractVersionRow:
        """The new version, what all systems hold of it, and the change order's end: all or nothing.

        Args:
            order: the change order.
            terms: the resulting terms.
            systems: what each system holds, by instance.
            saga_id: the saga that carried it.
            treatment: how finance treats it.
            decider: who decided so.
            actor: who carried it.

        Raises:
            Conflict: another version was agreed in its place (``VERSION_CONFLICT``).
        """
        async with self.transaction() as session:
            await self.lock(session, f"changes:{order.contract_key}")
            row = await self._known(session, order.contract_key, order.key)
            version = await self.add_contract_version(
                terms, saga_id=saga_id, effective_on=order.effective_on, version=order.version
            )
            await self.add_baseline(
                order.contract_key, systems, saga_id=saga_id, contract_version=version.version
            )
            if row.state == ChangeOrderState.APPLIED:
                return version
            row.state, row.cause, row.reason = ChangeOrderState.APPLIED.value, None, ""
            row.saga_id, row.treatment, row.decided_at = saga_id, treatment, self.now()
            if decider is not None:
                row.decided_by = await self._put_person(session, decider.name)
                row.decided_as = actor_facts(decider)
            session.add(row)
            await self._note(session, row, "change_order_applied", actor, {"treatment": treatment})
            return version

    @unbroken
    async def contract_floor(self, contract_key: str) -> Floor:
        """What is billed and delivered of a contract, by line. Expenses come on top of what is sold."""
        query = select(BillableItem).where(
            col(BillableItem.contract_key) == contract_key,
            col(BillableItem.kind) != ItemKind.EXPENSE.value,
            col(BillableItem.currency).is_not(None),
        )
        billed: dict[str, int] = defaultdict(int)
        delivered: dict[str, int] = defaultdict(int)
        dates: dict[str, int] = defaultdict(int)
        elsewhere, currency = 0, ""
        async with self.reading() as session:
            for item in await session.exec(query):
                currency = item.currency or currency
                waiting = item.open_minor + item.held_minor + item.drafted_minor
                waiting = waiting if item.withdrawn is None else 0
                if item.line_key is None:
                    elsewhere += item.billed_minor
                    continue
                billed[item.line_key] += item.billed_minor
                delivered[item.line_key] += waiting
                if item.kind in _BY_DATE and item.billed_minor:
                    dates[item.source.partition(f"/{contract_key}/")[2]] += item.billed_minor
        opening = await self.opening(contract_key)
        before = opening.billed_to_date if opening is not None else None
        currency = currency or (before.currency if before is not None else "")
        elsewhere += before.minor if before is not None else 0
        return Floor(
            billed={key: Money.of_minor(minor, currency) for key, minor in billed.items() if minor},
            delivered={key: Money.of_minor(minor, currency) for key, minor in delivered.items() if minor},
            dates={key: Money.of_minor(minor, currency) for key, minor in dates.items() if minor},
            elsewhere=Money.of_minor(elsewhere, currency) if elsewhere else None,
        )

    async def _of_key(self, session: AsyncSession, contract_key: str, order_key: str) -> Row | None:
        query = select(Row).where(col(Row.contract_key) == contract_key, col(Row.order_key) == order_key)
        return (await session.exec(query.with_for_update())).first()

    async def _still_open(self, session: AsyncSession, contract_key: str) -> None:
        query = select(ProjectClosing.number).where(
            col(ProjectClosing.contract_key) == contract_key,
            col(ProjectClosing.state) == ClosingState.CLOSED.value,
        )
        if (await session.exec(query)).first() is not None:
            raise Conflict(
                f"The projects of contract {contract_key} are closed: its terms do not change any more.",
                cause=Cause.PROJECT_CLOSED,
                system="ledger",
                remedy=f"Re-open them first: `trueup reopen-project {contract_key}`.",
            )

    async def _known(self, session: AsyncSession, contract_key: str, order_key: str) -> Row:
        row = await self._of_key(session, contract_key, order_key)
        if row is None:
            raise Defect(f"change order {order_key} of {contract_key} was never received", system="ledger")
        return row

    async def _shown(self, session: AsyncSession, row: Row) -> ChangeOrderRow:
        people = [row.actor_id, *([row.decided_by] if row.decided_by else [])]
        return _row(row, await self._names(session, people))

    async def _note(
        self, session: AsyncSession, row: Row, action: str, actor: Actor, more: Mapping[str, Any]
    ) -> None:
        entry = AuditEntry(
            chain=DECISIONS_CHAIN,
            action=action,
            actor=actor,
            saga_id=row.saga_id,
            content={
                "contract": row.contract_key,
                "order": row.order_key,
                "version": row.version,
                "digest": row.digest,
                **more,
            },
        )
        await self._append(session, entry, await self._put_person(session, actor.name))


def _row(row: Row, names: Mapping[str, str]) -> ChangeOrderRow:
    decider = None
    if row.decided_by is not None:
        decider = actor_of(names[row.decided_by], row.decided_as or {})
    return ChangeOrderRow(
        id=row.id or 0,
        order=ChangeOrder.model_validate(row.content),
        state=ChangeOrderState(row.state),
        cause=Cause(row.cause) if row.cause else None,
        reason=row.reason,
        findings=tuple(Finding.model_validate(one) for one in row.findings),
        treatment=row.treatment,
        saga_id=row.saga_id,
        actor=actor_of(names[row.actor_id], row.actor),
        sent_because=row.sent_because,
        decider=decider,
        received_at=row.received_at,
        decided_at=row.decided_at,
    )
