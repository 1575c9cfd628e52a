"""Bringing a record that an earlier form of a create made up to date: only fields that differ are sent."""

from __future__ import annotations

from typing import Any

from canonical.causes import Cause, Queue
from canonical.failures import Conflict, Refused
from canonical.refs import RecordRef
from canonical.writes import Json, Landed, VendorWrite
from connectors.kantata.client import API, Envelope, KantataClient, Row
from connectors.kantata.mapping import comparable, field_value, same, to_wire
from connectors.kantata.records import RECORD_TYPES, read_record
from connectors.kantata.settings import KantataMapping
from connectors.kit.http import escape

CHANGEABLE: dict[str, tuple[str, ...]] = {
    # Template keys are accepted by an update too and would apply the template a second time.
    "workspaces": ("title", "currency", "price", "start_date", "due_date", "stage", "status_key"),
    "workspace_groups": ("name", "company"),
    "stories": ("title", "due_date", "fixed_fee", "billable", "budget_estimate_in_cents"),
    "workspace_resources": ("role_id",),
    "project_accounting_records": (
        "start_date",
        "end_date",
        "currency",
        "amount",
        "amount_to_date",
        "status",
    ),
}
"""Fields that an update may carry, by record type. Types that are not listed cannot be amended."""


async def amend(
    client: KantataClient, mapping: KantataMapping, system: str, write: VendorWrite, landed: Landed
) -> None:
    """Make ``landed`` show the body of ``write``.

    Raises:
        Refused: Kantata cannot change this record, or cannot move it to another project.
        Conflict: the record is gone.
    """
    kind = write.record_type
    ref = RecordRef(system=system, type=kind, id=landed.id)
    if kind not in CHANGEABLE:
        raise Refused(
            f"{write.title}: an issued {RECORD_TYPES[kind].root.replace('_', ' ')} is not changed.",
            cause=Cause.VENDOR_REFUSED,
            queue=Queue.BILLING,
            system=system,
            record=ref,
            remedy="Undo it and let it be made again, or correct it in Kantata.",
            key=write.key,
        )
    found = await read_record(client, kind, landed.id, what=f"Changing {write.title}", custom_fields=True)
    if found is None:
        raise Conflict(
            f"{write.title}: {ref} is gone.",
            cause=Cause.RECORD_VANISHED,
            queue=Queue.DELIVERY,
            system=system,
            record=ref,
            key=write.key,
        )
    now = comparable(kind, *found, mapping, system)
    body: dict[str, Json] = write.body[write.body_root]
    project = body.get("workspace_id")
    if project is not None and not same(project, now.get("workspace_id")):
        raise Refused(
            f"{write.title}: {ref} belongs to project {now.get('workspace_id')}, not {project}.",
            cause=Cause.VENDOR_REFUSED,
            queue=Queue.DELIVERY,
            system=system,
            record=ref,
            remedy="Kantata cannot move it: delete it there, then retry the step.",
            key=write.key,
        )
    fields = {
        name: body[name] for name in CHANGEABLE[kind] if name in body and not same(body[name], now.get(name))
    }
    group = body.get("primary_workspace_group_id")
    if kind == "workspaces" and group is not None and not same(group, now.get("group")):
        fields |= {"primary_workspace_group_id": group, "workspace_group_ids": body["workspace_group_ids"]}
    if fields:
        await client.write(
            "PUT",
            f"{API}/{kind}/{escape(landed.id)}",
            kind,
            {RECORD_TYPES[kind].root: to_wire(fields)},
            what=f"Changing {write.title}",
            key=write.key,
        )
    for field in body.get("custom_fields") or ():
        await set_field(
            client, system, write, landed.id, *found, int(field["custom_field_id"]), str(field["value"])
        )


async def set_field(
    client: KantataClient,
    system: str,
    write: VendorWrite,
    project_id: str,
    row: Row,
    envelope: Envelope,
    field_id: int,
    text: str,
) -> None:
    """Give a project's text custom field a value. Inline values are documented for creates only.

    Args:
        client: of the account.
        system: instance name.
        write: on whose behalf.
        project_id: the project.
        row: the project as read with its custom field values.
        envelope: the answer that holds them.
        field_id: the custom field.
        text: its value.
    """
    kind, what = "custom_field_values", f"Setting custom field {field_id} of {write.title}"
    held = field_value(row, envelope, field_id, system)
    if held is not None and held.value == text:
        return
    body: dict[str, Any] = {"value": text}
    method, path = "POST", f"{API}/{kind}"
    if held is None:
        body |= {"subject_type": "Workspace", "subject_id": project_id, "custom_field_id": field_id}
    else:
        method, path = "PUT", f"{path}/{escape(held.id)}"
    await client.write(method, path, kind, {"custom_field_value": to_wire(body)}, what=what, key=write.key)
