"""Stories of change orders whose histories are replayed: each plays them on a contract of its own and answers
the handle of one run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.client import WorkflowHandle

from canonical.saga import GateOutcome, SagaStatus, SagaView
from tests.e2e.change_arrivals import ERP, PATIENCE, decided, orders, send, set_up
from tests.e2e.firm import Firm
from wiring.start_changes import changes_saga, order_saga

Run = WorkflowHandle[Any, SagaView]


async def change_order_applied(firm: Firm) -> Run:
    """Agreed and applied everywhere."""
    _, contract = await set_up(firm)
    await send(firm, orders(contract, "delta")[0])
    await decided(firm, contract)
    return _run(firm, order_saga(firm.settings, ERP, contract.key, "CO-1"))


async def change_order_rejected(firm: Firm) -> Run:
    """Rejected by finance: the scope on the deal is taken back."""
    _, contract = await set_up(firm)
    await send(firm, orders(contract, "delta")[0])
    await decided(firm, contract, outcome=GateOutcome.REJECT, reason="not agreed")
    return _run(firm, order_saga(firm.settings, ERP, contract.key, "CO-1"))


async def change_order_refused(firm: Firm) -> Run:
    """It cannot be: refused before the first write."""
    _, contract = await set_up(firm)
    sent = orders(contract, "delta")
    await send(firm, sent[2].model_copy(update={"base": 1}))
    await decided(firm, contract)
    return _run(firm, order_saga(firm.settings, ERP, contract.key, "CO-3"))


async def contract_changes_waited(firm: Firm) -> Run:
    """The second arrives first and waits for its base; both are carried, one after the other."""
    _, contract = await set_up(firm)
    first, second, *_ = orders(contract, "delta")
    await send(firm, second)
    run = _run(firm, changes_saga(firm.settings, ERP, contract.key))
    await firm.when(run, lambda view: view.status is SagaStatus.WAITING)
    await send(firm, first)
    await decided(firm, contract)
    await asyncio.wait_for(run.result(), PATIENCE)
    return run


def _run(firm: Firm, saga: str) -> Run:
    return firm.client.get_workflow_handle(saga)


CHANGE_STORIES: tuple[Callable[[Firm], Awaitable[Run]], ...] = (
    change_order_applied,
    change_order_rejected,
    change_order_refused,
    contract_changes_waited,
)
