"""What connected systems do for change orders, over the ports."""

from __future__ import annotations

from typing import cast

from temporalio import activity

from activities.contracts import (
    ChangeInDelivery,
    ChangeInErp,
    DeliveryChangeActivities,
    OrderChangeActivities,
    ScopeActivities,
    ShowScope,
    StepOutcome,
)
from activities.failures import guarded
from activities.writing import Writing
from canonical.authority import Phase
from connectors.ports.changes import DeliveryChangePort, OrderChangePort, ScopePort

AFTER = Phase.AFTER_APPROVAL


class ScopeActivitiesOver(Writing, ScopeActivities):
    """Shows scope on deals."""

    @activity.defn(name="crm.show_scope")
    @guarded
    async def show_scope(self, command: ShowScope) -> StepOutcome:
        """Show the scope on the deal."""
        crm = await self.systems.crm(command.system, self.digest(command.saga, command.system))
        context = self.context(command.saga, command.step, phase=AFTER)
        writes = cast(ScopePort, crm).plan_scope(context, command.scope, agreed=command.agreed)
        return await self.perform(crm, writes, command.saga, {})


class OrderChangeActivitiesOver(Writing, OrderChangeActivities):
    """Changes contracts in an ERP."""

    @activity.defn(name="erp.hold_contract")
    @guarded
    async def hold_contract(self, command: ChangeInErp) -> StepOutcome:
        """Mark the contract as being changed."""
        erp = await self._erp(command)
        context = self.context(command.saga, command.step, phase=AFTER)
        return await self.perform(erp, erp.plan_hold(context, command.change), command.saga, command.values)

    @activity.defn(name="erp.change_contract")
    @guarded
    async def change_contract(self, command: ChangeInErp) -> StepOutcome:
        """Lines in their places, revenue settings, billing schedules, terms, project."""
        erp = await self._erp(command)
        context = self.context(command.saga, command.step, phase=AFTER)
        change = command.change
        if change.impact.lines:
            places = await erp.line_places(change.before, command.values)
            # A line that an earlier attempt of this step added has a place by now: it is not added again.
            change = change.model_copy(update={"places": places})
        return await self.perform(erp, erp.plan_change(context, change), command.saga, command.values)

    async def _erp(self, command: ChangeInErp) -> OrderChangePort:
        erp = await self.systems.erp(command.system, self.digest(command.saga, command.system))
        return cast(OrderChangePort, erp)


class DeliveryChangeActivitiesOver(Writing, DeliveryChangeActivities):
    """Changes open projects in a delivery system."""

    @activity.defn(name="psa.change_project")
    @guarded
    async def change_project(self, command: ChangeInDelivery) -> StepOutcome:
        """Budget, rates of positions, contract milestones."""
        found = await self.systems.psa(command.system, self.digest(command.saga, command.system))
        psa = cast(DeliveryChangePort, found)
        context = self.context(command.saga, command.step, phase=AFTER)
        change = command.change
        if change.impact.rates:
            roles = [one.role for one in change.impact.rates]
            positions = await psa.positions(change.project_id, roles)
            change = change.model_copy(update={"positions": positions})
        return await self.perform(psa, psa.plan_change(context, change), command.saga, {})
