"""How one planned write reaches a vendor: claim, look, send.

No intent row, no call. A write whose outcome is unknown is looked for, never guessed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from activities.contracts import SagaRef
from canonical.causes import Cause
from canonical.failures import TIMED_OUT, Conflict, OutcomeUnknown, Refused, SystemFailure, Transient
from canonical.refs import SystemRole
from canonical.writes import Landed, VendorWrite, WriteKind
from connectors.ports import PERMIT, Permit, Writer
from ledger.outcomes import Outcome
from ledger.rows import Claim, ClaimState, LinkHint
from ledger.store import Ledger
from rules.authority import unauthorised
from rules.causes import CATALOGUE

LEASE_MARGIN = timedelta(seconds=1)
"""A lease outlives the one call it covers by this much, so that the call ends inside it."""
FIRST_POLL, LONGEST_POLL = 0.05, 1.0
"""Seconds between looks at a key that another attempt holds: short first, it is mostly done at once."""


@dataclass(frozen=True)
class Attempt:
    """One activity attempt at a step's writes."""

    id: str
    """Unique; never part of a key."""
    asked_at: datetime
    """When the saga asked: the same for every attempt at one asking, later for what it asks later, also
    after a reset or in a new run. Aware datetime."""


Looked = Mapping[str, Landed | None]
"""What looks made before the claims found, by effect key: of keys that the ledger did not know then."""


@dataclass(frozen=True)
class Landing:
    """A record that is at the vendor, sent or found; not yet proven."""

    write: VendorWrite
    """With its symbols resolved."""
    landed: Landed
    body_hash: str
    created: bool
    """Whether we made it (now or in an earlier attempt); else it was there before us."""
    recorded: bool = False
    """Whether the ledger has it as done already: nothing is to be proven."""
    amended: bool = False
    """Whether a record that was done was changed to show an amended input."""


@dataclass
class Doubt:
    """Whether the write under way may be at the vendor: asked when it fails."""

    sent: bool = False
    accepted: bool = False
    """The vendor has answered that it did it."""

    def accept(self) -> None:
        """Note the vendor's yes."""
        self.accepted = True


