"""How closings and re-openings of a contract's projects are started: one at a time (rule 45)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from activities.contracts import StartCloseProject, StartReopenProject
from canonical.causes import Cause
from canonical.engagement import Contract
from canonical.failures import Refused
from canonical.names import WORKFLOW_QUEUE, SagaName, closing_name
from canonical.saga import Actor, SagaView
from ledger.rows import ProjectClosingRow
from ledger.store import Ledger
from rules.causes import CATALOGUE
from runtime.settings import Settings
from wiring.start import common_start
from workflows.closing.close_project import CloseProject
from workflows.closing.reopen_project import ReopenProject
from workflows.publish import at_start, origin_of, summary_of

Closing = StartCloseProject | StartReopenProject


class ClosingStarts:
    """Builds the starts of closings for one installation, on behalf of one actor."""

    def __init__(self, settings: Settings, mapping: Mapping[str, str], ledger: Ledger, actor: Actor) -> None:
        self._settings = settings
        self._mapping = dict(mapping)
        self._ledger = ledger
        self._actor = actor

    async def close(self, contract: str, reason: str = "", *, plan: bool = False) -> StartCloseProject:
        """The contract's next closing; the same start until it is agreed, so that two are one.

        Raises:
            Refused: there is no such contract (``CONTRACT_UNKNOWN``).
            ValueError: the key cannot be part of a saga id.
        """
        last = await self._ledger.project_closing(contract)
        number = 1 if last is None else last.number + (0 if last.in_force else 1)
        erp, saga = await self._erp(contract), SagaName.CLOSE_PROJECT
        record = closing_name(contract, number)
        common = common_start(
            self._settings, self._mapping, saga, erp, record, actor=self._actor, reason=reason, plan=plan
        )
        return StartCloseProject(**common, contract=contract, number=number)

    async def reopen(
        self, closing: ProjectClosingRow, reason: str = "", *, plan: bool = False
    ) -> StartReopenProject:
        """What takes a closing back.

        Raises:
            Refused: there is no such contract (``CONTRACT_UNKNOWN``).
        """
        contract, saga = closing.contract_key, SagaName.REOPEN_PROJECT
        record = closing_name(contract, closing.number)
        erp = await self._erp(contract)
        common = common_start(
            self._settings, self._mapping, saga, erp, record, actor=self._actor, reason=reason, plan=plan
        )
        return StartReopenProject(**common, contract=contract, number=closing.number)

    async def _erp(self, contract: str) -> str:
        version = await self._ledger.contract_version(contract)
        if version is None:
            entry = CATALOGUE[Cause.CONTRACT_UNKNOWN]
            raise Refused(
                f"Contract {contract}: {entry.meaning}",
                cause=Cause.CONTRACT_UNKNOWN,
                queue=entry.queue,
                remedy=entry.remedy,
            )
        return Contract.model_validate(version.terms).erp


async def start_closing(client: Client, start: Closing) -> WorkflowHandle[Any, SagaView]:
    """Start a closing or re-opening, or find the one that runs.

    Raises:
        WorkflowAlreadyStartedError: it is complete.
    """
    run: Any = CloseProject.run if isinstance(start, StartCloseProject) else ReopenProject.run
    again = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
    handle: WorkflowHandle[Any, SagaView] = await client.start_workflow(
        run,
        start,
        id=start.saga_id,
        task_queue=WORKFLOW_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE if start.plan else again,
        search_attributes=at_start(start),
        static_summary=summary_of(start),
        static_details=origin_of(start),
    )
    return handle
