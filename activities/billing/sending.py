"""How one batch reaches a vendor and what comes back: claimed, handed over, asked after, settled (rule 29).

The ledger says whether it may be handed over, the vendor what became of each line. A batch whose answer was
lost is handed over again under the same key: the vendor answers with the earlier job.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from activities.ending import Ending
from canonical.batches import BatchRef
from canonical.failures import OutcomeUnknown, RateLimited, SystemFailure, Transient
from canonical.operations import BatchTicket, LineOutcome
from canonical.writes import VendorWrite
from connectors.ports import PERMIT, BulkPort, Permit
from ledger.billing_rows import BatchClaim, BatchClaimState
from ledger.store import Ledger

LEASE_MARGIN = 2.0
"""Seconds that a batch's deadline outlives the call it covers."""
TRIES = 5
"""Hand-overs of one batch by one attempt of the activity; then the server, and the saga, wait."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
JOB_SECONDS = 600.0
"""How long a job may run before this attempt gives up asking."""
LONGEST_POLL = 5.0


class Stale(Exception):
    """What was read before the batch is too old by now: read it again."""


@dataclass(frozen=True)
class Handing:
    """One batch to hand over: by whom, and until when what was read about it is good."""

    attempt_id: str
    call_seconds: float
    fresh_until: float | None = None
    """On the monotonic clock; None where nothing was read that could grow old."""


class BatchSending:
    """Hands batches over and asks after them."""

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

    async def hand_over(
        self, port: BulkPort, batch: BatchRef, writes: Sequence[VendorWrite], handing: Handing
    ) -> BatchTicket | None:
        """Hand a batch over, once; None when there is nothing to ask after: it is settled or closed.

        Raises:
            Stale: too late: what was read before it is too old.
            OutcomeUnknown: nobody answered: hand it over again.
            SystemFailure: it could not be handed over.
        """
        claim = await self._claim(batch, handing)
        if claim.state is BatchClaimState.ACCEPTED:
            return BatchTicket(id=claim.batch.ticket or "", earlier=claim.batch.earlier)
        if claim.state in (BatchClaimState.DONE, BatchClaimState.CLOSED):
            return None
        sent = False

        async def confirm() -> None:
            nonlocal sent
            if handing.fresh_until is not None and time.monotonic() > handing.fresh_until:
                raise Stale
            sent = True

        permit = PERMIT.set(Permit(confirm, lambda: None, handing.call_seconds))
        try:
            ticket = await port.submit_batch(batch.key, writes)
        except BaseException as error:
            landed = isinstance(error, OutcomeUnknown) or (sent and not isinstance(error, SystemFailure))
            await asyncio.shield(self.ledger.release_batch(batch.key, handing.attempt_id, sent=landed))
            raise
        finally:
            PERMIT.reset(permit)
        await self.ledger.accept_batch(batch.key, ticket.id, earlier=ticket.earlier)
        return ticket

    async def _claim(self, batch: BatchRef, handing: Handing) -> BatchClaim:
        wait = 0.0 if handing.fresh_until is None else max(0.0, handing.fresh_until - time.monotonic())
        while True:
            lease = timedelta(seconds=wait + handing.call_seconds + LEASE_MARGIN)
            claim = await self.ledger.submit_batch(batch.key, handing.attempt_id, self._now() + lease)
            if claim.state is not BatchClaimState.BUSY or claim.until is None:
                return claim
            await self._sleep(max(0.05, (claim.until - self._now()).total_seconds()))
            if handing.fresh_until is not None:
                raise Stale

    async def outcome(
        self,
        port: BulkPort,
        ticket: BatchTicket,
        writes: Sequence[VendorWrite],
        *,
        poll: float,
        ending: Ending,
    ) -> list[LineOutcome]:
        """What became of each line, asked until the vendor's job has ended.

        Raises:
            Transient: it runs on and on, or the worker stops: a later attempt asks again.
        """
        give_up = time.monotonic() + JOB_SECONDS
        pause = poll
        while True:
            await self._sleep(pause)
            found = await port.batch_outcome(ticket, writes)
            if found is not None:
                return found
            if time.monotonic() > give_up or (ending.wanted and not ending.stopped):
                raise Transient(f"Job {ticket.id} of {port.system} still runs.", system=port.system)
            pause = min(pause * 1.5, LONGEST_POLL)


async def patiently(
    work: Callable[[], Awaitable[None]], ending: Ending, sleep: Callable[[float], Awaitable[None]]
) -> None:
    """Try again what fails for a passing reason: one busy moment must not end a whole piece.

    Raises:
        SystemFailure: it keeps failing, or needs somebody.
    """
    pause = FIRST_PAUSE
    for tries in range(1, TRIES + 1):
        try:
            await work()
        except (Transient, RateLimited, OutcomeUnknown) as error:
            if tries == TRIES or ending.wanted:
                raise
            await sleep(max(pause, float(error.failure.retry_after_seconds or 0)))
            pause = min(pause * 2, LONGEST_PAUSE)
        else:
            return
