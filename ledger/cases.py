"""Exception cases: opened, opened again, escalated, closed; lists and the money at stake."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.causes import Cause, Queue
from canonical.failures import Defect, Failure
from canonical.money import AmountRole, Money
from canonical.outgoing import OutgoingType, SagaParked
from canonical.refs import RecordRef
from canonical.saga import CaseState, ExceptionCase
from ledger.core import unbroken
from ledger.outgoing import Outgoing
from ledger.rows import AtStake, CaseRow, Page
from ledger.tables.exception_case import ExceptionCaseTable as Case
from ledger.tables.saga import Saga


class Cases(Outgoing):
    """The exception queues."""

    @unbroken
    async def open_case(self, case: ExceptionCase) -> CaseRow:
        """Open a case, or open it again with the present failure. Repeating it is harmless.

        A case that is open keeps its age; one that was closed starts a new one and is counted. ``state``,
        ``closed_at`` and ``resolution`` of the argument play no part.
        """
        async with self.transaction() as session:
            row = await self._open_case(session, case)
            if not case.transient:
                await self._tell_parked(session, case, row.times_opened)
            return _case_row(row)

    async def _open_case(self, session: AsyncSession, case: ExceptionCase) -> Case:
        await self.lock(session, f"case:{case.id}")
        row = (await session.exec(select(Case).where(col(Case.case_id) == case.id))).first()
        facts = _facts(case)
        if row is None:
            row = Case(
                case_id=case.id,
                state=CaseState.OPEN.value,
                opened_at=case.opened_at,
                first_opened_at=case.opened_at,
                times_opened=1,
                **facts,
            )
        else:
            for field, value in facts.items():
                setattr(row, field, value)
            if row.state == CaseState.CLOSED:
                row.state, row.opened_at = CaseState.OPEN.value, case.opened_at
                row.times_opened += 1
                row.closed_at = row.resolution = row.escalated_at = row.escalated_to = None
        session.add(row)
        await session.flush()
        return row

    async def _tell_parked(self, session: AsyncSession, case: ExceptionCase, times: int) -> None:
        parked = SagaParked(
            saga_id=case.saga_id,
            step=case.step,
            business_key=case.business_key,
            region=case.region,
            cause=case.failure.cause,
            queue=case.failure.queue,
            times=times,
        )
        query = select(Saga.trace_id).where(col(Saga.saga_id) == case.saga_id)
        trace = (await session.exec(query.order_by(col(Saga.generation).desc()).limit(1))).first()
        nth = f"{case.id}|{times}"
        await self._tell(session, OutgoingType.SAGA_PARKED, parked, nth=nth, trace=trace or "")

    @unbroken
    async def escalate_case(self, case_id: str, *, to: str) -> CaseRow:
        """Record that a deadline passed and who was told. Never closes or fails anything.

        Raises:
            Defect: no such case.
        """
        async with self.transaction() as session:
            row = await self._case(session, case_id)
            if row.state == CaseState.OPEN:
                row.escalated_at, row.escalated_to = self.now(), to
                row.escalations += 1
                session.add(row)
            return _case_row(row)

    @unbroken
    async def close_case(self, case_id: str, resolution: str) -> CaseRow | None:
        """Close a case; one that is closed keeps its resolution.

        Returns:
            None when there is no such case: its opening may never have reached the ledger.
        """
        async with self.transaction() as session:
            query = select(Case).where(col(Case.case_id) == case_id).with_for_update()
            row = (await session.exec(query)).first()
            if row is None:
                return None
            if row.state == CaseState.OPEN:
                row.state, row.closed_at, row.resolution = CaseState.CLOSED.value, self.now(), resolution
                session.add(row)
            return _case_row(row)

    @unbroken
    async def close_cases_of(self, saga_id: str, resolution: str) -> int:
        """Close everything that is open of a saga that ended.

        Returns:
            How many were open.
        """
        async with self.transaction() as session:
            query = select(Case).where(col(Case.saga_id) == saga_id, col(Case.state) == CaseState.OPEN)
            rows = list(await session.exec(query.order_by(col(Case.id)).with_for_update()))
            for row in rows:
                row.state, row.closed_at, row.resolution = CaseState.CLOSED.value, self.now(), resolution
            session.add_all(rows)
            return len(rows)

    async def _case(self, session: AsyncSession, case_id: str) -> Case:
        query = select(Case).where(col(Case.case_id) == case_id).with_for_update()
        row = (await session.exec(query)).first()
        if row is None:
            raise Defect(f"there is no case {case_id}", system="ledger")
        return row

    @unbroken
    async def case(self, case_id: str) -> CaseRow | None:
        """One case."""
        async with self.reading() as session:
            row = (await session.exec(select(Case).where(col(Case.case_id) == case_id))).first()
            return None if row is None else _case_row(row)

    @unbroken
    async def cases(
        self,
        *,
        state: CaseState | None = CaseState.OPEN,
        queues: Iterable[Queue] | None = None,
        cause: Cause | None = None,
        saga_id: str | None = None,
        region: str | None = None,
        transient: bool | None = None,
        opened_before: datetime | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Page[CaseRow]:
        """Cases, oldest first; open ones unless ``state`` says otherwise (None: all)."""
        query = select(Case).where(col(Case.id) > after).order_by(col(Case.id)).limit(limit + 1)
        for column, value in (
            (col(Case.state), None if state is None else state.value),
            (col(Case.cause), None if cause is None else cause.value),
            (col(Case.saga_id), saga_id),
            (col(Case.region), region),
        ):
            if value is not None:
                query = query.where(column == value)
        if queues is not None:
            query = query.where(col(Case.queue).in_([queue.value for queue in queues]))
        if transient is not None:
            query = query.where(col(Case.transient).is_(transient))
        if opened_before is not None:
            query = query.where(col(Case.opened_at) < opened_before)
        async with self.reading() as session:
            found = [_case_row(row) for row in await session.exec(query)]
        return Page(rows=tuple(found[:limit]), cursor=found[limit - 1].id if len(found) > limit else None)

    @unbroken
    async def at_stake(self, *, region: str | None = None) -> list[AtStake]:
        """Open cases by queue, cause, currency and the amount's role: how many, and how much."""
        groups = (col(Case.queue), col(Case.cause), col(Case.at_stake_currency), col(Case.at_stake_role))
        columns = (*groups, func.count(), func.sum(Case.at_stake_minor))
        query: Any = select(*columns).where(col(Case.state) == CaseState.OPEN)  # type: ignore[call-overload]
        if region is not None:
            query = query.where(col(Case.region) == region)
        async with self.reading() as session:
            found = list(await session.exec(query.group_by(*groups).order_by(*groups)))
        return [
            AtStake(
                queue=Queue(queue),
                cause=Cause(cause),
                cases=cases,
                money=None if currency is None else Money.of_minor(int(minor), currency, AmountRole(role)),
            )
            for queue, cause, currency, role, cases, minor in found
        ]


