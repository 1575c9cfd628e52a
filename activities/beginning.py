"""A run registers itself in the ledger, whatever saga it is of."""

from __future__ import annotations

from temporalio import activity

from activities.contracts import SagaRef
from ledger.rows import SagaBegun
from ledger.store import Ledger


async def begin(ledger: Ledger, saga: SagaRef, name: str, reason: str, *, again: bool = False) -> SagaBegun:
    """Open the saga's generation, or find the one that is open; a retried activity changes nothing.

    Args:
        ledger: where.
        saga: whose run it is.
        name: ``canonical.names.SagaName`` value.
        reason: why it was started.
        again: a complete one of this kind may run again (``Ledger.begin_saga``).

    Raises:
        Transient: the ledger is away.
    """
    return await ledger.begin_saga(
        saga.saga_id,
        saga=name,
        region=saga.region,
        business_key=saga.business_key,
        actor=saga.actor,
        reason=reason,
        start_id=activity.info().workflow_run_id or "",
        trace_id=saga.trace_id,
        mapping=saga.mapping,
        again=again,
    )
