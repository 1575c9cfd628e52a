"""Cases, decisions and the end of a saga, in the ledger."""

from __future__ import annotations

import logging

from temporalio import activity

from activities.beginning import begin
from activities.contracts import (
    CloseCase,
    EscalateCase,
    FinishSaga,
    LedgerActivities,
    LeftBehind,
    LeftStep,
    OpenCase,
    RecordDecision,
    SagaRef,
)
from activities.failures import guarded
from activities.systems import Systems
from canonical.failures import Refused, Unauthorised
from canonical.names import case_id, step_name
from canonical.operations import Notice
from canonical.saga import CaseState, ExceptionCase
from ledger.store import Ledger

log = logging.getLogger("trueup.books")


class LedgerActivitiesOver(LedgerActivities):
    """Keeps the books."""

    def __init__(self, systems: Systems, ledger: Ledger) -> None:
        self.systems = systems
        self.ledger = ledger

    @activity.defn(name="ledger.open_case")
    @guarded
    async def open_case(self, command: OpenCase) -> None:
        """Record or re-open an exception; its owner is the queue's."""
        saga, failure = command.saga, command.failure
        await self.ledger.open_case(
            ExceptionCase(
                id=case_id(saga.saga_id, saga.generation, command.step),
                saga_id=saga.saga_id,
                step=command.step,
                business_key=saga.business_key,
                region=saga.region,
                state=CaseState.OPEN,
                transient=command.transient,
                failure=failure,
                owner=self.systems.firm.policies.queue_owners.get(failure.queue.value),
                opened_at=command.opened_at,
                links=command.links,
            )
        )

    @activity.defn(name="ledger.close_case")
    @guarded
    async def close_case(self, command: CloseCase) -> None:
        """Close an exception."""
        saga = command.saga
        await self.ledger.close_case(case_id(saga.saga_id, saga.generation, command.step), command.resolution)

    @activity.defn(name="ledger.escalate_case")
    @guarded
    async def escalate_case(self, command: EscalateCase) -> None:
        """A deadline passed: tell the queue's owner; nothing is decided by itself."""
        saga = command.saga
        key = case_id(saga.saga_id, saga.generation, command.step)
        row = await self.ledger.case(key)
        owner = row.case.owner if row and row.case.owner else "operations"
        if row is not None:
            await self.ledger.escalate_case(key, to=owner)
        notice = Notice(
            key=f"{key}.escalation.{row.escalations if row else 0}",
            channel="operations",
            subject=f"[Trueup] {command.message}",
            facts={"Saga": saga.saga_id, "Step": command.step, "Owner": owner},
        )
        for notifier in self.systems.notifiers("operations"):
            try:
                await notifier.notify(notice)
            except (Refused, Unauthorised) as error:
                # A channel that is set up wrongly must not hold up the saga; the case shows its age anyway.
                log.warning("escalation not delivered by %s: %s", notifier.system, error)

    @activity.defn(name="ledger.record_decision")
    @guarded
    async def record_decision(self, command: RecordDecision) -> None:
        """Keep who decided what, and why (rule 14)."""
        saga = command.saga
        if command.repair is not None:
            repair = command.repair
            await self.ledger.decide(
                command_id=repair.command_id,
                kind="repair",
                saga_id=saga.saga_id,
                step=repair.step,
                outcome=repair.action.value,
                actor=repair.actor,
                reason=repair.reason,
                case_id=case_id(saga.saga_id, saga.generation, repair.step),
                after={"amended_input": repair.amended_input, "result": repair.result},
            )
        if command.gate is not None:
            gate, request = command.gate, command.request
            await self.ledger.decide(
                command_id=gate.command_id,
                kind="gate",
                saga_id=saga.saga_id,
                step=gate.step,
                outcome=gate.outcome.value,
                actor=gate.actor,
                reason=gate.reason,
                before=request.model_dump(mode="json") if request else None,
                after={"choice": gate.choice},
            )

    @activity.defn(name="ledger.left_behind")
    @guarded
    async def left_behind(self, saga: SagaRef) -> LeftBehind:
        """Steps that may have left something."""
        found = await self.ledger.left_behind(saga.saga_id, saga.generation)
        steps = [
            LeftStep(step=step_name(key), step_key=key, system=row.system, title=row.title)
            for key, row in found.items()
        ]
        return LeftBehind(steps=tuple(steps))

    @activity.defn(name="ledger.finish_saga")
    @guarded
    async def finish_saga(self, command: FinishSaga) -> None:
        """Close the saga's row with its last view."""
        saga, view = command.saga, command.view
        if await self.ledger.saga(saga.saga_id) is None:
            # It ended before it was registered, for example because there is no such deal.
            await begin(self.ledger, saga, view.saga, reason="")
        await self.ledger.finish_saga(
            saga.saga_id,
            saga.generation,
            view.status,
            view=view,
            figures={"human_seconds": view.human_seconds, "steps": len(view.steps)},
        )
        # What a run that was stopped had claimed and not posted is the next run's at once.
        await self.ledger.close_pieces(saga.saga_id)
