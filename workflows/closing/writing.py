"""What a closing and a re-opening have in common: one write in one system, and the word to sales."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pydantic import BaseModel

from activities.contracts import DealCloseActivities, StepOutcome, TellDeal
from activities.options import CallClass
from canonical.names import system_queue
from canonical.refs import RecordRef
from canonical.saga import StepKind
from workflows.saga import Saga


async def write(
    saga: Saga,
    step: str,
    title: str,
    method: Callable[..., Awaitable[StepOutcome]],
    command: BaseModel,
    *,
    system: str,
    kind: StepKind = StepKind.COMPENSATABLE,
) -> None:
    """One write in one connected system, and its records kept.

    Args:
        saga: whose step it is.
        step: its id.
        title: for people.
        method: the activity.
        command: what it is asked.
        system: the instance that is written to.
        kind: whether it can be undone.
    """
    saga.keep(
        await saga.step(
            step,
            title,
            method,
            command,
            kind=kind,
            queue=system_queue(system),
            call=CallClass.WRITE,
            system=system,
        )
    )


async def tell(saga: Saga, contract: str, number: int, deal: RecordRef | None) -> None:
    """Sales see on the deal how its contracts stand, where the contract has one.

    Args:
        saga: whose step it is.
        contract: the contract that was closed or opened again.
        number: which closing of it.
        deal: the deal's record; None where no deal belongs to it.
    """
    if deal is None:
        return
    step = "status"
    await write(
        saga,
        step,
        f"Status of the deal in {deal.system}",
        DealCloseActivities.project_status,
        TellDeal(saga=saga.ref, step=step, system=deal.system, contract=contract, number=number, deal=deal),
        system=deal.system,
        kind=StepKind.FORWARD_ONLY,
    )
