"""HR activities over the HR port."""

from __future__ import annotations

from datetime import UTC, datetime

from temporalio import activity

from activities.contracts import GatherHr, HrActivities
from activities.failures import guarded
from activities.writing import Writing
from canonical.delivery import RoleSupply


class HrActivitiesOver(Writing, HrActivities):
    """Reads which roles exist; pay never passes through here."""

    @activity.defn(name="hr.role_supply")
    @guarded
    async def role_supply(self, command: GatherHr) -> tuple[RoleSupply, ...]:
        """Roles with head counts, today."""
        hr = await self.systems.hr(command.system, self.digest(command.saga, command.system))
        return tuple(await hr.role_supply(datetime.now(UTC).date()))