class Sending:
    """Claims, looks for and sends single writes. One per worker process; holds no state of its own."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.ledger = ledger
        self._now = clock
        self._sleep = sleep

    async def land(
        self,
        system: Writer,
        write: VendorWrite,
        saga: SagaRef,
        attempt: Attempt,
        doubt: Doubt,
        looked: Looked,
    ) -> Landing:
        """Bring one write, its symbols resolved, to the vendor: found, or sent once.

        Args:
            system: the connected system.
            write: what to do.
            saga: on whose behalf.
            attempt: the activity attempt.
            doubt: told whether the write may be at the vendor, for when this fails.
            looked: looks made already. They count only while the ledger says that nothing of the key can
                have reached the vendor; after that it is looked for again.

        Raises:
            SystemFailure: it could not be made, or nobody knows.
        """
        hash_ = body_hash(write)
        claim = await self._claim(write, saga, attempt, hash_)
        if claim.state is ClaimState.DONE:
            assert claim.landed is not None
            ours = bool(claim.created_by_us)
            # What was there before us is linked, never overwritten (rule 11).
            if claim.body_hash_matches or write.shared is not None or not ours:
                return Landing(write, claim.landed, hash_, created=ours, recorded=True)
            doubt.sent = True
            landed = await self._change(
                system,
                write,
                claim.landed,
                saga,
                lambda: self.ledger.may_change(write.key, attempt.asked_at),
            )
            return Landing(write, landed, hash_, created=True, amended=True)
        doubt.sent = claim.state is ClaimState.LOOK
        try:
            found = await self._found(system, write, claim, saga, attempt, looked)
        except SystemFailure as error:
            # This attempt sent nothing new: the next one need not sit out its lease.
            await self.ledger.release(write.key, attempt.id, outcome="not_sent", failure=error.failure)
            raise
        if found is not None:
            return Landing(write, found, hash_, created=claim.state is ClaimState.LOOK)
        doubt.sent = False
        landed = await self._send(system, write, saga, attempt.id, doubt)
        return Landing(write, landed, hash_, created=True)

    async def _found(
        self,
        system: Writer,
        write: VendorWrite,
        claim: Claim,
        saga: SagaRef,
        attempt: Attempt,
        looked: Looked,
    ) -> Landed | None:
        """What is at the vendor already, showing the write's body."""
        if claim.state is ClaimState.FIRST and write.kind is WriteKind.UPDATE:
            # An update that was never sent is not looked for: its before-image reads the same record.
            return None
        if claim.state is ClaimState.FIRST and write.key in looked:
            found = looked[write.key]
        else:
            found = await self._look(system, write, claim.state, self._lag(claim, saga))
        if found is not None and not claim.body_hash_matches:
            return await self._change(
                system,
                write,
                found,
                saga,
                lambda: self.ledger.extend(write.key, attempt.id, self._lease(saga)),
            )
        return found

    @staticmethod
    def check_authority(planned: VendorWrite, roles: tuple[SystemRole, ...]) -> None:
        """See that we may write all of a write's fields to that system.

        Raises:
            Refused: a field belongs to another system.
        """
        refusal = unauthorised(planned, roles)
        if refusal is not None:
            raise Refused(
                refusal.message,
                cause=refusal.cause,
                queue=refusal.queue,
                remedy=refusal.remedy,
                system=planned.system,
                field=refusal.field,
                key=planned.key,
            )

    async def _claim(self, write: VendorWrite, saga: SagaRef, attempt: Attempt, hash_: str) -> Claim:
        poll = FIRST_POLL
        while True:
            claim = await self.ledger.claim(
                write,
                saga_id=saga.saga_id,
                actor=saga.actor,
                attempt_id=attempt.id,
                deadline=self._lease(saga),
                asked_at=attempt.asked_at,
                body_hash=hash_,
                business_key=saga.business_key,
                region=saga.region,
                links=_links(write),
            )
            if claim.state is ClaimState.OVERTAKEN:
                raise overtaken(write)
            if claim.state is ClaimState.CLOSED and claim.next_generation is not None:
                raise Transient(
                    f"{write.title}: the earlier record was undone meanwhile; planning again.",
                    system=write.system,
                )
            if claim.state is ClaimState.CLOSED:
                entry = CATALOGUE[Cause.KEY_CLOSED]
                raise Conflict(
                    f"{write.title}: {entry.meaning}",
                    cause=Cause.KEY_CLOSED,
                    system=write.system,
                    remedy=entry.remedy,
                )
            if claim.state is not ClaimState.BUSY:
                return claim
            if claim.failure is not None:
                raise Transient(
                    f"{write.title}: another saga's undo of it is blocked: {claim.failure.message}",
                    system=write.system,
                )
            await self._sleep(poll)
            poll = min(poll * 2, LONGEST_POLL)

    def _lease(self, saga: SagaRef) -> datetime:
        """Until when an attempt whose call begins now may be sending."""
        return self._now() + timedelta(seconds=saga.call_seconds) + LEASE_MARGIN

    @staticmethod
    def _lag(claim: Claim, saga: SagaRef) -> float:
        """Seconds after which a record must be visible if the call before this one made it.

        A call that timed out may still be in the vendor's hands: it gets as long again as one call may
        take. A dropped connection or an ended lease does not: there only the vendor's search may lag.
        """
        timed_out = claim.failure is not None and claim.failure.vendor_code == TIMED_OUT
        return saga.call_seconds if timed_out else 0.0

    async def _look(
        self, system: Writer, write: VendorWrite, state: ClaimState, lag: float = 0.0
    ) -> Landed | None:
        """The record if it is there. After an unknown outcome a vendor may lag: look twice."""
        found = await system.find(write)
        pause = max(write.settle_seconds, lag)
        if found is None and state is ClaimState.LOOK and pause:
            await self._sleep(pause)
            found = await system.find(write)
        return found

    async def _send(
        self, system: Writer, write: VendorWrite, saga: SagaRef, attempt_id: str, doubt: Doubt
    ) -> Landed:
        try:
            # What is never unwound needs no before-image: reading it would only cost a call.
            if write.kind is WriteKind.UPDATE and write.restore and not write.forward_only:
                before = await system.before_image(write)
                await self.ledger.set_before(write.key, attempt_id, before)
        except SystemFailure as error:
            await self.ledger.release(write.key, attempt_id, outcome="not_sent", failure=error.failure)
            raise

        async def confirm() -> None:
            if not await self.ledger.extend(write.key, attempt_id, self._lease(saga)):
                raise overtaken(write)
            doubt.sent = True

        permit = PERMIT.set(Permit(confirm, doubt.accept, saga.call_seconds))
        try:
            return await system.send(write)
        except OutcomeUnknown as error:
            await self.ledger.release(write.key, attempt_id, outcome="unknown", failure=error.failure)
            raise
        except Conflict as error:
            # Something with our key is there after all: an overtaken attempt of ours made it.
            found = await system.find(write) if write.kind is WriteKind.CREATE else None
            if found is not None:
                return found
            doubt.sent = False
            await self.ledger.release(write.key, attempt_id, outcome="not_sent", failure=error.failure)
            raise
        except SystemFailure as error:
            # Refused or never sent, unless the vendor had already said yes and only the rest failed.
            doubt.sent = doubt.accepted
            outcome: Outcome = "unknown" if doubt.accepted else "not_sent"
            await self.ledger.release(write.key, attempt_id, outcome=outcome, failure=error.failure)
            raise
        except BaseException:
            await asyncio.shield(self.ledger.release(write.key, attempt_id, outcome="unknown"))
            raise
        finally:
            PERMIT.reset(permit)

    async def _change(
        self,
        system: Writer,
        write: VendorWrite,
        landed: Landed,
        saga: SagaRef,
        may: Callable[[], Awaitable[bool]],
    ) -> Landed:
        """An amended input: bring the record that the first form made up to date.

        The same values twice change nothing, but older ones would: ``may`` has the last word.
        """

        async def confirm() -> None:
            if not await may():
                raise overtaken(write)

        permit = PERMIT.set(Permit(confirm, Doubt().accept, saga.call_seconds))
        try:
            if write.kind is WriteKind.UPDATE:
                return await system.send(write)
            return await system.amend(write, landed)
        finally:
            PERMIT.reset(permit)


def overtaken(write: VendorWrite) -> Transient:
    """What an attempt ends with that comes too late to send."""
    return Transient(f"{write.title}: this attempt's time is over.", system=write.system)


def body_hash(write: VendorWrite) -> str:
    """Hash of what is sent, apart from the key: notices an amended input (rule 10)."""
    sent = write.model_dump_json(include={"method", "path", "path_values", "query", "body", "target"})
    return hashlib.sha256(sent.encode()).hexdigest()[:32]


def _links(write: VendorWrite) -> list[LinkHint]:
    """A created record is linked to the canonical object that its symbol names."""
    kind, _, key = write.symbol.partition(":")
    if write.kind is not WriteKind.CREATE or not key:
        return []
    return [LinkHint(kind=kind, key=key, evidence={"made by": write.operation})]
