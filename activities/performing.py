"""How a planned write reaches a vendor exactly once: claim, look, send, read back, record.

No intent row, no call. A write whose outcome is unknown is looked for, never guessed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from activities.contracts import SagaRef
from canonical.causes import Cause
from canonical.failures import (
    TIMED_OUT,
    Conflict,
    Defect,
    OutcomeUnknown,
    Refused,
    SystemFailure,
    Transient,
)
from canonical.refs import RecordRef, SystemRole
from canonical.writes import Landed, VendorWrite, WriteKind, needs, resolve_write
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


@dataclass
class Performed:
    """What performing a step's writes brought."""

    values: dict[str, str] = field(default_factory=dict)
    records: list[RecordRef] = field(default_factory=list)
    made: dict[str, bool] = field(default_factory=dict)
    """By effect key: whether this attempt made the record (else it was done before, or linked)."""


@dataclass
class _Doubt:
    """Whether the write under way may be at the vendor: asked when it fails."""

    sent: bool = False
    accepted: bool = False
    """The vendor has answered that it did it."""

    def accept(self) -> None:
        """Note the vendor's yes."""
        self.accepted = True


class Performing:
    """Performs and undoes writes. One per worker process; holds no state of its own."""

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

    # --- perform -----------------------------------------------------------------------------------

    async def perform(
        self,
        system: Writer,
        roles: tuple[SystemRole, ...],
        writes: Sequence[VendorWrite],
        *,
        saga: SagaRef,
        attempt_id: str,
        values: Mapping[str, str],
    ) -> Performed:
        """Make all ``writes`` in order; symbols are filled in as their values appear.

        Args:
            system: the connected system, all writes are to it.
            roles: what it is used for; decides which fields may be written.
            writes: as planned, with symbols.
            saga: on whose behalf.
            attempt_id: unique per activity attempt.
            values: symbol values known so far.

        Raises:
            SystemFailure: with ``maybe_landed`` and the records that exist, when one could not be made.
        """
        done = Performed(values=dict(values))
        for batch in batches(writes):
            waiting = list(batch)
            while waiting:
                ready = [write for write in waiting if needs(write) <= done.values.keys()]
                if not ready:
                    missing = ", ".join(sorted(needs(waiting[0]) - done.values.keys()))
                    raise Defect(
                        f"{waiting[0].title}: nothing gives a value for {missing}.",
                        maybe_landed=any(done.made.values()),
                        survivors=tuple(done.records),
                    )
                await self._perform_beside(system, roles, ready, saga, attempt_id, done)
                waiting = [write for write in waiting if write not in ready]
        done.values = {name: value for name, value in done.values.items() if values.get(name) != value}
        return done

    async def _perform_beside(
        self,
        system: Writer,
        roles: tuple[SystemRole, ...],
        writes: Sequence[VendorWrite],
        saga: SagaRef,
        attempt_id: str,
        done: Performed,
    ) -> None:
        """Make writes that do not wait for one another; the session's pool keeps the vendor's limit.

        All are brought to their end before the first failure is raised, so that none is forgotten.
        """
        doubts = [_Doubt() for _ in writes]
        results = await asyncio.gather(
            *(
                self._perform_ready(system, roles, write, done.values, saga, attempt_id, doubt)
                for write, doubt in zip(writes, doubts, strict=True)
            ),
            return_exceptions=True,
        )
        failed: tuple[VendorWrite, BaseException] | None = None
        for write, result in zip(writes, results, strict=True):
            if isinstance(result, BaseException):
                failed = failed or (write, result)
                continue
            landed, made = result
            done.made[write.key] = made
            done.values[f"{write.symbol}.id"] = landed.id
            for name, value in landed.values.items():
                done.values[f"{write.symbol}.{name}"] = value
            done.records.append(
                RecordRef(system=write.system, type=write.record_type, id=landed.id, url=landed.url)
            )
        if failed is None:
            return
        write, error = failed
        if isinstance(error, SystemFailure):
            lost = [
                doubt for doubt, result in zip(doubts, results, strict=True) if not isinstance(result, tuple)
            ]
            doubtful = any(doubt.sent for doubt in lost)
            error.failure = error.failure.model_copy(
                update={
                    "maybe_landed": doubtful or any(done.made.values()),
                    "survivors": tuple(done.records),
                    "key": write.key,
                }
            )
        raise error

    async def _perform_ready(
        self,
        system: Writer,
        roles: tuple[SystemRole, ...],
        planned: VendorWrite,
        values: Mapping[str, str],
        saga: SagaRef,
        attempt_id: str,
        doubt: _Doubt,
    ) -> tuple[Landed, bool]:
        write = self._ready(planned, roles, values)
        return await self._perform_one(system, write, saga, attempt_id, doubt)

    def _ready(
        self, planned: VendorWrite, roles: tuple[SystemRole, ...], values: Mapping[str, str]
    ) -> VendorWrite:
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
        return resolve_write(planned, values)

    async def _perform_one(
        self, system: Writer, write: VendorWrite, saga: SagaRef, attempt_id: str, doubt: _Doubt
    ) -> tuple[Landed, bool]:
        hash_ = body_hash(write)
        claim = await self._claim(write, saga, attempt_id, hash_)
        if claim.state is ClaimState.DONE:
            assert claim.landed is not None
            # What was there before us is linked, never overwritten (rule 11).
            if claim.body_hash_matches or write.shared is not None or not claim.created_by_us:
                return claim.landed, bool(claim.created_by_us)
            doubt.sent = True
            landed = await self._change(system, write, claim.landed, saga)
            await self._prove(system, write, landed)
            await self.ledger.done(write.key, attempt_id, landed, created=True, write=write, body_hash=hash_)
            return landed, True
        doubt.sent = claim.state is ClaimState.LOOK
        # An update that was never sent is not looked for: its before-image reads the same record.
        first_update = claim.state is ClaimState.FIRST and write.kind is WriteKind.UPDATE
        try:
            found = (
                None if first_update else await self._look(system, write, claim.state, self._lag(claim, saga))
            )
            if found is not None and not claim.body_hash_matches:
                found = await self._change(system, write, found, saga)
        except SystemFailure as error:
            # This attempt sent nothing new: the next one need not sit out its lease.
            await self.ledger.release(write.key, attempt_id, outcome="not_sent", failure=error.failure)
            raise
        if found is not None:
            created = claim.state is ClaimState.LOOK
            landed = found
        else:
            doubt.sent = False
            landed = await self._send(system, write, saga, attempt_id, doubt)
            created = True
        try:
            await self._prove(system, write, landed)
        except SystemFailure as error:
            # A record that was there before us must not look like one of ours to the next attempt.
            doubt.sent = created
            outcome: Outcome = "unknown" if created else "not_sent"
            await self.ledger.release(write.key, attempt_id, outcome=outcome, failure=error.failure)
            raise
        recorded = await self.ledger.done(write.key, attempt_id, landed, created=created, body_hash=hash_)
        if recorded.closed:
            raise Conflict(
                f"{write.title}: landed while it was being undone.",
                cause=Cause.KEY_CLOSED,
                system=write.system,
            )
        return landed, created

    async def _claim(self, write: VendorWrite, saga: SagaRef, attempt_id: str, hash_: str) -> Claim:
        lease = timedelta(seconds=saga.call_seconds) + LEASE_MARGIN
        poll = FIRST_POLL
        while True:
            claim = await self.ledger.claim(
                write,
                saga_id=saga.saga_id,
                actor=saga.actor,
                attempt_id=attempt_id,
                deadline=self._now() + lease,
                body_hash=hash_,
                business_key=saga.business_key,
                region=saga.region,
                links=_links(write),
            )
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
        self, system: Writer, write: VendorWrite, saga: SagaRef, attempt_id: str, doubt: _Doubt
    ) -> Landed:
        try:
            if write.kind is WriteKind.UPDATE and write.restore:
                before = await system.before_image(write)
                await self.ledger.set_before(write.key, attempt_id, before)
        except SystemFailure as error:
            await self.ledger.release(write.key, attempt_id, outcome="not_sent", failure=error.failure)
            raise

        async def confirm() -> None:
            lease = timedelta(seconds=saga.call_seconds) + LEASE_MARGIN
            if not await self.ledger.extend(write.key, attempt_id, self._now() + lease):
                raise Transient(f"{write.title}: this attempt's time is over.", system=write.system)
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

    async def _change(self, system: Writer, write: VendorWrite, landed: Landed, saga: SagaRef) -> Landed:
        """An amended input: bring the record that the first form made up to date."""

        async def confirm() -> None:
            """Always: the record is known and ours, and the same values twice change nothing."""

        permit = PERMIT.set(Permit(confirm, _Doubt().accept, saga.call_seconds))
        try:
            if write.kind is WriteKind.UPDATE:
                return await system.send(write)
            return await system.amend(write, landed)
        finally:
            PERMIT.reset(permit)

    async def _prove(self, system: Writer, write: VendorWrite, landed: Landed) -> None:
        """Read back what matters: an accepted write is not proof."""
        if not write.expect:
            return
        shown = await system.read_back(write, landed)
        wrong = [
            f"{name} is {shown.get(name)!r}, written was {wanted!r}"
            for name, wanted in write.expect.items()
            if not same(shown.get(name), wanted)
        ]
        if wrong:
            entry = CATALOGUE[Cause.READ_BACK_DIFFERS]
            record = RecordRef(system=write.system, type=write.record_type, id=landed.id, url=landed.url)
            raise Refused(
                f"{write.title}: {write.system} shows something else: {'; '.join(wrong)}.",
                cause=Cause.READ_BACK_DIFFERS,
                queue=entry.queue,
                remedy=entry.remedy,
                system=write.system,
                record=record,
                key=write.key,
            )


