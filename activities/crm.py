"""CRM activities over the CRM port."""

from __future__ import annotations

from temporalio import activity

from activities.contracts import CrmActivities, ReadDeal, StepOutcome, WriteBack
from activities.failures import guarded
from activities.writing import Writing
from canonical.authority import Phase
from canonical.opportunity import Opportunity


class CrmActivitiesOver(Writing, CrmActivities):
    """Reads deals and writes back to them."""

    @activity.defn(name="crm.read_deal")
    @guarded
    async def read_deal(self, command: ReadDeal) -> Opportunity | None:
        """A deal as it stands."""
        crm = await self.systems.crm(command.system, self.digest(command.saga, command.system))
        return await crm.read_deal(command.deal_id)

    @activity.defn(name="crm.write_back")
    @guarded
    async def write_back(self, command: WriteBack) -> StepOutcome:
        """Codes, links and status to the deal."""
        crm = await self.systems.crm(command.system, self.digest(command.saga, command.system))
        context = self.context(command.saga, command.step, phase=Phase.AFTER_APPROVAL)
        writes = crm.plan_write_back(context, command.outcome)
        return await self.perform(crm, writes, command.saga, command.values)