def _facts(case: ExceptionCase) -> dict[str, Any]:
    stake = case.failure.at_stake
    return {
        "saga_id": case.saga_id,
        "step": case.step,
        "business_key": case.business_key,
        "region": case.region,
        "transient": case.transient,
        "queue": case.failure.queue.value,
        "cause": case.failure.cause.value,
        "system": case.failure.system,
        "failure": case.failure.model_dump(mode="json"),
        "at_stake_minor": None if stake is None else stake.minor,
        "at_stake_currency": None if stake is None else stake.currency,
        "at_stake_role": None if stake is None else stake.role.value,
        "owner": case.owner,
        "links": [link.model_dump(mode="json") for link in case.links],
    }


def _case_row(row: Case) -> CaseRow:
    return CaseRow(
        id=row.id or 0,
        case=ExceptionCase(
            id=row.case_id,
            saga_id=row.saga_id,
            step=row.step,
            business_key=row.business_key,
            region=row.region,
            state=CaseState(row.state),
            transient=row.transient,
            failure=Failure.model_validate(row.failure),
            owner=row.owner,
            opened_at=row.opened_at,
            closed_at=row.closed_at,
            resolution=row.resolution,
            links=tuple(RecordRef.model_validate(link) for link in row.links),
        ),
        first_opened_at=row.first_opened_at,
        times_opened=row.times_opened,
        escalated_at=row.escalated_at,
        escalated_to=row.escalated_to,
        escalations=row.escalations,
    )
