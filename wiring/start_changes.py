"""How a change order is handed over: kept in the ledger, then the contract's workflow is told (rule 43)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from activities.changes.standing import Standings
from activities.contracts import StartContractChanges
from canonical.causes import Cause, Queue
from canonical.change_orders import ChangeOrder, Judgement
from canonical.engagement import Contract
from canonical.failures import Refused
from canonical.names import EVENT_SIGNAL, WORKFLOW_QUEUE, SagaName, change_name, event_id, saga_id
from canonical.saga import Actor
from ledger.rows import ChangeOrderRow
from ledger.store import Ledger
from rules.causes import CATALOGUE
from rules.change_orders import judge
from runtime.settings import Settings
from wiring.start import common_start
from workflows.changes.contract_changes import ContractChanges
from workflows.publish import at_start, origin_of, summary_of

SOURCE = "change-order"
"""Source of the events that tell a contract's workflow of a change order."""


def parsed(text: str | bytes) -> Any:
    """The JSON that change orders come in; its numbers never pass through a binary fraction.

    Raises:
        ValueError: it is no JSON.
    """
    return json.loads(text, parse_float=str)


def order_saga(settings: Settings, erp: str, contract: str, order: str) -> str:
    """Id of the saga that carries one change order.

    Raises:
        ValueError: a key that cannot be part of it.
    """
    region = settings.about.region
    return saga_id(SagaName.CHANGE_ORDER, region, erp, change_name(contract, order))


def changes_saga(settings: Settings, erp: str, contract: str) -> str:
    """Id of the saga that sees to a contract's change orders."""
    return saga_id(SagaName.CONTRACT_CHANGES, settings.about.region, erp, contract)


async def submit(
    settings: Settings,
    mapping: Mapping[str, str],
    ledger: Ledger,
    client: Client,
    order: ChangeOrder,
    *,
    actor: Actor,
    reason: str,
    trace_id: str | None = None,
) -> ChangeOrderRow:
    """Keep a change order, then tell its contract's workflow, which starts if it does not run.

    Whatever goes wrong after it is kept: sending it again is harmless, and tells the workflow again.

    Args:
        settings: of the installation.
        mapping: digest of each system's mapping.
        ledger: where it is kept.
        client: of Temporal.
        order: the change order.
        actor: who sends it.
        reason: why.
        trace_id: the trace that goes on in what is started; a new one when empty.

    Raises:
        Refused: there is no such contract (``CONTRACT_UNKNOWN``).
        Conflict: one of its key has other content (``CHANGE_ORDER_REPEATED``), or the contract's projects are
            closed (``PROJECT_CLOSED``).
    """
    found = await ledger.contract_version(order.contract_key)
    if found is None:
        entry = CATALOGUE[Cause.CONTRACT_UNKNOWN]
        raise Refused(
            f"Contract {order.contract_key}: {entry.meaning}",
            cause=Cause.CONTRACT_UNKNOWN,
            queue=Queue.BILLING,
            remedy=entry.remedy,
        )
    row = await ledger.receive_change_order(order, actor=actor, reason=reason)
    if row.state.is_open:
        erp = Contract.model_validate(found.terms).erp
        await tell(
            settings,
            mapping,
            client,
            erp,
            order.contract_key,
            row.id,
            actor=actor,
            reason=reason,
            trace_id=trace_id,
        )
    return row


async def judged(settings: Settings, ledger: Ledger, order: ChangeOrder) -> Judgement:
    """What would come of a change order as things stand; nothing is kept.

    Raises:
        Refused: there is no such contract (``CONTRACT_UNKNOWN``).
    """
    firm = settings.firm()
    place = await Standings(ledger, firm).place(order.contract_key)
    return judge(order, place.standing, firm)


async def tell(
    settings: Settings,
    mapping: Mapping[str, str],
    client: Client,
    erp: str,
    contract: str,
    row: int,
    *,
    actor: Actor,
    reason: str,
    trace_id: str | None = None,
) -> None:
    """Tell a contract's workflow that something about its change orders is new in the ledger."""
    common = common_start(
        settings, mapping, SagaName.CONTRACT_CHANGES, erp, contract, actor=actor, reason=reason
    )
    if trace_id is not None:
        common["trace_id"] = trace_id
    start = StartContractChanges(**common, contract=contract)
    await client.start_workflow(
        ContractChanges.run,
        start,
        id=start.saga_id,
        task_queue=WORKFLOW_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        start_signal=EVENT_SIGNAL,
        start_signal_args=[event_id(SOURCE, row)],
        search_attributes=at_start(start),
        static_summary=summary_of(start),
        static_details=origin_of(start),
    )
