"""Events that a subscriber did not take: one case each; a person has them sent again, or drops them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.base import Canonical
from canonical.causes import Cause
from canonical.failures import Failure, FailureKind
from canonical.names import case_id, telling_id
from canonical.saga import Actor, CaseState, ExceptionCase
from ledger.cases import Cases
from ledger.core import unbroken
from ledger.decisions import Decisions
from ledger.rows import Page
from ledger.tables.outgoing_event import OutgoingEvent, Undelivered

STEP = "deliver"
"""The step that the case of a subscriber and the decisions about its events name."""


class UndeliveredState(StrEnum):
    """Where an event that a subscriber did not take stands."""

    FAILED = "failed"
    """A person is to say what becomes of it."""
    AGAIN = "again"
    """It is sent again, or was."""
    DROPPED = "dropped"
    """Nobody needs it any more."""


class UndeliveredRow(Canonical):
    """Such an event, with what it is about."""

    id: int
    event_id: str
    subscription: str
    state: UndeliveredState
    detail: str
    run_id: str
    """The run of the delivery that gave up."""
    times: int
    gave_up_at: datetime
    type: str
    subject: str
    region: str


class Undeliverable(Decisions, Cases):
    """What subscribers did not take."""

    @unbroken
    async def give_up(
        self, event_id: str, subscription: str, *, run_id: str, detail: str, owner: str | None
    ) -> None:
        """Keep an event that was not taken in all attempts, and open the subscriber's case.

        One case for each subscriber: one that is away fails with everything it is told. The case is no
        event itself, else a subscriber that is away would be told of that, for ever.

        Args:
            event_id: the event.
            subscription: who did not take it.
            run_id: of the delivery; what it says twice counts once.
            detail: what the last attempt came to.
            owner: of the queue that acts.
        """
        async with self.transaction() as session:
            await self.lock(session, f"case:{subscription}")
            event = (
                await session.exec(select(OutgoingEvent).where(col(OutgoingEvent.event_id) == event_id))
            ).first()
            if event is None:
                return
            row = await self._undelivered(session, event_id, subscription)
            if row is not None and row.run_id == run_id:
                return
            row = row or Undelivered(
                event_id=event_id, subscription=subscription, state="", detail="", run_id="", times=0,
                gave_up_at=self.now(),
            )  # fmt: skip
            row.state, row.detail, row.run_id = UndeliveredState.FAILED.value, detail, run_id
            row.times, row.gave_up_at, row.settled_at = row.times + 1, self.now(), None
            session.add(row)
            await self._open_case(session, _case(event.region, subscription, detail, owner, self.now()))

    @unbroken
    async def undelivered(
        self,
        *,
        states: Collection[UndeliveredState] = (UndeliveredState.FAILED,),
        subscription: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Page[UndeliveredRow]:
        """Events that were not taken, oldest first."""
        query = (
            select(Undelivered, OutgoingEvent)
            .join(OutgoingEvent, col(OutgoingEvent.event_id) == col(Undelivered.event_id))
            .where(col(Undelivered.id) > after, col(Undelivered.state).in_([one.value for one in states]))
            .order_by(col(Undelivered.id))
            .limit(limit + 1)
        )
        if subscription is not None:
            query = query.where(col(Undelivered.subscription) == subscription)
        async with self.reading() as session:
            rows = [_row(*pair) for pair in await session.exec(query)]
        return Page(rows=tuple(rows[:limit]), cursor=rows[limit - 1].id if len(rows) > limit else None)

    @unbroken
    async def undelivered_counts(self) -> dict[str, int]:
        """How many events wait for a person, by subscription."""
        query: Any = (
            select(Undelivered.subscription, func.count())
            .where(col(Undelivered.state) == UndeliveredState.FAILED)
            .group_by(col(Undelivered.subscription))
            .order_by(col(Undelivered.subscription))
        )
        async with self.reading() as session:
            return dict(list(await session.exec(query)))

    async def settle_undelivered(
        self,
        rows: Collection[UndeliveredRow],
        state: UndeliveredState,
        *,
        command_id: str,
        actor: Actor,
        reason: str,
    ) -> int:
        """Write down what a person decided about events, once for each subscriber, and close what is settled.

        Args:
            rows: the events; those that are settled already are left as they are.
            state: ``AGAIN`` or ``DROPPED``.
            command_id: the second time nothing is written.
            actor: who.
            reason: why.

        Returns:
            How many were settled.
        """

        async def work() -> int:
            done = 0
            for region, name in sorted({(row.region, row.subscription) for row in rows}):
                ids = [row.id for row in rows if (row.region, row.subscription) == (region, name)]
                done += await self._settle(region, name, ids, state, command_id, actor, reason)
            return done

        return await self.together(work)

    async def _settle(
        self,
        region: str,
        subscription: str,
        ids: list[int],
        state: UndeliveredState,
        command_id: str,
        actor: Actor,
        reason: str,
    ) -> int:
        telling = telling_id(region, subscription)
        async with self.transaction() as session:
            await self.lock(session, f"case:{subscription}")
            failed = col(Undelivered.state) == UndeliveredState.FAILED
            query = select(Undelivered).where(col(Undelivered.id).in_(ids), failed).with_for_update()
            found = list(await session.exec(query))
            for row in found:
                row.state, row.settled_at = state.value, self.now()
                session.add(row)
            await session.flush()
            left = select(Undelivered.id).where(col(Undelivered.subscription) == subscription, failed)
            is_last = (await session.exec(left.limit(1))).first() is None
        if not found:
            return 0
        case = case_id(telling, 1, STEP)
        await self.decide(
            command_id=f"{command_id}.{subscription}",
            kind="outgoing",
            saga_id=telling,
            step=STEP,
            outcome=state.value,
            actor=actor,
            reason=reason,
            case_id=case,
            after={"events": [row.event_id for row in found]},
        )
        if is_last:
            await self.close_case(case, f"the events are {_SETTLED[state]}")
        return len(found)

    async def _undelivered(
        self, session: AsyncSession, event_id: str, subscription: str
    ) -> Undelivered | None:
        query = select(Undelivered).where(
            col(Undelivered.event_id) == event_id, col(Undelivered.subscription) == subscription
        )
        return (await session.exec(query.with_for_update())).first()


_SETTLED = {UndeliveredState.AGAIN: "sent again", UndeliveredState.DROPPED: "dropped"}


def _case(region: str, subscription: str, detail: str, owner: str | None, at: datetime) -> ExceptionCase:
    telling = telling_id(region, subscription)
    return ExceptionCase(
        id=case_id(telling, 1, STEP),
        saga_id=telling,
        step=STEP,
        business_key=f"subscription/{subscription}",
        region=region,
        state=CaseState.OPEN,
        failure=Failure(
            kind=FailureKind.REPAIR,
            cause=Cause.EVENT_NOT_TAKEN,
            message=f"Subscription {subscription} did not take its events in all attempts; last: {detail}.",
            remedy=f"Mend the receiver, then: trueup outbox --subscription {subscription} --retry",
        ),
        owner=owner,
        opened_at=at,
    )


def _row(row: Undelivered, event: OutgoingEvent) -> UndeliveredRow:
    return UndeliveredRow(
        id=row.id or 0,
        event_id=row.event_id,
        subscription=row.subscription,
        state=UndeliveredState(row.state),
        detail=row.detail,
        run_id=row.run_id,
        times=row.times,
        gave_up_at=row.gave_up_at,
        type=event.type,
        subject=event.subject,
        region=event.region,
    )
