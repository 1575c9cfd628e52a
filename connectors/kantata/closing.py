"""Closing a project for time and opening it again (rule 45): pure plans, and what is read before.

A closed project is archived and gets the account's own completed status, as the mapping says. Archiving is
documented and reversible; that an archived project takes no time is our assumption. Time that comes all the
same is found by the polls, which see archived projects, and held.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canonical.delivered import DeliveredExpense, DeliveredTime
from canonical.operations import WriteContext, delivery_symbol
from canonical.project_closing import DeliveryClosure, OpenRecord, PortDelivery
from canonical.refs import RecordRef
from canonical.writes import Json, VendorWrite
from connectors.kantata.changing import ChangeSide
from connectors.kantata.records import read_record
from connectors.kantata.schemas import Resource, Workspace, parse
from connectors.kantata.settings import KantataSettings
from connectors.kantata.updates import update

CLOSE_DELIVERY = "close_delivery"
REOPEN_DELIVERY = "reopen_delivery"
STATUS = "project.status"


class ClosingSide(ChangeSide):
    """Implements ``DeliveryClosePort`` beside changes and the feed."""

    async def project_work(self, project_id: str) -> tuple[list[DeliveredTime], list[DeliveredExpense]]:
        """All time and expenses of a workspace."""
        return await self._feeds.time_of(project_id), await self._feeds.expenses_of(project_id)

    async def closing_reading(self, project_id: str) -> PortDelivery | None:
        """Unnamed positions, and requests for staff that are still new."""
        what = f"Reading project {project_id}"
        found = await read_record(self._client, "workspaces", project_id, what=what)
        if found is None:
            return None
        envelope = await self._client.list(
            "workspace_resources",
            what=f"Reading positions of project {project_id}",
            query={"workspace_id": project_id, "include": "role,user,workspace,pending_resource_request"},
        )
        positions, requests = list[OpenRecord](), list[OpenRecord]()
        for row in envelope.rows:
            # A filter that a server ignores proves nothing.
            if str(row.get("workspace_id", project_id)) != project_id:
                continue
            resource = parse(Resource, row, self._system)
            title = resource.label or resource.role_name or f"position {resource.id}"
            if resource.user_id is None:
                positions.append(self._open("workspace_resources", resource.id, title))
            if resource.pending_resource_request_id is not None:
                requests.append(self._open("resource_requests", resource.pending_resource_request_id, title))
        return PortDelivery(
            archived=parse(Workspace, found[0], self._system).archived,
            positions=tuple(positions),
            requests=tuple(requests),
        )

    def plan_close(self, context: WriteContext, closure: DeliveryClosure) -> list[VendorWrite]:
        """Close it for time, as the mapping says."""
        return [plan_close(self._system, self._settings, context, closure)]

    def plan_reopen(
        self, context: WriteContext, closure: DeliveryClosure, former: Mapping[str, Any]
    ) -> list[VendorWrite]:
        """Put the former values back."""
        return plan_reopen(self._system, context, closure, former)

    def _open(self, kind: str, id_: str, title: str) -> OpenRecord:
        return OpenRecord(ref=RecordRef(system=self._system, type=kind, id=id_), title=title)


def plan_close(
    system: str, settings: KantataSettings, context: WriteContext, closure: DeliveryClosure
) -> VendorWrite:
    """One ``PUT`` of a workspace."""
    mapping, fields = settings.mapping, dict[str, tuple[Json, str]]()
    if mapping.closing.archive:
        fields["archived"] = (True, STATUS)
    if mapping.closing.stop_time:
        fields["time_trackable"] = (False, STATUS)
    if mapping.status_keys.completed is not None:
        fields["status_key"] = (mapping.status_keys.completed, STATUS)
    return _write(system, context, closure, CLOSE_DELIVERY, fields, f"Close {closure.title} for time")


def plan_reopen(
    system: str, context: WriteContext, closure: DeliveryClosure, former: Mapping[str, Any]
) -> list[VendorWrite]:
    """One ``PUT`` with the former values; nothing where none are known."""
    fields: dict[str, tuple[Json, str]] = {name: (value, STATUS) for name, value in former.items()}
    if not fields:
        return []
    return [_write(system, context, closure, REOPEN_DELIVERY, fields, f"Open {closure.title} for time again")]


def _write(
    system: str,
    context: WriteContext,
    closure: DeliveryClosure,
    operation: str,
    fields: Mapping[str, tuple[Json, str]],
    title: str,
) -> VendorWrite:
    again = f".{closure.round}" if closure.round > 1 else ""
    return update(
        system,
        context,
        operation=operation,
        identity=f"{closure.delivery_key}@c{closure.number}{again}",
        kind="workspaces",
        root="workspace",
        target=closure.project_id,
        fields=fields,
        name=f"{delivery_symbol(closure.delivery_key)}.{operation}",
        title=title,
    )
