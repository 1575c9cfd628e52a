"""Opportunity-to-project: a won deal becomes customer, contract, project and a staffed plan, or nothing.

Steps, undo and failure table: ``docs/opportunity-to-project.md``.
"""

from __future__ import annotations

from pydantic import ValidationError
from temporalio import workflow

from activities.contracts import (
    StartSaga,
)
from canonical.names import SagaName
from canonical.saga import SagaView
from workflows.kernel.handlers import SagaHandlers
from workflows.opportunity.building import Building
from workflows.opportunity.closing import Closing
from workflows.opportunity.reading import Reading
from workflows.saga import Saga


@workflow.defn(name="OpportunityToProject", failure_exception_types=[ValidationError])
class OpportunityToProject(SagaHandlers):
    """One run per won deal."""

    @workflow.init
    def __init__(self, start: StartSaga | None = None) -> None:
        # A start from the Web UI or Temporal's own command line may bring no input at all: that has to
        # fail with a sentence, not to hang on a missing argument.
        start = StartSaga.model_validate(start)
        self.start = start
        self.saga = Saga(
            SagaName.OPPORTUNITY_TO_PROJECT.value, start, "Setting up the engagement of a won deal"
        )
        self.reading = Reading(self.saga, start)
        self.building = Building(self.saga, start)
        self.closing = Closing(self.saga, start, self.reading, self.building)

    @workflow.run
    async def run(self, start: StartSaga | None = None) -> SagaView:
        """Carry the deal to an active project, or leave nothing behind."""
        return await self.saga.conduct(self.set_up_engagement)

    async def set_up_engagement(self) -> None:
        """The business process."""
        plan = await self.reading.validated_plan()
        if plan.engagement is None:
            return
        await self.reading.gates(plan)
        await self.building.build(plan)
        while (changed := await self.closing.differences(plan)) is not None:
            plan = changed
            await self.reading.gates(plan)
            await self.building.build(plan)
        await self.closing.activate_contracts(plan)
        await self.closing.open_for_work(plan)
        await self.closing.notify(plan)