def batches(writes: Sequence[VendorWrite]) -> list[list[VendorWrite]]:
    """The writes in order, neighbours that are independent of one another together."""
    grouped: list[list[VendorWrite]] = []
    for write in writes:
        if grouped and write.independent and grouped[-1][-1].independent:
            grouped[-1].append(write)
        else:
            grouped.append([write])
    return grouped


def body_hash(write: VendorWrite) -> str:
    """Hash of what is sent, apart from the key: notices an amended input (rule 10)."""
    sent = write.model_dump_json(include={"method", "path", "path_values", "query", "body", "target"})
    return hashlib.sha256(sent.encode()).hexdigest()[:32]


def same(found: Any, wanted: Any) -> bool:
    """Whether a value read back is the one written: numbers by value, text to the letter.

    Two texts are never compared as numbers: a project code "0042" is not "42".
    """
    if (
        (isinstance(found, (bool, str)) and isinstance(wanted, (bool, str)))
        or found is None
        or wanted is None
    ):
        return found is wanted or found == wanted
    try:
        return Decimal(str(found)) == Decimal(str(wanted))
    except InvalidOperation:
        return bool(found == wanted)


def _links(write: VendorWrite) -> list[LinkHint]:
    """A created record is linked to the canonical object that its symbol names."""
    kind, _, key = write.symbol.partition(":")
    if write.kind is not WriteKind.CREATE or not key:
        return []
    return [LinkHint(kind=kind, key=key, evidence={"made by": write.operation})]
