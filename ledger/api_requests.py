"""What a client asked for under an Idempotency-Key, and the answer it gets again."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from canonical.base import Canonical
from ledger.core import Core, unbroken
from ledger.tables.api_request import ApiRequest


class RequestState(StrEnum):
    """What may be done about a request."""

    FIRST = "first"
    """Do it; nobody else does."""
    ANSWERED = "answered"
    """It was done: give the stored answer."""
    IN_FLIGHT = "in-flight"
    """The first request with this key is still being worked on."""
    OTHER = "other"
    """The key was used for something else."""


class StoredAnswer(Canonical):
    """An answer as it was given."""

    status: int
    body: str
    location: str | None = None


class RequestClaim(Canonical):
    """The answer to a claim."""

    state: RequestState
    answer: StoredAnswer | None = None


class ApiRequests(Core):
    """Requests by client and key."""

    @unbroken
    async def claim_request(
        self, client: str, key: str, operation: str, body_hash: str, *, attempt_id: str, lease: timedelta
    ) -> RequestClaim:
        """Take a request, or learn what became of it.

        A request whose lease is over without an answer (its process was killed) may be taken again: what the
        API starts is guarded by its own identity.
        """
        async with self.transaction() as session:
            now = self.now()
            fresh = {
                "client": client,
                "key": key,
                "operation": operation,
                "body_hash": body_hash,
                "attempt_id": attempt_id,
                "lease_until": now + lease,
                "created_at": now,
            }
            await self.insert_ignore(session, ApiRequest, fresh)
            query = select(ApiRequest).where(col(ApiRequest.client) == client, col(ApiRequest.key) == key)
            row = (await session.exec(query.with_for_update())).one()
            if (row.operation, row.body_hash) != (operation, body_hash):
                return RequestClaim(state=RequestState.OTHER)
            if row.status is not None:
                answer = StoredAnswer(status=row.status, body=row.body or "", location=row.location)
                return RequestClaim(state=RequestState.ANSWERED, answer=answer)
            if row.attempt_id != attempt_id and row.lease_until > now:
                return RequestClaim(state=RequestState.IN_FLIGHT)
            row.attempt_id, row.lease_until = attempt_id, now + lease
            session.add(row)
            return RequestClaim(state=RequestState.FIRST)

    @unbroken
    async def answer_request(self, client: str, key: str, attempt_id: str, answer: StoredAnswer) -> None:
        """Keep the answer; late ones of an attempt that lost its lease are dropped."""
        async with self.transaction() as session:
            row = await self._mine(session, client, key, attempt_id)
            if row is not None:
                row.status, row.body, row.location = answer.status, answer.body, answer.location
                row.answered_at = self.now()
                session.add(row)

    @unbroken
    async def forget_request(self, client: str, key: str, attempt_id: str) -> None:
        """Free the key of a request that did nothing, so that the client may repeat it."""
        async with self.transaction() as session:
            row = await self._mine(session, client, key, attempt_id)
            if row is not None:
                await session.delete(row)

    async def _mine(self, session: AsyncSession, client: str, key: str, attempt_id: str) -> ApiRequest | None:
        query = select(ApiRequest).where(
            col(ApiRequest.client) == client,
            col(ApiRequest.key) == key,
            col(ApiRequest.attempt_id) == attempt_id,
            col(ApiRequest.status).is_(None),
        )
        return (await session.exec(query.with_for_update())).first()
