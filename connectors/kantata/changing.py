"""Kantata's part of change orders; the other half of the connector."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from canonical.change_orders import DeliveryChange
from canonical.operations import WriteContext
from canonical.writes import VendorWrite
from connectors.kantata import change_plans
from connectors.kantata.client import KantataClient
from connectors.kantata.delivery import DeliverySide
from connectors.kantata.records import RECORD_TYPES
from connectors.kantata.schemas import Resource, parse


class ChangeSide(DeliverySide):
    """Implements ``DeliveryChangePort`` beside the feed of approved work."""

    _client: KantataClient

    async def positions(self, project_id: str, roles: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Ids of a project's positions by role, staffed ones included."""
        envelope = await self._client.list(
            "workspace_resources",
            what=f"Reading positions of project {project_id}",
            query={
                "workspace_id": project_id,
                "include": ",".join(RECORD_TYPES["workspace_resources"].include),
            },
        )
        titles = {
            role_id: str(side.get("name", "")) for role_id, side in envelope.sides.get("roles", {}).items()
        }
        found: dict[str, list[str]] = defaultdict(list)
        for row in envelope.rows:
            resource = parse(Resource, row, self._system)
            if str(row.get("workspace_id", project_id)) == project_id:
                title = titles.get(resource.role_id or "", resource.role_name or "")
                found[self._settings.mapping.role_word(title, roles)].append(resource.id)
        return {role: tuple(sorted(found[role], key=int)) for role in roles if role in found}

    def plan_change(self, context: WriteContext, change: DeliveryChange) -> list[VendorWrite]:
        """Budget, rates of positions, contract milestones."""
        return change_plans.plan_change(self._system, self._settings, context, change)
