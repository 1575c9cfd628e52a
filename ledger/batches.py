"""Batches: intended before they are sent, settled when every line has an outcome (rules 27, 29).

::

    form_batches -> submit_batch: SEND | AGAIN -> the vendor -> accept_batch -> settle_batch
                    (drop_lines before it)        '-> release_batch (never left us)
                                  BUSY -> ask again at until
                                  ACCEPTED -> ask the vendor's job, settle_batch
                                  DONE, CLOSED -> nothing to do

A key contains a digest of the lines, so that the same key always means the same lines (rule 29).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import update
from sqlmodel import col

from canonical.batches import BatchRef, BatchState, LineState
from canonical.failures import Defect
from canonical.names import batch_key
from ledger.billing_rows import BatchClaim, BatchClaimState
from ledger.core import unbroken
from ledger.forming import Forming, batch_ref, line_name
from ledger.item_rows import chunks, items_by_id
from ledger.tables.billable_item import BillableItem


class Batches(Forming):
    """Batches on their way to the vendor; what comes back is in ``settling``."""

    @unbroken
    async def drop_lines(self, key: str, item_keys: Iterable[str], reason: str) -> BatchRef:
        """Take lines off a batch that was not sent, for example because their approval is gone. The batch
        gets the key of the lines that are left; without any it is abandoned.

        Raises:
            Defect: the batch may have been sent.
        """
        async with self.transaction() as session:
            batch = await self._batch(session, key, lock=True)
            wanted = set(item_keys)
            lines = await self._lines(session, batch)
            items = await items_by_id(session, (line.item_id for line in lines))
            dropped = [line for line in lines if items[line.item_id].item_key in wanted]
            if not dropped:
                return batch_ref(batch)
            if batch.state != BatchState.INTENDED:
                raise Defect(f"batch {key} is {batch.state}: its lines may be with the vendor", key=key)
            for line in dropped:
                line.state, line.message = LineState.DROPPED.value, reason
                session.add(line)
            left = [items[line.item_id] for line in lines if line not in dropped]
            if left:
                batch.lines = len(left)
                batch.batch_key = batch_key(
                    batch.system, batch.purpose, batch.number, (line_name(row) for row in left)
                )
                session.add(batch)
            else:
                await self._abandon(session, batch)
            await session.flush()
            return batch_ref(batch)

    @unbroken
    async def submit_batch(self, key: str, attempt_id: str, deadline: datetime) -> BatchClaim:
        """The last word before the wire: whether this attempt may hand the batch over now.

        Args:
            key: the batch.
            attempt_id: unique per attempt; the same attempt may ask again.
            deadline: until when it may be sending. Aware.
        """
        async with self.transaction() as session:
            batch = await self._batch(session, key, lock=True)
            state = BatchState(batch.state)
            if state is BatchState.DONE:
                return BatchClaim(state=BatchClaimState.DONE, batch=batch_ref(batch))
            if state is BatchState.ACCEPTED:
                return BatchClaim(state=BatchClaimState.ACCEPTED, batch=batch_ref(batch))
            if not state.is_open:
                return BatchClaim(state=BatchClaimState.CLOSED, batch=batch_ref(batch))
            if (
                state is BatchState.SUBMITTED
                and batch.attempt_id not in (None, attempt_id)
                and batch.deadline is not None
                and self.now() < batch.deadline
            ):
                return BatchClaim(state=BatchClaimState.BUSY, batch=batch_ref(batch), until=batch.deadline)
            batch.state = BatchState.SUBMITTED.value
            batch.attempt_id, batch.deadline = attempt_id, deadline
            batch.attempts += 1
            batch.submitted_at = batch.submitted_at or self.now()
            session.add(batch)
            again = state is BatchState.SUBMITTED
            return BatchClaim(
                state=BatchClaimState.AGAIN if again else BatchClaimState.SEND, batch=batch_ref(batch)
            )

    @unbroken
    async def release_batch(self, key: str, attempt_id: str, *, sent: bool) -> BatchRef:
        """The attempt is over without an answer. Not ``sent`` (no connection came to be): if no attempt
        before it was sent either, the batch is *intended* again.
        """
        async with self.transaction() as session:
            batch = await self._batch(session, key, lock=True)
            if batch.state == BatchState.SUBMITTED and batch.attempt_id == attempt_id:
                batch.attempt_id = None
                if not sent and batch.attempts == 1:
                    batch.state = BatchState.INTENDED.value
                    batch.attempts, batch.submitted_at = 0, None
                session.add(batch)
                await session.flush()
            return batch_ref(batch)

    @unbroken
    async def accept_batch(self, key: str, ticket: str, *, earlier: bool = False) -> BatchRef:
        """The vendor has it, as job ``ticket``; ``earlier``: it said that it took it before (rule 29)."""
        async with self.transaction() as session:
            batch = await self._batch(session, key, lock=True)
            if batch.state == BatchState.SUBMITTED:
                batch.state = BatchState.ACCEPTED.value
                batch.ticket, batch.earlier = ticket, batch.earlier or earlier
                session.add(batch)
                await session.flush()
            return batch_ref(batch)

    @unbroken
    async def abandon_batch(self, key: str) -> BatchRef:
        """Nothing of it was sent and nothing will be: its lines are free.

        Raises:
            Defect: it may have been sent.
        """
        async with self.transaction() as session:
            batch = await self._batch(session, key, lock=True)
            if batch.state == BatchState.INTENDED:
                await self._abandon(session, batch)
            elif batch.state != BatchState.ABANDONED:
                raise Defect(f"batch {key} is {batch.state}: it may be with the vendor", key=key)
            return batch_ref(batch)

    @unbroken
    async def supersede_batch(self, key: str) -> BatchRef:
        """Nobody will ever say what became of it: its lines are free, and must be looked for before they are
        sent again.

        An attempt that lost its answer has ended, and its call may still arrive: until the deadline nobody
        looks, since what is not there yet would be taken for never sent.

        Raises:
            Defect: a call may still arrive, or the vendor's job is known: ask that.
        """
        async with self.transaction() as session:
            batch = await self._batch(session, key, lock=True)
            if batch.state == BatchState.SUPERSEDED:
                return batch_ref(batch)
            arriving = batch.deadline is not None and self.now() < batch.deadline
            if batch.state != BatchState.SUBMITTED or arriving:
                raise Defect(f"batch {key} is {batch.state} and may still be answered", key=key)
            lines = await self._lines(session, batch)
            for part in chunks(line.item_id for line in lines):
                await session.exec(
                    update(BillableItem).where(col(BillableItem.id).in_(part)).values(look_first=True)
                )
            await self._abandon(session, batch)
            batch.state = BatchState.SUPERSEDED.value
            session.add(batch)
            await session.flush()
            return batch_ref(batch)
